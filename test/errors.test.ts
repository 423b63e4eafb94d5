import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { codeOf, EXIT, mergeExitStatuses, messageOf, StepError, UsageError } from '../src/errors.js'

test('EXIT has the numbers of sysexits.h, 0 and 2', () => {
  assert.deepEqual(EXIT, {
    OK: 0,
    QUEUE_UNKNOWN: 2,
    USAGE: 64,
    DATAERR: 65,
    NOINPUT: 66,
    NOHOST: 68,
    UNAVAILABLE: 69,
    SOFTWARE: 70,
    IOERR: 74,
    TEMPFAIL: 75,
    PROTOCOL: 76,
    NOPERM: 77,
    CONFIG: 78,
  })
})

suite('StepError', () => {
  test('carries exit status, kind, hint and cause', () => {
    const cause = new Error('x')
    const error = new StepError('failed', { exitStatus: 75, kind: 'time-over', hint: 'wait', cause })
    assert.ok(error instanceof Error)
    assert.deepEqual(
      [error.name, error.message, error.exitStatus, error.kind, error.hint, error.cause],
      ['StepError', 'failed', 75, 'time-over', 'wait', cause],
    )
  })
  test('has no kind, hint or cause unless it is given one', () => {
    const { kind, hint, cause } = new StepError('failed', { exitStatus: 75 })
    assert.deepEqual([kind, hint, cause], [undefined, undefined, undefined])
  })
})

suite('UsageError', () => {
  test('has exit status 64 unless it is given another one', () => {
    assert.equal(new UsageError('wrong').exitStatus, 64)
    assert.equal(new UsageError('wrong', { exitStatus: 78 }).exitStatus, 78)
  })
  test('carries message, hint and cause', () => {
    const cause = new Error('x')
    const error = new UsageError('wrong', { hint: 'type --right', cause })
    assert.deepEqual(
      [error.name, error.message, error.hint, error.cause],
      ['UsageError', 'wrong', 'type --right', cause],
    )
    assert.equal(new UsageError('wrong').hint, undefined)
  })
})

test('codeOf returns the code of a system error, and an empty text for anything else', () => {
  assert.equal(codeOf(Object.assign(new Error('x'), { code: 'ENOENT' })), 'ENOENT')
  for (const other of [new Error('x'), { code: 'ENOENT' }, 'ENOENT', undefined, null]) assert.equal(codeOf(other), '')
})

test('messageOf returns the message of an error, and anything else as text', () => {
  assert.equal(messageOf(new TypeError('wrong')), 'wrong')
  assert.equal(messageOf('text'), 'text')
  assert.equal(messageOf(undefined), 'undefined')
})

suite('mergeExitStatuses', () => {
  for (const [statuses, merged] of [
    [[], 0],
    [[0, 0], 0],
    [[0, 77, 0], 77],
    [[65, 77], 65],
    [[77, 65], 77],
    [[77, 75], 75],
    [[75, 77], 75],
    [[2, 75], 75],
    [[2, 0], 2],
    [[0, 2], 2],
    [[2, 77], 77],
    [[77, 2], 77],
  ] as const)
    test(`merges ${JSON.stringify(statuses)} to ${merged}`, () => assert.equal(mergeExitStatuses(statuses), merged))
})
