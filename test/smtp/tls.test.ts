import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { suite, test } from 'node:test'
import { connect as connectTls, createServer as createTlsServer, type TlsOptions, TLSSocket } from 'node:tls'
import type { TlsPolicy } from '../../src/smtp/tls-policy.js'
import { handshake, prepareTls } from '../../src/smtp/tls.js'
import { etrn, etrnJson } from '../helpers/command.js'
import { fixture, fixturePath } from '../helpers/files.js'
import { close, type Conversation, loose, reset, scripted, silence, type Step } from '../helpers/scripted-server.js'
import { OPTIONS, serverAt } from './plain-session.js'
import {
  ACCEPTED,
  afterClientHello,
  AGREED,
  CA,
  certificateStep,
  fingerprintOf,
  GREETING,
  HANDSHAKE_TIMEOUT,
  ignoreInput,
  requestFrom,
  secureSession,
  testAccepted,
  testFailed,
  UNHEARD,
} from './tls-server.js'

const OLD_SERVER: TlsOptions = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }
const ANY_CLIENT: TlsOptions = { requestCert: true, rejectUnauthorized: true, ca: readFileSync(fixturePath('ca.pem')) }
const implicitTls = (name: string): Conversation => [
  certificateStep(name),
  ...GREETING,
  'S: 250-mx',
  'S: 250 ETRN',
  ...ACCEPTED,
]

suite('a handshake succeeds', { concurrency: true }, () => {
  testAccepted('without verification at the default level, may', [secureSession('self')], [], false)
  testAccepted('without verification with --tls encrypt', [secureSession('self')], ['--tls', 'encrypt'], false)
  testAccepted('before the greeting with smtps://', [implicitTls('mx')], CA, true, 'smtps')
  testAccepted(
    'before the greeting with smtps:// and a pin',
    [implicitTls('self')],
    ['--tls-fingerprint', fingerprintOf('self')],
    true,
    'smtps',
  )
  testAccepted('with TLS 1.2 by default', [secureSession('mx', { maxVersion: 'TLSv1.2' })], CA, true)
  testAccepted(
    'with TLS 1.1 and --tls-min TLSv1',
    [secureSession('mx', OLD_SERVER)],
    ['--tls-min', 'TLSv1', ...CA],
    true,
  )
  testAccepted(
    "with the client's certificate and --tls-cert",
    [secureSession('mx', ANY_CLIENT)],
    [...CA, '--tls-cert', fixturePath('client.pem'), '--tls-key', fixturePath('client.key')],
    true,
  )
  for (const [title, options, name] of [
    ['with a host name as SNI', [...CA, '--tls-name', 'mx.example'], 'mx.example'],
    ['without SNI for an address', CA, undefined],
  ] as const) {
    test(title, async (t) => {
      let sent: string | undefined
      const SNICallback: TlsOptions['SNICallback'] = (servername, done) => {
        sent = servername
        done(null)
      }
      assert.equal((await requestFrom(t, [secureSession('mx', { SNICallback })], options)).status, 0)
      assert.equal(sent, name)
    })
  }
  test('and JSON and -v report protocol, cipher and verification', async (t) => {
    const { document, stderr } = await requestFrom(t, [secureSession('mx')], [...CA, '-v'])
    assert.deepEqual(document.servers[0]?.tls, {
      protocol: 'TLSv1.3',
      cipher: 'TLS_AES_256_GCM_SHA384',
      verified: true,
    })
    assert.match(stderr, /Z TLSv1\.3 TLS_AES_256_GCM_SHA384, certificate verified\n/)
  })
})

