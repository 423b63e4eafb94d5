import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { etrn, etrnJson, leap, LEAPING, spawnEtrn } from '../helpers/command.js'
import { fixturePath } from '../helpers/files.js'
import { type Answer, nameServer } from '../helpers/name-server.js'
import { isInNamespace } from '../helpers/namespace.js'
import {
  BYE,
  close,
  type Conversation,
  HELLO,
  loose,
  scripted,
  scriptedAt,
  silence,
  type Step,
  type TlsStep,
} from '../helpers/scripted-server.js'
import { AT_SITE, makeSite, resolver, SITE, WORLD } from '../helpers/site.js'

/** Returns the server's handshake with the certificate of this name in test/fixtures. */
function handshakeWith(name: string): TlsStep {
  return { tls: { cert: readFileSync(fixturePath(`${name}.pem`)), key: readFileSync(fixturePath(`${name}.key`)) } }
}

type StepDocument = {
  readonly step: string
  readonly elapsedMs: number | null
  readonly ok: boolean | null
  readonly text: string
  readonly advice: string | null
}
/** What --check --json prints. */
type CheckDocument = {
  readonly exitStatus: number
  readonly servers: readonly {
    readonly seenAs: string | null
    readonly software: string | null
    readonly tls: { readonly certificate: { readonly names: string[]; readonly problem: string | null } | null } | null
    readonly error: { readonly stage: string } | null
    readonly steps: readonly StepDocument[]
  }[]
  readonly wayBack: readonly StepDocument[]
}

/** Checks the server at this port, and that each failed step has a hint. */
async function runCheck(
  port: number,
  args: readonly string[] = [],
): Promise<CheckDocument & { readonly status: number | null }> {
  const words = ['--check', '--json', '--helo', 'gw.site.example', ...args]
  const { stdout, stderr, status } = await etrn([...words, `127.0.0.1:${port}`, 'site.example'])
  assert.notEqual(stdout, '', stderr)
  const document = JSON.parse(stdout) as CheckDocument
  assert.equal(document.exitStatus, status)
  for (const { ok, advice, step } of [...document.servers.flatMap(({ steps }) => steps), ...document.wayBack])
    assert.ok(ok !== false || (advice !== null && advice !== ''), step)
  return { ...document, status }
}

/** Returns each step with its mark. */
const summaryOf = (steps: readonly StepDocument[] = []): string[] =>
  steps.map(({ step, ok }) => `${ok === null ? '-' : ok ? '+' : 'x'} ${step}`)

