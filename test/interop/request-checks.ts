import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { send } from '../demo/provider.js'
import { type Document, etrnJson, spawnEtrn } from '../helpers/command.js'
import { startSiteServer } from './mta.js'

// Checks for every server alike: which mail does a request move, and which mail stays?

/** A server's queue, as its own tools and its log show it */
export type MailQueue = {
  /** Submits a message to each address; resolves after the server has deferred them, because the site is offline. */
  readonly hold: (...recipients: readonly string[]) => Promise<void>
  /** Waits until the server has finished the deliveries that the request started. */
  readonly waitForDelivery: (form: Partial<NameForm>) => Promise<void>
  /** Returns the recipients of the messages in the queue, sorted. */
  readonly waitingRecipients: () => string[]
  /** Returns the names that each session requested, without the sessions that requested none. */
  readonly namesBySession: () => string[][]
  /** Waits until the server knows that no client is connected. */
  readonly waitForIdle: () => Promise<void>
  /** True if a queue run skips a message that another one reads at the same moment: a later run delivers it. */
  readonly maySkipMessages?: boolean
}

/** One form of a name, and what a request for it causes at one server */
export type NameForm = {
  /** The argument on the command line */
  readonly argument: string
  /** The line on standard output, with the name as it was sent */
  readonly line: string
  readonly status?: number
  /** Matches the only line on standard error; undefined: standard error is empty. */
  readonly hint?: RegExp
  /** The recipients whose mail moves */
  readonly moved?: readonly string[]
}

/** Recipients in the domain, in a subdomain, in Sendmail's queue group for ships, and in an internationalised subdomain */
export const HELD = ['a@site.example', 'b@sub.site.example', 'c@ship.site.example', 'd@xn--bcher-kva.site.example']

export const ACCEPTED_TEXT = 'accepted'
/** Standard error of a --wait that a server of this kind ends */
export const QUEUE_UNKNOWN = /^etrn: warning: 127\.0\.0\.1: .* omit --wait next time\n$/

/** More names than any server takes in one session without a delay or an end */
export const NAMES = Array.from({ length: 20 }, (_, i) => `n${i}.site.example`)
const RECIPIENTS_AT_NAMES = ['a@n0.site.example', 'b@n7.site.example', 'c@n13.site.example', 'd@n19.site.example']

/** Submits a message to the server. */
export async function submitMessage(to: string): Promise<void> {
  await send(25, 'elsewhere.example', { from: 'office@elsewhere.example', to, text: `Subject: for ${to}\n\nHello.` })
}

/** Returns the title of a test that calls checkName() with this form. */
export function titleOf({ argument, status = 0, moved = [] }: NameForm): string {
  const effect = moved.length === 0 ? 'moves no mail' : `moves the mail for ${moved.join(', ')}`
  return `a request for ${argument} ${effect}, exit status ${status}`
}

/** Requests the name while mail for all of HELD waits, and checks what is printed, which mail arrives and which mail stays. */
export async function checkName(t: TestContext, queue: MailQueue, form: NameForm): Promise<void> {
  const { argument, line, status = 0, hint, moved = [] } = form
  await queue.hold(...HELD)
  const { nextRecipients } = await startSiteServer(t)
  const run = await spawnEtrn(['127.0.0.1', argument])
  assert.deepEqual([run.stdout, run.status], [`${line}\n`, status])
  assert.match(run.stderr, hint === undefined ? /^$/ : /^hint: [^\n]+\n$/)
  if (hint !== undefined) assert.match(run.stderr, hint)
  assert.deepEqual(await nextRecipients(moved.length), moved)
  await queue.waitForDelivery(form)
  assert.deepEqual(
    queue.waitingRecipients(),
    HELD.filter((to) => !moved.includes(to)),
  )
}

/**
 * Requests 20 names, each with this prefix. Checks that the server accepts every name, that each is sent once, that no session has
 * more than 7, and that the mail for four of them arrives.
 */
export async function checkManyNames(
  t: TestContext,
  queue: MailQueue,
  prefix = '',
  options: readonly string[] = [],
): Promise<Document['servers'][number]> {
  const names = NAMES.map((name) => prefix + name)
  await queue.hold(...RECIPIENTS_AT_NAMES)
  const { nextRecipients } = await startSiteServer(t)
  const { status, document } = await etrnJson(['127.0.0.1', ...options, ...names], {}, spawnEtrn)
  const server = document.servers[0] ?? assert.fail()
  assert.deepEqual([status, server.error], [0, null])
  assert.deepEqual(
    server.names.map(({ name, outcome, code }) => [name, outcome, code]),
    names.map((name) => [name, 'started', 250]),
  )
  await queue.waitForIdle()
  const sessions = queue.namesBySession()
  assert.deepEqual(sessions.flat().sort(), [...names].sort())
  assert.ok(Math.max(...sessions.map(({ length }) => length)) <= 7, JSON.stringify(sessions))
  for (const to of queue.maySkipMessages === true ? queue.waitingRecipients() : [])
    await spawnEtrn(['127.0.0.1', ...options, prefix + to.replace(/.*@/, '')])
  assert.deepEqual(await nextRecipients(RECIPIENTS_AT_NAMES.length), RECIPIENTS_AT_NAMES)
  return server
}