suite('a handshake fails', { concurrency: true }, () => {
  for (const level of ['encrypt', 'verify']) {
    testFailed(
      `with 75 if the server closes the connection, with --tls ${level}`,
      [...UNHEARD, reset],
      ['--tls', level],
      'tls',
      // The platform may take the reset for an end.
      /^the (?:connection was reset|server closed the connection) during the TLS handshake$/,
      75,
    )
    testFailed(
      `with 75 if the server is silent, with --tls ${level}`,
      [...UNHEARD, silence],
      ['--tls', level, '--timeout', '1s', '-v'],
      'tls',
      /^no TLS handshake within 1s$/,
      75,
      'smtp',
      HANDSHAKE_TIMEOUT,
    )
  }
  testFailed(
    'with 76 if the server has no TLS 1.2',
    [...AGREED, { ...certificateStep('mx', OLD_SERVER), fails: true }],
    CA,
    'tls',
    /^the server does not support TLSv1\.2 or newer$/,
  )
  for (const [title, options, maxVersion, hint] of [
    ['is no older version if the server has no TLS 1.2', [], 'TLSv1.1', /^hint: ask your provider to enable TLS 1\.2/],
    [
      'is TLS 1.2 if --tls-min TLSv1.3 excludes it',
      ['--tls-min', 'TLSv1.3'],
      'TLSv1.2',
      /^hint: --tls-min TLSv1\.2 also accepts TLS 1\.2$/,
    ],
  ] as const)
    test(`and the hint ${title}`, async (t) => {
      const server = await scripted(t, [
        ...AGREED,
        { ...certificateStep('mx', { ...OLD_SERVER, maxVersion }), fails: true },
      ])
      const args = [`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', ...CA, ...options, 'site.example']
      const { stderr } = await etrn(args)
      assert.match(stderr.split('\n')[1] ?? '', hint)
      assert.doesNotMatch(stderr, /--tls-min TLSv1(?!\.[23])/)
    })
  for (const octets of [[0x16], [0x16, 3], [0x15, 3, 3], [0x16, 3, 3, 0]])
    testFailed(
      `with 75 if the connection is lost after ${octets.length} octets of a TLS record`,
      [...AGREED, afterClientHello(Buffer.from(octets), close)],
      ['--tls', 'encrypt'],
      'tls',
      /^the server closed the connection during the TLS handshake$/,
      75,
    )
  for (const octets of ['\x16\x03\x03\xff\xff', '\x16\x03\x03\x48\x01', '\x16\x03 hello'])
    testFailed(
      `with 76 if the server sends the over-long record ${JSON.stringify(octets)}`,
      [...AGREED, afterClientHello(Buffer.from(octets, 'latin1'))],
      ['--tls', 'encrypt'],
      'tls',
      /^the server sent an invalid TLS record$/,
    )
  for (const number of [1, 255])
    for (const [title, then] of [
      ['waits', silence],
      ['closes the connection', close],
    ] as const)
      testFailed(
        `with 76 if the server sends the alert ${number}, which TLS does not know, and ${title}`,
        [...AGREED, afterClientHello(Buffer.from([0x15, 3, 3, 0, 2, 2, number]), then)],
        ['--tls', 'encrypt'],
        'tls',
        new RegExp(`^the server ended TLS with an alert \\(number ${number}\\)$`),
      )
  testFailed(
    'with 76 if the server has only DHE, whose groups can cost seconds',
    [
      ...AGREED,
      {
        ...certificateStep('weak-key', { ciphers: 'DHE@SECLEVEL=0', dhparam: 'auto', maxVersion: 'TLSv1.2' }),
        fails: true,
      },
    ],
    ['--tls', 'encrypt'],
    'tls',
    /^the server ended TLS with an alert \(handshake failure\)$/,
  )
  test('if the server wants to negotiate TLS 1.2 again', async (t) => {
    const server = createTlsServer({ ...certificateStep('mx').tls, maxVersion: 'TLSv1.2' }).listen(0, '127.0.0.1')
    t.after(() => server.close())
    const connected = once(server, 'secureConnection') as Promise<[TLSSocket]>
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const client = connectTls({ port, secureContext: prepareTls(POLICY), rejectUnauthorized: false })
    t.after(() => client.destroy())
    client.on('error', () => undefined).resume()
    const [peer] = await connected
    const failed = once(peer, 'error') as Promise<[NodeJS.ErrnoException]>
    peer.renegotiate({}, () => assert.fail('negotiated again'))
    assert.equal((await failed)[0].code, 'ERR_SSL_NO_RENEGOTIATION')
  })
  testFailed(
    'with 76 if smtps:// reaches a port that sends plain text',
    [ignoreInput, 'S: 220 mx.example ESMTP', silence],
    CA,
    'tls',
    /^unencrypted data arrived in place of TLS$/,
    76,
    'smtps',
  )
  testFailed(
    'with 75 if smtps:// reaches a silent port',
    [ignoreInput, silence],
    [...CA, '--timeout', '1s'],
    'tls',
    /^no TLS handshake within 1s$/,
    75,
    'smtps',
  )
  test('with the signal that interrupts it', async (t) => {
    let interrupt = (): void => undefined
    const server = await loose(t, [...UNHEARD, () => interrupt(), silence])
    const run = await etrnJson([`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', 'site.example'], {
      during: (child) => (interrupt = () => void child.kill('SIGTERM')),
    })
    assert.deepEqual([run.signal, run.document.servers[0]?.names[0]?.outcome], ['SIGTERM', 'skipped'])
  })
})

suite('plain text in place of the handshake fails with 76', { concurrency: true }, () => {
  const testLevels = (title: string, steps: readonly Step[]): void => {
    for (const [level, options] of [
      ['may', []],
      ['encrypt', ['--tls', 'encrypt']],
      ['verify', CA],
    ] as const) {
      testFailed(
        `${title}, with --tls ${level}`,
        steps,
        options,
        'tls',
        /^unencrypted data arrived after STARTTLS, before TLS began$/,
      )
    }
  }
  testLevels('if it is an EHLO reply', [...AGREED, afterClientHello('250-mx.example\r\n250 ETRN\r\n')])
  const flood = '250 mx.example\r\n'.repeat(4000)
  testLevels('if it is longer than a handshake can be', [...AGREED, afterClientHello(flood)])
  for (const octets of ['2', '22', '220 ', '250\n', '\x16x', '\x03', 'CONNECT x\r\n'])
    testLevels(`if it is ${JSON.stringify(octets)} before the end`, [...AGREED, afterClientHello(octets, close)])
})

