import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { type Outcome, type Result, type ServerReport, unansweredResult } from '../../src/etrn/outcome.js'
import { RetryState } from '../../src/etrn/retry-state.js'
import { type NodeName, parseNodeName } from '../../src/input/node-name.js'
import { parseServer } from '../../src/input/server-address.js'
import { SessionError } from '../../src/smtp/errors.js'
import { NO_FACTS } from '../../src/smtp/trace.js'

const RETRY = { retryForMs: 3_600_000, waitMs: 0, intervalMs: 60_000 }
const WAIT = { retryForMs: 0, waitMs: 3_600_000, intervalMs: 60_000 }
const ONCE = { retryForMs: 0, waitMs: 0, intervalMs: 60_000 }
const LOST = new SessionError('etrn', 'the server closed the connection', { exitStatus: 75, kind: 'connection-lost' })
const NO_HOST = new SessionError('dns', 'no such host: mx.example', { exitStatus: 68 })

/** Returns the result of a reply with this code. */
function replied(name: string, outcome: Outcome, code: number, pending: number | null = null): Result {
  return { ...unansweredResult(name, outcome), code, text: 'text', pending }
}

function stateOf(policy: typeof RETRY, { keepGoing = false, startedAt = performance.now() } = {}): RetryState {
  return new RetryState(policy, keepGoing, startedAt)
}

function addRound(state: RetryState, names: readonly Result[], error: SessionError | null = null): void {
  const report: ServerReport = {
    ...NO_FACTS,
    server: parseServer('mx.example'),
    attempts: 1,
    elapsedMs: 0,
    error,
    isQueueUnknown: false,
    names,
  }
  state.addRound(report)
}

const namesOf = (results: readonly Result[]): string[] => results.map(({ name }) => name)

suite('RetryState: final results', () => {
  const started = replied('a.example', 'started', 250)
  for (const [title, policy, result, isFinal] of [
    ['deferred without a policy', ONCE, replied('a.example', 'deferred', 450), true],
    ['deferred with --retry-for', RETRY, replied('a.example', 'deferred', 450), false],
    ['deferred with --wait', WAIT, replied('a.example', 'deferred', 450), false],
    ['refused with --retry-for', RETRY, replied('a.example', 'refused', 459), true],
    ['started with --retry-for', RETRY, started, true],
    ['started with --wait', WAIT, started, false],
    ['pending with --wait', WAIT, replied('a.example', 'pending', 252), false],
    ['empty with --wait', WAIT, replied('a.example', 'empty', 251, 0), true],
    ['refused with --wait', WAIT, replied('a.example', 'refused', 459), true],
  ] as const)
    test(`${isFinal ? 'include' : 'do not include'} ${title}`, () => {
      assert.equal(stateOf(policy).isFinalResult(result), isFinal)
    })
  test('include a second 250 with --wait, but not one after a count', () => {
    const state = stateOf(WAIT)
    addRound(state, [started, replied('b.example', 'pending', 253, 1)])
    assert.equal(state.isFinalResult(started), true)
    assert.equal(state.isFinalResult(replied('b.example', 'started', 250)), false)
    addRound(state, [started, replied('b.example', 'started', 250)])
    assert.equal(state.isFinalResult(replied('b.example', 'started', 250)), false)
  })
})

suite('RetryState: failed names', () => {
  test('are those that were deferred, with --retry-for', () => {
    const state = stateOf(RETRY)
    addRound(state, [
      replied('a.example', 'started', 250),
      replied('b.example', 'deferred', 450),
      replied('c.example', 'refused', 459),
    ])
    assert.deepEqual(namesOf(state.failed), ['b.example'])
  })
  test('are none without a policy', () => {
    const state = stateOf(ONCE)
    addRound(state, [replied('a.example', 'deferred', 450)])
    assert.deepEqual(state.failed, [])
  })
  for (const [title, names, error, failed] of [
    ['a 4xx', [replied('a.example', 'deferred', 450)], null, ['a.example', 'z.example']],
    ['a lost session', [replied('a.example', 'refused', 459)], LOST, ['z.example']],
    ['refusals alone', [replied('a.example', 'refused', 459)], null, []],
    [
      'a 4xx and a 5xx',
      [replied('a.example', 'deferred', 450), replied('b.example', 'refused', 550)],
      null,
      ['a.example'],
    ],
  ] as const)
    test(`are the skipped ones ${failed.includes('z.example' as never) ? 'too' : 'never'} after ${title}`, () => {
      const state = stateOf(RETRY)
      addRound(state, [...names, unansweredResult('z.example', 'skipped')], error)
      assert.deepEqual(namesOf(state.failed), failed)
    })
  test('are the skipped ones after a 4xx and a 5xx with --keep-going', () => {
    const state = stateOf(RETRY, { keepGoing: true })
    const names = [replied('a.example', 'deferred', 450), replied('b.example', 'refused', 550)]
    addRound(state, [...names, unansweredResult('z.example', 'skipped')])
    assert.deepEqual(namesOf(state.failed), ['a.example', 'z.example'])
  })
  test('are those of a failed lookup until the time of --retry-for is over', () => {
    const failed = unansweredResult('a.example', 'failed')
    const retrying = stateOf(RETRY)
    addRound(retrying, [failed], NO_HOST)
    assert.deepEqual([retrying.isRetrying, namesOf(retrying.failed)], [true, ['a.example']])
    const over = stateOf(RETRY, { startedAt: performance.now() - 3_600_000 })
    addRound(over, [failed], NO_HOST)
    assert.deepEqual([over.isRetrying, over.failed], [false, []])
  })
  test('are none of a failed session that was no lookup', () => {
    const state = stateOf(RETRY)
    addRound(state, [unansweredResult('a.example', 'failed')], new SessionError('ehlo', 'no', { exitStatus: 76 }))
    assert.deepEqual(state.failed, [])
  })
})

