import { optionsIn, type Said } from './arguments.js'
import { parser } from './help.js'

/** Prints a completion script for the user's shell. */
export function showCompletionScript(): void {
  parser().completion('--completion', false).showCompletionScript()
}
/** What could stand in place of the last word; `profiles` where a server can. */
export async function completions(words: readonly string[], profiles: readonly string[] = []): Promise<string[]> {
  const found = await parser({ choices: true }).getCompletion([...words])
  // yargs lists the letters too, with two dashes.
  return [...serversFor(words, profiles), ...found.filter((word) => !/^--.(?:[:\t]|$)/.test(word))]
}
/** Profiles that go on with the last word: the first one that is no option, and none that it has already. */
export function serversFor(words: readonly string[], profiles: readonly string[]): string[] {
  const [, ...before] = words.slice(0, -1)
  const last = words.at(-1) ?? ''
  let takesValue = false
  for (const word of before) {
    const said: Said[] = takesValue ? [] : optionsIn(word)
    const isPlain = !takesValue && said.length === 0
    if (isPlain || said.some(({ name }) => name === 'all' || name === 'mx')) return []
    takesValue = said.some(({ row, attached }) => (row?.kind === 'value' || row?.kind === 'list') && !attached)
  }
  if (takesValue || last.startsWith('-')) return []
  const given = last.split(',').slice(0, -1)
  const front = given.map((word) => `${word},`).join('')
  const left = profiles.filter((name) => !given.includes(name))
  return left.map((name) => front + name).filter((name) => name.startsWith(last))
}
