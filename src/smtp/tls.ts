import type { X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'
import { codeOf, EXIT, StepError } from '../errors.js'
import { familyOf } from '../net/address.js'
import { formatSeconds, type Limits, startDeadline, timeoutError } from '../net/deadline.js'
import { type CertificateInfo, certificateInfoOf, tlsPolicyError, verificationError } from './certificate.js'
import { tlsErrorOf } from './errors.js'
import type { TlsPolicy } from './tls-policy.js'

/** The result of a handshake. */
export type TlsInfo = {
  readonly protocol: string
  readonly cipher: string
  /** True if chain and name were verified, or if the certificate is the pinned one. */
  readonly verified: boolean
  readonly certificate: CertificateInfo | null
}

export type SecureConnection = {
  readonly socket: TLSSocket
  readonly tls: TlsInfo
  /** Octets that only this client and this server share (RFC 9266); undefined before TLS 1.3 */
  readonly exporter: Uint8Array | undefined
}

export type HandshakeOptions = Limits & {
  /** Receives the result before the policy is applied to it. */
  readonly onTls: (tls: TlsInfo) => void
}

/** The systems' certificate authorities. Node has its own list, which lacks local ones. */
const SYSTEM_CA_FILES = ['/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls/certs/ca-bundle.crt', '/etc/ssl/cert.pem']

const contexts = new WeakMap<TlsPolicy, SecureContext>()

/** Prepares TLS, so that nothing has to be read once the server has agreed. Throws OpenSSL's error for a bad certificate or key. */
export function prepareTls(policy: TlsPolicy): SecureContext {
  const context =
    contexts.get(policy) ??
    createSecureContext({
      ca: isCertificateChecked(policy) && policy.fingerprint === undefined ? (policy.ca ?? readSystemCa()) : [],
      ...(policy.cert === undefined ? {} : { cert: policy.cert, key: policy.key ?? policy.cert }),
      minVersion: policy.minVersion,
      // OpenSSL accepts versions before 1.2 at this security level only.
      ...(policy.minVersion < 'TLSv1.2' ? { ciphers: 'DEFAULT@SECLEVEL=0' } : {}),
    })
  contexts.set(policy, context)
  return context
}

/**
 * Runs the handshake on a connected socket and applies the policy to its result. The bare socket must not be used any more. Throws
 * StepError: 75 if the connection is lost or the time is over, else 76.
 */
export async function handshake(
  socket: Socket,
  host: string,
  policy: TlsPolicy,
  { onTls, ...limits }: HandshakeOptions,
): Promise<SecureConnection> {
  // A scope is a name of this host's only.
  const name = policy.name ?? host.replace(/%.*/, '')
  const octetsBefore = socket.bytesRead
  const secured = connect({
    socket,
    secureContext: prepareTls(policy),
    host: name,
    ...(familyOf(name) === 0 ? { servername: name } : {}),
    // verificationError checks both, because a rejected certificate can't be described.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  })
  let over: StepError | undefined
  const overdue = (): StepError => timeoutError(`no TLS handshake within ${formatSeconds(limits.timeoutMs)}`)
  const cancel = startDeadline(limits, overdue, (reason) => {
    over = reason
    secured.destroy(reason)
  })
  try {
    await waitForHandshake(secured)
    // Node returns the certificate once, and nothing the second time.
    const certificate = secured.getPeerX509Certificate()
    const problem = isCertificateChecked(policy) ? verificationError(secured, certificate, name, policy) : undefined
    const tls = tlsInfoOf(secured, policy, certificate, problem)
    onTls(tls)
    if (problem !== undefined && isVerificationRequired(policy)) throw problem
    return { socket: secured, tls, exporter: exporterOf(secured) }
  } catch (error) {
    secured.destroy()
    if (error instanceof StepError) throw error
    // Fewer octets than the head of a record can't be TLS.
    const octets = socket.bytesRead - octetsBefore
    if (octets > 0 && octets < TLS_RECORD_HEAD_OCTETS) throw notTlsError(error)
    throw over ?? handshakeError(error, policy)
  } finally {
    cancel()
  }
}

async function waitForHandshake(socket: TLSSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('secureConnect', resolve)
    // Stays on the socket: an error without a listener would end the process.
    socket.on('error', reject)
    socket.once('close', () => reject(new Error('closed')))
  })
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

function exporterOf(socket: TLSSocket): Uint8Array | undefined {
  if (socket.getProtocol() !== 'TLSv1.3') return undefined
  return socket.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0))
}

function isCertificateChecked(policy: TlsPolicy): boolean {
  return isVerificationRequired(policy) || policy.isInspected === true
}

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

/** Returns why a handshake failed. */
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
  const lost = { exitStatus: EXIT.TEMPFAIL, kind: 'connection-lost', cause: error } as const
  return tlsErrorOf(error) ?? new StepError('the server closed the connection within the handshake', lost)
}

/** Returns true for the error codes of OpenSSL that mean plain text in place of TLS: the server's, or a forgery. */
function isUnencrypted(code: string): boolean {
  return /WRONG_VERSION_NUMBER|HTTPS?_(?:PROXY_)?REQUEST|PACKET_LENGTH_TOO_LONG|BAD_RECORD_TYPE|UNKNOWN_PROTOCOL/.test(
    code,
  )
}
