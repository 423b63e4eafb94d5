import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { suite, test, type TestContext } from 'node:test'
import { etrn, leap, LEAPING, spawnEtrn } from '../helpers/command.js'
import { fixturePath } from '../helpers/files.js'
import { type Answer, nameServer } from '../helpers/name-server.js'
import { isInNamespace } from '../helpers/namespace.js'
import {
  BYE,
  close,
  type Conversation,
  HELLO,
  scripted,
  scriptedAt,
  silence,
  type Step,
} from '../helpers/scripted-server.js'
import { AT_SITE, makeSite, resolver, SITE, WORLD } from '../helpers/site.js'

const path = fixturePath
const certificate = (name: string): Step => ({
  tls: { cert: readFileSync(path(`${name}.pem`)), key: readFileSync(path(`${name}.key`)) },
})

type Looked = {
  readonly step: string
  readonly elapsedMs: number | null
  readonly ok: boolean | null
  readonly text: string
  readonly advice: string | null
}
type Document = {
  readonly exitStatus: number
  readonly servers: readonly {
    readonly seenAs: string | null
    readonly software: string | null
    readonly tls: { readonly certificate: { readonly names: string[]; readonly problem: string | null } | null } | null
    readonly error: { readonly stage: string } | null
    readonly steps: readonly Looked[]
  }[]
  readonly wayBack: readonly Looked[]
}

async function check(
  port: number,
  args: readonly string[] = [],
): Promise<Document & { readonly status: number | null }> {
  const words = ['--check', '--json', '--helo', 'gw.site.example', ...args]
  const { stdout, stderr, status } = await etrn([...words, `127.0.0.1:${port}`, 'site.example'])
  assert.notEqual(stdout, '', stderr)
  const document = JSON.parse(stdout) as Document
  assert.equal(document.exitStatus, status)
  // Every cross has its next step.
  for (const { ok, advice, step } of [...document.servers.flatMap(({ steps }) => steps), ...document.wayBack])
    assert.ok(ok !== false || (advice !== null && advice !== ''), step)
  return { ...document, status }
}

const summary = (steps: readonly Looked[] = []): string[] =>
  steps.map(({ step, ok }) => `${ok === null ? '-' : ok ? '+' : 'x'} ${step}`)

