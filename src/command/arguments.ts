import type { Options as ParserOptions } from 'yargs-parser'
import { UsageError } from '../errors.js'
import { hidePassword } from '../input/hide-password.js'
import { findConflict, formatOption, OPTION_ROWS, type OptionRow, type PartialOptions } from './options.js'

export type CommandLine = {
  readonly options: PartialOptions
  readonly words: readonly string[]
  /** The options as they were typed */
  readonly typed: Readonly<Record<string, unknown>>
}

/** Returns the options and the other words of the command line. Throws UsageError. */
export async function parseArguments(argv: readonly string[]): Promise<CommandLine> {
  const { words, typed } = await splitWords(argv)
  return { options: optionsOfWords(typed), words, typed }
}

/** Returns what yargs makes of the words. Throws UsageError, whose messages are our own. */
export async function splitWords(argv: readonly string[]): Promise<Omit<CommandLine, 'options'>> {
  const rows = await checkWords(argv)
  // The parser takes long to load, and neither a line without options nor a flag alone, such as --version, needs it.
  if (!argv.some((word) => word.startsWith('-'))) return { words: argv, typed: {} }
  const flag = flagAlone(argv)
  if (flag !== undefined) return { words: [], typed: flag }
  const { parseWords } = await import('./words.js')
  const { _: words, ...typed } = parseWords([...argv], parserOptionsOf(rows))
  return { words: words.map(String), typed }
}

/** Settings of yargs, and of its parser, which is all that a run needs of it. */
export const PARSER_CONFIGURATION = {
  'parse-numbers': false,
  'parse-positional-numbers': false,
  'dot-notation': false,
  'boolean-negation': false,
  'camel-case-expansion': false,
} as const

/** Returns what the parser would make of a flag that is the whole line; undefined for any other line. */
function flagAlone([word, ...more]: readonly string[]): CommandLine['typed'] | undefined {
  for (const [name, { kind, alias = [] }] of more.length === 0 ? OPTION_ROWS : []) {
    const forms = [name, alias].flat()
    const isMeant = kind === 'flag' && forms.some((form) => formatOption(form) === word)
    if (isMeant) return Object.fromEntries(forms.map((form) => [form, true]))
  }
  return undefined
}

/** Returns what the parser must know of the options in a line: with all options it would take much longer. */
function parserOptionsOf(rows: ReadonlySet<OptionRow>): ParserOptions {
  const known = [...OPTION_ROWS].filter(([, row]) => rows.has(row))
  const namesOfKinds = (...kinds: readonly OptionRow['kind'][]): string[] =>
    known.flatMap(([name, { kind }]) => (kinds.includes(kind) ? name : []))
  const withValue = known.filter(([, row]) => takesValue(row) && !row.isOptional)
  return {
    boolean: namesOfKinds('flag'),
    count: namesOfKinds('counter'),
    string: namesOfKinds('value', 'list'),
    narg: Object.fromEntries(withValue.map(([name]) => [name, 1])),
    alias: Object.fromEntries(known.map(([name, { alias }]) => [name, alias ?? []])),
    configuration: PARSER_CONFIGURATION,
  }
}

/** Returns the options in what yargs has parsed. Throws UsageError, which names the option and a value that could be typed. */
function optionsOfWords(parsed: Readonly<Record<string, unknown>>): PartialOptions {
  const rows = [...OPTION_ROWS].filter(([name]) => parsed[name] !== undefined && parsed[name] !== 0)
  const options = Object.fromEntries(rows.map(([name, row]) => [name, parseOption(name, row, parsed[name])]))
  const conflict = findConflict(options)
  if (conflict === undefined) return options
  const [first, second] = conflict.map((name) => formatOption(OPTION_ROWS.get(name)?.alias ?? name))
  throw new UsageError(`${first ?? ''} and ${second ?? ''} can't be used together; use only one`)
}

function parseOption(name: string, row: OptionRow, given: unknown): unknown {
  // If an option is repeated, the last one wins: the alias of a shell can be overridden.
  const last: unknown = Array.isArray(given) && row.kind !== 'list' ? given.at(-1) : given
  try {
    return row.parse(last)
  } catch (error) {
    if (!(error instanceof Error) || row.example === undefined) throw error
    const shown: unknown = Array.isArray(last) ? last.at(-1) : last
    const word = hidePassword(String(shown))
    const option = formatOption(name)
    const values = row.kind === 'list' ? word.split(/[,;]/).filter((one) => one !== '') : []
    const repeated = values.map((one) => `${option} ${one}`).join(' ')
    const advice = values.length > 1 ? `repeat the option: ${repeated}` : `write, for example, ${option} ${row.example}`
    throw new UsageError(`${option} "${word}" ${error.message}; ${advice}`)
  }
}

/** Returns the options of a line. Throws UsageError for unknown ones and missing values, which yargs reports in its own words. */
async function checkWords(argv: readonly string[]): Promise<ReadonlySet<OptionRow>> {
  const rows = new Set<OptionRow>()
  for (let index = 0; index < argv.length && argv[index] !== '--'; index++) {
    const word = argv[index] ?? ''
    for (const { name, row, hasValue } of optionsInWord(word)) {
      if (row === undefined) {
        const { unknownOption } = await import('./suggest.js')
        throw unknownOption(name, word)
      }
      rows.add(row)
      const option = formatOption(name)
      if (!takesValue(row)) {
        // yargs takes the words true and false for the value of a flag.
        const isTaken = /^(?:true|false)$/.test(argv[index + 1] ?? '')
        if (hasValue || isTaken) throw new UsageError(`${option} takes no value; write only ${option}`)
        continue
      }
      // yargs takes the next word for the value of an option `=`.
      const isEmpty = /^-[^-=]+=$/.test(word)
      if (hasValue && !isEmpty) continue
      const next = isEmpty ? undefined : argv[++index]
      if (row.isOptional) {
        if (/^-./.test(next ?? '')) index--
        continue
      }
      if (next === undefined || /^-./.test(next))
        throw new UsageError(`${option} needs a value, for example ${option} ${row.example ?? ''}`)
    }
  }
  return rows
}

export function takesValue({ kind }: OptionRow): boolean {
  return kind === 'value' || kind === 'list'
}

type TypedOption = { readonly name: string; readonly row: OptionRow | undefined; readonly hasValue: boolean }

/** Returns the options in one word: `--name`, `--name=value`, `-kq`, `-p25`; none in any other word. */
export function optionsInWord(word: string): TypedOption[] {
  const long = /^--([^=]+)(=)?/.exec(word)
  if (long !== null) {
    const [, name = '', equals] = long
    return [{ name, row: name.length > 1 ? OPTION_ROWS.get(name) : undefined, hasValue: equals !== undefined }]
  }
  const found: TypedOption[] = []
  for (let rest = /^-(.+)/.exec(word)?.[1] ?? ''; rest !== '';) {
    const letter = rest.slice(0, 1)
    const row = [...OPTION_ROWS].find(([name, { alias }]) => name === letter || alias === letter)?.[1]
    const takesRest = row === undefined || takesValue(row) || rest[1] === '='
    // After another letter yargs takes a digit for the value of that letter.
    const isLost = found.length > 0 && /^\d/.test(letter)
    const hasValue = takesRest && rest.length > 1
    found.push(isLost ? { name: rest, row: undefined, hasValue } : { name: letter, row, hasValue })
    rest = takesRest ? '' : rest.slice(1)
  }
  // yargs takes several digits for a number, not for two options.
  return found.length > 1 && /^-\d+$/.test(word) ? [{ name: word.slice(1), row: undefined, hasValue: false }] : found
}
