import type { Reply } from './smtp/reply.js'

/** Exit statuses: sysexits.h, where it has a word for what happened. */
export const EXIT = {
  OK: 0,
  BLIND: 2,
  USAGE: 64,
  DATAERR: 65,
  NOINPUT: 66,
  NOHOST: 68,
  UNAVAILABLE: 69,
  SOFTWARE: 70,
  IOERR: 74,
  TEMPFAIL: 75,
  PROTOCOL: 76,
  NOPERM: 77,
  CONFIG: 78,
} as const

/** What became of one name. */
export type Outcome =
  'started' | 'empty' | 'pending' | 'deferred' | 'refused' | 'unsupported' | 'rejected' | 'failed' | 'skipped'

/** The exit status that each outcome stands for; a skipped name has none of its own. */
export const EXIT_OF: Readonly<Record<Outcome, number>> = {
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
  return EXIT_OF[outcome] === EXIT.OK && outcome !== 'skipped'
}

type Row = { readonly from: number; readonly to: number; readonly text?: RegExp; readonly outcome: Outcome }

/** The reply to ETRN (RFC 1985, 5.1, and what servers say beyond it): the first row that fits decides. */
const OUTCOMES: readonly Row[] = [
  { from: 251, to: 251, outcome: 'empty' },
  { from: 252, to: 253, outcome: 'pending' },
  { from: 200, to: 299, outcome: 'started' },
  // Exim's lock: the very queue run that is asked for is under way.
  { from: 458, to: 458, text: /^Already processing\b/i, outcome: 'started' },
  { from: 459, to: 459, outcome: 'refused' },
  { from: 400, to: 499, outcome: 'deferred' },
  { from: 500, to: 500, outcome: 'unsupported' },
  { from: 502, to: 502, outcome: 'unsupported' },
  { from: 504, to: 504, outcome: 'unsupported' },
  { from: 501, to: 501, outcome: 'rejected' },
  { from: 553, to: 553, outcome: 'rejected' },
  { from: 555, to: 555, outcome: 'rejected' },
  { from: 500, to: 599, outcome: 'refused' },
]

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
  const row = OUTCOMES.find((r) => code >= r.from && code <= r.to && (r.text?.test(text) ?? true))
  return { name, outcome: row?.outcome ?? 'failed', code, enhancedCode, text, pending: pendingOf(reply) }
}

/** A result for a name that got no reply; `text` where there is something to say of this very name. */
export function resultWithout(name: string, outcome: Outcome, text: string | null = null): Result {
  return { name, outcome, code: null, enhancedCode: null, text, pending: null }
}

/** A reply in the server's own words: `459 4.7.1 not your queue`. */
export function said({ code, enhancedCode, text }: Pick<Reply, 'code' | 'enhancedCode' | 'text'>): string {
  return [code, enhancedCode ?? [], text].flat().join(' ').trimEnd()
}

/** `253 OK, <n> pending messages for node <x> started`; 251 says that there are none. */
function pendingOf({ code, text }: Reply): number | null {
  if (code === 251) return 0
  const count = code === 253 ? /(?<![\w.,'-])(\d{1,9}) (?:\w+ )?messages?\b/i.exec(text)?.[1] : undefined
  return count === undefined ? null : Number(count)
}

/** Where in a session something failed. */
export type Stage = 'dns' | 'connect' | 'greeting' | 'ehlo' | 'starttls' | 'tls' | 'auth' | 'etrn'

/** What people call it. */
export const STAGES: Readonly<Record<Stage, string>> = {
  dns: 'DNS',
  connect: 'connect',
  greeting: 'greeting',
  ehlo: 'EHLO',
  starttls: 'STARTTLS',
  tls: 'TLS',
  auth: 'AUTH',
  etrn: 'ETRN',
}

/** The exit status of a reply that ends a session: 4xx may pass, for 5xx it depends on what was refused. */
export function exitStatusOf(stage: Stage, { code }: Reply): number {
  if (code >= 400 && code <= 499) return EXIT.TEMPFAIL
  if (code < 500) return EXIT.PROTOCOL
  if (stage === 'auth') return EXIT.NOPERM
  return stage === 'greeting' || stage === 'ehlo' ? EXIT.UNAVAILABLE : EXIT.PROTOCOL
}

/** The outcome of a name that a failed session had not answered. */
export function outcomeWithout(error: SessionError): Outcome {
  if (error.exitStatus === EXIT.TEMPFAIL || error.kind === 'interrupted') return 'deferred'
  if (error.exitStatus === EXIT.UNAVAILABLE) return 'unsupported'
  return error.exitStatus === EXIT.NOPERM ? 'refused' : 'failed'
}

/** Whether it is the server's identity, or ours, that did not hold. */
export function isTrust({ stage, exitStatus }: SessionError): boolean {
  return exitStatus !== EXIT.TEMPFAIL && (stage === 'auth' || stage === 'starttls' || stage === 'tls')
}

/** One exit status for several, given in the order of the command line: 75 as long as trying again can help. */
export function combined(exitStatuses: readonly number[]): number {
  if (exitStatuses.includes(EXIT.TEMPFAIL)) return EXIT.TEMPFAIL
  const failures = exitStatuses.filter((status) => status !== EXIT.OK)
  // That a server can't tell is no failure.
  return failures.find((status) => status !== EXIT.BLIND) ?? failures[0] ?? EXIT.OK
}

/**
 * What decides how it goes on. lost: the server closed the connection or said 421, and a new one may go on where this one ended.
 * clear text: it spoke in clear where TLS has to begin. this site: the server is ourselves. over: the time of the whole run is. interrupted: a
 * signal ended the run.
 */
export type Kind = 'lost' | 'clear text' | 'this site' | 'over' | 'interrupted' | undefined

type Facts = {
  readonly exitStatus: number
  /** The reply that ended it, if one did */
  readonly reply?: Reply | null
  readonly kind?: Kind
  /** The next thing to try, where it is known better than by the message */
  readonly advice?: string | undefined
  readonly cause?: unknown
}

/** A step that failed, before it is known which one; also the reason with which a run is aborted. */
export class StepError extends Error {
  override readonly name: string = 'StepError'
  readonly exitStatus: number
  readonly reply: Reply | null
  readonly kind: Kind
  readonly advice: string | undefined
  constructor(message: string, { exitStatus, reply = null, kind, advice, cause }: Facts) {
    super(message, { cause })
    this.exitStatus = exitStatus
    this.reply = reply
    this.kind = kind
    this.advice = advice
  }
}

/** A session that failed as a whole. The message says what failed, in the server's own words if it had any. */
export class SessionError extends StepError {
  override readonly name = 'SessionError'
  readonly stage: Stage
  constructor(stage: Stage, message: string, facts: Facts) {
    super(message, facts)
    this.stage = stage
  }
}

/** What the user has to correct before anything can be sent: which thing, why, what to type instead. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
  readonly exitStatus: number
  constructor(message: string, exitStatus: number = EXIT.USAGE, cause?: unknown) {
    super(message, { cause })
    this.exitStatus = exitStatus
  }
}
