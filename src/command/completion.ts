import { optionsInWord, type TypedOption } from './arguments.js'
import { createParser } from './help.js'

/** Prints a completion script for the user's shell. */
export function printCompletionScript(): void {
  createParser().completion('--completion', false).showCompletionScript()
}
/** What could stand in place of the last word; `profiles` where a server can. */
export async function completeWords(words: readonly string[], profiles: readonly string[] = []): Promise<string[]> {
  const found = await createParser({ choices: true }).getCompletion([...words])
  // yargs lists the letters too, with two dashes.
  return [...completeServers(words, profiles), ...found.filter((word) => !/^--.(?:[:\t]|$)/.test(word))]
}
/** Profiles that go on with the last word: the first one that is no option, and none that it has already. */
export function completeServers(words: readonly string[], profiles: readonly string[]): string[] {
  const [, ...before] = words.slice(0, -1)
  const last = words.at(-1) ?? ''
  let takesValue = false
  for (const word of before) {
    const said: TypedOption[] = takesValue ? [] : optionsInWord(word)
    const isPlain = !takesValue && said.length === 0
    if (isPlain || said.some(({ name }) => name === 'all' || name === 'mx')) return []
    takesValue = said.some(
      ({ row, hasValue: attached }) => (row?.kind === 'value' || row?.kind === 'list') && !attached,
    )
  }
  if (takesValue || last.startsWith('-')) return []
  const given = last.split(',').slice(0, -1)
  const front = given.map((word) => `${word},`).join('')
  const left = profiles.filter((name) => !given.includes(name))
  return left.map((name) => front + name).filter((name) => name.startsWith(last))
}
