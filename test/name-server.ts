import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv6, SocketAddress } from 'node:net'
import type { TestContext } from 'node:test'

/** What a name server says of one name and type: addresses, an error, or nothing; perhaps late. */
export type Answer = {
  readonly addresses?: readonly string[]
  readonly rcode?: 'SERVFAIL' | 'NXDOMAIN' | 'REFUSED'
  readonly silent?: true
  readonly afterMs?: number
}

const TYPES: Readonly<Record<number, string>> = { 1: 'A', 28: 'AAAA' }
const RCODES = { NOERROR: 0, SERVFAIL: 2, NXDOMAIN: 3, REFUSED: 5 } as const

/** A name server on 127.0.0.1:53 that knows `A mail.example` and the like; what it doesn't know doesn't exist. */
export async function nameServer(
  t: TestContext,
  zone: Readonly<Record<string, Answer>>,
): Promise<{ readonly asked: string[] }> {
  const socket = createSocket('udp4')
  const asked: string[] = []
  socket.on('message', (query, peer) => {
    const { name, type, question } = parse(query)
    asked.push(`${type} ${name}`)
    const known = Object.keys(zone).some((key) => key.endsWith(` ${name}`))
    const answer = zone[`${type} ${name}`] ?? (known ? {} : { rcode: 'NXDOMAIN' as const })
    if (answer.silent) return
    const message = Buffer.concat([header(query, answer), question, ...(answer.addresses ?? []).map(record)])
    setTimeout(() => socket.send(message, peer.port, peer.address), answer.afterMs ?? 0).unref()
  })
  socket.bind(53, '127.0.0.1')
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

function header(query: Buffer, { rcode, addresses = [] }: Answer): Buffer {
  const message = Buffer.alloc(12)
  query.copy(message, 0, 0, 2)
  message.writeUInt16BE(0x8180 | RCODES[rcode ?? 'NOERROR'], 2)
  message.writeUInt16BE(1, 4)
  message.writeUInt16BE(addresses.length, 6)
  return message
}

function record(address: string): Buffer {
  const octets = isIPv6(address) ? sixteen(address) : Buffer.from(address.split('.').map(Number))
  const fixed = Buffer.alloc(12)
  fixed.writeUInt16BE(0xc00c, 0)
  fixed.writeUInt16BE(octets.length === 16 ? 28 : 1, 2)
  fixed.writeUInt16BE(1, 4)
  fixed.writeUInt32BE(60, 6)
  fixed.writeUInt16BE(octets.length, 10)
  return Buffer.concat([fixed, octets])
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
