import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { suite, test, type TestContext } from 'node:test'
import type { Result } from '../../src/etrn/result.js'
import type { Stage } from '../../src/smtp/errors.js'
import { type CommandOptions, type Document, etrnJson, type Finished, spawnEtrn } from '../helpers/command.js'
import { fixturePath } from '../helpers/files.js'
import { isInNamespace } from '../helpers/namespace.js'
import { BYE, type Conversation, HELLO, scriptedAt, silence } from '../helpers/scripted-server.js'
import { AT_SITE, makeSite } from '../helpers/site.js'
import { type CountingServer, countingServer } from './counting-server.js'
import { type PacketCount, type PacketCounts, setUpLink, type SlowLink, slowLinkSkipReason } from './slow-link.js'

// A ship requests its mail over a link with 600 ms round trips and 9,600 bit/s. The link may lose a packet in twenty, or be cut.

const EHLO = 'EHLO gw.site.example\r\n'
const QUIT = 'QUIT\r\n'
const LOSS = 0.05
const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]

const ships = (count: number): string[] => Array.from({ length: count }, (_, index) => `ship${index}.site.example`)

/** Returns the result for a name. Its number chooses one of three kinds of reply. */
function expectedResult(name: string): Result {
  const n = Number(/\d+/.exec(name)?.[0])
  const common = { name, enhancedCode: null, hint: null }
  if (n % 3 === 0)
    return { ...common, code: 250, text: `OK, queuing for node ${name} started`, outcome: 'started', pending: null }
  if (n % 3 === 1)
    return { ...common, code: 251, text: `OK, no messages for node ${name}`, outcome: 'empty', pending: 0 }
  return { ...common, code: 253, text: `OK, ${n} pending messages for node ${name}`, outcome: 'pending', pending: n }
}

function replyFor(name: string): string {
  const { code, text } = expectedResult(name)
  return `${code} ${text}`
}

const HANDSHAKE: Conversation = [
  ...HELLO.slice(0, 3),
  'S: 250 STARTTLS',
  'C: STARTTLS',
  'S: 220 go ahead',
  { tls: { key: readFileSync(fixturePath('mx.key')), cert: readFileSync(fixturePath('mx.pem')) } },
]
const SECURED: Conversation = [
  ...HELLO.slice(1),
  'C: ETRN ship0.site.example',
  `S: ${replyFor('ship0.site.example')}`,
  ...BYE,
]

type FinishedJson = Finished & { readonly document: Document }
type SiteOptions = CommandOptions & { readonly args?: readonly string[] }

/** Runs the command at the site; ends it if the test ends first. */
async function runAtSite(
  t: TestContext,
  server: string,
  names: readonly string[],
  options: SiteOptions = {},
): Promise<FinishedJson> {
  const during = (child: { kill: (signal: 'SIGKILL') => boolean }): void =>
    t.signal.addEventListener('abort', () => child.kill('SIGKILL'))
  const args = ['--helo', 'gw.site.example', ...(options.args ?? []), server, ...names]
  return etrnJson(args, { through: AT_SITE, during, ...options }, spawnEtrn)
}

const resultsOf = ({ document }: FinishedJson): readonly Result[] => document.servers.flatMap(({ names }) => names)

/** Asserts that every name has the result of its own reply. */
function assertAnswered(run: FinishedJson, names: readonly string[]): void {
  assert.deepEqual([run.status, run.document.servers.map(({ error }) => error)], [0, [null]], run.stdout)
  assert.deepEqual(resultsOf(run), names.map(expectedResult))
}

/** Asserts that every name was deferred at this stage, without a reply. */
function assertDeferred(run: FinishedJson, stage: Stage, names: readonly string[]): void {
  const stages = run.document.servers.map(({ error }) => error?.stage)
  assert.deepEqual([run.status, stages], [75, [stage]], run.stdout)
  assert.deepEqual(
    resultsOf(run),
    names.map((name) => ({
      name,
      outcome: 'deferred',
      code: null,
      enhancedCode: null,
      text: null,
      pending: null,
      hint: null,
    })),
  )
}

/** Asserts that each name was requested once, with 7 names in a session and 4 sessions at once at most. */
function assertLimits(server: CountingServer, names: readonly string[]): void {
  assert.deepEqual(server.requestedNames().sort(), [...names].sort())
  for (const session of server.sessions) assert.ok(session.names.length <= 7, `${session.names.length} in a session`)
  assert.ok(server.maxConcurrentSessions() <= 4, `${server.maxConcurrentSessions()} sessions at once`)
}

/** Requests the names from a server at the other end, and asserts that all are answered. */
async function requestNamesOver(
  t: TestContext,
  { host }: SlowLink,
  names: readonly string[],
): Promise<[CountingServer, FinishedJson]> {
  const server = await countingServer(t, host, { reply: replyFor })
  const run = await runAtSite(t, server.argument, names)
  assertAnswered(run, names)
  assertLimits(server, names)
  return [server, run]
}

