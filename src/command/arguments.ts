import parser from 'yargs-parser'
import { UsageError } from '../errors.js'
import { formatOption, type PartialOptions, optionsOfWords, type OptionRow, OPTION_ROWS } from './options.js'

export type CommandLine = {
  readonly options: PartialOptions
  readonly words: readonly string[]
  /** The options as they were typed */
  readonly typed: Readonly<Record<string, unknown>>
}

/** Options and the other words of the command line. Throws UsageError. */
export async function parseArguments(argv: readonly string[]): Promise<CommandLine> {
  const { words, typed: given } = await splitWords(argv)
  return { options: optionsOfWords(given), words, typed: given }
}

/** The same as yargs reads it, but for its words where it refuses something. Throws UsageError. */
export async function splitWords(argv: readonly string[]): Promise<Omit<CommandLine, 'options'>> {
  await checkWords(argv)
  const { _: words, ...given } = parser([...argv], PARSER_OPTIONS)
  return { words: words.map(String), typed: given }
}

/** How yargs and its parser, which is all that a run needs of it, read the words. */
export const PARSER_CONFIGURATION = {
  'parse-numbers': false,
  'parse-positional-numbers': false,
  'dot-notation': false,
  'boolean-negation': false,
  'camel-case-expansion': false,
} as const

const namesOfKinds = (...kinds: readonly OptionRow['kind'][]): string[] =>
  [...OPTION_ROWS].flatMap(([name, { kind }]) => (kinds.includes(kind) ? name : []))

const PARSER_OPTIONS = {
  boolean: namesOfKinds('flag'),
  count: namesOfKinds('counter'),
  string: namesOfKinds('value', 'list'),
  narg: Object.fromEntries(namesOfKinds('value', 'list').map((name) => [name, 1])),
  alias: Object.fromEntries(
    [...OPTION_ROWS].flatMap(([name, { alias }]) => (alias === undefined ? [] : [[name, alias]])),
  ),
  configuration: PARSER_CONFIGURATION,
}

/** Refuses unknown options and missing values in words of our own; what passes here, yargs understands. */
async function checkWords(argv: readonly string[]): Promise<void> {
  for (let at = 0; at < argv.length && argv[at] !== '--'; at++) {
    const word = argv[at] ?? ''
    for (const { name, row, hasValue: attached } of optionsInWord(word)) {
      if (row === undefined) {
        const { unknownOption } = await import('./suggest.js')
        throw unknownOption(name, word)
      }
      const wantsValue = row.kind === 'value' || row.kind === 'list'
      // yargs would take these two words for a flag's value.
      const isTaken = !wantsValue && /^(?:true|false)$/.test(argv[at + 1] ?? '')
      if (!wantsValue && (attached || isTaken)) {
        throw new UsageError(`${formatOption(name)} takes no value: type ${formatOption(name)} alone`)
      }
      // yargs would take the next word for the value of an option =.
      const isEmpty = /^-[^-=]+=$/.test(word)
      if (!wantsValue || (attached && !isEmpty)) continue
      const next = isEmpty ? undefined : argv[++at]
      if (next === undefined || /^-./.test(next)) {
        throw new UsageError(
          `${formatOption(name)} needs a value, for example ${formatOption(name)} ${row.example ?? ''}`,
        )
      }
    }
  }
}

export type TypedOption = { readonly name: string; readonly row: OptionRow | undefined; readonly hasValue: boolean }

/** The options that one word holds: `--name`, `--name=value`, `-kq`, `-p25`; none in any other word. */
export function optionsInWord(word: string): TypedOption[] {
  const long = /^--([^=]+)(=)?/.exec(word)
  if (long !== null) {
    const [, name = '', equals] = long
    return [{ name, row: name.length > 1 ? OPTION_ROWS.get(name) : undefined, hasValue: equals !== undefined }]
  }
  const said: TypedOption[] = []
  for (let rest = /^-(.+)/.exec(word)?.[1] ?? ''; rest !== '';) {
    const name = rest.slice(0, 1)
    const row = [...OPTION_ROWS].find(([key, r]) => key === name || r.alias === name)?.[1]
    const takesRest = row === undefined || row.kind === 'value' || row.kind === 'list' || rest[1] === '='
    // After another letter yargs takes a digit for that one's value.
    const isLost = said.length > 0 && /^\d/.test(name)
    said.push({ name: isLost ? rest : name, row: isLost ? undefined : row, hasValue: takesRest && rest.length > 1 })
    rest = takesRest ? '' : rest.slice(1)
  }
  // yargs takes several digits for a number, not for two options.
  return said.length > 1 && /^-\d+$/.test(word) ? [{ name: word.slice(1), row: undefined, hasValue: false }] : said
}
