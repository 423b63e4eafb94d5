import { UsageError } from '../errors.js'
import { argument, count, domain, duration, fingerprint, host, oneOf, port, sendable, text } from '../input/values.js'
import { printable } from '../printable.js'
import { type MechanismName, MECHANISMS } from '../smtp/mechanisms.js'
import type { TlsLevel } from '../smtp/tls-policy.js'

export const LEVELS = ['none', 'may', 'encrypt', 'verify'] as const satisfies readonly TlsLevel[]
export const VERSIONS = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const
const HOOKS = ['pppd', 'ifupdown', 'networkmanager', 'cron', 'systemd'] as const
const WHENS = ['auto', 'always', 'never'] as const

/** Short forms for the table below: what one run has once; what only the command line says; what belongs to one server. */
const RUN = { where: 'run' } as const
const ONCE = { where: 'command line' } as const
const LOGIN = { where: 'profile' } as const

/**
 * The one list of options. The parser, --help, completion, the configuration's keys and the type `Options` come from it; a test
 * holds the manual against it. Defaults are not given to yargs: what was said must stay apart from what wasn't.
 */
const TABLE = {
  mx: value('DOMAIN', 'site.example', domain, 'Ask the other mail exchangers of DOMAIN', 'Servers', ONCE),
  self: list('HOST', 'mx1.site.example', 'With --mx: this mail exchanger is this site itself', 'Servers', {
    parse: host,
  }),
  all: flag('Ask every profile of the configuration', 'Servers', ONCE),

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

  port: value('N', '25', port, 'Port, where SERVER names none', 'Connection', {
    alias: 'p',
    default: '25; 465 for smtps',
  }),
  helo: value('NAME', 'gw.site.example', argument, 'What EHLO says', 'Connection', {
    default: "this host's name, else its address",
  }),
  ipv4: flag('Use IPv4 only', 'Connection', { alias: '4', unit: 'family' }),
  ipv6: flag('Use IPv6 only', 'Connection', { alias: '6', unit: 'family' }),
  interface: value('NAME/ADDR', 'ppp0', argument, 'Connect from this interface, or this address', 'Connection'),
  timeout: value('DUR', '60s', duration, 'Longest wait for a step: connecting, TLS, one whole reply', 'Connection', {
    default: '60s',
  }),
  'max-time': value('DUR', '5m', duration, 'Longest time for the whole run', 'Connection', { ...RUN, default: 'none' }),
  jobs: value('N', '8', count, 'Sessions at once, over all servers', 'Connection', { ...RUN, default: '8' }),

  'retry-for': value('DUR', '10m', duration, 'Keep trying what failed temporarily', 'Patience', { default: 'off' }),
  wait: value('DUR', '30m', duration, 'Ask again until nothing is left', 'Patience', { default: 'off' }),
  interval: value('DUR', '60s', duration, 'With --wait: the time from one round to the next', 'Patience', {
    default: '60s',
  }),
  'wait-local': value('DUR', '2m', duration, "First wait for this host's own SMTP port", 'Patience', {
    ...RUN,
    default: 'off',
  }),

  tls: value('LEVEL', 'verify', oneOf(...LEVELS), 'none, may (not verified), encrypt (demanded), verify', 'TLS', {
    default: 'may; verify with a login',
    choices: LEVELS,
  }),
  'tls-ca': value('FILE', 'ca.pem', text, 'Authorities to trust, in PEM', 'TLS', {
    default: "the system's",
    isPath: true,
  }),
  'tls-fingerprint': value('SHA256', 'AB:CD:...', fingerprint, 'The certificate, pinned', 'TLS'),
  'tls-name': value('NAME', 'mx.isp.example', host, 'The name that the certificate has', 'TLS', {
    default: "the server's",
  }),
  'tls-cert': value('FILE', 'client.pem', text, "This client's own certificate, in PEM", 'TLS', { isPath: true }),
  'tls-key': value('FILE', 'client.key', text, 'Its key', 'TLS', { default: 'in the same file', isPath: true }),
  'tls-min': value('VERSION', 'TLSv1.3', oneOf(...VERSIONS), 'The oldest version to accept', 'TLS', {
    default: 'TLSv1.2',
    choices: VERSIONS,
  }),

  user: value('U', 'site', sendable, 'Log in as U', 'Login', LOGIN),
  'password-file': value('F', '/etc/etrn/password', text, 'Read the password from F', 'Login', {
    ...LOGIN,
    unit: 'password',
    isPath: true,
  }),
  'password-command': value('C', "'pass show isp'", text, 'Take the first line that C prints', 'Login', {
    ...LOGIN,
    unit: 'password',
  }),
  auth: value('MECH', 'PLAIN', mechanism, 'Log in by this mechanism', 'Login', {
    ...LOGIN,
    default: 'the strongest',
    choices: MECHANISMS,
  }),

  'keep-going': flag('Go on with the other names after a refusal', 'Sending', { alias: 'k' }),
  'assume-etrn': flag("Send ETRN even where the server doesn't list it", 'Sending'),

  check: flag('Look at all that matters, step by step; send no ETRN', 'Instead', ONCE),
  hook: value('KIND', 'pppd', oneOf(...HOOKS), 'Print a ready hook for this mechanism', 'Instead', {
    ...ONCE,
    choices: HOOKS,
  }),

  config: value('FILE', 'etrn.toml', text, 'Take the configuration from FILE alone', 'Configuration', {
    ...ONCE,
    default: '/etc/etrn/config.toml, then ~/.config/etrn/config.toml',
    isPath: true,
  }),

  quiet: counter('Print failures only; twice: no temporary ones either', 'Output', { ...RUN, alias: 'q' }),
  verbose: counter('Write the SMTP dialogue to standard error', 'Output', { ...RUN, alias: 'v' }),
  json: flag('Print one JSON document, at the end', 'Output', RUN),
  color: value('WHEN', 'never', oneOf(...WHENS), 'Colour', 'Output', { ...RUN, default: 'auto', choices: WHENS }),

  help: flag('Show this help', 'Help', { ...ONCE, alias: 'h' }),
  version: flag('Show the version', 'Help', { ...ONCE, alias: 'V' }),
  completion: flag('Print a completion script for your shell', 'Help', ONCE),
} satisfies Record<string, Row>

