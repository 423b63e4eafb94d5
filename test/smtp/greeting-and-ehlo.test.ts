import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { userInfo } from 'node:os'
import { suite, test } from 'node:test'
import { SessionError, type Stage } from '../../src/smtp/errors.js'
import { openSession } from '../../src/smtp/session.js'
import type { TraceEvent } from '../../src/smtp/trace.js'
import { etrn, etrnJson } from '../helpers/command.js'
import { fixture } from '../helpers/files.js'
import { isInNamespace } from '../helpers/namespace.js'
import { BYE, close, loose, reset, scripted, scriptedAt } from '../helpers/scripted-server.js'
import { PORT, runIp, serveAt, serveNames } from '../net/network.js'
import { HELLO, OPTIONS, serverAt } from './plain-session.js'
import { certificateStep, testFailed } from './tls-server.js'

const HELO = ['--helo', 'gw.site.example']

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
    for (const [reply, status] of [
      ['501 gw.site.example is not acceptable', 69],
      ['450 gw.site.example greylisted', 75],
      ['421 gw.site.example try later', 75],
    ] as const)
      test(`takes a server for another host if it rejects EHLO with ${reply}`, async (t) => {
        const server = await scripted(t, ['S: 220 mx1 ESMTP', HELLO, `S: ${reply}`, ...BYE])
        await assert.rejects(openSession(serverAt(server.port), OPTIONS), (error) => {
          assert.ok(error instanceof SessionError)
          assert.deepEqual([error.stage, error.exitStatus, error.kind], ['ehlo', status, undefined])
          return true
        })
        await server.verify()
      })
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

  const login = ['--tls', 'may', '--user', 'site']
  const options = { env: { ETRN_PASSWORD: 'secret' } }

  suite('a server on this host that closes the connection before a login', { concurrency: true }, () => {
    for (const [title, steps, stage, status] of [
      ['with 421', ['S: 421 busy', close], 'greeting', 75],
      ['with 554', ['S: 554 no', close], 'greeting', 69],
      ['after its greeting', ['S: 220 mx', HELLO, close], 'ehlo', 75],
      ['with a reset after its greeting', ['S: 220 mx', reset], null, 75],
      ['after its reply to EHLO', ['S: 220 mx', HELLO, 'S: 250-mx', 'S: 250 AUTH PLAIN', close], 'auth', 75],
    ] as const)
      test(`${title} fails as without credentials: ${status}`, async (t) => {
        const server = await loose(t, [...steps])
        const run = await etrnJson([`127.0.0.1:${server.port}`, ...HELO, ...login, 'site.example'], options)
        const error = run.document.servers[0]?.error
        assert.deepEqual([run.status, stage ?? error?.stage], [status, error?.stage])
      })
  })

  // One after the other: the user ID belongs to the whole process.
  suite('localhost', () => {
    const listenAsOther = async (server: Server, host: string): Promise<number> => {
      process.seteuid?.(54_321)
      try {
        await once(server.listen(0, host), 'listening')
      } finally {
        process.seteuid?.(0)
      }
      return (server.address() as AddressInfo).port
    }
    const skip = userInfo().uid !== 0 && 'only root can listen as another user'
    test('gets no password if another user has left the port to the mail server since', { skip }, async (t) => {
      const sent: string[] = []
      let greet = (): void => undefined
      const squatter = createServer((socket) => {
        t.after(() => socket.destroy())
        socket.on('error', () => undefined)
        socket.on('data', (octets) => sent.push(octets.toString()))
        greet = () => void socket.write('220 mx\r\n')
      })
      const port = await listenAsOther(squatter, '127.0.0.1')
      const server = createServer()
      const takeOver = (): void => {
        squatter.close()
        server.listen(port, '127.0.0.1', () => greet())
      }
      t.after(() => server.close())
      const args = [`127.0.0.1:${port}`, ...HELO, ...login, '-v', 'site.example']
      const run = await etrn(args, { ...options, once: { said: 'connected to', act: takeOver } })
      assert.deepEqual([run.status, sent.join('')], [77, 'QUIT\r\n'])
    })
    for (const greeting of ['HTTP/1.1 400', '554 no', '421 busy'])
      test(`is not asked on 127.0.0.1 alone if another user on ::1 says "${greeting}"`, { skip }, async (t) => {
        const squatter = createServer((socket) => {
          socket.on('error', () => undefined)
          socket.on('data', (octets) => assert.doesNotMatch(octets.toString(), /EHLO|AUTH/))
          socket.write(`${greeting}\r\n`)
        })
        const port = await listenAsOther(squatter, '::1')
        t.after(() => squatter.close())
        const steps = ['S: 220 mx', HELLO, 'S: 250-mx', 'S: 250-AUTH PLAIN', 'S: 250 ETRN'] as const
        const line = `C: AUTH PLAIN ${Buffer.from('\0site\0secret').toString('base64')}` as const
        await scriptedAt(t, { host: '127.0.0.1', port }, [
          ...([...steps, line, 'S: 235 ok', 'C: ETRN site.example', 'S: 250 OK'] as const),
          ...BYE,
        ])
        assert.equal((await etrn([`localhost:${port}`, ...HELO, ...login, 'site.example'], options)).status, 0)
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
}
