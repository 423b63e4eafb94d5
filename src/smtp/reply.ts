import { addDots, copyText, printable, shortenMessage } from '../printable.js'

/** One whole reply (RFC 5321, 4.2). Its text is printable: the parser lets nothing raw through. */
export type Reply = {
  /** 100 to 599 */
  readonly code: number
  /** `2.0.0`, if the text begins with an enhanced status code of the code's class (RFC 2034, 3463); else null */
  readonly enhancedCode: string | null
  /** The text of each line, with its enhanced status code; at least one line, which may be empty */
  readonly lines: readonly string[]
  /** The lines joined, without enhanced status codes; cut if it is too long to be read */
  readonly text: string
}

/** The longest line, its end included. RFC 5321 (4.5.3.1.5) has 512, but real servers send more. */
export const REPLY_LINE_OCTETS = 2048
/** The longest line of a reply to AUTH, which may hold a SASL challenge (RFC 4954, section 4). */
export const CHALLENGE_LINE_OCTETS = 12_288
export const REPLY_LINES = 128
/** The longest reply: what a hostile server sends must stay cheap to keep and to redact. */
export const REPLY_OCTETS = 65_536
/** The text that is kept for each name, however much a server sends. */
const REPLY_TEXT_OCTETS = 2048

/** The server has sent something that is no reply, or is beyond a limit. The message, in printable words, has no subject. */
export class MalformedReplyError extends Error {
  override readonly name = 'MalformedReplyError'
}

const CR = 0x0d
/** The code and the mark before the text; a line may be a code alone. */
const LINE_START = /^([1-5][0-9]{2})([ -]?)/
const LINE_START_OCTETS = 4
/** An enhanced status code at the start of a text (RFC 2034) */
export const ENHANCED_CODE = /^([245])\.[0-9]{1,3}\.[0-9]{1,3}(?= |$)/

/**
 * Turns octets into replies, without I/O: any cut of the octets gives the same replies.
 *
 *     250-mx.example        a line that is followed by another
 *     250 ETRN              the last line; a bare `250` is one, too
 */
export class ReplyParser {
  #octets: Buffer = Buffer.alloc(0)
  #lines: string[] = []
  #code = 0
  /** Octets of the lines that are read, but not yet a whole reply */
  #lineOctets = 0

  /** Adds octets from the wire, which must not change any more. */
  push(octets: Buffer): void {
    this.#octets = this.#octets.length === 0 ? octets : Buffer.concat([this.#octets, octets])
  }

