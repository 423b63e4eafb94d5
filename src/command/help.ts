import { OPTION_ROWS, type OptionRow } from './options.js'

const DEFAULT_COLUMNS = 80
const MIN_COLUMNS = 40
const MAX_COLUMNS = 100
/** In a narrower terminal each description stands below its option. */
const WIDE_COLUMNS = 60
const NARROW_INDENT = 8
/** Fits the longest of the main options. */
const OPTION_COLUMN = 28

/** A term, and the text in the column beside it */
export type Entry = readonly [term: string, text: string]

const MAIN_OPTIONS = [
  ...['mx', 'names-from', 'retry-for', 'wait', 'tls', 'user', 'password-file'],
  ...['check', 'hook', 'json', 'quiet', 'verbose'],
]

export const USAGE: readonly Entry[] = [
  ['Usage:', 'etrn [options] SERVER[,SERVER...] [NAME ...]'],
  ['', 'etrn [options] --mx DOMAIN [NAME ...]'],
  ['', 'etrn [options] --all'],
]

export const EXAMPLES: readonly Entry[] = [
  ['Examples:', 'etrn mail.isp.example site.example'],
  ['', 'etrn --retry-for 10m --mx site.example'],
  ['', 'etrn --hook cron mail.isp.example site.example'],
]

/** Returns the help with the main options, on one screen of 80 x 24. The columns are undefined or 0 if they are unknown. */
export function helpText(columns: number | undefined): string {
  const width = helpWidth(columns)
  const rows = MAIN_OPTIONS.flatMap((name) => [...OPTION_ROWS].filter(([key]) => key === name))
  const parts = [
    formatEntries(USAGE, width, 'Usage: '.length),
    wrapText('Request the mail queued on SERVER for NAME (ETRN, RFC 1985).', width).join('\n'),
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
  return parts.join('\n\n')
}

/** Returns the width of a help text. Some terminals wrap a line that fills the last column. */
export function helpWidth(columns: number | undefined): number {
  return Math.min(Math.max(columns || DEFAULT_COLUMNS, MIN_COLUMNS), MAX_COLUMNS) - 1
}

function optionTerm(name: string, row: OptionRow): string {
  return `  ${row.alias === undefined ? '   ' : `-${row.alias},`} --${name}${placeholderOf(row)}`
}

/** Returns what stands for an option's value, with the blank in front of it: ` DOMAIN`, ` [SHELL]`. */
export function placeholderOf({ placeholder, isOptional }: OptionRow): string {
  if (placeholder === undefined) return ''
  return isOptional ? ` [${placeholder}]` : ` ${placeholder}`
}

/**
 * Returns ASCII text in lines of at most so many characters; a longer word has a line of its own. The packages that wrap text load tables
 * of Unicode, which take longer than all the rest of --help.
 */
export function wrapText(text: string, width: number): string[] {
  return text.match(new RegExp(`\\S(?:.{0,${width - 2}}\\S)?(?!\\S)|\\S+`, 'g')) ?? ['']
}

/** Returns lines with the terms on the left, and the wrapped texts in a column of their own. */
export function formatEntries(entries: readonly Entry[], width: number, wideColumn?: number): string {
  const longest = Math.max(...entries.map(([term]) => term.length))
  const isNarrow = longest > NARROW_INDENT && width < WIDE_COLUMNS
  const column = isNarrow ? NARROW_INDENT : (wideColumn ?? longest + 2)
  const lines = entries.flatMap(([term, text]) => {
    const [first = '', ...others] = wrapText(text, width - column)
    const isBeside = term.length < column
    const start = isBeside ? [term.padEnd(column) + first] : [term, ' '.repeat(column) + first]
    return [...start, ...others.map((line) => ' '.repeat(column) + line)]
  })
  return lines.join('\n')
}
