import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { suite, test, type TestContext } from 'node:test'
import { type CommandOptions, type Finished, type Running, spawnEtrn } from '../helpers/command.js'
import { type Answer, nameServer } from '../helpers/name-server.js'
import { isInNamespace } from '../helpers/namespace.js'
import { BYE, type Conversation, HELLO, type Scripted, scriptedAt } from '../helpers/scripted-server.js'
import { AT_SITE, makeSite, resolver, SITE, WORLD } from '../helpers/site.js'

const [ONE, TWO, THREE] = WORLD
const PORT = 2500
const NAMES = {
  'A mx1.site.example': { addresses: [ONE] },
  'A mx2.site.example': { addresses: [TWO] },
  'A mx3.site.example': { addresses: [THREE] },
  'A gw.site.example': { addresses: [SITE] },
}
const asked = (name = 'site.example'): Conversation => [...HELLO, `C: ETRN ${name}`, 'S: 250 OK', ...BYE]
const OK = /asked; the server doesn't say what waits/

/** Runs `etrn --mx site.example` at the site, with this zone. */
async function run(
  t: TestContext,
  zone: Readonly<Record<string, Answer>>,
  args: readonly string[] = [],
  o: CommandOptions = {},
): Promise<Finished> {
  resolver(ONE)
  await nameServer(t, zone, ONE)
  const fixed = ['--mx', 'site.example', '-p', String(PORT)]
  return spawnEtrn([...fixed, ...(args.includes('--helo') ? [] : ['--helo', 'gw.site.example']), ...args], {
    through: AT_SITE,
    ...o,
  })
}

const at = async (t: TestContext, host: string, ...conversations: Conversation[]): Promise<Scripted> =>
  scriptedAt(t, { host, port: PORT }, ...conversations)

const site = (...mx: readonly (readonly [number, string])[]): Readonly<Record<string, Answer>> => ({
  ...NAMES,
  'MX site.example': { mx },
})

