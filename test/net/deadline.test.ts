import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { StepError } from '../../src/errors.js'
import { abortReason, startDeadline, timeoutError, timeoutErrorMaker } from '../../src/net/deadline.js'

const NEVER_MS = 60_000
const overdue = (): StepError => timeoutError('too late', 'wait')

suite('startDeadline', () => {
  test('ends with its own error when the time is over', async () => {
    const { signal } = new AbortController()
    const reason = await new Promise<StepError>((resolve) => startDeadline({ timeoutMs: 1, signal }, overdue, resolve))
    assert.equal(reason.message, 'too late')
  })
  test("ends with the signal's reason when the signal aborts", (t) => {
    const controller = new AbortController()
    const reason = new StepError('stopped', { exitStatus: 69, kind: 'interrupted' })
    const ended: StepError[] = []
    const cancel = startDeadline({ timeoutMs: NEVER_MS, signal: controller.signal }, overdue, (why) => ended.push(why))
    t.after(cancel)
    assert.deepEqual(ended, [])
    controller.abort(reason)
    assert.deepEqual(ended, [reason])
  })
  test('ends at once if the signal has aborted', () => {
    const reason = new StepError('stopped', { exitStatus: 69 })
    const ended: StepError[] = []
    startDeadline({ timeoutMs: NEVER_MS, signal: AbortSignal.abort(reason) }, overdue, (why) => ended.push(why))
    assert.deepEqual(ended, [reason])
  })
  test('ends once, whatever comes afterwards', async () => {
    const controller = new AbortController()
    let count = 0
    await new Promise<void>((resolve) => {
      startDeadline({ timeoutMs: 1, signal: controller.signal }, overdue, () => {
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
    const cancel = startDeadline(limits, overdue, () => assert.fail('it was cancelled'))
    cancel()
    cancel()
    controller.abort()
    // A later timer of the same length comes after it.
    await new Promise<void>((resolve) =>
      startDeadline({ ...limits, signal: new AbortController().signal }, overdue, () => resolve()),
    )
  })
  test('keeps no timer after the signal aborted', () => {
    const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    const before = timers()
    const controller = new AbortController()
    startDeadline({ timeoutMs: NEVER_MS, signal: controller.signal }, overdue, () => undefined)
    assert.equal(timers(), before + 1)
    controller.abort()
    assert.equal(timers(), before)
  })
})

test('timeoutError is temporary, and has the kind "timeout" and its hint', () => {
  const { message, exitStatus, kind, hint } = overdue()
  assert.deepEqual([message, exitStatus, kind, hint], ['too late', 75, 'timeout', 'wait'])
})

suite('timeoutErrorMaker', () => {
  for (const [timeoutMs, message] of [
    [60_000, 'no reply within 60s'],
    [1500, 'no reply within 1.5s'],
    [100, 'no reply within 0.1s'],
  ] as const) {
    test(`makes "${message}" of ${timeoutMs} ms`, () => {
      const { signal } = new AbortController()
      const error = timeoutErrorMaker('no reply', { timeoutMs, signal }, 'wait')()
      assert.deepEqual([error.message, error.exitStatus, error.kind, error.hint], [message, 75, 'timeout', 'wait'])
    })
  }
})

suite('abortReason', () => {
  test('is the StepError that the signal aborted with', () => {
    const reason = new StepError('stopped', { exitStatus: 69 })
    assert.equal(abortReason(AbortSignal.abort(reason)), reason)
  })
  test('is "aborted" with 75 and the cause for any other reason', () => {
    const cause = new Error('x')
    const { message, exitStatus, cause: kept } = abortReason(AbortSignal.abort(cause))
    assert.deepEqual([message, exitStatus, kept], ['aborted', 75, cause])
  })
})
