import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { EXIT_STATUS_OF, isAccepted, isSecurityFailure, outcomeOfError } from '../../src/etrn/outcome.js'
import { SessionError, type Stage } from '../../src/smtp/errors.js'

suite('isAccepted', () => {
  for (const [outcome, isExpected] of [
    ['started', true],
    ['empty', true],
    ['pending', true],
    ['deferred', false],
    ['refused', false],
    ['unsupported', false],
    ['rejected', false],
    ['failed', false],
    ['skipped', false],
  ] as const)
    test(`returns ${isExpected} for ${outcome}`, () => assert.equal(isAccepted(outcome), isExpected))
  test('knows skipped as an outcome without a failure of its own', () => assert.equal(EXIT_STATUS_OF.skipped, 0))
})

suite('outcomeOfError', () => {
  for (const [exitStatus, outcome] of [
    [75, 'deferred'],
    [69, 'unsupported'],
    [77, 'refused'],
    [68, 'failed'],
    [76, 'failed'],
  ] as const)
    test(`returns ${outcome} if the session ended with ${exitStatus}`, () => {
      assert.equal(outcomeOfError(new SessionError('ehlo', 'no', { exitStatus })), outcome)
    })
  test('returns deferred after a signal, whatever the exit status', () => {
    const error = new SessionError('etrn', 'SIGTERM', { exitStatus: 143, kind: 'interrupted' })
    assert.equal(outcomeOfError(error), 'deferred')
  })
})

suite('isSecurityFailure', () => {
  const stages: readonly (readonly [Stage, boolean])[] = [
    ['dns', false],
    ['connect', false],
    ['greeting', false],
    ['ehlo', false],
    ['starttls', true],
    ['tls', true],
    ['auth', true],
    ['etrn', false],
  ]
  for (const [stage, isExpected] of stages)
    test(`returns ${isExpected} for a permanent failure at ${stage}, and false for a temporary one`, () => {
      const failures = [76, 77, 75].map((exitStatus) => new SessionError(stage, 'no', { exitStatus }))
      assert.deepEqual(failures.map(isSecurityFailure), [isExpected, isExpected, false])
    })
})
