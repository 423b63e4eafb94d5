import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { setMaxListeners } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { suite, test, type TestContext } from 'node:test'
import { StepError } from '../../src/errors.js'
import {
  chooseExchangers,
  type Exclusion,
  lateExclusions,
  noExchangerError,
  notListedWarning,
} from '../../src/etrn/mx.js'
import type { Request } from '../../src/etrn/request.js'
import type { NodeName } from '../../src/input/node-name.js'
import { parseServer } from '../../src/input/server-address.js'
import { SessionError } from '../../src/smtp/errors.js'
import { Redactor } from '../../src/smtp/redact.js'
import { type Answer, nameServer } from '../helpers/name-server.js'
import { isInNamespace } from '../helpers/namespace.js'
import { resolver, SITE, WORLD } from '../helpers/site.js'

const [ONE, TWO, THREE] = WORLD
type Zone = Readonly<Record<string, Answer>>

/** Of these hosts, only gw.site.example has an address of this host. */
const HOSTS: Zone = {
  'A mx1.site.example': { addresses: [ONE] },
  'A mx2.site.example': { addresses: [TWO] },
  'A mx3.site.example': { addresses: [THREE] },
  'A gw.site.example': { addresses: [SITE] },
}

function zoneOf(...mx: readonly (readonly [preference: number, host: string])[]): Zone {
  return { ...HOSTS, 'MX site.example': { mx } }
}

function requestOf(self: readonly string[], timeoutMs: number): Request {
  const tls = { level: 'verify', fingerprint: undefined, name: undefined, ca: undefined } as const
  const server = {
    ...parseServer('site.example:2525'),
    tls: { ...tls, cert: undefined, key: undefined, minVersion: 'TLSv1.2' as const },
    credentials: undefined,
    redactor: new Redactor(),
  }
  const settings = { helo: undefined, self, local: undefined, family: undefined, timeoutMs, assumeEtrn: false }
  return {
    server,
    isMx: true,
    entries: [],
    settings: { ...settings, keepGoing: false },
    retryPolicy: { retryForMs: 0, waitMs: 0, intervalMs: 60_000 },
    selfOption: self,
    doubtfulNames: [],
  }
}

type Choice = {
  readonly includesSelf: boolean
  /** The hosts that get none, each with its reason: `mx1.site.example (this host)` */
  readonly excluded: readonly string[]
  /** The hosts that get a request */
  readonly requested: readonly string[]
}

async function chooseFor(request: Request, signal = new AbortController().signal): Promise<Choice> {
  const { requests, excluded, ownPreference } = await chooseExchangers(request, signal)
  const listed = excluded.map(({ host, reason }) => `${host} (${reason})`)
  return {
    requested: requests.map(({ server }) => server.host),
    excluded: listed,
    includesSelf: ownPreference !== undefined,
  }
}

/** Chooses from the mail exchangers that the zone has for site.example. */
async function choose(
  t: TestContext,
  zone: Zone,
  self: readonly string[] = [],
  limits: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {},
): Promise<Choice & { readonly queries: readonly string[] }> {
  resolver('127.0.0.1')
  const { asked: queries } = await nameServer(t, zone)
  return { ...(await chooseFor(requestOf(self, limits.timeoutMs ?? 60_000), limits.signal)), queries }
}

/** Checks that the choice fails with this exit status and message. */
async function assertFailure(choice: Promise<unknown>, exitStatus: number, message: RegExp): Promise<void> {
  await assert.rejects(choice, (error) => {
    assert.ok(error instanceof StepError)
    assert.equal(error.exitStatus, exitStatus)
    assert.match(error.message, message)
    return true
  })
}

const SELF = 'gw.site.example (this host)'

