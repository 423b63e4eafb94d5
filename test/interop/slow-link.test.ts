import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { suite, test, type TestContext } from 'node:test'
import type { Result } from '../../src/etrn/outcome.js'
import type { Stage } from '../../src/smtp/errors.js'
import { type CommandOptions, type Document, etrnJson, type Finished, spawnEtrn } from '../helpers/command.js'
import { isInNamespace } from '../helpers/namespace.js'
import { BYE, type Conversation, HELLO, scriptedAt, silence } from '../helpers/scripted-server.js'
import { AT_SITE, makeSite } from '../helpers/site.js'
import { type CountingServer, countingServer } from './counting-server.js'
import { fixture } from './mta.js'
import { type Count, type Counts, type Link, noLink, slowLink } from './slow-link.js'

// A ship asks for its mail over a link of 600 ms and 9,600 bit/s that loses a packet in twenty, or is cut.

const EHLO = 'EHLO gw.site.example\r\n'
const QUIT = 'QUIT\r\n'
const LOSS = 0.05
const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]

const ships = (count: number): string[] => Array.from({ length: count }, (_, index) => `ship${index}.site.example`)

/** What a name comes to by the reply that is its own; each third name has another kind of reply. */
function answered(name: string): Result {
  const n = Number(/\d+/.exec(name)?.[0])
  const all = { name, enhancedCode: null }
  if (n % 3 === 0)
    return { ...all, code: 250, text: `OK, queuing for node ${name} started`, outcome: 'started', pending: null }
  if (n % 3 === 1) return { ...all, code: 251, text: `OK, no messages for node ${name}`, outcome: 'empty', pending: 0 }
  return { ...all, code: 253, text: `OK, ${n} pending messages for node ${name}`, outcome: 'pending', pending: n }
}

function reply(name: string): string {
  const { code, text } = answered(name)
  return `${code} ${text}`
}

const HANDSHAKE: Conversation = [
  ...HELLO.slice(0, 3),
  'S: 250 STARTTLS',
  'C: STARTTLS',
  'S: 220 go ahead',
  { tls: { key: readFileSync(fixture('mx.key')), cert: readFileSync(fixture('mx.pem')) } },
]
const SECURED: Conversation = [
  ...HELLO.slice(1),
  'C: ETRN ship0.site.example',
  `S: ${reply('ship0.site.example')}`,
  ...BYE,
]

type Run = Finished & { readonly document: Document }
type Asking = CommandOptions & { readonly args?: readonly string[] }

/** The command at the site. It ends with the test at the latest. */
async function ask(t: TestContext, server: string, names: readonly string[], o: Asking = {}): Promise<Run> {
  const during = (child: { kill: (signal: 'SIGKILL') => boolean }): void =>
    t.signal.addEventListener('abort', () => child.kill('SIGKILL'))
  const args = ['--helo', 'gw.site.example', ...(o.args ?? []), server, ...names]
  return etrnJson(args, { through: AT_SITE, during, ...o }, spawnEtrn)
}

const resultsOf = ({ document }: Run): readonly Result[] => document.servers.flatMap(({ names }) => names)

/** Every name has the outcome of its own reply. */
function assertAnswered(run: Run, names: readonly string[]): void {
  assert.deepEqual([run.status, run.document.servers.map(({ error }) => error)], [0, [null]], run.stdout)
  assert.deepEqual(resultsOf(run), names.map(answered))
}

/** No name has a reply. */
function assertDeferred(run: Run, stage: Stage, names: readonly string[]): void {
  const stages = run.document.servers.map(({ error }) => error?.stage)
  assert.deepEqual([run.status, stages], [75, [stage]], run.stdout)
  assert.deepEqual(
    resultsOf(run),
    names.map((name) => ({ name, outcome: 'deferred', code: null, enhancedCode: null, text: null, pending: null })),
  )
}

/** Each name is asked for once; few names a session, and few sessions. */
function assertFair(server: CountingServer, names: readonly string[]): void {
  assert.deepEqual(server.asked().sort(), [...names].sort())
  for (const session of server.sessions) assert.ok(session.names.length <= 7, `${session.names.length} in a session`)
  assert.ok(server.atOnce() <= 4, `${server.atOnce()} sessions at once`)
}

/** Asks a server at the other end; all has to go well. */
async function askFairly(t: TestContext, { host }: Link, names: readonly string[]): Promise<[CountingServer, Run]> {
  const server = await countingServer(t, host, { reply })
  const run = await ask(t, server.word, names)
  assertAnswered(run, names)
  assertFair(server, names)
  return [server, run]
}

