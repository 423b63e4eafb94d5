import { isUtf8 } from 'node:buffer'

// Text from servers, resolvers and files is made harmless here, once, where octets become text: printed, it can't move the cursor,
// colour the screen, hide itself or fake a line.

/** Control, invisible and direction-changing characters: Unicode's class Other, line and paragraph separators, ignorables. */
const UNPRINTABLE_CHARACTERS = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu

/** Stands for an octet that is not UTF-8, until it is escaped: a lone surrogate, which UTF-8 can't encode. */
const INVALID_OCTET_BASE = 0xdc00

/**
 * Returns octets or text as one line of printable text. Control characters and octets that are not UTF-8 become `\x1b`, other characters
 * that can't be seen `\u{202e}`. Never throws.
 */
export function printable(raw: Uint8Array | string): string {
  const text = typeof raw === 'string' ? raw : isUtf8(raw) ? Buffer.from(raw).toString() : splitCharacters(raw).join('')
  return text.replace(UNPRINTABLE_CHARACTERS, escapeCharacter)
}

/** Returns at most the first `characters` of a text, and no half of a surrogate pair. */
export function truncate(text: string, characters: number): string {
  return text.slice(0, characters).replace(/[\ud800-\udbff]$/, '')
}

/** The longest message that people read */
const MESSAGE_CHARACTERS = 400

/** Returns a message that people can read: three dots replace what is too long. */
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