if (isInNamespace(import.meta.url)) {
  execFileSync('ip', ['addr', 'add', `${SITE}/32`, 'dev', 'lo'])

  suite('chooseExchangers: preference', () => {
    test('requests only exchangers behind this host, which it knows by its address', async (t) => {
      const zone = zoneOf([10, 'gw.site.example'], [20, 'mx2.site.example'], [5, 'mx1.site.example'])
      const { requested, excluded, includesSelf } = await choose(t, zone)
      assert.deepEqual([requested, includesSelf], [['mx2.site.example'], true])
      assert.deepEqual(excluded, ["mx1.site.example (preference 5 is not larger than this host's 10)", SELF])
    })
    test('knows this host by an A record that arrives after the AAAA record of another host', async (t) => {
      const zone = {
        ...zoneOf([10, 'twin.example'], [20, 'mx2.site.example'], [5, 'mx1.site.example']),
        'A twin.example': { addresses: [SITE], afterMs: 300 },
        'AAAA twin.example': { addresses: ['2001:db8:77::1'] },
      }
      const { requested, includesSelf } = await choose(t, zone)
      assert.deepEqual([requested, includesSelf], [['mx2.site.example'], true])
    })
    test('requests exchangers in the order of their preference, then of their names', async (t) => {
      const zone = zoneOf(
        [5, 'gw.site.example'],
        [30, 'mx1.site.example'],
        [20, 'mx3.site.example'],
        [20, 'mx2.site.example'],
      )
      assert.deepEqual((await choose(t, zone)).requested, ['mx2.site.example', 'mx3.site.example', 'mx1.site.example'])
    })
    test('gives each exchanger the request of the domain, with its own host', async (t) => {
      resolver('127.0.0.1')
      await nameServer(t, zoneOf([10, 'mx1.site.example']))
      const request = requestOf([], 60_000)
      const { requests } = await chooseExchangers(request, new AbortController().signal)
      const own = { word: 'mx1.site.example', host: 'mx1.site.example', isExchanger: true, addresses: ['192.0.2.1'] }
      const server = { ...request.server, ...own }
      assert.deepEqual(requests, [{ ...request, isMx: false, server }])
    })
    test('excludes an exchanger with the preference of this host', async (t) => {
      const zone = zoneOf([10, 'gw.site.example'], [10, 'mx1.site.example'], [20, 'mx2.site.example'])
      const { requested, excluded } = await choose(t, zone)
      assert.deepEqual(requested, ['mx2.site.example'])
      assert.deepEqual(excluded, [SELF, "mx1.site.example (preference 10 is not larger than this host's 10)"])
    })
    test('takes the lowest preference of this host if it has two', async (t) => {
      const zone = zoneOf([10, 'gw.site.example'], [20, 'mx2.site.example'], [30, 'gw.site.example'])
      const { requested, excluded } = await choose(t, zone)
      assert.deepEqual([requested, excluded], [['mx2.site.example'], [SELF]])
    })
    test('requests a host once that is listed twice, in small and capital letters', async (t) => {
      const zone = zoneOf([10, 'gw.site.example'], [20, 'mx2.site.example'], [40, 'MX2.site.example'])
      const { requested, excluded } = await choose(t, zone)
      assert.deepEqual([requested, excluded], [['mx2.site.example'], [SELF]])
    })
    test('requests nobody if this host and an exchanger of equal preference are the only ones', async (t) => {
      const { requested, excluded } = await choose(t, zoneOf([10, 'mx1.site.example'], [10, 'gw.site.example']))
      assert.deepEqual(requested, [])
      assert.deepEqual(excluded, [SELF, "mx1.site.example (preference 10 is not larger than this host's 10)"])
    })
    test('requests every exchanger if none is this host', async (t) => {
      const { requested, excluded, includesSelf } = await choose(
        t,
        zoneOf([10, 'mx1.site.example'], [20, 'mx2.site.example']),
        ['gw.site.example'],
      )
      assert.deepEqual([requested, excluded, includesSelf], [['mx1.site.example', 'mx2.site.example'], [], false])
    })
    test('keeps an address of each family among the first ones of an exchanger', async (t) => {
      const many = Array.from({ length: 6 }, (_, n) => `2001:db8::${n + 1}`)
      resolver('127.0.0.1')
      await nameServer(t, {
        ...zoneOf([10, 'mx2.site.example']),
        'A mx2.site.example': { addresses: [TWO], afterMs: 100 },
        'AAAA mx2.site.example': { addresses: many },
      })
      const { requests } = await chooseExchangers(requestOf([], 60_000), new AbortController().signal)
      assert.deepEqual(requests[0]?.server.addresses?.slice(0, 2), ['2001:db8::1', TWO])
    })
    test('considers the first hundred exchangers and looks up no others', async (t) => {
      const others = Array.from({ length: 120 }, (_, n): [number, string] => [10, `h${n}.example`])
      const { requested, excluded, queries } = await choose(t, zoneOf([5, 'gw.site.example'], ...others))
      assert.equal(requested.length, 99)
      assert.deepEqual(
        [excluded.length, excluded[0], excluded[1]],
        [22, SELF, 'h80.example (mail is requested from only 100 MXs)'],
      )
      assert.equal(new Set(queries.filter((query) => query.startsWith('A h'))).size, 99)
    })
    for (const [names, count, domains] of [
      [1000, 100, 1],
      [10_000, 10, 1],
      [200_000, 2, 1],
      [1, 50, 20],
      [1000, 5, 20],
      [1000, 2, 60],
    ] as const)
      test(`considers the first ${count} exchangers for ${names} names and ${domains} domains`, async (t) => {
        resolver('127.0.0.1')
        await nameServer(t, zoneOf(...Array.from({ length: 120 }, (_, n): [number, string] => [10, `h${n}.example`])))
        const entries = Array<NodeName>(names).fill('a.example' as NodeName)
        const { requests } = await chooseExchangers(
          { ...requestOf([], 60_000), entries },
          new AbortController().signal,
          domains,
        )
        assert.equal(requests.length, count)
      })
    for (const [count, timeoutMs, expected] of [
      [16, 60_000, 60_000],
      [32, 60_000, 30_000],
      [100, 60_000, 9600],
      [100, 20_000, 5000],
      [100, 2000, 2000],
    ] as const)
      test(`gives each of ${count} exchangers ${expected} of ${timeoutMs} ms for a step`, async (t) => {
        const others = Array.from({ length: count }, (_, n): [number, string] => [10, `h${n}.example`])
        resolver('127.0.0.1')
        await nameServer(t, { ...zoneOf(...others), '*': { addresses: [ONE] } })
        const { requests } = await chooseExchangers(requestOf([], timeoutMs), new AbortController().signal)
        assert.deepEqual([...new Set(requests.map(({ settings }) => settings.timeoutMs))], [expected])
      })
    test('considers all of exactly a hundred exchangers', async (t) => {
      const others = Array.from({ length: 99 }, (_, n): [number, string] => [10, `h${n}.example`])
      const { requested, excluded } = await choose(t, zoneOf([5, 'gw.site.example'], ...others))
      assert.deepEqual([requested.length, excluded], [99, [SELF]])
    })
  })

  suite('chooseExchangers: which exchanger is this host', () => {
    test('recognises this host by any of its addresses', async (t) => {
      const zone = {
        ...zoneOf([10, 'mx9.site.example'], [20, 'mx2.site.example']),
        'A mx9.site.example': { addresses: ['192.0.2.77', SITE] },
      }
      const { requested, excluded } = await choose(t, zone)
      assert.deepEqual(requested, ['mx2.site.example'])
      assert.deepEqual(excluded, ['mx9.site.example (this host)'])
    })
    test('finds this host, and excludes others, before it limits the requests of many names', async (t) => {
      resolver('127.0.0.1')
      const hosts = [
        [10, 'mx1.site.example'],
        [20, 'gw.site.example'],
        [30, 'mx2.site.example'],
        [40, 'mx3.site.example'],
        [50, 'mx4.site.example'],
      ] as const
      await nameServer(t, zoneOf(...hosts))
      const entries = Array.from({ length: 60_000 }, (_, index) => `n${index}.example` as NodeName)
      const { requested, excluded } = await chooseFor({ ...requestOf([], 60_000), entries })
      assert.deepEqual(requested, ['mx2.site.example', 'mx3.site.example'])
      assert.deepEqual(excluded, [
        "mx1.site.example (preference 10 is not larger than this host's 20)",
        SELF,
        'mx4.site.example (mail is requested from only 2 MXs)',
      ])
    })
    test('also requests an exchanger that DNS does not tell now, because the preference of this host may be lower', async (t) => {
      const failing = { rcode: 'SERVFAIL' } as const
      const { requested, excluded, includesSelf } = await choose(t, {
        ...zoneOf(
          [10, 'gw2.site.example'],
          [30, 'gw.site.example'],
          [20, 'mx1.site.example'],
          [40, 'mx2.site.example'],
          [5, 'mx3.site.example'],
        ),
        'A gw2.site.example': failing,
        'AAAA gw2.site.example': failing,
      })
      assert.deepEqual([requested, includesSelf], [['gw2.site.example', 'mx2.site.example'], true])
      assert.deepEqual(excluded, [
        "mx3.site.example (preference 5 is not larger than this host's 30)",
        "mx1.site.example (preference 20 is not larger than this host's 30)",
        SELF,
      ])
    })
    test('does not take an exchanger that a filter blocks for this host: its preference excludes no other', async (t) => {
      const zone = { ...zoneOf([10, 'mx1.site.example'], [10, 'mx2.site.example'], [5, 'mx3.site.example']) }
      const { requested, excluded, includesSelf } = await choose(t, {
        ...zone,
        'A mx1.site.example': { addresses: ['0.0.0.0'] },
        'AAAA mx1.site.example': { addresses: ['::'] },
        'A mx2.site.example': { addresses: ['0.0.0.0', TWO] },
      })
      assert.deepEqual([requested, includesSelf], [['mx3.site.example', 'mx2.site.example'], false])
      assert.deepEqual(excluded, ['mx1.site.example (the resolver returns ::, which would lead back to this host)'])
    })
    for (const [title, self] of [
      ['a name', 'mx1.site.example'],
      ['an address', ONE],
    ] as const)
      test(`recognises this host by ${title} that --self gives`, async (t) => {
        const zone = zoneOf([10, 'mx1.site.example'], [20, 'mx2.site.example'])
        const { requested, excluded, includesSelf } = await choose(t, zone, [self])
        assert.deepEqual([requested, includesSelf], [['mx2.site.example'], true])
        assert.deepEqual(excluded, ['mx1.site.example (this host, by --self)'])
        const hint = noExchangerError([
          { domain: 'site.example', host: 'mx1.site.example', reason: 'this host, by --self' },
        ]).hint
        assert.match(hint ?? '', /^remove the --self of each server that is not this host; /)
      })
    test("recognises this host by its name in /etc/hosts, at Debian's 127.0.1.1", async (t) => {
      const hosts = readFileSync('/etc/hosts', 'utf8')
      writeFileSync('/etc/hosts', `${hosts}127.0.1.1 primary.site.example\n`)
      t.after(() => writeFileSync('/etc/hosts', hosts))
      const { requested, excluded } = await choose(t, zoneOf([10, 'primary.site.example'], [20, 'mx2.site.example']))
      assert.deepEqual(requested, ['mx2.site.example'])
      assert.deepEqual(excluded, ['primary.site.example (this host)'])
    })
    test('takes an exchanger without an address for another host', async (t) => {
      const { requested, excluded } = await choose(t, zoneOf([10, 'gone.site.example'], [20, 'mx2.site.example']))
      assert.deepEqual([requested, excluded], [['gone.site.example', 'mx2.site.example'], []])
    })
    test('does not complete the name of an exchanger by the search list', async (t) => {
      await nameServer(t, {
        ...zoneOf([10, 'own'], [20, 'mx2.site.example']),
        'A own.search.example': { addresses: [SITE] },
      })
      writeFileSync('/etc/resolv.conf', 'nameserver 127.0.0.1\nsearch search.example\n')
      const { requested, includesSelf } = await chooseFor(requestOf([], 60_000))
      assert.deepEqual([requested, includesSelf], [['own', 'mx2.site.example'], false])
    })
    test('does not wait for an AAAA answer if there is an A record', { timeout: 10_000 }, async (t) => {
      const zone: Zone = {
        ...zoneOf([10, 'gw.site.example'], [20, 'mx2.site.example']),
        'AAAA gw.site.example': { silent: true },
        'AAAA mx2.site.example': { silent: true },
      }
      const { requested, excluded } = await choose(t, zone)
      assert.deepEqual([requested, excluded], [['mx2.site.example'], [SELF]])
    })
    test('looks up 25 exchangers at once', async (t) => {
      const others = Array.from({ length: 40 }, (_, n): [number, string] => [10, `h${n}.example`])
      let answer = (): void => undefined
      const after = new Promise<void>((resolve) => (answer = resolve))
      const seen = new Set<string>()
      const zone = new Proxy(zoneOf(...others), {
        get: (target, key): Answer | undefined => {
          const [, host] = /^A (h\d+\.example)$/.exec(String(key)) ?? []
          if (host === undefined) return target[String(key)]
          seen.add(host)
          if (seen.size === 25) setImmediate(answer)
          assert.ok(seen.size <= 25 || answered)
          return { after }
        },
      })
      let answered = false
      void after.then(() => (answered = true))
      const { requested } = await choose(t, zone)
      assert.deepEqual([requested.length, seen.size], [40, 40])
    })
    test('follows the alias of an exchanger', async (t) => {
      const zone = {
        ...zoneOf([20, 'alias.site.example'], [10, 'own.site.example']),
        'CNAME alias.site.example': { cname: 'mx2.site.example' },
        'CNAME own.site.example': { cname: 'gw.site.example' },
      }
      const { requested, excluded } = await choose(t, zone)
      assert.deepEqual(requested, ['alias.site.example'])
      assert.deepEqual(excluded, ['own.site.example (this host)'])
    })
  })

  suite('chooseExchangers: MX records', () => {
    test('requests the domain itself if it has no MX', async (t) => {
      const { requested, excluded, includesSelf } = await choose(t, { 'A site.example': { addresses: [TWO] } })
      assert.deepEqual([requested, excluded, includesSelf], [['site.example'], [], false])
    })
    test('requests nobody if the domain has no MX and is this host', async (t) => {
      const { requested, excluded, includesSelf } = await choose(t, { 'A site.example': { addresses: [SITE] } })
      assert.deepEqual([requested, includesSelf], [[], true])
      assert.deepEqual(excluded, ['site.example (this host)'])
    })
    test('fails with 68 if the domain has a null MX', async (t) => {
      await assertFailure(choose(t, zoneOf([0, '.'])), 68, /^null MX: the domain accepts no mail \(RFC 7505\)$/)
    })
    test('ignores a null MX beside other exchangers', async (t) => {
      const { requested, excluded } = await choose(t, zoneOf([0, '.'], [20, 'mx2.site.example']))
      assert.deepEqual([requested, excluded], [['mx2.site.example'], []])
    })
    test('follows the alias of the domain', async (t) => {
      const zone = {
        ...HOSTS,
        'CNAME site.example': { cname: 'other.example' },
        'MX other.example': { mx: [[10, 'mx2.site.example']] as const },
      }
      assert.deepEqual((await choose(t, zone)).requested, ['mx2.site.example'])
    })
    test('excludes an exchanger that is an address or has control characters, which it makes visible', async (t) => {
      const zone = zoneOf([10, '192.0.2.2'], [20, 'a\x1b[2Jb.site.example'])
      const { requested, excluded } = await choose(t, zone)
      assert.deepEqual(requested, [])
      const text = excluded.join(', ')
      assert.match(text, /^192\.0\.2\.2 \(not a host name\), a.*b\.site\.example \(not a host name\)$/)
      assert.doesNotMatch(text, /\x1b/) // eslint-disable-line no-control-regex
    })
    test('fails with 68 if there is no such domain', async (t) => {
      await assertFailure(choose(t, {}), 68, /^no such domain$/)
    })
    test('fails with 75 if the DNS fails', async (t) => {
      await assertFailure(
        choose(t, { 'MX site.example': { rcode: 'SERVFAIL' } }),
        75,
        /^the DNS resolver reports a failure \(ESERVFAIL\)$/,
      )
    })
    test('fails with 75 if the DNS does not answer', async (t) => {
      const zone = { 'MX site.example': { silent: true } } as const
      await assertFailure(choose(t, zone, [], { timeoutMs: 500 }), 75, /^no answer from DNS within 0\.5s$/)
    })
    test('waits for the lookups of a hundred exchangers no longer than --timeout', async (t) => {
      const mx = Array.from({ length: 100 }, (_, n) => [n, `mx${n}.isp.example`] as const)
      // Four rounds of lookups would take 4 s.
      const signal = AbortSignal.timeout(3000)
      setMaxListeners(0, signal)
      const zone: Zone = { 'MX site.example': { mx }, '*': { silent: true } }
      const { requested } = await choose(t, zone, [], { timeoutMs: 1000, signal })
      assert.equal(requested.length, 100)
    })
    test('fails with the reason of the signal that aborts the lookup of an exchanger', async (t) => {
      const ending = new AbortController()
      const zone: Zone = {
        ...zoneOf([10, 'mx1.site.example']),
        'AAAA mx1.site.example': { silent: true },
        get 'A mx1.site.example'(): Answer {
          ending.abort(new StepError('SIGTERM', { exitStatus: 143, kind: 'interrupted' }))
          return { silent: true }
        },
      }
      const choice = choose(t, zone, [], { signal: ending.signal })
      await assertFailure(choice, 143, /^SIGTERM$/)
    })
  })
} else {
  suite('messages about mail exchangers', () => {
    test('name each excluded host with its reason', () => {
      const led = new SessionError('ehlo', 'this host', { exitStatus: 68, kind: 'self' })
      const lost = new SessionError('ehlo', 'lost', { exitStatus: 75, kind: 'connection-lost' })
      const preferences = new Map([
        ['gw.site.example', 20],
        ['mx1.site.example', 20],
        ['mx2.site.example', 30],
      ])
      const reports = [
        { server: parseServer('gw.site.example'), error: led },
        { server: parseServer('mx1.site.example'), error: null },
        { server: parseServer('mx2.site.example'), error: null },
      ]
      const self = { domain: 'site.example', host: 'gw.site.example', reason: 'this host' }
      const reason = "preference 20 is not larger than this host's 20: the request does not count"
      const notRelaying = { domain: 'site.example', host: 'mx1.site.example', reason }
      const lateOnes = (ownPreference: number | undefined, all = reports): Exclusion[] =>
        lateExclusions('site.example', { ownPreference, preferences }, all)
      assert.deepEqual(lateOnes(undefined), [self, notRelaying])
      assert.deepEqual(lateOnes(10), [self])
      assert.deepEqual(lateOnes(undefined, reports.slice(1)), [])
      const failed = { server: parseServer('mx1.site.example'), error: lost }
      assert.deepEqual(lateOnes(undefined, reports.with(1, failed)), [self])
      const error = noExchangerError([self, { ...self, host: 'mx_.example', reason: 'not a host name' }])
      assert.deepEqual(
        [error.message, error.exitStatus],
        ['no MX to request mail from; skipped: gw.site.example (this host), mx_.example (not a host name)', 68],
      )
    })
    test('name what this host is known as in the warning that no MX is this host', () => {
      const advice = 'so mail is requested from all of them; if one is this host behind NAT: --self HOST'
      assert.equal(
        notListedWarning('site.example', ['gw.site.example'], false),
        'site.example has no MX, so mail is requested from site.example itself',
      )
      assert.equal(
        notListedWarning('site.example', [], true),
        `none of the MXs of site.example is this host, ${advice}`,
      )
      assert.equal(
        notListedWarning('site.example', ['gw.site.example', ONE], true),
        `none of the MXs of site.example is this host (known as gw.site.example, 192.0.2.1), ${advice}`,
      )
    })
  })
}
