import assert from 'node:assert/strict'
import { mock, suite, test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { StepError } from '../../src/errors.js'
import {
  type Backoff,
  backoffAfter,
  constantBackoff,
  endMessage,
  type Pause,
  retryStep,
  RetryWindow,
  takePause,
} from '../../src/etrn/backoff.js'

suite('backoffAfter', () => {
  const jitter = fc.double({ min: 0, max: 1, noNaN: true })
  const failures = fc.integer({ min: 1, max: 1000 })
  for (const [hasReplied, title, least, most] of [
    [false, '1 s and 30 s if no server replied', 1000, 30_000],
    [true, '10 s and 5 min after a reply', 10_000, 300_000],
  ] as const) {
    test(`stays between ${title}`, () =>
      fc.assert(
        fc.property(failures, jitter, (count, share) => {
          const { pauseMs, leastMs } = backoffAfter(count, hasReplied, share)
          assert.ok(pauseMs >= least && pauseMs <= most)
          assert.equal(leastMs, least)
        }),
      ))
  }
  const pausesAfter = (hasReplied: boolean): number[] =>
    [1, 2, 3, 4, 5, 6].map((count) => backoffAfter(count, hasReplied, 0).pauseMs)
  test('doubles from 1 s to 30 s if no server replied', () => {
    assert.deepEqual(pausesAfter(false), [1000, 2000, 4000, 8000, 16_000, 30_000])
  })
  test('doubles from 10 s to 5 min after replies', () => {
    assert.deepEqual(pausesAfter(true), [10_000, 20_000, 40_000, 80_000, 160_000, 300_000])
  })
  test('differs by its jitter for two clients that began together, up to twice the time', () => {
    assert.notEqual(backoffAfter(1, true, 0.1).pauseMs, backoffAfter(1, true, 0.9).pauseMs)
    assert.deepEqual([backoffAfter(1, false, 0.5).pauseMs, backoffAfter(2, false, 1).pauseMs], [1500, 4000])
  })
})

/** A clock that passes only when the test says so. */
function mockClock(t: TestContext): { now: number } {
  const clock = { now: 5000 }
  t.mock.method(performance, 'now', () => clock.now)
  return clock
}

type Attempts = { readonly startsMs: readonly number[]; readonly pausesMs: readonly number[] }

/** Makes failing attempts of a length in a window, with the pauses that it gives. Returns when each attempt started. */
function attemptsIn(
  t: TestContext,
  lengthMs: number,
  nextBackoff: (failures: number) => Backoff,
  attemptMs: number,
): Attempts {
  const clock = mockClock(t)
  const startedAt = clock.now
  const window = new RetryWindow(startedAt, lengthMs)
  const startsMs: number[] = []
  const pausesMs: number[] = []
  for (let failures = 1; ; failures++) {
    startsMs.push(clock.now - startedAt)
    clock.now += attemptMs
    const pause = window.createPause('', nextBackoff(failures))
    if (pause === undefined) return { startsMs, pausesMs }
    assert.ok(failures < 10_000, 'a burst')
    pausesMs.push(pause.pauseMs)
    clock.now += pause.pauseMs
  }
}

suite('RetryWindow: the pauses', () => {
  const jitter = fc.double({ min: 0, max: 1, noNaN: true })
  for (const [title, lengthMs, hasReplied, attempts] of [
    ['10 min with replies', 600_000, true, 7],
    ['40 s with replies', 40_000, true, 3],
    ['40 s without replies', 40_000, false, 6],
    ['9 s with replies, shorter than the first pause', 9000, true, 2],
    ['1 s with replies', 1000, true, 2],
    ['1 s without replies', 1000, false, 2],
  ] as const)
    test(`end with an attempt 100 ms before the end of ${title}`, (t) => {
      const { startsMs } = attemptsIn(t, lengthMs, (failures) => backoffAfter(failures, hasReplied, 0.5), 10)
      assert.ok(Math.abs(lengthMs - 100 - (startsMs.at(-1) ?? 0)) < 1, String(startsMs))
      assert.equal(startsMs.length, attempts, String(startsMs))
    })
  test('end with one attempt just before the end, are never shorter than the least one but for the last, and never overtake it', (t) => {
    const backoffs = fc.oneof(
      fc.boolean().map((hasReplied) => ({ hasReplied, intervalMs: undefined })),
      fc.integer({ min: 1000, max: 90_000 }).map((intervalMs) => ({ hasReplied: false, intervalMs })),
    )
    fc.assert(
      fc.property(
        fc.integer({ min: 1000, max: 2_000_000 }),
        backoffs,
        fc.integer({ min: 0, max: 70_000 }),
        jitter,
        (lengthMs, { hasReplied, intervalMs }, attemptMs, share) => {
          const backoffOf = (failures: number): Backoff =>
            intervalMs === undefined ? backoffAfter(failures, hasReplied, share) : constantBackoff(intervalMs)
          const { startsMs, pausesMs } = attemptsIn(t, lengthMs, backoffOf, attemptMs)
          mock.restoreAll()
          const last = startsMs.at(-1) ?? 0
          // The attempt before the end may have been so long that there is no time for another one.
          assert.ok(last <= lengthMs - 99 && last + attemptMs >= lengthMs - 601)
          for (const [index, pauseMs] of pausesMs.entries()) {
            const isLast = index === pausesMs.length - 1
            assert.ok(pauseMs >= (isLast ? 500 : backoffOf(index + 1).leastMs), String(pausesMs))
          }
        },
      ),
    )
  })
  for (const [title, maxTimeMs, lastMs] of [
    ['a tenth of the time before a run of 60 s ends', 60_000, 53_900],
    ['10 s before a run of an hour ends', 3_600_000, 3_589_900],
    ['2 s before a run of 12 s ends', 12_000, 9900],
  ] as const)
    test(`end with an attempt ${title}, although the window is longer`, (t) => {
      const clock = mockClock(t)
      const window = new RetryWindow(clock.now, 7_200_000, clock.now + maxTimeMs)
      assert.equal(window.createPause('', constantBackoff(5_000_000))?.pauseMs, lastMs)
    })
  test('do not depend on the end of a run that leaves no time for another attempt', (t) => {
    const clock = mockClock(t)
    const window = new RetryWindow(clock.now, 60_000, clock.now + 2000)
    assert.equal(window.createPause('', constantBackoff(1000))?.pauseMs, 1000)
  })
  test('are none without a length, or if less than half a second is left', (t) => {
    const clock = mockClock(t)
    assert.equal(new RetryWindow(clock.now, 0).createPause('', constantBackoff(1000)), undefined)
    const window = new RetryWindow(clock.now, 10_000)
    clock.now += 9401
    assert.deepEqual([window.createPause('', constantBackoff(1000)), window.isOver], [undefined, true])
  })
  test('are none after the last one, even if the clock stands still or goes back', (t) => {
    const clock = mockClock(t)
    const window = new RetryWindow(clock.now, 5000)
    assert.equal(window.createPause('', backoffAfter(1, true, 0))?.pauseMs, 4900)
    assert.equal(window.createPause('', backoffAfter(2, true, 0)), undefined)
    clock.now -= 1000
    assert.deepEqual([window.createPause('', backoffAfter(3, true, 0)), window.isOver], [undefined, true])
  })
  test('are none after the clock has leapt beyond the end', (t) => {
    const clock = mockClock(t)
    const window = new RetryWindow(clock.now, 60_000)
    assert.equal(window.createPause('', backoffAfter(1, false, 0))?.pauseMs, 1000)
    clock.now += 3_600_000
    assert.equal(window.createPause('', backoffAfter(2, false, 0)), undefined)
  })
})

suite('RetryWindow: its texts', () => {
  test('a pause states the reason, the time of the next attempt, and the end or that it is the last one', (t) => {
    const clock = mockClock(t)
    t.mock.timers.enable({ apis: ['Date'], now: new Date(2026, 10, 24, 23, 59, 30) })
    const window = new RetryWindow(clock.now, 90_000)
    assert.deepEqual(window.createPause('421 later', backoffAfter(1, true, 0)), {
      type: 'pause',
      reason: '421 later',
      next: 'retry at 23:59:40; retries end at 00:01:00',
      pauseMs: 10_000,
    })
    assert.equal(
      window.createPause('421 later', { pauseMs: 300_000, leastMs: 10_000 })?.next,
      'final retry at 00:00:59',
    )
  })
  for (const [attempts, elapsedMs, text] of [
    [1, 60_400, 'gave up after 1 attempt in 60s'],
    [6, 599_912, 'gave up after 6 attempts in 10m'],
    [3, 39_950, 'gave up after 3 attempts in 40s'],
    [99, 5_400_000, 'gave up after 99 attempts in 1h 30m'],
  ] as const)
    test(`the end is "${text}" after ${elapsedMs} ms`, (t) => {
      const clock = mockClock(t)
      const window = new RetryWindow(clock.now, 1)
      clock.now += elapsedMs
      assert.equal(window.describeEnd(attempts), text)
    })
})

suite('endMessage', () => {
  const over = AbortSignal.abort(new StepError('--max-time is over', { exitStatus: 75, kind: 'time-over' }))
  const interrupted = AbortSignal.abort(new StepError('SIGTERM', { exitStatus: 143, kind: 'interrupted' }))
  const { signal } = new AbortController()
  for (const [title, failure, lengthMs, ending, message] of [
    ['without a retry', 'failed', 0, signal, 'failed'],
    ['after retries', 'failed', 1000, signal, 'failed; gave up after 2 attempts in 1s'],
    ['after retries without a failure', '', 1000, signal, 'gave up after 2 attempts in 1s'],
    [
      'when --max-time ends a pause',
      'failed',
      1000,
      over,
      'failed; --max-time is over; gave up after 2 attempts in 1s',
    ],
    [
      'when --max-time ends an attempt',
      '--max-time is over; refused',
      1000,
      over,
      '--max-time is over; refused; gave up after 2 attempts in 1s',
    ],
    ['when a signal ends a pause', 'failed', 1000, interrupted, 'failed'],
  ] as const)
    test(`is "${message}" ${title}`, (t) => {
      const clock = mockClock(t)
      const window = new RetryWindow(clock.now, lengthMs)
      clock.now += 1000
      assert.equal(endMessage(failure, window, 2, ending), message)
    })
})

/** Mocks the timers until the test ends. */
function mockTimers(t: TestContext): void {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.after(() => mock.timers.reset())
}

suite('takePause', () => {
  const pause: Pause = { type: 'pause', reason: '', next: '', pauseMs: 10_000 }
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
      const long: Pause = { type: 'pause', reason: '', next: '', pauseMs: 3_600_000 }
      assert.equal(await takePause(long, () => setImmediate(() => ending.abort()), ending.signal), false)
      assert.equal(await takePause(long, () => undefined, ending.signal), false)
    },
  )
})

