import yargs from 'yargs'
import { UsageError } from './outcome.js'
import { printable } from './printable.js'
import type { MechanismName } from './smtp/auth.js'
import type { TlsLevel } from './smtp/tls.js'
import { count, duration, fingerprint, oneOf, port, text } from './values.js'

const LEVELS = ['none', 'may', 'encrypt', 'verify'] as const satisfies readonly TlsLevel[]
const VERSIONS = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const
/** Those of smtp/auth.ts, which only a login loads */
const MECHANISMS = [
  'EXTERNAL',
  'SCRAM-SHA-256-PLUS',
  'SCRAM-SHA-256',
  'SCRAM-SHA-1',
  'CRAM-MD5',
  'PLAIN',
  'LOGIN',
  'XOAUTH2',
  'OAUTHBEARER',
] as const satisfies readonly MechanismName[]

/**
 * The one list of options. The parser, --help, completion and the type `Options` come from it; a test holds the manual against
 * it. Defaults are not given to yargs: what was said must stay apart from what wasn't.
 */
const TABLE = {
  subdomains: list('NODE', 'site.example', 'Ask for NODE and all its subdomains: the same as @NODE', 'Names'),
  queue: list('NAME', 'uucp', "Ask for a queue by the server's own name for it: the same as #NAME", 'Names'),
  'names-from': list('FILE', 'names.txt', 'Read names from FILE, one a line; - is standard input', 'Names'),
  'allow-wide': flag('Allow @ with a public suffix (@com), and names of a single label', 'Names'),

  port: value('N', '25', port, 'Port, where SERVER names none', 'Connection', {
    alias: 'p',
    default: '25; 465 for smtps',
  }),
  helo: value('NAME', 'gw.site.example', text, 'What EHLO says', 'Connection', {
    default: "this host's name, else its address",
  }),
  ipv4: flag('Use IPv4 only', 'Connection', '4'),
  ipv6: flag('Use IPv6 only', 'Connection', '6'),
  interface: value('NAME/ADDR', 'ppp0', text, 'Connect from this interface, or this address', 'Connection'),
  timeout: value(
    'DUR',
    '60s',
    duration,
    'Longest wait for one step: connecting, TLS, or one whole reply',
    'Connection',
    {
      default: '60s',
    },
  ),
  'max-time': value('DUR', '5m', duration, 'Longest time for the whole run', 'Connection', { default: 'none' }),
  jobs: value('N', '8', count, 'Sessions at once, over all servers', 'Connection', { default: '8' }),

  tls: value(
    'LEVEL',
    'verify',
    oneOf(...LEVELS),
    'none, may (not verified), encrypt (demanded), verify',
    'TLS and login',
    {
      default: 'may; verify with a login',
      choices: LEVELS,
    },
  ),
  'tls-ca': value('FILE', 'ca.pem', text, 'Authorities to trust, in PEM', 'TLS and login', { default: "the system's" }),
  'tls-fingerprint': value('SHA256', 'AB:CD:...', fingerprint, 'The certificate, pinned', 'TLS and login'),
  'tls-name': value('NAME', 'mx.isp.example', text, 'The name that the certificate has', 'TLS and login', {
    default: "the server's",
  }),
  'tls-cert': value('FILE', 'client.pem', text, "This client's own certificate, in PEM", 'TLS and login'),
  'tls-key': value('FILE', 'client.key', text, 'Its key', 'TLS and login', { default: 'in the same file' }),
  'tls-min': value('VERSION', 'TLSv1.3', oneOf(...VERSIONS), 'The oldest version to accept', 'TLS and login', {
    default: 'TLSv1.2',
    choices: VERSIONS,
  }),
  user: value('U', 'site', text, 'Log in as U', 'TLS and login'),
  'password-file': value('F', '/etc/etrn/password', text, 'Read the password from F', 'TLS and login'),
  'password-command': value('C', "'pass show isp'", text, 'Take the first line that C prints', 'TLS and login'),
  auth: value('MECH', 'PLAIN', mechanism, 'Log in by this mechanism', 'TLS and login', {
    default: 'the strongest',
    choices: MECHANISMS,
  }),

  'keep-going': flag('Go on with the other names after a refusal', 'Sending', 'k'),
  'assume-etrn': flag("Send ETRN even where the server doesn't list it", 'Sending'),

  quiet: counter('Print failures only; twice: no temporary ones either', 'Output', 'q'),
  verbose: counter('Write the SMTP dialogue to standard error', 'Output', 'v'),
  json: flag('Print one JSON document, at the end', 'Output'),
  color: value('WHEN', 'never', oneOf('auto', 'always', 'never'), 'Colour', 'Output', {
    default: 'auto',
    choices: ['auto', 'always', 'never'],
  }),

  help: flag('Show this help', 'Help', 'h'),
  version: flag('Show the version', 'Help', 'V'),
  completion: flag('Print a completion script for your shell', 'Help'),
} satisfies Record<string, Row>

