import { setImmediate as nextTurn } from 'node:timers/promises'
import { EXIT, UsageError } from '../errors.js'
import { isLabel } from '../net/domain.js'
import { printable, shortenMessage } from '../printable.js'
import { checkName, type NameOptions, type NodeName } from './node-name.js'

/** A line of a names file that is no name. It doesn't stop the other lines. */
export type BadLine = { readonly line: number; readonly word: string; readonly reason: string }

/** A name of the run, in its order, or the line that stands in its place. */
export type NameEntry = NodeName | BadLine

/** Signals and timers have their turn after so many characters: a file may have millions, and some take long to check. */
const CHARACTERS_PER_TURN = 16_384
/** The most names and bad lines of a file: each of them is kept and reported. */
const ENTRIES_PER_FILE = 200_000

/** More than any name has, however its labels are written: to split a line of megabytes takes many times its memory. */
const LINE_CHARACTERS = 4096

/** The rules for the lines of a file */
export type NamesFileOptions = NameOptions & {
  /** No bad line is shown: others may have made the file a link to a secret. */
  readonly isHidden?: boolean
  /** The file may be one without a name. */
  readonly mayBeEmpty?: boolean
}

/**
 * Returns the names in a file, one a line, without CR, BOM and outer blanks. Blank lines and comments are skipped: a line that is `#`
 * alone, or begins with `#` and a blank. Throws UsageError (66) if the file has too many names, or none although it must have one, and
 * the signal's reason.
 */
export async function parseNamesFile(
  text: string,
  source: string,
  { mayBeEmpty = false, ...options }: NamesFileOptions,
  signal?: AbortSignal,
): Promise<NameEntry[]> {
  const entries: NameEntry[] = []
  let number = 0
  let characters = 0
  for (const line of splitLines(text.replace(/^\ufeff/, ''))) {
    characters += line.length + 1
    if (characters > CHARACTERS_PER_TURN) {
      characters = 0
      await nextTurn()
    }
    signal?.throwIfAborted()
    number++
    const word = line.replace(/^[ \t\r]+|(?<![ \t\r])[ \t\r]+$/g, '')
    if (/^(?:#(?:[ \t]|$)|$)/.test(word)) continue
    if (entries.length === ENTRIES_PER_FILE)
      throw new UsageError(`${source} contains more than ${ENTRIES_PER_FILE} names; split the file`, {
        exitStatus: EXIT.NOINPUT,
      })
    const checked = word.length > LINE_CHARACTERS ? TOO_LONG : await checkName(word, options)
    if (typeof checked === 'string') entries.push(checked)
    else entries.push({ line: number, ...describeBadLine(word, checked.inFile, options) })
  }
  if (entries.length === 0 && !mayBeEmpty)
    throw new UsageError(`${source} contains no name; write one name per line`, { exitStatus: EXIT.NOINPUT })
  return entries
}

const TOO_LONG = { inFile: `is too long; a line has at most ${LINE_CHARACTERS} characters` }

/** Yields the lines of a text. An array of all lines would need many times as much memory as the text. */
function* splitLines(text: string): Generator<string> {
  let start = 0
  for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n', start)) {
    yield text.slice(start, end)
    start = end + 1
  }
  yield text.slice(start)
}

function describeBadLine(word: string, message: string, { isHidden }: NamesFileOptions): Omit<BadLine, 'line'> {
  if (isHidden)
    return {
      word: '****',
      reason: 'is not a valid name; the line is not shown, because other users can change the file',
    }
  const shown = word.length > LINE_CHARACTERS ? shortenMessage(word) : word
  return { word: printable(shown), reason: likelySlip(word) ?? message }
}

/** Returns what is probably wrong with a line that is no name, and what to write; undefined if that is unknown. */
function likelySlip(line: string): string | undefined {
  if (isLabel(line)) return `is not fully qualified; write, for example, ${line}.example, or #${line} for a queue`
  return SLIPS.find(([pattern]) => pattern.test(line))?.[1]
}

/** The first pattern that matches counts. */
const SLIPS: readonly (readonly [RegExp, string])[] = [
  [/\0/, 'contains a NUL character; save the file as UTF-8'],
  [/\r/, 'contains a CR character; end lines with LF or CRLF'],
  [/^[^#]+[ \t]#/, 'contains a comment; write the comment on its own line, after # and a space'],
  [/^(?:\/\/|;|--|! )/, 'looks like a comment; start comments with # and a space'],
  [/^["'].*["'],?$/, 'contains quotes; write the name without quotes'],
  [/:\/\//, 'is a URL; write only the name, without the server'],
  [/^[^#].*,|^#[^,]*,.*[ \t]/, 'contains a comma; write one name per line'],
  [/^[^#].*;/, 'contains a semicolon; write one name per line'],
  [/^(?:[\d.]+|[\da-f]*:[\da-f:.]*)[ \t]/i, 'starts with an IP address; write only the name'],
  [
    /^@?\[?(?:ipv6:)?(?=[^:]*:[^:]*:)[\da-f:.]+\]?$/i,
    'is an IP address, not a name; write a name, for example site.example',
  ],
  [/ /, 'contains a space; write one name per line'],
  [/\t/, 'contains a tab; write one name per line'],
  [/^[^@#][^@]*:/, 'contains a colon; write only the name, without server or port'],
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
