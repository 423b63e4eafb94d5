import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { parseDuration } from '../../src/input/values.js'

suite('parseDuration', () => {
  for (const [word, ms] of [
    ['90', 90_000],
    ['90s', 90_000],
    ['2m', 120_000],
    ['1h30m', 5_400_000],
    ['1h1m1s', 3_661_000],
  ] as const) {
    test(`reads ${word} as ${ms} ms`, () => assert.equal(parseDuration(word), ms))
  }
  for (const word of ['', '0', '0s', '1h30x', '1.5s', '-5', '5 s', '1m1h', 's', '1e3', '25000h', '10000000']) {
    test(`refuses ${JSON.stringify(word)}`, () => assert.throws(() => parseDuration(word), Error))
  }
})
