import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { createRequests } from '../../src/command/requests.js'
import type { ServerReport } from '../../src/etrn/server-report.js'
import { resultOfBadLine, run } from '../../src/etrn/run.js'
import {
  type Document,
  etrn,
  etrnJson,
  type Finished,
  leap,
  LEAPING,
  type Running,
  spawnEtrn,
} from '../helpers/command.js'
import { crowd, list } from '../helpers/concurrent-server.js'
import { etrnSteps, sessionWith } from '../helpers/exchange.js'
import { makeFolder } from '../helpers/files.js'
import { type Answer, nameServer } from '../helpers/name-server.js'
import { isInNamespace } from '../helpers/namespace.js'
import { NO_CONFIG, NO_SIGNAL, NO_SOURCES } from '../helpers/options.js'
import { BYE, type Conversation, scripted, type Scripted, scriptedAt } from '../helpers/scripted-server.js'
import { measurePeakOfServers } from '../smtp/peak-memory.js'
import { AT_SITE, makeSite, resolver, SITE, WORLD } from '../helpers/site.js'

const [ONE, TWO, THREE] = WORLD
const PORT = 2500
type Zone = Readonly<Record<string, Answer>>

/** As the site sees them: of these hosts, only gw.site.example has an address of the site. */
const HOSTS: Zone = {
  'A mx1.site.example': { addresses: [ONE] },
  'A mx2.site.example': { addresses: [TWO] },
  'A mx3.site.example': { addresses: [THREE] },
  'A gw.site.example': { addresses: [SITE] },
}

function zoneOf(...mx: readonly (readonly [preference: number, host: string])[]): Zone {
  return { ...HOSTS, 'MX site.example': { mx } }
}

/** Requests the mail of site.example from its mail exchangers in this zone, in this process or at the site. */
async function runMx(
  t: TestContext,
  zone: Zone,
  args: readonly string[] = [],
  start: typeof etrn = runAtSite,
): Promise<Finished> {
  resolver(ONE)
  await nameServer(t, zone, ONE)
  return start(['--mx', 'site.example', '-p', String(PORT), '--helo', 'gw.site.example', ...args])
}

/** Starts the command in the network of the site, where the addresses of WORLD are those of other hosts. */
async function runAtSite(args: readonly string[]): Promise<Finished> {
  return spawnEtrn(args, { through: AT_SITE })
}

async function listenAt(t: TestContext, host: string, conversation: Conversation): Promise<Scripted> {
  return scriptedAt(t, { host, port: PORT }, conversation)
}

