import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { suite, test } from 'node:test'
import { StepError } from '../../src/errors.js'
import { connect } from '../../src/net/connect.js'
import { openSession } from '../../src/smtp/session.js'
import { etrn, etrnJson, LEAPING } from '../helpers/command.js'
import { isInNamespace } from '../helpers/namespace.js'
import { BYE } from '../helpers/scripted-server.js'
import { OPTIONS as SESSION_OPTIONS, serverAt } from '../smtp/plain-session.js'
import { ACCEPTED, addBlackHole, OWN_ADDRESS, PORT, REQUEST, runIp, serveAt, serveNames } from './network.js'

/** Where the time must run out. */
const SHORT_TIMEOUT = ['--timeout', '2s']
type ConnectOptions = Parameters<typeof connect>[2]

const OPTIONS: ConnectOptions = {
  timeoutMs: 10_000,
  signal: new AbortController().signal,
  local: undefined,
  onAttempt: () => undefined,
}

const connectTo = async (
  addresses: readonly string[],
  options: Partial<ConnectOptions> = {},
  late: Promise<readonly string[]> = Promise.resolve([]),
): Promise<string> => {
  const { socket, address } = await connect({ first: addresses, late }, PORT, { ...OPTIONS, ...options })
  socket.destroy()
  return address
}

