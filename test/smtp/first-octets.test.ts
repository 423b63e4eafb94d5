import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { suite, test, type TestContext } from 'node:test'
import { StepError } from '../../src/errors.js'
import { ObservedSocket } from '../../src/smtp/first-octets.js'

/** Connects to a server that sends this many octets. */
async function connectTo(t: TestContext, octets: number): Promise<ObservedSocket> {
  const server = createServer((peer) => {
    t.after(() => peer.destroy())
    peer.on('error', () => undefined).resume()
    peer.write(Buffer.alloc(octets))
  }).listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  const socket: Socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  await once(socket, 'connect')
  const observed = new ObservedSocket(socket)
  t.after(() => observed.destroy())
  return observed
}

suite('ObservedSocket', { timeout: 20_000 }, () => {
  test('ends with 76 if the server sends more than a session needs', async (t) => {
    const observed = await connectTo(t, 8 * 1024 * 1024)
    const failed = once(observed, 'error') as Promise<[unknown]>
    observed.resume()
    const [error] = await failed
    assert.ok(error instanceof StepError)
    assert.deepEqual([error.message, error.exitStatus], ['the server sends too much data within TLS', 76])
  })
  test('takes a megabyte', async (t) => {
    const octets = 1024 * 1024
    const observed = await connectTo(t, octets)
    let received = 0
    for await (const chunk of observed) {
      received += (chunk as Buffer).length
      if (received === octets) break
    }
    assert.equal(received, octets)
  })
})