  /** Returns the next whole reply, or undefined if more octets are needed. Throws MalformedReplyError. */
  next(lineOctets = REPLY_LINE_OCTETS): Reply | undefined {
    for (let line = this.#takeLine(lineOctets); line !== undefined; line = this.#takeLine(lineOctets)) {
      const [start, digits, mark] = LINE_START.exec(line.toString('latin1', 0, LINE_START_OCTETS)) ?? []
      if (start === undefined || (mark === '' && line.length > start.length))
        throw new MalformedReplyError(`not an SMTP reply (${quoteLine(line)})`)
      const code = Number(digits)
      if (this.#lines.length > 0 && code !== this.#code) this.#changeCode(code)
      if (this.#lines.length === REPLY_LINES) throw new MalformedReplyError(`more than ${REPLY_LINES} lines`)
      if (this.#lineOctets > REPLY_OCTETS) throw new MalformedReplyError(`more than ${REPLY_OCTETS} octets`)
      this.#code = code
      this.#lines.push(printable(line.subarray(start.length)))
      if (mark !== '-') return this.#takeReply()
    }
    return undefined
  }

  /** Octets that are not yet part of a whole reply. Must be 0 before a command is sent and before TLS begins. */
  get buffered(): number {
    return this.#lineOctets + this.#octets.length
  }

  /** Removes and returns those of them that are no whole line. */
  takeOctets(): Buffer {
    const octets = this.#octets
    this.#octets = Buffer.alloc(0)
    return octets
  }

  /** Octets that are no part of a whole reply, as printable text, each line with its code. Dots show that the rest is missing, perhaps a part of a password. */
  get bufferedText(): string {
    const lines = [...this.#lines.map((line) => `${this.#code}-${line}`), printable(this.#octets)]
    return addDots(lines.filter(Boolean).join(' / '))
  }

  /** The first three of those octets: the code of the reply that they may become. */
  get firstThree(): string {
    return this.#lines.length > 0 ? String(this.#code) : this.#octets.toString('latin1', 0, 3)
  }

  /**
   * Postfix's postscreen sends the first lines of a greeting, `220-mx.example`; what follows can be a refusal by smtpd or by postscreen
   * itself, which is then the whole reply.
   */
  #changeCode(code: number): void {
    if (this.#code !== 220 || code < 400)
      throw new MalformedReplyError(`lines with different codes (${this.#code} and ${code})`)
    this.#lines = []
  }

  #takeReply(): Reply {
    const reply = replyOf(this.#code, this.#lines)
    this.#lines = []
    this.#lineOctets = 0
    return reply
  }

  /** Takes one line off the octets, without its end: CRLF, or the bare LF that some servers send. */
  #takeLine(limit: number): Buffer | undefined {
    const end = this.#octets.indexOf('\n')
    const octets = end === -1 ? this.#octets.length : end + 1
    if (octets > limit)
      throw new MalformedReplyError(`a line of more than ${limit} octets (${quoteLine(this.#octets)})`)
    if (end === -1) return undefined
    const line = this.#octets.subarray(0, this.#octets[end - 1] === CR ? end - 1 : end)
    this.#octets = this.#octets.subarray(octets)
    this.#lineOctets += octets
    return line
  }
}

/** Returns the reply that has this code and these lines. */
export function replyOf(code: number, lines: readonly string[]): Reply {
  const [found, codeClass] = ENHANCED_CODE.exec(lines[0] ?? '') ?? []
  const enhancedCode = found !== undefined && Number(codeClass) === Math.floor(code / 100) ? found : null
  const trim = (line: string): string =>
    enhancedCode !== null && line.startsWith(enhancedCode) ? line.slice(enhancedCode.length).trimStart() : line
  const text = shortenMessage(lines.map(trim).join(' / '), REPLY_TEXT_OCTETS)
  return { code, enhancedCode, lines, text }
}

/** Returns the whole line, for the redactor; dots show that one was cut, perhaps inside a password. */
function quoteLine(line: Uint8Array): string {
  const shown = printable(line.subarray(0, REPLY_LINE_OCTETS))
  return `"${line.length > REPLY_LINE_OCTETS ? addDots(shown) : shown}"`
}

/** Returns a copy of a reply for reports; three dots replace what is more than people read. */
export function shortenReply(reply: Reply): Reply {
  const lines: string[] = []
  let octets = 0
  for (const line of reply.lines) {
    const left = REPLY_TEXT_OCTETS - octets
    octets += Buffer.byteLength(line)
    if (octets > REPLY_TEXT_OCTETS) return { ...reply, lines: [...lines, shortenMessage(line, left)] }
    lines.push(copyText(line))
  }
  return { ...reply, lines }
}

/** Returns true for a 4xx reply: the same command can succeed later (RFC 5321, 4.2.1). */
export function isTransient({ code }: Pick<Reply, 'code'>): boolean {
  return code >= 400 && code <= 499
}

/** Returns true for a 5xx reply: the same command will fail again (RFC 5321, 4.2.1). */
export function isPermanent({ code }: Pick<Reply, 'code'>): boolean {
  return code >= 500
}

/** Returns a reply as the server sent it, on one line: `459 4.7.1 not your queue`. */
export function formatReply({ code, enhancedCode, text }: Pick<Reply, 'code' | 'enhancedCode' | 'text'>): string {
  return [code, enhancedCode ?? [], text].flat().join(' ').trimEnd()
}
