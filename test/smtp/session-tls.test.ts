import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { suite, test } from 'node:test'
import { parseNodeName } from '../../src/input/node-name.js'
import { Redactor } from '../../src/smtp/redact.js'
import { openSession } from '../../src/smtp/session.js'
import type { TraceEvent } from '../../src/smtp/trace.js'
import { type CommandOptions, etrn, etrnJson } from '../helpers/command.js'
import { fixture, fixturePath } from '../helpers/files.js'
import { BYE, close, type Conversation, loose, scripted, silence, type Step } from '../helpers/scripted-server.js'
import { HELLO, OPTIONS, serverAt } from './plain-session.js'
import {
  ACCEPTED,
  afterClientHello,
  AGREED,
  CA,
  certificateStep,
  GREETING,
  HANDSHAKE_TIMEOUT,
  HELLO_AGAIN,
  ignoreInput,
  LISTED,
  requestFrom,
  testAccepted,
  testFailed,
  UNENCRYPTED,
  UNHEARD,
} from './tls-server.js'

const UNLISTED: readonly Step[] = [...GREETING, 'S: 250-mx', 'S: 250 ETRN']
const STARTTLS_SENT: readonly Step[] = [...LISTED, 'C: STARTTLS']
const LOGIN = { env: { ETRN_PASSWORD: 'secret' } }
const CRAM_DIGEST = createHmac('md5', 'secret').update('').digest('hex')
const CRAM_RESPONSE = Buffer.from(`site ${CRAM_DIGEST}`).toString('base64')
const PLAIN_LINE = `AUTH PLAIN ${Buffer.from('\0site\0secret').toString('base64')}`

suite('EHLO without ETRN', { concurrency: true }, () => {
  testFailed(
    'ends the session with QUIT, 69, and what EHLO lists',
    ['S: 220 mx', HELLO, 'S: 250-mx', 'S: 250-HELP', 'S: 250 X a', ...BYE],
    [],
    'etrn',
    /^ETRN not offered \(EHLO lists HELP, X\)$/,
    69,
  )
  testFailed(
    'ends the session with 69 and says that EHLO lists nothing',
    ['S: 220 mx', HELLO, 'S: 250 mx', ...BYE],
    [],
    'etrn',
    /^ETRN not offered \(EHLO lists nothing\)$/,
    69,
  )
  testAccepted(
    'does not stop --assume-etrn from sending ETRN',
    [['S: 220 mx', 'C: EHLO gw.site.example', 'S: 250 mx', ...ACCEPTED]],
    ['--assume-etrn'],
    null,
  )
})

test('openSession returns a session that sends the next name, or nothing if there is none', async (t) => {
  const server = await scripted(t, [
    'S: 220 mx',
    HELLO,
    'S: 250-mx',
    'S: 250 ETRN',
    'C: ETRN a.example',
    'S: 459 no',
    ...BYE,
  ])
  const session = await openSession(serverAt(server.port), OPTIONS)
  const name = await parseNodeName('a.example', { allowWide: false })
  assert.equal((await session.etrn(() => name))?.code, 459)
  assert.equal(await session.etrn(() => undefined), undefined)
  await session.quit()
})

suite('STARTTLS', { concurrency: true }, () => {
  testAccepted('is not sent with --tls none though it is listed', [UNENCRYPTED], ['--tls', 'none'], null)
  testAccepted('is not sent with --tls may if it is not listed', [[...UNLISTED, ...ACCEPTED]], ['--tls', 'may'], null)
  for (const level of ['encrypt', 'verify']) {
    const options = ['--tls', level]
    testFailed(
      `fails with 76 and --tls ${level} if it is not listed`,
      [...UNLISTED, ...BYE],
      options,
      'starttls',
      /^STARTTLS not offered, but --tls (?:encrypt|verify) requires it$/,
    )
    testFailed(
      `fails with 75 and --tls ${level} after a 454`,
      [...STARTTLS_SENT, 'S: 454 not now', ...BYE],
      options,
      'starttls',
      /^STARTTLS temporarily rejected \(454 not now\)$/,
      75,
    )
    testFailed(
      `fails with 76 and --tls ${level} after a 502`,
      [...STARTTLS_SENT, 'S: 502 no', ...BYE],
      options,
      'starttls',
      /^STARTTLS rejected \(502 no\)$/,
    )
  }
  testFailed(
    'fails with 76 and --tls may after a 250, which neither allows nor refuses TLS',
    [...STARTTLS_SENT, 'S: 250 ok', ...BYE],
    [],
    'starttls',
    /^unexpected reply to STARTTLS \(250 ok\)$/,
  )
  testFailed(
    'fails with 75 and --tls may after a 421, which closes the connection',
    [...STARTTLS_SENT, 'S: 421 bye', ...BYE],
    [],
    'starttls',
    /^the server closed the connection after STARTTLS \(421 bye\)$/,
    75,
  )
  test('forgets what EHLO listed before TLS', async (t) => {
    const { status } = await requestFrom(
      t,
      [[...AGREED, certificateStep('mx'), 'C: EHLO gw.site.example', 'S: 250 mx.example', ...BYE]],
      CA,
    )
    assert.equal(status, 69)
  })
})

