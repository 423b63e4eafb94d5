import { optionsInWord, takesValue } from './arguments.js'
import { createParser } from './help.js'

export function printCompletionScript(): void {
  createParser().completion('--completion', false).showCompletionScript()
}

/** Returns what can replace the last word: options, and profiles if a server can stand there. */
export async function completeWords(words: readonly string[], profiles: readonly string[] = []): Promise<string[]> {
  const found = await createParser({ choices: true }).getCompletion([...words])
  // yargs lists letters with two dashes, too.
  return [...completeServers(words, profiles), ...found.filter((word) => !/^--.(?:[:\t]|$)/.test(word))]
}

/** Returns the profiles that complete the last word, if it is the first one that is no option; without those that it already has. */
function completeServers(words: readonly string[], profiles: readonly string[]): string[] {
  const [, ...before] = words.slice(0, -1)
  const last = words.at(-1) ?? ''
  let isValue = false
  for (const word of before) {
    const options: ReturnType<typeof optionsInWord> = isValue ? [] : optionsInWord(word)
    const isPlain = !isValue && options.length === 0
    if (isPlain || options.some(({ name }) => name === 'all' || name === 'mx')) return []
    isValue = options.some(({ row, hasValue }) => row !== undefined && takesValue(row) && !hasValue)
  }
  if (isValue || last.startsWith('-')) return []
  const earlier = last.split(',').slice(0, -1)
  const prefix = earlier.map((word) => `${word},`).join('')
  const remaining = profiles.filter((name) => !earlier.includes(name))
  return remaining.map((name) => prefix + name).filter((word) => word.startsWith(last))
}