if (isInNamespace(import.meta.url)) {
  addBlackHole()

  suite('the address that is used', () => {
    const BOTH = { 'A mail.example': { addresses: ['127.0.0.1'] }, 'AAAA mail.example': { addresses: ['::1'] } }
    for (const [title, answers, host] of [
      ['is the IPv4 address if the IPv6 address refuses', BOTH, '127.0.0.1'],
      [
        'is the next address if the first one refuses',
        { 'A mail.example': { addresses: ['127.0.0.8', '127.0.0.9'] } },
        '127.0.0.9',
      ],
      [
        'is that of a late AAAA answer if the A record refuses',
        { ...BOTH, 'AAAA mail.example': { addresses: ['::1'], afterMs: 400 } },
        '::1',
      ],
      [
        'is the next address if the first one is silent',
        { 'A mail.example': { addresses: ['192.0.2.9', '127.0.0.1'] } },
        '127.0.0.1',
      ],
    ] as const) {
      test(title, async (t) => {
        await serveNames(t, answers)
        const server = await serveAt(t, host, ACCEPTED)
        const run = await etrnJson(REQUEST)
        await server.verify()
        assert.deepEqual([run.status, run.document.servers[0]?.address], [0, host])
      })
    }
    test('is the fourth one within --timeout 2s if three addresses are silent', async (t) => {
      await serveNames(t, { 'A mail.example': { addresses: ['192.0.2.1', '192.0.2.2', '192.0.2.3', '127.0.0.1'] } })
      await serveAt(t, '127.0.0.1', ACCEPTED)
      assert.equal((await etrn([...REQUEST, ...SHORT_TIMEOUT])).status, 0)
    })
    test('is the only one that is tried if it accepts', async (t) => {
      await serveNames(t, { 'A mail.example': { addresses: ['127.0.0.1', '127.0.0.3', '127.0.0.4'] } })
      await serveAt(t, '127.0.0.1', ACCEPTED)
      // The clock stands still: no address is slow enough to have the next one tried beside it.
      const { stderr } = await etrn(['-v', ...REQUEST], { env: LEAPING })
      assert.deepEqual(stderr.match(/connecting to \S+/g), ['connecting to 127.0.0.1'])
    })
  })

  suite('the failure to connect', () => {
    test('is "no connection within 2s", with the address, if the only one is silent', async (t) => {
      await serveNames(t, { 'A mail.example': { addresses: ['192.0.2.9'] } })
      const run = await etrnJson([...REQUEST, ...SHORT_TIMEOUT])
      assert.equal(run.status, 75)
      assert.deepEqual(run.document.servers[0]?.error?.message, 'no connection within 2s (192.0.2.9 port 2500)')
    })
    test('is one line if 20 addresses refuse', async (t) => {
      await serveNames(t, { 'A mail.example': { addresses: Array.from({ length: 20 }, (_, i) => `127.0.1.${i}`) } })
      const run = await etrn([...REQUEST, '-q'])
      assert.equal(run.status, 75)
      assert.match(
        run.stderr,
        /^etrn: mail\.example:2500: connection refused \(127\.0\.1\.0, [^\n]* port 2500\)[^\n]*\n(?:hint: [^\n]*\n)?$/,
      )
    })
    test('names the first four addresses that failed, in order', async () => {
      const addresses = ['127.0.1.1', '127.0.1.2', '127.0.1.3', '127.0.1.4', '127.0.1.5']
      await assert.rejects(connectTo(addresses), (error) => {
        assert.ok(error instanceof StepError)
        const message = 'connection refused (127.0.1.1, 127.0.1.2, 127.0.1.3, 127.0.1.4 port 2500)'
        assert.deepEqual([error.message, error.exitStatus, error.kind], [message, 75, undefined])
        return true
      })
    })
    test('names the addresses that are silent, and those that failed before the time was over', async () => {
      await assert.rejects(
        connectTo(['127.0.1.1', '192.0.2.9'], { timeoutMs: 1000 }),
        (error) =>
          error instanceof StepError &&
          error.exitStatus === 75 &&
          error.message === 'no connection within 1s (192.0.2.9 port 2500); connection refused (127.0.1.1 port 2500)',
      )
    })
    test('is "no route" or "network unreachable" as the system says', async () => {
      runIp('route add unreachable 203.0.113.0/24')
      await assert.rejects(connectTo(['203.0.113.1']), /^StepError: no route to the host \(203\.0\.113\.1 port 2500\)$/)
      await assert.rejects(connectTo(['100.64.0.1']), /^StepError: network unreachable \(100\.64\.0\.1 port 2500\)$/)
    })
    const testHint = (title: string, addresses: readonly string[], timeoutMs: number, hint: string | undefined): void =>
      void test(`has the hint ${title}`, async () => {
        const options = { timeoutMs }
        await assert.rejects(connectTo(addresses, options), (error) => {
          assert.ok(error instanceof StepError)
          assert.equal(error.hint, hint)
          return true
        })
      })
    const REFUSED_HINT =
      'no mail server listens on port 2500, or a firewall rejects the connection: check the host and the port with your provider; --retry-for 10m waits for a server that is restarting'
    const DROPPED_HINT = 'a firewall may be dropping the connection; check the host and the port'
    testHint('to check the port if one address refuses', ['127.0.1.1', '192.0.2.9'], 1000, REFUSED_HINT)
    testHint('to raise a short timeout', ['192.0.2.9'], 300, `try --timeout 60s; ${DROPPED_HINT}`)
    testHint(
      'to raise it if another address is unreachable',
      ['100.64.0.1', '192.0.2.9'],
      500,
      `try --timeout 60s; ${DROPPED_HINT}`,
    )
    test('has the hint to check the routes if one of them is a black hole', async () => {
      runIp('route add blackhole 198.51.100.7')
      await assert.rejects(connectTo(['198.51.100.7']), (error) => {
        assert.ok(error instanceof StepError)
        assert.equal(error.message, 'address not usable (198.51.100.7 port 2500)')
        assert.equal(error.hint, 'check the firewall and the routes of this host')
        return true
      })
    })
    testHint(
      'to check the link if no route leads there',
      ['100.64.0.1'],
      1000,
      'check that the link (or VPN) that leads to the server is up; --retry-for 10m waits for the link',
    )
    testHint(
      'to check for IPv6 if no route leads to an IPv6 address',
      ['2001:db8:ffff::1'],
      1000,
      'check that the link (or VPN) that leads to the server is up and has IPv6; --retry-for 10m waits for the link',
    )
    test('does not suggest a longer timeout if it was ample, and names the blocked port 25', async (t) => {
      t.mock.timers.enable({ apis: ['setTimeout'] })
      const attempt = connect({ first: ['192.0.2.9'], late: Promise.resolve([]) }, 25, {
        ...OPTIONS,
        timeoutMs: 60_000,
        onAttempt: () => setImmediate(() => t.mock.timers.tick(60_000)),
      })
      await assert.rejects(attempt, (error) => {
        assert.ok(error instanceof StepError)
        assert.deepEqual(
          [error.message, error.hint],
          [
            'no connection within 60s (192.0.2.9 port 25)',
            'a firewall may be dropping the connection; port 25 is often blocked: ask your provider for another port',
          ],
        )
        return true
      })
    })
    test("has its signal's reason and kind if the signal aborts", async () => {
      const controller = new AbortController()
      const reason = new StepError('stopped', { exitStatus: 69, kind: 'interrupted' })
      const attempt = connectTo(['192.0.2.9'], {
        signal: controller.signal,
        onAttempt: () => setImmediate(() => controller.abort(reason)),
      })
      await assert.rejects(attempt, (error) => {
        assert.ok(error instanceof StepError)
        assert.deepEqual([error.message, error.exitStatus, error.kind], ['stopped', 69, 'interrupted'])
        return true
      })
    })
    test('comes without an attempt if the signal has aborted', async () => {
      const signal = AbortSignal.abort(new StepError('stopped', { exitStatus: 69, kind: 'interrupted' }))
      const tried: string[] = []
      const attempt = connectTo(['127.0.0.1'], { signal, onAttempt: (address) => tried.push(address) })
      await assert.rejects(attempt, /^StepError: stopped$/)
      assert.deepEqual(tried, [])
    })
  })

  test('connect abandons the attempts that lost', async (t) => {
    const server = createServer((socket) => socket.destroy()).listen(PORT, '127.0.0.1')
    t.after(() => server.close())
    await once(server, 'listening')
    assert.equal(await connectTo(['192.0.2.9', '127.0.0.1']), '127.0.0.1')
    assert.deepEqual(
      process.getActiveResourcesInfo().filter((name) => name === 'TCPConnectWrap'),
      [],
    )
  })

  suite('--interface', () => {
    const connectsFrom = (local: string, address: string): void =>
      void test(`${local} connects from ${address}`, async (t) => {
        const server = createServer((socket) => {
          assert.equal(socket.remoteAddress, address)
          socket.end('554 enough\r\n')
        }).listen(PORT, '127.0.0.1')
        t.after(() => server.close())
        await once(server, 'listening')
        assert.equal((await etrn([`127.0.0.1:${PORT}`, 'site.example', '--interface', local])).status, 69)
      })
    connectsFrom('127.0.0.66', '127.0.0.66')
    connectsFrom('lo', '127.0.0.1')
    const fails = (local: string, message: RegExp): void =>
      void test(`${local} fails with 75 if this host has no such end`, async () => {
        const run = await etrnJson([`127.0.0.1:${PORT}`, 'site.example', '--interface', local])
        assert.equal(run.status, 75)
        assert.match(run.document.servers[0]?.error?.message ?? '', message)
      })
    fails('ppp0', /the interface ppp0 does not exist/)
    fails('198.51.100.7', /^no interface has the address 198\.51\.100\.7$/)
    fails('::1', /^can't connect from ::1 to an IPv4 address$/)
    test('NAME uses no link-local address to connect to a global one', async (t) => {
      runIp('link add both0 type veth peer name both1')
      runIp('link set both1 up')
      runIp('link set both0 up')
      runIp('address add fe80::26/64 dev both0 nodad')
      const server = createServer((socket) => socket.destroy()).listen(PORT, '::')
      t.after(() => server.close())
      await once(server, 'listening')
      await assert.rejects(connectTo(['::1'], { local: 'both0' }), /the interface both0 has no IPv6 address/)
      runIp('address add 2001:db8::26/64 dev both0 nodad')
      const { socket } = await connect({ first: ['::1'], late: Promise.resolve([]) }, PORT, {
        ...OPTIONS,
        local: 'both0',
      })
      assert.equal(socket.localAddress, '2001:db8::26')
      socket.destroy()
    })
    test('gives a link-local end its scope, from the server, the interface or this host', async (t) => {
      runIp('link add link0 type veth peer name link1')
      for (const name of ['link0', 'link1']) runIp(`link set ${name} addrgenmode none up`)
      runIp('address add fe80::31/64 dev link0 nodad')
      runIp('address add fe80::32/64 dev link1 nodad')
      const server = createServer((socket) => socket.destroy()).listen(PORT, '::')
      t.after(() => server.close())
      await once(server, 'listening')
      for (const [address, local] of [
        ['fe80::32%link0', 'fe80::31'],
        ['fe80::32%link0', 'fe80::31%link0'],
        ['fe80::32%link0', 'link0'],
        ['fe80::32', 'link0'],
        ['fe80::32', 'fe80::31'],
        ['fe80::32', 'fe80::31%link0'],
        ['fe80::32', 'FE80:0::31'],
      ] as const) {
        const { socket } = await connect({ first: [address], late: Promise.resolve([]) }, PORT, { ...OPTIONS, local })
        assert.equal(socket.localAddress?.split('%')[0], 'fe80::31', `${local} to ${address}`)
        socket.destroy()
      }
      await assert.rejects(
        connectTo(['fe80::32%link0'], { local: 'fe80::31%link1' }),
        /has the address fe80::31%link1$/,
      )
      await assert.rejects(
        connectTo(['fe80::32%link0'], { local: 'fe80::39' }),
        /no interface has the address fe80::39/,
      )
    })
    test('::ffff:127.0.0.66 connects from 127.0.0.66, and EHLO shows it as IPv4', async (t) => {
      await serveAt(t, '127.0.0.1', ['S: 220 mx', 'C: EHLO [127.0.0.66]', 'S: 554 no', ...BYE])
      const server = { ...serverAt(PORT), host: '::ffff:127.0.0.1' }
      const options = { ...SESSION_OPTIONS, helo: undefined, local: '::ffff:127.0.0.66' }
      await assert.rejects(openSession(server, options), /554 no/)
    })
    test(`NAME fails with 75 if the interface has no address of the server's family`, async () => {
      await assert.rejects(
        connectTo(['::1'], { local: 'hole1' }),
        /there is no interface hole1 with an address|no IPv6/,
      )
      await assert.rejects(connectTo([OWN_ADDRESS], { local: 'both0' }), /the interface both0 has no IPv4 address/)
    })
    test('with a control character is a usage error', async () => {
      assert.equal((await etrn([`127.0.0.1:${PORT}`, 'site.example', '--interface', 'a\x1bb'])).status, 64)
    })
  })
}
