import type { NameEntry } from '../input/names-file.js'
import type { ServerAddress } from '../input/server-address.js'
import { SessionError } from '../smtp/errors.js'
import type { Server, SessionSettings } from '../smtp/session-settings.js'

/** The names to request from one server, or from the mail exchangers of one domain. */
export type Request = {
  /** If isMx is true, its host is the domain. */
  readonly server: Server
  readonly isMx: boolean
  /** Bad lines keep their place among the results; they are not sent. */
  readonly entries: readonly NameEntry[]
  readonly settings: RequestSettings
  readonly retryPolicy: RetryPolicy
  /** The words of --self: reasons to skip an exchanger that the user has given, and can take back */
  readonly selfOption: readonly string[]
  /** The NAME arguments, in lower case, that --mx refuses if they are servers: with a final dot the user insists on a name. */
  readonly doubtfulNames: readonly string[]
}

/** A request that can't be sent, because its server lacks something of its own, for example a password file. */
export type FailedRequest = Pick<Request, 'entries' | 'settings'> & {
  readonly server: ServerAddress
  readonly error: SessionError
  /** True if there may be other names, which could not be read */
  readonly lacksNames?: true
}

export type RequestSettings = SessionSettings & {
  /** Continue after a 5xx, and after a session in which no name was accepted. */
  readonly keepGoing: boolean
}

/** The times for which a request is repeated, in milliseconds; 0 means not at all. */
export type RetryPolicy = {
  readonly retryForMs: number
  /** Repeat the request for this long until no mail is waiting (RFC 1985, 5.1: 251). */
  readonly waitMs: number
  /** The time from one round of --wait to the next */
  readonly intervalMs: number
}
