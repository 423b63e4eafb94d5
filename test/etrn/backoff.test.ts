import assert from 'node:assert/strict'
import { mock, suite, test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { StepError } from '../../src/errors.js'
import { backoffMs, createPause, type Pause, retryStep, takePause } from '../../src/etrn/backoff.js'

suite('backoffMs', () => {
  const jitter = fc.double({ min: 0, max: 1, noNaN: true })
  const failures = fc.integer({ min: 1, max: 1000 })
  test('stays between 1 s and 30 s if no server replied', () =>
    fc.assert(
      fc.property(failures, jitter, (count, share) => {
        const ms = backoffMs(count, false, share)
        assert.ok(ms >= 1000 && ms <= 30_000)
      }),
    ))
  test('stays between 10 s and 5 min after a reply', () =>
    fc.assert(
      fc.property(failures, jitter, (count, share) => {
        const ms = backoffMs(count, true, share)
        assert.ok(ms >= 10_000 && ms <= 300_000)
      }),
    ))
  test('doubles from 1 s to 30 s if no server replied', () => {
    assert.deepEqual(
      [1, 2, 3, 4, 5, 6].map((count) => backoffMs(count, false, 0)),
      [1000, 2000, 4000, 8000, 16_000, 30_000],
    )
  })
  test('doubles from 10 s to 5 min after replies', () => {
    assert.deepEqual(
      [1, 2, 3, 4, 5, 6].map((count) => backoffMs(count, true, 0)),
      [10_000, 20_000, 40_000, 80_000, 160_000, 300_000],
    )
  })
  test('differs by its jitter for two clients that began together, up to twice the time', () => {
    assert.notEqual(backoffMs(1, true, 0.1), backoffMs(1, true, 0.9))
    assert.deepEqual([backoffMs(1, false, 0.5), backoffMs(2, false, 1)], [1500, 4000])
  })
})

suite('createPause', () => {
  test('states the reason, the time of the next attempt and the end', (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: new Date(2026, 10, 24, 23, 59, 30) })
    assert.deepEqual(createPause('421 later', 10_000, 90_000), {
      type: 'pause',
      text: '421 later; again at 23:59:40, until 00:01:00',
      pauseMs: 10_000,
    })
  })
})

/** Mocks the timers until the test ends. */
function mockTimers(t: TestContext): void {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.after(() => mock.timers.reset())
}

suite('takePause', () => {
  const pause = createPause('', 10_000, 20_000)
  test('reports the pause and returns true when it is over, and not before', async (t) => {
    mockTimers(t)
    const paused: Pause[] = []
    let isGoingOn: boolean | undefined
    const done = takePause(pause, (one) => paused.push(one), new AbortController().signal)
    void done.then((result) => (isGoingOn = result))
    assert.deepEqual(paused, [pause])
    mock.timers.tick(9999)
    await new Promise(setImmediate)
    assert.equal(isGoingOn, undefined)
    mock.timers.tick(1)
    assert.equal(await done, true)
    assert.deepEqual(paused, [pause])
  })
  test(
    'returns false without an error if the signal aborts the pause, or has aborted',
    { timeout: 10_000 },
    async () => {
      const ending = new AbortController()
      const long = createPause('', 3_600_000, 3_600_000)
      assert.equal(await takePause(long, () => setImmediate(() => ending.abort()), ending.signal), false)
      assert.equal(await takePause(long, () => undefined, ending.signal), false)
    },
  )
})

type StepRetry = Parameters<typeof retryStep>[1]

suite('retryStep', () => {
  const failure = new StepError('not yet', { exitStatus: 75 })
  /** Returns options of pauses that pass at once, and the texts of these pauses. */
  const optionsOf = (t: TestContext, options: Partial<StepRetry> = {}): StepRetry & { readonly texts: string[] } => {
    mockTimers(t)
    let now = 0
    t.mock.method(performance, 'now', () => now)
    const texts: string[] = []
    return {
      texts,
      pauseMs: (failures) => 1000 * failures,
      endsAt: 6000,
      signal: new AbortController().signal,
      onPause: ({ text, pauseMs }) => {
        texts.push(`${text.replace(/;.*/, '')} ${pauseMs}`)
        now += pauseMs
        setImmediate(() => mock.timers.tick(pauseMs))
      },
      ...options,
    }
  }
  test('makes one attempt without a pause if the attempt succeeds', async (t) => {
    const options = optionsOf(t)
    let attempts = 0
    assert.equal(await retryStep(async () => Promise.resolve(++attempts), options), 1)
    assert.deepEqual([attempts, options.texts], [1, []])
  })
  test('makes the next attempt after the pause, and not before', async (t) => {
    const options = optionsOf(t, { onPause: () => undefined })
    let attempts = 0
    const step = async (): Promise<string> => (++attempts < 2 ? Promise.reject(failure) : Promise.resolve('done'))
    const done = retryStep(step, options)
    await new Promise(setImmediate)
    mock.timers.tick(999)
    await new Promise(setImmediate)
    assert.equal(attempts, 1)
    mock.timers.tick(1)
    assert.deepEqual([await done, attempts], ['done', 2])
  })
  test('returns the result after as many failures as the time allows, each with its pause', async (t) => {
    const options = optionsOf(t)
    let attempts = 0
    const step = async (): Promise<string> => (++attempts < 4 ? Promise.reject(failure) : Promise.resolve('done'))
    assert.equal(await retryStep(step, options), 'done')
    assert.deepEqual(options.texts, ['not yet 1000', 'not yet 2000', 'not yet 3000'])
  })
  test('throws the failure if the next pause would outlast the time', async (t) => {
    const options = optionsOf(t, { endsAt: 999 })
    await assert.rejects(
      retryStep(async () => Promise.reject(failure), options),
      failure,
    )
    assert.deepEqual(options.texts, [])
  })
  test('throws any other error at once', async (t) => {
    const bug = new TypeError('bug')
    await assert.rejects(
      retryStep(async () => Promise.reject(bug), optionsOf(t)),
      bug,
    )
  })
  test('throws the failure of a step that the signal aborts', async (t) => {
    const ending = new AbortController()
    const step = async (): Promise<never> => {
      ending.abort()
      return Promise.reject(failure)
    }
    await assert.rejects(retryStep(step, optionsOf(t, { signal: ending.signal })), failure)
  })
  test('throws the reason of the signal that aborts a pause, without another attempt', async (t) => {
    const reason = new StepError('SIGTERM', { exitStatus: 143, kind: 'interrupted' })
    const ending = new AbortController()
    const options = optionsOf(t, { signal: ending.signal, onPause: () => setImmediate(() => ending.abort(reason)) })
    let attempts = 0
    const step = async (): Promise<never> => {
      attempts++
      return Promise.reject(failure)
    }
    await assert.rejects(retryStep(step, options), reason)
    assert.equal(attempts, 1)
  })
})
