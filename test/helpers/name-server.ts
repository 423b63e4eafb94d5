import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, isIPv6, SocketAddress } from 'node:net'
import type { TestContext } from 'node:test'

/** The answer of a name server for one name and type. */
export type Answer = {
  readonly addresses?: readonly string[]
  readonly mx?: readonly (readonly [preference: number, host: string])[]
  /** The name that this one is an alias of; its own records follow. */
  readonly cname?: string
  readonly rcode?: keyof typeof RCODES
  /** The server has no idea: no record, and no recursion (RFC 8499). */
  readonly lame?: true
  /** The server knows its own zone only: its answer has authority, and there is no recursion. */
  readonly authoritative?: true
  /** The records of the authority section: the origin of the zone, or the name servers of another one, as in a referral */
  readonly authority?: readonly (keyof typeof AUTHORITY_TYPES)[]
  /** The zone of these records; `example` by default */
  readonly zone?: string
  /** A record of a type that nobody has asked for */
  readonly text?: string
  /** The name whose records the answer has, if it is another one than that of the question */
  readonly owner?: string
  /** The answer is cut short: over TCP too, or over UDP alone. */
  readonly truncated?: boolean | 'udp'
  /** The answer is longer than 512 octets. */
  readonly padded?: true
  readonly silent?: true
  readonly afterMs?: number
  /** The server answers when this promise is fulfilled. */
  readonly after?: Promise<unknown>
}

const AUTHORITY_TYPES = { NS: 2, SOA: 6 } as const
const TYPES: Readonly<Record<number, string>> = { 1: 'A', 15: 'MX', 28: 'AAAA' }
const RCODES = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  YXDOMAIN: 6,
  YXRRSET: 7,
  NXRRSET: 8,
  NOTAUTH: 9,
  NOTZONE: 10,
  DSOTYPENI: 11,
} as const

/**
 * Starts a name server on port 53 until the test ends. The keys of its zone are `A mail.example` and the like, and `*` for every other
 * name, which otherwise doesn't exist. `asked` lists the questions.
 */
export async function nameServer(
  t: TestContext,
  zone: Readonly<Record<string, Answer>>,
  host = '127.0.0.1',
): Promise<{ readonly asked: string[] }> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
  const asked: string[] = []
  let isOpen = true
  const answerTo = (query: Buffer, isTcp = false): { readonly message: Buffer; readonly answer: Answer } => {
    const { name, type, question } = parse(query)
    asked.push(`${type} ${name}`)
    const cname = zone[`CNAME ${name}`]?.cname
    const real = cname ?? name
    const known = Object.keys(zone).some((key) => key.endsWith(` ${real}`))
    const answer = zone[`${type} ${real}`] ?? (known ? {} : (zone['*'] ?? { rcode: 'NXDOMAIN' as const }))
    const first = answer.owner === undefined ? POINTER : encodeName(answer.owner)
    const alias = cname === undefined ? [] : [record(first, 5, encodeName(cname))]
    const owner = cname === undefined ? first : encodeName(cname)
    const records = [...alias, ...recordsOf(owner, answer)]
    const authority = (answer.authority ?? []).map((kind) => authorityRecord(kind, answer.zone))
    const isCut = answer.truncated === true || (answer.truncated === 'udp' && !isTcp)
    const head = header(query, { ...answer, truncated: isCut }, records.length, authority.length)
    const rest = answer.padded ? [Buffer.alloc(513)] : []
    return { answer, message: Buffer.concat([head, question, ...records, ...authority, ...rest]) }
  }
  socket.on('message', (query, peer) => {
    const { answer, message } = answerTo(query)
    if (answer.silent) return
    const send = (): void => {
      // The client may have ended the test without this answer.
      if (isOpen) socket.send(message, peer.port, peer.address)
    }
    if (answer.after === undefined) setTimeout(send, answer.afterMs ?? 0).unref()
    else void answer.after.then(send)
  })
  // A query over TCP follows an answer that is cut short. Each arrives in one piece, behind its length.
  const tcp = createServer((client) => {
    client.on('error', () => undefined)
    client.on('data', (octets) => {
      for (let at = 0; at < octets.length; at += 2 + octets.readUInt16BE(at)) {
        const { answer, message } = answerTo(octets.subarray(at + 2), true)
        if (!answer.silent) client.write(Buffer.concat([encodeUint16(message.length), message]))
      }
    })
  })
  socket.bind(53, host)
  tcp.listen(53, host)
  await Promise.all([once(socket, 'listening'), once(tcp, 'listening')])
  t.after(() => {
    isOpen = false
    socket.close()
    tcp.close()
  })
  return { asked }
}

