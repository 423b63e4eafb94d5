import { UsageError } from '../errors.js'
import { hidePassword } from '../input/hide-password.js'
import {
  oneOf,
  parseCommandArgument,
  parseCount,
  parseDomain,
  parseDuration,
  parseFingerprint,
  parseHelo,
  parseHost,
  parsePort,
  parseSendable,
  parseText,
} from '../input/option-values.js'
import { type MechanismName, MECHANISMS } from '../smtp/mechanisms.js'
import type { TlsLevel } from '../smtp/session-settings.js'

export const TLS_LEVELS = ['none', 'may', 'encrypt', 'verify'] as const satisfies readonly TlsLevel[]
export const TLS_VERSIONS = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const
const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]
const HOOK_KINDS = ['pppd', 'ifupdown', 'networkmanager', 'cron', 'systemd'] as const

const RUN_WIDE = { scope: 'run' } as const
const COMMAND_LINE_ONLY = { scope: 'command line' } as const
const PROFILE_ONLY = { scope: 'profile' } as const
const PASSWORD = { ...PROFILE_ONLY, unit: 'password' } as const
const NAMES = { unit: 'names' } as const
const OFF = { defaultText: 'off' } as const

/**
 * The one table of options. The parser, --help, completion, the configuration's keys, the defaults and the type `Options` come from
 * it; a test holds the manual against it.
 */
const OPTION_TABLE = {
  ...group('Servers', {
    mx: list('DOMAIN: Ask the other mail exchangers of DOMAIN', 'site.example', parseDomain, COMMAND_LINE_ONLY),
    self: list('HOST: With --mx: this mail exchanger is this site itself', 'mx1.site.example', parseHost),
    all: flag('Ask every profile of the configuration', { ...COMMAND_LINE_ONLY, excludes: 'mx' }),
  }),
  ...group('Names', {
    subdomains: list('NODE: Ask for NODE and all its subdomains: the same as @NODE', 'site.example', parseText, NAMES),
    queue: list("NAME: Ask for a queue by the server's own name for it: the same as #NAME", 'uucp', parseText, NAMES),
    'names-from': list('FILE: Read names from FILE, one a line; - is standard input', 'names.txt', parseText, {
      ...NAMES,
      isPath: true,
    }),
    'allow-wide': flag('Allow @ with a public suffix (@com), and names of a single label'),
  }),
  ...group('Connection', {
    port: value('N: Port, where SERVER names none', '25', parsePort, { alias: 'p', defaultText: '25; 465 for smtps' }),
    helo: value('NAME: What EHLO says', 'gw.site.example', parseHelo, {
      defaultText: "this host's name, else its address",
    }),
    ipv4: flag('Use IPv4 only', { alias: '4', unit: 'family' }),
    ipv6: flag('Use IPv6 only', { alias: '6', unit: 'family', excludes: 'ipv4' }),
    interface: value('NAME/ADDR: Connect from this interface, or this address', 'ppp0', parseCommandArgument),
    timeout: value('DUR: Longest wait for a step: connecting, TLS, one whole reply', '60s', parseDuration, {
      default: '60s',
    }),
    'max-time': value('DUR: Longest time for the whole run', '5m', parseDuration, { ...RUN_WIDE, defaultText: 'none' }),
    jobs: value('N: Sessions at once, over all servers', '8', parseCount, { ...RUN_WIDE, default: '8' }),
  }),
  ...group('Patience', {
    'retry-for': value('DUR: Keep trying what failed temporarily', '10m', parseDuration, OFF),
    wait: value('DUR: Ask again until nothing is left', '30m', parseDuration, OFF),
    interval: value('DUR: With --wait: the time from one round to the next', '60s', parseDuration, { default: '60s' }),
    'wait-local': value("DUR: First wait for this host's own SMTP port", '2m', parseDuration, { ...RUN_WIDE, ...OFF }),
  }),
  ...group('TLS', {
    tls: choice('LEVEL: none, may (not verified), encrypt (demanded), verify', 'verify', TLS_LEVELS, {
      defaultText: 'may; verify with a login',
    }),
    'tls-ca': file('FILE: Authorities to trust, in PEM', 'ca.pem', { defaultText: "the system's" }),
    'tls-fingerprint': value('SHA256: The certificate, pinned', 'AB:CD:...', parseFingerprint),
    'tls-name': value('NAME: The name that the certificate has', 'mx.isp.example', parseHost, {
      defaultText: "the server's",
    }),
    'tls-cert': file("FILE: This client's own certificate, in PEM", 'client.pem'),
    'tls-key': file('FILE: Its key', 'client.key', { defaultText: 'in the same file' }),
    'tls-min': choice('VERSION: The oldest version to accept', 'TLSv1.3', TLS_VERSIONS, { default: 'TLSv1.2' }),
  }),
  ...group('Login', {
    user: value('U: Log in as U', 'site', parseSendable, PROFILE_ONLY),
    'password-file': file('F: Read the password from F', '/etc/etrn/password', PASSWORD),
    'password-command': value('C: Take the first line that C prints', "'pass show isp'", parseText, {
      ...PASSWORD,
      excludes: 'password-file',
    }),
    auth: value('MECH: Log in by this mechanism', 'PLAIN', parseMechanism, {
      ...PROFILE_ONLY,
      defaultText: 'the strongest',
      choices: MECHANISMS,
    }),
  }),
  ...group('Sending', {
    'keep-going': flag('Go on with the other names after a refusal', { alias: 'k' }),
    'assume-etrn': flag("Send ETRN even where the server doesn't list it"),
  }),
  ...group('Instead', {
    check: flag('Look at all that matters, step by step; send no ETRN', COMMAND_LINE_ONLY),
    hook: choice('KIND: Print a ready hook for this mechanism', 'pppd', HOOK_KINDS, {
      ...COMMAND_LINE_ONLY,
      excludes: 'check',
    }),
  }),
  ...group('Configuration', {
    config: file('FILE: Take the configuration from FILE alone', 'etrn.toml', {
      ...COMMAND_LINE_ONLY,
      defaultText: '/etc/etrn/config.toml, then ~/.config/etrn/config.toml',
    }),
  }),
  ...group('Output', {
    quiet: counter('Print failures only; twice: no temporary ones either', { ...RUN_WIDE, alias: 'q' }),
    verbose: counter('Write the SMTP dialogue to standard error', { ...RUN_WIDE, alias: 'v' }),
    json: flag('Print one JSON document, at the end', RUN_WIDE),
    color: choice('WHEN: Colour', 'never', ['auto', 'always', 'never'], { ...RUN_WIDE, default: 'auto' }),
  }),
  ...group('Help', {
    help: flag('Show this help', { ...COMMAND_LINE_ONLY, alias: 'h' }),
    version: flag('Show the version', { ...COMMAND_LINE_ONLY, alias: 'V' }),
    completion: value('SHELL: Print a completion script for bash, zsh or fish', 'zsh', parseShell, {
      ...COMMAND_LINE_ONLY,
      choices: SHELLS,
      isOptional: true,
      defaultText: 'that of $SHELL',
    }),
  }),
} satisfies Record<string, OptionRow>

