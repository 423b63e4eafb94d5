import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { suite, test, type TestContext } from 'node:test'
import { etrn, etrnJson, LEAPING } from '../helpers/command.js'
import { fixturePath } from '../helpers/files.js'
import { type Answer, nameServer } from '../helpers/name-server.js'
import { isInNamespace } from '../helpers/namespace.js'
import { BYE, type Conversation, HELLO, type Scripted, scripted, scriptedAt } from '../helpers/scripted-server.js'

const ASKED: Conversation = [...HELLO, 'C: ETRN site.example', 'S: 250 OK', ...BYE]
const PORT = 2500
const ARGS = [`mail.example:${PORT}`, '--helo', 'gw.site.example', 'site.example']
/** Where it is to pass */
const LIMIT = ['--timeout', '2s']

const fixture = fixturePath
const resolvConf = (text: string): void => writeFileSync('/etc/resolv.conf', text)
const hosts = (text: string): void => writeFileSync('/etc/hosts', text)
const ip = (line: string): void => void execFileSync('ip', line.split(' '))
const hostname = (name: string): void => void execFileSync('hostname', [name])

async function zone(t: TestContext, answers: Readonly<Record<string, Answer>>): Promise<void> {
  resolvConf('nameserver 127.0.0.1\n')
  await nameServer(t, answers)
}

const at = async (t: TestContext, host: string, ...conversations: Conversation[]): Promise<Scripted> =>
  scriptedAt(t, { host, port: PORT }, ...conversations)

