import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv6, SocketAddress } from 'node:net'
import type { TestContext } from 'node:test'

/** What a name server says of one name and type: addresses, an error, or nothing; perhaps late. */
export type Answer = {
  readonly addresses?: readonly string[]
  readonly mx?: readonly (readonly [preference: number, host: string])[]
  /** Where the name is an alias of: what is known of that one follows. */
  readonly cname?: string
  readonly rcode?: 'SERVFAIL' | 'NXDOMAIN' | 'REFUSED'
  readonly silent?: true
  readonly afterMs?: number
  /** It comes after this. */
  readonly after?: Promise<unknown>
}

const TYPES: Readonly<Record<number, string>> = { 1: 'A', 15: 'MX', 28: 'AAAA' }
const RCODES = { NOERROR: 0, SERVFAIL: 2, NXDOMAIN: 3, REFUSED: 5 } as const

/** A name server on port 53 that knows `A mail.example` and the like; what it doesn't know doesn't exist. */
export async function nameServer(
  t: TestContext,
  zone: Readonly<Record<string, Answer>>,
  host = '127.0.0.1',
): Promise<{ readonly asked: string[] }> {
  const socket = createSocket('udp4')
  const asked: string[] = []
  socket.on('message', (query, peer) => {
    const { name, type, question } = parse(query)
    asked.push(`${type} ${name}`)
    const cname = zone[`CNAME ${name}`]?.cname
    const real = cname ?? name
    const known = Object.keys(zone).some((key) => key.endsWith(` ${real}`))
    const answer = zone[`${type} ${real}`] ?? (known ? {} : { rcode: 'NXDOMAIN' as const })
    if (answer.silent) return
    const alias = cname === undefined ? [] : [record(POINTER, 5, encoded(cname))]
    const owner = cname === undefined ? POINTER : encoded(cname)
    const records = [...alias, ...recordsOf(owner, answer)]
    const message = Buffer.concat([header(query, answer, records.length), question, ...records])
    const send = (): void => socket.send(message, peer.port, peer.address)
    if (answer.after === undefined) setTimeout(send, answer.afterMs ?? 0).unref()
    else void answer.after.then(send)
  })
  socket.bind(53, host)
  await once(socket, 'listening')
  t.after(() => socket.close())
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

function header(query: Buffer, { rcode }: Answer, count: number): Buffer {
  const message = Buffer.alloc(12)
  query.copy(message, 0, 0, 2)
  message.writeUInt16BE(0x8180 | RCODES[rcode ?? 'NOERROR'], 2)
  message.writeUInt16BE(1, 4)
  message.writeUInt16BE(count, 6)
  return message
}

/** The name that was asked for */
const POINTER = Buffer.from([0xc0, 12])

function recordsOf(owner: Buffer, { addresses = [], mx = [] }: Answer): Buffer[] {
  const exchangers = mx.map(([preference, host]) => Buffer.concat([two(preference), encoded(host)]))
  return [
    ...addresses.map((address) => {
      const octets = isIPv6(address) ? sixteen(address) : Buffer.from(address.split('.').map(Number))
      return record(owner, octets.length === 16 ? 28 : 1, octets)
    }),
    ...exchangers.map((octets) => record(owner, 15, octets)),
  ]
}

function record(owner: Buffer, type: number, octets: Buffer): Buffer {
  return Buffer.concat([owner, two(type), two(1), two(0), two(60), two(octets.length), octets])
}

function encoded(name: string): Buffer {
  const labels = name.split('.').filter(Boolean)
  return Buffer.concat([
    ...labels.map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`, 'latin1')),
    Buffer.from([0]),
  ])
}

function two(number: number): Buffer {
  return Buffer.from([number >> 8, number & 0xff])
}

function sixteen(address: string): Buffer {
  const [head = '', tail = ''] = new SocketAddress({ address, family: 'ipv6' }).address.split('::')
  const words = (part: string): number[] =>
    part
      .split(':')
      .filter(Boolean)
      .map((word) => parseInt(word, 16))
  const [before, after] = [words(head), words(tail)]
  const all = [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after]
  return Buffer.from(all.flatMap((word) => [word >> 8, word & 0xff]))
}
