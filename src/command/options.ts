import { UsageError } from '../errors.js'
import {
  oneOf,
  parseCommandArgument,
  parseCount,
  parseDomain,
  parseDuration,
  parseFingerprint,
  parseHost,
  parsePort,
  parseSendable,
  parseText,
} from '../input/values.js'
import { printable } from '../printable.js'
import { type MechanismName, MECHANISMS } from '../smtp/mechanisms.js'
import type { TlsLevel } from '../smtp/tls-policy.js'

export const TLS_LEVELS = ['none', 'may', 'encrypt', 'verify'] as const satisfies readonly TlsLevel[]
export const TLS_VERSIONS = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const
const HOOK_KINDS = ['pppd', 'ifupdown', 'networkmanager', 'cron', 'systemd'] as const
const COLOR_CHOICES = ['auto', 'always', 'never'] as const

/** Where an option may be set, apart from the command line. */
const RUN_WIDE = { scope: 'run' } as const
const COMMAND_LINE_ONLY = { scope: 'command line' } as const
const PROFILE_ONLY = { scope: 'profile' } as const

/**
 * The one table of options. The parser, --help, completion, the configuration's keys, the defaults and the type `Options` come from
 * it; a test holds the manual against it.
 */
const OPTION_TABLE = {
  mx: value(
    'DOMAIN',
    'site.example',
    parseDomain,
    'Ask the other mail exchangers of DOMAIN',
    'Servers',
    COMMAND_LINE_ONLY,
  ),
  self: list('HOST', 'mx1.site.example', 'With --mx: this mail exchanger is this site itself', 'Servers', {
    parse: parseHost,
  }),
  all: flag('Ask every profile of the configuration', 'Servers', COMMAND_LINE_ONLY),

  subdomains: list('NODE', 'site.example', 'Ask for NODE and all its subdomains: the same as @NODE', 'Names', {
    unit: 'names',
  }),
  queue: list('NAME', 'uucp', "Ask for a queue by the server's own name for it: the same as #NAME", 'Names', {
    unit: 'names',
  }),
  'names-from': list('FILE', 'names.txt', 'Read names from FILE, one a line; - is standard input', 'Names', {
    unit: 'names',
    isPath: true,
  }),
  'allow-wide': flag('Allow @ with a public suffix (@com), and names of a single label', 'Names'),

  port: value('N', '25', parsePort, 'Port, where SERVER names none', 'Connection', {
    alias: 'p',
    defaultText: '25; 465 for smtps',
  }),
  helo: value('NAME', 'gw.site.example', parseCommandArgument, 'What EHLO says', 'Connection', {
    defaultText: "this host's name, else its address",
  }),
  ipv4: flag('Use IPv4 only', 'Connection', { alias: '4', unit: 'family' }),
  ipv6: flag('Use IPv6 only', 'Connection', { alias: '6', unit: 'family' }),
  interface: value(
    'NAME/ADDR',
    'ppp0',
    parseCommandArgument,
    'Connect from this interface, or this address',
    'Connection',
  ),
  timeout: value(
    'DUR',
    '60s',
    parseDuration,
    'Longest wait for a step: connecting, TLS, one whole reply',
    'Connection',
    {
      default: '60s',
    },
  ),
  'max-time': value('DUR', '5m', parseDuration, 'Longest time for the whole run', 'Connection', {
    ...RUN_WIDE,
    defaultText: 'none',
  }),
  jobs: value('N', '8', parseCount, 'Sessions at once, over all servers', 'Connection', { ...RUN_WIDE, default: '8' }),

  'retry-for': value('DUR', '10m', parseDuration, 'Keep trying what failed temporarily', 'Patience', {
    defaultText: 'off',
  }),
  wait: value('DUR', '30m', parseDuration, 'Ask again until nothing is left', 'Patience', { defaultText: 'off' }),
  interval: value('DUR', '60s', parseDuration, 'With --wait: the time from one round to the next', 'Patience', {
    default: '60s',
  }),
  'wait-local': value('DUR', '2m', parseDuration, "First wait for this host's own SMTP port", 'Patience', {
    ...RUN_WIDE,
    defaultText: 'off',
  }),

  tls: value('LEVEL', 'verify', oneOf(...TLS_LEVELS), 'none, may (not verified), encrypt (demanded), verify', 'TLS', {
    defaultText: 'may; verify with a login',
    choices: TLS_LEVELS,
  }),
  'tls-ca': value('FILE', 'ca.pem', parseText, 'Authorities to trust, in PEM', 'TLS', {
    defaultText: "the system's",
    isPath: true,
  }),
  'tls-fingerprint': value('SHA256', 'AB:CD:...', parseFingerprint, 'The certificate, pinned', 'TLS'),
  'tls-name': value('NAME', 'mx.isp.example', parseHost, 'The name that the certificate has', 'TLS', {
    defaultText: "the server's",
  }),
  'tls-cert': value('FILE', 'client.pem', parseText, "This client's own certificate, in PEM", 'TLS', { isPath: true }),
  'tls-key': value('FILE', 'client.key', parseText, 'Its key', 'TLS', {
    defaultText: 'in the same file',
    isPath: true,
  }),
  'tls-min': value('VERSION', 'TLSv1.3', oneOf(...TLS_VERSIONS), 'The oldest version to accept', 'TLS', {
    default: 'TLSv1.2',
    choices: TLS_VERSIONS,
  }),

  user: value('U', 'site', parseSendable, 'Log in as U', 'Login', PROFILE_ONLY),
  'password-file': value('F', '/etc/etrn/password', parseText, 'Read the password from F', 'Login', {
    ...PROFILE_ONLY,
    unit: 'password',
    isPath: true,
  }),
  'password-command': value('C', "'pass show isp'", parseText, 'Take the first line that C prints', 'Login', {
    ...PROFILE_ONLY,
    unit: 'password',
  }),
  auth: value('MECH', 'PLAIN', parseMechanism, 'Log in by this mechanism', 'Login', {
    ...PROFILE_ONLY,
    defaultText: 'the strongest',
    choices: MECHANISMS,
  }),

  'keep-going': flag('Go on with the other names after a refusal', 'Sending', { alias: 'k' }),
  'assume-etrn': flag("Send ETRN even where the server doesn't list it", 'Sending'),

  check: flag('Look at all that matters, step by step; send no ETRN', 'Instead', COMMAND_LINE_ONLY),
  hook: value('KIND', 'pppd', oneOf(...HOOK_KINDS), 'Print a ready hook for this mechanism', 'Instead', {
    ...COMMAND_LINE_ONLY,
    choices: HOOK_KINDS,
  }),

  config: value('FILE', 'etrn.toml', parseText, 'Take the configuration from FILE alone', 'Configuration', {
    ...COMMAND_LINE_ONLY,
    defaultText: '/etc/etrn/config.toml, then ~/.config/etrn/config.toml',
    isPath: true,
  }),

  quiet: counter('Print failures only; twice: no temporary ones either', 'Output', { ...RUN_WIDE, alias: 'q' }),
  verbose: counter('Write the SMTP dialogue to standard error', 'Output', { ...RUN_WIDE, alias: 'v' }),
  json: flag('Print one JSON document, at the end', 'Output', RUN_WIDE),
  color: value('WHEN', 'never', oneOf(...COLOR_CHOICES), 'Colour', 'Output', {
    ...RUN_WIDE,
    default: 'auto',
    choices: COLOR_CHOICES,
  }),

  help: flag('Show this help', 'Help', { ...COMMAND_LINE_ONLY, alias: 'h' }),
  version: flag('Show the version', 'Help', { ...COMMAND_LINE_ONLY, alias: 'V' }),
  completion: flag('Print a completion script for your shell', 'Help', COMMAND_LINE_ONLY),
} satisfies Record<string, OptionRow>