/** The same where no packet is lost: what went over the wire, in sessions of nothing but EHLO, ETRN and QUIT. */
async function askPlainly(t: TestContext, names: readonly string[]): Promise<[CountingServer, Counts]> {
  const link = await slowLink(t)
  const [server, run] = await askFairly(t, link, names)
  for (const session of server.sessions)
    assert.equal(session.octets, EHLO + session.names.map((name) => `ETRN ${name}\r\n`).join('') + QUIT)
  await server.closed()
  const counts = await link.count()
  tell(t, `names: ${names.length}`, run, counts)
  return [server, counts]
}

/**
 * A loaded machine can keep a packet for longer than TCP waits for its ACK. What is sent again, and its ACK, is not the
 * command's doing.
 */
function assertWithin({ site, world }: Counts, end: Count, packets: number, octets: number): void {
  const again = site.repeated + world.repeated
  assert.ok(end.packets <= packets + again, `${end.packets} packets, not ${packets}`)
  assert.ok(end.octets <= octets + again * 576, `${end.octets} octets, not ${octets}`)
}

function tell(t: TestContext, what: string, { document }: Run, { site, world }: Counts): void {
  const end = ({ packets, octets, repeated, lost }: Count): string =>
    `${packets} packets of ${octets} octets, ${repeated} sent again, ${lost} lost`
  t.diagnostic(`${what}: ${document.servers[0]?.elapsedMs ?? 0} ms; there ${end(site)}; back ${end(world)}`)
}

/** A link that is cut before the reply to a line; `''` is the greeting. */
async function cutAt(t: TestContext, begins: string, nth = 1): Promise<{ link: Link; server: CountingServer }> {
  const link = await slowLink(t)
  let left = nth
  const before = async (line: string): Promise<unknown> =>
    line.startsWith(begins) && --left === 0 ? link.cut() : undefined
  return { link, server: await countingServer(t, link.host, { reply, before }) }
}

function plain(): void {
  test('one name costs what the protocol costs', { timeout: 60_000 }, async (t) => {
    const [, counts] = await askPlainly(t, ships(1))
    // SYN, EHLO, ETRN, QUIT, FIN, each in one segment.
    assert.equal(counts.site.segments, 5)
    // Besides them the ACK of the SYN, and where they come too late to bear them, those of four replies and the server's FIN: 11
    // packets, with 53 octets in them. A header is 52 octets, and 60 with a SYN.
    assertWithin(counts, counts.site, 11, 53 + 60 + 10 * 52)
    // SYN, four replies of 110 octets, FIN; the ACKs of three commands and of the FIN.
    assertWithin(counts, counts.world, 10, 110 + 60 + 9 * 52)
  })

  test('so do twenty', { timeout: 60_000 }, async (t) => {
    const [{ sessions }, counts] = await askPlainly(t, ships(20))
    assert.ok(sessions.length === 3 || sessions.length === 4, `${sessions.length} sessions`)
    assert.equal(counts.site.segments, 4 * sessions.length + 20)
    // As above; each name is its ETRN, of 25 or 26 octets, and perhaps the ACK of its reply.
    const octets = sessions.length * (28 + 60 + 8 * 52) + 20 * (26 + 2 * 52)
    assertWithin(counts, counts.site, sessions.length * 9 + 20 * 2, octets)
  })
}

