import { joinChoices } from '../input/option-values.js'
import { OPTION_ROWS, type OptionRow } from './options.js'

const DEFAULT_COLUMNS = 80
const MIN_COLUMNS = 40
const MAX_COLUMNS = 100
/** In a narrower terminal each description stands below its option. */
const WIDE_COLUMNS = 60
const NARROW_INDENT = 8
/** An option that is longer than this column has a line of its own. */
const OPTION_COLUMN = 28

/** A term, and the text in the column beside it */
type Entry = readonly [term: string, text: string]

export type HelpOptions = {
  /** The width of the terminal; undefined or 0 if it is unknown */
  readonly columns: number | undefined
  /** True for all options; otherwise the main ones, on a screen of 80 x 24 */
  readonly isVerbose: boolean
}

export function helpText({ columns, isVerbose }: HelpOptions): string {
  // Some terminals wrap a line that fills the last column.
  const width = Math.min(Math.max(columns || DEFAULT_COLUMNS, MIN_COLUMNS), MAX_COLUMNS) - 1
  const blocks = isVerbose ? fullHelp(width) : shortHelp(width)
  return blocks.map((lines) => lines.join('\n')).join('\n\n')
}

const USAGE: readonly Entry[] = [
  ['Usage:', 'etrn [options] SERVER[,SERVER...] [NAME ...]'],
  ['', 'etrn [options] --mx DOMAIN [NAME ...]'],
  ['', 'etrn [options] --all'],
]

const EXAMPLES: readonly Entry[] = [
  ['Examples:', 'etrn mail.isp.example site.example'],
  ['', 'etrn --retry-for 10m --mx site.example'],
  ['', 'etrn --hook cron mail.isp.example site.example'],
]

const COMMON_OPTIONS = [
  ...['mx', 'names-from', 'retry-for', 'wait', 'tls', 'user', 'password-file'],
  ...['check', 'hook', 'json', 'quiet', 'verbose'],
]

function shortHelp(width: number): string[][] {
  const rows = COMMON_OPTIONS.flatMap((name) => [...OPTION_ROWS].filter(([key]) => key === name))
  return [
    formatEntries(USAGE, width, 'Usage: '.length),
    wrap('Request the mail queued on SERVER for NAME (ETRN, RFC 1985).', width),
    formatEntries(
      rows.map(([name, row]) => [optionTerm(name, row), row.describe]),
      width,
      OPTION_COLUMN,
    ),
    formatEntries(
      [...EXAMPLES, ['More:', 'etrn --help --verbose (all options), man etrn']],
      width,
      'Examples: '.length,
    ),
  ]
}

const PURPOSE = `Request the mail queued on SERVER for NAME (ETRN, RFC 1985). The server replies at once, and delivers later over new
connections. Without NAME, etrn requests the DOMAIN of --mx, else this host's own name.`

function fullHelp(width: number): string[][] {
  const groups = [...new Set([...OPTION_ROWS.values()].map(({ group }) => group))]
  return [
    formatEntries(USAGE, width, 'Usage: '.length),
    wrap(PURPOSE, width),
    formatEntries(placeholderEntries(), width),
    ...groups.map((group) => [`${group}:`, ...formatEntries(optionEntries(group), width, OPTION_COLUMN)]),
    ['Exit status:', ...formatEntries(EXIT_STATUSES, width)],
    formatEntries([...EXAMPLES, ['More:', 'man etrn']], width, 'Examples: '.length),
  ]
}

/** Returns the words that stand for values, with what they stand for. */
function placeholderEntries(): Entry[] {
  const choicesOf = (option: string): string => joinChoices(OPTION_ROWS.get(option)?.choices ?? [])
  return [
    ['SERVER', 'HOST, HOST:PORT, smtp://HOST, smtps://HOST (TLS from the start), or a profile of the configuration'],
    ['HOST', 'mail.isp.example, 192.0.2.1 or [2001:db8::1]'],
    ['NAME', "site.example, @site.example (with its subdomains) or '#queue'"],
    ['DUR', '90, 90s, 2m or 1h30m'],
    [
      'LEVEL',
      'none (no TLS), may (TLS if offered), encrypt (TLS required), or verify (TLS and a valid certificate required)',
    ],
    ['MECHANISM', choicesOf('auth')],
    ['KIND', choicesOf('hook')],
    ['SHELL', choicesOf('completion')],
  ]
}

const EXIT_STATUSES: readonly Entry[] = [
  ['   0', 'every name was accepted'],
  ['   2', "accepted, but the server can't tell whether mail is waiting (--wait)"],
  ['  64', 'an option, server or name is wrong; nothing was sent'],
  ['  65', 'a name was rejected'],
  ['  66', "a file can't be read, or a command fails"],
  ['  68', 'no such host, or no mail exchanger to request from'],
  ['  69', 'ETRN not supported, or the server is permanently unavailable (5xx)'],
  ['  70', 'a bug in etrn'],
  ['  74', "the output can't be written"],
  ['  75', 'a temporary failure; try again'],
  ['  76', 'an SMTP or TLS failure'],
  ['  77', 'not allowed, or the login failed'],
  ['  78', 'the configuration is wrong or unsafe'],
]

function optionEntries(wanted: string): Entry[] {
  const rows = [...OPTION_ROWS].filter(([, { group }]) => group === wanted)
  return rows.map(([name, row]) => {
    const defaultText = row.default ?? row.defaultText
    const suffix = defaultText === undefined ? '' : ` (default ${defaultText})`
    return [optionTerm(name, row), row.describe + suffix]
  })
}

function optionTerm(name: string, { alias, placeholder, isOptional }: OptionRow): string {
  const value = placeholder === undefined ? '' : isOptional ? ` [${placeholder}]` : ` ${placeholder}`
  return `  ${alias === undefined ? '   ' : `-${alias},`} --${name}${value}`
}

/** Returns lines with the terms on the left, and the wrapped texts in a column of their own. */
function formatEntries(entries: readonly Entry[], width: number, wideColumn?: number): string[] {
  const longest = Math.max(...entries.map(([term]) => term.length))
  const isNarrow = longest > NARROW_INDENT && width < WIDE_COLUMNS
  const column = isNarrow ? NARROW_INDENT : (wideColumn ?? longest + 2)
  return entries.flatMap(([term, text]) => {
    const lines = wrap(text, width - column)
    const isBeside = term.length < column
    const indented = lines.map((line, index) => (isBeside && index === 0 ? term : '').padEnd(column) + line)
    return isBeside ? indented : [term, ...indented]
  })
}

/** Returns the words of a text in lines. A word that is longer than a line has one to itself. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  for (const word of text.split(/\s+/)) {
    const line = lines.at(-1)
    if (line === undefined || line.length + 1 + word.length > width) lines.push(word)
    else lines[lines.length - 1] = `${line} ${word}`
  }
  return lines
}