/** Does the same over a new link without loss, and asserts that the client sent nothing but EHLO, ETRN and QUIT. */
async function requestNamesWithoutLoss(
  t: TestContext,
  names: readonly string[],
): Promise<[CountingServer, PacketCounts]> {
  const link = await setUpLink(t)
  const [server, run] = await requestNamesOver(t, link, names)
  for (const session of server.sessions)
    assert.equal(session.octets, EHLO + session.names.map((name) => `ETRN ${name}\r\n`).join('') + QUIT)
  await server.waitForClose()
  const counts = await link.count()
  printCounts(t, `names: ${names.length}`, run, counts)
  return [server, counts]
}

/**
 * Asserts bounds on the packets of one end. Retransmissions and their ACKs don't count: a loaded machine can delay a packet for longer
 * than TCP waits for its ACK.
 */
function assertWithin({ site, world }: PacketCounts, end: PacketCount, packets: number, octets: number): void {
  const retransmitted = site.retransmitted + world.retransmitted
  assert.ok(end.packets <= packets + retransmitted, `${end.packets} packets, not ${packets}`)
  assert.ok(end.octets <= octets + retransmitted * 576, `${end.octets} octets, not ${octets}`)
}

function printCounts(t: TestContext, title: string, { document }: FinishedJson, { site, world }: PacketCounts): void {
  const format = ({ packets, octets, retransmitted, lost }: PacketCount): string =>
    `${packets} packets of ${octets} octets, ${retransmitted} retransmitted, ${lost} lost`
  t.diagnostic(
    `${title}: ${document.servers[0]?.elapsedMs ?? 0} ms; from the site ${format(site)}; to the site ${format(world)}`,
  )
}

/** Sets up a link that is cut before the reply to the nth line with this prefix; '' means the greeting. */
async function setUpCutLink(
  t: TestContext,
  prefix: string,
  nth = 1,
): Promise<{ link: SlowLink; server: CountingServer }> {
  const link = await setUpLink(t)
  let left = nth
  const beforeReply = async (line: string): Promise<unknown> =>
    line.startsWith(prefix) && --left === 0 ? link.cut() : undefined
  return { link, server: await countingServer(t, link.host, { reply: replyFor, beforeReply }) }
}

function registerPlainTests(): void {
  test('one name takes no more packets and octets than the protocol needs', { timeout: 60_000 }, async (t) => {
    const [, counts] = await requestNamesWithoutLoss(t, ships(1))
    // SYN, EHLO, ETRN, QUIT and FIN are one segment each.
    assert.equal(counts.site.segments, 5)
    // The ACK of the SYN is a packet of its own, and so may be the ACKs of four replies and of the server's FIN: 11 packets with 53
    // octets of data. A header has 52 octets, or 60 with a SYN.
    assertWithin(counts, counts.site, 11, 53 + 60 + 10 * 52)
    // The server sends a SYN, four replies with 110 octets, a FIN, and the ACKs of three commands and of the FIN.
    assertWithin(counts, counts.world, 10, 110 + 60 + 9 * 52)
  })

  test('twenty names take no more packets and octets than the protocol needs', { timeout: 60_000 }, async (t) => {
    const [{ sessions }, counts] = await requestNamesWithoutLoss(t, ships(20))
    assert.ok(sessions.length === 3 || sessions.length === 4, `${sessions.length} sessions`)
    assert.equal(counts.site.segments, 4 * sessions.length + 20)
    // A name adds its ETRN, of 25 or 26 octets, and perhaps the ACK of its reply.
    const octets = sessions.length * (28 + 60 + 8 * 52) + 20 * (26 + 2 * 52)
    assertWithin(counts, counts.site, sessions.length * 9 + 20 * 2, octets)
  })
}

function registerLossTests(): void {
  for (const seed of SEEDS)
    test(`one name, then twenty names are answered, loss seed ${seed}`, { timeout: 150_000 }, async (t) => {
      const link = await setUpLink(t, { loss: LOSS, seed })
      const [, one] = await requestNamesOver(t, link, ships(1))
      printCounts(t, 'one name', one, await link.count())
      const [, twenty] = await requestNamesOver(t, link, ships(20))
      const counts = await link.count()
      printCounts(t, 'twenty names', twenty, counts)
      assert.ok(counts.site.lost + counts.world.lost > 0, 'the link lost no packet')
    })

  test('--wait requests a name until the server replies 251', { timeout: 150_000 }, async (t) => {
    const link = await setUpLink(t, { loss: LOSS, seed: 11 })
    const replies = ['253 2 pending messages', '253 1 pending message', '251 nothing']
    const server = await countingServer(t, link.host, { reply: (_, nth) => replies[nth - 1] ?? '554 too often' })
    const args = ['--wait', '10m', '--interval', '1s']
    const run = await runAtSite(t, server.argument, ['site.example'], { args })
    assert.equal(run.status, 0, run.stdout)
    assert.deepEqual(
      resultsOf(run).map(({ outcome, code }) => [outcome, code]),
      [['empty', 251]],
    )
    assert.deepEqual(
      server.sessions.map(({ names }) => names),
      [['site.example'], ['site.example'], ['site.example']],
    )
  })

  for (const seed of [12, 13, 14])
    test(`a name is answered over TLS, loss seed ${seed}`, { timeout: 150_000 }, async (t) => {
      const link = await setUpLink(t, { loss: LOSS, seed })
      const server = await scriptedAt(t, { host: link.host, port: 0 }, [...HANDSHAKE, ...SECURED])
      const run = await runAtSite(t, `${link.host}:${server.port}`, ships(1), { args: ['--tls', 'encrypt'] })
      printCounts(t, 'TLS', run, await link.count())
      assertAnswered(run, ships(1))
      assert.equal(run.document.servers[0]?.tls?.protocol, 'TLSv1.3')
      // The link is removed when the test ends.
      await server.verify()
    })
}

