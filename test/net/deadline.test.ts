import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { suite, test } from 'node:test'
import { StepError } from '../../src/errors.js'
import { abortReason, startDeadline } from '../../src/net/deadline.js'

const NEVER_MS = 60_000
const describe = (within: string): { message: string; hint: string } => ({
  message: `no reply ${within}`,
  hint: 'wait',
})

suite('startDeadline', () => {
  for (const [timeoutMs, message] of [
    [1, 'no reply within 0.001s'],
    [10, 'no reply within 0.01s'],
  ] as const) {
    test(`ends with "${message}", 75 and the hint when ${timeoutMs} ms are over`, async () => {
      const { signal } = new AbortController()
      const {
        message: text,
        exitStatus,
        kind,
        hint,
      } = await new Promise<StepError>((resolve) => {
        startDeadline({ timeoutMs, signal }, describe, resolve)
      })
      assert.deepEqual([text, exitStatus, kind, hint], [message, 75, 'timeout', 'wait'])
    })
  }
  test("ends with the signal's reason when the signal aborts", (t) => {
    const controller = new AbortController()
    const reason = new StepError('stopped', { exitStatus: 69, kind: 'interrupted' })
    const ended: StepError[] = []
    const cancel = startDeadline({ timeoutMs: NEVER_MS, signal: controller.signal }, describe, (why) => ended.push(why))
    t.after(cancel)
    assert.deepEqual(ended, [])
    controller.abort(reason)
    assert.deepEqual(ended, [reason])
  })
  test('ends at once if the signal has aborted', () => {
    const reason = new StepError('stopped', { exitStatus: 69 })
    const ended: StepError[] = []
    startDeadline({ timeoutMs: NEVER_MS, signal: AbortSignal.abort(reason) }, describe, (why) => ended.push(why))
    assert.deepEqual(ended, [reason])
  })
  test('ends once, whatever comes afterwards', async () => {
    const controller = new AbortController()
    let count = 0
    await new Promise<void>((resolve) => {
      startDeadline({ timeoutMs: 1, signal: controller.signal }, describe, () => {
        count++
        resolve()
      })
    })
    controller.abort()
    assert.equal(count, 1)
  })
  test('never ends after it was cancelled, once or twice', async () => {
    const controller = new AbortController()
    const limits = { timeoutMs: 1, signal: controller.signal }
    const cancel = startDeadline(limits, describe, () => assert.fail('it was cancelled'))
    cancel()
    cancel()
    controller.abort()
    // A later timer of the same length comes after it.
    await new Promise<void>((resolve) =>
      startDeadline({ ...limits, signal: new AbortController().signal }, describe, () => resolve()),
    )
  })
  test('does not end before it reads what arrived while the process stood still', async (t) => {
    const server = createServer((peer) => peer.write('250 OK\r\n')).listen(0, '127.0.0.1')
    t.after(() => server.close())
    await once(server, 'listening')
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
    t.after(() => socket.destroy())
    // The octets are at the socket, and not yet read.
    await Promise.all([once(socket, 'connect'), once(server, 'connection')])
    const { signal } = new AbortController()
    const first = await new Promise((resolve) => {
      const cancel = startDeadline({ timeoutMs: 20, signal }, describe, resolve)
      socket.once('data', (octets: Buffer) => {
        cancel()
        resolve(octets.toString())
      })
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)
    })
    assert.equal(first, '250 OK\r\n')
  })
  test('keeps no timer after the signal aborted', () => {
    const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    const before = timers()
    const controller = new AbortController()
    startDeadline({ timeoutMs: NEVER_MS, signal: controller.signal }, describe, () => undefined)
    assert.equal(timers(), before + 1)
    controller.abort()
    assert.equal(timers(), before)
  })
})

suite('abortReason', () => {
  test('is the StepError that the signal aborted with', () => {
    const reason = new StepError('stopped', { exitStatus: 69 })
    assert.equal(abortReason(AbortSignal.abort(reason)), reason)
  })
  test('is "aborted by the caller" with 75 and the cause for any other reason', () => {
    const cause = new Error('x')
    const { message, exitStatus, cause: kept } = abortReason(AbortSignal.abort(cause))
    assert.deepEqual([message, exitStatus, kept], ['aborted by the caller', 75, cause])
  })
})
