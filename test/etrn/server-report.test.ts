import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { Outcome } from '../../src/etrn/outcome.js'
import { unansweredResult } from '../../src/etrn/result.js'
import { exitStatusesOf, isSelfReport, type ServerReport } from '../../src/etrn/server-report.js'
import { parseServer } from '../../src/input/server-address.js'
import { SessionError } from '../../src/smtp/errors.js'
import { NO_FACTS } from '../../src/smtp/trace.js'

function reportOf(outcomes: readonly Outcome[], facts: Partial<ServerReport> = {}): ServerReport {
  return {
    ...NO_FACTS,
    server: parseServer('mx.example'),
    attempts: 1,
    elapsedMs: 0,
    error: null,
    isQueueUnknown: false,
    names: outcomes.map((outcome, index) => unansweredResult(`n${index}.example`, outcome)),
    ...facts,
  }
}

suite('exitStatusesOf', () => {
  test('returns the status of each name in order, then those of the session and of the queue', () => {
    const report = reportOf(['started', 'rejected', 'refused', 'skipped', 'unsupported', 'deferred'])
    assert.deepEqual(exitStatusesOf(report), [0, 65, 77, 0, 69, 75, 0, 0])
  })
  test('returns the status of the session for the names that failed with it, and for the session', () => {
    const error = new SessionError('dns', 'no such host: mx.example', { exitStatus: 68 })
    assert.deepEqual(exitStatusesOf(reportOf(['failed', 'refused'], { error })), [68, 77, 68, 0])
  })
  test('returns 76 for a name that failed in a session that did not', () => {
    assert.deepEqual(exitStatusesOf(reportOf(['failed'])), [76, 0, 0])
  })
  test("returns 2 if the server can't tell whether mail is waiting", () => {
    assert.deepEqual(exitStatusesOf(reportOf(['started'], { isQueueUnknown: true })), [0, 0, 2])
  })
  test('is never a success if a name was not requested', () => {
    assert.deepEqual(exitStatusesOf(reportOf(['started', 'skipped'])), [0, 0, 0, 0, 75])
    assert.deepEqual(exitStatusesOf(reportOf(['refused', 'skipped'])), [77, 0, 0, 0])
  })
})

suite('isSelfReport', () => {
  const self = new SessionError('greeting', 'mx.example is this host', { exitStatus: 68, kind: 'self' })
  const server = { ...parseServer('mx.example'), tls: undefined, credentials: undefined }
  const name = { name: 'a.example', enhancedCode: null, text: null, pending: null, hint: null }
  test('is true if no name has a reply', () => {
    assert.ok(isSelfReport({ server, error: self, names: [{ ...name, outcome: 'failed', code: null }] }))
    assert.ok(isSelfReport({ server, error: self }))
  })
  test('is false for a server that has answered for a name before', () =>
    assert.ok(!isSelfReport({ server, error: self, names: [{ ...name, outcome: 'started', code: 250 }] })))
  test('is false for another failure', () => assert.ok(!isSelfReport({ server, error: null, names: [] })))
})
