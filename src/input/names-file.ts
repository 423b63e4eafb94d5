import { EXIT, UsageError } from '../errors.js'
import { printable } from '../printable.js'
import { checkName, type NameOptions, type NodeName } from './node-name.js'

/** A line of a names file that is no name. It doesn't stop the other lines. */
export type BadLine = { readonly line: number; readonly word: string; readonly reason: string }

/** A name of the run, in its order, or the line that stands in its place. */
export type NameEntry = NodeName | BadLine

/**
 * Returns the names in a file, one a line, without CR, BOM and outer blanks. Blank lines are skipped; there are no comments. Throws
 * UsageError (66) if the file has no name.
 */
export async function parseNamesFile(text: string, source: string, options: NameOptions): Promise<NameEntry[]> {
  const entries: NameEntry[] = []
  const lines = text.replace(/^\ufeff/, '').split('\n')
  for (const [index, line] of lines.entries()) {
    const word = line.replace(/^[ \t\r]+|[ \t\r]+$/g, '')
    if (word === '') continue
    const checked = await checkName(word, options)
    const isName = typeof checked === 'string'
    entries.push(isName ? checked : { line: index + 1, word: printable(word), reason: checked.message })
  }
  if (entries.length === 0)
    throw new UsageError(`${source}: there is no name in it; give one name a line`, EXIT.NOINPUT)
  return entries
}

export function validNames(entries: readonly NameEntry[]): NodeName[] {
  return entries.filter((entry) => typeof entry === 'string')
}

/** Returns each name once, at its first place. Nodes are compared without case, queues with it. */
export function removeDuplicates<T extends NameEntry>(entries: readonly T[]): T[] {
  const seen = new Set<string>()
  return entries.filter((entry) => {
    if (typeof entry !== 'string') return true
    const key = entry.startsWith('#') ? entry : entry.toLowerCase()
    return !seen.has(key) && seen.add(key)
  })
}
