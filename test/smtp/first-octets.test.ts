import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { suite, test, type TestContext } from 'node:test'
import { StepError } from '../../src/errors.js'
import { ObservedSocket } from '../../src/smtp/first-octets.js'

/** Connects to a server that sends this many octets, and reads if `reads` is true. */
async function connectTo(t: TestContext, octets: number, reads: boolean): Promise<ObservedSocket> {
  const server = createServer((peer) => {
    t.after(() => peer.destroy())
    peer.on('error', () => undefined)
    if (reads) peer.resume()
    else peer.pause()
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
  const FLOOD = 8 * 1024 * 1024
  test('ends with 76 if the server sends megabytes but takes nothing', async (t) => {
    const observed = await connectTo(t, FLOOD, false)
    const failed = once(observed, 'error') as Promise<[unknown]>
    // More than the system takes for a reader that doesn't read
    observed.write(Buffer.alloc(64 * 1024 * 1024))
    observed.resume()
    const [error] = await failed
    assert.ok(error instanceof StepError)
    assert.equal(error.exitStatus, 76)
  })
  test('takes megabytes from a server that reads', async (t) => {
    const observed = await connectTo(t, FLOOD, true)
    observed.write(Buffer.alloc(1024))
    let received = 0
    for await (const octets of observed) {
      received += (octets as Buffer).length
      if (received === FLOOD) break
    }
    assert.equal(received, FLOOD)
  })
})
