import { createSocket } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { once } from 'node:events'
import { createConnection } from 'node:net'
import { codeOf } from '../errors.js'
import { familyOf, isLinkLocal } from './address.js'
import { startDeadline } from './deadline.js'
import type { DecodedPacket } from './dns-message.js'
import { scopedNameServer } from './resolv-conf.js'

/** A name server that is asked for records. */
export class NameServer {
  readonly resolver = new Resolver()
  /** One of `getServers()` */
  readonly address: string
  readonly #cancellation = new AbortController()

  /**
   * The address is one of `getServers()`; the only one has the options of resolv.conf, too. A link-local one can't be set, so c-ares
   * takes all servers of resolv.conf in its place.
   */
  constructor(address: string, isOnly: boolean) {
    this.address = address
    if (!isOnly && !isLinkLocal(address)) this.resolver.setServers([address])
  }

  /**
   * Returns the error of a query, a NoDataError if the server proves that there is no such record, or one with the code EBADRESP if the
   * server doesn't stand by it. c-ares reports ENODATA for every reply without a record: also for the codes from YXDOMAIN to NOTZONE, for
   * a reply that is cut short, and for a server that knows nothing of the domain or of the one that an alias leads to.
   */
  async confirm(error: unknown, name: string, type: RecordType): Promise<unknown> {
    if (!['ENODATA', 'ENOTFOUND'].includes(codeOf(error))) return error
    const denial = await readDenial(this.address, name, type, this.#cancellation.signal)
    if (denial !== undefined) return denial.isProven && codeOf(error) === 'ENODATA' ? new NoDataError(error) : error
    return Object.assign(new Error(`inconclusive answer for ${name}`), { code: 'EBADRESP', cause: error })
  }

  cancel(): void {
    this.resolver.cancel()
    this.#cancellation.abort()
  }
}

/** An answer with the start of the server's zone, and without a record of this type (RFC 2308, 2.2). */
export class NoDataError extends Error {
  readonly code = 'ENODATA'
  constructor(cause: unknown) {
    super('no such record', { cause })
  }
}

/** Throws ENODATA for an empty list, which c-ares returns for an alias without a record, and for records of another type. */
export function rejectEmpty<T>(records: T[]): T[] {
  if (records.length === 0) throw Object.assign(new Error('no such record'), { code: 'ENODATA' })
  return records
}

/** A query that is lost is repeated after this time, over TCP and UDP in turn. */
const QUERY_MS = 2000
/** The longest reply over UDP to a query without EDNS (RFC 1035, 4.2.1); a longer one, over TCP, can take seconds to decode. */
const REPLY_OCTETS = 512

type RecordType = 'A' | 'AAAA' | 'MX'

/** A reply that says that there is no such record; `isProven` means that it has the start of the zone. */
type Denial = { readonly isProven: boolean }

/** A query to a server, and the test for its replies */
type Question = {
  readonly host: string
  readonly port: number
  readonly query: Buffer
  readonly isReply: (message: Buffer) => boolean
}

/**
 * Asks the server again, and returns its denial; undefined for another reply, or none. Not over UDP alone: a firewall can block it, and a
 * server can send every client to TCP (RFC 7766). Never throws.
 */
async function readDenial(
  server: string,
  name: string,
  type: RecordType,
  signal: AbortSignal,
): Promise<Denial | undefined> {
  const [, address = server, port = '53'] = familyOf(server) === 0 ? (/^\[?(.*?)\]?:(\d+)$/.exec(server) ?? []) : []
  try {
    // Few runs need them, and they take long to load.
    const [{ randomInt }, { decode, encode, RECURSION_DESIRED }] = await Promise.all([
      import('node:crypto'),
      import('./dns-message.js'),
    ])
    const id = randomInt(0x10000)
    const query = encode({ type: 'query', id, flags: RECURSION_DESIRED, questions: [{ type, name }] })
    const isReply = (message: Buffer): boolean => isPlausible(message) && message.readUInt16BE(0) === id
    const question = { host: scopedNameServer(address), port: Number(port), query, isReply }
    for (const ask of [askOverUdp, askOverTcp, askOverUdp]) {
      const octets = await askInTime((limit) => ask(question, limit), signal)
      const reply = octets && decode(octets)
      if (reply?.flag_tc === false) return denialIn(reply, name, type)
    }
    return undefined
  } catch {
    return undefined
  }
}

/** Returns the reply that is there in time, or undefined. Throws if the signal aborts. */
async function askInTime(
  ask: (limit: AbortSignal) => Promise<Buffer>,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  // Not AbortSignal.timeout: within AbortSignal.any it can be collected as garbage, and then the limit never ends.
  const limit = new AbortController()
  const cancel = startDeadline(
    { timeoutMs: QUERY_MS, signal },
    () => ({ message: 'no reply' }),
    (reason) => limit.abort(reason),
  )
  try {
    return await ask(limit.signal)
  } catch {
    signal.throwIfAborted()
    return undefined
  } finally {
    cancel()
  }
}

/** Returns the reply to a query. Throws if there is none. */
async function askOverUdp({ host, port, query, isReply }: Question, signal: AbortSignal): Promise<Buffer> {
  const socket = createSocket(familyOf(host.replace(/%.*/, '')) === 6 ? 'udp6' : 'udp4')
  try {
    socket.connect(port, host)
    await once(socket, 'connect', { signal })
    socket.send(query)
    for (;;) {
      const [message] = (await once(socket, 'message', { signal })) as [Buffer]
      if (isReply(message)) return message
    }
  } finally {
    socket.close()
  }
}

/** Does the same over TCP, where the length of a message stands before it (RFC 1035, 4.2.2). */
async function askOverTcp({ host, port, query, isReply }: Question, signal: AbortSignal): Promise<Buffer> {
  const socket = createConnection({ host, port, signal })
  try {
    socket.write(Buffer.concat([encodeLength(query.length), query]))
    let octets = Buffer.alloc(0)
    for await (const more of socket) {
      octets = Buffer.concat([octets, more as Buffer])
      const end = octets.length < LENGTH_OCTETS ? REPLY_OCTETS : LENGTH_OCTETS + octets.readUInt16BE(0)
      const message = octets.subarray(LENGTH_OCTETS, end)
      if (octets.length >= end && isReply(message)) return message
      if (octets.length >= Math.min(end, LENGTH_OCTETS + REPLY_OCTETS)) break
    }
    throw new Error('no reply')
  } finally {
    socket.destroy()
  }
}

const LENGTH_OCTETS = 2

function encodeLength(length: number): Buffer {
  const octets = Buffer.alloc(LENGTH_OCTETS)
  octets.writeUInt16BE(length)
  return octets
}

const HEADER_OCTETS = 12
const LEAST_QUESTION_OCTETS = 5
const LEAST_RECORD_OCTETS = 11

/**
 * Returns false for a message that is too long, or too short for the numbers in its header (RFC 1035, 4.1.1). The decoder believes the
 * numbers: for 500 octets it can decode 200,000 records, with all memory.
 */
function isPlausible(message: Buffer): boolean {
  if (message.length < HEADER_OCTETS || message.length > REPLY_OCTETS) return false
  const [questions = 0, ...records] = [4, 6, 8, 10].map((offset) => message.readUInt16BE(offset))
  const least = records.reduce((sum, count) => sum + count * LEAST_RECORD_OCTETS, questions * LEAST_QUESTION_OCTETS)
  return HEADER_OCTETS + least <= message.length
}

const RESPONSE_CODE_BITS = 0xf
/** All are 0 for a standard query (RFC 1035, 4.1.1). */
const OPCODE_BITS = 0x7800
/** RFC 1035, 4.1.1 */
const RESPONSE_CODES = { NOERROR: 0, NXDOMAIN: 3 } as const

/**
 * Returns the denial if a reply shows that a name doesn't exist, or has no record of a type (RFC 2308, section 2). The server must know the
 * domain, or ask those that do. An alias must lead to a name that the server knows, not back to itself, and a referral only tells who
 * knows more.
 */
function denialIn(reply: DecodedPacket, name: string, type: RecordType): Denial | undefined {
  const { flag_aa: isAuthoritative, flag_ra: isRecursive } = reply
  const { type: kind, flags = 0, questions = [], answers = [], authorities = [] } = reply
  if (kind !== 'response' || (flags & OPCODE_BITS) !== 0) return undefined
  const isOwn = (owner: string): boolean => owner.toLowerCase() === name.toLowerCase()
  if (!questions.some((question) => question.type === type && isOwn(question.name))) return undefined
  if (!(isAuthoritative || isRecursive)) return undefined
  const owners = answers.map((record) => record.name.toLowerCase())
  const isAlias = owners.some(isOwn) && answers.every((record) => isAliasType(record.type))
  const ends = answers.flatMap((record) => (record.type === 'CNAME' ? [record.data.toLowerCase()] : []))
  const end = answers.length === 0 ? name : ends.find((target) => !owners.includes(target))
  if (end === undefined) return undefined
  const hasStart = authorities.some((record) => record.type === 'SOA' && isWithin(end, record.name))
  if (answers.length > 0 && !(isAlias && (isRecursive || hasStart))) return undefined
  // Some servers and proxies return an alias without the records of its end.
  const isWhole = hasStart || (answers.length === 0 && !authorities.some((record) => record.type === 'NS'))
  const code = flags & RESPONSE_CODE_BITS
  const isDenial = code === RESPONSE_CODES.NXDOMAIN || (code === RESPONSE_CODES.NOERROR && isWhole)
  return isDenial ? { isProven: hasStart } : undefined
}

/** Returns true if a name is that of a zone, or below it. */
function isWithin(name: string, zone: string): boolean {
  return zone === '.' || `.${name}`.toLowerCase().endsWith(`.${zone}`.toLowerCase())
}

function isAliasType(type: string): boolean {
  return type === 'CNAME' || type === 'DNAME'
}
