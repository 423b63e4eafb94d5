import { setImmediate as nextTurn } from 'node:timers/promises'
import { EXIT, UsageError } from '../errors.js'
import { printable } from '../printable.js'
import { checkName, type NameOptions, type NodeName } from './node-name.js'

/** A line of a names file that is no name. It doesn't stop the other lines. */
export type BadLine = { readonly line: number; readonly word: string; readonly reason: string }

/** A name of the run, in its order, or the line that stands in its place. */
export type NameEntry = NodeName | BadLine

/** Signals and timers have their turn after so many lines: a file may have millions. */
const LINES_PER_TURN = 1000

/**
 * Returns the names in a file, one a line, without CR, BOM and outer blanks. Blank lines and comments are skipped: a line that is `#`
 * alone, or begins with `#` and a blank. Throws UsageError (66) if the file has no name, and the signal's reason.
 */
export async function parseNamesFile(
  text: string,
  source: string,
  options: NameOptions,
  signal?: AbortSignal,
): Promise<NameEntry[]> {
  const entries: NameEntry[] = []
  const lines = text.replace(/^\ufeff/, '').split('\n')
  for (const [index, line] of lines.entries()) {
    if (index % LINES_PER_TURN === 0) await nextTurn()
    signal?.throwIfAborted()
    const word = line.replace(/^[ \t\r]+|(?<![ \t\r])[ \t\r]+$/g, '')
    if (/^(?:#(?:[ \t]|$)|$)/.test(word)) continue
    const checked = await checkName(word, options)
    if (typeof checked === 'string') entries.push(checked)
    else entries.push({ line: index + 1, word: printable(word), reason: likelySlip(word) ?? checked.message })
  }
  if (entries.length === 0)
    throw new UsageError(`${source}: there is no name in it; give one name a line`, { exitStatus: EXIT.NOINPUT })
  return entries
}

/** Returns what was probably meant by a line that is no name; undefined if that is unknown. */
function likelySlip(line: string): string | undefined {
  return SLIPS.find(([pattern]) => pattern.test(line))?.[1]
}

/** The first pattern that matches counts. */
const SLIPS: readonly (readonly [RegExp, string])[] = [
  [/\0/, 'a NUL in it; save the file as UTF-8'],
  [/\r/, 'a CR in it; lines end with LF or CRLF'],
  [/^[^#]+[ \t]#/, 'a comment needs a line of its own, and a blank after its #'],
  [/^(?:\/\/|;|--|! )/, 'no name; a comment begins with # and a blank'],
  [/^["'].*["'],?$/, 'quotes; write the name without them'],
  [/:\/\//, 'a URL; write the name alone: the server is no part of a names file'],
  [/^[^#].*[,;]|^#[^,]*,.*[ \t]/, 'a comma or semicolon; a file has one name a line'],
  [/^(?:[\d.]+|[\da-f]*:[\da-f:.]*)[ \t]/i, 'an address in front of a name; a file has names alone, one a line'],
  [/ /, 'a space in it; a file has one name a line'],
  [/\t/, 'a tab in it; a file has one name a line'],
  [/^[^@#][^@]*:\d+$/, 'a port; write the name alone: the server is no part of a names file'],
]

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
