import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { send } from '../demo/provider.js'
import { type Document, etrnJson, spawnEtrn } from '../helpers/command.js'
import { online } from './mta.js'

// What is asked of every server alike: which mail moves for a name, and which stays.

/** A server's queue, as its own tools and its log show it. */
export type Queue = {
  /** Messages to these addresses, taken and put off, since the site is not there. */
  readonly hold: (...recipients: readonly string[]) => Promise<void>
  /** Until the server is done with what it was asked for. */
  readonly settled: (form: Partial<Form>) => Promise<void>
  /** Recipients whose mail waits, in order */
  readonly waiting: () => string[]
  /** The names that each session asked for; those without any left out. */
  readonly sessions: () => string[][]
  /** Until no client is connected, and the server knows it. */
  readonly idle: () => Promise<void>
}

/** One form of a name, what comes of it at a server, and whose mail moves. */
export type Form = {
  /** As the user types it */
  readonly word: string
  /** What is printed for it, with the name as it went out */
  readonly line: string
  readonly status?: number
  /** In the only line of advice; undefined: there is none. */
  readonly hint?: RegExp
  readonly moved?: readonly string[]
}

/** Whose mail waits: the domain's, a subdomain's, a ship's, which Sendmail has in a queue of its own, and an internationalised one's. */
export const HELD = ['a@site.example', 'b@sub.site.example', 'c@ship.site.example', 'd@xn--bcher-kva.site.example']

export const ASKED = "asked; the server doesn't say what waits"

/** More names than any server takes in one session without a pause or an end, and mail for some of them. */
export const NAMES = Array.from({ length: 20 }, (_, i) => `n${i}.site.example`)
const TO_NAMES = ['a@n0.site.example', 'b@n7.site.example', 'c@n13.site.example', 'd@n19.site.example']

/** Puts a message into the queue of the server. */
export async function give(to: string): Promise<void> {
  await send(25, 'elsewhere.example', { from: 'office@elsewhere.example', to, text: `Subject: for ${to}\n\nHello.` })
}

/** Asks in this form while mail for all of HELD waits: what moves arrives at the site, and all else goes on waiting. */
export async function asksFor(t: TestContext, queue: Queue, form: Form): Promise<void> {
  const { word, line, status = 0, hint, moved = [] } = form
  await queue.hold(...HELD)
  const { arrivals } = await online(t)
  const run = await spawnEtrn(['127.0.0.1', word])
  assert.deepEqual([run.stdout, run.status], [`${line}\n`, status])
  assert.match(run.stderr, hint === undefined ? /^$/ : /^ {2}[^\n]+\n$/)
  if (hint !== undefined) assert.match(run.stderr, hint)
  assert.deepEqual(await arrivals(moved.length), moved)
  await queue.settled(form)
  assert.deepEqual(
    queue.waiting(),
    HELD.filter((to) => !moved.includes(to)),
  )
}

/**
 * Asks for 20 names, `mark` in front of each: every one is answered and accepted, each is asked for once, in sessions of 7 at most,
 * and mail for four of them arrives.
 */
export async function asksForAll(
  t: TestContext,
  queue: Queue,
  mark = '',
  options: readonly string[] = [],
): Promise<Document['servers'][number]> {
  const names = NAMES.map((name) => mark + name)
  await queue.hold(...TO_NAMES)
  const { arrivals } = await online(t)
  const { status, document } = await etrnJson(['127.0.0.1', ...options, ...names], {}, spawnEtrn)
  const server = document.servers[0] ?? assert.fail()
  assert.deepEqual([status, server.error], [0, null])
  assert.deepEqual(
    server.names.map(({ name, outcome, code }) => [name, outcome, code]),
    names.map((name) => [name, 'started', 250]),
  )
  assert.deepEqual(await arrivals(TO_NAMES.length), TO_NAMES)
  await queue.idle()
  const sessions = queue.sessions()
  assert.deepEqual(sessions.flat().sort(), [...names].sort())
  assert.ok(Math.max(...sessions.map(({ length }) => length)) <= 7, JSON.stringify(sessions))
  return server
}