export type OptionRow = {
  readonly kind: 'flag' | 'counter' | 'value' | 'list'
  /** The text of help, with what stands for the value in front */
  readonly describe: string
  readonly group: string
  readonly alias?: string
  /** A value that can be typed as it is */
  readonly example?: string
  /** The default, as it would be typed */
  readonly default?: string
  /** Describes a default that depends on something else. */
  readonly defaultText?: string
  readonly choices?: readonly string[]
  /** The option may stand without its value, and then has an empty one. */
  readonly isOptional?: true
  /** The value is a file name, which is resolved to an absolute path. */
  readonly isPath?: true
  /** The places that may set it, apart from the command line: at the top of a file, in a profile, nowhere; undefined: anywhere in a file */
  readonly scope?: 'run' | 'profile' | 'command line'
  /** Options of one unit belong together: a source that sets one of them overrides the others of weaker sources. */
  readonly unit?: 'names' | 'family' | 'password'
  /** The option that one source must not set beside this one */
  readonly excludes?: string
  /** Converts a word, or a value in a file. Throws a plain Error with the rule that it breaks. */
  readonly parse: (given: unknown) => unknown
  /** The value if no source sets the option */
  readonly initial: unknown
}

export const OPTION_ROWS: ReadonlyMap<string, OptionRow> = new Map<string, OptionRow>(Object.entries(OPTION_TABLE))

type Value<R> = R extends { parse: (given: unknown) => infer T; initial: infer I } ? T | I : never

