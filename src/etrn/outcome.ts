import { EXIT } from '../errors.js'
import { SessionError } from '../smtp/errors.js'
import type { Reply } from '../smtp/reply.js'

/** What became of one name. */
export type Outcome =
  'started' | 'empty' | 'pending' | 'deferred' | 'refused' | 'unsupported' | 'rejected' | 'failed' | 'skipped'

/** The exit status that each outcome stands for; a skipped name has none of its own. */
export const EXIT_STATUS_OF: Readonly<Record<Outcome, number>> = {
  started: EXIT.OK,
  empty: EXIT.OK,
  pending: EXIT.OK,
  deferred: EXIT.TEMPFAIL,
  refused: EXIT.NOPERM,
  unsupported: EXIT.UNAVAILABLE,
  rejected: EXIT.DATAERR,
  failed: EXIT.PROTOCOL,
  skipped: EXIT.OK,
}

/** The server took the name. */
export function isAccepted(outcome: Outcome): boolean {
  return EXIT_STATUS_OF[outcome] === EXIT.OK && outcome !== 'skipped'
}

/** What a code says that means more than its class (RFC 1985, 5.1, and what servers say beyond it). */
const OUTCOME_OF_CODE: Readonly<Record<number, Outcome>> = {
  251: 'empty',
  252: 'pending',
  253: 'pending',
  459: 'refused',
  500: 'unsupported',
  501: 'rejected',
  502: 'unsupported',
  504: 'unsupported',
  553: 'rejected',
  555: 'rejected',
}

/** By the first digit */
const OUTCOME_OF_CLASS: Readonly<Record<number, Outcome>> = { 2: 'started', 4: 'deferred', 5: 'refused' }

/** What a whole reply to ETRN says. */
function outcomeOf({ code, text }: Reply): Outcome {
  // Exim's lock: the very queue run that is asked for is under way.
  if (code === 458 && /^Already processing\b/i.test(text)) return 'started'
  return OUTCOME_OF_CODE[code] ?? OUTCOME_OF_CLASS[Math.floor(code / 100)] ?? 'failed'
}

/** What is known of one name at the end. `code`, `enhancedCode` and `text` are the server's; null: it gave none. */
export type Result = {
  readonly name: string
  readonly outcome: Outcome
  readonly code: number | null
  readonly enhancedCode: string | null
  readonly text: string | null
  /** Messages that wait; null: the server didn't say */
  readonly pending: number | null
}

/** The result that a whole reply to `ETRN name` gives. */
export function resultOf(name: string, reply: Reply): Result {
  const { code, enhancedCode, text } = reply
  return { name, outcome: outcomeOf(reply), code, enhancedCode, text, pending: pendingCount(reply) }
}

/** A result for a name that got no reply; `text` where there is something to say of this very name. */
export function unansweredResult(name: string, outcome: Outcome, text: string | null = null): Result {
  return { name, outcome, code: null, enhancedCode: null, text, pending: null }
}

/** `253 OK, <n> pending messages for node <x> started`; 251 says that there are none. */
function pendingCount({ code, text }: Reply): number | null {
  if (code === 251) return 0
  const count = code === 253 ? /(?<![\w.,'-])(\d{1,9}) (?:\w+ )?messages?\b/i.exec(text)?.[1] : undefined
  return count === undefined ? null : Number(count)
}

/** The outcome of a name that a failed session had not answered. */
export function outcomeOfError(error: SessionError): Outcome {
  if (error.exitStatus === EXIT.TEMPFAIL || error.kind === 'interrupted') return 'deferred'
  if (error.exitStatus === EXIT.UNAVAILABLE) return 'unsupported'
  return error.exitStatus === EXIT.NOPERM ? 'refused' : 'failed'
}

/** Whether it is the server's identity, or ours, that did not hold. */
export function isSecurityFailure({ stage, exitStatus }: SessionError): boolean {
  return exitStatus !== EXIT.TEMPFAIL && (stage === 'auth' || stage === 'starttls' || stage === 'tls')
}

/** One exit status for several, given in the order of the command line: 75 as long as trying again can help. */
export function mergeExitStatuses(exitStatuses: readonly number[]): number {
  if (exitStatuses.includes(EXIT.TEMPFAIL)) return EXIT.TEMPFAIL
  const failures = exitStatuses.filter((status) => status !== EXIT.OK)
  // That a server can't tell is no failure.
  return failures.find((status) => status !== EXIT.QUEUE_UNKNOWN) ?? failures[0] ?? EXIT.OK
}