type Row<T = unknown> = {
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
  /** From what yargs gives for this kind; throws a plain Error with the rule that the value breaks. */
  readonly parse: (given: unknown) => T
}

const ROWS: ReadonlyMap<string, Row> = new Map<string, Row>(Object.entries(TABLE))

/** What the command line says, by the options' own names. Durations are milliseconds; undefined: not said. */
export type Options = { readonly [K in keyof typeof TABLE]: ReturnType<(typeof TABLE)[K]['parse']> }

export type CommandLine = { readonly options: Options; readonly words: readonly string[] }

/** Options and the other words of the command line. Throws UsageError. */
export async function parseCommandLine(argv: readonly string[]): Promise<CommandLine> {
  await checkWords(argv)
  const parsed: Record<string, unknown> = await parser().parse([...argv])
  const options = Object.fromEntries([...ROWS].map(([name, row]) => [name, parseValue(name, row, parsed[name])]))
  const words = parsed['_']
  // The options were made row by row from the table that their type is made of.
  return { options: options as Options, words: Array.isArray(words) ? words.map(String) : [] }
}

/** The text of --help. */
export async function help(): Promise<string> {
  return parser({ choices: true }).getHelp()
}

/** Prints a completion script for the user's shell. */
export function showCompletionScript(): void {
  parser().completion('--completion', false).showCompletionScript()
}

/** What could stand in place of the last word. */
export async function completions(words: readonly string[]): Promise<string[]> {
  const found = await parser({ choices: true }).getCompletion([...words])
  // yargs lists the letters too, with two dashes.
  return found.filter((word) => !/^--.(?:[:\t]|$)/.test(word))
}

/** Names of the options, as the manual has to have them. */
export function optionNames(): string[] {
  return [...ROWS].flatMap(([name, row]) => [dashed(name), ...(row.alias === undefined ? [] : [dashed(row.alias)])])
}

function mechanism(word: unknown): MechanismName {
  return oneOf(...MECHANISMS)(text(word).toUpperCase())
}

type More = Pick<Row, 'alias' | 'default' | 'choices'>

function value<T>(
  placeholder: string,
  example: string,
  parse: (word: unknown) => T,
  describe: string,
  group: string,
  more: More = {},
) {
  // Said twice, the last one holds, so that a shell's alias can be overridden.
  const last = (given: unknown): T | undefined =>
    given === undefined ? undefined : parse(Array.isArray(given) ? given.at(-1) : given)
  return { kind: 'value' as const, placeholder, example, describe, group, parse: last, ...more }
}

function list(placeholder: string, example: string, describe: string, group: string) {
  const all = (given: unknown): string[] => (given === undefined ? [] : [given].flat().map(text))
  return { kind: 'list' as const, placeholder, example, describe, group, parse: all }
}

function flag(describe: string, group: string, alias?: string) {
  const isGiven = (given: unknown): boolean => given === true
  return { kind: 'flag' as const, describe, group, parse: isGiven, ...(alias === undefined ? {} : { alias }) }
}

function counter(describe: string, group: string, alias: string) {
  const times = (given: unknown): number => (typeof given === 'number' ? given : 0)
  return { kind: 'counter' as const, describe, group, alias, parse: times }
}

function parseValue(name: string, row: Row, given: unknown): unknown {
  try {
    return row.parse(given)
  } catch (error) {
    if (!(error instanceof Error) || row.example === undefined) throw error
    const said: unknown = Array.isArray(given) ? given.at(-1) : given
    const option = `${dashed(name)} "${printable(String(said))}"`
    throw new UsageError(`${option}: ${error.message}; for example ${dashed(name)} ${row.example}`)
  }
}

/** Refuses unknown options and missing values in words of our own; what passes here, yargs understands. */
async function checkWords(argv: readonly string[]): Promise<void> {
  for (let at = 0; at < argv.length && argv[at] !== '--'; at++) {
    const word = argv[at] ?? ''
    for (const { name, row, attached } of optionsIn(word)) {
      if (row === undefined) throw await unknownOption(name, word)
      const wantsValue = row.kind === 'value' || row.kind === 'list'
      // yargs would take these two words for a flag's value.
      const isTaken = !wantsValue && /^(?:true|false)$/.test(argv[at + 1] ?? '')
      if (!wantsValue && (attached || isTaken)) {
        throw new UsageError(`${dashed(name)} takes no value: type ${dashed(name)} alone`)
      }
      if (!wantsValue || attached) continue
      const next = argv[++at]
      if (next === undefined || /^-./.test(next)) {
        throw new UsageError(`${dashed(name)} needs a value, for example ${dashed(name)} ${row.example ?? ''}`)
      }
    }
  }
}

