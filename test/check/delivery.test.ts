import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { suite, test, type TestContext } from 'node:test'
import { checkDelivery } from '../../src/check/delivery.js'
import { NO_CHECK_FACTS, type ServerCheck } from '../../src/check/session-checker.js'
import { type Step, StepLog } from '../../src/check/steps.js'
import type { StepError } from '../../src/errors.js'
import type { NodeName } from '../../src/input/node-name.js'
import { parseServer } from '../../src/input/server-address.js'
import { etrn } from '../helpers/command.js'
import { type Answer, nameServer } from '../helpers/name-server.js'
import { isInNamespace } from '../helpers/namespace.js'
import { BYE, HELLO, scripted, scriptedAt } from '../helpers/scripted-server.js'
import { resolver, SITE } from '../helpers/site.js'

type Zone = Readonly<Record<string, Answer>>

/** The two ends of a session: this host's address as the server sees it, and the server's. */
type Endpoints = Pick<ServerCheck, 'seenAs' | 'address'>

/** The server of a session on loopback that did not say from which address it saw this host. */
const LOCAL: Endpoints = { seenAs: null, address: '127.0.0.1' }
const PUBLIC_SERVER = '192.0.2.1'
const DNS_HINT =
  'point an MX record to this host, or ask your provider whether the server has its own route to this host'

type Delivery = {
  readonly steps: readonly Step[]
  readonly localFailure: StepError | undefined
  readonly queries: readonly string[]
}

/** The most addresses of one host that DNS lookups return. */
const HOST_ADDRESSES = 50

/** Checks the delivery of mail for these names, with this zone. */
async function checkNames(
  t: TestContext,
  zone: Zone,
  names: readonly string[],
  endpoints: Endpoints = LOCAL,
  signal: AbortSignal = new AbortController().signal,
): Promise<Delivery> {
  resolver('127.0.0.1')
  const { asked: queries } = await nameServer(t, zone)
  const log = new StepLog('', { onPart: () => undefined, onStep: () => undefined })
  const server = parseServer('mx.example')
  // The names as they are, checked or not
  const entries = names as readonly NodeName[]
  const check = { ...NO_CHECK_FACTS, ...endpoints, server, entries, steps: [], error: null }
  const localFailure = await checkDelivery([check], { timeoutMs: 60_000, signal }, log)
  return { steps: log.all, localFailure, queries }
}

