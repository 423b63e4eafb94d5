import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { platform } from 'node:os'
import { createInterface } from 'node:readline'
import { suite, test, type TestContext } from 'node:test'
import { StepError, UsageError } from '../../src/errors.js'
import {
  checkConnection,
  checkRecipients,
  mayContinueUnencrypted,
  tlsLevelFor,
} from '../../src/smtp/credentials-policy.js'
import { SessionError } from '../../src/smtp/errors.js'
import { openSession } from '../../src/smtp/session.js'
import type { Server } from '../../src/smtp/session-settings.js'
import type { TlsLevel } from '../../src/smtp/tls-policy.js'
import { etrn, type Finished } from '../helpers/command.js'
import { isInNamespace } from '../helpers/namespace.js'
import { BYE, type Conversation } from '../helpers/scripted-server.js'
import { addBlackHole, OWN_ADDRESS, PORT, REQUEST, serveAt, writeHosts } from '../net/network.js'
import { OPTIONS, serverAt } from './plain-session.js'
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
      const args = [`localhost:${PORT}`, '--helo', 'gw.site.example', '--user', 'site', 'site.example', '-4']
      const run = await etrn(args, LOGIN)
      assert.equal(run.status, 75)
      assert.match(run.stderr, /: connection refused \(127\.0\.0\.1 port 2500\)/)
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
        /--mx finds servers in DNS, .*; add --tls-name NAME /,
      )
      assert.doesNotThrow(() => checkRecipients(1, true, { name: 'x' }))
      assert.doesNotThrow(() => checkRecipients(1, true, { fingerprint: 'AB' }))
    })
  })

  suite('checkConnection', () => {
    for (const [host, address, tls, isAllowed] of [
      ['192.0.2.1', '192.0.2.1', { verified: true }, true],
      ['192.0.2.1', '192.0.2.1', { verified: false }, false],
      ['192.0.2.1', '192.0.2.1', undefined, false],
      ['127.0.0.1', '127.0.0.1', { verified: false }, true],
      ['127.0.0.1', '127.0.0.1', undefined, true],
      ['127.1.2.3', '127.1.2.3', undefined, true],
      ['::1', '::1', undefined, true],
      ['localhost', '127.0.0.1', undefined, true],
      ['localhost', '::1', undefined, true],
      ['localhost', '192.0.2.1', undefined, false],
      ['localhost', '192.0.2.1', { verified: true }, true],
      ['mx.example', '127.0.0.1', undefined, false],
      ['mx.example', '::1', { verified: false }, false],
      ['mx.example', '127.0.0.1', { verified: true }, true],
      ['mx.localhost', '127.0.0.1', undefined, false],
      ['0.0.0.0', '0.0.0.0', undefined, false],
    ] as const) {
      const how = tls === undefined ? 'without TLS' : tls.verified ? 'over verified TLS' : 'over unverified TLS'
      test(`${isAllowed ? 'allows' : 'throws for'} credentials to ${host} at ${address} ${how}`, () => {
        const server = { ...serverAt(25), host }
        const ends = { localAddress: address, localPort: 1, remoteAddress: address, remotePort: 1 }
        if (isAllowed) assert.doesNotThrow(() => checkConnection(server, ends, tls))
        else
          assert.throws(
            () => checkConnection(server, ends, tls),
            (error) => error instanceof StepError && error.exitStatus === 77,
          )
      })
    }
  })

  suite(
    'a login to another user of this host',
    { skip: process.getuid?.() !== 0 && 'only root can start his server' },
    () => {
      const serverOf = (uid: number, address: string, port: number, greeting: string): string => `process.setgid(${uid})
      process.setuid(${uid})
      require('node:net').createServer((socket) => {
      socket.on('error', () => undefined)
      let text = ''
      socket.on('close', () => console.log(JSON.stringify(text)))
      socket.write('${greeting}\\r\\n')
      socket.on('data', (line) => {
        text += line
        socket.write(/^EHLO/.test(line) ? '250-mx\\r\\n250-AUTH PLAIN\\r\\n250 ETRN\\r\\n' : /^AUTH/.test(line) ? '235 OK\\r\\n' : '250 OK\\r\\n')
      })
    }).listen(${port}, '${address}', function () { console.log(this.address().port) })`
      /** What the server has received comes when the connection is closed. */
      type UserServer = { readonly port: number; readonly received: Promise<string> }
      const startServer = async (
        t: TestContext,
        uid: number,
        { address = '127.0.0.1', port = 0, greeting = '220 mx' } = {},
      ): Promise<UserServer> => {
        const code = serverOf(uid, address, port, greeting)
        const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
        t.after(() => child.kill())
        const lines = createInterface(child.stdout)
        const read = async (): Promise<string> => ((await once(lines, 'line')) as [string])[0]
        return { port: Number(await read()), received: read() }
      }
      const logIn = async (port: number, options: readonly string[] = []): Promise<Finished> =>
        etrn([...options, '--user', 'site', `localhost:${port}`, 'site.example'], LOGIN)
      const logInAt = async (t: TestContext, uid: number, options: string[]): Promise<Finished & { sent: string }> => {
        const { port, received } = await startServer(t, uid)
        const run = await logIn(port, options)
        return { ...run, sent: await received }
      }
      test('is refused, and the password is not sent', async (t) => {
        const { status, stderr, sent } = await logInAt(t, 54_321, [])
        assert.equal(status, 77)
        assert.match(
          stderr,
          /: not logged in: the server on this host is run by user 54321; site\.example not requested/,
        )
        assert.match(stderr, /only if you trust user 54321 with the password: --tls none/)
        assert.doesNotMatch(sent, /AUTH/)
      })
      /** Returns the server of localhost, which has the loopback addresses of both families. */
      const localhostAt = (port: number): Server => ({
        ...serverAt(port),
        host: 'localhost',
        addresses: ['::1', '127.0.0.1'],
        tls: { ...serverAt(port).tls, level: 'may' },
        credentials: { user: 'site', password: 'secret', mechanism: undefined },
      })
      for (const greeting of ['220 mx', '554 go away'])
        test(`goes to the next loopback address if the other user greets with "${greeting}" at the first one`, async (t) => {
          const { port, received } = await startServer(t, 99)
          const other = await startServer(t, 54_321, { address: '::1', port, greeting })
          const session = await openSession(localhostAt(port), OPTIONS)
          await session.quit()
          assert.match(await received, /AUTH PLAIN/)
          assert.equal(await other.received, JSON.stringify('QUIT\r\n'))
        })
      test('is refused if other users have all loopback addresses, and the password is not sent', async (t) => {
        const { port, received } = await startServer(t, 54_321)
        const other = await startServer(t, 54_322, { address: '::1', port })
        await assert.rejects(openSession(localhostAt(port), OPTIONS), (error) => {
          assert.ok(error instanceof SessionError)
          assert.deepEqual([error.stage, error.exitStatus], ['auth', 77])
          assert.match(error.message, /^not logged in: the server on this host is run by user 54321$/)
          return true
        })
        assert.doesNotMatch(`${await received} ${await other.received}`, /AUTH/)
      })
      test('is possible with --tls none', async (t) => {
        const { status, sent } = await logInAt(t, 54_321, ['--tls', 'none'])
        assert.equal(status, 0)
        assert.match(sent, /AUTH PLAIN/)
      })
      test('is possible if the system owns the server', async (t) => {
        assert.equal((await logInAt(t, 99, [])).status, 0)
      })
    },
  )

  test(
    'a login to this host is refused if the kernel does not report who has the other end',
    { skip: platform() !== 'linux' && 'only Linux tells' },
    () => {
      const server = { ...serverAt(25), tls: { ...serverAt(25).tls, level: 'may' as const } }
      const ends = { localAddress: '127.0.0.1', localPort: 1, remoteAddress: '127.0.0.1', remotePort: 1 }
      assert.throws(
        () => checkConnection(server, ends, undefined),
        /^StepError: not logged in: the kernel does not report/,
      )
    },
  )

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
