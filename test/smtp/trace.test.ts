import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { TlsInfo } from '../../src/smtp/trace.js'
import { mergeFacts, NO_FACTS, type ServerFacts, updateFacts } from '../../src/smtp/trace.js'

const TLS: TlsInfo = { protocol: 'TLSv1.3', cipher: 'X', verified: true, certificate: null }
const EXTENSIONS = new Map([['ETRN', '']])
const FACTS: ServerFacts = { address: '192.0.2.1', tls: TLS, greeting: 'mx', extensions: EXTENSIONS }

suite('updateFacts', () => {
  test('learns each fact from its event', () => {
    assert.deepEqual(updateFacts(NO_FACTS, { type: 'greeting', text: 'mx' }), { ...NO_FACTS, greeting: 'mx' })
    assert.deepEqual(updateFacts(NO_FACTS, { type: 'tls', tls: TLS }), { ...NO_FACTS, tls: TLS })
    assert.deepEqual(updateFacts(NO_FACTS, { type: 'extensions', extensions: EXTENSIONS }), {
      ...NO_FACTS,
      extensions: EXTENSIONS,
    })
  })
  test('forgets TLS at a new connection, and keeps the rest', () => {
    assert.deepEqual(updateFacts(FACTS, { type: 'connected', address: '192.0.2.2', localAddress: '192.0.2.9' }), {
      ...FACTS,
      address: '192.0.2.2',
      tls: null,
    })
  })
  test('keeps no more of a list of extensions than people read', () => {
    const extensions = new Map([
      ['ETRN', ''],
      ['X', 'x'.repeat(10_000)],
      ['SIZE', '1000'],
    ])
    const facts = updateFacts(NO_FACTS, { type: 'extensions', extensions })
    assert.deepEqual(
      [...(facts.extensions ?? [])],
      [
        ['ETRN', ''],
        ['...', ''],
      ],
    )
  })
  test('learns nothing from other events', () => {
    for (const event of [
      { type: 'connecting', address: '192.0.2.2' },
      { type: 'warning', stage: 'etrn', text: 'x' },
      { type: 'sent', line: 'QUIT' },
    ] as const)
      assert.equal(updateFacts(FACTS, event), FACTS)
  })
})

suite('mergeFacts', () => {
  const NEWER: ServerFacts = { address: '192.0.2.2', tls: null, greeting: 'mx2', extensions: new Map() }
  test('returns the facts of the newer session if it has a list of extensions: without TLS there is none', () =>
    assert.deepEqual(mergeFacts(FACTS, NEWER), NEWER))
  test('fills in what the newer session has not reached', () => {
    assert.deepEqual(mergeFacts(FACTS, NO_FACTS), FACTS)
    assert.deepEqual(mergeFacts(FACTS, { ...NEWER, extensions: null }), {
      ...FACTS,
      address: '192.0.2.2',
      greeting: 'mx2',
    })
    assert.deepEqual(mergeFacts(NO_FACTS, FACTS), FACTS)
  })
})
