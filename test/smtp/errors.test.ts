import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { StepError } from '../../src/errors.js'
import {
  connectionLostError,
  exitStatusOfReply,
  RejectedError,
  SessionError,
  sessionErrorOf,
  type Stage,
  STAGE_LABELS,
  tlsErrorOf,
} from '../../src/smtp/errors.js'
import type { Reply } from '../../src/smtp/reply.js'

const replyOf = (code: number): Reply => ({ code, enhancedCode: null, lines: ['text'], text: 'text' })
const STAGES = Object.keys(STAGE_LABELS) as Stage[]

suite('exitStatusOfReply', () => {
  for (const stage of STAGES) {
    const permanent = stage === 'auth' ? 77 : stage === 'greeting' || stage === 'ehlo' ? 69 : 76
    test(`is 75 for a 4xx, ${permanent} for a 5xx and 76 for another reply to ${STAGE_LABELS[stage]}`, () => {
      assert.deepEqual(
        [400, 421, 499, 500, 554, 599, 150, 200, 334, 399].map((code) => exitStatusOfReply(stage, replyOf(code))),
        [75, 75, 75, permanent, permanent, permanent, 76, 76, 76, 76],
      )
    })
  }
})

test('STAGE_LABELS has the label of every stage', () => {
  assert.deepEqual(STAGE_LABELS, {
    dns: 'DNS',
    connect: 'connect',
    greeting: 'greeting',
    ehlo: 'EHLO',
    starttls: 'STARTTLS',
    tls: 'TLS',
    auth: 'AUTH',
    etrn: 'ETRN',
  })
})

suite('sessionErrorOf', () => {
  const facts = { exitStatus: 75, kind: 'connection-lost', hint: 'wait', cause: new Error('x') } as const
  test('keeps message, exit status, kind, hint and cause', () => {
    const error = sessionErrorOf('ehlo', new StepError('gone', facts))
    assert.ok(error instanceof SessionError)
    const { stage, message, exitStatus, kind, hint, cause, reply } = error
    assert.deepEqual(
      { stage, message, exitStatus, kind, hint, cause, reply },
      { stage: 'ehlo', message: 'gone', ...facts, reply: null },
    )
  })
  test('keeps the reply of a RejectedError and of a SessionError', () => {
    const rejected = new RejectedError(replyOf(421), facts)
    assert.equal(rejected.message, '421 text')
    assert.equal(sessionErrorOf('ehlo', rejected).reply?.code, 421)
    assert.equal(sessionErrorOf('auth', sessionErrorOf('ehlo', rejected)).reply?.code, 421)
  })
})

suite('the message for a reply that ends a session', () => {
  for (const [stage, code, message] of [
    ['greeting', 421, 'the server is temporarily unavailable (421 text)'],
    ['greeting', 554, 'the server rejected the connection (554 text)'],
    ['greeting', 354, 'unexpected greeting (354 text)'],
    ['ehlo', 451, 'EHLO temporarily rejected (451 text)'],
    ['ehlo', 501, 'EHLO rejected (501 text)'],
    ['ehlo', 220, 'unexpected reply to EHLO (220 text)'],
    ['ehlo', 421, 'the server closed the connection after EHLO (421 text)'],
    ['starttls', 502, 'STARTTLS rejected (502 text)'],
    ['auth', 454, 'login temporarily rejected (454 text)'],
    ['auth', 535, 'login rejected (535 text)'],
    ['etrn', 421, 'the server closed the connection after ETRN (421 text)'],
  ] as const)
    test(`is "${message}" at the stage ${stage}`, () =>
      assert.equal(sessionErrorOf(stage, new RejectedError(replyOf(code), { exitStatus: 75 })).message, message))
  test('has the enhanced code, and the mechanism of a login', () => {
    const reply = { ...replyOf(535), enhancedCode: '5.7.8' }
    const rejected = new RejectedError(reply, { exitStatus: 77 }, 'SCRAM-SHA-256')
    assert.equal(sessionErrorOf('auth', rejected).message, 'login with SCRAM-SHA-256 rejected (535 5.7.8 text)')
  })
  test('says "before" if the server sent the reply before the command', () => {
    const rejected = new RejectedError(replyOf(421), { exitStatus: 75, kind: 'connection-lost' })
    assert.equal(sessionErrorOf('etrn', rejected).message, 'the server closed the connection before ETRN (421 text)')
  })
})

suite('the message for a lost connection', () => {
  const errorWith = (code: string, facts: object = {}): Error => Object.assign(new Error('x'), { code, ...facts })
  for (const [title, cause, message] of [
    ['is "closed" without a cause', undefined, 'the server closed the connection after EHLO'],
    [
      'is "reset" for an error of the system',
      errorWith('ECONNRESET', { syscall: 'read' }),
      'the connection was reset after EHLO',
    ],
    [
      'is "closed" if Node has made up the code',
      errorWith('ECONNRESET'),
      'the server closed the connection after EHLO',
    ],
    [
      'is "closed" if only the stream of Node has ended',
      errorWith('ERR_STREAM_PREMATURE_CLOSE'),
      'the server closed the connection after EHLO',
    ],
    ['has the code of any other error', errorWith('ETIMEDOUT'), 'the connection failed (ETIMEDOUT) after EHLO'],
  ] as const)
    test(title, () => assert.equal(connectionLostError('after EHLO', cause).message, message))
})