if (isInNamespace(import.meta.url)) {
  blackHole()
  suite('what the DNS says', () => {
    const failing = (
      title: string,
      answers: Readonly<Record<string, Answer>>,
      status: number,
      message: RegExp,
      ...options: string[]
    ): void =>
      void test(title, async (t) => {
        await zone(t, answers)
        const run = await etrnJson([...ARGS, ...options])
        const [report] = run.document.servers
        assert.deepEqual([run.status, report?.error?.stage, report?.error?.exitStatus], [status, 'dns', status])
        assert.match(report?.error?.message ?? '', message)
      })
    failing('no such host', {}, 68, /^no such host: mail\.example$/)
    failing('a host without an address', { 'MX mail.example': {} }, 68, /^mail\.example has no address$/)
    failing('no IPv6 address', { 'A mail.example': { addresses: ['127.0.0.1'] } }, 68, /no IPv6 address/, '-6')
    failing('no IPv4 address', { 'AAAA mail.example': { addresses: ['::1'] } }, 68, /no IPv4 address/, '-4')
    failing(
      'SERVFAIL',
      { 'A mail.example': { rcode: 'SERVFAIL' }, 'AAAA mail.example': { rcode: 'SERVFAIL' } },
      75,
      /SERVFAIL/,
    )
    failing(
      'REFUSED',
      { 'A mail.example': { rcode: 'REFUSED' }, 'AAAA mail.example': { rcode: 'REFUSED' } },
      75,
      /REFUSED/,
    )
    failing(
      'one of both fails: not certain',
      { 'A mail.example': {}, 'AAAA mail.example': { rcode: 'SERVFAIL' } },
      75,
      /SERVFAIL/,
    )
    failing(
      'silence',
      { 'A mail.example': { silent: true }, 'AAAA mail.example': { silent: true } },
      75,
      /silent|no answer/,
      ...LIMIT,
    )
    test('no name server', async () => {
      resolvConf('nameserver 127.0.0.9\n')
      const run = await etrnJson(ARGS)
      assert.deepEqual([run.status, run.document.servers[0]?.error?.stage], [75, 'dns'])
    })
    test('no resolv.conf', async () => {
      resolvConf('')
      const run = await etrnJson(ARGS)
      assert.deepEqual([run.status, run.document.servers[0]?.error?.stage], [75, 'dns'])
    })
  })

  suite('which address', () => {
    const reaching = (
      title: string,
      answers: Readonly<Record<string, Answer>>,
      host: string,
      ...options: string[]
    ): void =>
      void test(title, async (t) => {
        await zone(t, answers)
        const server = await at(t, host, ASKED)
        const run = await etrnJson([...ARGS, ...options])
        await server.verify()
        assert.deepEqual([run.status, run.document.servers[0]?.address], [0, host])
      })
    const BOTH = { 'A mail.example': { addresses: ['127.0.0.1'] }, 'AAAA mail.example': { addresses: ['::1'] } }
    reaching('IPv6 first', BOTH, '::1')
    reaching('-4', BOTH, '127.0.0.1', '-4')
    reaching('-6', BOTH, '::1', '-6')
    reaching('the other family where one is refused', BOTH, '127.0.0.1')
    reaching(
      'the next address where one is refused',
      { 'A mail.example': { addresses: ['127.0.0.8', '127.0.0.9'] } },
      '127.0.0.9',
    )
    reaching('A without waiting for a silent AAAA', { ...BOTH, 'AAAA mail.example': { silent: true } }, '127.0.0.1')
    reaching(
      'a late AAAA where A is refused',
      { ...BOTH, 'AAAA mail.example': { addresses: ['::1'], afterMs: 400 } },
      '::1',
    )
    reaching('AAAA without waiting for a silent A', { ...BOTH, 'A mail.example': { silent: true } }, '::1')

    test('a black hole does not hold up the next address', async (t) => {
      await zone(t, { 'A mail.example': { addresses: ['192.0.2.9', '127.0.0.1'] } })
      const server = await at(t, '127.0.0.1', ASKED)
      const run = await etrnJson(ARGS)
      await server.verify()
      assert.deepEqual([run.status, run.document.servers[0]?.address], [0, '127.0.0.1'])
    })
    test('a black hole alone ends with the time', async (t) => {
      await zone(t, { 'A mail.example': { addresses: ['192.0.2.9'] } })
      const run = await etrnJson([...ARGS, ...LIMIT])
      assert.equal(run.status, 75)
      assert.deepEqual(run.document.servers[0]?.error?.message, 'no connection within 2s')
    })
    // Where an address is slow to connect, the next one is tried beside it; here that is never.
    const inTurn = { env: LEAPING }
    test('an address that accepts is the only one tried', async (t) => {
      await zone(t, { 'A mail.example': { addresses: ['127.0.0.1', '127.0.0.3', '127.0.0.4'] } })
      await at(t, '127.0.0.1', ASKED)
      const { stderr } = await etrn(['-v', ...ARGS], inTurn)
      assert.deepEqual(stderr.match(/connecting to \S+/g), ['connecting to 127.0.0.1'])
    })
    test('a session that fails before EHLO is answered goes on with the next address', async (t) => {
      await zone(t, { 'A mail.example': { addresses: ['127.0.0.3', '127.0.0.4', '127.0.0.5'] } })
      const busy = await at(t, '127.0.0.3', ['S: 421 too many connections', ...BYE])
      const gone = await at(t, '127.0.0.4', ['S: 220 mx', 'C: EHLO gw.site.example', (socket) => socket.destroy()])
      const good = await at(t, '127.0.0.5', ASKED)
      const run = await etrnJson(ARGS, inTurn)
      for (const server of [busy, gone, good]) await server.verify()
      assert.deepEqual([run.status, run.document.servers[0]?.address], [0, '127.0.0.5'])
    })
    test('but not after a refusal, nor once EHLO is answered', async (t) => {
      await zone(t, { 'A mail.example': { addresses: ['127.0.0.3', '127.0.0.4'] } })
      await at(t, '127.0.0.3', ['S: 554 no', ...BYE], ['S: 220 mx', 'C: EHLO gw.site.example', 'S: 450 later', ...BYE])
      const other = await at(t, '127.0.0.4')
      assert.equal((await etrnJson(ARGS, inTurn)).status, 69)
      assert.equal((await etrnJson(ARGS, inTurn)).status, 75)
      await other.verify()
    })
    test('a late address is the next one, too', async (t) => {
      let connected = (): void => undefined
      const after = new Promise<void>((resolve) => (connected = resolve))
      await zone(t, {
        'A mail.example': { addresses: ['127.0.0.1'] },
        'AAAA mail.example': { addresses: ['::1'], after },
      })
      await at(t, '127.0.0.1', ['S: 421 busy', 'C: QUIT', () => connected(), 'S: 221 bye'])
      await at(t, '::1', ASKED)
      assert.equal((await etrn(ARGS, inTurn)).status, 0)
    })
    test('and is tried once', async (t) => {
      await zone(t, {
        'A mail.example': { addresses: ['127.0.0.1'] },
        'AAAA mail.example': { addresses: ['::1'], afterMs: 200 },
      })
      await at(t, '::1', ['S: 421 busy', ...BYE])
      assert.equal((await etrn(ARGS)).status, 75)
    })
    test('the newest failure is told, with its address', async (t) => {
      await zone(t, { 'A mail.example': { addresses: ['127.0.0.3', '127.0.0.4'] } })
      await at(t, '127.0.0.3', ['S: 421 busy', ...BYE])
      await at(t, '127.0.0.4', ['S: 554 no', ...BYE])
      const run = await etrnJson(ARGS, inTurn)
      const [report] = run.document.servers
      assert.deepEqual([run.status, report?.address, report?.error?.code], [69, '127.0.0.4', 554])
    })
    test('interrupted at the second address: nothing was sent', async (t) => {
      let interrupt = (): void => undefined
      await zone(t, { 'A mail.example': { addresses: ['127.0.0.3', '127.0.0.4'] } })
      await at(t, '127.0.0.3', ['S: 421 busy', ...BYE])
      await at(t, '127.0.0.4', [() => interrupt(), 'C: QUIT'])
      const run = await etrnJson(ARGS, { ...inTurn, during: (child) => (interrupt = () => void child.kill('SIGTERM')) })
      const [report] = run.document.servers
      assert.deepEqual([report?.names[0]?.outcome, report?.error?.message], ['skipped', 'interrupted by SIGTERM'])
    })
    test('three black holes cost less than a second', async (t) => {
      await zone(t, { 'A mail.example': { addresses: ['192.0.2.1', '192.0.2.2', '192.0.2.3', '127.0.0.1'] } })
      await at(t, '127.0.0.1', ASKED)
      assert.equal((await etrn([...ARGS, ...LIMIT])).status, 0)
    })
    test('many addresses', async (t) => {
      await zone(t, { 'A mail.example': { addresses: Array.from({ length: 20 }, (_, i) => `127.0.1.${i}`) } })
      const run = await etrn([...ARGS, '-q'])
      assert.equal(run.status, 75)
      assert.match(run.stderr, /^mail\.example:2500: connect: 127\.0\.1\.0 port 2500: connection refused; [^\n]*\n$/)
    })
    test('a run that is over asks the DNS nothing more', { timeout: 10_000 }, async (t) => {
      await zone(t, {
        'A a.example': { silent: true },
        'AAAA a.example': { silent: true },
        'A b.example': { silent: true },
        'AAAA b.example': { silent: true },
      })
      const run = await etrn(['a.example,b.example', 'site.example', '--jobs', '1', '--max-time', '1s'])
      assert.equal(run.status, 75)
    })
    test(
      'a name without a dot is looked up as the system does, and no longer than --timeout',
      { timeout: 8000 },
      async (t) => {
        await zone(t, { 'A mail': { silent: true }, 'AAAA mail': { silent: true } })
        resolvConf('nameserver 127.0.0.1\noptions timeout:20\n')
        const run = await etrn([`mail:${PORT}`, '--timeout', '1s', 'site.example'])
        assert.equal(run.status, 75)
        assert.match(run.stderr, /no answer from the DNS within 1s/)
      },
    )
    test("by the system's search list", async (t) => {
      await zone(t, { 'A mail.isp.example': { addresses: ['127.0.0.6'] }, 'AAAA mail.isp.example': {} })
      resolvConf('nameserver 127.0.0.1\nsearch isp.example\n')
      await at(t, '127.0.0.6', ASKED)
      assert.equal((await etrn([`mail:${PORT}`, ...ARGS.slice(1)])).status, 0)
      assert.equal((await etrn([`nowhere:${PORT}`, ...ARGS.slice(1)])).status, 68)
    })
    test('what /etc/hosts has in the other family only, the DNS is asked for', async (t) => {
      await zone(t, { 'AAAA mail.example': { addresses: ['::1'] } })
      hosts('127.0.0.7 mail.example\n')
      await at(t, '::1', ASKED)
      assert.equal((await etrn([...ARGS, '-6'])).status, 0)
      hosts('')
    })
    test('/etc/hosts comes before the DNS', async (t) => {
      await zone(t, {})
      hosts('127.0.0.7 mail.example # here\n')
      const server = await at(t, '127.0.0.7', ASKED)
      assert.equal((await etrn(ARGS)).status, 0)
      await server.verify()
    })
    test('a link-local address of /etc/hosts keeps its interface', async (t) => {
      ip('link add Lan0 type veth peer name Lan1')
      ip('link set Lan1 up')
      ip('link set Lan0 up')
      ip('address add fe80::25/64 dev Lan0 nodad')
      hosts('FE80:0::25%Lan0 Mail.Example\n')
      const server = await at(t, 'fe80::25%Lan0', ASKED)
      const { status, document } = await etrnJson(ARGS)
      assert.deepEqual([status, document.servers[0]?.address], [0, 'fe80::25%Lan0'])
      await server.verify()
    })
    test('localhost', async (t) => {
      hosts('127.0.0.1 localhost\n')
      const server = await at(t, '127.0.0.1', ASKED)
      assert.equal((await etrn([`localhost:${PORT}`, ...ARGS.slice(1)])).status, 0)
      await server.verify()
    })
  })

  suite('the local end', () => {
    const from = (local: string, address: string): void =>
      void test(`--interface ${local}`, async (t) => {
        const server = createServer((socket) => {
          assert.equal(socket.remoteAddress, address)
          socket.end('554 enough\r\n')
        }).listen(PORT, '127.0.0.1')
        t.after(() => server.close())
        await once(server, 'listening')
        assert.equal((await etrn([`127.0.0.1:${PORT}`, 'site.example', '--interface', local])).status, 69)
      })
    from('127.0.0.66', '127.0.0.66')
    from('lo', '127.0.0.1')
    const without = (local: string, message: RegExp): void =>
      void test(`--interface ${local} is not there`, async () => {
        const run = await etrnJson([`127.0.0.1:${PORT}`, 'site.example', '--interface', local])
        assert.equal(run.status, 75)
        assert.match(run.document.servers[0]?.error?.message ?? '', message)
      })
    without('ppp0', /no interface ppp0/)
    without('198.51.100.7', /not there, or not yet/)
    without('::1', /no IPv4 address/)
    test('a control character is a usage error', async () => {
      assert.equal((await etrn([`127.0.0.1:${PORT}`, 'site.example', '--interface', 'a\x1bb'])).status, 64)
    })
  })

  suite('a login to another host than this', () => {
    const AWAY = '198.51.100.1'
    const LISTED: Conversation = [
      'S: 220 mx',
      'C: EHLO gw.site.example',
      'S: 250-mx',
      'S: 250-AUTH PLAIN',
      'S: 250 ETRN',
      ...BYE,
    ]
    const kept = (title: string, options: readonly string[], status: number, message: RegExp): void =>
      void test(title, async (t) => {
        const server = await at(t, AWAY, LISTED)
        const args = [`${AWAY}:${PORT}`, '--helo', 'gw.site.example', '--user', 'site', ...options, 'site.example']
        const run = await etrn(args, { env: { ETRN_PASSWORD: 'secret' } })
        await server.verify()
        assert.equal(run.status, status)
        assert.match(run.stderr, message)
      })
    kept('wants verified TLS', [], 76, /STARTTLS: the server doesn't offer TLS, and it is demanded/)
    kept(
      'is not sent in clear',
      ['--tls', 'may'],
      77,
      /AUTH: user and password are not sent in clear; .*\n {2}--tls verify .*--tls-fingerprint/,
    )
    kept('nor where TLS is switched off', ['--tls', 'none'], 77, /not sent in clear/)
    test('nor over TLS that is not verified', async (t) => {
      const tls = { cert: readFileSync(fixture('self.pem')), key: readFileSync(fixture('self.key')) }
      const server = await at(t, AWAY, [
        'S: 220 mx',
        'C: EHLO gw.site.example',
        'S: 250-mx',
        'S: 250 STARTTLS',
        'C: STARTTLS',
        'S: 220 go',
        { tls },
        ...LISTED.slice(1),
      ])
      const args = [
        `${AWAY}:${PORT}`,
        '--helo',
        'gw.site.example',
        '--user',
        'site',
        '--tls',
        'encrypt',
        'site.example',
      ]
      const run = await etrn(args, { env: { ETRN_PASSWORD: 'secret' } })
      await server.verify()
      assert.equal(run.status, 77)
      assert.match(run.stderr, /AUTH: user and password are not sent over TLS that is not verified/)
    })
  })

  suite("this host's own name", () => {
    const named = (title: string, name: string, file: string, own: string): void =>
      void test(title, async (t) => {
        hostname(name)
        hosts(`127.0.0.1 localhost\n${file}`)
        const server = await scripted(t, [
          'S: 220 mx',
          `C: EHLO ${own}`,
          'S: 250-mx',
          'S: 250 ETRN',
          `C: ETRN ${own}`,
          'S: 250 OK',
          ...BYE,
        ])
        const run = await etrn([`127.0.0.1:${server.port}`])
        await server.verify()
        assert.equal(run.status, 0)
        assert.equal(run.stderr, `no name given: asking for ${own}\n`)
      })
    named('the host name', 'gw.site.example', '', 'gw.site.example')
    named('the dotted name of /etc/hosts', 'gw', '127.0.1.1 gw.site.example gw\n', 'gw.site.example')
    named('the first one that others know', 'gw', '10.0.0.1 gw gw.lan GW.Site.Example\n', 'gw.site.example')

    for (const [name, file] of [
      ['gw', ''],
      ['gw.local', ''],
      ['gw.lan', '10.0.0.1 gw.lan gw.site.example\n'],
      ['gw', '127.0.1.1 gw.localdomain gw.home.arpa gw\n'],
    ] as const) {
      test(`none: ${name}, ${JSON.stringify(file)}`, async (t) => {
        hostname(name)
        hosts(`127.0.0.1 localhost\n${file}`)
        const run = await etrn(['127.0.0.1'])
        assert.deepEqual([run.status, run.stdout], [64, ''])
        assert.match(run.stderr, /^etrn: no name given, and .*: type etrn SERVER NAME\n$/)
        const hello = (literal: string): Conversation => [
          'S: 220 mx',
          `C: EHLO ${literal}`,
          'S: 250-mx',
          'S: 250 ETRN',
          'C: ETRN a.example',
          'S: 250 OK',
          ...BYE,
        ]
        const four = await at(t, '127.0.0.1', hello('[127.0.0.1]'))
        assert.equal((await etrn([`127.0.0.1:${PORT}`, 'a.example'])).status, 0)
        await four.verify()
        const six = await at(t, '::1', hello('[IPv6:::1]'))
        assert.equal((await etrn([`[::1]:${PORT}`, 'a.example'])).status, 0)
        await six.verify()
      })
    }
  })
}

/** 198.51.100.1 is ours; 192.0.2.0/24 is behind a wire with nobody at its end: what is sent there is never answered. */
function blackHole(): void {
  ip('link add hole0 type veth peer name hole1')
  ip('addr add 198.51.100.1/24 dev hole0')
  ip('link set hole0 up')
  ip('link set hole1 up')
  ip('neigh add 198.51.100.2 lladdr 02:00:00:00:00:02 dev hole0')
  ip('route add 192.0.2.0/24 via 198.51.100.2')
}
