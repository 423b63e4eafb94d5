import { X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'
import { codeOf, EXIT, StepError } from '../errors.js'
import { familyOf } from '../net/address.js'
import { startDeadline, type Limits, formatSeconds } from '../net/deadline.js'
import { type CertificateInfo, certificateInfoOf, verificationError, tlsPolicyError } from './certificate.js'
import { tlsErrorOf } from './errors.js'
import type { TlsPolicy } from './tls-policy.js'

/** What a handshake came to. */
export type TlsInfo = {
  readonly protocol: string
  readonly cipher: string
  /** The chain and the name hold, or the certificate is the pinned one. */
  readonly verified: boolean
  readonly certificate: CertificateInfo | null
}

export type SecureConnection = {
  readonly socket: TLSSocket
  readonly tls: TlsInfo
  /** Octets that this very connection has in common with the server alone (RFC 9266); undefined before TLS 1.3 */
  readonly exporter: Uint8Array | undefined
}

/** Where systems keep their authorities; Node has a list of its own, which knows no local one. */
const SYSTEM_CA_FILES = ['/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls/certs/ca-bundle.crt', '/etc/ssl/cert.pem']

const contexts = new WeakMap<TlsPolicy, SecureContext>()

/** What can be made ready before the server is asked for TLS. Throws what OpenSSL says of a bad certificate or key. */
export function prepareTls(policy: TlsPolicy): SecureContext {
  const context =
    contexts.get(policy) ??
    createSecureContext({
      ca: isCertificateChecked(policy) && policy.fingerprint === undefined ? (policy.ca ?? readSystemCa()) : [],
      ...(policy.cert === undefined ? {} : { cert: policy.cert, key: policy.key ?? policy.cert }),
      minVersion: policy.minVersion,
      // OpenSSL takes versions before 1.2 at this level only.
      ...(policy.minVersion < 'TLSv1.2' ? { ciphers: 'DEFAULT@SECLEVEL=0' } : {}),
    })
  contexts.set(policy, context)
  return context
}

/**
 * The handshake on a connected socket, and the check of what the policy demands, after `onTls` was told what it came to. The wrapped socket must not be used any more.
 * Throws StepError: 75 where the connection or the time ended, else 76.
 */
export async function handshake(
  socket: Socket,
  host: string,
  policy: TlsPolicy,
  { onTls, ...limits }: Limits & { readonly onTls: (tls: TlsInfo) => void },
): Promise<SecureConnection> {
  // A scope is this host's own business.
  const name = policy.name ?? host.replace(/%.*/, '')
  const before = socket.bytesRead
  const secured = connect({
    socket,
    secureContext: prepareTls(policy),
    host: name,
    ...(familyOf(name) === 0 ? { servername: name } : {}),
    // Checked below, where the certificate is still there to tell what is wrong with it.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  })
  let over: StepError | undefined
  const callOff = startDeadline(limits, `no TLS handshake within ${formatSeconds(limits.timeoutMs)}`, (reason) => {
    over = reason
    secured.destroy(reason)
  })
  try {
    await new Promise<void>((resolve, reject) => {
      secured.once('secureConnect', resolve)
      // It stays: a socket without a listener would end the process.
      secured.on('error', reject)
      secured.once('close', () => reject(new Error('closed')))
    })
    // Node gives it once, and nothing the second time.
    const certificate = secured.getPeerX509Certificate()
    const problem = isCertificateChecked(policy) ? verificationError(secured, certificate, name, policy) : undefined
    const info = tlsInfoOf(secured, policy, certificate, problem)
    onTls(info)
    if (problem !== undefined && isVerificationRequired(policy)) throw problem
    return secureConnectionOf(secured, info)
  } catch (error) {
    secured.destroy()
    if (error instanceof StepError) throw error
    // Less than a record's head: whatever it was, it was no TLS.
    const octets = socket.bytesRead - before
    if (octets > 0 && octets < TLS_RECORD_HEAD_OCTETS) throw notTlsError(error)
    throw over ?? handshakeError(error, policy)
  } finally {
    callOff()
  }
}

function tlsInfoOf(
  socket: TLSSocket,
  policy: TlsPolicy,
  certificate: X509Certificate | undefined,
  problem: StepError | undefined,
): TlsInfo {
  return {
    protocol: socket.getProtocol() ?? 'unknown',
    cipher: socket.getCipher().name,
    verified: isVerificationRequired(policy) && problem === undefined,
    certificate: certificate === undefined ? null : certificateInfoOf(certificate, problem),
  }
}

function secureConnectionOf(socket: TLSSocket, tls: TlsInfo): SecureConnection {
  if (tls.protocol !== 'TLSv1.3') return { socket, tls, exporter: undefined }
  return { socket, tls, exporter: socket.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0)) }
}

function isCertificateChecked(policy: TlsPolicy): boolean {
  return isVerificationRequired(policy) || policy.isInspected === true
}

/** Whether a handshake that went well under this policy proves who the server is. */
function isVerificationRequired({ level, fingerprint }: TlsPolicy): boolean {
  return level === 'verify' || fingerprint !== undefined
}

function readSystemCa(): string[] | undefined {
  const file = SYSTEM_CA_FILES.find((name) => existsSync(name))
  return file === undefined ? undefined : [readFileSync(file, 'utf8')]
}

/** RFC 8446, 5.1 */
const TLS_RECORD_HEAD_OCTETS = 5

function notTlsError(cause: unknown): StepError {
  const hint =
    'smtps:// is for a port that begins with TLS; behind STARTTLS the server is broken, or somebody is on the way'
  return new StepError('what answers is not TLS', { exitStatus: EXIT.PROTOCOL, kind: 'unencrypted-data', hint, cause })
}

/** What broke the handshake off, in words. */
function handshakeError(error: unknown, { minVersion }: TlsPolicy): StepError {
  const code = codeOf(error)
  if (isUnencrypted(code)) return notTlsError(error)
  if (/UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION|VERSION_TOO_LOW/.test(code)) {
    return tlsPolicyError(
      `the server has no TLS as new as ${minVersion}`,
      '--tls-min TLSv1 allows what is older, for what it is worth',
      error,
    )
  }
  return (
    tlsErrorOf(error) ??
    new StepError('the server closed the connection within the handshake', {
      exitStatus: EXIT.TEMPFAIL,
      kind: 'connection-lost',
      cause: error,
    })
  )
}

/** A server that goes on in clear where TLS has to begin is no TLS server, or somebody on the way speaks for it. */
function isUnencrypted(code: string): boolean {
  return /WRONG_VERSION_NUMBER|HTTPS?_(?:PROXY_)?REQUEST|PACKET_LENGTH_TOO_LONG|BAD_RECORD_TYPE|UNKNOWN_PROTOCOL/.test(
    code,
  )
}
