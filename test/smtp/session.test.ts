import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { parseNodeName } from '../../src/input/node-name.js'
import { SessionError } from '../../src/smtp/errors.js'
import { openSession, type Server, type SessionOptions } from '../../src/smtp/session.js'
import type { RawTraceEvent } from '../../src/smtp/trace.js'
import { type CommandOptions, etrn, etrnJson, LEAPING } from '../helpers/command.js'
import { isInNamespace } from '../helpers/namespace.js'
import { BYE, close, type Conversation, reset, scripted, silence, type Step } from '../helpers/scripted-server.js'
import * as network from '../net/network.js'
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
const PLAIN_LINE = `AUTH PLAIN ${Buffer.from('\0site\0secret').toString('base64')}`

if (isInNamespace(import.meta.url)) {
  network.addBlackHole()
  testAddresses()
  testRemoteLogin()
} else {
  testGreetingAndEhlo()
  testOpenSession()
  testStartTls()
  testLogin()
}

function testGreetingAndEhlo(): void {
  suite('a session ends after', { concurrency: true }, () => {
    const HELLO = 'C: EHLO gw.site.example'
    for (const [title, steps, stage, status] of [
      ['greeting 554', ['S: 554 no'], 'greeting', 69],
      ['greeting 450', ['S: 450 later'], 'greeting', 75],
      ['greeting 250', ['S: 250 ok'], 'greeting', 76],
      ['greeting 221', ['S: 221 bye'], 'greeting', 76],
      ['EHLO reply 502', ['S: 220 mx', HELLO, 'S: 502 no'], 'ehlo', 69],
      ['EHLO reply 450', ['S: 220 mx', HELLO, 'S: 450 later'], 'ehlo', 75],
      ['EHLO reply 220', ['S: 220 mx', HELLO, 'S: 220 mx'], 'ehlo', 76],
      ['an EHLO reply without ETRN', ['S: 220 mx', HELLO, 'S: 250-mx', 'S: 250 HELP'], 'etrn', 69],
    ] as const) {
      testFailed(`${title}: QUIT, and ${status} at the stage ${stage}`, [...steps, ...BYE], [], stage, /./, status)
    }
    testFailed(
      'an EHLO reply without ETRN: the message lists what EHLO lists',
      ['S: 220 mx', HELLO, 'S: 250-mx', 'S: 250-HELP', 'S: 250 X a', ...BYE],
      [],
      'etrn',
      /^the server doesn't offer it; EHLO lists HELP, X$/,
      69,
    )
    testFailed(
      'an EHLO reply of one line: the message says that EHLO lists nothing',
      ['S: 220 mx', HELLO, 'S: 250 mx', ...BYE],
      [],
      'etrn',
      /^the server doesn't offer it; EHLO lists nothing$/,
      69,
    )
  })
  testAccepted(
    'a session sends ETRN with --assume-etrn though EHLO does not list it',
    [['S: 220 mx', 'C: EHLO gw.site.example', 'S: 250 mx', ...ACCEPTED]],
    ['--assume-etrn'],
    null,
  )
}