if (isInNamespace(import.meta.url)) {
  execFileSync('ip', ['addr', 'add', `${SITE}/32`, 'dev', 'lo'])

  suite('checkDelivery: the local mail server', () => {
    test('returns no failure and shows the greeting if it greets with 220', async (t) => {
      await scriptedAt(t, { host: '127.0.0.1', port: 25 }, ['S: 220 gw.site.example ESMTP', ...BYE])
      const { steps, localFailure } = await checkNames(t, {}, [])
      const [step] = steps
      assert.deepEqual(step && { ...step, elapsedMs: 0 }, {
        step: 'local server',
        ok: true,
        elapsedMs: 0,
        text: 'gw.site.example ESMTP',
        hint: null,
      })
      assert.equal(localFailure, undefined)
    })
    test('returns the failure and shows a hint if no server listens', async (t) => {
      const { steps, localFailure } = await checkNames(t, {}, [])
      const [step] = steps
      assert.deepEqual(step && { ...step, elapsedMs: 0 }, {
        step: 'local server',
        ok: false,
        elapsedMs: 0,
        text: 'connection refused (127.0.0.1 port 25)',
        hint: 'start the local mail server, which receives the requested mail; --wait-local 2m waits for the server',
      })
      assert.equal(localFailure?.message, 'connection refused (127.0.0.1 port 25)')
    })
  })

  suite('checkDelivery: the route to a name', () => {
    const testRoute = (
      title: string,
      zone: Zone,
      endpoints: Endpoints,
      expected: Pick<Step, 'ok' | 'text' | 'hint'>,
    ): void =>
      void test(title, async (t) => {
        const { steps } = await checkNames(t, zone, ['site.example'], endpoints)
        const [, route, ...others] = steps
        const { step, ok, text, hint } = route ?? {}
        assert.deepEqual({ step, ok, text, hint }, { step: 'site.example', ...expected })
        assert.deepEqual(others, [])
      })
    const seenAs = (address: string): Endpoints => ({ seenAs: address, address: '127.0.0.1' })
    const MX: Zone = { 'MX site.example': { mx: [[10, 'gw.site.example']] } }
    const zoneAt = (...addresses: readonly string[]): Zone => ({ ...MX, 'A gw.site.example': { addresses } })
    testRoute('holds if the MX is this host', zoneAt(SITE), LOCAL, {
      ok: true,
      text: 'mail goes to gw.site.example (192.0.2.100): 192.0.2.100 is this host',
      hint: null,
    })
    testRoute(
      'holds if one of several exchangers is this host',
      {
        'MX site.example': {
          mx: [
            [10, 'gw.site.example'],
            [20, 'mx2.site.example'],
          ],
        },
        'A gw.site.example': { addresses: [SITE] },
        'A mx2.site.example': { addresses: ['198.51.100.8', '198.51.100.9'] },
      },
      LOCAL,
      {
        ok: true,
        text: 'mail goes to gw.site.example (192.0.2.100), mx2.site.example (198.51.100.8, 198.51.100.9): 192.0.2.100 is this host',
        hint: null,
      },
    )
    testRoute('holds if the domain has no MX and is this host', { 'A site.example': { addresses: [SITE] } }, LOCAL, {
      ok: true,
      text: 'mail goes to site.example (192.0.2.100): 192.0.2.100 is this host',
      hint: null,
    })
    testRoute(
      'holds if the MX is the address that the server sees, as behind NAT',
      zoneAt('198.51.100.7'),
      seenAs('198.51.100.7'),
      { ok: true, text: 'mail goes to gw.site.example (198.51.100.7): 198.51.100.7 is this host', hint: null },
    )
    testRoute(
      'fails if the MX is another address than the one that the server sees',
      zoneAt('198.51.100.7'),
      seenAs('203.0.113.9'),
      {
        ok: false,
        text: 'mail goes to gw.site.example (198.51.100.7): not 203.0.113.9, the address that the server sees',
        hint: DNS_HINT,
      },
    )
    testRoute('is unknown if the MX is elsewhere and the server shows no address', zoneAt('198.51.100.7'), LOCAL, {
      ok: null,
      text: 'mail goes to gw.site.example (198.51.100.7): this is not an address of this host; behind NAT, it can still be right',
      hint: null,
    })
    testRoute('is unknown if the MX has no address', { ...MX, 'TXT gw.site.example': {} }, LOCAL, {
      ok: null,
      text: 'mail goes to gw.site.example (no address): this is not an address of this host; behind NAT, it can still be right',
      hint: null,
    })
    testRoute('fails at a null MX', { 'MX site.example': { mx: [[0, '.']] } }, LOCAL, {
      ok: false,
      text: 'null MX: this domain accepts no mail (RFC 7505)',
      hint: DNS_HINT,
    })
    testRoute('fails if there is no such domain', {}, LOCAL, {
      ok: false,
      text: 'no such domain',
      hint: DNS_HINT,
    })
    testRoute(
      'is unknown, and private, if the MX is a private address of this host and the server has a public one',
      zoneAt('127.0.0.1'),
      { seenAs: null, address: PUBLIC_SERVER },
      {
        ok: null,
        text: 'mail goes to gw.site.example (127.0.0.1): 127.0.0.1 is this host, but the address is private',
        hint: 'only servers on the same network can deliver to a private address',
      },
    )
    testRoute('holds if the MX is a private address of this host and so is the server', zoneAt('127.0.0.1'), LOCAL, {
      ok: true,
      text: 'mail goes to gw.site.example (127.0.0.1): 127.0.0.1 is this host',
      hint: null,
    })
    testRoute(
      'is unknown if the MX is an address that stands for no host',
      zoneAt('0.0.0.0'),
      { seenAs: null, address: PUBLIC_SERVER },
      {
        ok: null,
        text: 'mail goes to gw.site.example (0.0.0.0): this is not an address of this host; behind NAT, it can still be right',
        hint: null,
      },
    )
    testRoute(
      'is unknown if the only MX is the server',
      zoneAt('198.51.100.1'),
      { seenAs: '203.0.113.9', address: '198.51.100.1' },
      {
        ok: null,
        text: 'mail goes to gw.site.example (198.51.100.1): this is the server itself, which needs its own route to this host',
        hint: null,
      },
    )
    testRoute(
      'fails if an MX is the server and another one is elsewhere',
      zoneAt('198.51.100.1', '198.51.100.2'),
      { seenAs: '203.0.113.9', address: '198.51.100.1' },
      {
        ok: false,
        text: 'mail goes to gw.site.example (198.51.100.1, 198.51.100.2): not 203.0.113.9, the address that the server sees',
        hint: DNS_HINT,
      },
    )
    testRoute(
      'holds if the MX is an IPv4-mapped address of this host, or the one that the server sees',
      { ...MX, 'AAAA gw.site.example': { addresses: ['::ffff:198.51.100.7'] } },
      seenAs('198.51.100.7'),
      { ok: true, text: 'mail goes to gw.site.example (198.51.100.7): 198.51.100.7 is this host', hint: null },
    )
    testRoute(
      'is unknown, and not wrong, if an MX can not be looked up now',
      {
        'MX site.example': {
          mx: [
            [10, 'gw.site.example'],
            [20, 'mx2.site.example'],
          ],
        },
        'A gw.site.example': { rcode: 'SERVFAIL' },
        'AAAA gw.site.example': { rcode: 'SERVFAIL' },
        'A mx2.site.example': { addresses: ['198.51.100.8'] },
      },
      seenAs('203.0.113.9'),
      {
        ok: null,
        text: 'mail goes to gw.site.example (no address), mx2.site.example (198.51.100.8); gw.site.example: the DNS resolver reports a failure (ESERVFAIL)',
        hint: 'check again when DNS works',
      },
    )
    test('looks up the first ten of many exchangers, and shows five of them, with five addresses each', async (t) => {
      const mx = Array.from({ length: 100 }, (_, n) => [n, `mx${n}.example`] as const)
      const addresses = Array.from({ length: 60 }, (_, n) => `198.51.100.${n}`)
      const hosts = Object.fromEntries(mx.map(([, host]) => [`A ${host}`, { addresses }]))
      const { steps, queries } = await checkNames(t, { ...hosts, 'MX site.example': { mx } }, ['site.example'])
      assert.equal(queries.filter((query) => query.startsWith('A ')).length, 10)
      const shown = (n: number): string =>
        `mx${n}.example (${addresses.slice(0, 5).join(', ')} and ${HOST_ADDRESSES - 5} more)`
      assert.equal(
        steps[1]?.text,
        `mail goes to ${[0, 1, 2, 3, 4].map(shown).join(', ')} and 95 more: this is not an address of this host; behind NAT, it can still be right`,
      )
    })
    test('is unknown if the DNS fails', async (t) => {
      const { steps } = await checkNames(t, { 'MX site.example': { rcode: 'SERVFAIL' } }, ['site.example'])
      const [, route] = steps
      assert.deepEqual([route?.ok, route?.hint], [null, 'check again when DNS works'])
      assert.match(route?.text ?? '', /^the DNS resolver reports a failure/)
    })
  })

  suite('checkDelivery: which names it looks up', () => {
    test('looks up the domain of a name once, without its @ and in small letters, and no queue', async (t) => {
      const { steps } = await checkNames(t, {}, ['a.example', '@A.example', '#queue', '@b.example'])
      assert.deepEqual(
        steps.map(({ step }) => step),
        ['local server', 'a.example', 'b.example'],
      )
    })
    for (const [count, last] of [
      [20, 'n19.example'],
      [21, 'names'],
      [30, 'names'],
    ] as const)
      test(`looks up the first twenty of ${count} names and counts the others`, async (t) => {
        const names = Array.from({ length: count }, (_, index) => `n${index}.example`)
        const { steps } = await checkNames(t, {}, names)
        assert.equal(steps.filter(({ step }) => step.endsWith('.example')).length, 20)
        assert.equal(steps.at(-1)?.step, last)
        if (last !== 'names') return
        const { ok, elapsedMs, text } = steps.at(-1) ?? {}
        assert.deepEqual([ok, elapsedMs, text], [null, null, `not looked up: ${count - 20} more`])
      })
    test('looks up no other name after the signal aborts', async (t) => {
      const ending = new AbortController()
      const zone: Zone = {
        'MX b.example': { silent: true },
        get 'MX a.example'(): Answer {
          ending.abort()
          return { silent: true }
        },
      }
      await scriptedAt(t, { host: '127.0.0.1', port: 25 }, ['S: 220 gw', ...BYE])
      const names = ['a.example', 'b.example']
      const { steps, localFailure } = await checkNames(t, zone, names, LOCAL, ending.signal)
      assert.equal(localFailure, undefined)
      assert.deepEqual(
        steps.map(({ step }) => step),
        ['local server', 'a.example'],
      )
    })
  })

  suite('the command: --check of the delivery', () => {
    test('shows twenty names and counts the others', async (t) => {
      resolver('127.0.0.1')
      await nameServer(t, {})
      const server = await scripted(t, [...HELLO, ...BYE])
      const names = Array.from({ length: 30 }, (_, n) => ['--subdomains', `n${n}.example`]).flat()
      const args = ['--check', '--json', '--helo', 'gw.site.example', ...names, `127.0.0.1:${server.port}`]
      const { stdout } = await etrn([...args, 'site.example'])
      const { wayBack } = JSON.parse(stdout) as { wayBack: readonly { text: string }[] }
      assert.deepEqual([wayBack.length, wayBack.at(-1)?.text], [22, 'not looked up: 11 more'])
    })
    test('ends at --max-time', async (t) => {
      t.mock.timers.enable({ apis: ['setTimeout'] })
      resolver('127.0.0.1')
      await nameServer(t, {
        'MX b.example': { silent: true },
        get 'MX a.example'(): Answer {
          setImmediate(() => t.mock.timers.tick(4000))
          return { silent: true }
        },
      })
      const server = await scripted(t, [...HELLO, ...BYE])
      const args = ['--check', '--json', '--max-time', '4s', '--helo', 'gw.site.example', `127.0.0.1:${server.port}`]
      const { stdout } = await etrn([...args, 'a.example', 'b.example', 'c.example'])
      const { wayBack } = JSON.parse(stdout) as { wayBack: readonly { step: string }[] }
      assert.deepEqual(
        wayBack.map(({ step }) => step),
        ['local server', 'a.example'],
      )
    })
    test('does not begin after a signal', async (t) => {
      resolver('127.0.0.1')
      await nameServer(t, {})
      const server = await scripted(t, [...HELLO, ...BYE])
      const args = ['--check', '--json', '-v', '--helo', 'gw.site.example', `127.0.0.1:${server.port}`]
      const run = await etrn([...args, 'a.example', 'b.example', 'c.example'], {
        once: { said: 'C: QUIT', act: (child) => void child.kill('SIGTERM') },
      })
      const { exitStatus, wayBack } = JSON.parse(run.stdout) as { exitStatus: number; wayBack: unknown[] }
      assert.deepEqual([run.signal, exitStatus, wayBack], ['SIGTERM', 143, []])
    })
  })
}
