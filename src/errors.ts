import { printable, printableLines } from './printable.js'

/** Exit statuses of the command: those of sysexits.h, and 2. */
export const EXIT = {
  OK: 0,
  /** With --wait: accepted, but the server can't tell whether mail is waiting. */
  QUEUE_UNKNOWN: 2,
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

/** Returns one exit status for several, which are in command-line order. 75 wins, because a retry can help; else the first failure. */
export function mergeExitStatuses(exitStatuses: readonly number[]): number {
  if (exitStatuses.includes(EXIT.TEMPFAIL)) return EXIT.TEMPFAIL
  const failures = exitStatuses.filter((status) => status !== EXIT.OK)
  // A server that can't tell whether mail is waiting has not failed.
  return failures.find((status) => status !== EXIT.QUEUE_UNKNOWN) ?? failures[0] ?? EXIT.OK
}

export type FailureKind =
  | 'connection-lost' // The server closed the connection or replied 421: a new session can continue.
  | 'unencrypted-data' // The server sent plain text where TLS must begin, or within TLS.
  | 'invalid-record' // The server sent something within TLS that TLS can't read.
  | 'self' // The server is this host.
  | 'no-resources' // This host lacks file descriptors or memory, or a sandbox forbids sockets.
  | 'time-over' // --max-time, --retry-for or --wait is over.
  | 'interrupted' // A signal ended the run.
  | 'timeout' // A step took longer than --timeout.
  | 'malformed-reply' // The server sent something that is not an SMTP reply.
  | 'surplus-reply' // The server sent one reply too many: results may belong to other names.
  | 'login-rejected' // The server rejected the credentials.

export type FailureFacts = Pick<StepError, 'exitStatus'> & Partial<Pick<StepError, 'kind' | 'hint' | 'cause'>>

/** A failed step of a run, in printable words. It carries its exit status; an aborted run has one as its reason. */
export class StepError extends Error {
  override readonly name: string = 'StepError'
  readonly exitStatus: number
  readonly kind: FailureKind | undefined
  /** The next step for the user, if the failing code knows one. */
  readonly hint: string | undefined
  constructor(message: string, { exitStatus, kind, hint, cause }: FailureFacts) {
    super(printable(message), { cause })
    this.exitStatus = exitStatus
    this.kind = kind
    this.hint = hint === undefined ? undefined : printable(hint)
  }
}

type UsageFacts = Partial<Pick<UsageError, 'exitStatus' | 'hint' | 'cause'>>

/**
 * Input that the user must correct before anything is sent. The printable message names the input, the rule, and what to type instead. A
 * hint tells the latter if the message would be too long.
 */
export class UsageError extends Error {
  override readonly name = 'UsageError'
  readonly exitStatus: number
  readonly hint: string | undefined
  constructor(message: string, { exitStatus = EXIT.USAGE, hint, cause }: UsageFacts = {}) {
    super(printable(message), { cause })
    this.exitStatus = exitStatus
    this.hint = hint === undefined ? undefined : printable(hint)
  }
}

/** An option whose value can't be used. Its source, which a message may have to name, is found by the option. */
export class OptionError extends UsageError {
  readonly option: string
  constructor(option: string, message: string, facts?: UsageFacts) {
    super(message, facts)
    this.option = option
  }
}

/** Returns the code of a system error, for example `ENOENT`; `''` if it has none. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

export const BUG = 'this is a bug in etrn; please report it, with these lines'

/** Returns the lines about an error that no code expected. */
export function bugReport(error: unknown): string {
  return printableLines(`etrn: ${BUG}\n${stackOf(error)}`)
}

/** Returns an error with its stack, and anything else as text. */
export function stackOf(error: unknown): string {
  return (error instanceof Error ? error.stack : undefined) ?? String(error)
}