function parse(query: Buffer): { name: string; type: string; question: Buffer } {
  const labels: string[] = []
  let at = 12
  for (let length = query.readUInt8(at); length > 0; length = query.readUInt8(at)) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length))
    at += length + 1
  }
  return {
    name: labels.join('.').toLowerCase(),
    type: TYPES[query.readUInt16BE(at + 1)] ?? '?',
    question: query.subarray(12, at + 5),
  }
}

function header(query: Buffer, answer: Answer, answers: number, authorities: number): Buffer {
  const { rcode, lame, authoritative, truncated } = answer
  const message = Buffer.alloc(12)
  query.copy(message, 0, 0, 2)
  const source = lame ? 0x8100 : authoritative ? 0x8500 : 0x8180
  message.writeUInt16BE(source | (truncated ? 0x200 : 0) | RCODES[rcode ?? 'NOERROR'], 2)
  message.writeUInt16BE(1, 4)
  message.writeUInt16BE(answers, 6)
  message.writeUInt16BE(authorities, 8)
  return message
}

/** A compression pointer to the name of the question (RFC 1035, 4.1.4) */
const POINTER = Buffer.from([0xc0, 12])

function authorityRecord(kind: keyof typeof AUTHORITY_TYPES, zone = 'example'): Buffer {
  const names = { NS: ['ns.example'], SOA: ['ns.example', 'hostmaster.example'] }[kind].map(encodeName)
  const numbers = kind === 'SOA' ? [Buffer.alloc(20)] : []
  return record(encodeName(zone), AUTHORITY_TYPES[kind], Buffer.concat([...names, ...numbers]))
}

function recordsOf(owner: Buffer, { addresses = [], mx = [], text }: Answer): Buffer[] {
  const exchangers = mx.map(([preference, host]) => Buffer.concat([encodeUint16(preference), encodeName(host)]))
  return [
    ...addresses.map((address) => {
      const octets = isIPv6(address) ? encodeIpv6(address) : Buffer.from(address.split('.').map(Number))
      return record(owner, octets.length === 16 ? 28 : 1, octets)
    }),
    ...exchangers.map((octets) => record(owner, 15, octets)),
    ...(text === undefined ? [] : [record(owner, 16, Buffer.from(`${String.fromCharCode(text.length)}${text}`))]),
  ]
}

function record(owner: Buffer, type: number, octets: Buffer): Buffer {
  return Buffer.concat([
    owner,
    encodeUint16(type),
    encodeUint16(1),
    encodeUint16(0),
    encodeUint16(60),
    encodeUint16(octets.length),
    octets,
  ])
}

function encodeName(name: string): Buffer {
  const labels = name.split('.').filter(Boolean)
  return Buffer.concat([
    ...labels.map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`, 'latin1')),
    Buffer.from([0]),
  ])
}

function encodeUint16(number: number): Buffer {
  return Buffer.from([number >> 8, number & 0xff])
}

function encodeIpv6(address: string): Buffer {
  const canonical = new SocketAddress({ address, family: 'ipv6' }).address
  const dotted = /[^:]*\..*$/.exec(canonical)?.[0] ?? ''
  const hex = Buffer.from(dotted.split('.').map(Number))
    .toString('hex')
    .replace(/(.{4})(.{4})/, '$1:$2')
  const [head = '', tail = ''] = canonical.replace(dotted, dotted === '' ? '' : hex).split('::')
  const words = (part: string): number[] =>
    part
      .split(':')
      .filter(Boolean)
      .map((word) => parseInt(word, 16))
  const [first, last] = [words(head), words(tail)]
  const all = [...first, ...Array<number>(8 - first.length - last.length).fill(0), ...last]
  return Buffer.from(all.flatMap((word) => [word >> 8, word & 0xff]))
}