suite('RetryState: waiting names', () => {
  test('are those that were accepted and may have mail', () => {
    const state = stateOf(WAIT)
    addRound(state, [
      replied('a.example', 'pending', 253, 1),
      replied('b.example', 'empty', 251, 0),
      replied('c.example', 'started', 250),
      replied('d.example', 'refused', 459),
    ])
    assert.deepEqual(namesOf(state.waiting), ['a.example', 'c.example'])
  })
  for (const [title, result] of [
    ['without a reply', unansweredResult('a.example', 'deferred')],
    ['that defers the name', replied('a.example', 'deferred', 450)],
    ['that skips the name', unansweredResult('a.example', 'skipped')],
  ] as const)
    test(`stay so after a round ${title}`, () => {
      const state = stateOf(WAIT)
      addRound(state, [replied('a.example', 'pending', 253, 1)])
      addRound(state, [result], LOST)
      assert.deepEqual(namesOf(state.waiting), ['a.example'])
    })
  test('do not begin with a round without a reply', () => {
    const state = stateOf(WAIT)
    addRound(state, [unansweredResult('a.example', 'deferred')], LOST)
    assert.deepEqual(state.waiting, [])
  })
  test('end with a 251 or a refusal', () => {
    const state = stateOf(WAIT)
    addRound(state, [replied('a.example', 'pending', 252), replied('b.example', 'pending', 252)])
    addRound(state, [replied('a.example', 'empty', 251, 0), replied('b.example', 'refused', 550)])
    assert.deepEqual(state.waiting, [])
  })
})

suite('RetryState: results', () => {
  for (const [title, before, later, isKept] of [
    ['a reply that follows', replied('a.example', 'deferred', 450), replied('a.example', 'refused', 459), false],
    ['a skip after a reply', replied('a.example', 'deferred', 450), unansweredResult('a.example', 'skipped'), true],
    ['a failure after a 4xx', replied('a.example', 'deferred', 450), unansweredResult('a.example', 'failed'), false],
    ['a failure after a 250', replied('a.example', 'started', 250), unansweredResult('a.example', 'failed'), true],
    [
      'a failure after a failure',
      unansweredResult('a.example', 'deferred'),
      unansweredResult('a.example', 'failed'),
      false,
    ],
  ] as const)
    test(`${isKept ? 'are not replaced' : 'are replaced'} by ${title}`, () => {
      const state = stateOf(RETRY)
      addRound(state, [before])
      addRound(state, [later])
      assert.deepEqual(state.results, [isKept ? before : later])
    })
  test('stand in the order of the first round', () => {
    const state = stateOf(RETRY)
    addRound(state, [replied('a.example', 'deferred', 450), replied('b.example', 'deferred', 450)])
    addRound(state, [replied('b.example', 'started', 250), replied('a.example', 'started', 250)])
    assert.deepEqual(namesOf(state.results), ['a.example', 'b.example'])
  })
})

suite('RetryState: unknown queue', () => {
  test('is true with --wait after two 250s, and false after one', () => {
    const state = stateOf(WAIT)
    addRound(state, [replied('a.example', 'started', 250)])
    assert.equal(state.isQueueUnknown, false)
    addRound(state, [replied('a.example', 'started', 250)])
    assert.equal(state.isQueueUnknown, true)
  })
  test('is false without --wait', () => {
    const state = stateOf(RETRY)
    addRound(state, [replied('a.example', 'started', 250)])
    assert.equal(state.isQueueUnknown, false)
  })
})

suite('RetryState: order of the next round', () => {
  const parseNames = async (count: number): Promise<NodeName[]> =>
    Promise.all(
      Array.from({ length: count }, async (_, index) => parseNodeName(`n${index}.example`, { allowWide: false })),
    )
  for (const [count, isReordered] of [
    [6, false],
    [7, true],
  ] as const)
    test(`${isReordered ? 'begins' : 'does not begin'} with names without a reply if ${count} others have one`, async () => {
      const names = await parseNames(count + 1)
      const last = names.at(-1) ?? assert.fail()
      const state = stateOf(RETRY)
      addRound(state, [
        ...names.slice(0, -1).map((name) => replied(name, 'deferred', 450)),
        unansweredResult(last, 'skipped'),
      ])
      assert.deepEqual(state.orderNames(names), isReordered ? [last, ...names.slice(0, -1)] : names)
    })
})
