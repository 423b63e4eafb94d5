import type { Outcome } from '../../src/etrn/outcome.js'
import { printable } from '../../src/printable.js'

// A second reading of replies, from RFC 5321 and the limits in the manual. It shares only the escaping of characters with src, so that
// a fault of the parser in src shows as a difference. Octets are Latin-1 strings.

/** The limits of the client: octets of a line, octets of a line in a login, lines and octets of a reply */
export const LIMITS = { line: 2048, challenge: 12_288, lines: 128, reply: 65_536 }
const TEXT_OCTETS = 2048
/** No client sends as many commands in one connection, so later replies don't matter. */
const MAX_REPLIES = 64
/** Every socket buffer holds this much, so that a write of fewer octets arrives in one piece. */
const UNBROKEN_OCTETS = 12_000

/** A complete, well-formed reply; each line is what follows the code. */
export type ReferenceReply = { readonly code: number; readonly lines: readonly string[] }

/** What the server sent in one connection. */
export type ReplyStream = {
  /** The first reply is the greeting; each later one has the index of its command. */
  readonly replies: ReferenceReply[]
  /** The octets after the replies break the syntax or a limit. */
  isMalformed: boolean
  octets: number
  /** The index of the first command that must not be sent, because octets arrived before it */
  forbiddenFrom: number
  /** The line that has no LF yet */
  buffer: string
  /** The lines of the reply that isn't complete, and their octets */
  lines: string[]
  lineOctets: number
  /** The client awaits a reply to a line of its login. */
  isLogin: boolean
  code: string
}

export function createStream(): ReplyStream {
  return {
    replies: [],
    isMalformed: false,
    octets: 0,
    forbiddenFrom: Infinity,
    buffer: '',
    lines: [],
    lineOctets: 0,
    isLogin: false,
    code: '',
  }
}

/** Adds the octets of one write. */
export function appendOctets(stream: ReplyStream, octets: string): void {
  const before = stream.replies.length
  stream.octets += octets.length
  if (!stream.isMalformed && before < MAX_REPLIES) {
    stream.buffer += octets
    while (readLine(stream)) if (stream.replies.length > MAX_REPLIES) break
  }
  const hasSurplus = stream.replies.length > before + 1 || stream.isMalformed || hasPartialReply(stream)
  if (stream.replies.length > before && hasSurplus && stream.octets < UNBROKEN_OCTETS)
    stream.forbiddenFrom = Math.min(stream.forbiddenFrom, before + 1)
}

/** Tells whether the stream ends inside a reply. */
export function hasPartialReply({ buffer, lines }: ReplyStream): boolean {
  return buffer !== '' || lines.length > 0
}

/** Counts the replies; one that is malformed or incomplete counts, too. */
export function countReplies(stream: ReplyStream): number {
  return stream.replies.length + (stream.isMalformed || hasPartialReply(stream) ? 1 : 0)
}

/** Moves one line from the buffer into a reply; returns false if that is impossible. */
function readLine(stream: ReplyStream): boolean {
  const end = stream.buffer.indexOf('\n')
  const length = end === -1 ? stream.buffer.length : end + 1
  if (length > (stream.isLogin ? LIMITS.challenge : LIMITS.line)) return markMalformed(stream)
  if (end === -1) return false
  const line = stream.buffer.slice(0, end).replace(/\r$/, '')
  stream.buffer = stream.buffer.slice(end + 1)
  const code = line.slice(0, 3)
  const mark = line.slice(3, 4)
  const isFirst = stream.lines.length === 0
  if (!/^[1-5]\d\d$/.test(code) || !['', ' ', '-'].includes(mark)) return markMalformed(stream)
  if (!isFirst && code !== stream.code) {
    // A greeting that postscreen has begun can end as a refusal.
    if (stream.code !== '220' || code < '400') return markMalformed(stream)
    stream.lines = []
  }
  if (stream.lines.length === LIMITS.lines) return markMalformed(stream)
  stream.lineOctets += length
  if (stream.lineOctets > LIMITS.reply) return markMalformed(stream)
  stream.code = code
  stream.lines.push(line.slice(4))
  if (mark === '-') return true
  stream.replies.push({ code: Number(code), lines: stream.lines.splice(0) })
  stream.lineOctets = 0
  return true
}