/** Writes a configuration file that goes when the test ends, and returns its path. */
function makeConfig(t: TestContext, ...parts: readonly string[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'etrn-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'config.toml')
  writeFileSync(path, parts.join(''))
  return path
}

function profileOf(name: string, port: number, names: readonly string[]): string {
  return `[servers.${name}]\nserver = "127.0.0.1:${port}"\nnames = ${JSON.stringify(names)}\n`
}

const ACCEPTED = sessionWith(...etrnSteps('site.example'))

if (isInNamespace(import.meta.url)) {
  makeSite()
  execFileSync('hostname', ['gw'])

  suite('run: which mail exchangers --mx requests from', () => {
    test('--report-after takes a failure of DNS and one of an exchanger for the same failure of the domain', async (t) => {
      const home = mkdtempSync(join(tmpdir(), 'etrn-'))
      t.after(() => rmSync(home, { recursive: true }))
      let hour = 0
      const runNow: typeof etrn = async (args) => {
        const call = { env: { HOME: home }, user: { uid: 1000 }, now: () => hour * 3_600_000 }
        return etrn(['--report-after', '4h', ...args], call)
      }
      const zone: Record<string, Answer> = { 'MX site.example': { rcode: 'SERVFAIL' } }
      const first = await runMx(t, zone, [], runNow)
      assert.deepEqual(first, { status: 75, signal: null, stdout: '', stderr: '' })
      zone['MX site.example'] = { mx: [[10, 'mx.isp.example']] }
      zone['A mx.isp.example'] = { addresses: ['198.51.100.7'] }
      hour = 4
      const { stderr } = await runNow(['--mx', 'site.example', '-p', String(PORT), '--helo', 'gw.site.example'])
      assert.match(stderr, /^etrn: mx\.isp\.example: network unreachable [^\n]*\n/)
      assert.match(stderr, /^etrn: site\.example: temporary failure in 2 runs since 1970-01-01T00:00:00Z$/m)
    })
    test('requests from the exchanger behind this host and prints why it skips the others', async (t) => {
      await listenAt(t, TWO, ACCEPTED)
      const zone = zoneOf([10, 'gw.site.example'], [20, 'mx2.site.example'], [5, 'mx1.site.example'])
      const { stdout, stderr, status } = await runMx(t, zone)
      assert.equal(status, 0)
      assert.match(stdout, /^mx2\.site\.example: site\.example: accepted [^\n]*\n$/)
      assert.equal(
        stderr,
        "etrn: site.example: skipping MX mx1.site.example (preference 5 is not larger than this host's 10)\netrn: site.example: skipping MX gw.site.example (this host)\n",
      )
    })
    test('skips the exchanger that --self names in capital letters and with a final dot', async (t) => {
      await listenAt(t, TWO, ACCEPTED)
      const zone = zoneOf([10, 'mx1.site.example'], [20, 'mx2.site.example'])
      const { stderr, status } = await runMx(t, zone, ['--self', 'MX1.site.example.'])
      assert.deepEqual(
        [status, stderr],
        [0, 'etrn: site.example: skipping MX mx1.site.example (this host, by --self)\n'],
      )
    })
    test('skips the exchanger that has the address in --self', async (t) => {
      await listenAt(t, TWO, ACCEPTED)
      const zone = zoneOf([10, 'mx1.site.example'], [20, 'mx2.site.example'])
      const { stderr, status } = await runMx(t, zone, ['--self', ONE])
      assert.deepEqual(
        [status, stderr],
        [0, 'etrn: site.example: skipping MX mx1.site.example (this host, by --self)\n'],
      )
    })
    test('requests from every exchanger, with a warning, if none is this host', async (t) => {
      await listenAt(t, ONE, ACCEPTED)
      await listenAt(t, TWO, ACCEPTED)
      const { stdout, stderr, status } = await runMx(t, zoneOf([10, 'mx1.site.example'], [20, 'mx2.site.example']))
      assert.equal(status, 0)
      assert.match(stdout.split('\n').sort().join('\n'), /^mx1\.site\.example: .*\nmx2\.site\.example: /m)
      assert.match(
        stderr,
        /^etrn: warning: none of the MXs of site\.example is this host \(known as gw\.site\.example\), so mail is requested from all of them; if one is this host behind NAT: --self HOST\n/,
      )
    })
    test('skips an exchanger that greets with the name of this host, as behind NAT', async (t) => {
      await listenAt(t, ONE, ['S: 220 GW.site.example ESMTP Postfix', ...BYE])
      await listenAt(t, TWO, ACCEPTED)
      const { stderr, status } = await runMx(t, zoneOf([10, 'mx1.site.example'], [20, 'mx2.site.example']))
      assert.deepEqual([status, stderr], [0, 'etrn: site.example: skipping MX mx1.site.example (this host)\n'])
    })
    test('exits with 68 if the exchanger that greets with the name of this host excludes the others', async (t) => {
      await listenAt(t, ONE, ACCEPTED)
      await listenAt(t, TWO, ['S: 220 GW.site.example ESMTP Postfix', ...BYE])
      const zone = zoneOf([10, 'mx1.site.example'], [20, 'mx2.site.example'])
      const { stderr, status } = await runMx(t, zone)
      const reason = "preference 10 is not larger than this host's 20: the request does not count"
      assert.equal(status, 68)
      assert.match(stderr, new RegExp(`^etrn: site\\.example: skipping MX mx1\\.site\\.example \\(${reason}\\)$`, 'm'))
      assert.match(
        stderr,
        /^etrn: site\.example: no MX to request mail from; skipped: .*; the request may have been accepted$/m,
      )
    })
    test(
      'exits with 68 if DNS knows the own exchanger only when the first request is out',
      { timeout: 60_000 },
      async (t) => {
        let answer = (): void => undefined
        const after = new Promise<void>((resolve) => (answer = resolve))
        await listenAt(t, ONE, [() => answer(), ...ACCEPTED])
        const zone: Zone = {
          ...zoneOf([10, 'mx1.site.example'], [20, 'own.site.example']),
          'A own.site.example': { addresses: [SITE], after },
        }
        // A retry can't help: the server stays this host.
        const { stderr, status } = await runMx(t, zone, ['--timeout', '2s', '--retry-for', '1h'])
        assert.equal(status, 68, stderr)
        assert.match(stderr, /^etrn: site\.example: skipping MX own\.site\.example \(this host\)$/m)
        assert.match(
          stderr,
          /^etrn: site\.example: skipping MX mx1\.site\.example \(preference 10 .*does not count\)$/m,
        )
      },
    )
    for (const [title, conversations] of [
      ['the other requested', [ACCEPTED]],
      ['none requested', [['S: 220 gw.site.example ESMTP', ...BYE]]],
    ] as const)
      test(`lists the excluded exchangers in the JSON document, with ${title}`, async (t) => {
        await listenAt(t, ONE, ['S: 220 GW.site.example ESMTP Postfix', ...BYE])
        await listenAt(t, TWO, conversations[0])
        const zone = zoneOf([5, '192.0.2.9'], [10, 'mx1.site.example'], [20, 'mx2.site.example'])
        const { stdout, status } = await runMx(t, zone, ['--json'])
        const { exitStatus, excluded } = JSON.parse(stdout) as Document
        const own = status === 0 ? ['mx1'] : ['mx1', 'mx2']
        assert.deepEqual(
          [exitStatus, excluded],
          [
            status,
            [
              { domain: 'site.example', host: '192.0.2.9', reason: 'not a host name' },
              ...own.map((label) => ({ domain: 'site.example', host: `${label}.site.example`, reason: 'this host' })),
            ],
          ],
        )
        assert.equal(status, title === 'none requested' ? 68 : 0)
      })
    /** Answers that differ from one query to the next; the last one stays. */
    const inTurn = (...answers: readonly Answer[]): (() => Answer) => {
      let count = 0
      return () => answers[Math.min(count++, answers.length - 1)] ?? {}
    }
    for (const [title, address] of [
      ['loopback', '127.0.0.1'],
      ['an address of this host', SITE],
    ] as const)
      test(`skips an exchanger whose address has become that of ${title} in a later round`, async (t) => {
        // Nobody listens at the first address.
        const next = inTurn({ addresses: [ONE] }, { addresses: [address] })
        const zone = {
          ...zoneOf([20, 'mx1.site.example']),
          get 'A mx1.site.example'(): Answer {
            return next()
          },
        }
        const { stderr, status } = await runMx(t, zone, ['--retry-for', '2s'])
        assert.match(stderr, /no MX to request mail from; skipped: mx1\.site\.example \(this host\)/)
        assert.equal(status, 68)
      })
    test('does not wait for AAAA records if the site has no IPv6 address', { timeout: 20_000 }, async (t) => {
      await listenAt(t, TWO, ACCEPTED)
      const zone = { ...zoneOf([20, 'mx2.site.example']), 'AAAA mx2.site.example': { silent: true } as const }
      const during = (child: Running): void => t.signal.addEventListener('abort', () => child.kill('SIGKILL'))
      // With this clock, a wait of a second never ends.
      const start: typeof etrn = async (args) => spawnEtrn(args, { through: AT_SITE, env: LEAPING, during })
      const { stdout, status } = await runMx(t, zone, [], start)
      assert.deepEqual([status, stdout], [0, 'mx2.site.example: site.example: accepted (250 OK)\n'])
    })
    test('connects to the address of an exchanger that was judged, whatever DNS returns next', async (t) => {
      const next = inTurn({ addresses: [ONE] }, { addresses: ['127.0.0.1'] })
      const zone = {
        ...zoneOf([20, 'mx1.site.example']),
        get 'A mx1.site.example'(): Answer {
          return next()
        },
      }
      await listenAt(t, ONE, sessionWith(...etrnSteps('site.example')))
      assert.equal((await runMx(t, zone)).status, 0)
    })
    test('requests nothing of an exchanger that a filter blocks in a later round', async (t) => {
      const next = inTurn({ addresses: [ONE] }, { addresses: ['0.0.0.0'] })
      const zone = {
        ...zoneOf([20, 'mx1.site.example']),
        get 'A mx1.site.example'(): Answer {
          return next()
        },
      }
      const { stderr, status } = await runMx(t, zone, ['--retry-for', '2s'])
      assert.match(stderr, /mx1\.site\.example: the resolver returns 0\.0\.0\.0, which is not the address of a host/)
      assert.equal(status, 75)
    })
    for (const address of ['::ffff:0.0.0.0', '::', '64:ff9b::0.0.0.0'])
      test(`skips an exchanger that a filter blocks with the IPv6 address ${address}`, async (t) => {
        const zone = { ...zoneOf([20, 'mx9.site.example']), 'AAAA mx9.site.example': { addresses: [address] } }
        const { stderr, status } = await runMx(t, zone)
        assert.match(stderr, /mx9\.site\.example \(the resolver returns \S+, which would lead back to this host\)/)
        assert.equal(status, 68)
      })
    for (const address of ['::ffff:127.0.0.1', `::ffff:${SITE}`, '::1', `64:ff9b::${SITE}`])
      test(`skips an exchanger with the IPv6 address ${address}`, async (t) => {
        const zone = { ...zoneOf([20, 'mx9.site.example']), 'AAAA mx9.site.example': { addresses: [address] } }
        const { stderr, status } = await runMx(t, zone)
        assert.match(stderr, /no MX to request mail from; skipped: mx9\.site\.example \(this host\)/)
        assert.equal(status, 68)
      })
    for (const host of ['own', 'own.local'])
      test(`does not complete the exchanger ${host} by the search list, neither in the choice nor in the session`, async (t) => {
        const { asked } = await nameServer(
          t,
          { ...zoneOf([20, host]), [`A ${host}.search.example`]: { addresses: [SITE] } },
          ONE,
        )
        writeFileSync('/etc/resolv.conf', `nameserver ${ONE}\nsearch search.example\n`)
        const args = ['--mx', 'site.example', '-p', String(PORT), '--helo', 'gw.site.example']
        const { stderr, status } = await runAtSite(args)
        assert.ok(stderr.includes(`${host}: no such host; `), stderr)
        assert.equal(status, 68)
        assert.deepEqual(
          asked.filter((question) => question.includes('search')),
          [],
        )
      })
    test('names a few exclusions and the number of the others if no exchanger is left', async (t) => {
      const others = Array.from({ length: 60 }, (_, n): [number, string] => [10, `m${n + 10}.example`])
      const nobody = await runMx(t, zoneOf([10, 'gw.site.example'], ...others))
      assert.equal(nobody.status, 68)
      assert.match(nobody.stderr, /no MX to request mail from; skipped: .* and 56 more/)
    })
    test('exits with 68 if the only exchanger replies to EHLO with the name of this host', async (t) => {
      await listenAt(t, ONE, [
        'S: 220 hello',
        'C: EHLO gw.site.example',
        'S: 250-gw.site.example Hello',
        'S: 250 ETRN',
        ...BYE,
      ])
      const { stdout, stderr, status } = await runMx(t, zoneOf([10, 'mx1.site.example']))
      assert.deepEqual([status, stdout], [68, ''])
      assert.match(
        stderr,
        /^etrn: site\.example: no MX to request mail from; skipped: mx1\.site\.example \(this host\); /m,
      )
    })
    test('exits with 68 and gives each reason if no exchanger is left', async (t) => {
      const zone = {
        ...zoneOf([10, 'mx1.site.example'], [10, 'gw.site.example']),
        'A gw.site.example': { addresses: [ONE] },
        'A mx1.site.example': { addresses: ['203.0.113.1'] },
      }
      const { stderr, status } = await runMx(t, zone, [], etrn)
      assert.equal(status, 68)
      assert.match(
        stderr,
        /no MX to request mail from; skipped: gw\.site\.example \(this host\), mx1\.site\.example \(preference 10 is not larger than this host's 10\)/,
      )
    })
    test('requests the given names instead of the domain', async (t) => {
      await listenAt(t, TWO, sessionWith(...etrnSteps('@site.example')))
      const zone = zoneOf([10, 'gw.site.example'], [20, 'mx2.site.example'])
      assert.equal((await runMx(t, zone, ['@site.example'])).status, 0)
    })
    for (const flag of ['--keep-going', '--check', '--retry-for=10m'])
      test(`requests nothing if a NAME is one of the exchangers, with ${flag}`, async (t) => {
        const zone = {
          ...zoneOf([10, 'gw.site.example'], [20, 'bk1.isp.example']),
          'A bk1.isp.example': { addresses: [TWO] },
        }
        const run = await runMx(t, zone, ['BK1.isp.example', flag])
        assert.equal(run.status, 64)
        assert.match(run.stdout + run.stderr, /--mx finds the servers in DNS, so omit bk1\.isp\.example/)
        const hint =
          'if bk1.isp.example is a name to request, write it with a final dot: --mx site.example bk1.isp.example.'
        assert.ok((run.stdout + run.stderr).includes(hint), run.stderr)
      })
    test('requests the name of an exchanger that has a final dot, and that of this host', async (t) => {
      await listenAt(t, TWO, sessionWith(...etrnSteps('bk1.isp.example'), ...etrnSteps('gw.site.example')))
      const zone = {
        ...zoneOf([10, 'gw.site.example'], [20, 'bk1.isp.example']),
        'A bk1.isp.example': { addresses: [TWO] },
      }
      assert.equal((await runMx(t, zone, ['bk1.isp.example.', 'gw.site.example'])).status, 0)
    })
    test('requests the name of a domain that is one of its own exchangers', async (t) => {
      await listenAt(t, TWO, ACCEPTED)
      const zone = { ...zoneOf([20, 'site.example']), 'A site.example': { addresses: [TWO] } }
      assert.equal((await runMx(t, zone, ['site.example'])).status, 0)
    })
    test('requests from the domain itself if it has no MX', async (t) => {
      await listenAt(t, TWO, ACCEPTED)
      const { stdout, stderr, status } = await runMx(t, { 'A site.example': { addresses: [TWO] } })
      const warning = 'etrn: warning: site.example has no MX, so mail is requested from site.example itself\n'
      assert.deepEqual([status, stderr], [0, warning])
      assert.match(stdout, /^site\.example: site\.example: accepted/)
    })
    test('requests from an exchanger whose name is an alias', async (t) => {
      await listenAt(t, TWO, ACCEPTED)
      const zone = {
        ...zoneOf([20, 'alias.site.example'], [10, 'gw.site.example']),
        'CNAME alias.site.example': { cname: 'mx2.site.example' },
      }
      assert.match((await runMx(t, zone)).stdout, /^alias\.site\.example: /)
    })
    test('requests for each domain from its own exchangers if --mx is repeated', async (t) => {
      await listenAt(t, TWO, ACCEPTED)
      await listenAt(t, THREE, sessionWith(...etrnSteps('other.example')))
      const zone = {
        ...zoneOf([20, 'mx2.site.example']),
        'MX other.example': { mx: [[10, 'mx3.site.example']] },
      } as const
      const { stdout, status } = await runMx(t, zone, ['--mx', 'other.example'])
      assert.equal(status, 0)
      const lines = stdout.split('\n').sort().join('\n')
      assert.match(lines, /^mx2\.site\.example: site\.example: .*\nmx3\.site\.example: other\.example: /m)
    })
    test('tries each address of an exchanger', async (t) => {
      await listenAt(t, THREE, ACCEPTED)
      const zone = { ...zoneOf([10, 'many.site.example']), 'A many.site.example': { addresses: [TWO, THREE] } }
      assert.equal((await runMx(t, zone)).status, 0)
    })
  })

  suite('run: SERVER and NAME swapped', () => {
    for (const argv of [[], ['--check']])
      test(`suggests the other order if the server does not exist${argv.map((word) => ` with ${word}`).join('')}`, async (t) => {
        resolver(ONE)
        await nameServer(t, HOSTS, ONE)
        const run = await etrn([...argv, 'site.example', 'mail.isp.example'])
        assert.equal(run.status, 68)
        assert.match(
          run.stderr,
          /^hint: SERVER and NAME seem to be the wrong way round; try etrn mail\.isp\.example site\.example$/m,
        )
      })
  })

  test('names the configuration that can not be read if an unknown server may be a profile', async (t) => {
    const home = makeFolder(t)
    const file = join(home, '.config/etrn/config.toml')
    mkdirSync(dirname(file), { recursive: true })
    symlinkSync('config.toml', file)
    resolver(ONE)
    await nameServer(t, HOSTS, ONE)
    const run = await etrn(['isp', 'a.example'], { env: { HOME: home }, user: { uid: 1000 } })
    assert.equal(run.status, 68)
    assert.ok(run.stderr.includes(`\nhint: isp may be a profile in ${file}, which this user can't read\n`), run.stderr)
  })

  suite('run: failures with --mx', () => {
    test('exits with 68 and names the domain if it does not exist', async (t) => {
      const { stderr, status } = await runMx(t, {}, [], etrn)
      assert.equal(status, 68)
      assert.match(
        stderr,
        /^etrn: site\.example: no such domain; [^\n]*\nhint: site\.example: check the spelling of the domain$/m,
      )
    })
    test('exits with 75 if the DNS fails', async (t) => {
      assert.equal((await runMx(t, { 'MX site.example': { rcode: 'SERVFAIL' } }, [], etrn)).status, 75)
    })
    test('makes a last lookup just before --retry-for ends, and says how often it tried, without a hint to retry', async () => {
      resolver(undefined)
      const args = ['--mx', 'site.example', '-v', '--helo', 'gw.site.example', '--retry-for', '1s']
      const { status, stderr } = await etrn(args, { env: LEAPING, once: { said: 'retry at', act: leap } })
      assert.equal(status, 75)
      assert.match(
        stderr,
        /^etrn: site\.example: no DNS server can be reached \(ECONNREFUSED\); gave up after 2 attempts in 1s; /m,
      )
      assert.doesNotMatch(stderr, /--retry-for/)
    })
    test('retries a failed lookup within --retry-for, until a signal ends the pause', async () => {
      resolver(undefined)
      const once = { said: 'retry at', act: (child: Running) => void child.kill('SIGTERM') }
      const run = await etrn(['--mx', 'site.example', '-v', '--helo', 'gw.site.example', '--retry-for', '5m'], { once })
      assert.equal(run.signal, 'SIGTERM')
    })
    test('exits with 75 after the time of --retry-for if every lookup fails', { timeout: 20_000 }, async (t) => {
      resolver(undefined)
      let now = performance.now()
      t.mock.method(performance, 'now', () => now)
      t.mock.timers.enable({ apis: ['setTimeout'] })
      const passTime = (): void => {
        now += 3_600_000
        setImmediate(() => t.mock.timers.tick(60_000))
      }
      const args = ['--mx', 'site.example', '-v', '--helo', 'gw.site.example', '--retry-for', '5m']
      const { status, stderr } = await etrn(args, { once: { said: 'retry at', act: passTime } })
      assert.deepEqual([status, stderr.split('retry at').length], [75, 2])
    })
    test('requests from an exchanger beside one without an address, and exits with 68', async (t) => {
      await listenAt(t, TWO, ACCEPTED)
      const { stdout, stderr, status } = await runMx(t, zoneOf([10, 'gone.site.example'], [20, 'mx2.site.example']))
      assert.equal(status, 68)
      assert.match(stdout, /: accepted \(250 OK\)/)
      assert.match(
        stderr,
        /^etrn: gone\.site\.example: no such host; [^\n]*\n(?:.*\n)?hint: gone\.site\.example: correct the MX record, or add an address /m,
      )
    })
    test('requests from an exchanger beside one that refuses connections, and exits with 75', async (t) => {
      await listenAt(t, TWO, ACCEPTED)
      const { stdout, stderr, status } = await runMx(t, zoneOf([10, 'mx1.site.example'], [20, 'mx2.site.example']))
      assert.equal(status, 75)
      assert.match(stdout, /: accepted \(250 OK\)/)
      assert.match(stderr, /^etrn: mx1\.site\.example: connection refused \(192\.0\.2\.1 port 2500\); /m)
    })
    test('reports each exchanger in --json', async (t) => {
      await listenAt(t, TWO, ACCEPTED)
      const { stdout } = await runMx(t, zoneOf([10, 'mx1.site.example'], [20, 'mx2.site.example']), ['--json'])
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
    test('reports the domain in --json if it has no exchanger', async (t) => {
      const { stdout } = await runMx(t, {}, ['--json', 'a.example', 'b.example'], etrn)
      const { servers } = JSON.parse(stdout) as {
        servers: { server: string; names: { name: string }[]; attempts: number }[]
      }
      assert.deepEqual(
        servers.map(({ server, names, attempts }) => [server, names.map(({ name }) => name), attempts]),
        [['site.example', ['a.example', 'b.example'], 0]],
      )
    })
  })
} else {
  suite('run: sessions at once', { concurrency: true, timeout: 120_000 }, () => {
    test('opens no more sessions than --jobs, over all servers', async (t) => {
      const { server, port } = await crowd(t)
      const run = await etrn(['--jobs', '3', `127.0.0.1:${port},localhost:${port}`, '-4', ...list(30)])
      assert.equal(run.status, 0, run.stderr)
      assert.equal(server.asked.flat().length, 60)
      assert.ok(server.most <= 3, `${server.most} at once`)
    })
    test('opens four sessions with a server that two profiles name', async (t) => {
      const { server, port } = await crowd(t, {
        etrn: async (name) => {
          if (name !== 'n1.example') await server.until(/^open/, 4)
          return '250 OK'
        },
      })
      const config = makeConfig(t, profileOf('one', port, list(20)), profileOf('two', port, list(20)))
      assert.equal((await etrn(['--config', config, '--all', '--jobs', '9'])).status, 0)
      assert.deepEqual([server.most, server.asked.flat().length], [4, 40])
    })
  })

  suite('run: memory', { timeout: 120_000 }, () => {
    const SERVERS = 240
    /** A reply of the longest kind: 128 lines of 512 octets */
    const longReply = (code: number, lastLine?: string): Uint8Array => {
      const line = (mark: string, index: number): string => `${`${code}${mark}K${index} `.padEnd(510, 'x')}\r\n`
      const lines = Array.from({ length: 127 }, (_, index) => line('-', index))
      return Buffer.from(lines.join('') + (lastLine === undefined ? line(' ', 127) : `${lastLine}\r\n`))
    }
    const EHLO = 'C: EHLO gw.site.example' as const
    for (const [title, status, conversation, options] of [
      [
        'accept a name, in --json',
        0,
        ['S: 220 mx', EHLO, longReply(250, '250 ETRN'), ...etrnSteps('site.example'), ...BYE],
        ['--json'],
      ],
      ['refuse EHLO', 69, ['S: 220 mx', EHLO, longReply(550), ...BYE], []],
      ['are checked', 0, ['S: 220 mx', EHLO, longReply(250, '250 ETRN'), ...BYE], ['--check']],
    ] as const)
      test(`fits into a heap of 16 MiB at ${SERVERS} servers that reply to EHLO with the longest reply and ${title}`, async (t) => {
        // The long lists alone of so many servers would be 15 MiB.
        const conversations = Array<Conversation>(SERVERS).fill(conversation)
        const found = await measurePeakOfServers(t, conversations, ...options)
        t.diagnostic(`${SERVERS} servers: peak RSS ${found.peak} KiB`)
        assert.equal(found.status, status)
      })
  })

  suite('run: results in the order of the names', { concurrency: true }, () => {
    test('reports operands, --subdomains, --queue and --names-from in that order, each name once', async (t) => {
      const sent = ['a.example', '@b.example', '#q', 'd.example']
      const server = await scripted(t, sessionWith(...etrnSteps(sent)))
      const args = [
        '--names-from',
        '-',
        '--queue',
        'q',
        '--helo',
        'gw.site.example',
        '--subdomains',
        'b.example',
        `127.0.0.1:${server.port}`,
        'a.example',
      ]
      const { document, status } = await etrnJson(args, { input: 'A.example\nbad name\nd.example\n#q\n' })
      await server.verify()
      assert.equal(status, 65)
      assert.deepEqual(
        document.servers[0]?.names.map(({ name, outcome, text }) => [name, outcome, text]),
        [
          ['a.example', 'started', 'OK'],
          ['@b.example', 'started', 'OK'],
          ['#q', 'started', 'OK'],
          ['bad name', 'rejected', 'line 2 contains a space; write one name per line'],
          ['d.example', 'started', 'OK'],
        ],
      )
    })
    test('connects nowhere if a name on the command line is invalid', async (t) => {
      const server = await scripted(t)
      const run = await etrn([`127.0.0.1:${server.port}`, 'good.example', 'bad\r\nQUIT', 'other.example'])
      assert.deepEqual([run.status, run.stdout], [64, ''])
      assert.equal(run.stderr, 'etrn: name "bad\\x0d\\x0aQUIT" contains a control or invisible character (U+000D)\n')
      await server.verify()
    })
    test('connects nowhere if every line of --names-from is invalid', async (t) => {
      const server = await scripted(t)
      const run = await etrn([`127.0.0.1:${server.port}`, '--names-from', '-'], { input: 'a b\n' })
      assert.deepEqual(
        [run.status, run.stdout],
        [65, 'a b: invalid, not sent (line 1 contains a space; write one name per line)\n'],
      )
      await server.verify()
    })
    test('reports each of 130,000 names, more than a call has arguments', async () => {
      const names = Array.from({ length: 130_000 }, (_, i) => `n${i}.example`).join('\n')
      const { document, status } = await etrnJson(['127.0.0.1:9', '--names-from', '-'], { input: names })
      assert.deepEqual([status, document.servers[0]?.names.length], [75, 130_000])
    })
    test('gives an invalid line its number and reason as a rejected result', () => {
      const text = 'line 3 contains a space'
      const unanswered = { code: null, enhancedCode: null, pending: null, hint: null }
      assert.deepEqual(resultOfBadLine({ word: 'a b', line: 3, reason: 'contains a space' }), {
        name: 'a b',
        outcome: 'rejected',
        text,
        ...unanswered,
      })
    })
  })

  suite('run: a profile that lacks a file', () => {
    test('exits with 66 and reports its names as failed, and requests those of the other profile', async (t) => {
      const lacking = await scripted(t)
      const good = await scripted(t, sessionWith(...etrnSteps('b.example')))
      const config = makeConfig(
        t,
        `helo = "gw.site.example"\n${profileOf('one', lacking.port, ['a.example'])}tls-ca = "/nonexistent/ca.pem"\n`,
        profileOf('two', good.port, ['b.example']),
      )
      const { document, status } = await etrnJson(['--config', config, '--all'])
      assert.equal(status, 66)
      assert.deepEqual(
        document.servers.map(({ error, attempts, names }) => [error?.exitStatus, attempts, names[0]?.outcome]),
        [
          [66, 0, 'failed'],
          [undefined, 1, 'started'],
        ],
      )
      await lacking.verify()
    })
  })

  suite('run: a bug that appears in the session with one server', () => {
    test('is the failure of that server (70), and the other server is requested', async (t) => {
      const good = await scripted(t, sessionWith(...etrnSteps('site.example')))
      const other = await scripted(t, ['S: 220 mx.example ESMTP', ...BYE])
      const words = [`127.0.0.1:${other.port},127.0.0.1:${good.port}`, 'site.example']
      const requests = await createRequests(
        { options: { helo: 'gw.site.example' }, words, typed: {} },
        NO_CONFIG,
        NO_SOURCES,
      )
      const bug = new TypeError('unforeseen')
      const [first] = requests
      assert.ok(first !== undefined && 'isMx' in first)
      Object.defineProperty(first.server.tls, 'level', {
        get: () => {
          throw bug
        },
      })
      const reported: ServerReport[] = []
      const { servers, exitStatus } = await run(requests, {
        jobs: 2,
        waitLocalMs: 0,
        signal: NO_SIGNAL,
        trace: () => undefined,
        onResult: () => undefined,
        onReport: (report) => reported.push(report),
        warn: (message) => assert.fail(message),
      })
      await Promise.all([good.verify(), other.verify()])
      assert.equal(exitStatus, 70)
      assert.deepEqual(
        servers.map(({ error, names }) => [error?.exitStatus, error?.cause, names.map(({ outcome }) => outcome)]),
        [
          [70, bug, ['failed']],
          [undefined, undefined, ['started']],
        ],
      )
      assert.equal(reported.length, 2)
    })
  })

  suite('login with --mx', () => {
    const LOGIN = ['--mx', 'site.example', '--user', 'u', '--password-file', '/dev/null']
    test('exits with 64 without a certificate name or fingerprint, because anybody could answer for the DNS', async () => {
      assert.equal((await etrn(LOGIN)).status, 64)
    })
    for (const pin of [
      ['--tls-fingerprint', 'A'.repeat(64)],
      ['--tls-name', 'mx.example'],
    ])
      test(`reads the password file next with ${pin.join(' ')}`, async () => {
        assert.equal((await etrn([...LOGIN, ...pin])).status, 66)
      })
  })
}