function testOpenSession(): void {
  const serverAt = (port: number): Server => ({
    word: 'mx.example',
    host: '127.0.0.1',
    port,
    isImplicitTls: false,
    tls: {
      level: 'none',
      fingerprint: undefined,
      name: undefined,
      ca: undefined,
      cert: undefined,
      key: undefined,
      minVersion: 'TLSv1.2',
    },
    credentials: undefined,
  })
  const OPTIONS: SessionOptions = {
    timeoutMs: 60_000,
    signal: new AbortController().signal,
    helo: 'gw.site.example',
    family: undefined,
    local: undefined,
    self: ['gw.site.example', 'mail.site.example'],
    assumeEtrn: false,
    trace: () => undefined,
  }
  const HELLO = 'C: EHLO gw.site.example'

  suite('openSession', { concurrency: true }, () => {
    for (const [title, steps, stage, name] of [
      ['greeting has', ['S: 220 Mail.Site.example ESMTP'], 'greeting', 'mail.site.example'],
      ['greeting is', ['S: 220 gw.site.example'], 'greeting', 'gw.site.example'],
      ['greeting, with a dot at its end, has', ['S: 220 gw.site.example. hello'], 'greeting', 'gw.site.example'],
      ['EHLO reply has', ['S: 220 mx', HELLO, 'S: 250-gw.site.example hi', 'S: 250 ETRN'], 'ehlo', 'gw.site.example'],
    ] as const) {
      test(`rejects with 68 and the kind "self" if the ${title} a name of this site`, async (t) => {
        const server = await scripted(t, [...steps, ...BYE])
        await assert.rejects(openSession(serverAt(server.port), OPTIONS), (error) => {
          assert.ok(error instanceof SessionError)
          assert.deepEqual([error.stage, error.exitStatus, error.kind], [stage, 68, 'self'])
          assert.ok(error.message.includes(name))
          return true
        })
        await server.verify()
      })
    }
    test("takes a server whose name only begins or ends with this site's", async (t) => {
      const server = await scripted(t, [
        'S: 220 gw.site.example.net hello gw.site.example',
        HELLO,
        'S: 250-x.gw.site.example',
        'S: 250-gw.site.example',
        'S: 250 ETRN',
        ...BYE,
      ])
      const session = await openSession(serverAt(server.port), OPTIONS)
      await session.quit()
    })
    test('returns a session that sends the next name, or nothing if there is none', async (t) => {
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
    test('traces its steps, the replies and what it learned, in order', async (t) => {
      const server = await scripted(t, ['S: 220 mx hello', HELLO, 'S: 250-mx', 'S: 250 ETRN', ...BYE])
      const events: RawTraceEvent[] = []
      const session = await openSession(serverAt(server.port), { ...OPTIONS, trace: (event) => events.push(event) })
      await session.quit()
      assert.deepEqual(
        events.map((event) => ('stage' in event ? `${event.type} ${event.stage}` : event.type)),
        [
          ...['step dns', 'done dns', 'resolved'],
          ...['step connect', 'connecting', 'done connect', 'connected'],
          ...['step greeting', 'received', 'greeting', 'done greeting'],
          ...['step ehlo', 'sent', 'received', 'done ehlo', 'extensions'],
          ...['sent', 'received'],
        ],
      )
    })
  })
}

function testStartTls(): void {
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
        /doesn't offer TLS/,
      )
      testFailed(
        `fails with 75 and --tls ${level} after a 454`,
        [...STARTTLS_SENT, 'S: 454 not now', ...BYE],
        options,
        'starttls',
        /^454 not now$/,
        75,
      )
      testFailed(
        `fails with 76 and --tls ${level} after a 502`,
        [...STARTTLS_SENT, 'S: 502 no', ...BYE],
        options,
        'starttls',
        /^502 no$/,
      )
    }
    testFailed(
      'fails with 76 and --tls may after a 250, which neither allows nor refuses TLS',
      [...STARTTLS_SENT, 'S: 250 ok', ...BYE],
      [],
      'starttls',
      /^250 ok$/,
    )
    testFailed(
      'fails with 75 and --tls may after a 421, which closes the connection',
      [...STARTTLS_SENT, 'S: 421 bye', ...BYE],
      [],
      'starttls',
      /^421 bye$/,
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
    testFallback(
      'the session goes on without TLS after a 454 to STARTTLS',
      [[...STARTTLS_SENT, 'S: 454 4.7.0 not now', ...ACCEPTED]],
      /STARTTLS: 454 4\.7\.0 not now; going on in clear/,
    )
    testFallback(
      'a new session goes without TLS after an alert',
      [[...AGREED, afterClientHello(Buffer.from([0x15, 3, 3, 0, 2, 2, 80]))], UNENCRYPTED],
      /TLS: the server broke TLS off: .*internal error; going on in clear/,
    )
    testFallback(
      'a new session goes without TLS if the server closes the connection within the handshake',
      [[...UNHEARD, close], UNENCRYPTED],
      /TLS: the server closed .*; going on in clear/,
    )
    testFallback(
      'a new session goes without TLS if the server is silent in the handshake',
      [[...UNHEARD, silence], UNENCRYPTED],
      /TLS: no TLS handshake within 60s; going on in clear/,
      HANDSHAKE_TIMEOUT,
    )
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
}

function testLogin(): void {
  const AUTH_LISTED: readonly Step[] = [...GREETING, 'S: 250-mx', 'S: 250-AUTH PLAIN']
  const ACCEPTED_LOGIN: readonly Step[] = [`C: ${PLAIN_LINE}`, 'S: 235 ok']
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
}

function testAddresses(): void {
  const { REQUEST, serveAt, serveNames } = network
  // No address is slow to connect for a clock that stands still, so none is tried beside another.
  const oneByOne = { env: LEAPING }
  const THREE = { 'A mail.example': { addresses: ['127.0.0.3', '127.0.0.4', '127.0.0.5'] } }
  const TWO = { 'A mail.example': { addresses: ['127.0.0.3', '127.0.0.4'] } }

  suite('a host with several addresses', () => {
    test('is tried at the next address after a temporary failure before the EHLO reply', async (t) => {
      await serveNames(t, THREE)
      const busy = await serveAt(t, '127.0.0.3', ['S: 421 too many connections', ...BYE])
      const gone = await serveAt(t, '127.0.0.4', ['S: 220 mx', 'C: EHLO gw.site.example', reset])
      const good = await serveAt(t, '127.0.0.5', network.ACCEPTED)
      const run = await etrnJson(REQUEST, oneByOne)
      for (const server of [busy, gone, good]) await server.verify()
      assert.deepEqual([run.status, run.document.servers[0]?.address], [0, '127.0.0.5'])
    })
    test('is not tried at the next address after a permanent failure, or once EHLO has its reply', async (t) => {
      await serveNames(t, TWO)
      await serveAt(
        t,
        '127.0.0.3',
        ['S: 554 no', ...BYE],
        ['S: 220 mx', 'C: EHLO gw.site.example', 'S: 450 later', ...BYE],
      )
      const other = await serveAt(t, '127.0.0.4')
      assert.equal((await etrnJson(REQUEST, oneByOne)).status, 69)
      assert.equal((await etrnJson(REQUEST, oneByOne)).status, 75)
      await other.verify()
    })
    test('is tried at an address whose DNS answer came late', async (t) => {
      let answer = (): void => undefined
      const after = new Promise<void>((resolve) => (answer = resolve))
      await serveNames(t, {
        'A mail.example': { addresses: ['127.0.0.1'] },
        'AAAA mail.example': { addresses: ['::1'], after },
      })
      await serveAt(t, '127.0.0.1', ['S: 421 busy', 'C: QUIT', () => answer(), 'S: 221 bye'])
      await serveAt(t, '::1', network.ACCEPTED)
      assert.equal((await etrn(REQUEST, oneByOne)).status, 0)
    })
    test('is tried once at an address whose DNS answer came late', async (t) => {
      await serveNames(t, {
        'A mail.example': { addresses: ['127.0.0.1'] },
        'AAAA mail.example': { addresses: ['::1'], afterMs: 200 },
      })
      await serveAt(t, '::1', ['S: 421 busy', ...BYE])
      assert.equal((await etrn(REQUEST)).status, 75)
    })
    test('reports the last failure and its address', async (t) => {
      await serveNames(t, TWO)
      await serveAt(t, '127.0.0.3', ['S: 421 busy', ...BYE])
      await serveAt(t, '127.0.0.4', ['S: 554 no', ...BYE])
      const run = await etrnJson(REQUEST, oneByOne)
      const [report] = run.document.servers
      assert.deepEqual([run.status, report?.address, report?.error?.code], [69, '127.0.0.4', 554])
    })
    test('reports the last reply if the remaining addresses refuse the connection', async (t) => {
      await serveNames(t, TWO)
      await serveAt(t, '127.0.0.3', ['S: 421 busy', ...BYE])
      const run = await etrnJson(REQUEST, oneByOne)
      const [report] = run.document.servers
      assert.deepEqual([run.status, report?.error?.stage, report?.error?.code], [75, 'greeting', 421])
    })
    test('is not requested if a signal arrives at the second address', async (t) => {
      let interrupt = (): void => undefined
      await serveNames(t, TWO)
      await serveAt(t, '127.0.0.3', ['S: 421 busy', ...BYE])
      await serveAt(t, '127.0.0.4', [() => interrupt(), 'C: QUIT'])
      const run = await etrnJson(REQUEST, {
        ...oneByOne,
        during: (child) => (interrupt = () => void child.kill('SIGTERM')),
      })
      const [report] = run.document.servers
      assert.deepEqual([report?.names[0]?.outcome, report?.error?.message], ['skipped', 'interrupted by SIGTERM'])
    })
  })
}

function testRemoteLogin(): void {
  const { OWN_ADDRESS, PORT, serveAt } = network
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
