import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { SessionError } from '../../src/smtp/errors.js'
import { Redactor } from '../../src/smtp/redact.js'
import type { Reply } from '../../src/smtp/reply.js'
import type { TraceEvent } from '../../src/smtp/trace.js'

const SECRET = 'hunter2.secret'
const hide = (text: string, secret = SECRET): string => new Redactor(secret).redact(text)
const base64 = (text: string): string => Buffer.from(text).toString('base64')

suite('redact', () => {
  test('masks a secret in any case of letters, as EHLO keywords are put into capitals', () =>
    assert.equal(hide('EHLO lists HUNTER2.SECRET, ETRN'), 'EHLO lists ****, ETRN'))
  test('masks the beginning of a secret where a text was cut', () => {
    assert.equal(hide('yyyhunter2.se...'), 'yyy****...')
    assert.equal(hide('yyyhunt...'), 'yyy****...')
    assert.equal(hide('yyyHUNT...'), 'yyy****...')
    assert.equal(hide('a hun...'), 'a hun...')
  })
  test('masks no beginning of a secret where a text was not cut', () => assert.equal(hide('a hunt'), 'a hunt'))
  test('takes the characters of a secret literally', () => assert.equal(hide('hunter2-secret'), 'hunter2-secret'))
  test('masks a secret of any special characters', () => {
    const special = '\\^$.*+?()[]{}|/-'
    assert.equal(hide(`a ${special} b`, special), 'a **** b')
  })
  test('masks every occurrence', () => assert.equal(hide(`${SECRET} ${SECRET}`), '**** ****'))
  test('masks its base64, with and without padding', () => {
    assert.ok(base64(SECRET).endsWith('='))
    assert.equal(hide(`a ${base64(SECRET)} b`), 'a **** b')
    assert.equal(hide(`a ${base64(SECRET).replace(/=+$/, '')} b`), 'a **** b')
  })
  test('masks its printable form', () => assert.equal(hide('a pass\\x07word b', 'pass\x07word'), 'a **** b'))
  test('masks a secret of four characters, and none of three', () => {
    assert.equal(hide('a pass b', 'pass'), 'a **** b')
    assert.equal(hide('a pas b', 'pas'), 'a pas b')
  })
  test('changes nothing without a secret', () => assert.equal(new Redactor().redact('a b'), 'a b'))
  test('leaves no secret in any text', () => {
    const secret = fc.string({ unit: fc.constantFrom('a', 'b', '.', '*', '=', ' '), minLength: 4, maxLength: 12 })
    const around = fc.string({ unit: fc.constantFrom('x', 'y', ' '), maxLength: 8 })
    fc.assert(
      fc.property(secret, around, around, (word, before, after) => {
        fc.pre(!word.includes('**'))
        assert.ok(!hide(before + word + after, word).includes(word))
      }),
    )
  })
})

const replyWith = (text: string): Reply => ({ code: 250, enhancedCode: null, lines: [text, text], text })

suite('redactTrace', () => {
  test('masks a secret in every event that holds text of the server', () => {
    const events: TraceEvent[] = []
    const trace = new Redactor(SECRET).redactTrace((event) => events.push(event))
    trace({ type: 'greeting', text: `a ${SECRET}` })
    trace({ type: 'warning', text: `a ${SECRET}` })
    trace({ type: 'extensions', extensions: new Map([[`X${SECRET}`, `b ${SECRET}`]]) })
    trace({ type: 'received', reply: replyWith(`a ${SECRET}`) })
    assert.deepEqual(events, [
      { type: 'greeting', text: 'a ****' },
      { type: 'warning', text: 'a ****' },
      { type: 'extensions', extensions: new Map([['X****', 'b ****']]) },
      { type: 'received', reply: replyWith('a ****') },
    ])
  })
  test('masks a secret that the session made, from then on, and passes no secret on', () => {
    const events: TraceEvent[] = []
    const redactor = new Redactor()
    const trace = redactor.redactTrace((event) => events.push(event))
    trace({ type: 'greeting', text: SECRET })
    trace({ type: 'secret', text: SECRET })
    trace({ type: 'greeting', text: SECRET })
    assert.deepEqual(events, [
      { type: 'greeting', text: SECRET },
      { type: 'greeting', text: '****' },
    ])
    assert.equal(redactor.redact(SECRET), '****')
  })
  test('masks the longer one of two secrets first', () => {
    const redactor = new Redactor('secret')
    redactor.redactTrace(() => undefined)({ type: 'secret', text: 'secret of mine' })
    assert.equal(redactor.redact('a secret of mine'), 'a ****')
  })
})

suite('redactError', () => {
  test('masks message and reply, and keeps the rest', () => {
    const cause = new Error('x')
    const facts = { exitStatus: 77, kind: 'self', hint: 'ask', cause } as const
    const error = new SessionError('auth', `a ${SECRET}`, { ...facts, reply: replyWith(`a ${SECRET}`) })
    const { stage, message, reply, exitStatus, kind, hint, cause: kept } = new Redactor(SECRET).redactError(error)
    assert.deepEqual({ exitStatus, kind, hint, cause: kept }, facts)
    assert.deepEqual([stage, message, reply], ['auth', 'a ****', replyWith('a ****')])
  })
  test('shortens the message only after it has masked it', () => {
    const error = new SessionError('auth', `${'x'.repeat(395)}${SECRET}`, { exitStatus: 77 })
    assert.equal(new Redactor(SECRET).redactError(error).message, `${'x'.repeat(395)}****`)
    const long = new SessionError('auth', 'x'.repeat(500), { exitStatus: 77 })
    assert.equal(new Redactor(SECRET).redactError(long).message, `${'x'.repeat(400)}...`)
  })
})
