import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { type Outcome, unansweredResult } from '../../src/etrn/outcome.js'
import { exitStatusesOf, type ServerReport, unreachedReport } from '../../src/etrn/server-report.js'
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
  test('returns 2 if the server cannot tell whether mail is waiting', () => {
    assert.deepEqual(exitStatusesOf(reportOf(['started'], { isQueueUnknown: true })), [0, 0, 2])
  })
})

suite('unreachedReport', () => {
  test('has no facts and no attempts', () => {
    const error = new SessionError('dns', 'no such host: mx.example', { exitStatus: 68 })
    const server = parseServer('mx.example')
    const names = [unansweredResult('a.example', 'failed')]
    assert.deepEqual(unreachedReport(server, error, names, 7), {
      server,
      address: null,
      tls: null,
      greeting: null,
      extensions: null,
      attempts: 0,
      elapsedMs: 7,
      error,
      isQueueUnknown: false,
      names,
    })
  })
})
