import {
  oneOf,
  parseCount,
  parseDomain,
  parseDuration,
  parseFingerprint,
  parseHelo,
  parseHost,
  parseLocalEnd,
  parseOutputFile,
  parsePort,
  parseQueue,
  parseSendable,
  parseSubdomains,
  parseText,
} from '../input/option-values.js'
import { type MechanismName, MECHANISMS } from '../smtp/mechanisms.js'
import type { TlsLevel } from '../smtp/tls-policy.js'

export const TLS_LEVELS = ['none', 'may', 'encrypt', 'verify'] as const satisfies readonly TlsLevel[]
export const TLS_VERSIONS = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const
const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]
const HOOK_KINDS = ['pppd', 'ifupdown', 'networkmanager', 'networkd', 'dhcpcd', 'script', 'cron', 'systemd'] as const

const RUN_WIDE = { scope: 'run' } as const
const COMMAND_LINE_ONLY = { scope: 'command line' } as const
const PROFILE_ONLY = { scope: 'profile' } as const
const PASSWORD = { ...PROFILE_ONLY, unit: 'password' } as const
const NAMES = { unit: 'names' } as const

/**
 * The one table of options. The parser, --help, completion, the configuration's keys, the defaults and the type `Options` come from
 * it; a test holds the manual against it.
 */
const OPTION_TABLE = {
  ...group('Server and names', {
    mx: list(
      'DOMAIN',
      "Request mail from DOMAIN's other mail exchangers",
      'site.example',
      parseDomain,
      COMMAND_LINE_ONLY,
    ),
    self: list('HOST', 'Treat the mail exchanger HOST as this host (with --mx)', 'mx1.site.example', parseHost),
    all: flag('Request mail from every profile in the configuration', { ...COMMAND_LINE_ONLY, excludes: 'mx' }),
    config: file('FILE', 'Read the configuration only from FILE', 'etrn.toml', {
      ...COMMAND_LINE_ONLY,
      defaultText: '/etc/etrn/config.toml, then ~/.config/etrn/config.toml',
    }),
    subdomains: list('NODE', 'Request NODE and its subdomains (same as @NODE)', 'site.example', parseSubdomains, NAMES),
    queue: list('NAME', "Request the server's queue NAME (same as #NAME)", 'uucp', parseQueue, NAMES),
    'names-from': list('FILE', 'Read names from FILE, one per line (- is stdin)', 'names.txt', parseText, {
      ...NAMES,
      isPath: true,
    }),
    'allow-wide': flag('Allow @ before a public suffix (@com), and names without a dot'),
  }),
  ...group('Connection', {
    port: value('N', 'Use port N if SERVER has none', '25', parsePort, { alias: 'p', defaultText: '25; smtps: 465' }),
    helo: value('NAME', 'Send NAME in EHLO', 'gw.site.example', parseHelo, {
      defaultText: "this host's name, else its address",
    }),
    ipv4: flag('Use IPv4 only', { alias: '4', unit: 'family' }),
    ipv6: flag('Use IPv6 only', { alias: '6', unit: 'family', excludes: 'ipv4' }),
    interface: value('NAME|ADDR', 'Connect from this interface or address', 'ppp0', parseLocalEnd),
    jobs: value('N', 'Open at most N sessions at once', '8', parseCount, { ...RUN_WIDE, default: '8' }),
    'assume-etrn': flag("Send ETRN even if the server doesn't list it"),
  }),
  ...group('Retrying and waiting', {
    timeout: value('DUR', 'Wait at most DUR for each step, such as one reply', '60s', parseDuration, {
      default: '60s',
    }),
    'max-time': value('DUR', 'End the whole run after DUR', '5m', parseDuration, RUN_WIDE),
    'retry-for': value('DUR', 'Retry temporary failures for up to DUR', '10m', parseDuration),
    wait: value('DUR', 'Repeat for up to DUR until no mail is waiting', '30m', parseDuration),
    interval: value('DUR', 'Repeat the request every DUR during --wait', '60s', parseDuration, { default: '60s' }),
    'wait-local': value('DUR', 'First wait up to DUR for the local mail server', '2m', parseDuration, RUN_WIDE),
    'keep-going': flag('Request the remaining names after a refusal', { alias: 'k' }),
  }),
  ...group('TLS', {
    tls: choice('LEVEL', 'Set the TLS policy: none, may, encrypt or verify', 'verify', TLS_LEVELS, {
      defaultText: 'may, or verify if credentials are given',
    }),
    'tls-ca': file('FILE', 'Trust only the CA certificates in FILE', 'ca.pem', {
      defaultText: "the system's CAs",
    }),
    'tls-fingerprint': value(
      'SHA256',
      'Accept only the certificate with this fingerprint',
      'AB:CD:...',
      parseFingerprint,
    ),
    'tls-name': value('NAME', 'Expect NAME in the certificate', 'mx.isp.example', parseHost, {
      defaultText: "the server's name",
    }),
    'tls-cert': file('FILE', 'Send the client certificate from FILE', 'client.pem'),
    'tls-key': file('FILE', 'Read the private key from FILE', 'client.key', { defaultText: 'the --tls-cert file' }),
    'tls-min': choice('VERSION', 'Accept no TLS version older than VERSION', 'TLSv1.3', TLS_VERSIONS, {
      default: 'TLSv1.2',
    }),
  }),
  ...group('Login', {
    user: value('NAME', 'Log in as NAME', 'site', parseSendable, PROFILE_ONLY),
    'password-file': file('FILE', 'Read the password from the first line of FILE', '/etc/etrn/password', PASSWORD),
    'password-command': value(
      'COMMAND',
      'Read the password from the first line that COMMAND prints',
      "'pass show isp'",
      parseText,
      {
        ...PASSWORD,
        excludes: 'password-file',
      },
    ),
    auth: value('MECHANISM', 'Log in with this SASL mechanism', 'PLAIN', parseMechanism, {
      ...PROFILE_ONLY,
      defaultText: 'the strongest',
      choices: MECHANISMS,
    }),
  }),
  ...group('Output', {
    quiet: counter('Print failures only (-qq: only permanent failures)', { ...RUN_WIDE, alias: 'q' }),
    verbose: counter('Print the SMTP dialogue to standard error', { ...RUN_WIDE, alias: 'v' }),
    json: flag('Print one JSON document at the end', RUN_WIDE),
    color: choice('WHEN', 'Use colour: auto, always or never', 'never', ['auto', 'always', 'never'], {
      ...RUN_WIDE,
      default: 'auto',
    }),
    'report-after': value('DUR', 'Report temporary failures only after DUR (for cron)', '4h', parseDuration, {
      ...RUN_WIDE,
      excludes: 'json',
    }),
    'failed-to': value('FILE', 'Write the names worth retrying to FILE', 'later.txt', parseOutputFile, {
      ...COMMAND_LINE_ONLY,
      isPath: true,
    }),
  }),
  ...group('Other actions', {
    check: flag('Check every step without sending ETRN', COMMAND_LINE_ONLY),
    hook: choice('KIND', 'Print a hook for KIND: pppd, cron, systemd, ...', 'pppd', HOOK_KINDS, {
      ...COMMAND_LINE_ONLY,
      excludes: 'check',
    }),
    completion: value('SHELL', 'Print a completion script for SHELL', 'zsh', parseShell, {
      ...COMMAND_LINE_ONLY,
      choices: SHELLS,
      isOptional: true,
      defaultText: '$SHELL',
    }),
    help: flag('Print the main options (with --verbose: all options)', { ...COMMAND_LINE_ONLY, alias: 'h' }),
    version: flag('Print the version', { ...COMMAND_LINE_ONLY, alias: 'V' }),
  }),
} satisfies Record<string, OptionRow>

