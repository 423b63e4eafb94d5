import parser from 'yargs-parser'
import { UsageError } from '../errors.js'
import { dashed, type Layer, layerOf, type Row, ROWS } from './options.js'

export type CommandLine = {
  readonly said: Layer
  readonly words: readonly string[]
  /** The options as they were typed */
  readonly given: Readonly<Record<string, unknown>>
}

/** Options and the other words of the command line. Throws UsageError. */
export async function parseCommandLine(argv: readonly string[]): Promise<CommandLine> {
  const { words, given } = await readWords(argv)
  return { said: layerOf(given), words, given }
}

/** The same as yargs reads it, but for its words where it refuses something. Throws UsageError. */
export async function readWords(argv: readonly string[]): Promise<Omit<CommandLine, 'said'>> {
  await checkWords(argv)
  const { _: words, ...given } = parser([...argv], PARSED)
  return { words: words.map(String), given }
}

/** How yargs and its parser, which is all that a run needs of it, read the words. */
export const PARSER = {
  'parse-numbers': false,
  'parse-positional-numbers': false,
  'dot-notation': false,
  'boolean-negation': false,
  'camel-case-expansion': false,
} as const

const named = (...kinds: readonly Row['kind'][]): string[] =>
  [...ROWS].flatMap(([name, { kind }]) => (kinds.includes(kind) ? name : []))

const PARSED = {
  boolean: named('flag'),
  count: named('counter'),
  string: named('value', 'list'),
  narg: Object.fromEntries(named('value', 'list').map((name) => [name, 1])),
  alias: Object.fromEntries([...ROWS].flatMap(([name, { alias }]) => (alias === undefined ? [] : [[name, alias]]))),
  configuration: PARSER,
}

/** Refuses unknown options and missing values in words of our own; what passes here, yargs understands. */
async function checkWords(argv: readonly string[]): Promise<void> {
  for (let at = 0; at < argv.length && argv[at] !== '--'; at++) {
    const word = argv[at] ?? ''
    for (const { name, row, attached } of optionsIn(word)) {
      if (row === undefined) {
        const { unknownOption } = await import('./suggest.js')
        throw unknownOption(name, word)
      }
      const wantsValue = row.kind === 'value' || row.kind === 'list'
      // yargs would take these two words for a flag's value.
      const isTaken = !wantsValue && /^(?:true|false)$/.test(argv[at + 1] ?? '')
      if (!wantsValue && (attached || isTaken)) {
        throw new UsageError(`${dashed(name)} takes no value: type ${dashed(name)} alone`)
      }
      // yargs would take the next word for the value of an option =.
      const isEmpty = /^-[^-=]+=$/.test(word)
      if (!wantsValue || (attached && !isEmpty)) continue
      const next = isEmpty ? undefined : argv[++at]
      if (next === undefined || /^-./.test(next)) {
        throw new UsageError(`${dashed(name)} needs a value, for example ${dashed(name)} ${row.example ?? ''}`)
      }
    }
  }
}

export type Said = { readonly name: string; readonly row: Row | undefined; readonly attached: boolean }

/** The options that one word holds: `--name`, `--name=value`, `-kq`, `-p25`; none in any other word. */
export function optionsIn(word: string): Said[] {
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
