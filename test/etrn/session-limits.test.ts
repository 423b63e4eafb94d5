import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import {
  NAMES_PER_SESSION,
  type SessionProgress,
  SESSIONS_PER_SERVER,
  wouldFinishSooner,
} from '../../src/etrn/session-limits.js'

suite('session limits', () => {
  test('are seven names for each session and four sessions for each server', () => {
    assert.deepEqual([NAMES_PER_SESSION, SESSIONS_PER_SERVER], [7, 4])
  })
})

suite('wouldFinishSooner', () => {
  /** Counts the round trips until the last reply, one after the other: each session that can sends a name. */
  const countTrips = (names: number, sessions: readonly SessionProgress[]): number => {
    let waiting = names
    for (let trips = 1; trips < 20; trips++) {
      for (const { delay, namesLeft } of sessions) if (trips > delay && trips <= delay + namesLeft) waiting--
      if (waiting <= 0) return trips
    }
    return Infinity
  }
  test('agrees with a simulation of all sessions, round trip by round trip', () => {
    const progress = fc.record({ delay: fc.nat(6), namesLeft: fc.nat(7) })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.array(progress, { maxLength: 3 }), (names, sessions) => {
        const another = { delay: 3, namesLeft: 7 }
        const capacity = [...sessions, another].reduce((sum, { namesLeft }) => sum + namesLeft, 0)
        const requested = Math.min(names, capacity)
        assert.equal(
          wouldFinishSooner(names, sessions, another),
          countTrips(requested, [...sessions, another]) < countTrips(requested, sessions),
        )
      }),
    )
  })
  for (const [names, isSooner] of [
    [4, false],
    [5, true],
  ] as const)
    test(`returns ${isSooner} for ${names} names if the other session needs three round trips to begin`, () => {
      const open = { delay: 0, namesLeft: 6 }
      assert.equal(wouldFinishSooner(names, [open], { delay: 3, namesLeft: 7 }), isSooner)
    })
  test('returns true if the sessions under way cannot request every name', () => {
    assert.equal(wouldFinishSooner(3, [{ delay: 0, namesLeft: 2 }], { delay: 6, namesLeft: 7 }), true)
  })
})