/** Sends octets in one piece with the server's last octets of the TLS 1.3 handshake, and no greeting. */
class GluedSocket extends Duplex {
  readonly #socket: Socket
  readonly #octets: Uint8Array
  #isGlued = false
  constructor(socket: Socket, octets: Uint8Array) {
    super()
    this.#socket = socket
    this.#octets = octets
    socket.removeAllListeners('data')
    socket.on('data', (chunk: Buffer) => this.push(chunk)).once('close', () => this.destroy())
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    // The certificate is in it; session tickets, the next octets, are not sent.
    if (!this.#isGlued) this.#socket.write(Buffer.concat([chunk, this.#octets]))
    this.#isGlued = true
    done()
  }
}

suite('data in one piece with the end of the handshake fails with 76 at smtps://', { concurrency: true }, () => {
  for (const [title, octets, message] of [
    ['if it is plain text', Buffer.from('220 mx.example\r\n'), /^unencrypted data arrived within TLS$/],
    ['if it is the beginning of plain text', Buffer.from('2'), /^unencrypted data arrived within TLS$/],
    ['if it is an over-long record', Buffer.from([0x17, 3, 3, 255, 255]), /^the server sent an invalid TLS record$/],
    ['if it is a broken record', Buffer.from([0x17, 3, 3, 0, 32, ...Buffer.alloc(32)]), /^TLS failed \(.*\)$/],
  ] as const)
    test(title, async (t) => {
      const server = await loose(t, [
        (socket) =>
          new TLSSocket(new GluedSocket(socket, octets), { isServer: true, ...certificateStep('mx').tls })
            .on('error', () => undefined)
            .resume(),
        silence,
      ])
      const args = [`smtps://127.0.0.1:${server.port}`, '--helo', 'gw.site.example', ...CA, '--timeout', '5s']
      const { status, document } = await etrnJson([...args, 'site.example'])
      assert.deepEqual([status, document.servers[0]?.error?.stage], [76, 'tls'])
      assert.match(document.servers[0]?.error?.message ?? '', message)
    })
})

suite('plain text within the handshake fails with 76', { concurrency: true }, () => {
  // A record with the beginning of a ServerHello
  const octets = Buffer.concat([Buffer.from([0x16, 3, 3, 0, 1, 2]), Buffer.from('250 mx.example\r\n')])
  for (const [level, options] of [
    ['may', []],
    ['encrypt', ['--tls', 'encrypt']],
    ['verify', CA],
  ] as const)
    testFailed(
      `with --tls ${level}`,
      [...AGREED, afterClientHello(octets)],
      options,
      'tls',
      /^unencrypted data arrived within TLS$/,
    )
})

const POLICY: TlsPolicy = {
  level: 'verify',
  fingerprint: undefined,
  name: 'mx.example',
  ca: fixture('ca.pem'),
  cert: undefined,
  key: undefined,
  minVersion: 'TLSv1.2',
}

suite('the exporter', { concurrency: true }, () => {
  for (const version of ['TLSv1.3', 'TLSv1.2'] as const) {
    test(version === 'TLSv1.3' ? 'is the same on both sides of TLS 1.3' : 'is undefined in TLS 1.2', async (t) => {
      let exported: Buffer | undefined
      const exportKey = (socket: Socket): void => {
        assert.ok(socket instanceof TLSSocket)
        exported = socket.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0))
      }
      const socket = new Socket()
      t.after(() => socket.destroy())
      const server = await scripted(t, [certificateStep('mx', { maxVersion: version }), exportKey, 'S: 220 mx'])
      socket.connect({ host: '127.0.0.1', port: server.port })
      await once(socket, 'connect')
      const mail = { ...serverAt(server.port), host: 'mx.example', tls: POLICY }
      const secured = await handshake(socket, mail, OPTIONS)
      await once(secured.socket, 'data')
      assert.deepEqual(secured.exporter, version === 'TLSv1.3' ? exported : undefined)
      assert.equal(exported?.length, 32)
      secured.socket.destroy()
    })
  }
})

suite('prepareTls', () => {
  test('returns the same context for the same policy', () => {
    assert.equal(prepareTls(POLICY), prepareTls(POLICY))
    assert.notEqual(prepareTls(POLICY), prepareTls({ ...POLICY }))
  })
  test('takes the key from the text of the certificate if there is no key', () => {
    assert.doesNotThrow(() => prepareTls({ ...POLICY, cert: fixture('client.pem') + fixture('client.key') }))
    assert.throws(() => prepareTls({ ...POLICY, cert: fixture('client.pem') }))
    assert.throws(() => prepareTls({ ...POLICY, cert: fixture('client.pem'), key: fixture('mx.key') }))
  })
  test('throws if the certificate is none', () => {
    assert.throws(() => prepareTls({ ...POLICY, cert: 'x' }))
  })
})
