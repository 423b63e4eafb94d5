import assert from 'node:assert/strict'
import { mock, suite, test } from 'node:test'
import fc from 'fast-check'
import { backoffMs, describePause, sleep } from '../../src/etrn/backoff.js'

suite('backoffMs', () => {
  const luck = fc.double({ min: 0, max: 1, noNaN: true })
  const failures = fc.integer({ min: 1, max: 1000 })
  test('stays between 1 s and 30 s if no server replied', () =>
    fc.assert(
      fc.property(failures, luck, (count, chance) => {
        const ms = backoffMs(count, false, chance)
        assert.ok(ms >= 1000 && ms <= 30_000)
      }),
    ))
  test('stays between 10 s and 5 min after a reply', () =>
    fc.assert(
      fc.property(failures, luck, (count, chance) => {
        const ms = backoffMs(count, true, chance)
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
  test('differs by chance for two clients that began together, up to twice the time', () => {
    assert.notEqual(backoffMs(1, true, 0.1), backoffMs(1, true, 0.9))
    assert.deepEqual([backoffMs(1, false, 0.5), backoffMs(2, false, 1)], [1500, 4000])
  })
})

suite('describePause', () => {
  test('states the reason, the time of the next attempt and the end', (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: new Date(2026, 10, 24, 23, 59, 30) })
    assert.deepEqual(describePause('421 later', 10_000, 90_000), {
      type: 'pause',
      text: '421 later; again at 23:59:40, until 00:01:00',
      pauseMs: 10_000,
    })
  })
})

suite('sleep', () => {
  test('lasts as long as the pause', async (t) => {
    mock.timers.enable({ apis: ['setTimeout'] })
    t.after(() => mock.timers.reset())
    let isOver = false
    const sleeping = sleep(describePause('', 10_000, 20_000), new AbortController().signal).then(() => (isOver = true))
    mock.timers.tick(9999)
    await new Promise(setImmediate)
    assert.equal(isOver, false)
    mock.timers.tick(1)
    assert.equal(await sleeping, true)
  })
  test('ends without an error if the signal aborts, before or during the pause', { timeout: 10_000 }, async () => {
    const ending = new AbortController()
    const sleeping = sleep(describePause('', 3_600_000, 3_600_000), ending.signal)
    ending.abort()
    await sleeping
    await sleep(describePause('', 3_600_000, 3_600_000), ending.signal)
  })
})