if (isInNamespace(import.meta.url)) {
  makeSite()
  const [ONE, TWO, THREE] = WORLD
  const serveZone = async (t: TestContext, answers: Readonly<Record<string, Answer>> = {}): Promise<void> => {
    resolver(ONE)
    await nameServer(t, answers, ONE)
  }

  suite('check: the session with a server', () => {
    const testSession = (
      title: string,
      conversation: Conversation,
      args: readonly string[],
      status: number,
      expected: readonly string[],
      assertMore: (found: CheckDocument['servers'][number]) => void = () => undefined,
    ): void =>
      void test(title, async (t) => {
        await serveZone(t)
        // The script has no ETRN, so the test fails if the command sends one.
        const server = await scripted(t, conversation)
        const done = await runCheck(server.port, args)
        await server.verify()
        assert.equal(done.status, status)
        assert.deepEqual(summaryOf(done.servers[0]?.steps), expected)
        if (done.servers[0] !== undefined) assertMore(done.servers[0])
      })
    const UP = ['+ resolve', '+ connect', '+ greeting', '+ EHLO']
    testSession('passes if the server lists ETRN, and never sends ETRN', [...HELLO, ...BYE], [], 0, [
      ...UP,
      '- address',
      '- TLS',
      '- AUTH',
      '+ ETRN',
    ])
    testSession(
      'exits with 69, with the software and its hint, if the server does not list ETRN',
      ['S: 220 mx ESMTP Exim 4.96 Tue, 24 Nov 2026', 'C: EHLO gw.site.example', 'S: 250 mx', ...BYE],
      [],
      69,
      [...UP, 'x ETRN'],
      ({ software, steps }) => {
        assert.equal(software, 'Exim 4.96')
        assert.match(steps.at(-1)?.advice ?? '', /acl_smtp_etrn/)
      },
    )
    testSession('exits with 75 if the server closes before its greeting', [close], [], 75, [
      '+ resolve',
      '+ connect',
      'x greeting',
    ])
    for (const [words, status, rest] of [
      ['250 once more', 76, BYE],
      ['hello world', 76, BYE],
      ['421 bye', 75, ['C: QUIT', close]],
    ] as const)
      testSession(
        `exits with ${status}, as a real run does, if "${words}" follows the reply to EHLO`,
        [...HELLO.slice(0, 2), Buffer.from(`250-mx.example\r\n250 ETRN\r\n${words}\r\n`), ...rest],
        [],
        status,
        [...UP, 'x ETRN'],
      )
    testSession('exits with 69 if the server greets with 554', ['S: 554 go away', ...BYE], [], 69, [
      '+ resolve',
      '+ connect',
      'x greeting',
    ])
    testSession(
      'shows the address that the server sees, and NAT',
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
        assert.match(steps[4]?.text ?? '', /sees 203\.0\.113\.9, not 127\.0\.0\.1 \(NAT\)/)
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
    testSession(
      'passes an invalid certificate that need not be valid',
      [...TLS, handshakeWith('self'), ...AGAIN],
      [],
      0,
      [...SECURE, '- certificate', '+ EHLO', '- address', '- AUTH', '+ ETRN'],
      ({ tls, steps }) => {
        assert.deepEqual(tls?.certificate?.names, ['mx.example', '127.0.0.1'])
        assert.match(tls.certificate.problem ?? '', /^self-signed certificate$/)
        assert.match(
          steps[5]?.text ?? '',
          /^self-signed certificate; for mx\.example, 127\.0\.0\.1; issued by CN=mx\.example; valid until 21\d\d-\d\d-\d\d \(\d+ days left\)$/,
        )
        assert.match(steps[8]?.text ?? '', /no credentials given; the server offers PLAIN LOGIN/)
      },
    )
    testSession(
      'passes a valid certificate',
      [...TLS, handshakeWith('mx'), ...AGAIN],
      ['--tls-ca', fixturePath('ca.pem')],
      0,
      [...SECURE, '+ certificate', '+ EHLO', '- address', '- AUTH', '+ ETRN'],
      ({ tls }) => assert.equal(tls?.certificate?.problem, null),
    )
    testSession(
      'exits with 76 and describes the certificate if a certificate that must be valid is expired',
      [...TLS, { ...handshakeWith('expired'), fails: true }],
      ['--tls-ca', fixturePath('ca.pem')],
      76,
      [...UP, '+ TLS', 'x certificate'],
      ({ steps, tls }) => {
        assert.match(
          steps.at(-1)?.text ?? '',
          /^certificate expired on 2020-01-02; for mx\.example, 127\.0\.0\.1; .*; valid until 2020-01-02$/,
        )
        assert.match(tls?.certificate?.problem ?? '', /expired/)
      },
    )
    const LOGIN = ['--user', 'site', '--password-file', fixturePath('README.md'), '--auth', 'PLAIN']
    const AUTH: Step[] = ['S: 220 mx', 'C: EHLO gw.site.example', 'S: 250-mx', 'S: 250-AUTH PLAIN', 'S: 250 ETRN']
    const password = readFileSync(fixturePath('README.md'), 'utf8').split('\n')[0] ?? ''
    const plain = `C: AUTH PLAIN ${Buffer.from(`\0site\0${password}`).toString('base64')}` as const
    testSession('passes a login', [...AUTH, plain, 'S: 235 ok', ...BYE], LOGIN, 0, [
      ...UP,
      '+ AUTH',
      '- address',
      '- TLS',
      '+ ETRN',
    ])
    testSession(
      'exits with 77 and hides the password if the login fails',
      [...AUTH, plain, `S: 535 no ${password}`, ...BYE],
      LOGIN,
      77,
      [...UP, 'x AUTH'],
      ({ steps }) => assert.equal(steps.at(-1)?.text, 'login with PLAIN rejected (535 no ****)'),
    )
    test('exits with 75 if the server refuses connections', async (t) => {
      await serveZone(t)
      const done = await runCheck(1)
      assert.deepEqual([done.status, summaryOf(done.servers[0]?.steps)], [75, ['+ resolve', 'x connect']])
    })
    test('has no hint for a step that --max-time has ended', async (t) => {
      const server = await loose(t, [silence])
      const { stdout } = await etrn([
        '--check',
        '--json',
        '--max-time',
        '1s',
        `127.0.0.1:${server.port}`,
        'site.example',
      ])
      const { servers } = JSON.parse(stdout) as CheckDocument
      const ended = servers.flatMap(({ steps }) => steps).filter(({ ok }) => ok === false)
      assert.deepEqual(
        ended.map(({ step, advice }) => [step, advice]),
        [['greeting', null]],
      )
    })
    test('measures the time of a step that fails', async (t) => {
      await serveZone(t)
      const server = await scripted(t, [silence])
      const args = ['--check', '--json', '-v', `127.0.0.1:${server.port}`, 'site.example']
      const { stdout } = await spawnEtrn(args, { env: LEAPING, once: { said: 'connected to', act: leap } })
      const [found] = (JSON.parse(stdout) as CheckDocument).servers
      assert.equal(found?.steps.find(({ step }) => step === 'greeting')?.elapsedMs, 60_000)
    })
    test('shows a warning from the session as a step, and not in -v', async (t) => {
      await serveZone(t)
      const { port } = await scripted(t, [...TLS.slice(0, -1), 'S: 454 not now', ...BYE])
      const args = ['--check', '-v', '--helo', 'gw.site.example', `127.0.0.1:${port}`, '#q']
      const { stdout, stderr } = await etrn([...args, '--assume-etrn'])
      assert.match(stdout, /^ {2}-- TLS .* STARTTLS temporarily rejected \(454 not now\); continuing without TLS/m)
      assert.doesNotMatch(stderr, /going on in clear/)
    })
    test('shows the hint for a name of this form at this server', async (t) => {
      await serveZone(t)
      const { port } = await scripted(t, ['S: 220 mx ESMTP Postfix', ...HELLO.slice(1), ...BYE])
      const { stdout } = await etrn(['--check', '--helo', 'gw.site.example', `127.0.0.1:${port}`, '@site.example'])
      assert.match(stdout, /^ {2}-- names .*Postfix ignores '@' and '#'/m)
    })
    testSession(
      'shows the hint of the failure itself if octets come before the TLS handshake',
      [...TLS.slice(0, -1), Buffer.from('220 go\r\n250 stray\r\n'), ...BYE],
      [],
      76,
      [...UP, 'x STARTTLS'],
      ({ steps }) =>
        assert.equal(
          steps.at(-1)?.advice,
          'the server or a proxy may be faulty, or this may be an attack: tell your provider',
        ),
    )
    testSession(
      'shows the last hint if there is no other for a failure',
      ['S: 354 hello', ...BYE],
      [],
      76,
      ['+ resolve', '+ connect', 'x greeting'],
      ({ steps }) => assert.equal(steps.at(-1)?.advice, 'send these lines to your provider'),
    )
    test('gives no hint if a signal ends the session', async (t) => {
      const server = await scripted(t, ['C: QUIT'])
      const args = ['--check', '--json', '-v', '--helo', 'gw.site.example', `127.0.0.1:${server.port}`, '#q']
      const run = await etrn(args, { once: { said: 'connected to', act: (child) => void child.kill('SIGTERM') } })
      const [found] = (JSON.parse(run.stdout) as CheckDocument).servers
      const failed = found?.steps.find(({ ok }) => ok === false)
      assert.deepEqual([run.signal, failed?.step, failed?.advice || null], ['SIGTERM', 'greeting', null])
    })
    test('exits with 66 and does not connect if a profile lacks its --tls-ca file', async (t) => {
      const servers = [await scripted(t), await scripted(t)]
      const folder = mkdtempSync(join(tmpdir(), 'etrn-'))
      t.after(() => rmSync(folder, { recursive: true }))
      const config = join(folder, 'config.toml')
      const profiles = servers.map(
        ({ port }, index) => `[servers.n${index}]\nserver = "127.0.0.1:${port}"\ntls-ca = "/nonexistent/ca.pem"\n`,
      )
      writeFileSync(config, `queue = ["q"]\n${profiles.join('')}`)
      const { stdout, stderr, status } = await etrn(['--check', '--config', config, '--all'])
      assert.equal(status, 66, stderr)
      assert.match(stdout, /^ {2}NO .*\/nonexistent\/ca\.pem/m)
      for (const server of servers) await server.verify()
    })
  })

  suite('check: the mail exchangers of a domain', () => {
    test('exits with 68 if every mail exchanger is this host', async (t) => {
      await serveZone(t, {
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
      assert.match(stdout, /NO MX .*no MX to request mail from; skipped: gw\.site\.example \(this host\), mx2/)
      assert.doesNotMatch(stdout, /--check/)
    })
    test('shows the steps of each mail exchanger behind this host', async (t) => {
      const mx = [
        [10, 'gw.site.example'],
        [20, 'mx1.site.example'],
        [30, 'mx2.site.example'],
      ] as const
      await serveZone(t, {
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
        /^mail exchangers of site\.example\n {2}ok MX .* mx1\.site\.example, mx2\.site\.example; excluded: gw\.site\.example \(this host\)\n$/,
      )
      assert.deepEqual(
        servers.map((part) => part.replace(/\n[^]*/, '')),
        [
          'mx1.site.example port 2500',
          'mx2.site.example port 2500',
          'delivery to this host (does not affect the exit status)',
          'ETRN was not sent: only a real run shows whether the server accepts a name',
        ],
      )
      for (const part of servers.slice(0, 2)) assert.match(part, /^ {2}ok ETRN +listed$/m)
    })
    test('prints at most five exchangers and five exclusions, and checks ten', async (t) => {
      const hosts = Array.from({ length: 24 }, (_, n) => `${'m'.repeat(30)}.m${n}.example`)
      await serveZone(t, {
        'MX site.example': { mx: [[12, 'gw.site.example'], ...hosts.map((host, n) => [n, host] as const)] },
        'A gw.site.example': { addresses: [SITE] },
      })
      const args = ['--check', '--mx', 'site.example', '-p', '2500', '--helo', 'gw.site.example']
      const { stdout } = await spawnEtrn(args, { through: AT_SITE })
      const [line = ''] = /^ {2}ok MX .*$/m.exec(stdout) ?? []
      assert.match(line, / and 6 more; only the first 10 are checked; excluded: .* and 9 more$/)
      assert.equal(stdout.match(/^\S.* port 2500$/gm)?.length, 10)
      assert.ok(line.length < 2000)
    })
    test('finds ETRN and AUTH at the end of a list that is too long to be shown whole', async (t) => {
      const long = Array.from({ length: 100 }, (_, index) => `S: 250-X${index} ${'x'.repeat(100)}` as const)
      const server = await scripted(t, [...HELLO.slice(0, 3), ...long, 'S: 250-AUTH PLAIN', 'S: 250 ETRN', ...BYE])
      const { stdout } = await etrn(['--check', '--helo', 'gw.site.example', `127.0.0.1:${server.port}`, '#q'])
      assert.match(stdout, /AUTH .*no credentials given; the server offers PLAIN$/m)
      assert.match(stdout, /ETRN +listed$/m)
    })
    test('exits with 0 if NAT leads back to this host at one of two exchangers', async (t) => {
      await serveZone(t, {
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
      assert.match(stdout, /^ {2}-- greeting .* the server is this host \(its greeting names gw\.site\.example\)$/m)
    })
    test('exits with 68 if the only exchanger greets with the name of this host', async (t) => {
      await serveZone(t, {
        'MX site.example': { mx: [[10, 'mx1.site.example']] },
        'A mx1.site.example': { addresses: [TWO] },
      })
      await scriptedAt(t, { host: TWO, port: 2500 }, ['S: 220 gw.site.example ESMTP', ...BYE])
      const args = ['--check', '--mx', 'site.example', '-p', '2500', '--helo', 'gw.site.example']
      const { stdout, status } = await spawnEtrn(args, { through: AT_SITE })
      assert.equal(status, 68)
      assert.match(stdout, /^ {2}NO MX .* no MX to request mail from; skipped: mx1\.site\.example \(this host\)$/m)
      await scriptedAt(t, { host: TWO, port: 2501 }, ['S: 220 gw.site.example ESMTP', ...BYE])
      const { document } = await etrnJson(args.with(4, '2501'), { through: AT_SITE }, spawnEtrn)
      assert.deepEqual(document.excluded, [{ domain: 'site.example', host: 'mx1.site.example', reason: 'this host' }])
    })
    test('warns if no exchanger is this host', async (t) => {
      await serveZone(t, {
        'MX site.example': { mx: [[10, 'mx1.site.example']] },
        'A mx1.site.example': { addresses: [TWO] },
      })
      await scriptedAt(t, { host: TWO, port: 2500 }, [...HELLO, ...BYE])
      const args = ['--check', '--mx', 'site.example', '-p', '2500', '--helo', 'gw.site.example']
      const { stdout, status } = await spawnEtrn(args, { through: AT_SITE })
      assert.equal(status, 0)
      assert.match(
        stdout,
        /^ {2}-- MX .* mx1\.site\.example\n {6}hint: none of the MXs of site\.example is this host \(known as gw\.site\.example\), so mail is requested from all of them; .*--self HOST$/m,
      )
    })
  })

  suite('check: the delivery', () => {
    test('holds if the MX is the address of this host that the server shows at EHLO', async (t) => {
      await serveZone(t, {
        'MX site.example': { mx: [[10, 'gw.site.example']] },
        'A gw.site.example': { addresses: ['198.51.100.7'] },
      })
      const server = await scripted(t, [
        'S: 220 mx',
        'C: EHLO gw.site.example',
        'S: 250-mx Hello [198.51.100.7]',
        'S: 250 ETRN',
        ...BYE,
      ])
      await scriptedAt(t, { host: '127.0.0.1', port: 25 }, ['S: 220 gw.site.example ESMTP', ...BYE])
      const { status, wayBack } = await runCheck(server.port)
      const [local, route] = wayBack
      assert.deepEqual(
        [status, local?.step, local?.ok, local?.text],
        [0, 'local server', true, 'gw.site.example ESMTP'],
      )
      assert.deepEqual([route?.step, route?.ok], ['site.example', true])
      assert.match(route?.text ?? '', /198\.51\.100\.7 is this host$/)
    })
    test('shows that the only MX is the address of the server', async (t) => {
      await serveZone(t, {
        'MX site.example': { mx: [[10, 'gw.site.example']] },
        'A gw.site.example': { addresses: [TWO] },
      })
      await scriptedAt(t, { host: TWO, port: 2500 }, [...HELLO, ...BYE])
      const args = ['--check', '--helo', 'gw.site.example', `${TWO}:2500`, 'site.example']
      const { stdout } = await spawnEtrn(args, { through: AT_SITE })
      assert.match(
        stdout,
        /^ {2}-- site\.example .*: this is the server itself, which needs its own route to this host$/m,
      )
    })
    test('shows a private address of this host if the server has a public one', async (t) => {
      await serveZone(t, {
        'MX site.example': { mx: [[10, 'gw.site.example']] },
        'A gw.site.example': { addresses: ['127.0.0.1'] },
      })
      await scriptedAt(t, { host: TWO, port: 2500 }, [...HELLO, ...BYE])
      const { stdout } = await etrn(['--check', '--helo', 'gw.site.example', `${TWO}:2500`, 'site.example'])
      assert.match(stdout, /^ {2}-- site\.example .*: 127\.0\.0\.1 is this host, but the address is private$/m)
    })
    test('exits with 0 and a hint if no local mail server listens', async (t) => {
      await serveZone(t)
      const server = await scripted(t, [...HELLO, ...BYE])
      const { status, wayBack } = await runCheck(server.port)
      assert.deepEqual([status, wayBack[0]?.ok], [0, false])
      assert.match(wayBack[0]?.advice ?? '', /--wait-local/)
    })
    test('exits with 75 and --wait-local if no local mail server listens', async (t) => {
      const server = await scripted(t, [...HELLO, ...BYE])
      const args = ['--check', '--wait-local', '5s', '--helo', 'gw.site.example', `127.0.0.1:${server.port}`, '#q']
      assert.equal((await etrn(args)).status, 75)
    })
    test('exits with 0 and --wait-local if the local mail server greets', async (t) => {
      const server = await scripted(t, [...HELLO, ...BYE])
      await scriptedAt(t, { host: '127.0.0.1', port: 25 }, ['S: 220 gw', ...BYE])
      const args = ['--check', '--wait-local', '5s', '--helo', 'gw.site.example', `127.0.0.1:${server.port}`, '#q']
      assert.equal((await etrn(args)).status, 0)
    })
  })

  suite('check: names that a real run could not request', () => {
    test('exits with 64 if there is no name', async (t) => {
      await serveZone(t)
      const server = await scripted(t, [...HELLO, ...BYE])
      const { status, stdout } = await etrn(['--check', '--helo', 'gw.site.example', `127.0.0.1:${server.port}`])
      assert.equal(status, 64)
      assert.match(
        stdout,
        /^ {2}-- names {18}no name given, and this host has no domain name that other hosts know\n {6}hint: add a NAME for a real run$/m,
      )
    })
    test('exits with 65 if every line of --names-from is invalid, although the server refuses connections', async () => {
      assert.equal((await etrn(['--check', '127.0.0.1:1', '--names-from', '-'], { input: 'a b\n' })).status, 65)
    })
    test('exits with 75 if a line of --names-from is invalid and the server refuses connections', async (t) => {
      await serveZone(t)
      const args = ['--check', '127.0.0.1:1', '--names-from', '-']
      assert.equal((await etrn(args, { input: 'a.example\na b\n' })).status, 75)
    })
    test('exits with 65 and reports the name in --json if a line of --names-from is invalid', async (t) => {
      await serveZone(t)
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
  })
}