if (isInNamespace(import.meta.url)) {
  makeSite()
  execFileSync('hostname', ['gw'])

  suite('who is asked', () => {
    test('only those behind this site, known by its address', async (t) => {
      await at(t, TWO, asked())
      const zone = site([10, 'gw.site.example'], [20, 'mx2.site.example'], [5, 'mx1.site.example'])
      const { stdout, stderr, status } = await run(t, zone, ['--helo', 'other.site.example'].slice(0, 0))
      assert.equal(status, 0)
      assert.match(stdout, /^mx2\.site\.example: site\.example: asked; [^\n]*\n$/)
      assert.equal(
        stderr,
        "left out: mx1.site.example (its preference, 5, is not behind this site's 10)\nleft out: gw.site.example (this site)\n",
      )
    })
    test('by an address alone', async (t) => {
      await at(t, TWO, [
        ...HELLO.map((s) => (typeof s === 'string' ? s.replace('gw.site', 'elsewhere.site') : s)),
        ...asked().slice(HELLO.length),
      ] as Conversation)
      const zone = {
        ...site([10, 'mx9.site.example'], [20, 'mx2.site.example']),
        'A mx9.site.example': { addresses: ['192.0.2.77', SITE] },
      }
      const { stderr, status } = await run(t, zone, ['--helo', 'elsewhere.site.example'])
      assert.deepEqual([status, stderr], [0, 'left out: mx9.site.example (this site)\n'])
    })
    test('--self, behind NAT', async (t) => {
      await at(t, TWO, asked())
      const { stderr, status } = await run(t, site([10, 'mx1.site.example'], [20, 'mx2.site.example']), [
        '--self',
        'MX1.site.example.',
      ])
      assert.deepEqual([status, stderr], [0, 'left out: mx1.site.example (this site)\n'])
    })
    test('--self has an address as well', async (t) => {
      await at(t, TWO, asked())
      const zone = site([10, 'mx1.site.example'], [20, 'mx2.site.example'])
      const { stderr } = await run(t, zone, ['--self', ONE])
      assert.equal(stderr, 'left out: mx1.site.example (this site)\n')
    })
    test("an own name in /etc/hosts, at Debian's 127.0.1.1", async (t) => {
      await at(t, TWO, asked())
      const hosts = readFileSync('/etc/hosts', 'utf8')
      writeFileSync('/etc/hosts', `${hosts}127.0.1.1 primary.site.example\n`)
      t.after(() => writeFileSync('/etc/hosts', hosts))
      const { stderr } = await run(t, site([10, 'primary.site.example'], [20, 'mx2.site.example']))
      assert.equal(stderr, 'left out: primary.site.example (this site)\n')
    })
    test('a login needs a name or a pin: anybody could answer for the DNS', async (t) => {
      const login = ['--user', 'u', '--password-file', '/dev/null']
      assert.equal((await run(t, {}, login)).status, 64)
      // The password file is read next.
      const pin = ['--tls-fingerprint', 'A'.repeat(64)]
      assert.equal((await spawnEtrn(['--mx', 'site.example', ...login, ...pin], { through: AT_SITE })).status, 66)
      assert.equal(
        (await spawnEtrn(['--mx', 'site.example', ...login, '--tls-name', 'mx.example'], { through: AT_SITE })).status,
        66,
      )
    })
    test('a hundred at most', async (t) => {
      const many = Array.from({ length: 120 }, (_, n): [number, string] => [10, `h${n}`])
      const { stderr } = await run(t, site([5, 'gw.site.example'], ...many), ['--max-time', '5s'])
      assert.match(stderr, /^left out: 21 more \(beyond the first 100\)$/m)
    })
    test('equal preference does not relay to this site', async (t) => {
      await at(t, TWO, asked())
      const zone = site([10, 'gw.site.example'], [10, 'mx1.site.example'], [20, 'mx2.site.example'])
      const { stderr } = await run(t, zone)
      assert.match(stderr, /^left out: mx1\.site\.example \(its preference, 10, is not behind this site's 10\)$/m)
    })
    test('its lowest preference counts', async (t) => {
      await at(t, TWO, asked())
      const zone = site([10, 'gw.site.example'], [20, 'mx2.site.example'], [30, 'gw.site.example'])
      assert.equal((await run(t, zone)).status, 0)
    })
    test('all, with a warning, where this site is none of them', async (t) => {
      await at(t, ONE, asked())
      await at(t, TWO, asked())
      const { stdout, stderr, status } = await run(t, site([10, 'mx1.site.example'], [20, 'mx2.site.example']))
      assert.equal(status, 0)
      assert.match(stdout.split('\n').sort().join('\n'), /^mx1\.site\.example: .*\nmx2\.site\.example: /m)
      assert.equal(
        stderr,
        'no MX of site.example is this host; behind NAT say --self (it is known as gw.site.example)\n',
      )
    })
    test('a NAT that leads back to oneself: by the greeting', async (t) => {
      await at(t, ONE, ['S: 220 GW.site.example ESMTP Postfix', ...BYE])
      await at(t, TWO, asked())
      const { stderr, status } = await run(t, site([10, 'mx1.site.example'], [20, 'mx2.site.example']))
      assert.equal(status, 0)
      assert.match(stderr, /^left out: mx1\.site\.example \(this site\)$/m)
    })
    test('and by the reply to EHLO, on the only one', async (t) => {
      await at(t, ONE, [
        'S: 220 hello',
        'C: EHLO gw.site.example',
        'S: 250-gw.site.example Hello',
        'S: 250 ETRN',
        ...BYE,
      ])
      const { stdout, stderr, status } = await run(t, site([10, 'mx1.site.example']))
      assert.deepEqual([status, stdout], [68, ''])
      assert.match(
        stderr,
        /^site\.example: DNS: nobody is left to ask: mx1\.site\.example \(this site\); no answer for site\.example$/m,
      )
    })
    test('nobody left, each with its reason', async (t) => {
      const { stderr, status } = await run(t, site([10, 'mx1.site.example'], [10, 'gw.site.example']))
      assert.equal(status, 68)
      assert.match(
        stderr,
        /nobody is left to ask: gw\.site\.example \(this site\), mx1\.site\.example \(its preference, 10, is not behind this site's 10\)/,
      )
    })
    test('other names than the domain', async (t) => {
      await at(t, TWO, asked('@site.example'))
      const zone = site([10, 'gw.site.example'], [20, 'mx2.site.example'])
      assert.equal((await run(t, zone, ['@site.example'])).status, 0)
    })
    test('a host twice is asked once', async (t) => {
      await at(t, TWO, asked())
      const zone = site([10, 'gw.site.example'], [20, 'mx2.site.example'], [40, 'MX2.site.example'])
      assert.equal((await run(t, zone)).status, 0)
    })
  })

  suite('what the DNS has', () => {
    test('no MX: the domain itself', async (t) => {
      await at(t, TWO, asked())
      const { stdout, status } = await run(t, { 'A site.example': { addresses: [TWO] } })
      assert.equal(status, 0)
      assert.match(stdout, /^site\.example: site\.example: asked/)
    })
    test('no MX, and the domain is this site', async (t) => {
      const { stderr, status } = await run(t, { 'A site.example': { addresses: [SITE] } })
      assert.equal(status, 68)
      assert.match(stderr, /nobody is left to ask: site\.example \(this site\)/)
    })
    test('a null MX', async (t) => {
      const { stderr, status } = await run(t, site([0, '.']))
      assert.equal(status, 68)
      assert.match(stderr, /site\.example \(it takes no mail: null MX, RFC 7505\)/)
    })
    test('no such domain', async (t) => {
      const { stderr, status } = await run(t, {})
      assert.equal(status, 68)
      assert.match(stderr, /^site\.example: DNS: no such host: site\.example/)
    })
    test('a DNS that fails', async (t) => {
      assert.equal((await run(t, { 'MX site.example': { rcode: 'SERVFAIL' } })).status, 75)
    })
    test('is asked again within --retry-for, but not when the pause would be longer', async () => {
      resolver(undefined)
      const args = ['--mx', 'site.example', '-v', '--helo', 'gw.site.example', '--retry-for']
      const short = await spawnEtrn([...args, '1s'], { through: AT_SITE })
      assert.deepEqual([short.status, /again at/.test(short.stderr)], [75, false])
      const once = { said: 'again at', act: (child: Running) => void child.kill('SIGTERM') }
      assert.equal((await spawnEtrn([...args, '5m'], { through: AT_SITE, once })).signal, 'SIGTERM')
    })
    test('a DNS that is silent', async (t) => {
      assert.equal((await run(t, { 'MX site.example': { silent: true } }, ['--timeout', '2s'])).status, 75)
    })
    test('a dangling MX does not hide the other', async (t) => {
      await at(t, TWO, asked())
      const { stdout, stderr, status } = await run(t, site([10, 'gone.site.example'], [20, 'mx2.site.example']))
      assert.equal(status, 68)
      assert.match(stdout, OK)
      assert.match(
        stderr,
        /^gone\.site\.example: DNS: no such host: gone\.site\.example; no answer for site\.example$/m,
      )
    })
    test('one down does not hide the other', async (t) => {
      await at(t, TWO, asked())
      const { stdout, stderr, status } = await run(t, site([10, 'mx1.site.example'], [20, 'mx2.site.example']))
      assert.equal(status, 75)
      assert.match(stdout, OK)
      assert.match(stderr, /^mx1\.site\.example: connect: 192\.0\.2\.1 port 2500: connection refused/m)
    })
    test('an MX that is an alias', async (t) => {
      await at(t, TWO, asked())
      const zone = {
        ...site([20, 'alias.site.example'], [10, 'gw.site.example']),
        'CNAME alias.site.example': { cname: 'mx2.site.example' },
      }
      assert.match((await run(t, zone)).stdout, /^alias\.site\.example: /)
    })
    test('a domain that is an alias', async (t) => {
      await at(t, TWO, asked())
      const zone = {
        ...NAMES,
        'CNAME site.example': { cname: 'other.example' },
        'MX other.example': { mx: [[10, 'mx2.site.example']] as const },
      }
      assert.equal((await run(t, zone)).status, 0)
    })
    test('an MX with several addresses', async (t) => {
      await at(t, THREE, asked())
      const zone = { ...site([10, 'many.site.example']), 'A many.site.example': { addresses: [TWO, THREE] } }
      assert.equal((await run(t, zone)).status, 0)
    })
    test('an MX that is no name', async (t) => {
      const { stderr, status } = await run(t, site([10, '192.0.2.2'], [20, 'a\x1b[2Jb.site.example']))
      assert.equal(status, 68)
      assert.match(stderr, /192\.0\.2\.2 \(no name of a host\), a.*b\.site\.example \(no name of a host\)/)
      assert.doesNotMatch(stderr, /\x1b/) // eslint-disable-line no-control-regex
    })
  })

  test('--json has one entry for each mail exchanger', async (t) => {
    await at(t, TWO, asked())
    const { stdout } = await run(t, site([10, 'mx1.site.example'], [20, 'mx2.site.example']), ['--json'])
    const { servers, exitStatus } = JSON.parse(stdout) as {
      servers: { server: string; error: unknown }[]
      exitStatus: number
    }
    assert.equal(exitStatus, 75)
    assert.deepEqual(
      servers.map(({ server, error }) => [server, error === null]),
      [
        ['mx1.site.example', false],
        ['mx2.site.example', true],
      ],
    )
  })
  test('--json has an entry for the domain where there is none', async (t) => {
    const { stdout } = await run(t, {}, ['--json', 'a.example', 'b.example'])
    const { servers } = JSON.parse(stdout) as {
      servers: { server: string; names: { name: string }[]; attempts: number }[]
    }
    assert.deepEqual(
      servers.map(({ server, names, attempts }) => [server, names.map(({ name }) => name), attempts]),
      [['site.example', ['a.example', 'b.example'], 0]],
    )
  })
}