function lossy(): void {
  for (const seed of SEEDS)
    test(`one name, then twenty: seed ${seed}`, { timeout: 150_000 }, async (t) => {
      const link = await slowLink(t, { loss: LOSS, seed })
      const [, one] = await askFairly(t, link, ships(1))
      tell(t, 'one', one, await link.count())
      const [, twenty] = await askFairly(t, link, ships(20))
      const counts = await link.count()
      tell(t, 'and twenty', twenty, counts)
      assert.ok(counts.site.lost + counts.world.lost > 0, 'the link does lose packets')
    })

  test('--wait, until nothing is left', { timeout: 150_000 }, async (t) => {
    const link = await slowLink(t, { loss: LOSS, seed: 11 })
    const replies = ['253 2 pending messages', '253 1 pending message', '251 nothing']
    const server = await countingServer(t, link.host, { reply: (_, nth) => replies[nth - 1] ?? '554 too often' })
    const args = ['--wait', '10m', '--interval', '1s']
    const run = await ask(t, server.word, ['site.example'], { args })
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
    test(`--tls encrypt: seed ${seed}`, { timeout: 150_000 }, async (t) => {
      const link = await slowLink(t, { loss: LOSS, seed })
      const server = await scriptedAt(t, { host: link.host, port: 0 }, [...HANDSHAKE, ...SECURED])
      const run = await ask(t, `${link.host}:${server.port}`, ships(1), { args: ['--tls', 'encrypt'] })
      tell(t, 'TLS', run, await link.count())
      assertAnswered(run, ships(1))
      assert.equal(run.document.servers[0]?.tls?.protocol, 'TLSv1.3')
      // While the link is there.
      await server.verify()
    })
}

function cut(): void {
  for (const [what, line, stage] of [
    ['greeting', '', 'greeting'],
    ['reply to EHLO', 'EHLO', 'ehlo'],
  ] as const)
    test(`before the ${what}: all is deferred`, { timeout: 60_000 }, async (t) => {
      const { server } = await cutAt(t, line)
      const run = await ask(t, server.word, ships(3), { args: ['--timeout', '5s'] })
      assertDeferred(run, stage, ships(3))
      assert.deepEqual(server.asked(), [])
    })

  test('among twenty names: what was answered stays, the others are deferred', { timeout: 60_000 }, async (t) => {
    const { server } = await cutAt(t, 'ETRN', 4)
    const run = await ask(t, server.word, ships(20), { args: ['--timeout', '5s'] })
    assert.equal(run.status, 75, run.stdout)
    const results = resultsOf(run)
    assert.deepEqual(
      results.map(({ name }) => name),
      ships(20),
    )
    assert.equal(results[0]?.code, 250)
    for (const result of results)
      if (result.code !== null) assert.deepEqual(result, answered(result.name))
      else assert.equal(result.outcome, 'deferred', result.name)
    // Which replies were under way depends on the sessions; that of the 4th ETRN, and of those never sent, never came.
    assert.ok(results.filter(({ code }) => code !== null).length <= 3, run.stdout)
    assert.equal(new Set(server.asked()).size, server.asked().length)
  })

  test('before the reply to QUIT: all is well', { timeout: 60_000 }, async (t) => {
    const { server } = await cutAt(t, 'QUIT')
    const run = await ask(t, server.word, ships(1), { args: ['--timeout', '5s'] })
    assertAnswered(run, ships(1))
    assertFair(server, ships(1))
  })

  test('within the TLS handshake: deferred', { timeout: 60_000 }, async (t) => {
    const link = await slowLink(t)
    const where = { host: link.host, port: 0, isLoose: true } as const
    const greets = async (socket: Socket): Promise<unknown> => once(socket, 'data')
    const server = await scriptedAt(t, where, [...HANDSHAKE.slice(0, -1), greets, link.cut, silence])
    const args = ['--tls', 'encrypt', '--timeout', '5s']
    const run = await ask(t, `${link.host}:${server.port}`, ships(3), { args })
    assertDeferred(run, 'tls', ships(3))
  })

  test('and mended, with --retry-for: no name is lost', { timeout: 150_000 }, async (t) => {
    const { link, server } = await cutAt(t, 'ETRN', 3)
    let mended: Promise<unknown> | undefined
    const once = { said: '; again at ', act: (): void => void (mended = link.mend()) }
    const args = ['-v', '--timeout', '5s', '--retry-for', '5m']
    const run = await ask(t, server.word, ships(5), { args, once })
    await mended
    assertAnswered(run, ships(5))
    // A name is asked for again only where the session was lost that had asked for it last, as that of the third one. (How many
    // sessions a server has open that knows nothing of the cut is no matter of the client's.)
    const lost = server.sessions.filter(({ hasQuit }) => !hasQuit).flatMap(({ names }) => names.slice(-1))
    const again = server.asked().filter((name, index, all) => all.indexOf(name) !== index)
    assert.equal(new Set(again).size, again.length)
    assert.ok(again.length > 0 && again.every((name) => lost.includes(name)), `${again.join()}, not ${lost.join()}`)
  })
}

const skip = noLink()

if (skip !== false) test('a slow link', { skip }, () => undefined)
else if (isInNamespace(import.meta.url)) {
  makeSite()
  // The links are slow, the machine is not: all at once.
  suite('a slow link', { concurrency: 2 }, plain)
  suite('one that loses packets', { concurrency: 20 }, lossy)
  suite('one that is cut', { concurrency: 20 }, cut)
}
