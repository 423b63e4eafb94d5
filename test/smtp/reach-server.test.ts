import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { suite, test, type TestContext } from 'node:test'
import { unmapAddress } from '../../src/net/address.js'
import { openSession } from '../../src/smtp/session.js'
import { etrn, etrnJson, LEAPING } from '../helpers/command.js'
import { isInNamespace } from '../helpers/namespace.js'
import {
  BYE,
  close,
  type Conversation,
  etrnSteps,
  HELLO,
  reset,
  sessionWith,
  silence,
} from '../helpers/scripted-server.js'
import { ACCEPTED, PORT, REQUEST, serveAt, serveNames, writeHosts } from '../net/network.js'
import { OPTIONS, serverAt } from './plain-session.js'
import { AGREED, CA, certificateStep, LISTED, secureSession, UNHEARD } from './tls-server.js'

if (isInNamespace(import.meta.url)) {
  // No address is slow to connect for a clock that stands still, so none is tried beside another.
  const oneByOne = { env: LEAPING }
  const THREE = { 'A mail.example': { addresses: ['127.0.0.3', '127.0.0.4', '127.0.0.5'] } }
  const TWO = { 'A mail.example': { addresses: ['127.0.0.3', '127.0.0.4'] } }

  suite('a host with several addresses', () => {
    test('is tried at the next address after a temporary failure before the EHLO reply', async (t) => {
      await serveNames(t, THREE)
      const busy = await serveAt(t, '127.0.0.3', ['S: 421 too many connections', ...BYE])
      const gone = await serveAt(t, '127.0.0.4', ['S: 220 mx', 'C: EHLO gw.site.example', reset])
      const good = await serveAt(t, '127.0.0.5', ACCEPTED)
      const run = await etrnJson(REQUEST, oneByOne)
      for (const server of [busy, gone, good]) await server.verify()
      assert.deepEqual([run.status, run.document.servers[0]?.address], [0, '127.0.0.5'])
    })
    test('is not tried at the next address after a permanent failure, or a 4xx reply to EHLO', async (t) => {
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
    test('is not tried at the next address after a greeting that is none, and the error says so', async (t) => {
      await serveNames(t, TWO)
      await serveAt(t, '127.0.0.3', ['S: HTTP/1.1 400 Bad Request', ...BYE])
      const { document } = await etrnJson(REQUEST, oneByOne)
      assert.match(document.servers[0]?.error?.message ?? '', /^invalid greeting: .*; 1 other address not tried$/)
    })
    for (const [count, text] of [
      [2, 'the server rejected the connection (554 no); 1 other address not tried'],
      [3, 'the server rejected the connection (554 no); 2 other addresses not tried'],
    ] as const)
      test(`is said to have ${count - 1} untried addresses if the first of ${count} greets with 554`, async (t) => {
        await serveNames(t, count === 2 ? TWO : THREE)
        await serveAt(t, '127.0.0.3', ['S: 554 no', ...BYE])
        const { document, status } = await etrnJson(REQUEST, oneByOne)
        const [report] = document.servers
        assert.deepEqual([status, report?.error?.message, report?.error?.code], [69, text, 554])
      })
    test('fails temporarily if one address refuses the connection, and another one the client', async (t) => {
      await serveNames(t, TWO)
      await serveAt(t, '127.0.0.4', ['S: 554 no', ...BYE])
      const { status, document } = await etrnJson(REQUEST, oneByOne)
      const text =
        'connection refused (127.0.0.3 port 2500); at another address: the server rejected the connection (554 no)'
      assert.deepEqual([status, document.servers[0]?.error?.message], [75, text])
    })
    test('fails for good if one address refuses the connection, and the server at another one has no ETRN', async (t) => {
      await serveNames(t, TWO)
      await serveAt(t, '127.0.0.4', [...HELLO.slice(0, 2), 'S: 250 mx.example', ...BYE])
      const { status, document } = await etrnJson(REQUEST, oneByOne)
      assert.deepEqual([status, document.servers[0]?.error?.message], [69, 'ETRN not offered (EHLO lists nothing)'])
    })
    test('is said to have an address that refuses the connection if another one rejects EHLO', async (t) => {
      await serveNames(t, TWO)
      await serveAt(t, '127.0.0.4', ['S: 220 mx', 'C: EHLO gw.site.example', 'S: 550 no', ...BYE])
      const { status, document } = await etrnJson(REQUEST, oneByOne)
      const text =
        'EHLO gw.site.example rejected (550 no); at another address: connection refused (127.0.0.3 port 2500)'
      assert.deepEqual([status, document.servers[0]?.error?.message], [69, text])
    })
    test('fails for good if one address refuses the client, and another one is of a family without a route', async (t) => {
      await serveNames(t, {
        'AAAA mail.example': { addresses: ['2001:db8::1'] },
        'A mail.example': { addresses: ['127.0.0.4'] },
      })
      await serveAt(t, '127.0.0.4', ['S: 554 no', ...BYE])
      assert.equal((await etrn(REQUEST, oneByOne)).status, 69)
    })
    for (const reply of ['502 no', '450 later'] as const)
      test(`is said to have an untried address if the first one replies ${reply} to EHLO`, async (t) => {
        await serveNames(t, TWO)
        await serveAt(t, '127.0.0.3', ['S: 220 mx', 'C: EHLO gw.site.example', `S: ${reply}`, ...BYE])
        const { document } = await etrnJson(REQUEST, oneByOne)
        assert.match(document.servers[0]?.error?.message ?? '', /; 1 other address not tried$/)
      })
    test('is tried at an address whose DNS answer came late', async (t) => {
      let answer = (): void => undefined
      const after = new Promise<void>((resolve) => (answer = resolve))
      await serveNames(t, {
        'A mail.example': { addresses: ['127.0.0.1'] },
        'AAAA mail.example': { addresses: ['::1'], after },
      })
      await serveAt(t, '127.0.0.1', ['S: 421 busy', 'C: QUIT', () => answer(), 'S: 221 bye'])
      await serveAt(t, '::1', ACCEPTED)
      assert.equal((await etrn(REQUEST, oneByOne)).status, 0)
    })
    test('is tried at an address whose DNS answer is slow, after the others have refused the connection', async (t) => {
      await serveNames(t, {
        'A mail.example': { addresses: ['127.0.0.4'], afterMs: 3200 },
        'AAAA mail.example': { addresses: ['::1'] },
      })
      await serveAt(t, '127.0.0.4', ACCEPTED)
      assert.equal((await etrn(REQUEST)).status, 0)
    })
    test('is tried once at an address whose DNS answer came late', async (t) => {
      await serveNames(t, {
        'A mail.example': { addresses: ['127.0.0.1'] },
        'AAAA mail.example': { addresses: ['::1'], afterMs: 200 },
      })
      await serveAt(t, '::1', ['S: 421 busy', ...BYE])
      assert.equal((await etrn(REQUEST)).status, 75)
    })
    test('reports a temporary failure, and mentions that another address refuses', async (t) => {
      await serveNames(t, TWO)
      await serveAt(t, '127.0.0.3', ['S: 421 busy', ...BYE])
      await serveAt(t, '127.0.0.4', ['S: 554 no', ...BYE])
      const run = await etrnJson(REQUEST, oneByOne)
      const [report] = run.document.servers
      assert.deepEqual([run.status, report?.error?.code], [75, 421])
      assert.match(report?.error?.message ?? '', /421 busy\); at another address: .*\(554 no\)$/)
    })
    test('reports the last of several temporary failures', async (t) => {
      await serveNames(t, TWO)
      await serveAt(t, '127.0.0.3', ['S: 421 busy', ...BYE])
      await serveAt(t, '127.0.0.4', ['S: 450 later', ...BYE])
      const run = await etrnJson(REQUEST, oneByOne)
      const [report] = run.document.servers
      assert.deepEqual([run.status, report?.address, report?.error?.code], [75, '127.0.0.4', 450])
    })
    test('is requested at one address in all sessions, although one of them is greeted with 421', async (t) => {
      await serveNames(t, TWO)
      const session = (names: readonly string[]): Conversation =>
        sessionWith(...names.flatMap((name) => etrnSteps(name, '250 OK')))
      const names = Array.from({ length: 8 }, (_, n) => `n${n}.example`)
      const server = await serveAt(
        t,
        '127.0.0.3',
        session(names.slice(0, 7)),
        ['S: 421 too many connections', ...BYE],
        session(names.slice(7)),
      )
      const other = await serveAt(t, '127.0.0.4')
      const run = await etrnJson(['--jobs', '1', ...REQUEST.slice(0, -1), ...names], oneByOne)
      assert.equal(run.status, 0)
      await server.verify()
      await other.verify()
    })
    test('reports the last reply if the remaining addresses refuse the connection', async (t) => {
      await serveNames(t, TWO)
      await serveAt(t, '127.0.0.3', ['S: 421 busy', ...BYE])
      const run = await etrnJson(REQUEST, oneByOne)
      const [report] = run.document.servers
      assert.deepEqual([run.status, report?.error?.stage, report?.error?.code], [75, 'greeting', 421])
    })
    /** Listens at all addresses, and returns those that a client has connected to. */
    const listenEverywhere = async (t: TestContext, talk: (socket: Socket) => void): Promise<ReadonlySet<string>> => {
      const contacted = new Set<string>()
      const server = createServer((socket) => {
        contacted.add(unmapAddress(socket.localAddress ?? ''))
        socket.on('error', () => undefined)
        talk(socket)
      }).listen(PORT, '::')
      t.after(() => server.close())
      await once(server, 'listening')
      return contacted
    }
    const numbered = (length: number): string[] => Array.from({ length }, (_, n) => `127.0.3.${n % 250}`)
    test('is tried at five of 200 addresses, one of the other family among them', async (t) => {
      await serveNames(t, {
        'A mail.example': { addresses: numbered(200) },
        'AAAA mail.example': { addresses: ['::1'] },
      })
      const contacted = await listenEverywhere(t, (socket) => socket.end('421 busy\r\n'))
      assert.equal((await etrn(REQUEST)).status, 75)
      assert.equal(contacted.size, 5)
      assert.ok(contacted.has('::1'))
    })
    test('is tried at five addresses of /etc/hosts', async (t) => {
      await serveNames(t, {})
      writeHosts(
        t,
        numbered(300)
          .map((address) => `${address} mail.example\n`)
          .join(''),
      )
      const contacted = await listenEverywhere(t, (socket) => socket.end('421 busy\r\n'))
      assert.equal((await etrn(REQUEST)).status, 75)
      assert.equal(contacted.size, 5)
    })
    test('is tried at no further address once twice --timeout has passed', async (t) => {
      await serveNames(t, { 'A mail.example': { addresses: numbered(100) } })
      const contacted = await listenEverywhere(t, () => undefined)
      const server = { ...serverAt(PORT), host: 'mail.example' }
      await assert.rejects(
        openSession(server, { ...OPTIONS, timeoutMs: 300 }),
        /^SessionError: no greeting within 0\.3s \(0 octets received\)$/,
      )
      assert.equal(contacted.size, 2)
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
      assert.equal(report?.error?.stage, 'greeting')
    })
  })

  suite('a host whose first address loses the connection after EHLO', () => {
    const TLS = [...REQUEST, '--tls', 'encrypt']
    const lost: Conversation = [...UNHEARD, close]
    /** Up to the login, which the server has not answered yet */
    const LOGIN: Conversation = [
      ...AGREED,
      certificateStep('mx'),
      'C: EHLO gw.site.example',
      'S: 250-mx.example',
      'S: 250-AUTH PLAIN',
      'S: 250 ETRN',
      `C: AUTH PLAIN ${Buffer.from('\0site\0secret').toString('base64')}`,
    ]
    const WITHOUT_ETRN: Conversation = ['C: EHLO gw.site.example', 'S: 250-mx.example', 'S: 250 SIZE', ...BYE]
    const LOST = 'the server closed the connection during the TLS handshake'
    test('is tried at the next one, with a warning', async (t) => {
      await serveNames(t, TWO)
      await serveAt(t, '127.0.0.3', lost)
      await serveAt(t, '127.0.0.4', secureSession('mx'))
      const { status, stdout, stderr } = await etrn(TLS, oneByOne)
      assert.deepEqual([status, stdout], [0, 'site.example: accepted (250 OK)\n'])
      assert.equal(
        stderr,
        `etrn: warning: mail.example:2500: ${LOST} (127.0.0.3); continuing at another address (127.0.0.4)\n`,
      )
    })
    test('is tried at the next one if it is silent at the EHLO within TLS, also with a login', async (t) => {
      await serveNames(t, TWO)
      const silent = await serveAt(t, '127.0.0.3', [
        ...AGREED,
        certificateStep('mx'),
        'C: EHLO gw.site.example',
        silence,
      ])
      await serveAt(t, '127.0.0.4', [...LOGIN, 'S: 235 OK', 'C: ETRN site.example', 'S: 250 OK', ...BYE])
      const verified = [...REQUEST, ...CA, '--tls-name', 'mx.example', '--user', 'site', '--timeout', '1s']
      const { status, stderr } = await etrn(verified, { env: { ETRN_PASSWORD: 'secret' } })
      await silent.verify()
      const problem = 'no reply to EHLO within 1s (0 octets received) directly after the TLS handshake (127.0.0.3)'
      const warning = `mail.example:2500: ${problem}; continuing at another address (127.0.0.4)`
      assert.deepEqual([status, stderr], [0, `etrn: warning: ${warning}\n`])
    })
    test('is tried with TLS at the next one before it is tried without TLS', async (t) => {
      await serveNames(t, TWO)
      const first = await serveAt(t, '127.0.0.3', lost)
      await serveAt(t, '127.0.0.4', secureSession('mx'))
      const { status, document } = await etrnJson([...REQUEST, '--tls', 'may'], oneByOne)
      assert.deepEqual([status, document.servers[0]?.tls === null], [0, false])
      await first.verify()
    })
    for (const [title, then] of [
      ['rejects the connection', 'the server rejected the connection (554 no)'],
      ['has no ETRN', 'ETRN not offered (EHLO lists SIZE)'],
      ['is busy', 'the server is temporarily unavailable (421 busy)'],
      ['refuses the connection', 'connection refused (127.0.0.4 port 2500)'],
    ] as const)
      test(`keeps its temporary failure if the next one ${title}`, async (t) => {
        await serveNames(t, TWO)
        await serveAt(t, '127.0.0.3', lost)
        if (title === 'rejects the connection') await serveAt(t, '127.0.0.4', ['S: 554 no', ...BYE])
        if (title === 'has no ETRN') await serveAt(t, '127.0.0.4', [...AGREED, certificateStep('mx'), ...WITHOUT_ETRN])
        if (title === 'is busy') await serveAt(t, '127.0.0.4', ['S: 421 busy', ...BYE])
        const { status, document } = await etrnJson(TLS, oneByOne)
        assert.deepEqual([status, document.servers[0]?.error?.message], [75, `${LOST}; at another address: ${then}`])
      })
    test('does not hide a lack of TLS, or a wrong certificate, at the next one', async (t) => {
      await serveNames(t, TWO)
      const busy: Conversation = ['S: 450 later', ...BYE]
      await serveAt(t, '127.0.0.3', lost, busy)
      const wrong = { ...certificateStep('mx'), fails: true } as const
      await serveAt(t, '127.0.0.4', [...HELLO, ...BYE], [...AGREED, wrong])
      const plain = await etrnJson(TLS, oneByOne)
      assert.deepEqual([plain.status, plain.document.servers[0]?.error?.stage], [76, 'starttls'])
      const forged = await etrnJson([...REQUEST, ...CA, '--tls-name', 'other.example'], oneByOne)
      assert.deepEqual([forged.status, forged.document.servers[0]?.error?.stage], [76, 'tls'])
    })
    test('does not hide a rejected login or an attack at the next one', async (t) => {
      await serveNames(t, TWO)
      await serveAt(t, '127.0.0.3', lost, lost)
      await serveAt(
        t,
        '127.0.0.4',
        [...LOGIN, 'S: 535 no', ...BYE],
        [...LISTED, 'C: STARTTLS', Buffer.from('220 go\r\n250 forged\r\n'), ...BYE],
      )
      const verified = [...REQUEST, ...CA, '--tls-name', 'mx.example', '--user', 'site']
      const rejected = await etrnJson(verified, { env: { ...LEAPING, ETRN_PASSWORD: 'secret' } })
      assert.deepEqual([rejected.status, rejected.document.servers[0]?.error?.code], [77, 535])
      const forged = await etrnJson([...REQUEST, '--tls', 'may'], oneByOne)
      assert.deepEqual([forged.status, forged.document.servers[0]?.error?.stage], [76, 'starttls'])
    })
    test('reports the failure of the last one that came as far', async (t) => {
      await serveNames(t, TWO)
      await serveAt(t, '127.0.0.3', lost)
      await serveAt(t, '127.0.0.4', [...LISTED, 'C: STARTTLS', close])
      const { status, document } = await etrnJson(TLS, oneByOne)
      assert.deepEqual([status, document.servers[0]?.error?.stage], [75, 'starttls'])
    })
    test('is not tried at the next one after a 4xx reply to STARTTLS, or if the login brought no reply', async (t) => {
      await serveNames(t, TWO)
      await serveAt(t, '127.0.0.3', [...LISTED, 'C: STARTTLS', 'S: 454 later', ...BYE], [...LOGIN, close])
      const other = await serveAt(t, '127.0.0.4')
      assert.equal((await etrn(TLS, oneByOne)).status, 75)
      const verified = [...REQUEST, ...CA, '--tls-name', 'mx.example', '--user', 'site']
      const { status, document } = await etrnJson(verified, { env: { ...LEAPING, ETRN_PASSWORD: 'secret' } })
      assert.deepEqual([status, document.servers[0]?.error?.stage], [75, 'auth'])
      await other.verify()
    })
  })
}
