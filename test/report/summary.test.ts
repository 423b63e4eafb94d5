import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { Outcome } from '../../src/etrn/outcome.js'
import { unansweredResult } from '../../src/etrn/result.js'
import type { ServerReport } from '../../src/etrn/server-report.js'
import type { ServerAddress } from '../../src/input/server-address.js'
import { summaryOf } from '../../src/report/summary.js'
import { SessionError } from '../../src/smtp/errors.js'
import { NO_FACTS } from '../../src/smtp/trace.js'

const SERVER: ServerAddress = { word: 'mx.example', host: 'mx.example', port: 25, isImplicitTls: false }
const reportOf = (outcomes: Partial<Record<Outcome, number>>, attempts = 1): ServerReport => {
  const all = Object.entries(outcomes).flatMap(([outcome, count]) => Array<Outcome>(count).fill(outcome as Outcome))
  const names = all.map((outcome, index) => ({
    ...unansweredResult(`n${index}.example`, outcome),
    code: outcome === 'skipped' || outcome === 'rejected' ? null : 250,
  }))
  return { ...NO_FACTS, server: SERVER, error: null, isQueueUnknown: false, attempts, elapsedMs: 130_000, names }
}

suite('summaryOf', () => {
  const sums = (title: string, expected: string | undefined, ...reports: ServerReport[]): void =>
    void test(title, () => assert.equal(summaryOf(reports), expected))
  sums('is none for seven names', undefined, reportOf({ started: 7 }))
  sums('counts eight names', '8 names: 8 accepted', reportOf({ started: 8 }))
  sums(
    'counts each outcome, whatever accepted means',
    '40 names: 37 accepted, 2 refused, 1 deferred',
    reportOf({ deferred: 1, started: 30, empty: 3, pending: 4, refused: 2 }),
  )
  sums(
    'has a word for every outcome',
    '8 names: 1 accepted, 1 refused, 1 rejected, 1 not supported, 1 failed, 1 deferred, 2 not requested',
    reportOf({ started: 1, refused: 1, rejected: 1, unsupported: 1, failed: 1, deferred: 1, skipped: 2 }),
  )
  sums(
    'counts the names at several servers',
    '3 results from 2 servers: 2 accepted, 1 deferred',
    reportOf({ started: 2 }),
    reportOf({ deferred: 1 }),
  )
  sums(
    'has one result if only one of several servers has a name',
    '1 result from 2 servers: 1 accepted',
    reportOf({ started: 1 }),
    reportOf({}),
  )
  sums(
    'has the attempts and the time after retries',
    '1 name: 1 accepted; 3 attempts in 2m 10s',
    reportOf({ started: 1 }, 3),
  )
  sums(
    'has the most attempts of several servers',
    '2 results from 2 servers: 2 accepted; up to 3 attempts in 2m 10s',
    reportOf({ started: 1 }, 3),
    reportOf({ started: 1 }),
  )
  sums('is none after retries that failed, whose failure says so', undefined, {
    ...reportOf({ deferred: 1 }, 3),
    error: new SessionError('etrn', 'gave up', { exitStatus: 75 }),
  })
  sums(
    'tells a name that was sent from one that was not, whatever ended the session',
    '3 results from 2 servers: 1 accepted, 1 without a reply, 1 not requested',
    reportOf({ started: 1 }),
    {
      ...reportOf({}),
      names: ['a.example', 'b.example'].map((name) => unansweredResult(name, 'unsupported')),
      unconfirmed: ['a.example'],
    },
  )
  sums('is none without names', undefined, reportOf({}))
})