export type OptionRow = {
  readonly kind: 'flag' | 'counter' | 'value' | 'list'
  /** The word that stands for the value in help */
  readonly placeholder?: string
  /** The text of help and completion: imperative, without a full stop */
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
  /** Converts a word, or a value in a file. Throws a plain Error with the rule that it breaks, as a sentence without its subject. */
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

/** Returns two options of one source that exclude each other; undefined if there are none. */
export function findConflict(options: PartialOptions): [string, string] | undefined {
  const isSet = (name: string): boolean => Object.entries(options).some(([key, set]) => key === name && set !== false)
  for (const [name, { excludes }] of OPTION_ROWS)
    if (excludes !== undefined && isSet(name) && isSet(excludes)) return [excludes, name]
  return undefined
}

export function formatOption(name: string): string {
  return name.length > 1 ? `--${name}` : `-${name}`
}

/** Returns the options of a group with its name, which is their heading in help. */
function group<T extends Readonly<Record<string, object>>>(name: string, rows: T) {
  for (const row of Object.values(rows)) Object.assign(row, { group: name })
  // Each row has its group now.
  return rows as { [K in keyof T]: T[K] & { readonly group: string } }
}

type RowDetails = Partial<
  Omit<OptionRow, 'kind' | 'placeholder' | 'describe' | 'group' | 'example' | 'parse' | 'initial'>
>

function value<T, D extends RowDetails>(
  placeholder: string,
  describe: string,
  example: string,
  parse: (word: unknown) => T,
  details?: D,
) {
  // With a default the value is never undefined.
  const initial = (details?.default === undefined ? undefined : parse(details.default)) as D extends { default: string }
    ? T
    : undefined
  return { kind: 'value' as const, placeholder, describe, example, parse, initial, ...details }
}

function choice<T extends string, D extends RowDetails>(
  placeholder: string,
  describe: string,
  example: T,
  words: readonly T[],
  details: D,
) {
  return { ...value(placeholder, describe, example, oneOf(...words), details), choices: words }
}

function file(placeholder: string, describe: string, example: string, details?: RowDetails) {
  return { ...value(placeholder, describe, example, parseText, details), isPath: true as const }
}

function list(
  placeholder: string,
  describe: string,
  example: string,
  parseOne: (word: unknown) => string,
  details?: RowDetails,
) {
  const parse = (given: unknown): string[] => [given].flat().map(parseOne)
  const initial: string[] = []
  return { kind: 'list' as const, placeholder, describe, example, parse, initial, ...details }
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
