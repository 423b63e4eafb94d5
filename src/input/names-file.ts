/** A line of --names-from that is no name. It holds up nobody else's mail. */

import { EXIT, UsageError } from '../errors.js'
import { printable } from '../printable.js'
import { type NameOptions, type NodeName, checkName } from './node-name.js'

/** A line of --names-from that is no name. It holds up nobody else's mail. */
export type BadLine = { readonly line: number; readonly word: string; readonly reason: string }
/** A name of the run, in the order asked. */
export type NameEntry = NodeName | BadLine
/**
 * The names of a file, one a line: CR, a BOM and outer blanks dropped, blank lines skipped, no comments. Throws UsageError (66)
 * where there is no name at all.
 */
export async function parseNamesFile(text: string, source: string, o: NameOptions): Promise<NameEntry[]> {
  const entries: NameEntry[] = []
  for (const [index, raw] of text
    .replace(/^\ufeff/, '')
    .split('\n')
    .entries()) {
    const word = raw.replace(/^[ \t\r]+|[ \t\r]+$/g, '')
    if (word === '') continue
    const checked = await checkName(word, o)
    const isName = typeof checked === 'string'
    entries.push(isName ? checked : { line: index + 1, word: printable(word), reason: checked.message })
  }
  if (entries.length === 0)
    throw new UsageError(`${source}: there is no name in it; give one name a line`, EXIT.NOINPUT)
  return entries
}
/** Those that are names. */
export function validNames(entries: readonly NameEntry[]): NodeName[] {
  return entries.filter((entry) => typeof entry === 'string')
}
/** Each name once, the first time that it stands: nodes in any case of letters, queues letter by letter. */
export function removeDuplicates<T extends NameEntry>(entries: readonly T[]): T[] {
  const seen = new Set<string>()
  return entries.filter((entry) => {
    if (typeof entry !== 'string') return true
    const key = entry.startsWith('#') ? entry : entry.toLowerCase()
    return !seen.has(key) && seen.add(key)
  })
}
