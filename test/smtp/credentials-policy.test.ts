import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
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
import { BYE, type Conversation, scriptedAt } from '../helpers/scripted-server.js'
import { addBlackHole, OWN_ADDRESS, PORT, REQUEST, serveAt, writeHosts } from '../net/network.js'
import { serverAt } from './plain-session.js'
import { certificateStep } from './tls-server.js'

const LOGIN = { env: { ETRN_PASSWORD: 'secret' } }

// In a network of its own any host has the default limit of privileged ports.
if (isInNamespace(import.meta.url)) {
  addBlackHole()
  testRemoteLogin()
  testRules()
}

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
      /: STARTTLS not offered, but --tls verify \(the default with credentials\) requires it/,
    )
    testRefusal(
      'is not sent without TLS with --tls may',
      WITHOUT_TLS,
      ['--tls', 'may'],
      77,
      /: not logged in: credentials are not sent without TLS.*\nhint: verify .* --tls verify, or pin it: --tls-fingerprint SHA256\n/,
    )
    testRefusal('is not sent without TLS with --tls none', WITHOUT_TLS, ['--tls', 'none'], 77, /not sent without TLS/)
    for (const level of ['may', 'none'])
      test(`is not sent unencrypted with --tls ${level} to a name that leads to loopback`, async (t) => {
        writeHosts(t, '127.0.0.1 mail.example\n')
        const server = await serveAt(t, '127.0.0.1', WITHOUT_TLS)
        const run = await etrn([...REQUEST, '--user', 'site', '--tls', level], LOGIN)
        await server.verify()
        assert.equal(run.status, 77)
        assert.match(run.stderr, /: not logged in: credentials are not sent without TLS/)
      })
    test('is not sent to localhost if /etc/hosts leads that to another host', async (t) => {
      writeHosts(t, `${OWN_ADDRESS} localhost\n`)
      await serveAt(t, OWN_ADDRESS)
      const args = [`localhost:${PORT}`, '--user', 'site', '--tls', 'none', 'site.example', '-4']
      const run = await etrn(args, LOGIN)
      assert.equal(run.status, 75)
      assert.match(run.stderr, /: connection refused \(127\.0\.0\.1 port 2500\)/)
    })
    for (const [level, status, message] of [
      [[], 76, /STARTTLS not offered, but --tls verify \(the default with credentials\) requires it/],
      [['--tls', 'may'], 77, /: not logged in: credentials are not sent without TLS/],
    ] as const)
      test(`is not sent to a listener at another address of localhost (${level.join(' ')})`, async (t) => {
        writeHosts(t, '')
        const [server, listener] = [await serveAt(t, '127.0.0.1'), await serveAt(t, '::1', WITHOUT_TLS)]
        const args = [`localhost:${PORT}`, '--helo', 'gw.site.example', '--user', 'site', ...level, 'site.example']
        const run = await etrn(args, LOGIN)
        await Promise.all([server.verify(), listener.verify()])
        assert.equal(run.status, status)
        assert.match(run.stderr, message)
        assert.match(run.stderr, /^hint: .*any user of this host can listen on port 2500: .*--tls none$/m)
      })
    for (const [port, status] of [
      [25, 0],
      [1023, 0],
      [1024, 76],
    ] as const)
      test(`${status === 0 ? 'is' : 'is not'} sent without TLS to port ${port} of this host`, async (t) => {
        const login = ['C: AUTH PLAIN AHNpdGUAc2VjcmV0', 'S: 235 ok', 'C: ETRN site.example', 'S: 250 OK'] as const
        const session = status === 0 ? [...WITHOUT_TLS.slice(0, -2), ...login, ...BYE] : WITHOUT_TLS
        const server = await scriptedAt(t, { host: '127.0.0.1', port }, session)
        const args = [`127.0.0.1:${port}`, '--helo', 'gw.site.example', '--user', 'site', 'site.example']
        const run = await etrn(args, LOGIN)
        await server.verify()
        assert.equal(run.status, status)
      })
    test('is not sent without TLS to port 25 if any user can listen there', async (t) => {
      const file = '/proc/sys/net/ipv4/ip_unprivileged_port_start'
      writeFileSync(file, '25')
      t.after(() => writeFileSync(file, '1024'))
      const server = await scriptedAt(t, { host: '127.0.0.1', port: 25 }, WITHOUT_TLS)
      const run = await etrn(['127.0.0.1', '--helo', 'gw.site.example', '--user', 'site', 'site.example'], LOGIN)
      await server.verify()
      assert.equal(run.status, 76)
    })
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
      /: not logged in: credentials are not sent over unverified TLS/,
    )
  })
}

