import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { StepError, UsageError } from '../../src/errors.js'
import {
  checkConnection,
  checkRecipients,
  mayContinueUnencrypted,
  tlsLevelFor,
} from '../../src/smtp/credentials-policy.js'
import type { TlsLevel } from '../../src/smtp/session-settings.js'
import { etrn } from '../helpers/command.js'
import { isInNamespace } from '../helpers/namespace.js'
import { BYE, type Conversation } from '../helpers/scripted-server.js'
import { addBlackHole, OWN_ADDRESS, PORT, serveAt } from '../net/network.js'
import { serverAt } from './plain-session.js'
import { certificateStep } from './tls-server.js'

const LOGIN = { env: { ETRN_PASSWORD: 'secret' } }

if (isInNamespace(import.meta.url)) {
  addBlackHole()
  testRemoteLogin()
} else testRules()

function testRemoteLogin(): void {
  const WITHOUT_TLS: Conversation = [
    'S: 220 mx',
    'C: EHLO gw.site.example',
    'S: 250-mx',
    'S: 250-AUTH PLAIN',
    'S: 250 ETRN',
    ...BYE,
  ]
  suite('a login to another host', () => {
    const testRefusal = (
      title: string,
      conversation: Conversation,
      options: readonly string[],
      status: number,
      message: RegExp,
    ): void =>
      void test(title, async (t) => {
        const server = await serveAt(t, OWN_ADDRESS, conversation)
        const args = [`${OWN_ADDRESS}:${PORT}`, '--helo', 'gw.site.example', '--user', 'site', ...options]
        const run = await etrn([...args, 'site.example'], LOGIN)
        await server.verify()
        assert.equal(run.status, status)
        assert.match(run.stderr, message)
      })
    testRefusal(
      'requires verified TLS by default',
      WITHOUT_TLS,
      [],
      76,
      /STARTTLS: the server doesn't offer TLS, and it is demanded/,
    )
    testRefusal(
      'is not sent without TLS with --tls may',
      WITHOUT_TLS,
      ['--tls', 'may'],
      77,
      /AUTH: user and password are not sent in clear; .*\n {2}--tls verify .*--tls-fingerprint/,
    )
    testRefusal('is not sent without TLS with --tls none', WITHOUT_TLS, ['--tls', 'none'], 77, /not sent in clear/)
    testRefusal(
      'is not sent over TLS that is not verified',
      [
        'S: 220 mx',
        'C: EHLO gw.site.example',
        'S: 250-mx',
        'S: 250 STARTTLS',
        'C: STARTTLS',
        'S: 220 go',
        certificateStep('self'),
        ...WITHOUT_TLS.slice(1),
      ],
      ['--tls', 'encrypt'],
      77,
      /AUTH: user and password are not sent over TLS that is not verified/,
    )
  })
}

function testRules(): void {
  suite('tlsLevelFor', () => {
    type TlsRequest = Parameters<typeof tlsLevelFor>[1]
    const levelFor = (host: string, request: TlsRequest, hasCredentials = false, isImplicitTls = false): string =>
      tlsLevelFor({ host, isImplicitTls }, request, hasCredentials)
    test('is may by default', () => assert.equal(levelFor('mx.example', {}), 'may'))
    test('is verify if there is something to verify against', () => {
      for (const request of [{ fingerprint: 'AB' }, { ca: 'x' }, { name: 'mx.example' }])
        assert.equal(levelFor('mx.example', request), 'verify')
    })
    test('is verify for credentials, except to this host', () => {
      assert.deepEqual(
        ['mx.example', '192.0.2.1', 'localhost', '127.0.0.1', '::1'].map((host) => levelFor(host, {}, true)),
        ['verify', 'verify', 'may', 'may', 'may'],
      )
    })
    test('is the level that the user chose, except for smtps://', () => {
      for (const level of ['none', 'may', 'encrypt', 'verify'] as const) {
        assert.equal(levelFor('mx.example', { level, ca: 'x' }, true), level)
        assert.equal(levelFor('mx.example', { level }, false, true), 'verify')
      }
    })
    test('throws for none or may with a pin, and for no other level', () => {
      for (const level of ['none', 'may'] as const) {
        assert.throws(() => levelFor('mx.example', { level, fingerprint: 'AB' }), UsageError)
        assert.throws(() => levelFor('mx.example', { level, fingerprint: 'AB' }, false, true), UsageError)
      }
      assert.equal(levelFor('mx.example', { level: 'encrypt', fingerprint: 'AB' }), 'encrypt')
    })
  })

  suite('checkRecipients', () => {
    test('throws for two servers', () => {
      assert.throws(() => checkRecipients(2, false, { name: 'x' }), /a login belongs to one server/)
      assert.doesNotThrow(() => checkRecipients(1, false, {}))
    })
    test('throws for a server that only DNS identifies', () => {
      assert.throws(
        () => checkRecipients(1, true, { ca: 'x', level: 'verify' }),
        /needs --tls-name or --tls-fingerprint/,
      )
      assert.doesNotThrow(() => checkRecipients(1, true, { name: 'x' }))
      assert.doesNotThrow(() => checkRecipients(1, true, { fingerprint: 'AB' }))
    })
  })

  suite('checkConnection', () => {
    for (const [address, tls, isAllowed] of [
      ['192.0.2.1', { verified: true }, true],
      ['192.0.2.1', { verified: false }, false],
      ['192.0.2.1', undefined, false],
      ['127.0.0.1', { verified: false }, true],
      ['127.0.0.1', undefined, true],
      ['::1', undefined, true],
    ] as const) {
      const how = tls === undefined ? 'without TLS' : tls.verified ? 'over verified TLS' : 'over unverified TLS'
      test(`${isAllowed ? 'allows' : 'throws for'} credentials to ${address} ${how}`, () => {
        if (isAllowed) assert.doesNotThrow(() => checkConnection(address, tls))
        else
          assert.throws(
            () => checkConnection(address, tls),
            (error) => error instanceof StepError && error.exitStatus === 77,
          )
      })
    }
  })

  test('mayContinueUnencrypted is true only for the level may, STARTTLS and no credentials', () => {
    const mayContinue = (level: TlsLevel, isImplicitTls = false, hasCredentials = false): boolean =>
      mayContinueUnencrypted({
        ...serverAt(25),
        tls: { ...serverAt(25).tls, level },
        isImplicitTls,
        credentials: hasCredentials ? { user: 'site', password: 'secret', mechanism: undefined } : undefined,
      })
    assert.equal(mayContinue('may'), true)
    for (const level of ['none', 'encrypt', 'verify'] as const) assert.equal(mayContinue(level), false)
    assert.equal(mayContinue('may', true), false)
    assert.equal(mayContinue('may', false, true), false)
  })
}