/** The options that count, by their long names. Durations are milliseconds; undefined means that an option is not set. */
export type Options = { readonly [K in keyof typeof OPTION_TABLE]: Value<(typeof OPTION_TABLE)[K]> } & {
  /** NAME arguments, or a profile's `names` */
  readonly names: readonly string[]
}

export type PartialOptions = Partial<Options>

/** Returns the options in what yargs has parsed. Throws UsageError, which names the option and a value that could be typed. */
export function optionsOfWords(parsed: Readonly<Record<string, unknown>>): PartialOptions {
  const rows = [...OPTION_ROWS].filter(([name]) => parsed[name] !== undefined && parsed[name] !== 0)
  const options = Object.fromEntries(rows.map(([name, row]) => [name, parseOption(name, row, parsed[name])]))
  const conflict = findConflict(options)
  if (conflict === undefined) return options
  const [first, second] = conflict.map((name) => formatOption(OPTION_ROWS.get(name)?.alias ?? name))
  throw new UsageError(`${first ?? ''} and ${second ?? ''} exclude each other: type one of them`)
}

/** Returns two options of one source that exclude each other; undefined if there are none. */
export function findConflict(options: PartialOptions): [string, string] | undefined {
  const isSet = (name: string): boolean => Object.entries(options).some(([key, set]) => key === name && set !== false)
  for (const [name, { excludes }] of OPTION_ROWS)
    if (excludes !== undefined && isSet(name) && isSet(excludes)) return [excludes, name]
  return undefined
}

function parseOption(name: string, row: OptionRow, given: unknown): unknown {
  // If an option is repeated, the last one wins: the alias of a shell can be overridden.
  const last: unknown = Array.isArray(given) && row.kind !== 'list' ? given.at(-1) : given
  try {
    return row.parse(last)
  } catch (error) {
    if (!(error instanceof Error) || row.example === undefined) throw error
    const shown: unknown = Array.isArray(last) ? last.at(-1) : last
    const option = `${formatOption(name)} "${hidePassword(String(shown))}"`
    const isJoined = row.kind === 'list' && /[,;]/.test(String(shown))
    const advice = isJoined ? 'repeat the option for each value,' : 'for example'
    throw new UsageError(`${option}: ${error.message}; ${advice} ${formatOption(name)} ${row.example}`)
  }
}

export function formatOption(name: string): string {
  return name.length > 1 ? `--${name}` : `-${name}`
}

/** Returns the options of a group with its name, which is their heading in help. */
function group<T extends Readonly<Record<string, object>>>(name: string, rows: T) {
  const entries = Object.entries(rows).map(([option, row]) => [option, { ...row, group: name }])
  // fromEntries forgets which option has which row.
  return Object.fromEntries(entries) as { [K in keyof T]: T[K] & { readonly group: string } }
}

type RowDetails = Partial<Omit<OptionRow, 'kind' | 'describe' | 'group' | 'example' | 'parse' | 'initial'>>

function value<T, D extends RowDetails>(describe: string, example: string, parse: (word: unknown) => T, details?: D) {
  // With a default the value is never undefined.
  const initial = (details?.default === undefined ? undefined : parse(details.default)) as D extends { default: string }
    ? T
    : undefined
  return { kind: 'value' as const, describe, example, parse, initial, ...details }
}

function choice<T extends string, D extends RowDetails>(describe: string, example: T, words: readonly T[], details: D) {
  return { ...value(describe, example, oneOf(...words), details), choices: words }
}

function file(describe: string, example: string, details?: RowDetails) {
  return { ...value(describe, example, parseText, details), isPath: true as const }
}

function list(describe: string, example: string, parseOne: (word: unknown) => string, details?: RowDetails) {
  const parse = (given: unknown): string[] => [given].flat().map(parseOne)
  const initial: string[] = []
  return { kind: 'list' as const, describe, example, parse, initial, ...details }
}

function flag(describe: string, details?: RowDetails) {
  return { kind: 'flag' as const, describe, parse: (given: unknown) => given === true, initial: false, ...details }
}

function counter(describe: string, details?: RowDetails) {
  return { kind: 'counter' as const, describe, parse: (given: unknown) => Number(given), initial: 0, ...details }
}

/** Returns a shell; `auto` stands for that of SHELL. */
function parseShell(word: unknown): Shell | 'auto' {
  return word === '' ? 'auto' : oneOf(...SHELLS)(word)
}

function parseMechanism(word: unknown): MechanismName {
  return oneOf(...MECHANISMS)(parseText(word).toUpperCase())
}
