import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { parseDuration } from '../../src/input/option-values.js'
import { formatDuration, formatElapsed } from '../../src/net/duration.js'

suite('formatDuration', () => {
  for (const [ms, text] of [
    [0, '0s'],
    [1, '0.001s'],
    [1500, '1.5s'],
    [40_000, '40s'],
    [60_000, '60s'],
    [119_500, '119.5s'],
    [120_000, '2m'],
    [457_000, '7m37s'],
    [600_000, '10m'],
    [3_600_000, '1h'],
    [5_400_000, '1h30m'],
    [90_061_000, '25h1m1s'],
  ] as const)
    test(`returns ${text} for ${ms} ms`, () => assert.equal(formatDuration(ms), text))
  test('returns whole seconds as an option takes them', () =>
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2_000_000 }), (seconds) =>
        assert.equal(parseDuration(formatDuration(1000 * seconds)), 1000 * seconds),
      ),
    ))
})

test('formatElapsed rounds to seconds, and puts blanks between the units', () =>
  assert.deepEqual([599_912, 899.9, 3_599_600, 603_000, 5_403_000].map(formatElapsed), [
    '10m',
    '1s',
    '1h',
    '10m 3s',
    '1h 30m 3s',
  ]))
