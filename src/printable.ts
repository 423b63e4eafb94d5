import { isUtf8 } from 'node:buffer'

/**
 * Whatever a server, a resolver or a file says is made harmless here, once, where octets become text: it can't move the
 * cursor, colour the screen, hide itself or fake a line.
 */

/** Control, invisible and direction-changing characters: Unicode's Other, separators of lines and paragraphs, ignorables. */
const UNPRINTABLE_CHARACTERS = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu

/** An octet that is no UTF-8 is carried as a lone surrogate, which UTF-8 can't hold, until it is escaped. */
const INVALID_OCTET_BASE = 0xdc00

/**
 * Octets or text as one line of printable text. Escapes: `\x1b` for a control character or an octet that is no valid UTF-8,
 * `\u{202e}` for any other character that can't be seen. Never throws.
 */
export function printable(raw: Uint8Array | string): string {
  const text = typeof raw === 'string' ? raw : isUtf8(raw) ? Buffer.from(raw).toString() : splitCharacters(raw).join('')
  return text.replace(UNPRINTABLE_CHARACTERS, escapeCharacter)
}

/** The beginning of a text, so many characters at most, and none of them in half. */
export function truncate(text: string, characters: number): string {
  return text.slice(0, characters).replace(/[\ud800-\udbff]$/, '')
}

/** Of a message that people read */
const MESSAGE_CHARACTERS = 400

/** A message, no longer than people read; what was cut off is three dots. */
export function shortenMessage(message: string): string {
  return message.length > MESSAGE_CHARACTERS ? `${truncate(message, MESSAGE_CHARACTERS)}...` : message
}

function escapeCharacter(character: string): string {
  const code = character.codePointAt(0) ?? 0
  if (code > INVALID_OCTET_BASE && code <= INVALID_OCTET_BASE + 0xff)
    return `\\x${(code - INVALID_OCTET_BASE).toString(16)}`
  return code < 0x80 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`
}

function splitCharacters(octets: Uint8Array): string[] {
  const found: string[] = []
  for (let at = 0; at < octets.length;) {
    const first = octets[at] ?? 0
    const length = first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4
    const sequence = octets.subarray(at, at + length)
    const valid = isUtf8(sequence)
    found.push(valid ? Buffer.from(sequence).toString() : String.fromCharCode(INVALID_OCTET_BASE + first))
    at += valid ? length : 1
  }
  return found
}