suite('with --tls may', { concurrency: true }, () => {
  const testFallback = (
    title: string,
    conversations: readonly Conversation[],
    warning: RegExp,
    callOptions: CommandOptions = {},
  ): void =>
    void test(title, async (t) => {
      const { status, stderr } = await requestFrom(t, conversations, ['-v'], 'smtp', callOptions)
      assert.equal(status, 0)
      assert.match(stderr, warning)
    })
  const noVersion = Buffer.from('220 go ahead\r\n\x15\x03\x03\x00\x02\x02\x46', 'latin1')
  testFallback(
    'continues without TLS if an alert comes together with the reply to STARTTLS',
    [[...STARTTLS_SENT, noVersion, ignoreInput], UNENCRYPTED],
    /the server does not support TLSv1\.2 or newer; continuing without TLS/,
  )
  for (const [title, octets] of [
    ['text after an alert', Buffer.concat([noVersion, Buffer.from('250 ok\r\n')])],
    ['text before an alert', Buffer.concat([Buffer.from('220 go ahead\r\n250-x\r\n'), noVersion.subarray(14)])],
    ['a part of an alert', noVersion.subarray(0, 18)],
  ] as const)
    testFailed(
      `fails with 76 if ${title} comes together with the reply to STARTTLS`,
      [...STARTTLS_SENT, octets, ...BYE],
      [],
      'starttls',
      /^unencrypted data arrived after STARTTLS, before TLS began$/,
    )
  testFallback(
    'the session goes on without TLS after a 454 to STARTTLS',
    [[...STARTTLS_SENT, 'S: 454 4.7.0 not now', ...ACCEPTED]],
    /: STARTTLS temporarily rejected \(454 4\.7\.0 not now\); continuing without TLS/,
  )
  for (const [text, letters] of [
    ['x'.repeat(2000), /x+/],
    ['世'.repeat(600), /世+/],
  ] as const)
    testFallback(
      `a long reply to STARTTLS does not push the warning off the line: ${text.slice(0, 3)}...`,
      [[...STARTTLS_SENT, `S: 454 ${text}`, ...ACCEPTED]],
      new RegExp(
        `: STARTTLS temporarily rejected \\(454 ${letters.source}\\.\\.\\.; continuing without TLS .*--tls encrypt\\)$`,
        'm',
      ),
    )
  testFallback(
    'a new session goes without TLS after an alert',
    [[...AGREED, afterClientHello(Buffer.from([0x15, 3, 3, 0, 2, 2, 80]))], UNENCRYPTED],
    /: the server ended TLS with an alert \(.*internal error\); continuing without TLS/,
  )
  for (const [title, octets, problem] of [
    ['an over-long record', '\x16\x03\x03\xff\xff', /the server sent an invalid TLS record/],
    ['an over-long record that looks like text', '\x16\x03 hello', /the server sent an invalid TLS record/],
    [
      'an alert that TLS does not know',
      '\x15\x03\x03\0\x02\x02\xff',
      /the server ended TLS with an alert \(number 255\)/,
    ],
  ] as const)
    testFallback(
      `a new session goes without TLS after ${title}`,
      [[...AGREED, afterClientHello(Buffer.from(octets, 'latin1'))], UNENCRYPTED],
      new RegExp(`: ${problem.source}; continuing without TLS`),
    )
  testFallback(
    'a new session goes without TLS if the server closes the connection within the handshake',
    [[...UNHEARD, close], UNENCRYPTED],
    /: the server closed the connection during the TLS handshake; continuing without TLS/,
  )
  testFallback(
    'a new session goes without TLS if the server is silent in the handshake',
    [[...UNHEARD, silence], UNENCRYPTED],
    /: no TLS handshake within 60s; continuing without TLS/,
    HANDSHAKE_TIMEOUT,
  )
  test('a new session goes without TLS if the server is silent directly after the handshake', async (t) => {
    const silent: Conversation = [...AGREED, certificateStep('mx'), 'C: EHLO gw.site.example', silence]
    const { status, stderr } = await requestFrom(t, [silent, UNENCRYPTED], ['-v', '--timeout', '1s'])
    assert.equal(status, 0)
    assert.match(
      stderr,
      /: no reply to EHLO within 1s \(0 octets received\) directly after the TLS handshake; continuing without TLS/,
    )
  })
  test('a later session does not try TLS again', async (t) => {
    const names = Array.from({ length: 8 }, (_, n) => `n${n}.example`)
    const requesting = (some: readonly string[]): Conversation => [
      ...LISTED,
      ...some.flatMap((name): Step[] => [`C: ETRN ${name}`, 'S: 250 OK']),
      ...BYE,
    ]
    const server = await scripted(t, [...UNHEARD, close], requesting(names.slice(0, 7)), requesting(names.slice(7)))
    const run = await etrn([`127.0.0.1:${server.port}`, '--jobs', '1', '--helo', 'gw.site.example', ...names])
    await server.verify()
    assert.equal(run.status, 0)
  })
  test('only one new session goes without TLS', async (t) => {
    const { status } = await requestFrom(
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

suite('a second session fails', { concurrency: true }, () => {
  const names = Array.from({ length: 7 }, (_, i) => `n${i}.example`)
  const testSecondSession = (
    title: string,
    conversation: Conversation,
    options: readonly string[],
    status: number,
    stage: string,
  ): void =>
    void test(title, async (t) => {
      const first = [
        ...AGREED,
        certificateStep('mx'),
        ...HELLO_AGAIN,
        ...names.flatMap((name): Step[] => [`C: ETRN ${name}`, 'S: 250 OK']),
        ...BYE,
      ]
      const server = await scripted(t, first, conversation)
      const run = await etrnJson([
        `127.0.0.1:${server.port}`,
        '--jobs',
        '1',
        '--helo',
        'gw.site.example',
        ...options,
        ...names,
        'last.example',
      ])
      await server.verify()
      const [report] = run.document.servers
      assert.deepEqual([run.status, report?.error?.stage, report?.names.at(-1)?.outcome], [status, stage, 'failed'])
    })
  testSecondSession(
    'with 76 if plain text follows the reply to STARTTLS',
    [...STARTTLS_SENT, Buffer.from('220 go ahead\r\n250 x\r\n'), ignoreInput, silence],
    [],
    76,
    'starttls',
  )
  testSecondSession(
    'with 76 if the server has another certificate',
    [...AGREED, { ...certificateStep('self'), fails: true }],
    CA,
    76,
    'tls',
  )
})

const AUTH_LISTED: readonly Step[] = [...GREETING, 'S: 250-mx', 'S: 250-AUTH PLAIN']
const ACCEPTED_LOGIN: readonly Step[] = [`C: ${PLAIN_LINE}`, 'S: 235 ok']
suite('a login over TLS', { concurrency: true }, () => {
  const LISTED_WITH = (mechanisms: string): readonly Step[] => [
    'C: EHLO gw.site.example',
    'S: 250-mx',
    `S: 250-AUTH ${mechanisms}`,
    'S: 250 ETRN',
  ]
  test('uses EXTERNAL if the client showed a certificate', async (t) => {
    const options = [...CA, '--tls-cert', fixturePath('client.pem'), '--tls-key', fixturePath('client.key')]
    const conversation: Conversation = [
      ...AGREED,
      certificateStep('mx', { requestCert: true, ca: fixture('ca.pem') }),
      ...LISTED_WITH('PLAIN EXTERNAL'),
      'C: AUTH EXTERNAL c2l0ZQ==',
      'S: 235 ok',
      ...ACCEPTED,
    ]
    assert.equal((await requestFrom(t, [conversation], [...options, '--user', 'site'], 'smtp', LOGIN)).status, 0)
  })
  test('binds SCRAM to the channel if the server offers that', async (t) => {
    let line = ''
    const refuse = async (socket: Socket): Promise<void> => {
      socket.removeAllListeners('data')
      const [octets] = (await once(socket, 'data')) as [Buffer]
      line = octets.toString()
      socket.resume().write('454 later\r\n')
    }
    const lists = LISTED_WITH('SCRAM-SHA-256 SCRAM-SHA-256-PLUS')
    const server = await loose(t, [...AGREED, certificateStep('mx'), ...lists, refuse])
    const args = [`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', ...CA, '--user', 'site', '--timeout', '2s']
    assert.equal((await etrn([...args, 'site.example'], LOGIN)).status, 75)
    assert.match(line, /^AUTH SCRAM-SHA-256-PLUS cD10bHMtZXhwb3J0ZXIs/)
  })
})

test('openSession tells the redactor of the server what it sends', async (t) => {
  const events: TraceEvent[] = []
  const server = await scripted(t, [
    ...GREETING,
    'S: 250-mx',
    'S: 250-AUTH CRAM-MD5',
    'S: 250 ETRN',
    'C: AUTH CRAM-MD5',
    'S: 334 ',
    `C: ${CRAM_RESPONSE}`,
    'S: 235 ok',
    ...BYE,
  ])
  const credentials = { user: 'site', password: 'secret', mechanism: undefined }
  const redactor = new Redactor()
  const session = await openSession(
    { ...serverAt(server.port), credentials, redactor },
    { ...OPTIONS, trace: (event) => events.push(event) },
  )
  await session.quit()
  assert.deepEqual(
    events.filter(({ type }) => type === 'sent'),
    ['EHLO gw.site.example', 'AUTH CRAM-MD5', '****', 'QUIT'].map((line) => ({ type: 'sent', line })),
  )
  assert.equal(redactor.redact(`a ${CRAM_DIGEST} b`), 'a **** b')
})

suite('a login over loopback', { concurrency: true }, () => {
  const testSession = (title: string, conversations: readonly Conversation[], status: number): void =>
    void test(title, async (t) => {
      const run = await requestFrom(t, conversations, ['--user', 'site'], 'smtp', LOGIN)
      assert.equal(run.status, status)
    })
  testSession('needs no TLS', [[...AUTH_LISTED, 'S: 250 ETRN', ...ACCEPTED_LOGIN, ...ACCEPTED]], 0)
  testSession(
    'is followed by another EHLO if ETRN was not listed before',
    [[...AUTH_LISTED, 'S: 250 HELP', ...ACCEPTED_LOGIN, ...HELLO_AGAIN, ...ACCEPTED]],
    0,
  )
  testSession(
    'ends with QUIT and without ETRN if it is refused',
    [[...AUTH_LISTED, 'S: 250 ETRN', `C: ${PLAIN_LINE}`, 'S: 535 no', ...BYE]],
    77,
  )
  testSession('is not tried again without TLS after a failed handshake', [[...UNHEARD, close]], 75)
})

suite('a greeting before STARTTLS that names Exim', { concurrency: true }, () => {
  const EXIM: readonly Step[] = ['S: 220 mx.example ESMTP Exim 4.96', ...AGREED.slice(1)]
  const REPLY: readonly Step[] = ['C: ETRN site.example', 'S: 458 sorry', ...BYE]
  for (const [level, outcome, why] of [
    ['verify', 'deferred', 'anybody on the way may have written it'],
    ['encrypt', 'refused', 'the server proves no identity anyway'],
  ] as const)
    test(`leaves 458 ${outcome} at the level ${level}: ${why}`, async (t) => {
      const conversation: Conversation = [...EXIM, certificateStep('mx'), ...HELLO_AGAIN, ...REPLY]
      const options = ['--tls', level, ...(level === 'verify' ? CA : [])]
      const { document } = await requestFrom(t, [conversation], options)
      assert.equal(document.servers[0]?.names[0]?.outcome, outcome)
    })
  test('means what it says if it comes within TLS', async (t) => {
    const conversation: Conversation = [certificateStep('mx'), 'S: 220 mx.example Exim 4.96', ...HELLO_AGAIN, ...REPLY]
    const { document } = await requestFrom(t, [conversation], [...CA], 'smtps')
    assert.equal(document.servers[0]?.names[0]?.outcome, 'refused')
  })
})
