import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { suite, test, type TestContext } from 'node:test'
import { Worker } from 'node:worker_threads'
import { StepError } from '../../src/errors.js'
import { ObservedSocket } from '../../src/smtp/first-octets.js'

const RECORD_OCTETS = 1024

/** Connects to a server that sends this many octets, in TLS records. */
async function connectTo(t: TestContext, octets: number): Promise<ObservedSocket> {
  const sent = Buffer.alloc(octets)
  for (let start = 0; start < octets; start += RECORD_OCTETS)
    sent.set([0x16, 3, 3, (RECORD_OCTETS - 5) >> 8, (RECORD_OCTETS - 5) & 0xff], start)
  const server = createServer((peer) => {
    t.after(() => peer.destroy())
    peer.on('error', () => undefined).resume()
    peer.write(sent)
  }).listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  const socket: Socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  await once(socket, 'connect')
  const observed = new ObservedSocket(socket)
  t.after(() => observed.destroy())
  return observed
}

/** Answers the first octet with an alert, and resets the connection, while the client's thread stands still. */
const HASTY_SERVER = `
  const { parentPort, workerData } = require('node:worker_threads')
  const server = require('node:net').createServer((socket) => {
    socket.once('data', () => socket.write('alert', () => socket.resetAndDestroy()))
    socket.once('close', () => {
      Atomics.store(workerData, 0, 1)
      Atomics.notify(workerData, 0)
    })
  })
  server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port))
`

suite('ObservedSocket', { timeout: 20_000 }, () => {
  for (const [place, octets] of [
    ['in the TLS handshake', 64 * 1024],
    ['within TLS', 8 * 1024 * 1024],
  ] as const) {
    test(`ends with 76 if the server sends ${octets} octets ${place}`, async (t) => {
      const observed = await connectTo(t, octets)
      if (place === 'within TLS') observed.endHandshake()
      const failed = once(observed, 'error') as Promise<[unknown]>
      observed.resume()
      const [error] = await failed
      assert.ok(error instanceof StepError)
      assert.deepEqual([error.message, error.exitStatus], [`the server sends too much data ${place}`, 76])
    })
  }
  for (const [place, octets] of [
    ['in the TLS handshake', 40 * 1024],
    ['within TLS', 1024 * 1024],
  ] as const) {
    test(`takes ${octets} octets ${place}`, async (t) => {
      const observed = await connectTo(t, octets)
      if (place === 'within TLS') observed.endHandshake()
      let received = 0
      for await (const chunk of observed) {
        received += (chunk as Buffer).length
        if (received === octets) break
      }
      assert.equal(received, octets)
    })
  }
  test('reads what has arrived before it writes, since after a reset nothing more is read', async (t) => {
    const isReset = new Int32Array(new SharedArrayBuffer(4))
    const worker = new Worker(HASTY_SERVER, { eval: true, workerData: isReset })
    t.after(async () => worker.terminate())
    const [port] = (await once(worker, 'message')) as [number]
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    const observed = new ObservedSocket(socket)
    observed.on('error', () => undefined)
    observed.endHandshake()
    const received = once(observed, 'data') as Promise<[Buffer]>
    socket.write('x')
    Atomics.wait(isReset, 0, 0)
    observed.write('EHLO')
    const [octets] = await received
    assert.equal(octets.toString(), 'alert')
  })
  test('writes pending octets when it is destroyed', async (t) => {
    const server = createServer().listen(0, '127.0.0.1')
    t.after(() => server.close())
    await once(server, 'listening')
    const accepted = once(server, 'connection') as Promise<[Socket]>
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
    await once(socket, 'connect')
    const [peer] = await accepted
    const observed = new ObservedSocket(socket)
    observed.endHandshake()
    observed.write('QUIT')
    observed.destroy()
    const [octets] = (await once(peer, 'data')) as [Buffer]
    assert.equal(octets.toString(), 'QUIT')
  })
})