suite('SessionError', () => {
  test('withMessage returns the same failure with another message', () => {
    const facts = { exitStatus: 69, kind: 'timeout', hint: 'wait', cause: 'cause' } as const
    const reply = { code: 550, enhancedCode: '5.7.1', lines: ['5.7.1 no', 'never'], text: 'no / never' }
    const error = new SessionError('ehlo', 'no', { ...facts, reply }).withMessage('no; gave up')
    const { stage, message, exitStatus, kind, hint, cause } = error
    assert.deepEqual(
      [stage, message, error.reply, { exitStatus, kind, hint, cause }],
      ['ehlo', 'no; gave up', reply, facts],
    )
  })
})

suite('tlsErrorOf', () => {
  const VERSION_HINT = 'ask your provider which TLS versions and ciphers the server supports'
  const ATTACK_HINT = 'the server or a proxy may be faulty, or this may be an attack: tell your provider'
  const CLIENT_HINT = 'the server may require a client certificate, or reject yours: --tls-cert FILE --tls-key FILE'
  const NAME_HINT =
    'the server knows no host of this name: check the name; with --tls verify, --tls-name NAME gives another one'
  const errorOf = (code: string): StepError | undefined => tlsErrorOf(Object.assign(new Error('x'), { code }))
  for (const [code, message, hint] of [
    ['ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR', 'the server ended TLS with an alert (internal error)', VERSION_HINT],
    ['ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE', 'the server ended TLS with an alert (handshake failure)', CLIENT_HINT],
    [
      'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED',
      'the server ended TLS with an alert (certificate required)',
      CLIENT_HINT,
    ],
    ['ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', 'the server ended TLS with an alert (unknown ca)', CLIENT_HINT],
    ['ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE', 'the server ended TLS with an alert (bad certificate)', CLIENT_HINT],
    ['ERR_SSL_TLSV1_ALERT_ACCESS_DENIED', 'the server ended TLS with an alert (access denied)', CLIENT_HINT],
    ['ERR_SSL_TLSV1_UNSUPPORTED_EXTENSION', 'the server ended TLS with an alert (unsupported extension)', VERSION_HINT],
    ['ERR_SSL_TLSV1_UNRECOGNIZED_NAME', 'the server ended TLS with an alert (unrecognized name)', NAME_HINT],
  ] as const) {
    test(`is "${message}" for ${code}`, () => {
      const error = errorOf(code)
      assert.deepEqual([error?.message, error?.exitStatus, error?.hint, error?.kind], [message, 76, hint, undefined])
    })
  }
  const PLAIN_TEXT = { type: 'plain-text', isFirst: false } as const
  const UNENCRYPTED = ['unencrypted data arrived within TLS', ATTACK_HINT, 'unencrypted-data'] as const
  for (const [code, fault, message, hint, kind] of [
    ['ERR_OSSL_BAD_DECRYPT', undefined, 'TLS failed (bad decrypt)', VERSION_HINT, 'invalid-record'],
    ['EPROTO', undefined, 'invalid data arrived within TLS (protocol error)', ATTACK_HINT, 'invalid-record'],
    ['ERR_SSL_WRONG_VERSION_NUMBER', undefined, 'TLS failed (wrong version number)', VERSION_HINT, 'invalid-record'],
    ['ERR_SSL_WRONG_VERSION_NUMBER', PLAIN_TEXT, ...UNENCRYPTED],
    ['ERR_SSL_BAD_RECORD_TYPE', PLAIN_TEXT, ...UNENCRYPTED],
    ['EPROTO', PLAIN_TEXT, ...UNENCRYPTED],
    [
      'ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC',
      PLAIN_TEXT,
      'TLS failed (decryption failed or bad record mac)',
      VERSION_HINT,
      'invalid-record',
    ],
    [
      'ERR_SSL_PACKET_LENGTH_TOO_LONG',
      { type: 'invalid-record' },
      'the server sent an invalid TLS record',
      ATTACK_HINT,
      'invalid-record',
    ],
  ] as const)
    test(`is "${message}" for ${code} after ${fault?.type ?? 'TLS records only'}`, () => {
      const error = tlsErrorOf(Object.assign(new Error('x'), { code }), fault)
      assert.deepEqual([error?.message, error?.exitStatus, error?.hint, error?.kind], [message, 76, hint, kind])
    })
  test('is undefined for an error that is not of OpenSSL', () => {
    assert.equal(errorOf('ECONNRESET'), undefined)
    assert.equal(tlsErrorOf(new Error('ERR_SSL_X')), undefined)
  })
})
