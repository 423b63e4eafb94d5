import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { NameQueue } from '../../src/etrn/name-queue.js'
import type { Outcome } from '../../src/etrn/outcome.js'
import { type Result, unansweredResult } from '../../src/etrn/result.js'
import { type NodeName, parseNodeName } from '../../src/input/node-name.js'
import { SessionError } from '../../src/smtp/errors.js'

async function parseNames(...words: readonly string[]): Promise<NodeName[]> {
  return Promise.all(words.map(async (word) => parseNodeName(word, { allowWide: false })))
}

const NAMES = await parseNames('a.example', 'b.example', 'c.example')
const [A, B, C] = NAMES as [NodeName, NodeName, NodeName]
const LOST = new SessionError('etrn', 'the server closed the connection', { exitStatus: 75, kind: 'connection-lost' })
const REFUSED = new SessionError('greeting', '554 no', { exitStatus: 69 })
const GARBAGE = new SessionError('etrn', 'not an SMTP reply', { exitStatus: 76 })

function accepted(name: string): Result {
  return { ...unansweredResult(name, 'started'), code: 250, text: 'OK' }
}

function outcomesOf({ results }: NameQueue): Outcome[] {
  return results.map(({ outcome }) => outcome)
}

suite('NameQueue', () => {
  test('gives the names in order, each once', () => {
    const queue = new NameQueue(NAMES)
    assert.deepEqual([queue.take(true), queue.take(false), queue.take(true), queue.take(true)], [A, B, C, undefined])
  })
  test('counts the names that are still to be requested', () => {
    const queue = new NameQueue(NAMES)
    assert.equal(queue.remaining, 3)
    queue.take(true)
    assert.equal(queue.remaining, 2)
    queue.setUnanswered(A, LOST)
    queue.requeue(A)
    assert.equal(queue.remaining, 3)
    queue.end(null, 'skipped')
    assert.equal(queue.remaining, 0)
  })
  test('gives a requeued name to a new session alone, before all others', () => {
    const queue = new NameQueue(NAMES)
    queue.take(true)
    queue.setUnanswered(A, LOST)
    queue.requeue(A)
    assert.deepEqual([queue.take(false), queue.take(true), queue.take(true)], [B, A, C])
  })
  test('gives requeued names in the order of their failures', () => {
    const queue = new NameQueue(NAMES)
    for (const name of [queue.take(true), queue.take(true)]) queue.requeue(name ?? A)
    assert.deepEqual([queue.take(true), queue.take(true)], [A, B])
  })
  test('does not give an unanswered name again unless it is requeued', () => {
    const queue = new NameQueue(NAMES)
    queue.setUnanswered(queue.take(true) ?? A, LOST)
    assert.deepEqual([queue.take(true), queue.take(true), queue.take(true)], [B, C, undefined])
  })
  test('gives no name after its end', () => {
    const queue = new NameQueue(NAMES)
    queue.requeue(queue.take(true) ?? A)
    queue.end(null, 'skipped')
    assert.deepEqual([queue.take(true), queue.take(false)], [undefined, undefined])
  })
  test('lists the results in the order of the names, whatever the order of the replies', () => {
    const queue = new NameQueue(NAMES)
    for (const name of [C, A, B]) queue.setResult(name, accepted(name))
    assert.deepEqual(queue.results, NAMES.map(accepted))
  })
  test('reports a lost name as deferred and the others as skipped, with the error of the session', () => {
    const queue = new NameQueue(NAMES)
    queue.setResult(A, accepted(A))
    queue.setUnanswered(B, LOST)
    assert.deepEqual(outcomesOf(queue), ['started', 'deferred', 'skipped'])
    assert.equal(queue.error, LOST)
  })
  test('forgets the loss of a name that gets its reply later', () => {
    const queue = new NameQueue(NAMES)
    queue.setUnanswered(A, LOST)
    queue.requeue(A)
    queue.setResult(A, accepted(A))
    assert.deepEqual([queue.error, outcomesOf(queue)[0]], [null, 'started'])
  })
  test('reports the next name as failed if it could not be sent, but not as unconfirmed', () => {
    const queue = new NameQueue(NAMES)
    queue.setUnsent(GARBAGE)
    assert.deepEqual(
      [queue.error, outcomesOf(queue), queue.unconfirmed],
      [GARBAGE, ['failed', 'skipped', 'skipped'], []],
    )
  })
  test('has the names whose request may have been accepted: sent, without a reply, not even a 421', () => {
    const queue = new NameQueue(NAMES)
    queue.setUnanswered(B, LOST)
    queue.setUnanswered(A, LOST)
    assert.deepEqual(queue.unconfirmed, [A, B])
    queue.setResult(A, accepted(A))
    queue.setUnanswered(
      C,
      new SessionError('etrn', 'bye', {
        exitStatus: 75,
        reply: { code: 421, enhancedCode: null, lines: ['bye'], text: 'bye' },
      }),
    )
    assert.deepEqual(queue.unconfirmed, [B])
  })
  test('reports the outcome of the end for the names that were not requested', () => {
    const queue = new NameQueue(NAMES)
    queue.setResult(A, accepted(A))
    queue.end(REFUSED, 'unsupported')
    assert.deepEqual(outcomesOf(queue), ['started', 'unsupported', 'unsupported'])
    assert.equal(queue.error, REFUSED)
  })
  test('keeps the error of its end before that of a lost name', () => {
    const queue = new NameQueue(NAMES)
    queue.setUnanswered(A, LOST)
    queue.requeue(A)
    queue.end(REFUSED, 'unsupported')
    assert.equal(queue.error, REFUSED)
  })
  test('keeps the first end, unless a later one shows that the server does not speak SMTP', () => {
    const queue = new NameQueue(NAMES)
    queue.end(REFUSED, 'unsupported')
    queue.end(LOST, 'deferred')
    assert.deepEqual([queue.error, outcomesOf(queue)[2]], [REFUSED, 'unsupported'])
    queue.end(GARBAGE, 'skipped')
    assert.deepEqual([queue.error, outcomesOf(queue)[2]], [GARBAGE, 'skipped'])
  })
  test('keeps a violation of the protocol if every name gets a result', () => {
    const queue = new NameQueue([A])
    queue.end(GARBAGE, 'skipped')
    queue.setResult(A, accepted(A))
    assert.equal(queue.error, GARBAGE)
  })
  test('keeps a surplus reply in place of any other violation', () => {
    const facts = { exitStatus: 76, kind: 'surplus-reply' } as const
    const surplus = new SessionError('etrn', 'the server sent data too early', facts)
    for (const errors of [
      [GARBAGE, surplus],
      [surplus, GARBAGE],
    ]) {
      const queue = new NameQueue(NAMES)
      for (const error of errors) queue.end(error, 'skipped')
      assert.equal(queue.error, surplus)
    }
  })
  test('is over when every name has its result, or at its end', () => {
    const queue = new NameQueue(NAMES)
    for (const name of [A, B]) queue.setResult(name, accepted(name))
    assert.equal(queue.isOver, false)
    queue.setResult(C, accepted(C))
    assert.equal(queue.isOver, true)
    const ended = new NameQueue(NAMES)
    assert.equal(ended.isOver, false)
    ended.end(null, 'skipped')
    assert.equal(ended.isOver, true)
  })
  test('has replies from the first result on', () => {
    const queue = new NameQueue(NAMES)
    queue.setUnanswered(A, LOST)
    assert.equal(queue.hasReplies, false)
    queue.setResult(B, accepted(B))
    assert.equal(queue.hasReplies, true)
  })
})