type StepRetry = Parameters<typeof retryStep>[1]

suite('retryStep', () => {
  const failure = new StepError('not yet', { exitStatus: 68, kind: 'timeout', hint: 'wait', cause: 'cause' })
  /** Returns options of pauses that pass at once, and the texts of these pauses. */
  const optionsOf = (
    t: TestContext,
    lengthMs = 20_000,
    options: Partial<StepRetry> = {},
  ): StepRetry & { readonly texts: string[] } => {
    mockTimers(t)
    const clock = mockClock(t)
    const texts: string[] = []
    return {
      texts,
      stage: 'dns',
      backoffAfter: (failures) => ({ pauseMs: 1000 * failures, leastMs: 1000 }),
      window: new RetryWindow(clock.now, lengthMs),
      signal: new AbortController().signal,
      onPause: ({ reason, pauseMs }) => {
        texts.push(`${reason} ${pauseMs}`)
        clock.now += pauseMs
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
    const options = optionsOf(t, 20_000, { onPause: () => undefined })
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
  test('makes a last attempt just before the time ends, then throws the failure with the number of attempts', async (t) => {
    const options = optionsOf(t, 4500)
    const { kind, hint, cause } = failure
    await assert.rejects(
      retryStep(async () => Promise.reject(failure), options),
      { stage: 'dns', message: 'not yet; gave up after 4 attempts in 4s', exitStatus: 68, kind, hint, cause },
    )
    assert.deepEqual(options.texts, ['not yet 1000', 'not yet 2000', 'not yet 1400'])
  })
  test('throws the failure as it is if there is no time for retries', async (t) => {
    const options = optionsOf(t, 0)
    await assert.rejects(
      retryStep(async () => Promise.reject(failure), options),
      { stage: 'dns', message: 'not yet', exitStatus: 68 },
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
    await assert.rejects(retryStep(step, optionsOf(t, 20_000, { signal: ending.signal })), { message: 'not yet' })
  })
  for (const [title, reason, expected] of [
    [
      'the reason of a signal',
      new StepError('SIGTERM', { exitStatus: 143, kind: 'interrupted' }),
      { message: 'SIGTERM' },
    ],
    [
      'the failure, and that --max-time is over,',
      new StepError('--max-time is over', { exitStatus: 75, kind: 'time-over' }),
      { message: 'not yet; --max-time is over; gave up after 1 attempt in 0s', exitStatus: 68, kind: 'timeout' },
    ],
  ] as const)
    test(`throws ${title} that aborts a pause, without another attempt`, async (t) => {
      const ending = new AbortController()
      const onPause = (): void => void setImmediate(() => ending.abort(reason))
      const options = optionsOf(t, 20_000, { signal: ending.signal, onPause })
      let attempts = 0
      const step = async (): Promise<never> => {
        attempts++
        return Promise.reject(failure)
      }
      await assert.rejects(retryStep(step, options), expected)
      assert.equal(attempts, 1)
    })
})