function registerCutTests(): void {
  for (const [reply, line, stage] of [
    ['greeting', '', 'greeting'],
    ['reply to EHLO', 'EHLO', 'ehlo'],
  ] as const)
    test(`all names are deferred if the link is cut before the ${reply}`, { timeout: 60_000 }, async (t) => {
      const { server } = await setUpCutLink(t, line)
      const run = await runAtSite(t, server.argument, ships(3), { args: ['--timeout', '5s'] })
      assertDeferred(run, stage, ships(3))
      assert.deepEqual(server.requestedNames(), [])
    })

  test(
    'answered names keep their results and the others are deferred if the link is cut at the fourth of twenty',
    { timeout: 60_000 },
    async (t) => {
      const { server } = await setUpCutLink(t, 'ETRN', 4)
      const run = await runAtSite(t, server.argument, ships(20), { args: ['--timeout', '5s'] })
      assert.equal(run.status, 75, run.stdout)
      const results = resultsOf(run)
      assert.deepEqual(
        results.map(({ name }) => name),
        ships(20),
      )
      assert.equal(results[0]?.code, 250)
      for (const result of results)
        if (result.code !== null) assert.deepEqual(result, expectedResult(result.name))
        else assert.equal(result.outcome, 'deferred', result.name)
      // The reply to the 4th ETRN never arrives. The three before it may be lost, too: that depends on the timing of the sessions.
      assert.ok(results.filter(({ code }) => code !== null).length <= 3, run.stdout)
      assert.equal(new Set(server.requestedNames()).size, server.requestedNames().length)
    },
  )

  test('exit status 0 follows a cut before the reply to QUIT', { timeout: 60_000 }, async (t) => {
    const { server } = await setUpCutLink(t, 'QUIT')
    const run = await runAtSite(t, server.argument, ships(1), { args: ['--timeout', '5s'] })
    assertAnswered(run, ships(1))
    assertLimits(server, ships(1))
  })

  test('all names are deferred if the link is cut within the TLS handshake', { timeout: 60_000 }, async (t) => {
    const link = await setUpLink(t)
    const place = { host: link.host, port: 0, isLoose: true } as const
    const waitForClientHello = async (socket: Socket): Promise<unknown> => once(socket, 'data')
    const server = await scriptedAt(t, place, [...HANDSHAKE.slice(0, -1), waitForClientHello, link.cut, silence])
    const args = ['--tls', 'encrypt', '--timeout', '5s']
    const run = await runAtSite(t, `${link.host}:${server.port}`, ships(3), { args })
    assertDeferred(run, 'tls', ships(3))
  })

  test('--retry-for gets every name answered after the link is mended', { timeout: 150_000 }, async (t) => {
    const { link, server } = await setUpCutLink(t, 'ETRN', 3)
    let mended: Promise<unknown> | undefined
    const once = { said: '; retry at ', act: (): void => void (mended = link.mend()) }
    const args = ['-v', '--timeout', '5s', '--retry-for', '5m']
    const run = await runAtSite(t, server.argument, ships(5), { args, once })
    await mended
    assertAnswered(run, ships(5))
    // The client repeats only the last name of a session that ended without QUIT. The server can't know how many sessions the
    // client has, because it doesn't notice the cut.
    const unanswered = server.sessions.filter(({ hasQuit }) => !hasQuit).flatMap(({ names }) => names.slice(-1))
    const repeated = server.requestedNames().filter((name, index, all) => all.indexOf(name) !== index)
    assert.equal(new Set(repeated).size, repeated.length)
    assert.ok(
      repeated.length > 0 && repeated.every((name) => unanswered.includes(name)),
      `${repeated.join()} were repeated, not only ${unanswered.join()}`,
    )
  })
}

const skip = slowLinkSkipReason()

if (skip !== false) test('the client over a slow link', { skip }, () => undefined)
else if (isInNamespace(import.meta.url)) {
  makeSite()
  // Nearly all time is waiting, so that the tests run at once.
  suite('the client over a slow link', { concurrency: 2 }, registerPlainTests)
  suite('the client over a slow link that loses packets', { concurrency: 20 }, registerLossTests)
  suite('the client over a slow link that is cut', { concurrency: 20 }, registerCutTests)
}
