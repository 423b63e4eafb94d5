import type { NameEntry } from '../input/names-file.js'
import { SessionError } from '../smtp/errors.js'
import type { Server, SessionOptions } from '../smtp/session.js'

/** What is asked of one server, or of the mail exchangers of one domain. */
export type Request = {
  /** With `isMx` the domain stands in the place of the host. */
  readonly server: Server
  readonly isMx: boolean
  /** The lines that are no names have their place among the results, and are not sent. */
  readonly entries: readonly NameEntry[]
  readonly settings: RequestSettings
  /** What keeps it from being asked, though others are */
  readonly failure?: SessionError
  readonly retryPolicy: RetryPolicy
}
/** What holds for a server, in each session with it. */
export type RequestSettings = Omit<SessionOptions, 'signal' | 'trace'> & {
  /** Goes on after a 5xx, and after a session without an accepted name. */
  readonly keepGoing: boolean
}
/** How long a server is asked again; 0: not at all. All in milliseconds */
export type RetryPolicy = {
  /** For what failed temporarily */
  readonly retryForMs: number
  /** Until nothing is left (RFC 1985, 5.1: 251) */
  readonly waitMs: number
  /** From one round of waiting to the next */
  readonly intervalMs: number
}
