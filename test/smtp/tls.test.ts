import assert from 'node:assert/strict'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import type { TlsOptions } from 'node:tls'
import { type CommandOptions, etrn, etrnJson, leap, LEAPING } from '../helpers/command.js'
import { fixturePath } from '../helpers/files.js'
import {
  BYE,
  close,
  type Conversation,
  loose,
  reset,
  scripted,
  silence,
  type Step,
} from '../helpers/scripted-server.js'

const path = fixturePath
const certificate = (name: string, more: TlsOptions = {}): { readonly tls: TlsOptions } => {
  return { tls: { cert: readFileSync(path(`${name}.pem`)), key: readFileSync(path(`${name}.key`)), ...more } }
}
const fingerprint = (name: string): string => new X509Certificate(readFileSync(path(`${name}.pem`))).fingerprint256

const CA = ['--tls-ca', path('ca.pem')]
const NAME = ['--tls-name', 'mx.example']
const GREETING: Step[] = ['S: 220 mx.example ESMTP', 'C: EHLO gw.site.example']
const LISTED: Step[] = [...GREETING, 'S: 250-mx.example', 'S: 250-STARTTLS', 'S: 250 ETRN']
const AGREED: Step[] = [...LISTED, 'C: STARTTLS', 'S: 220 go ahead']
/** From here on what the client says doesn't count: it is TLS, or too late. */
const deaf = (socket: Socket): void => {
  socket.removeAllListeners('data')
  socket.resume()
}
const UNHEARD: Step[] = [...AGREED, deaf]
const HELLO_AGAIN: Step[] = ['C: EHLO gw.site.example', 'S: 250-mx.example', 'S: 250 ETRN']
const ASKED: Step[] = ['C: ETRN site.example', 'S: 250 OK', ...BYE]
const CLEAR: Conversation = [...LISTED, ...ASKED]
const SECURE = (name: string, more: TlsOptions = {}): Conversation => [
  ...AGREED,
  certificate(name, more),
  ...HELLO_AGAIN,
  ...ASKED,
]

/** The time for the handshake is over when it has begun; -v tells of that. */
const OVERDUE: CommandOptions = { env: LEAPING, once: { said: 'S: 220 go ahead', act: leap } }

type Ran = Awaited<ReturnType<typeof etrnJson>>

async function run(
  t: TestContext,
  conversations: readonly Conversation[],
  options: readonly string[],
  scheme = 'smtp',
  o: CommandOptions = {},
): Promise<Ran> {
  const server = await scripted(t, ...conversations)
  const args = [`${scheme}://127.0.0.1:${server.port}`, '--helo', 'gw.site.example', ...options, 'site.example']
  const done = await etrnJson(args, o)
  await server.verify()
  return done
}

const works = (
  title: string,
  conversations: readonly Conversation[],
  options: readonly string[],
  verified: boolean | null,
  scheme = 'smtp',
): void =>
  void test(title, async (t) => {
    const { status, document } = await run(t, conversations, options, scheme)
    assert.equal(status, 0)
    assert.equal(document.servers[0]?.tls?.verified ?? null, verified)
  })

const fails = (
  title: string,
  conversation: Conversation,
  options: readonly string[],
  stage: string,
  message: RegExp,
  status = 76,
  scheme = 'smtp',
  o: CommandOptions = {},
): void =>
  void test(title, async (t) => {
    const ran = await run(t, [conversation], options, scheme, o)
    const error = ran.document.servers[0]?.error
    assert.deepEqual([error?.stage, ran.status, error?.exitStatus], [stage, status, status])
    assert.match(error?.message ?? '', message)
  })