if (isInNamespace(import.meta.url)) {
  makeSite()
  const [ONE, TWO, THREE] = WORLD
  const zone = async (t: TestContext, answers: Readonly<Record<string, Answer>> = {}): Promise<void> => {
    resolver(ONE)
    await nameServer(t, answers, ONE)
  }

  suite('the way there', () => {
    const looks = (
      title: string,
      conversation: Conversation,
      args: readonly string[],
      status: number,
      expected: readonly string[],
      more: (found: Document['servers'][number]) => void = () => undefined,
    ): void =>
      void test(title, async (t) => {
        await zone(t)
        // It fails where anything but this is sent: ETRN never is.
        const server = await scripted(t, conversation)
        const done = await check(server.port, args)
        await server.verify()
        assert.equal(done.status, status)
        assert.deepEqual(summary(done.servers[0]?.steps), expected)
        if (done.servers[0] !== undefined) more(done.servers[0])
      })
    const UP = ['+ resolve', '+ connect', '+ greeting', '+ EHLO']
    looks('a server with ETRN', [...HELLO, ...BYE], [], 0, [...UP, '- address', '- TLS', '- AUTH', '+ ETRN'])
    looks(
      'one without',
      ['S: 220 mx ESMTP Exim 4.96 Tue, 24 Nov 2026', 'C: EHLO gw.site.example', 'S: 250 mx', ...BYE],
      [],
      69,
      [...UP, 'x ETRN'],
      ({ software, steps }) => {
        assert.equal(software, 'Exim 4.96')
        assert.match(steps.at(-1)?.advice ?? '', /acl_smtp_etrn/)
      },
    )
    looks('closed at once', [close], [], 75, ['+ resolve', '+ connect', 'x greeting'])
    looks('refused', ['S: 554 go away', ...BYE], [], 69, ['+ resolve', '+ connect', 'x greeting'])
    looks(
      'the address that the server sees',
      [
        'S: 220 mx',
        'C: EHLO gw.site.example',
        'S: 250-mx Hello gw [203.0.113.9], pleased to meet you',
        'S: 250 ETRN',
        ...BYE,
      ],
      [],
      0,
      [...UP, '- address', '- TLS', '- AUTH', '+ ETRN'],
      ({ seenAs, steps }) => {
        assert.equal(seenAs, '203.0.113.9')
        assert.match(steps[4]?.text ?? '', /sees 203\.0\.113\.9, not 127\.0\.0\.1: NAT/)
      },
    )
    const TLS: Step[] = [
      'S: 220 mx.example ESMTP',
      'C: EHLO gw.site.example',
      'S: 250-mx',
      'S: 250 STARTTLS',
      'C: STARTTLS',
      'S: 220 go',
    ]
    const AGAIN: Step[] = ['C: EHLO gw.site.example', 'S: 250-mx', 'S: 250-AUTH PLAIN LOGIN', 'S: 250 ETRN', ...BYE]
    const SECURE = [...UP, '+ TLS']
    looks(
      'a certificate that need not hold, and does not',
      [...TLS, certificate('self'), ...AGAIN],
      [],
      0,
      [...SECURE, '- certificate', '+ EHLO', '- address', '- AUTH', '+ ETRN'],
      ({ tls, steps }) => {
        assert.deepEqual(tls?.certificate?.names, ['mx.example', '127.0.0.1'])
        assert.match(tls.certificate.problem ?? '', /signed by itself alone/)
        assert.match(
          steps[5]?.text ?? '',
          /^for mx\.example, 127\.0\.0\.1; by CN=mx\.example; valid to 21\d\d-\d\d-\d\d \(\d+ days left\); /,
        )
        assert.match(steps[8]?.text ?? '', /no login is given; offered: PLAIN LOGIN/)
      },
    )
    looks(
      'one that holds',
      [...TLS, certificate('mx'), ...AGAIN],
      ['--tls-ca', path('ca.pem')],
      0,
      [...SECURE, '+ certificate', '+ EHLO', '- address', '- AUTH', '+ ETRN'],
      ({ tls }) => assert.equal(tls?.certificate?.problem, null),
    )
    looks(
      'one that has to hold, and does not',
      [...TLS, { ...(certificate('expired') as { tls: object }), fails: true }],
      ['--tls-ca', path('ca.pem')],
      76,
      [...UP, '+ TLS', 'x certificate'],
      ({ steps, tls }) => {
        assert.match(
          steps.at(-1)?.text ?? '',
          /^for mx\.example, 127\.0\.0\.1; .*; valid to 2020-01-02; the certificate expired/,
        )
        assert.match(tls?.certificate?.problem ?? '', /expired/)
      },
    )
    const LOGIN = ['--user', 'site', '--password-file', path('README.md'), '--auth', 'PLAIN']
    const AUTH: Step[] = ['S: 220 mx', 'C: EHLO gw.site.example', 'S: 250-mx', 'S: 250-AUTH PLAIN', 'S: 250 ETRN']
    const password = readFileSync(path('README.md'), 'utf8').split('\n')[0] ?? ''
    const plain = `C: AUTH PLAIN ${Buffer.from(`\0site\0${password}`).toString('base64')}` as const
    looks('a login', [...AUTH, plain, 'S: 235 ok', ...BYE], LOGIN, 0, [...UP, '+ AUTH', '- address', '- TLS', '+ ETRN'])
    looks(
      'a login that fails',
      [...AUTH, plain, `S: 535 no ${password}`, ...BYE],
      LOGIN,
      77,
      [...UP, 'x AUTH'],
      ({ steps }) => assert.equal(steps.at(-1)?.text, '535 no ****'),
    )
    test('an address that leads nowhere', async (t) => {
      await zone(t)
      const done = await check(1)
      assert.deepEqual([done.status, summary(done.servers[0]?.steps)], [75, ['+ resolve', 'x connect']])
    })
    test('the mail exchangers of a domain, and who is left out', async (t) => {
      await zone(t, {
        'MX site.example': {
          mx: [
            [10, 'gw.site.example'],
            [20, 'mx2.site.example'],
          ],
        },
        'A gw.site.example': { addresses: [ONE] },
        'A mx2.site.example': { addresses: ['127.0.0.1'] },
      })
      const { stdout, status } = await etrn(['--check', '--mx', 'site.example', '--helo', 'gw.site.example'])
      assert.equal(status, 68)
      assert.match(stdout, /NO MX .*nobody is left to ask: gw\.site\.example \(this site\), mx2/)
    })
    test('a step that fails took its time', async (t) => {
      await zone(t)
      const server = await scripted(t, [silence])
      const args = ['--check', '--json', '-v', `127.0.0.1:${server.port}`, 'site.example']
      const { stdout } = await spawnEtrn(args, { env: LEAPING, once: { said: 'connected to', act: leap } })
      const [found] = (JSON.parse(stdout) as Document).servers
      assert.equal(found?.steps.find(({ step }) => step === 'greeting')?.elapsedMs, 60_000)
    })
    test('the mail exchangers behind this site, each with its steps', async (t) => {
      const mx = [
        [10, 'gw.site.example'],
        [20, 'mx1.site.example'],
        [30, 'mx2.site.example'],
      ] as const
      await zone(t, {
        'MX site.example': { mx },
        'A gw.site.example': { addresses: [SITE] },
        'A mx1.site.example': { addresses: [TWO] },
        'A mx2.site.example': { addresses: [THREE] },
      })
      for (const host of [TWO, THREE]) await scriptedAt(t, { host, port: 2500 }, [...HELLO, ...BYE])
      const args = ['--check', '--mx', 'site.example', '-p', '2500', '--helo', 'gw.site.example']
      const { stdout, status } = await spawnEtrn(args, { through: AT_SITE })
      assert.equal(status, 0)
      const [exchangers = '', ...servers] = stdout.split(/^(?=\S)/m)
      assert.match(
        exchangers,
        /^the mail exchangers of site\.example\n {2}ok MX .* mx1\.site\.example, mx2\.site\.example; left out: gw\.site\.example \(this site\)\n$/,
      )
      assert.deepEqual(
        servers.map((part) => part.replace(/\n[^]*/, '')),
        [
          'mx1.site.example port 2500',
          'mx2.site.example port 2500',
          'the way back',
          'Nothing was asked of the queue: whether a name is served, only ETRN tells.',
        ],
      )
      for (const part of servers.slice(0, 2)) assert.match(part, /^ {2}ok ETRN +listed$/m)
    })
  })

  suite('the way back', () => {
    const leads = (
      title: string,
      answers: Readonly<Record<string, Answer>>,
      ok: boolean | null,
      text: RegExp,
      seen = '',
    ): void =>
      void test(title, async (t) => {
        await zone(t, answers)
        const hello: Conversation = [
          'S: 220 mx',
          'C: EHLO gw.site.example',
          `S: 250-mx Hello ${seen}`,
          'S: 250 ETRN',
          ...BYE,
        ]
        const server = await scripted(t, hello)
        await scriptedAt(t, { host: '127.0.0.1', port: 25 }, ['S: 220 gw.site.example ESMTP', ...BYE])
        const done = await check(server.port)
        const [own, way] = done.wayBack
        assert.deepEqual(
          [done.status, own?.step, own?.ok, own?.text],
          [0, 'own port 25', true, 'gw.site.example ESMTP'],
        )
        assert.deepEqual([way?.step, way?.ok], ['site.example', ok])
        assert.match(way?.text ?? '', text)
      })
    const MX = { 'MX site.example': { mx: [[10, 'gw.site.example']] as const } }
    const AWAY = { ...MX, 'A gw.site.example': { addresses: ['198.51.100.7'] } }
    leads(
      'the MX is this host',
      { ...MX, 'A gw.site.example': { addresses: [TWO] } },
      true,
      /gw\.site\.example \(192\.0\.2\.2\): 192\.0\.2\.2 is this site$/,
    )
    leads('without MX, the domain', { 'A site.example': { addresses: [TWO] } }, true, /^site\.example \(/)
    leads('behind NAT, as the server sees it', AWAY, true, /198\.51\.100\.7 is this site$/, '[198.51.100.7]')
    leads('elsewhere', AWAY, false, /not 203\.0\.113\.9, where the server sees this site$/, '[203.0.113.9]')
    leads('elsewhere, perhaps', AWAY, null, /no address of this machine; behind NAT it may be right/)
    leads('an MX without an address', { ...MX, 'TXT gw.site.example': {} }, null, /gw\.site\.example \(no address\)/)
    leads('a null MX', { 'MX site.example': { mx: [[0, '.']] } }, false, /a null MX/)
    leads('no such domain', {}, false, /no such host: site\.example/)
    leads('a DNS that fails', { 'MX site.example': { rcode: 'SERVFAIL' } }, null, /fails/)
    test('a private address of this site, where the server has a public one', async (t) => {
      await zone(t, { ...MX, 'A gw.site.example': { addresses: ['127.0.0.1'] } })
      await scriptedAt(t, { host: TWO, port: 2500 }, [...HELLO, ...BYE])
      const { stdout } = await etrn(['--check', '--helo', 'gw.site.example', `${TWO}:2500`, 'site.example'])
      assert.match(stdout, /^ {2}-- site\.example .*: 127\.0\.0\.1 is this site, but a private address$/m)
    })
    test('the server itself is the only MX', async (t) => {
      await zone(t, { ...MX, 'A gw.site.example': { addresses: [TWO] } })
      await scriptedAt(t, { host: TWO, port: 2500 }, [...HELLO, ...BYE])
      const args = ['--check', '--helo', 'gw.site.example', `${TWO}:2500`, 'site.example']
      const { stdout } = await spawnEtrn(args, { through: AT_SITE })
      assert.match(
        stdout,
        /^ {2}-- site\.example .*: the server itself, which has to have a route of its own to this site$/m,
      )
    })
    test('no mail server here', async (t) => {
      await zone(t)
      const server = await scripted(t, [...HELLO, ...BYE])
      const done = await check(server.port)
      assert.deepEqual([done.status, done.wayBack[0]?.ok], [0, false])
      assert.match(done.wayBack[0]?.advice ?? '', /--wait-local/)
    })
    test('a few names of many', async (t) => {
      await zone(t)
      const server = await scripted(t, [...HELLO, ...BYE])
      const names = Array.from({ length: 30 }, (_, n) => ['--subdomains', `n${n}.example`]).flat()
      const done = await check(server.port, names)
      assert.deepEqual([done.wayBack.length, done.wayBack.at(-1)?.text], [22, '11 more were not looked up'])
    })
  })

  test('a bad line of a list: 65, and its place in the JSON', async (t) => {
    await zone(t)
    const server = await scripted(t, [...HELLO, ...BYE])
    const args = ['--check', '--json', '--helo', 'gw.site.example', '--names-from', '-', `127.0.0.1:${server.port}`]
    const { stdout, status } = await etrn(args, { input: 'a.example\na b\n' })
    const { servers } = JSON.parse(stdout) as { servers: { names: { name: string; outcome: string | null }[] }[] }
    assert.equal(status, 65)
    assert.deepEqual(
      servers[0]?.names.map(({ name, outcome }) => [name, outcome]),
      [
        ['a.example', null],
        ['a b', 'rejected'],
      ],
    )
  })
  test('a NAT that leads back to this site is no failure, as little as in a real run', async (t) => {
    await zone(t, {
      'MX site.example': {
        mx: [
          [10, 'mx1.site.example'],
          [20, 'mx2.site.example'],
        ],
      },
      'A mx1.site.example': { addresses: [TWO] },
      'A mx2.site.example': { addresses: [THREE] },
    })
    await scriptedAt(t, { host: TWO, port: 2500 }, ['S: 220 gw.site.example ESMTP', ...BYE])
    await scriptedAt(t, { host: THREE, port: 2500 }, [...HELLO, ...BYE])
    const args = ['--check', '--mx', 'site.example', '-p', '2500', '--helo', 'gw.site.example.']
    const { stdout, status } = await spawnEtrn(args, { through: AT_SITE })
    assert.equal(status, 0)
    assert.match(stdout, /^ {2}-- greeting .* this is gw\.site\.example, this site itself$/m)
  })
  test('--max-time and signals end the way back as well', async (t) => {
    await zone(t, Object.fromEntries(['a', 'b', 'c'].map((name) => [`MX ${name}.example`, { silent: true as const }])))
    const server = await scripted(t, [...HELLO, ...BYE], [...HELLO, ...BYE])
    const args = ['--check', '--helo', 'gw.site.example', '--json', '-v', `127.0.0.1:${server.port}`]
    const names = ['a.example', 'b.example', 'c.example']
    const timed = await etrn(['--max-time', '4s', ...args, ...names])
    assert.equal((JSON.parse(timed.stdout) as Document).wayBack.length, 2)
    const run = await etrn([...args, ...names], {
      once: { said: 'C: QUIT', act: (child) => void child.kill('SIGTERM') },
    })
    assert.deepEqual([run.signal, (JSON.parse(run.stdout) as Document).exitStatus], ['SIGTERM', 143])
  })
  test('what a server shows of our address: the last one counts, in any form', async (t) => {
    await zone(t)
    const hello = (line: string): Conversation => [
      'S: 220 mx',
      'C: EHLO gw.site.example',
      `S: 250-${line}`,
      'S: 250 ETRN',
      ...BYE,
    ]
    const server = await scripted(
      t,
      hello('mx Hello [127.0.0.1] [203.0.113.7]'),
      hello('mx Hello [IPv6:2001:DB8:0:0:0:0:0:1]'),
    )
    assert.equal((await check(server.port)).servers[0]?.seenAs, '203.0.113.7')
    assert.equal((await check(server.port)).servers[0]?.seenAs, '2001:db8::1')
  })

  test('what a real run would end with before it asks anybody', async (t) => {
    await zone(t)
    const server = await scripted(t, [...HELLO, ...BYE], [...HELLO, ...BYE])
    const args = ['--check', '--helo', 'gw.site.example', `127.0.0.1:${server.port}`]
    assert.equal((await etrn(args)).status, 64)
    assert.equal((await etrn(['--wait-local', '5s', ...args, '#q'])).status, 75)
    assert.equal((await etrn(['--check', '127.0.0.1:1', '--names-from', '-'], { input: 'a b\n' })).status, 65)
  })

  test('as text: a line a step, ticks where the terminal has them', async (t) => {
    await zone(t)
    const server = await scripted(t, [...HELLO, ...BYE], [...HELLO, ...BYE], [...HELLO, ...BYE])
    const args = ['--check', '--helo', 'gw.site.example', `127.0.0.1:${server.port}`, '#q']
    const { stdout, stderr } = await etrn(args, { env: { LANG: 'de_DE.UTF-8' } })
    assert.equal(stderr, '')
    assert.equal(
      stdout.replace(/ +\d+ ms/g, ' N ms'),
      `127.0.0.1:${server.port}: 127.0.0.1 port ${server.port}
  ✔ resolve N ms  127.0.0.1
  ✔ connect N ms  127.0.0.1, from 127.0.0.1
  ✔ greeting N ms  mx.example ESMTP
  ✔ EHLO N ms  ETRN
  – address                127.0.0.1 is a private address
  – TLS                    not offered: everything goes in clear
  – AUTH                   no login is given; none is offered
  ✔ ETRN                   listed
the way back
  ✘ own port 25 N ms  127.0.0.1 port 25: connection refused
     start the mail server; --wait-local waits for it
Nothing was asked of the queue: whether a name is served, only ETRN tells.
`,
    )
    assert.match((await etrn(args)).stdout, /^ {2}ok resolve .*[^]*^ {2}NO own port 25/m)
    assert.equal((await etrn(['-q', ...args])).stdout, '')
    const away = ['--check', '127.0.0.1:1', '#q']
    assert.equal((await etrn(['-q', ...away])).stdout, '127.0.0.1:1: connect: 127.0.0.1 port 1: connection refused\n')
    assert.equal((await etrn(['-qq', ...away])).stdout, '')
  })

  suite('--wait-local', () => {
    const asked: Conversation = [...HELLO, 'C: ETRN site.example', 'S: 250 OK', ...BYE]
    const wait = async (port: number, time: string, ...more: string[]) =>
      etrn(['--wait-local', time, '--helo', 'gw.site.example', ...more, `127.0.0.1:${port}`, 'site.example'])
    test('one address greets, the other is silent: nobody waits for it', { timeout: 50_000 }, async (t) => {
      const server = await scripted(t, asked)
      await scriptedAt(t, { host: '127.0.0.1', port: 25 }, ['S: 220 gw', ...BYE])
      await scriptedAt(t, { host: '::1', port: 25, isLoose: true }, [silence])
      assert.equal((await wait(server.port, '60s')).status, 0)
    })
    test("until this host's own server greets with 220", async (t) => {
      const server = await scripted(t, asked)
      const own = await scriptedAt(
        t,
        { host: '127.0.0.1', port: 25 },
        ['S: 421 starting', ...BYE],
        ['S: 220 gw', ...BYE],
      )
      const run = await wait(server.port, '20s', '-v')
      await own.verify()
      assert.equal(run.status, 0)
      assert.match(run.stderr, /^\S+Z this host's own mail server: 421 starting; again at /)
    })
    test('on IPv6 alone', async (t) => {
      const server = await scripted(t, asked)
      await scriptedAt(t, { host: '::1', port: 25 }, ['S: 220 gw', ...BYE])
      assert.equal((await wait(server.port, '20s')).status, 0)
    })
    test('the time is over: 75, and nobody is asked', async (t) => {
      const server = await scripted(t)
      const run = await wait(server.port, '1s')
      assert.deepEqual([run.status, run.stdout], [75, ''])
      assert.match(
        run.stderr,
        /connect: this host's own mail server: 127\.0\.0\.1 port 25: connection refused; no answer for site\.example$/m,
      )
    })
  })
}
