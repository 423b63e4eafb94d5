import { UsageError } from '../errors.js'
import {
  parseCommandArgument,
  parseCount,
  parseDomain,
  parseDuration,
  parseFingerprint,
  parseHost,
  oneOf,
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

/** Short forms for the table below: what one run has once; what only the command line says; what belongs to one server. */
const RUN_WIDE = { scope: 'run' } as const
const COMMAND_LINE_ONLY = { scope: 'command line' } as const
const PROFILE_ONLY = { scope: 'profile' } as const

/**
 * The one list of options. The parser, --help, completion, the configuration's keys and the type `Options` come from it; a test
 * holds the manual against it. Defaults are not given to yargs: what was said must stay apart from what wasn't.
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
    default: '25; 465 for smtps',
  }),
  helo: value('NAME', 'gw.site.example', parseCommandArgument, 'What EHLO says', 'Connection', {
    default: "this host's name, else its address",
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
    default: 'none',
  }),
  jobs: value('N', '8', parseCount, 'Sessions at once, over all servers', 'Connection', { ...RUN_WIDE, default: '8' }),

  'retry-for': value('DUR', '10m', parseDuration, 'Keep trying what failed temporarily', 'Patience', {
    default: 'off',
  }),
  wait: value('DUR', '30m', parseDuration, 'Ask again until nothing is left', 'Patience', { default: 'off' }),
  interval: value('DUR', '60s', parseDuration, 'With --wait: the time from one round to the next', 'Patience', {
    default: '60s',
  }),
  'wait-local': value('DUR', '2m', parseDuration, "First wait for this host's own SMTP port", 'Patience', {
    ...RUN_WIDE,
    default: 'off',
  }),

  tls: value('LEVEL', 'verify', oneOf(...TLS_LEVELS), 'none, may (not verified), encrypt (demanded), verify', 'TLS', {
    default: 'may; verify with a login',
    choices: TLS_LEVELS,
  }),
  'tls-ca': value('FILE', 'ca.pem', parseText, 'Authorities to trust, in PEM', 'TLS', {
    default: "the system's",
    isPath: true,
  }),
  'tls-fingerprint': value('SHA256', 'AB:CD:...', parseFingerprint, 'The certificate, pinned', 'TLS'),
  'tls-name': value('NAME', 'mx.isp.example', parseHost, 'The name that the certificate has', 'TLS', {
    default: "the server's",
  }),
  'tls-cert': value('FILE', 'client.pem', parseText, "This client's own certificate, in PEM", 'TLS', { isPath: true }),
  'tls-key': value('FILE', 'client.key', parseText, 'Its key', 'TLS', { default: 'in the same file', isPath: true }),
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
    default: 'the strongest',
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
    default: '/etc/etrn/config.toml, then ~/.config/etrn/config.toml',
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

/** An option, whatever it takes. */
export type OptionRow = {
  readonly kind: 'flag' | 'counter' | 'value' | 'list'
  readonly describe: string
  readonly group: string
  readonly alias?: string
  /** What stands for the value in help, and a value that could be typed */
  readonly placeholder?: string
  readonly example?: string
  /** The default, in words: for help alone */
  readonly default?: string
  readonly choices?: readonly string[]
  /** A file's name, which means the same from any folder when it is resolved */
  readonly isPath?: true
  /** Where else than on the command line it may be said: anywhere in a file; at its top; in a profile; nowhere. */
  readonly scope?: 'run' | 'profile' | 'command line'
  /** Options of a unit are one thing: who says one of them unsays what a weaker layer says of the others. */
  readonly unit?: 'names' | 'family' | 'password'
  /** From words, or from what a file has; throws a plain Error with the rule that the value breaks. */
  readonly parse: (given: unknown) => unknown
  /** What it is where nobody says it */
  readonly initial: unknown
}

export const OPTION_ROWS: ReadonlyMap<string, OptionRow> = new Map<string, OptionRow>(Object.entries(OPTION_TABLE))

type Value<R> = R extends { parse: (given: unknown) => infer T; initial: infer U } ? T | U : never

/** What holds, by the options' own names. Durations are milliseconds; undefined: not said. */
export type Options = { readonly [K in keyof typeof OPTION_TABLE]: Value<(typeof OPTION_TABLE)[K]> } & {
  /** NAME words, and a profile's `names` */
  readonly names: readonly string[]
}

/** What one source says: the command line, a profile, the top of a file. What it doesn't say isn't there. */
export type PartialOptions = Partial<Options>

/** What the layers come to; the strongest stands first. */
export function settle(...layers: readonly PartialOptions[]): Options {
  const initial: Record<string, unknown> = { names: [] }
  for (const [name, { initial: value }] of OPTION_ROWS) initial[name] = value
  // Each value has been made by the row whose type it has.
  return Object.assign(initial, mergeOptions(...layers)) as Options
}

/** The layers in one; the strongest stands first. */
export function mergeOptions(...layers: readonly PartialOptions[]): PartialOptions {
  return layers.reduceRight(override, {})
}

/** The stronger layer over the weaker one. */
function override(weaker: PartialOptions, stronger: PartialOptions): PartialOptions {
  const units = new Set(Object.keys(stronger).map(unitOf))
  const left = Object.entries(weaker).filter(([name]) => unitOf(name) === undefined || !units.has(unitOf(name)))
  return { ...(Object.fromEntries(left) as PartialOptions), ...stronger }
}

function unitOf(name: string): OptionRow['unit'] {
  return name === 'names' ? 'names' : OPTION_ROWS.get(name)?.unit
}

/** What yargs gives, row by row. Throws UsageError, with the option and a value that could be typed. */
export function optionsOfWords(parsed: Readonly<Record<string, unknown>>): PartialOptions {
  const said = [...OPTION_ROWS].filter(([name]) => parsed[name] !== undefined && parsed[name] !== 0)
  // As above
  return Object.fromEntries(said.map(([name, row]) => [name, parseOption(name, row, parsed[name])]))
}

function parseOption(name: string, row: OptionRow, given: unknown): unknown {
  // Said twice, the last one holds, so that a shell's alias can be overridden.
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

/** Names of the options, as the manual has to have them. */
export function optionNames(): string[] {
  return [...OPTION_ROWS].flatMap(([name, row]) => [
    formatOption(name),
    ...(row.alias === undefined ? [] : [formatOption(row.alias)]),
  ])
}

/** An option as it is typed. */
export function formatOption(name: string): string {
  return name.length > 1 ? `--${name}` : `-${name}`
}

type OptionDetails = Partial<Pick<OptionRow, 'alias' | 'default' | 'choices' | 'isPath' | 'scope' | 'unit'>>

function value<T>(
  placeholder: string,
  example: string,
  parse: (word: unknown) => T,
  describe: string,
  group: string,
  more: OptionDetails = {},
) {
  return { kind: 'value' as const, placeholder, example, describe, group, parse, initial: undefined, ...more }
}

function list(
  placeholder: string,
  example: string,
  describe: string,
  group: string,
  { parse = parseText, ...more }: OptionDetails & { readonly parse?: (word: unknown) => string } = {},
) {
  const all = (given: unknown): string[] => [given].flat().map(parse)
  return { kind: 'list' as const, placeholder, example, describe, group, parse: all, initial: [] as string[], ...more }
}

function flag(describe: string, group: string, more: OptionDetails = {}) {
  const isGiven = (given: unknown): boolean => given === true
  return { kind: 'flag' as const, describe, group, parse: isGiven, initial: false, ...more }
}

function counter(describe: string, group: string, more: OptionDetails = {}) {
  const times = (given: unknown): number => Number(given)
  return { kind: 'counter' as const, describe, group, parse: times, initial: 0, ...more }
}

function parseMechanism(word: unknown): MechanismName {
  return oneOf(...MECHANISMS)(parseText(word).toUpperCase())
}
