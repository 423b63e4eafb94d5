import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { type Step, StepLog } from '../../src/check/steps.js'

suite('StepLog', () => {
  test('reports its title, then each step at once, and keeps the steps', () => {
    const reported: (string | Step)[] = []
    const log = new StepLog('mx.example port 25', {
      onPart: (title) => reported.push(title),
      onStep: (step) => reported.push(step),
    })
    assert.deepEqual(reported, ['mx.example port 25'])
    log.note('TLS', null, 'not offered', 'a hint')
    log.note('ETRN', true, 'listed')
    assert.deepEqual(reported.slice(1), [
      { step: 'TLS', ok: null, elapsedMs: null, text: 'not offered', hint: 'a hint' },
      { step: 'ETRN', ok: true, elapsedMs: null, text: 'listed', hint: null },
    ])
    assert.deepEqual(log.all, reported.slice(1))
  })
  test('keeps and reports no more of a text than people read', () => {
    const log = new StepLog('', { onPart: () => undefined, onStep: () => undefined })
    log.note('EHLO', true, 'x'.repeat(100_000))
    assert.equal(log.all[0]?.text, `${'x'.repeat(2048)}...`)
  })
  test('measures a step from its start, in whole milliseconds', () => {
    const log = new StepLog('', { onPart: () => undefined, onStep: () => undefined })
    log.start(performance.now() - 3_600_000)
    log.add('connect', true, '')
    const [{ elapsedMs } = assert.fail()] = log.all
    assert.ok(Number.isInteger(elapsedMs))
    assert.ok((elapsedMs ?? 0) >= 3_600_000, `${elapsedMs} ms`)
  })
})
