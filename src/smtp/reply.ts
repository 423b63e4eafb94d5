import { truncate, printable } from '../printable.js'

/** One whole reply (RFC 5321, 4.2). Its text is printable already: nothing raw gets past the parser. */
export type Reply = {
  /** 100 to 599 */
  readonly code: number
  /** `2.0.0`, where the text begins with one of the code's class (RFC 2034, 3463) */
  readonly enhancedCode: string | null
  /** What stands behind the code in each line, the enhanced status code with it; at least one line, perhaps empty */
  readonly lines: readonly string[]
  /** The lines as one, without the enhanced status codes; cut where it grows too long to be read */
  readonly text: string
}

/** Octets of a line, its end included (RFC 5321, 4.5.3.1.5, has 512: real servers say more). */
export const REPLY_LINE_OCTETS = 2048
/** A SASL challenge may be longer (RFC 4954, section 4). */
export const CHALLENGE_LINE_OCTETS = 12_288
export const REPLY_LINES = 128
/** Characters of a text that is kept for each name, however much a server says */
const REPLY_TEXT_CHARACTERS = 2048

/** What was sent is no reply, or one over the limits (SPEC: not SMTP). The message quotes it, printable. */
export class MalformedReplyError extends Error {
  override readonly name = 'ReplyError'
}

const LF = 0x0a
const CR = 0x0d
const REPLY_LINE = /^([1-5][0-9]{2})(?:([ -])(.*))?$/s
const ENHANCED_CODE = /^([245])\.[0-9]{1,3}\.[0-9]{1,3}(?= |$)/

/**
 * Octets in, replies out, without I/O: any cut of the octets gives the same replies.
 *
 *     250-mx.example        a line that another follows
 *     250 ETRN              the last one; a bare `250` is one too
 */
export class ReplyParser {
  #octets: Buffer = Buffer.alloc(0)
  #lines: string[] = []
  #code = 0
  #lineOctets = 0

  /** Adds what came from the wire; the parser keeps no reference to it. */
  push(octets: Uint8Array): void {
    this.#octets = Buffer.concat([this.#octets, octets])
  }

  /** The next whole reply; undefined: more octets are needed. Throws ReplyError at a malformed line or a limit. */
  next(): Reply | undefined {
    for (let line = this.#takeLine(); line !== undefined; line = this.#takeLine()) {
      const [, digits, mark, text = ''] = REPLY_LINE.exec(line.toString('latin1')) ?? []
      if (digits === undefined) throw new MalformedReplyError(`not an SMTP reply: ${quoteLine(line)}`)
      const code = Number(digits)
      if (this.#lines.length > 0 && code !== this.#code) {
        throw new MalformedReplyError(`a reply whose lines have different codes, ${this.#code} and ${code}`)
      }
      if (this.#lines.length === REPLY_LINES) throw new MalformedReplyError(`a reply of more than ${REPLY_LINES} lines`)
      this.#code = code
      this.#lines.push(printable(Buffer.from(text, 'latin1')))
      if (mark !== '-') return this.#takeReply()
    }
    return undefined
  }

  /** Octets that no reply has been made of yet. Must be 0 before a command goes out and before TLS begins. */
  get buffered(): number {
    return this.#lineOctets + this.#octets.length
  }

  /** The first three of those octets, as text: the code of the reply that they may become. */
  get firstThree(): string {
    return this.#lines.length > 0 ? String(this.#code) : this.#octets.toString('latin1', 0, 3)
  }

  #takeReply(): Reply {
    const code = this.#code
    const lines = this.#lines
    const [found, itsClass] = ENHANCED_CODE.exec(lines[0] ?? '') ?? []
    const enhancedCode = found !== undefined && Number(itsClass) === Math.floor(code / 100) ? found : null
    this.#lines = []
    this.#lineOctets = 0
    return {
      code,
      enhancedCode,
      lines,
      text: truncateReplyText(lines.map((line) => trimEnhancedCode(line, enhancedCode)).join(' / ')),
    }
  }

  /** Takes one line off the octets, without its end: CRLF, or the bare LF that some servers send. */
  #takeLine(): Buffer | undefined {
    const end = this.#octets.indexOf(LF)
    const octets = end === -1 ? this.#octets.length : end + 1
    const limit = this.#octets.subarray(0, 3).toString('latin1') === '334' ? CHALLENGE_LINE_OCTETS : REPLY_LINE_OCTETS
    if (octets > limit) {
      throw new MalformedReplyError(`a line of more than ${limit} octets: ${quoteLine(this.#octets)}`)
    }
    if (end === -1) return undefined
    const line = this.#octets.subarray(0, this.#octets[end - 1] === CR ? end - 1 : end)
    this.#octets = this.#octets.subarray(octets)
    this.#lineOctets += octets
    return line
  }
}

function truncateReplyText(text: string): string {
  if (text.length <= REPLY_TEXT_CHARACTERS) return text
  // A copy: a slice would keep the whole of it in memory.
  return `${Buffer.from(truncate(text, REPLY_TEXT_CHARACTERS)).toString()}...`
}

function trimEnhancedCode(line: string, enhancedCode: string | null): string {
  return enhancedCode !== null && line.startsWith(enhancedCode) ? line.slice(enhancedCode.length).trimStart() : line
}

/** The whole of it: it is cut only after secrets have been looked for. */
function quoteLine(line: Uint8Array): string {
  return `"${printable(line.subarray(0, REPLY_LINE_OCTETS))}"`
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