/** One row of the table. */
export type OptionRow = {
  readonly kind: 'flag' | 'counter' | 'value' | 'list'
  readonly describe: string
  readonly group: string
  readonly alias?: string
  /** Stands for the value in help. */
  readonly placeholder?: string
  /** A value that can be typed as it is */
  readonly example?: string
  /** The default, as it would be typed */
  readonly default?: string
  /** Describes a default that depends on something else. */
  readonly defaultText?: string
  readonly choices?: readonly string[]
  /** The value is a file name, which is resolved to an absolute path. */
  readonly isPath?: true
  /** Where it may be set, apart from the command line: at the top of a file, in a profile, nowhere; undefined: anywhere in a file */
  readonly scope?: 'run' | 'profile' | 'command line'
  /** Options of one unit belong together: a source that sets one of them overrides the others of weaker sources. */
  readonly unit?: 'names' | 'family' | 'password'
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

/** The options that one source sets. */
export type PartialOptions = Partial<Options>

/** Returns the options in what yargs has parsed. Throws UsageError, which names the option and a value that could be typed. */
export function optionsOfWords(parsed: Readonly<Record<string, unknown>>): PartialOptions {
  const rows = [...OPTION_ROWS].filter(([name]) => parsed[name] !== undefined && parsed[name] !== 0)
  return Object.fromEntries(rows.map(([name, row]) => [name, parseOption(name, row, parsed[name])]))
}

function parseOption(name: string, row: OptionRow, given: unknown): unknown {
  // If an option is repeated, the last one wins: the alias of a shell can be overridden.
  const last: unknown = Array.isArray(given) && row.kind !== 'list' ? given.at(-1) : given
  try {
    return row.parse(last)
  } catch (error) {
    if (!(error instanceof Error) || row.example === undefined) throw error
    const shown: unknown = Array.isArray(last) ? last.at(-1) : last
    const option = `${formatOption(name)} "${printable(String(shown))}"`
    throw new UsageError(`${option}: ${error.message}; for example ${formatOption(name)} ${row.example}`)
  }
}

/** Returns all options as they are typed, letters too. */
export function optionNames(): string[] {
  return [...OPTION_ROWS].flatMap(([name, { alias }]) => [name, alias ?? []].flat().map(formatOption))
}

/** Returns an option as it is typed. */
export function formatOption(name: string): string {
  return name.length > 1 ? `--${name}` : `-${name}`
}

type OptionDetails = Partial<
  Pick<OptionRow, 'alias' | 'default' | 'defaultText' | 'choices' | 'isPath' | 'scope' | 'unit'>
>

function value<T, D extends OptionDetails>(
  placeholder: string,
  example: string,
  parse: (word: unknown) => T,
  describe: string,
  group: string,
  details?: D,
) {
  // With a default the value is never undefined.
  const initial = (details?.default === undefined ? undefined : parse(details.default)) as D extends { default: string }
    ? T
    : undefined
  return { kind: 'value' as const, placeholder, example, describe, group, parse, initial, ...details }
}

function list(
  placeholder: string,
  example: string,
  describe: string,
  group: string,
  { parse = parseText, ...details }: OptionDetails & { readonly parse?: (word: unknown) => string } = {},
) {
  const parseAll = (given: unknown): string[] => [given].flat().map(parse)
  const initial: string[] = []
  return { kind: 'list' as const, placeholder, example, describe, group, parse: parseAll, initial, ...details }
}

function flag(describe: string, group: string, details: OptionDetails = {}) {
  const isTrue = (given: unknown): boolean => given === true
  return { kind: 'flag' as const, describe, group, parse: isTrue, initial: false, ...details }
}

function counter(describe: string, group: string, details: OptionDetails = {}) {
  const toCount = (given: unknown): number => Number(given)
  return { kind: 'counter' as const, describe, group, parse: toCount, initial: 0, ...details }
}

function parseMechanism(word: unknown): MechanismName {
  return oneOf(...MECHANISMS)(parseText(word).toUpperCase())
}
