import type { Outcome } from '../../src/etrn/outcome.js'
import { printable } from '../../src/printable.js'

/**
 * What octets mean as replies, by RFC 5321 and SPEC 5 and 11 alone. It shares no code with the parser of src but for the
 * escapes, so that a slip there shows here. Octets are Latin-1 strings.
 */

/** SPEC 11: octets of a line, of a line of a challenge, and lines of a reply */
export const LIMITS = { line: 2048, challenge: 12_288, lines: 128 }
const TEXT_CHARACTERS = 2048
/** Replies of one connection that are looked at: a client has fewer commands than that. */
const MOST_REPLIES = 64
/** Less than any buffer on the way holds: what is one write arrives as one. */
const SURE_OCTETS = 12_000

/** A whole, well-formed reply; what stands behind the code, line by line. */
export type Whole = { readonly code: number; readonly lines: readonly string[] }

/** All that was said in one direction. */
export type Stream = {
  /** In the order said: the first one is the greeting, the others belong to one command each. */
  readonly whole: Whole[]
  /** What came behind them is no reply, or over a limit. */
  isBroken: boolean
  octets: number
  /** The index of the first command that must not go out any more: octets were there before it. */
  earlyAt: number
  rest: string
  begun: string[]
  code: string
}

export function stream(): Stream {
  return { whole: [], isBroken: false, octets: 0, earlyAt: Infinity, rest: '', begun: [], code: '' }
}

/** Adds what was said with one write. */
export function say(s: Stream, octets: string): void {
  const before = s.whole.length
  s.octets += octets.length
  if (!s.isBroken && before < MOST_REPLIES) {
    s.rest += octets
    while (takeLine(s)) if (s.whole.length > MOST_REPLIES) break
  }
  const isMore = s.whole.length > before + 1 || s.isBroken || isWithin(s)
  if (s.whole.length > before && isMore && s.octets < SURE_OCTETS) s.earlyAt = Math.min(s.earlyAt, before + 1)
}

/** Whether a reply was begun and not ended. */
export function isWithin({ rest, begun }: Stream): boolean {
  return rest !== '' || begun.length > 0
}

/** Replies, whole, broken or begun: what a count of replies counts. */
export function repliesIn(s: Stream): number {
  return s.whole.length + (s.isBroken || isWithin(s) ? 1 : 0)
}

function takeLine(s: Stream): boolean {
  const end = s.rest.indexOf('\n')
  const length = end === -1 ? s.rest.length : end + 1
  if (length > (s.rest.startsWith('334') ? LIMITS.challenge : LIMITS.line)) return broken(s)
  if (end === -1) return false
  const line = s.rest.slice(0, end).replace(/\r$/, '')
  s.rest = s.rest.slice(end + 1)
  const code = line.slice(0, 3)
  const mark = line.slice(3, 4)
  const isFirst = s.begun.length === 0
  if (!/^[1-5]\d\d$/.test(code) || !['', ' ', '-'].includes(mark)) return broken(s)
  if ((!isFirst && code !== s.code) || s.begun.length === LIMITS.lines) return broken(s)
  s.code = code
  s.begun.push(line.slice(4))
  if (mark !== '-') s.whole.push({ code: Number(code), lines: s.begun.splice(0) })
  return true
}

function broken(s: Stream): false {
  s.isBroken = true
  s.rest = ''
  return false
}

/** The enhanced status code and the text that a reply is shown with. */
export function shownOf({ code, lines }: Whole): { enhancedCode: string | null; text: string } {
  const texts = lines.map((line) => printable(Buffer.from(line, 'latin1')))
  const found = /^[245]\.\d{1,3}\.\d{1,3}(?= |$)/.exec(texts[0] ?? '')?.[0]
  const enhancedCode = found?.startsWith(String(code).slice(0, 1)) ? found : null
  const bare = texts.map((text) => {
    return enhancedCode !== null && text.startsWith(enhancedCode) ? text.slice(enhancedCode.length).trimStart() : text
  })
  const text = bare.join(' / ')
  if (text.length <= TEXT_CHARACTERS) return { enhancedCode, text: tidied(text) }
  return { enhancedCode, text: tidied(`${text.slice(0, TEXT_CHARACTERS)}...`) }
}

/** A text that was cut may end in half a character, or in what stands for one. */
export function tidied(text: string): string {
  return text.replace(/[\ud800-\udbff\ufffd]\.\.\.$/, '...')
}

/** SPEC 5, in the table's own words. */
export function outcomeOf(code: number, text: string): Outcome {
  if (code === 251) return 'empty'
  if (code === 252 || code === 253) return 'pending'
  if (code === 458 && /^already processing\b/i.test(text)) return 'started'
  if (code === 459) return 'refused'
  if ([500, 502, 504].includes(code)) return 'unsupported'
  if ([501, 553, 555].includes(code)) return 'rejected'
  if (code >= 200 && code < 300) return 'started'
  if (code >= 400 && code < 500) return 'deferred'
  return code >= 500 ? 'refused' : 'failed'
}
