// Messages of DNS (RFC 1035, section 4), as far as the judgement of an answer without records needs them.

/** RFC 1035, 3596 and 6672 */
export const RECORD_TYPES = { A: 1, NS: 2, CNAME: 5, SOA: 6, MX: 15, AAAA: 28, DNAME: 39 } as const

/** RFC 1035, 4.1.1 */
export const RESPONSE_CODES = { NOERROR: 0, NXDOMAIN: 3 } as const

type ResourceRecord = {
  /** True if the record belongs to the name of the question. */
  readonly isOwn: boolean
  readonly type: number
}

export type Reply = {
  readonly code: number
  readonly isTruncated: boolean
  readonly isAuthoritative: boolean
  readonly isRecursive: boolean
  readonly answers: readonly ResourceRecord[]
  readonly authorities: readonly ResourceRecord[]
}

// The head of a message
const HEAD_OCTETS = 12
const RECURSION_DESIRED = 0x0100
const FLAGS = { isAuthoritative: 0x0400, isTruncated: 0x0200, isRecursive: 0x0080, code: 0x000f } as const
/** The type and the class behind the name of a question, and the same with lifetime and length in a record */
const QUESTION_TAIL_OCTETS = 4
const RECORD_TAIL_OCTETS = 10
const INTERNET = 1

export function encodeQuery(id: number, name: string, type: number): Buffer {
  const labels = name.split('.').filter((label) => label !== '')
  const encoded = labels.map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`, 'latin1'))
  const head = [id, RECURSION_DESIRED, 1, 0, 0, 0]
  return Buffer.concat([encodeWords(head), ...encoded, Buffer.alloc(1), encodeWords([type, INTERNET])])
}

function encodeWords(words: readonly number[]): Buffer {
  return Buffer.from(words.flatMap((word) => [word >> 8, word & 0xff]))
}

/** Returns true if a message has the ID and the question of a query. */
export function isReplyTo(query: Buffer, message: Buffer): boolean {
  const [asked, repeated] = [query, message].map((one) =>
    one.toString('latin1', HEAD_OCTETS, query.length).toLowerCase(),
  )
  return asked === repeated && query.readUInt16BE(0) === message.readUInt16BE(0)
}

/** Parses a reply to a query. Throws RangeError if the reply ends early. */
export function parseReply(query: Buffer, reply: Buffer): Reply {
  const flags = reply.readUInt16BE(2)
  const question = reply.toString('latin1', HEAD_OCTETS, query.length - QUESTION_TAIL_OCTETS).toLowerCase()
  let at = query.length
  const readRecord = (): ResourceRecord => {
    const start = at
    at = endOfName(reply, at)
    const owner = reply.toString('latin1', start, at)
    const type = reply.readUInt16BE(at)
    at += RECORD_TAIL_OCTETS + reply.readUInt16BE(at + 8)
    return { isOwn: owner === POINTER_TO_QUESTION || owner.toLowerCase() === question, type }
  }
  const readSection = (count: number): ResourceRecord[] => Array.from({ length: count }, readRecord)
  return {
    code: flags & FLAGS.code,
    isTruncated: (flags & FLAGS.isTruncated) !== 0,
    isAuthoritative: (flags & FLAGS.isAuthoritative) !== 0,
    isRecursive: (flags & FLAGS.isRecursive) !== 0,
    answers: readSection(reply.readUInt16BE(6)),
    authorities: readSection(reply.readUInt16BE(8)),
  }
}

// The compression of names (RFC 1035, 4.1.4)
const POINTER = 0xc0
const POINTER_TO_QUESTION = String.fromCharCode(POINTER, HEAD_OCTETS)

function endOfName(message: Buffer, start: number): number {
  let at = start
  for (let length = message.readUInt8(at); length !== 0; length = message.readUInt8(at)) {
    if (length >= POINTER) return at + 2
    at += length + 1
  }
  return at + 1
}
