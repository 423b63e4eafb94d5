import { createSocket, type Socket } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { once } from 'node:events'
import { codeOf } from '../errors.js'
import { familyOf } from './address.js'

/** RFC 1035 and 3596 */
const RECORD_TYPES = { A: 1, MX: 15, AAAA: 28 } as const
type RecordType = keyof typeof RECORD_TYPES

/** A name server that is asked for records. */
export class NameServer {
  readonly resolver = new Resolver()
  readonly #address: string
  readonly #cancellation = new AbortController()

  /** The address is one of `getServers()`; the only one has the options of resolv.conf, too. */
  constructor(address: string, isOnly: boolean) {
    this.#address = address
    if (!isOnly) this.resolver.setServers([address])
  }

  /**
   * Returns the error of a query, or one with the code EBADRESP if the server doesn't stand by it. c-ares reports ENODATA for every reply
   * without a record: also for the codes from YXDOMAIN to NOTZONE, for a reply that is cut short, and for a server that knows nothing of
   * the domain.
   */
  async confirm(error: unknown, name: string, type: RecordType): Promise<unknown> {
    if (codeOf(error) !== 'ENODATA') return error
    if (await isDefinite(this.#address, name, type, this.#cancellation.signal)) return error
    return Object.assign(new Error(`indefinite answer for ${name}`), { code: 'EBADRESP', cause: error })
  }

  cancel(): void {
    this.resolver.cancel()
    this.#cancellation.abort()
  }
}

/** A query that is lost is repeated after this time. */
const QUERY_MS = 2000
const QUERIES = 2

/** Asks the server again, and returns true if the head of the reply shows that there is no such record. Never throws. */
async function isDefinite(server: string, name: string, type: RecordType, signal: AbortSignal): Promise<boolean> {
  const [, address = server, port = '53'] = familyOf(server) === 0 ? (/^\[?(.*?)\]?:(\d+)$/.exec(server) ?? []) : []
  const socket = createSocket(familyOf(address) === 6 ? 'udp6' : 'udp4')
  try {
    socket.connect(Number(port), address)
    await once(socket, 'connect', { signal })
    // Few runs need it, and it takes long to load.
    const { randomInt } = await import('node:crypto')
    const query = encodeQuery(randomInt(0x10000), name, RECORD_TYPES[type])
    for (let count = 0; count < QUERIES; count++) {
      const reply = await exchange(socket, query, signal)
      if (reply !== undefined) return isNegative(reply)
    }
    return false
  } catch {
    return false
  } finally {
    socket.close()
  }
}

/** Returns the reply to a query; undefined if there is none in time. */
async function exchange(socket: Socket, query: Buffer, signal: AbortSignal): Promise<Buffer | undefined> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(QUERY_MS)])
  socket.send(query)
  try {
    for (;;) {
      const [reply] = (await once(socket, 'message', { signal: limit })) as [Buffer]
      if (reply.length >= HEAD_OCTETS && reply.readUInt16BE(0) === query.readUInt16BE(0)) return reply
    }
  } catch (error) {
    signal.throwIfAborted()
    if (limit.aborted) return undefined
    throw error
  }
}

// The head of a message (RFC 1035, 4.1.1)
const HEAD_OCTETS = 12
const RECURSION_DESIRED = 0x0100
const IS_TRUNCATED = 0x0200
const CODE = 0x000f
/** The server knows the domain, or asks those that do. */
const IS_AUTHORITATIVE = 0x0400
const IS_RECURSIVE = 0x0080

function isNegative(reply: Buffer): boolean {
  const flags = reply.readUInt16BE(2)
  return (flags & (IS_TRUNCATED | CODE)) === 0 && (flags & (IS_AUTHORITATIVE | IS_RECURSIVE)) !== 0
}

function encodeQuery(id: number, name: string, type: number): Buffer {
  const labels = name.split('.').filter((label) => label !== '')
  const encoded = labels.map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`, 'latin1'))
  const head = [id, RECURSION_DESIRED, 1, 0, 0, 0]
  return Buffer.concat([encodeWords(head), ...encoded, Buffer.alloc(1), encodeWords([type, 1])])
}

function encodeWords(words: readonly number[]): Buffer {
  return Buffer.from(words.flatMap((word) => [word >> 8, word & 0xff]))
}