function markMalformed(stream: ReplyStream): false {
  stream.isMalformed = true
  stream.buffer = ''
  return false
}

/** Returns the enhanced status code and the text that the client shows for a reply. */
export function shownReplyOf({ code, lines }: ReferenceReply): { enhancedCode: string | null; text: string } {
  const texts = lines.map((line) => printable(Buffer.from(line, 'latin1')))
  const candidate = /^[245]\.\d{1,3}\.\d{1,3}(?= |$)/.exec(texts[0] ?? '')?.[0]
  const enhancedCode = candidate?.startsWith(String(code).slice(0, 1)) ? candidate : null
  const bare = texts.map((text) => {
    return enhancedCode !== null && text.startsWith(enhancedCode) ? text.slice(enhancedCode.length).trimStart() : text
  })
  const text = bare.join(' / ')
  const octets = Buffer.from(text)
  if (octets.length <= TEXT_OCTETS) return { enhancedCode, text: trimHalfCharacter(text) }
  return { enhancedCode, text: trimHalfCharacter(`${octets.subarray(0, TEXT_OCTETS).toString()}...`) }
}

/** Removes the half of a character or escape, or the replacement of a character, that a cut left before the ellipsis. */
export function trimHalfCharacter(text: string): string {
  return text.replace(/(?:[\ud800-\udbff\ufffd]|(?:[%=+]|\\x)[0-9a-f]?|\\(?:u(?:\{[0-9a-f]*)?)?)+\.\.\.$/i, '...')
}

/** Tells whether a reply speaks of a limit on the requests of one session. */
export function speaksOfLimit(code: number, text: string): boolean {
  return code >= 400 && /session limit|too many nonmail commands/i.test(text)
}

/** The words of policy, and those of syntax, that the generators use */
const REFUSAL = /\bno\b|denied|not allowed/
const SYNTAX = /syntax/

/** Returns the outcome that the manual states for a reply to ETRN from a server whose software is unknown. */
export function expectedOutcomeOf(code: number, text: string, enhancedCode: string | null, name: string): Outcome {
  const status = enhancedCode ?? /^[245]\.\d{1,3}\.\d{1,3}(?= |$)/.exec(text)?.[0] ?? ''
  const words = enhancedCode === null && status !== '' ? text.slice(status.length).trimStart() : text
  if (code === 251) return 'empty'
  if (code === 252 || code === 253) return 'pending'
  if ([211, 214, 220, 221, 235].includes(code)) return 'failed'
  if (code >= 200 && code < 300) return 'started'
  if (
    code === 458 &&
    words.toLowerCase().replace(name.toLowerCase().replace(/^[@#]/, ''), '') === 'already processing '
  )
    return 'started'
  if (code === 421) return 'deferred'
  if (code === 459 || (code === 458 && status.startsWith('5.'))) return 'refused'
  if (speaksOfLimit(code, text)) return code < 500 ? 'deferred' : 'refused'
  const isOfSystem = /^4\.[234]\./.test(status)
  if (code === 458 && /denied|not allowed/.test(words) && !isOfSystem) return 'refused'
  if (code === 458) return 'deferred'
  if (code >= 500 && /access denied/.test(words)) return 'refused'
  const isPlain = !/^[@#]/.test(name)
  const isRefusal = REFUSAL.test(words) && !SYNTAX.test(words) && /\S \S|denied/.test(words)
  if (code === 501 && isPlain && /^5\.7\./.test(status)) return 'refused'
  if (code === 501 && isPlain && isRefusal && !/^5\.(?:1\.|5\.[24])/.test(status)) return 'refused'
  if ([500, 502, 504].includes(code)) return 'unsupported'
  if ([501, 553, 555].includes(code)) return 'rejected'
  if (code >= 400 && code < 500) return 'deferred'
  return code >= 500 ? 'refused' : 'failed'
}
