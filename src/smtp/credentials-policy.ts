import { EXIT, StepError, UsageError } from '../errors.js'
import type { ServerAddress } from '../input/server-address.js'
import { isLoopback } from '../net/address.js'
import { isLocalhost } from '../net/domain.js'
import { isPrivilegedPort } from '../net/this-host.js'
import type { Server, TlsLevel, TlsPolicy } from './session-settings.js'

// The rules for credentials: which servers may receive them, and which TLS level follows from that.

/** The TLS options that the user has given for one server. */
type TlsRequest = { readonly [K in 'level' | 'fingerprint' | 'ca' | 'name']?: TlsPolicy[K] | undefined }

/**
 * Returns the TLS level for a server. The user's own choice counts; otherwise the certificate is verified for smtps://, if there is
 * something to verify it against, and if there are credentials, except to a privileged port of this host. Throws UsageError if the
 * level would leave an identity unchecked that the user has given.
 */
export function tlsLevelFor(
  { host, port, isImplicitTls }: Omit<ServerAddress, 'word'>,
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
  const isExempt = isLoopbackHost(host) && isPrivilegedPort(port)
  return hasIdentity || (hasCredentials && !isExempt) ? 'verify' : 'may'
}

/** Returns true for the addresses of loopback and for localhost. Other names are not: what DNS says of them can be spoofed. */
function isLoopbackHost(host: string): boolean {
  return isLocalhost(host) || isLoopback(host)
}

/** Throws UsageError if credentials would go to several servers, or to a server that only DNS identifies: DNS can be spoofed. */
export function checkRecipients(servers: number, isFromDns: boolean, { name, fingerprint }: TlsRequest): void {
  if (servers > 1)
    throw new UsageError('credentials are for one server only: run etrn once for each server, or use profiles')
  if (isFromDns && name === undefined && fingerprint === undefined) {
    const need = '--tls-name or --tls-fingerprint'
    throw new UsageError(`--mx with credentials also requires ${need}, because DNS can be spoofed`)
  }
}

/**
 * Throws StepError (77) unless the connection has verified or pinned TLS, or ends at a privileged port of this host: any user can listen
 * on another port, and would receive the password. The level `none` is the user's word that nobody does.
 */
export function checkConnection(
  { host, port, tls: { level } }: Pick<Server, 'host' | 'port' | 'tls'>,
  address: string,
  tls: { readonly verified: boolean } | undefined,
): void {
  const isLocal = isLoopbackHost(host) && isLoopback(address)
  if (tls?.verified === true || (isLocal && (level === 'none' || isPrivilegedPort(port)))) return
  const how = tls === undefined ? 'without TLS' : 'over unverified TLS'
  const hint = 'verify the certificate with --tls verify, or pin it: --tls-fingerprint SHA256'
  throw new StepError(`not logged in: credentials are not sent ${how}`, {
    exitStatus: EXIT.NOPERM,
    hint: isLocal ? `${hint}; ${trustHint(port)}` : hint,
  })
}

/** Returns the next step if a server on this host offers no TLS for a login, as a tunnel does; undefined for other servers. */
export function loginWithoutTlsHint({ host, port, tls, credentials }: Server): string | undefined {
  const isDefaultLevel = [tls.ca, tls.name, tls.fingerprint].every((identity) => identity === undefined)
  const mayTrust = isDefaultLevel && isLoopbackHost(host) && !isPrivilegedPort(port)
  return credentials !== undefined && mayTrust ? trustHint(port) : undefined
}

function trustHint(port: number): string {
  return `any user of this host can listen on port ${port}: only if you trust all of them, use --tls none`
}

/** Returns true if a session may continue without TLS after a failed handshake. */
export function mayContinueUnencrypted({ tls, isImplicitTls, credentials }: Server): boolean {
  return tls.level === 'may' && !isImplicitTls && credentials === undefined
}
