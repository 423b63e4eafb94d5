import { shortenMessage } from '../printable.js'
import type { Reply } from '../smtp/reply.js'
import type { Outcome } from './outcome.js'
import { meaningOf } from './reply-meanings.js'

/** The end of the request for one name. Code, enhanced code and text are the server's; null if it sent none. */
export type Result = {
  readonly name: string
  readonly outcome: Outcome
  readonly code: number | null
  readonly enhancedCode: string | null
  readonly text: string | null
  /** The number of waiting messages; null if the server didn't say */
  readonly pending: number | null
  /** The next step for the user; null if the table of meanings has none for the reply */
  readonly hint: string | null
}

/** Returns the result for a reply to ETRN. The banner is what the server has said about itself. */
export function resultOf(name: string, reply: Reply, banner = ''): Result {
  const { code, enhancedCode, text } = reply
  const { outcome, hint } = meaningOf(reply, name, banner)
  const pending = pendingCount(reply)
  const isEmpty = outcome === 'pending' && pending === 0
  return { name, outcome: isEmpty ? 'empty' : outcome, code, enhancedCode, text, pending, hint }
}

/** The most octets of all texts of a run, as long as each can be read: reports need them at the end. */
const RUN_TEXT_OCTETS = 2_097_152
const LEAST_TEXT_OCTETS = 200

/** Returns the result as it is kept in a run of so many results: the more there are, the less text of each. */
export function shortenResult(result: Result, results: number): Result {
  const octets = Math.max(LEAST_TEXT_OCTETS, Math.floor(RUN_TEXT_OCTETS / results))
  return { ...result, text: result.text && shortenMessage(result.text, octets) }
}

/** Returns the result of a name that got no reply; the text is about this name only. */
export function unansweredResult(name: string, outcome: Outcome, text: string | null = null): Result {
  return { name, outcome, code: null, enhancedCode: null, text, pending: null, hint: null }
}

/** Returns the count in `253 OK, <n> pending messages for node <x> started`; 251 means that there are none. */
export function pendingCount({ code, text }: Pick<Reply, 'code' | 'text'>): number | null {
  if (code === 251) return 0
  const count = code === 253 ? /(?<![\w.,'-])(\d{1,9}) (?:\w+ )?messages?\b/i.exec(text)?.[1] : undefined
  return count === undefined ? null : Number(count)
}
