import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Outcome } from '../../src/etrn/outcome.js'
import { type Document, etrnJson, leap, LEAPING } from './command.js'
import { BYE, type Conversation, HELLO, scripted, type Step } from './scripted-server.js'

/** One run of the command against a scripted server, and what the run must report. */
export type Exchange = {
  readonly title: string
  readonly conversations: readonly Conversation[]
  /** Default: site.example alone */
  readonly names?: readonly string[]
  readonly options?: readonly string[]
  /** The client's current timeout expires as soon as -v has printed this text. */
  readonly timeoutAfter?: string
  readonly status: number
  readonly outcomes: readonly Outcome[]
  readonly codes?: readonly (number | null)[]
  readonly error?: Partial<NonNullable<Document['servers'][number]['error']>> | null
}

/** Registers a test of an exchange. The client must keep to the script, octet for octet. */
export function testExchange(exchange: Exchange): void {
  test(exchange.title, async (t) => {
    const server = await scripted(t, ...exchange.conversations)
    const { timeoutAfter, options = [], names = ['site.example'] } = exchange
    const args = [
      `127.0.0.1:${server.port}`,
      '--helo',
      'gw.site.example',
      ...options,
      ...(timeoutAfter === undefined ? [] : ['-v']),
      ...names,
    ]
    const callOptions = timeoutAfter === undefined ? {} : { env: LEAPING, once: { said: timeoutAfter, act: leap } }
    const { document, status } = await etrnJson(args, callOptions)
    await server.verify()
    const [report] = document.servers
    assert.ok(report)
    assert.deepEqual(
      report.names.map(({ outcome }) => outcome),
      exchange.outcomes,
    )
    if (exchange.codes !== undefined) {
      assert.deepEqual(
        report.names.map(({ code }) => code),
        exchange.codes,
      )
    }
    if (exchange.error === null) assert.equal(report.error, null)
    else if (exchange.error !== undefined) assert.deepEqual({ ...report.error, ...exchange.error }, report.error)
    assert.equal(status, exchange.status)
    assert.equal(document.exitStatus, exchange.status)
  })
}

/** The client's ETRN for one name or several, each with the server's reply. */
export function etrnSteps(names: string | readonly string[], reply = '250 OK'): Step[] {
  return [names].flat().flatMap((name): Step[] => [`C: ETRN ${name}`, `S: ${reply}`])
}

/** A whole session: HELLO, these steps, BYE. */
export function sessionWith(...steps: readonly Step[]): Conversation {
  return [...HELLO, ...steps, ...BYE]
}
