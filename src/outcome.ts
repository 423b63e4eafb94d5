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

/** What a code says that means more than its class (RFC 1985, 5.1, and what servers say beyond it). */
const OF_CODE: Readonly<Record<number, Outcome>> = {
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
const OF_CLASS: Readonly<Record<number, Outcome>> = { 2: 'started', 4: 'deferred', 5: 'refused' }

/** What a whole reply to ETRN says. */
function outcomeOf({ code, text }: Reply): Outcome {
  // Exim's lock: the very queue run that is asked for is under way.
  if (code === 458 && /^Already processing\b/i.test(text)) return 'started'
  return OF_CODE[code] ?? OF_CLASS[Math.floor(code / 100)] ?? 'failed'
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
  return { name, outcome: outcomeOf(reply), code, enhancedCode, text, pending: pendingOf(reply) }
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
