import { statSync } from 'node:fs'
import { platform } from 'node:os'
import { EXIT, StepError, UsageError } from '../errors.js'
import type { ServerAddress } from '../input/server-address.js'
import { isLoopback } from '../net/address.js'
import { listenersOf, listenersOfEnded, type SocketEnds, usersOfPeer } from '../net/peer-user.js'
import { connectionLostError } from './errors.js'
import type { Server } from './session-settings.js'
import { isVerificationRequired, type TlsLevel, type TlsPolicy } from './tls-policy.js'

// The rules for credentials: which servers may receive them, and which TLS level follows from that.

/** The TLS options that the user has given for one server. */
type TlsRequest = { readonly [K in 'level' | 'fingerprint' | 'ca' | 'name']?: TlsPolicy[K] | undefined }

/**
 * Returns the TLS level for a server. The user's own choice counts; otherwise the certificate is verified for smtps://, if there is
 * something to verify it against, and if there are credentials, except to this host. Throws UsageError if the level would leave an
 * identity unchecked that the user has given.
 */
export function tlsLevelFor(
  { host, isImplicitTls }: Pick<ServerAddress, 'host' | 'isImplicitTls'>,
  { level, fingerprint, ca, name }: TlsRequest,
  hasCredentials: boolean,
): TlsLevel {
  if (fingerprint !== undefined && (level === 'none' || level === 'may'))
    throw new UsageError(`--tls ${level} contradicts --tls-fingerprint: use --tls verify, or omit --tls`)
  if (isImplicitTls) return 'verify'
  const unchecked = ca === undefined ? (name === undefined ? undefined : 'name') : 'ca'
  if (level !== undefined && level !== 'verify' && unchecked !== undefined)
    throw new UsageError(`--tls ${level} contradicts --tls-${unchecked}: use --tls verify, or omit --tls`)
  if (level !== undefined) return level
  const hasIdentity = fingerprint !== undefined || unchecked !== undefined
  return hasIdentity || (hasCredentials && !isLoopbackHost(host)) ? 'verify' : 'may'
}

/** Returns true for the addresses of loopback and for localhost. Other names are not: DNS answers can be forged. */
function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || isLoopback(host)
}

/** Throws UsageError if credentials would go to several servers, or to a server that only DNS identifies: its answers can be forged. */
export function checkRecipients(servers: number, isFromDns: boolean, { name, fingerprint }: TlsRequest): void {
  if (servers > 1)
    throw new UsageError('credentials are for one server only: run etrn once for each server, or use profiles')
  if (isFromDns && name === undefined && fingerprint === undefined) {
    const need = "add --tls-name NAME (the name in the server's certificate) or --tls-fingerprint SHA256"
    throw new UsageError(
      `--mx finds servers in DNS, and a forged answer could send your credentials to another server; ${need}`,
    )
  }
}

/** User IDs below this one belong to the system, not to people (login.defs(5)). */
const PEOPLES_USER_IDS = 1000
/** Stands for every user whom a user namespace doesn't map (user_namespaces(7)). */
const OVERFLOW_USER_ID = 65_534
const VERIFY_HINT = 'verify the certificate with --tls verify, or pin it: --tls-fingerprint SHA256'

/** The ends of a connection, and who listened at the other one when it was connected to; undefined if that makes no difference */
export type JudgedEnds = SocketEnds & { readonly listeners?: readonly number[] }

/**
 * Adds those who listen now: another user could accept the connection, leave the port to the mail server, and only then greet. Throws
 * StepError (75) if this host lacks the resources.
 */
export function noteListeners(server: Server, ends: SocketEnds): JudgedEnds {
  return isListenerJudged(server, ends) ? { ...ends, listeners: listenersOf(ends) } : ends
}

/**
 * Throws StepError (77) unless the connection has verified or pinned TLS, or ends at this host by the user's own choice. On a port that
 * the mail server doesn't use, or while it is down, another user of this host can wait for the password: only the system, this user and
 * one whom `--tls none` accepts receive it.
 */
export function checkConnection(
  { host, tls: { level } }: Pick<Server, 'host' | 'tls'>,
  ends: JudgedEnds,
  tls: { readonly verified: boolean } | undefined,
): void {
  if (tls?.verified === true) return
  const how = tls === undefined ? 'without TLS' : 'over unverified TLS'
  if (!isOwnLoopback(host, ends))
    throw new StepError(`not logged in: credentials are not sent ${how}`, {
      exitStatus: EXIT.NOPERM,
      hint: VERIFY_HINT,
    })
  const peer = judgePeer(level, ends)
  // A server that has ended its side could still read what is sent.
  if (peer === 'ended') throw connectionLostError('before the login')
  if (peer !== 'trusted') throw untrustedError(peer)
}

/**
 * Throws as checkConnection does if the other end is another user's, and the certificate will not identify the server: on another
 * loopback address the mail server may listen. `mayBeUnknown` means that the server has failed anyway, so that only a known user counts.
 */
export function checkListener(
  server: Server,
  ends: JudgedEnds,
  { mayBeUnknown }: { readonly mayBeUnknown: boolean },
): void {
  if (!isListenerJudged(server, ends)) return
  const peer = judgePeer(server.tls.level, ends)
  if (typeof peer !== 'string' && !(mayBeUnknown && peer.user === undefined)) throw untrustedError(peer)
}

function isListenerJudged({ host, tls, credentials }: Server, ends: SocketEnds): boolean {
  return credentials !== undefined && !isVerificationRequired(tls) && isOwnLoopback(host, ends)
}

function isOwnLoopback(host: string, { remoteAddress }: SocketEnds): boolean {
  return isLoopbackHost(host) && isLoopback(remoteAddress)
}

/** The user who has the other end, or listens there; undefined if the kernel doesn't tell. */
type Untrusted = { readonly user: number | undefined }

/** Returns 'ended' if the connection has ended, and only trusted users listen where it led. */
function judgePeer(level: TlsLevel, ends: JudgedEnds): 'trusted' | 'ended' | Untrusted {
  // Other systems don't tell who has the other end.
  if (level === 'none' || platform() !== 'linux') return 'trusted'
  const users = usersOfPeer(ends)
  const listeners = users.length > 0 ? [] : listenersOfEnded(ends)
  const isTrusted = (user: number): boolean =>
    user < PEOPLES_USER_IDS || (user !== OVERFLOW_USER_ID && user === statSync('/proc/self').uid)
  const { listeners: early } = ends
  const user = [...users, ...listeners, ...(early ?? [])].find((one) => !isTrusted(one))
  if (user !== undefined || users.length + listeners.length === 0 || early?.length === 0) return { user }
  return users.length > 0 ? 'trusted' : 'ended'
}

function untrustedError({ user }: Untrusted): StepError {
  const [problem, trusted] =
    user === undefined
      ? ['the kernel does not report who runs the server on this host', 'all users of this host']
      : [`the server on this host is run by user ${user}`, `user ${user}`]
  return new StepError(`not logged in: ${problem}`, {
    exitStatus: EXIT.NOPERM,
    hint: `${VERIFY_HINT}; only if you trust ${trusted} with the password: --tls none`,
  })
}

/** Returns true if a session may continue without TLS after a failed handshake. */
export function mayContinueUnencrypted({ tls, isImplicitTls, credentials }: Server): boolean {
  return tls.level === 'may' && !isImplicitTls && credentials === undefined
}
