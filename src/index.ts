import { ownName, type Family } from './dns.js'
import { argumentRule, nodeName, withoutDuplicates } from './names.js'
import { type Result, UsageError } from './outcome.js'
import { DEFAULT_TIMEOUT_MS, MOST_MS } from './deadline.js'
import { ask as askServer, type ServerReport } from './exchange.js'
import { serverOf } from './servers.js'
import { fingerprint } from './values.js'
import { levelOf } from './trust.js'
import type { Credentials } from './smtp/auth.js'
import type { TraceEvent } from './smtp/session.js'
import type { TlsPolicy } from './smtp/tls.js'

export { type Outcome, type Result, SessionError, type Stage, UsageError } from './outcome.js'
export type { ServerReport } from './exchange.js'
export type { Extensions, Server, TraceEvent } from './smtp/session.js'
export type { Credentials, MechanismName } from './smtp/auth.js'
export type { Reply } from './smtp/reply.js'
export type { TlsInfo, TlsLevel, TlsPolicy } from './smtp/tls.js'

/** All may be left out; the command's options of the same names say more. */
export type AskOptions = {
  /** Where the server names none; 25 */
  readonly port?: number
  /** What EHLO says; this host's own name, else the address of the connection's local end */
  readonly helo?: string
  /** Addresses of this family only */
  readonly family?: Family
  /** The local end: an address, or an interface that has one */
  readonly local?: string
  /** Longest wait for one step, in milliseconds; 60,000 */
  readonly timeoutMs?: number
  /** Goes on with the other names after a 5xx, and after a session without an accepted name. */
  readonly keepGoing?: boolean
  /** Sends ETRN even where EHLO doesn't list it. */
  readonly assumeEtrn?: boolean
  /** Takes `@` before a public suffix, and names of a single label. */
  readonly allowWide?: boolean
  /** The command's defaults and rules, but for what is given here: a CA, a name or a fingerprint alone means `verify`. */
  readonly tls?: Partial<TlsPolicy>
  /** Sent over TLS that is verified or pinned, or to this host: `verify` is the default with them. */
  readonly credentials?: Partial<Credentials> & Pick<Credentials, 'user'>
  /** Ends the session; names without an answer are `deferred`. */
  readonly signal?: AbortSignal
  /** Told of each name whose reply is there, at once */
  readonly onResult?: (result: Result) => void
  /** Told of all that happens; the sessions are counted from 1. */
  readonly trace?: (event: TraceEvent, session: number) => void
}

const TLS = {
  fingerprint: undefined,
  name: undefined,
  ca: undefined,
  cert: undefined,
  key: undefined,
  minVersion: 'TLSv1.2',
} as const

/**
 * Asks one server to send what it holds for these names (RFC 1985). `server`: `host`, `host:port`, `[2001:db8::1]:port`,
 * `smtp://host`; `names`: `node`, `@node`, `#queue`. Throws UsageError where one of them is wrong, and then nothing was sent.
 * Never throws for what the network or the server does: every name has a result, and `error` says what failed as a whole.
 */
export async function ask(server: string, names: readonly string[], o: AskOptions = {}): Promise<ServerReport> {
  const target = serverOf(server, o.port)
  if (target.user !== undefined) throw new UsageError('a user in the URL: give `credentials` instead')
  const tls = {
    ...TLS,
    ...o.tls,
    fingerprint: o.tls?.fingerprint === undefined ? undefined : fingerprint(o.tls.fingerprint),
    level: levelOf(target, o.tls ?? {}, o.credentials !== undefined),
  }
  const helo = o.helo === undefined ? ownName() : sendable('helo', o.helo)
  const checked = await Promise.all(names.map(async (name) => nodeName(name, { allowWide: o.allowWide ?? false })))
  const local = o.local === undefined ? undefined : sendable('local', o.local)
  const timeoutMs = o.timeoutMs ?? DEFAULT_TIMEOUT_MS
  if (!(timeoutMs > 0 && timeoutMs <= MOST_MS))
    throw new UsageError(`timeoutMs ${timeoutMs}: more than 0, at most ${MOST_MS}`)
  const signal = o.signal ?? new AbortController().signal
  const credentials = o.credentials && { password: undefined, mechanism: undefined, ...o.credentials }
  return askServer({ ...target, tls, credentials }, withoutDuplicates(checked), {
    helo,
    family: o.family,
    local,
    self: [],
    timeoutMs,
    signal,
    keepGoing: o.keepGoing ?? false,
    assumeEtrn: o.assumeEtrn ?? false,
    onResult: (_, result) => o.onResult?.(result),
    turn: async (work) => work(),
    trace: (_, event, session) => o.trace?.(event, session),
  })
}

function sendable(option: string, word: string): string {
  const broken = argumentRule(word)
  if (broken !== undefined) throw new UsageError(`${option}: ${broken}`)
  return word
}
