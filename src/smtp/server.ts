import type { ServerAddress } from '../input/server-address.js'
import type { Family } from '../net/address.js'
import type { Limits } from '../net/deadline.js'
import type { Credentials } from './credentials-policy.js'
import type { TlsPolicy } from './tls-policy.js'
import type { RawTraceEvent } from './trace.js'

/** A server, and what is required of it. */
export type Server = ServerAddress & {
  readonly tls: TlsPolicy
  readonly credentials: Credentials | undefined
}

/** What holds for every session with a server. */
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

export type SessionOptions = SessionSettings & Limits & { readonly trace: (event: RawTraceEvent) => void }
