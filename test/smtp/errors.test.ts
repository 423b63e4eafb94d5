import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { StepError } from '../../src/errors.js'
import {
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
  const errorOf = (code: string): StepError | undefined => tlsErrorOf(Object.assign(new Error('x'), { code }))
  for (const [code, message, hint] of [
    ['ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR', 'the server broke TLS off: internal error', 'ask your provider'],
    [
      'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE',
      'the server broke TLS off: handshake failure',
      'perhaps it wants a certificate of yours: --tls-cert',
    ],
    [
      'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED',
      'the server broke TLS off: certificate required',
      'perhaps it wants a certificate of yours: --tls-cert',
    ],
    ['ERR_SSL_CERTIFICATE_VERIFY_FAILED', 'TLS failed: certificate verify failed', 'ask your provider'],
    ['ERR_OSSL_BAD_DECRYPT', 'TLS failed: bad decrypt', 'ask your provider'],
  ] as const) {
    test(`is "${message}" for ${code}`, () => {
      const error = errorOf(code)
      assert.deepEqual([error?.message, error?.exitStatus, error?.hint], [message, 76, hint])
    })
  }
  test('is undefined for an error that is not of OpenSSL', () => {
    assert.equal(errorOf('ECONNRESET'), undefined)
    assert.equal(tlsErrorOf(new Error('ERR_SSL_X')), undefined)
  })
})
