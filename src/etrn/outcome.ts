import { EXIT } from '../errors.js'
import type { ServerAddress } from '../input/server-address.js'
import { SessionError } from '../smtp/errors.js'
import { shortenMessage } from '../printable.js'
import type { Reply } from '../smtp/reply.js'
import type { ServerFacts } from '../smtp/trace.js'
import { meaningOf } from './reply-meanings.js'

/** The outcome of the request for one name. */
export type Outcome =
  'started' | 'empty' | 'pending' | 'deferred' | 'refused' | 'unsupported' | 'rejected' | 'failed' | 'skipped'

/** The exit status of each outcome. A skipped name has none of its own. */
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

export function isAccepted(outcome: Outcome): boolean {
  return EXIT_STATUS_OF[outcome] === EXIT.OK && outcome !== 'skipped'
}

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
  return { name, outcome, code, enhancedCode, text, pending: pendingCount(reply), hint }
}

/** The most octets of all texts of one server, as long as each can be read: reports need them at the end. */
const SERVER_TEXT_OCTETS = 2_097_152
const LEAST_TEXT_OCTETS = 200

/** Returns the result as it is kept if so many names are requested from its server: the more names, the less text of each. */
export function shortenResult(result: Result, names: number): Result {
  const octets = Math.max(LEAST_TEXT_OCTETS, Math.floor(SERVER_TEXT_OCTETS / names))
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

/** Returns the outcome of a name that got no reply because its session failed. */
export function outcomeOfError(error: SessionError): Outcome {
  if (error.exitStatus === EXIT.TEMPFAIL || error.kind === 'interrupted') return 'deferred'
  if (error.exitStatus === EXIT.UNAVAILABLE) return 'unsupported'
  return error.exitStatus === EXIT.NOPERM ? 'refused' : 'failed'
}

/** Returns true if the server or this host failed to prove its identity, or TLS was refused. */
export function isSecurityFailure({ stage, exitStatus }: SessionError): boolean {
  return exitStatus !== EXIT.TEMPFAIL && (stage === 'auth' || stage === 'starttls' || stage === 'tls')
}

export type ServerReport = ServerFacts & {
  readonly server: ServerAddress
  /** The number of times that the names were requested; 0 if no session was possible */
  readonly attempts: number
  /**
   * From the start of the first session to the end, with pauses; 0 without names. If no session could be started, from the start of
   * the run, after --wait-local
   */
  readonly elapsedMs: number
  /** The error that ended the request before every name had a reply; null if nothing did */
  readonly error: SessionError | null
  /** True if --wait was given and the server's replies don't tell whether mail is waiting. */
  readonly isQueueUnknown: boolean
  /** True if temporary failures were retried, by --retry-for or --wait. */
  readonly isRetried?: boolean
  /** Names that were sent and got no reply: the server may have accepted them. */
  readonly unconfirmed?: readonly string[]
  /** Names that are accepted, and whose mail may still be waiting although the time for --wait is over. */
  readonly waiting?: readonly string[]
  /** One result for each name, in the order of the request */
  readonly names: readonly Result[]
}

/** Returns the exit status of each name, and that of the session. A name that failed with its session has the session's status. */
export function exitStatusesOf({ names, error, isQueueUnknown }: ServerReport): number[] {
  const ofNames = names.map(({ outcome }) =>
    outcome === 'failed' && error !== null ? error.exitStatus : EXIT_STATUS_OF[outcome],
  )
  return [...ofNames, error?.exitStatus ?? EXIT.OK, isQueueUnknown ? EXIT.QUEUE_UNKNOWN : EXIT.OK]
}

export type SelfFacts = Pick<ServerReport, 'server' | 'error'> & Partial<Pick<ServerReport, 'names'>>

/** Returns true if the session with an exchanger has led back to this host. One that has answered for a name stays another server. */
export function isSelfReport({ error, names = [] }: SelfFacts): boolean {
  return error?.kind === 'self' && names.every(({ code }) => code === null)
}