function testRules(): void {
  suite('tlsLevelFor', () => {
    type TlsRequest = Parameters<typeof tlsLevelFor>[1]
    const levelFor = (host: string, request: TlsRequest, hasCredentials = false, isImplicitTls = false): string =>
      tlsLevelFor({ host, port: 25, isImplicitTls }, request, hasCredentials)
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
    test('is verify for credentials to a port of this host on which any user can listen', () => {
      for (const host of ['localhost', '127.0.0.1', '::1', '127.1.2.3', 'mx.localhost'])
        assert.equal(tlsLevelFor({ host, port: 1024, isImplicitTls: false }, {}, true), 'verify')
      assert.equal(tlsLevelFor({ host: 'localhost', port: 1024, isImplicitTls: false }, {}, false), 'may')
    })
    test('is the level that the user chose, except for smtps://', () => {
      for (const level of ['none', 'may', 'encrypt', 'verify'] as const) {
        assert.equal(levelFor('mx.example', { level }, true), level)
        assert.equal(levelFor('mx.example', { level, ca: 'x' }, false, true), 'verify')
      }
    })
    test('throws if a CA or a name would not be checked', () => {
      for (const level of ['none', 'may', 'encrypt'] as const) {
        const rule = ': use --tls verify, or omit --tls'
        for (const [request, option] of [
          [{ ca: 'x' }, '--tls-ca'],
          [{ name: 'mx.example' }, '--tls-name'],
          [{ ca: 'x', name: 'mx.example' }, '--tls-ca'],
        ] as const)
          assert.throws(() => levelFor('mx.example', { level, ...request }), {
            name: 'UsageError',
            message: `--tls ${level} contradicts ${option}${rule}`,
          })
      }
      assert.equal(levelFor('mx.example', { level: 'verify', ca: 'x', name: 'y' }), 'verify')
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
      assert.throws(() => checkRecipients(2, false, { name: 'x' }), /credentials are for one server only/)
      assert.doesNotThrow(() => checkRecipients(1, false, {}))
    })
    test('throws for a server that only DNS identifies', () => {
      assert.throws(
        () => checkRecipients(1, true, { ca: 'x', level: 'verify' }),
        /requires --tls-name or --tls-fingerprint, because DNS can be spoofed$/,
      )
      assert.doesNotThrow(() => checkRecipients(1, true, { name: 'x' }))
      assert.doesNotThrow(() => checkRecipients(1, true, { fingerprint: 'AB' }))
    })
  })

  suite('checkConnection', () => {
    const NO_TLS = undefined
    const VERIFIED = { verified: true }
    const UNVERIFIED = { verified: false }
    for (const [host, address, port, level, tls, isAllowed] of [
      ['192.0.2.1', '192.0.2.1', 25, 'may', VERIFIED, true],
      ['192.0.2.1', '192.0.2.1', 25, 'may', UNVERIFIED, false],
      ['192.0.2.1', '192.0.2.1', 25, 'may', NO_TLS, false],
      ['192.0.2.1', '192.0.2.1', 25, 'none', NO_TLS, false],
      ['127.0.0.1', '127.0.0.1', 25, 'may', UNVERIFIED, true],
      ['127.0.0.1', '127.0.0.1', 25, 'may', NO_TLS, true],
      ['127.0.0.1', '127.0.0.1', 1023, 'may', NO_TLS, true],
      ['127.0.0.1', '127.0.0.1', 1024, 'may', NO_TLS, false],
      ['127.0.0.1', '127.0.0.1', 2500, 'may', UNVERIFIED, false],
      ['127.0.0.1', '127.0.0.1', 2500, 'encrypt', UNVERIFIED, false],
      ['127.0.0.1', '127.0.0.1', 2500, 'verify', VERIFIED, true],
      ['127.0.0.1', '127.0.0.1', 2500, 'none', NO_TLS, true],
      ['127.1.2.3', '127.1.2.3', 25, 'may', NO_TLS, true],
      ['::1', '::1', 25, 'may', NO_TLS, true],
      ['::1', '::1', 2500, 'may', NO_TLS, false],
      ['localhost', '127.0.0.1', 25, 'may', NO_TLS, true],
      ['localhost', '::1', 25, 'may', NO_TLS, true],
      ['localhost', '::1', 2500, 'may', NO_TLS, false],
      ['localhost', '::1', 2500, 'none', NO_TLS, true],
      ['localhost', '192.0.2.1', 25, 'none', NO_TLS, false],
      ['localhost', '192.0.2.1', 25, 'may', VERIFIED, true],
      ['mx.example', '127.0.0.1', 25, 'none', NO_TLS, false],
      ['mx.example', '::1', 25, 'may', UNVERIFIED, false],
      ['mx.example', '127.0.0.1', 2500, 'verify', VERIFIED, true],
      ['mx.localhost', '127.0.0.1', 25, 'may', NO_TLS, true],
      ['mx.localhost', '127.0.0.1', 2500, 'may', NO_TLS, false],
      ['0.0.0.0', '0.0.0.0', 25, 'none', NO_TLS, false],
    ] as const) {
      const how = tls === undefined ? 'without TLS' : tls.verified ? 'over verified TLS' : 'over unverified TLS'
      const where = `${host} at ${address} port ${port} ${how} (--tls ${level})`
      test(`${isAllowed ? 'allows' : 'throws for'} credentials to ${where}`, () => {
        const server = { host, port, tls: { ...serverAt(port).tls, level } }
        if (isAllowed) assert.doesNotThrow(() => checkConnection(server, address, tls))
        else
          assert.throws(
            () => checkConnection(server, address, tls),
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
