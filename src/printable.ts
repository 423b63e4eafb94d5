import { isUtf8 } from 'node:buffer'

// Text from servers, resolvers, files, arguments and the environment is made harmless here: printed, it can't move the cursor, colour
// the screen, hide itself or fake a line. The constructors of errors and the outputs of a terminal do so with all that they get.

/**
 * Control, invisible and direction-changing characters: Unicode's classes Other and Separator, ignorables, and blanks among the symbols. A wide
 * or unbreakable blank could shift text to where a terminal begins a new line.
 */
const UNPRINTABLE_CHARACTERS =
  /(?! )[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800\u{13441}\u{13442}\u{16fe4}\u{1d159}]/gu

/**
 * Returns octets or text as one line of printable text. Control characters and octets that are not UTF-8 become `\x1b`, other characters
 * that can't be seen `\u{202e}`. Never throws.
 */
export function printable(raw: Uint8Array | string): string {
  const text = typeof raw === 'string' ? raw : isUtf8(raw) ? octetsOf(raw).toString() : escapeInvalidOctets(raw)
  // Nearly all texts are ASCII, for which the tables of Unicode, which take long to load, aren't needed.
  return /^[ -~]*$/.test(text) ? text : text.replace(UNPRINTABLE_CHARACTERS, escapeCharacter)
}

/** Returns text of our own as printable lines, in which tabs may stand. */
export function printableLines(text: string): string {
  return text.replace(/[^\n\t]+/g, printable)
}

/** Returns JSON whose characters can all be seen, and which means the same. */
export function printableJson(json: string): string {
  return json.replace(UNPRINTABLE_CHARACTERS, (character) =>
    character === '\n' ? character : character.replace(/[^]/g, (unit) => `\\u${hexOf(unit.charCodeAt(0), 4)}`),
  )
}

/** Returns at most the first `characters` of a text, and no half of a surrogate pair. */
export function truncate(text: string, characters: number): string {
  return text.slice(0, characters).replace(/[\ud800-\udbff]$/, '')
}

/** Returns the beginning of a text that fits into so many octets of UTF-8; three dots replace the rest. */
export function truncateOctets(text: string, octets: number): string {
  if (Buffer.byteLength(text) <= octets) return text
  return `${beginningOf(text, Math.max(0, octets - DOTS.length))}${DOTS}`.slice(0, octets)
}

/** Returns the whole characters among the first octets of a text, in memory of their own. */
function beginningOf(text: string, octets: number): string {
  const kept = Buffer.from(text).subarray(0, octets).toString()
  // A character that was cut has become this one.
  return kept.replace(/\ufffd$/, '')
}

const DOTS = '...'

/** Returns the same text in memory of its own: a part of a text keeps the whole of it in memory. */
export function copyText(text: string): string {
  return Buffer.from(text).toString()
}

/** The half of `%41` and its like, or of an escape of ours: a redactor could not read it. */
const HALF = /(?:[%=+]|\\x)[0-9a-f]?$|\\(?:u(?:\{[0-9a-f]*|[0-9a-f]{0,3}))?$|&#?\w{0,6}$/i

/** Returns the beginning of a longer text with three dots for the rest, and no half of an escape before the dots. */
export function addDots(beginning: string): string {
  return `${beginning.replace(HALF, '')}${DOTS}`
}

/** The longest message that people read. Its octets count, so that no server can push what follows it off a line. */
const MESSAGE_OCTETS = 400

/** Returns a message that people can read: three dots replace what is too long. */
export function shortenMessage(message: string, octets = MESSAGE_OCTETS): string {
  return Buffer.byteLength(message) <= octets ? message : addDots(beginningOf(message, octets))
}

/** Returns a list that people can read: the first items, and how many more there are. */
export function listSome(items: readonly string[], most = 5): string {
  const more = items.length - most
  return more > 0 ? `${items.slice(0, most).join(', ')} and ${more} more` : items.join(', ')
}

function escapeCharacter(character: string): string {
  const code = character.codePointAt(0) ?? 0
  return code < 0x80 ? `\\x${hexOf(code, 2)}` : `\\u{${hexOf(code, 0)}}`
}

function hexOf(code: number, digits: number): string {
  return code.toString(16).padStart(digits, '0')
}

/** A sequence that may be one UTF-8 character beyond ASCII; else a single octet */
const SEQUENCE = /[\xc0-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xff][\x80-\xbf]{3}|[\x80-\xff]/g

/** Returns the same octets, not a copy. */
function octetsOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength)
}

const OCTET_ESCAPES = Array.from({ length: 256 }, (_, octet) => `\\x${hexOf(octet, 2)}`)

function escapeInvalidOctets(octets: Uint8Array): string {
  const text = octetsOf(octets).toString('latin1')
  return text.replace(SEQUENCE, (sequence) => {
    // A server can send very many of these.
    if (sequence.length === 1) return OCTET_ESCAPES[sequence.charCodeAt(0)] ?? ''
    const character = Buffer.from(sequence, 'latin1')
    return isUtf8(character) ? character.toString() : character.toString('hex').replace(/../g, '\\x$&')
  })
}
