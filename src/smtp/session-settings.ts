import type { StepError } from '../errors.js'
import type { ServerAddress } from '../input/server-address.js'
import type { Family } from '../net/address.js'
import type { Limits } from '../net/deadline.js'
import type { MechanismName } from './mechanisms.js'
import type { Redactor } from './redact.js'
import type { TlsPolicy } from './tls-policy.js'
import type { TraceEvent } from './trace.js'

/** The login of this host: a user name, and perhaps a password and a mechanism. */
export type Credentials = {
  readonly user: string
  /** A password, or the token of XOAUTH2 and OAUTHBEARER; undefined for EXTERNAL, which needs none */
  readonly password: string | undefined
  /** The mechanism that --auth names; undefined: the strongest that both sides know */
  readonly mechanism: MechanismName | undefined
}

export type Server = ServerAddress & {
  /** True for a mail exchanger that DNS names: its name is absolute, and it must not be this host. */
  readonly isExchanger?: true
  /** Addresses that this run has looked up, best first. If there is none of the right family, the host is looked up. */
  readonly addresses?: readonly string[]
  readonly tls: TlsPolicy
  readonly credentials: Credentials | undefined
  /**
   * Masks passwords in the server's text. All requests of a run to one host share it: a server can repeat in one session what it was sent
   * in another.
   */
  readonly redactor: Redactor
}

export type SessionSettings = {
  /** The longest wait for one step, in milliseconds */
  readonly timeoutMs: number
  /** The EHLO argument; undefined: the address literal of the local end (RFC 5321, 4.1.3) */
  readonly helo: string | undefined
  readonly family: Family
  /** The local end: an address or an interface; undefined: the system's choice */
  readonly local: string | undefined
  /** Names of this host in lower case: a server that has one of them is this host. */
  readonly self: readonly string[]
  /** Send ETRN even if EHLO doesn't list it. */
  readonly assumeEtrn: boolean
}

/** Facts about a run's earlier sessions with a server. A later session must not lose their protection silently. */
export type Protection = {
  /** True once the server has agreed to start TLS. */
  hasTls: boolean
  /** The mechanism of the newest login, even if that failed, unless the server refused the mechanism as such */
  mechanism: MechanismName | undefined
  /** The rejection of the credentials, which are then not sent again: repeated failures can lock the account. */
  rejection: StepError | undefined
}

export type SessionOptions = SessionSettings &
  Limits & {
    readonly trace: (event: TraceEvent) => void
    /** Is read and updated by each session; undefined: the run has one session. */
    readonly protection?: Protection
  }