/** An option, whatever it takes. */
export type Row = {
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
  readonly where?: 'run' | 'profile' | 'command line'
  /** Options of a unit are one thing: who says one of them unsays what a weaker layer says of the others. */
  readonly unit?: 'names' | 'family' | 'password'
  /** From words, or from what a file has; throws a plain Error with the rule that the value breaks. */
  readonly parse: (given: unknown) => unknown
  /** What it is where nobody says it */
  readonly unsaid: unknown
}

export const ROWS: ReadonlyMap<string, Row> = new Map<string, Row>(Object.entries(TABLE))

type Value<R> = R extends { parse: (given: unknown) => infer T; unsaid: infer U } ? T | U : never

/** What holds, by the options' own names. Durations are milliseconds; undefined: not said. */
export type Options = { readonly [K in keyof typeof TABLE]: Value<(typeof TABLE)[K]> } & {
  /** NAME words, and a profile's `names` */
  readonly names: readonly string[]
}

/** What one source says: the command line, a profile, the top of a file. What it doesn't say isn't there. */
export type Layer = Partial<Options>

/** What the layers come to; the strongest stands first. */
export function settled(...layers: readonly Layer[]): Options {
  const unsaid: Record<string, unknown> = { names: [] }
  for (const [name, { unsaid: value }] of ROWS) unsaid[name] = value
  // Each value has been made by the row whose type it has.
  return Object.assign(unsaid, merged(...layers)) as Options
}

/** The layers in one; the strongest stands first. */
export function merged(...layers: readonly Layer[]): Layer {
  return layers.reduceRight(over, {})
}

/** The stronger layer over the weaker one. */
function over(weaker: Layer, stronger: Layer): Layer {
  const units = new Set(Object.keys(stronger).map(unitOf))
  const left = Object.entries(weaker).filter(([name]) => unitOf(name) === undefined || !units.has(unitOf(name)))
  return { ...(Object.fromEntries(left) as Layer), ...stronger }
}

function unitOf(name: string): Row['unit'] {
  return name === 'names' ? 'names' : ROWS.get(name)?.unit
}

/** What yargs gives, row by row. Throws UsageError, with the option and a value that could be typed. */
export function layerOf(parsed: Readonly<Record<string, unknown>>): Layer {
  const said = [...ROWS].filter(([name]) => parsed[name] !== undefined && parsed[name] !== 0)
  // As above
  return Object.fromEntries(said.map(([name, row]) => [name, valueOf(name, row, parsed[name])]))
}

function valueOf(name: string, row: Row, given: unknown): unknown {
  // Said twice, the last one holds, so that a shell's alias can be overridden.
  const last: unknown = Array.isArray(given) && row.kind !== 'list' ? given.at(-1) : given
  try {
    return row.parse(last)
  } catch (error) {
    if (!(error instanceof Error) || row.example === undefined) throw error
    const shown: unknown = Array.isArray(last) ? last.at(-1) : last
    const option = `${dashed(name)} "${printable(String(shown))}"`
    throw new UsageError(`${option}: ${error.message}; for example ${dashed(name)} ${row.example}`)
  }
}

/** Names of the options, as the manual has to have them. */
export function optionNames(): string[] {
  return [...ROWS].flatMap(([name, row]) => [dashed(name), ...(row.alias === undefined ? [] : [dashed(row.alias)])])
}

/** An option as it is typed. */
export function dashed(name: string): string {
  return name.length > 1 ? `--${name}` : `-${name}`
}

type More = Partial<Pick<Row, 'alias' | 'default' | 'choices' | 'isPath' | 'where' | 'unit'>>

function value<T>(
  placeholder: string,
  example: string,
  parse: (word: unknown) => T,
  describe: string,
  group: string,
  more: More = {},
) {
  return { kind: 'value' as const, placeholder, example, describe, group, parse, unsaid: undefined, ...more }
}

function list(
  placeholder: string,
  example: string,
  describe: string,
  group: string,
  { parse = text, ...more }: More & { readonly parse?: (word: unknown) => string } = {},
) {
  const all = (given: unknown): string[] => [given].flat().map(parse)
  return { kind: 'list' as const, placeholder, example, describe, group, parse: all, unsaid: [] as string[], ...more }
}

function flag(describe: string, group: string, more: More = {}) {
  const isGiven = (given: unknown): boolean => given === true
  return { kind: 'flag' as const, describe, group, parse: isGiven, unsaid: false, ...more }
}

function counter(describe: string, group: string, more: More = {}) {
  const times = (given: unknown): number => Number(given)
  return { kind: 'counter' as const, describe, group, parse: times, unsaid: 0, ...more }
}

function mechanism(word: unknown): MechanismName {
  return oneOf(...MECHANISMS)(text(word).toUpperCase())
}
