import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { PooledSession } from '../../src/etrn/pooled-session.js'
import type { Reply } from '../../src/smtp/reply.js'
import type { TraceEvent } from '../../src/smtp/trace.js'

const CONNECTED: TraceEvent = { type: 'connected', address: '192.0.2.1', localAddress: '192.0.2.100' }
const TLS: TraceEvent = {
  type: 'tls',
  tls: { protocol: 'TLSv1.3', cipher: 'x', verified: false, certificate: null },
}
const REPLY: Reply = { code: 250, enhancedCode: null, lines: ['OK'], text: 'OK' }
const RECEIVED: TraceEvent = { type: 'received', reply: REPLY }

/** Returns the round trips made and to come after these events, in a session that expects `delay` of them. */
function countTrips(delay: number, ...events: readonly TraceEvent[]): { roundTrips: number; delay: number } {
  const session = new PooledSession(1, false, delay, undefined)
  for (const event of events) session.addEvent(event)
  return { roundTrips: session.roundTrips, delay: session.delay }
}

suite('PooledSession', () => {
  test('may request seven names', () => {
    assert.equal(new PooledSession(1, false, 0, undefined).namesLeft, 7)
  })
  test('counts a connection, a TLS handshake and each reply as one round trip', () => {
    assert.deepEqual(countTrips(6, CONNECTED, RECEIVED, TLS, RECEIVED), { roundTrips: 4, delay: 2 })
  })
  test('counts no round trip for what it sends or notes', () => {
    const silent: TraceEvent[] = [
      { type: 'step', stage: 'ehlo' },
      { type: 'sent', line: 'EHLO gw.site.example' },
      { type: 'greeting', text: 'mx' },
      { type: 'done', stage: 'ehlo', elapsedMs: 1 },
    ]
    assert.deepEqual(countTrips(3, ...silent), { roundTrips: 0, delay: 3 })
  })
  test('expects all round trips again if it connects anew', () => {
    assert.deepEqual(countTrips(3, CONNECTED, RECEIVED, CONNECTED), { roundTrips: 1, delay: 2 })
  })
  test('expects no round trip less than none', () => {
    assert.deepEqual(countTrips(1, CONNECTED, RECEIVED, RECEIVED), { roundTrips: 3, delay: 0 })
  })
  test('keeps the facts of the events', () => {
    const session = new PooledSession(2, true, 0, undefined)
    for (const event of [CONNECTED, { type: 'greeting', text: 'mx.example' } as const]) session.addEvent(event)
    assert.deepEqual([session.facts.address, session.facts.greeting], ['192.0.2.1', 'mx.example'])
  })
  test('hides the password', () => {
    assert.equal(new PooledSession(1, false, 0, 'secret-word').redactor.redact('535 secret-word'), '535 ****')
  })
})
