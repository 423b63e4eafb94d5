import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { suite, test, type TestContext } from 'node:test'
import { unmapAddress } from '../../src/net/address.js'
import { SessionError, type Stage } from '../../src/smtp/errors.js'
import { openSession } from '../../src/smtp/session.js'
import type { TraceEvent } from '../../src/smtp/trace.js'
import { etrn, etrnJson, LEAPING } from '../helpers/command.js'
import { fixture } from '../helpers/files.js'
import { isInNamespace } from '../helpers/namespace.js'
import { BYE, reset, scripted } from '../helpers/scripted-server.js'
import { ACCEPTED, PORT, REQUEST, runIp, serveAt, serveNames, writeHosts } from '../net/network.js'
import { HELLO, OPTIONS, serverAt } from './plain-session.js'
import { certificateStep, testFailed } from './tls-server.js'

if (isInNamespace(import.meta.url)) testAddresses()
else testReplies()

function testReplies(): void {
  suite('a session ends after', { concurrency: true }, () => {
    for (const [title, steps, stage, status] of [
      ['greeting 554', ['S: 554 no'], 'greeting', 69],
      ['greeting 450', ['S: 450 later'], 'greeting', 75],
      ['greeting 220-, then 521', ['S: 220-mx ESMTP Postfix', 'S: 521 5.7.1 blocked'], 'greeting', 69],
      ['greeting 220-, then 421', ['S: 220-mx ESMTP Postfix', 'S: 421 4.7.0 busy'], 'greeting', 75],
      ['greeting 220-, then 250', ['S: 220-mx ESMTP Postfix', 'S: 250 mx'], 'greeting', 76],
      ['greeting 250', ['S: 250 ok'], 'greeting', 76],
      ['greeting 221', ['S: 221 bye'], 'greeting', 76],
      ['EHLO reply 502', ['S: 220 mx', HELLO, 'S: 502 no'], 'ehlo', 69],
      ['EHLO reply 450', ['S: 220 mx', HELLO, 'S: 450 later'], 'ehlo', 75],
      ['EHLO reply 220', ['S: 220 mx', HELLO, 'S: 220 mx'], 'ehlo', 76],
    ] as const) {
      testFailed(`${title}: QUIT, and ${status} at the stage ${stage}`, [...steps, ...BYE], [], stage, /./, status)
    }
  })

  suite('a server that may be this host', { concurrency: true }, () => {
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
          assert.match(error.hint ?? '', /the MX records/)
          assert.ok(error.message.includes(name))
          return true
        })
        await server.verify()
      })
    }
    for (const [title, inner, isSelf] of [
      ['takes a server for another host if only its unencrypted name', 'mx.example', false],
      ['rejects a server if its name within TLS', 'gw.site.example', true],
    ] as const)
      test(`${title} is that of this host, and TLS must be verified`, async (t) => {
        const server = await scripted(t, [
          'S: 220 gw.site.example ESMTP',
          HELLO,
          'S: 250-gw.site.example',
          'S: 250-STARTTLS',
          'S: 250 ETRN',
          'C: STARTTLS',
          'S: 220 go ahead',
          certificateStep('mx'),
          HELLO,
          `S: 250-${inner}`,
          'S: 250 ETRN',
          ...BYE,
        ])
        const plain = serverAt(server.port)
        const tls = { ...plain.tls, level: 'verify', ca: fixture('ca.pem') } as const
        const opened = openSession({ ...plain, tls }, OPTIONS)
        if (isSelf)
          await assert.rejects(opened, (error) => {
            assert.ok(error instanceof SessionError)
            assert.deepEqual([error.stage, error.kind], ['ehlo', 'self'])
            return true
          })
        else await (await opened).quit()
        await server.verify()
      })
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
    test("takes a server that greets with another host's name and repeats the name that EHLO gave", async (t) => {
      const hello = [HELLO, 'S: 250-gw.site.example hello', 'S: 250-STARTTLS', 'S: 250 ETRN'] as const
      const agreed = ['C: STARTTLS', 'S: 220 go ahead', certificateStep('mx')] as const
      const server = await scripted(t, ['S: 220 mx2.isp.example ESMTP', ...hello, ...agreed, ...hello, ...BYE])
      const plain = serverAt(server.port)
      const session = await openSession({ ...plain, tls: { ...plain.tls, level: 'encrypt' } }, OPTIONS)
      await session.quit()
      await server.verify()
    })
  })

  test('a session traces its steps, the replies and what they say, in order', async (t) => {
    const server = await scripted(t, ['S: 220 mx hello', HELLO, 'S: 250-mx', 'S: 250 ETRN', ...BYE])
    const events: TraceEvent[] = []
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
}

function testAddresses(): void {
  // No address is slow to connect for a clock that stands still, so none is tried beside another.
  const oneByOne = { env: LEAPING }
  const THREE = { 'A mail.example': { addresses: ['127.0.0.3', '127.0.0.4', '127.0.0.5'] } }
  const TWO = { 'A mail.example': { addresses: ['127.0.0.3', '127.0.0.4'] } }

  suite('a mail exchanger', () => {
    const exchanger = { ...serverAt(PORT), host: 'mx.example', isExchanger: true } as const
    const isSelf = (stage: Stage) => (error: unknown) => {
      assert.ok(error instanceof SessionError)
      assert.deepEqual([error.stage, error.exitStatus, error.kind], [stage, 68, 'self'])
      return true
    }
    test('is not connected to if one of its addresses is of this host', async (t) => {
      await serveNames(t, { 'A mx.example': { addresses: ['192.0.2.9', '127.0.0.1'] } })
      await serveAt(t, '127.0.0.1')
      await assert.rejects(openSession(exchanger, OPTIONS), isSelf('dns'))
    })
    test('is not connected to if --self gives one of its addresses, in any notation', async (t) => {
      await serveNames(t, { 'A mx.example': { addresses: ['192.0.2.9'] } })
      await assert.rejects(openSession(exchanger, { ...OPTIONS, self: ['::ffff:c000:209'] }), isSelf('dns'))
    })
    test('is sent nothing if its address has become one of this host since the lookup', async (t) => {
      await serveNames(t, { 'A mx.example': { addresses: ['192.0.2.77'] } })
      const own = createServer((socket) => socket.on('data', (octets) => assert.fail(octets.toString())))
      own.listen(PORT, '0.0.0.0')
      t.after(() => own.close())
      await once(own, 'listening')
      const trace = (event: TraceEvent): void => {
        if (event.type === 'connecting') runIp('addr add 192.0.2.77/32 dev lo')
      }
      t.after(() => runIp('addr del 192.0.2.77/32 dev lo'))
      await assert.rejects(openSession(exchanger, { ...OPTIONS, trace }), isSelf('connect'))
    })
  })

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
}