suite('--tls', { concurrency: true }, () => {
  works('none: STARTTLS is not sent, though listed', [CLEAR], ['--tls', 'none'], null)
  works('may, the default: not verified', [SECURE('self')], [], false)
  works(
    'may: in clear where it is not listed',
    [[...GREETING, 'S: 250-mx', 'S: 250 ETRN', ...ASKED]],
    ['--tls', 'may'],
    null,
  )
  works('encrypt: not verified', [SECURE('self')], ['--tls', 'encrypt'], false)
  works('verify', [SECURE('mx')], ['--tls', 'verify', ...CA, ...NAME], true)
  works('verify an address', [SECURE('mx')], ['--tls', 'verify', ...CA], true)
  works('an authority alone is there to be checked against', [SECURE('mx')], CA, true)
  works('a pin', [SECURE('self')], ['--tls-fingerprint', fingerprint('self')], true)
  works(
    'a pin in small letters, without colons',
    [SECURE('expired')],
    ['--tls-fingerprint', fingerprint('expired').replaceAll(':', '').toLowerCase()],
    true,
  )
  works('smtps://', [[certificate('mx'), ...GREETING, 'S: 250-mx', 'S: 250 ETRN', ...ASKED]], CA, true, 'smtps')
  works(
    'smtps:// with a pin',
    [[certificate('self'), ...GREETING, 'S: 250-mx', 'S: 250 ETRN', ...ASKED]],
    ['--tls-fingerprint', fingerprint('self')],
    true,
    'smtps',
  )
  works('TLS 1.2 by default', [SECURE('mx', { maxVersion: 'TLSv1.2' })], CA, true)
  works(
    'an older one where it is allowed',
    [SECURE('mx', { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' })],
    ['--tls-min', 'TLSv1', ...CA],
    true,
  )
  works(
    "the client's certificate",
    [SECURE('mx', { requestCert: true, rejectUnauthorized: true, ca: readFileSync(path('ca.pem')) })],
    [...CA, '--tls-cert', path('client.pem'), '--tls-key', path('client.key')],
    true,
  )

  test('SNI is sent for a host name, and for no address', async (t) => {
    for (const [options, name] of [
      [[...CA, ...NAME], 'mx.example'],
      [CA, undefined],
    ] as const) {
      let asked: string | undefined
      const SNICallback: TlsOptions['SNICallback'] = (servername, done) => {
        asked = servername
        done(null)
      }
      assert.equal((await run(t, [SECURE('mx', { SNICallback })], options)).status, 0)
      assert.equal(asked, name)
    }
  })
  test('a signal ends the handshake', async (t) => {
    let interrupt = (): void => undefined
    const server = await scripted(t, [...UNHEARD, () => interrupt(), silence])
    const done = await etrnJson([`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', 'site.example'], {
      during: (child) => (interrupt = () => void child.kill('SIGTERM')),
    })
    assert.deepEqual([done.signal, done.document.servers[0]?.names[0]?.outcome], ['SIGTERM', 'skipped'])
  })
  test('JSON and -v tell what it came to', async (t) => {
    const { document, stderr } = await run(t, [SECURE('mx')], [...CA, '-v'])
    assert.deepEqual(document.servers[0]?.tls, {
      protocol: 'TLSv1.3',
      cipher: 'TLS_AES_256_GCM_SHA384',
      verified: true,
    })
    assert.match(stderr, /Z TLSv1\.3 TLS_AES_256_GCM_SHA384, the server is verified\n/)
  })
})

suite('what is demanded', { concurrency: true }, () => {
  for (const level of ['encrypt', 'verify']) {
    fails(
      `${level}: not listed`,
      [...GREETING, 'S: 250-mx', 'S: 250 ETRN', ...BYE],
      ['--tls', level],
      'starttls',
      /doesn't offer TLS/,
    )
    fails(
      `${level}: 454`,
      [...LISTED, 'C: STARTTLS', 'S: 454 not now', ...BYE],
      ['--tls', level],
      'starttls',
      /^454 not now$/,
      75,
    )
    fails(`${level}: 502`, [...LISTED, 'C: STARTTLS', 'S: 502 no', ...BYE], ['--tls', level], 'starttls', /^502 no$/)
    fails(
      `${level}: closed within the handshake`,
      [...UNHEARD, reset],
      ['--tls', level],
      'tls',
      /closed the connection within the handshake/,
      75,
    )
    fails(
      `${level}: silent`,
      [...UNHEARD, silence],
      ['--tls', level, '--timeout', '1s', '-v'],
      'tls',
      /^no TLS handshake within 1s$/,
      75,
      'smtp',
      OVERDUE,
    )
  }
  fails(
    'expired',
    [...AGREED, { ...certificate('expired'), fails: true }],
    CA,
    'tls',
    /expired: it was valid to 2020-01-02$/,
  )
  fails(
    'another name',
    [...AGREED, { ...certificate('other'), fails: true }],
    CA,
    'tls',
    /^the certificate is for other\.example, \*\.other\.example, not 127\.0\.0\.1$/,
  )
  fails(
    '--tls-name is not its name',
    [...AGREED, { ...certificate('mx'), fails: true }],
    [...CA, '--tls-name', 'smtp.isp.example'],
    'tls',
    /for mx\.example, localhost, 127\.0\.0\.1, not smtp\.isp\.example$/,
  )
  fails('signed by itself', [...AGREED, { ...certificate('self'), fails: true }], CA, 'tls', /signed by itself alone$/)
  fails(
    'an unknown issuer',
    [...AGREED, { ...certificate('mx'), fails: true }],
    ['--tls', 'verify'],
    'tls',
    /issuer is not known here: CN=Test authority$/,
  )
  fails(
    'not the pinned one',
    [...AGREED, { ...certificate('mx'), fails: true }],
    ['--tls-fingerprint', fingerprint('self')],
    'tls',
    /is not the pinned one, but ([0-9A-F]{2}:){31}/,
  )
  fails(
    'too old',
    [
      ...AGREED,
      {
        ...certificate('mx', { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }),
        fails: true,
      },
    ],
    CA,
    'tls',
    /no TLS as new as TLSv1\.2/,
  )
  fails(
    'smtps:// is always verified',
    [{ ...certificate('self'), fails: true }],
    ['--tls', 'none'],
    'tls',
    /signed by itself/,
    76,
    'smtps',
  )
  fails(
    'smtps:// at a port that speaks in clear',
    [deaf, 'S: 220 mx.example ESMTP', silence],
    CA,
    'tls',
    /^what answers is not TLS$|in clear where TLS has to begin$/,
    76,
    'smtps',
  )
  fails(
    'smtps:// at a silent port',
    [deaf, silence],
    [...CA, '--timeout', '1s'],
    'tls',
    /^no TLS handshake within 1s$/,
    75,
    'smtps',
  )

  test('each tells what to do, and the pin to paste', async (t) => {
    const told = async (name: string, ...options: string[]): Promise<string> => {
      const server = await scripted(t, [...AGREED, { ...certificate(name), fails: true }])
      const { stderr } = await etrn([
        `127.0.0.1:${server.port}`,
        '--helo',
        'gw.site.example',
        ...options,
        'site.example',
      ])
      assert.match(stderr, /^127\.0\.0\.1:\d+: TLS: [^\n]+; no answer for site\.example\n {2}[^\n]+\n$/)
      return stderr.split('\n')[1] ?? ''
    }
    assert.equal(
      await told('self', ...CA),
      `  --tls-fingerprint ${fingerprint('self')} takes this one, if you know that it is right`,
    )
    assert.ok((await told('expired', ...CA)).includes(`--tls-fingerprint ${fingerprint('expired')}`))
    assert.match(await told('other', ...CA), /^ {2}try --tls-name other\.example, /)
    assert.match(await told('mx', '--tls', 'verify'), /^ {2}--tls-ca FILE /)
  })
})

suite("the client's certificate", { concurrency: true }, () => {
  // In TLS 1.3 the client has done its part when the server says no: it comes in place of the next reply.
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`wanted, and not there: ${maxVersion}`, async (t) => {
      const more: TlsOptions = {
        requestCert: true,
        rejectUnauthorized: true,
        ca: readFileSync(path('ca.pem')),
        maxVersion,
      }
      const server = await loose(t, [...AGREED, certificate('mx', more), silence])
      const { stderr, status } = await etrn([
        `127.0.0.1:${server.port}`,
        '--helo',
        'gw.site.example',
        ...CA,
        'site.example',
      ])
      assert.equal(status, 76)
      assert.match(
        stderr,
        /: the server broke TLS off: [^\n]*\n {2}perhaps it wants a certificate of yours: --tls-cert\n/,
      )
    })
  }
})

suite('may: never worse than without', { concurrency: true }, () => {
  const warned = (
    title: string,
    conversations: readonly Conversation[],
    warning: RegExp,
    o: CommandOptions = {},
  ): void =>
    void test(title, async (t) => {
      const { status, stderr } = await run(t, conversations, ['-v'], 'smtp', o)
      assert.equal(status, 0)
      assert.match(stderr, warning)
    })
  warned(
    'STARTTLS refused: the same session in clear',
    [[...LISTED, 'C: STARTTLS', 'S: 454 4.7.0 not now', ...ASKED]],
    /STARTTLS: 454 4\.7\.0 not now; going on in clear/,
  )
  warned(
    'an alert: once more without TLS',
    [[...AGREED, afterClientHello(Buffer.from([0x15, 3, 3, 0, 2, 2, 80]))], CLEAR],
    /TLS: the server broke TLS off: .*internal error; going on in clear/,
  )
  warned('closed: once more without TLS', [[...UNHEARD, close], CLEAR], /TLS: the server closed .*; going on in clear/)
  warned(
    'silent: once more without TLS',
    [[...UNHEARD, silence], CLEAR],
    /TLS: no TLS handshake within 60s; going on in clear/,
    OVERDUE,
  )
  test('a later session does not try TLS again', async (t) => {
    const names = Array.from({ length: 8 }, (_, n) => `n${n}.example`)
    const clear = (some: readonly string[]): Conversation => [
      ...LISTED,
      ...some.flatMap((name): Step[] => [`C: ETRN ${name}`, 'S: 250 OK']),
      ...BYE,
    ]
    const server = await scripted(t, [...UNHEARD, close], clear(names.slice(0, 7)), clear(names.slice(7)))
    const run = await etrn([`127.0.0.1:${server.port}`, '--jobs', '1', '--helo', 'gw.site.example', ...names])
    await server.verify()
    assert.equal(run.status, 0)
  })
  test('once, not again and again', async (t) => {
    const { status } = await run(
      t,
      [
        [...UNHEARD, close],
        ['S: 421 enough', ...BYE],
      ],
      [],
    )
    assert.equal(status, 75)
  })
})

suite('the attacks on STARTTLS', { concurrency: true }, () => {
  const injected = (title: string, steps: readonly Step[], stage = 'starttls'): void => {
    for (const options of [[], ['--tls', 'encrypt'], CA]) {
      fails(
        `${title} ${options[1] ?? 'may'}`,
        steps,
        options,
        stage,
        /^the server, or somebody on the way, spoke in clear where TLS has to begin$|^what answers is not TLS$/,
      )
    }
  }
  // CVE-2021-22947, CVE-2021-38371, nodemailer 1835: a reply behind the 220 is taken for one within TLS.
  injected('a forged EHLO reply behind the 220', [
    ...LISTED,
    'C: STARTTLS',
    Buffer.from('220 go ahead\r\n250-mx.example\r\n250 ETRN\r\n'),
    deaf,
    silence,
  ])
  injected('half a line behind the 220', [...LISTED, 'C: STARTTLS', Buffer.from('220 go ahead\r\n2'), deaf, silence])
  injected('a 421 behind the 220', [
    ...LISTED,
    'C: STARTTLS',
    Buffer.from('220 go ahead\r\n421 bye\r\n'),
    deaf,
    silence,
  ])
  injected(
    'a reply in clear instead of the handshake',
    [...AGREED, afterClientHello('250-mx.example\r\n250 ETRN\r\n')],
    'tls',
  )

  for (const octets of ['2', '250\n', 'CONNECT x\r\n']) {
    injected(`${JSON.stringify(octets)} in clear, and the end`, [...AGREED, afterClientHello(octets, close)], 'tls')
  }
  const eight = Array.from({ length: 7 }, (_, i) => `n${i}.example`)
  const second = (
    title: string,
    conversation: Conversation,
    options: readonly string[],
    status: number,
    stage: string,
  ): void =>
    void test(`in the second session: ${title}`, async (t) => {
      const first = [
        ...AGREED,
        certificate('mx'),
        ...HELLO_AGAIN,
        ...eight.flatMap((name): Step[] => [`C: ETRN ${name}`, 'S: 250 OK']),
        ...BYE,
      ]
      const server = await scripted(t, first, conversation)
      const ran = await etrnJson([
        `127.0.0.1:${server.port}`,
        '--jobs',
        '1',
        '--helo',
        'gw.site.example',
        ...options,
        ...eight,
        'last.example',
      ])
      await server.verify()
      const [report] = ran.document.servers
      assert.deepEqual([ran.status, report?.error?.stage, report?.names.at(-1)?.outcome], [status, stage, 'failed'])
    })
  second(
    'an injection',
    [...LISTED, 'C: STARTTLS', Buffer.from('220 go ahead\r\n250 x\r\n'), deaf, silence],
    [],
    76,
    'starttls',
  )
  second('another certificate', [...AGREED, { ...certificate('self'), fails: true }], CA, 76, 'tls')
  test('clear text within TLS is not asked about again', async (t) => {
    const raw: { socket?: Socket } = {}
    const server = await loose(t, [
      (socket) => (raw.socket = socket),
      ...AGREED,
      certificate('mx'),
      ...HELLO_AGAIN,
      'C: ETRN a.example',
      () => raw.socket?.write('250 OK\r\n'),
      silence,
    ])
    const ran = await etrnJson([
      `127.0.0.1:${server.port}`,
      '--helo',
      'gw.site.example',
      '--timeout',
      '2s',
      'a.example',
      'b.example',
    ])
    assert.notEqual(ran.status, 0)
  })
  test('what EHLO listed in clear is forgotten', async (t) => {
    const { status } = await run(
      t,
      [[...AGREED, certificate('mx'), 'C: EHLO gw.site.example', 'S: 250 mx.example', ...BYE]],
      CA,
    )
    assert.equal(status, 69)
  })
})

function afterClientHello(
  octets: string | Uint8Array,
  then: (socket: Socket) => unknown = silence,
): (socket: Socket) => Promise<void> {
  return async (socket) => {
    socket.removeAllListeners('data')
    socket.once('data', () => socket.write(octets, () => void then(socket)))
    await silence(socket)
  }
}

suite('what can be wrong before anything is sent', { concurrency: true }, () => {
  const wrong = (args: readonly string[], status: number, message: RegExp): void =>
    void test(args.join(' '), async () => {
      const done = await etrn(['127.0.0.1:9', 'site.example', ...args])
      assert.equal(done.status, status)
      assert.match(done.stderr, message)
      assert.equal(done.stderr.split('\n').length, 2)
    })
  wrong(['--tls', 'maybe'], 64, /the choice is none, may, encrypt, verify/)
  wrong(['--tls-min', 'SSLv3'], 64, /the choice is TLSv1, /)
  wrong(['--tls-fingerprint', 'AB:CD'], 64, /64 hex digits/)
  wrong(['--tls', 'may', '--tls-fingerprint', fingerprint('mx')], 64, /--tls may contradicts --tls-fingerprint/)
  wrong(['--tls-key', path('client.key')], 64, /--tls-key belongs to --tls-cert/)
  wrong(['--tls-ca', '/nonexistent'], 66, /--tls-ca \/nonexistent: there is no such file/)
  wrong(['--tls-ca', path('make.sh')], 66, /--tls-ca .*make\.sh: /)
  wrong(['--tls-cert', path('client.pem')], 66, /--tls-cert .*client\.pem: /)
  wrong(
    ['--tls-cert', path('client.pem'), '--tls-key', path('mx.key')],
    66,
    /--tls-key .*mx\.key: the key is not that of/,
  )
  wrong(
    ['--tls-cert', path('client.pem'), '--tls-key', path('make.sh')],
    66,
    /--tls-key .*make\.sh: there is no private key in it/,
  )
  wrong(['--tls-name', 'a b'], 64, /--tls-name "a b"/)
  test('a key with a passphrase, beside its certificate', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'etrn-tls-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const file = join(folder, 'locked.pem')
    const lock = { format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'x' } as const
    const key = createPrivateKey(readFileSync(path('client.key'))).export(lock)
    writeFileSync(file, `${readFileSync(path('client.pem'), 'utf8')}${String(key)}`)
    const { status, stderr } = await etrn(['127.0.0.1:9', 'site.example', '--tls-cert', file])
    assert.deepEqual([status, stderr], [66, `etrn: --tls-cert ${file}: the key has a passphrase; take it off\n`])
  })
})