type Said = { readonly name: string; readonly row: Row | undefined; readonly attached: boolean }

/** The options that one word holds: `--name`, `--name=value`, `-kq`, `-p25`; none in any other word. */
function optionsIn(word: string): Said[] {
  const long = /^--([^=]+)(=)?/.exec(word)
  if (long !== null) {
    const [, name = '', equals] = long
    return [{ name, row: name.length > 1 ? ROWS.get(name) : undefined, attached: equals !== undefined }]
  }
  const said: Said[] = []
  for (let rest = /^-(.+)/.exec(word)?.[1] ?? ''; rest !== '';) {
    const name = rest.slice(0, 1)
    const row = [...ROWS].find(([key, r]) => key === name || r.alias === name)?.[1]
    const takesRest = row === undefined || row.kind === 'value' || row.kind === 'list' || rest[1] === '='
    // After another letter yargs takes a digit for that one's value.
    const isLost = said.length > 0 && /^\d/.test(name)
    said.push({ name: isLost ? rest : name, row: isLost ? undefined : row, attached: takesRest && rest.length > 1 })
    rest = takesRest ? '' : rest.slice(1)
  }
  // yargs takes several digits for a number, not for two options.
  return said.length > 1 && /^-\d+$/.test(word) ? [{ name: word.slice(1), row: undefined, attached: false }] : said
}

async function unknownOption(name: string, word: string): Promise<UsageError> {
  if (name === 'no-color') return new UsageError('unknown option --no-color; did you mean --color never?')
  const { closest } = await import('./nearest.js')
  const known = [...ROWS.keys()]
  // -version is meant as --version.
  const long = name.length > 1 ? name : known.find((key) => `-${key}` === word)
  if (long === undefined || /^\d+$|^no-/.test(long)) {
    const shown = /^-\d+$/.test(word) || name.length === 1 ? `-${name}` : word.replace(/=.*/s, '')
    return new UsageError(`unknown option ${printable(shown)}; etrn --help lists them all`)
  }
  return new UsageError(
    `unknown option ${printable(word.replace(/=.*/s, ''))}; did you mean ${dashed(closest(long, known))}?`,
  )
}

function dashed(name: string): string {
  return name.length > 1 ? `--${name}` : `-${name}`
}

function parser({ choices = false } = {}) {
  const options = [...ROWS].map(([name, row]) => [
    name,
    {
      describe: row.placeholder === undefined ? row.describe : `${row.placeholder}: ${row.describe}`,
      group: `${row.group}:`,
      ...(row.kind === 'flag'
        ? { type: 'boolean' }
        : row.kind === 'counter'
          ? { type: 'count' }
          : { type: 'string', nargs: 1 }),
      ...(row.alias === undefined ? {} : { alias: row.alias }),
      ...(row.default === undefined ? {} : { defaultDescription: row.default }),
      ...(choices && row.choices !== undefined ? { choices: row.choices } : {}),
    },
  ])
  return yargs()
    .help(false)
    .version(false)
    .locale('en')
    .exitProcess(false)
    .scriptName('etrn')
    .usage(USAGE)
    .epilogue(EPILOGUE)
    .options(Object.fromEntries(options))
    .parserConfiguration({
      'parse-numbers': false,
      'parse-positional-numbers': false,
      'dot-notation': false,
      'boolean-negation': false,
      'camel-case-expansion': false,
    })
    .fail((message, error: Error | undefined) => {
      throw error ?? new UsageError(message)
    })
}

const USAGE = `etrn [options] SERVER[,SERVER...] [NAME ...]

Asks a mail server to send the mail that it holds for your site, now
(ETRN, RFC 1985).

SERVER\thost, host:port, 192.0.2.1, [2001:db8::1]:port, smtp://host,\n\tsmtps://host
NAME\tsite.example, @site.example (with its subdomains), '#queue';
none:\tthis host's own name`

const EPILOGUE = `Exit status: 0 every name was accepted, 64 bad usage, 65 a name was rejected,
69 no ETRN there, 75 worth trying again, 76 not SMTP, 77 not allowed.
More of it, and examples: man etrn`
