import { constants } from 'node:crypto'
import type { Socket } from 'node:net'
import {
  connect,
  createSecureContext,
  DEFAULT_CIPHERS,
  type DetailedPeerCertificate,
  type SecureContext,
  type TLSSocket,
} from 'node:tls'
import { codeOf, StepError } from '../errors.js'
import { familyOf } from '../net/address.js'
import { startDeadline, type Timeout } from '../net/deadline.js'
import { certificateInfoOf, verificationError } from './certificate.js'
import {
  connectionLostError,
  protocolError,
  recordFaultError,
  timeoutHint,
  tlsErrorOf,
  unencryptedDataError,
} from './errors.js'
import { ObservedSocket } from './first-octets.js'
import type { Server, SessionOptions } from './session-settings.js'
import { isOldTlsAccepted, isVerificationRequired, type TlsPolicy } from './tls-policy.js'
import type { RecordFault } from './tls-records.js'
import type { TlsInfo } from './trace.js'
import { readAuthorities } from './trusted-authorities.js'

export type SecureConnection = {
  readonly socket: TLSSocket
  readonly tls: TlsInfo
  /** Octets that only this client and this server share (RFC 9266); undefined before TLS 1.3 */
  readonly exporter: Uint8Array | undefined
  /** Returns the first octets so far that are no TLS record. */
  readonly recordFault: () => RecordFault | undefined
}

/** Without DHE: the server chooses the group, and one of 10,000 bits takes this host a second, in which every other session stands still. */
const CIPHERS = `${DEFAULT_CIPHERS}:!DHE`
const OLD_CIPHERS = 'DEFAULT@SECLEVEL=0:!DHE'

const contexts = new WeakMap<TlsPolicy, SecureContext>()

/** Prepares TLS, so that nothing must be read once the server has agreed. Throws OpenSSL's error for a bad certificate or key, StepError for the system's authorities. */
export function prepareTls(policy: TlsPolicy): SecureContext {
  const context =
    contexts.get(policy) ??
    createSecureContext({
      ca: isCertificateChecked(policy) && policy.fingerprint === undefined ? authoritiesOf(policy) : [],
      ...(policy.cert === undefined ? {} : { cert: policy.cert, key: policy.key ?? policy.cert }),
      minVersion: policy.minVersion,
      ciphers: isOldTlsAccepted(policy) ? OLD_CIPHERS : CIPHERS,
      // A server could have this host compute keys again and again.
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    })
  contexts.set(policy, context)
  return context
}

/** An empty file trusts nobody, but Node takes an empty text for none. */
function authoritiesOf(policy: TlsPolicy): string[] | undefined {
  const authorities = readAuthorities(policy)
  return authorities === undefined ? undefined : [authorities]
}

/**
 * Runs the handshake on a connected socket, reports the result, and applies the policy to it. The bare socket must not be used any more.
 * Throws StepError: 75 if the connection is lost or the time is over, else 76.
 */
export async function handshake(socket: Socket, server: Server, options: SessionOptions): Promise<SecureConnection> {
  const { tls: policy } = server
  // A scope is a name of this host's only.
  const name = policy.name ?? server.host.replace(/%.*/, '')
  const observed = new ObservedSocket(socket)
  const secured = startHandshake(observed, name, policy)
  const describeTimeout = (within: string): Timeout => ({
    message: `no TLS handshake ${within}`,
    hint: timeoutHint(options.timeoutMs),
  })
  const cancel = startDeadline(options, describeTimeout, (reason) => secured.destroy(reason))
  try {
    await waitForHandshake(secured).catch((error: unknown) => {
      throw error instanceof StepError ? error : handshakeError(error, observed.recordFault, server)
    })
    // OpenSSL waits for more octets before it reports some of them. An unencrypted alert means nothing once TLS stands.
    const fault = observed.recordFault
    if (fault !== undefined && fault.type !== 'alert') throw recordFaultError(fault)
    // Node returns the certificate once, and nothing the second time.
    const certificate = secured.getPeerX509Certificate()
    const problem = isCertificateChecked(policy) ? verificationError(secured, certificate, name, policy) : undefined
    const protocol = secured.getProtocol() ?? 'unknown'
    const tls: TlsInfo = {
      protocol,
      cipher: secured.getCipher().name,
      verified: isVerificationRequired(policy) && problem === undefined,
      certificate: certificate === undefined ? null : certificateInfoOf(certificate, problem),
    }
    options.trace({ type: 'tls', tls })
    if (problem !== undefined && isVerificationRequired(policy)) throw problem
    const isTls13 = protocol === 'TLSv1.3'
    const exporter = isTls13 ? secured.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0)) : undefined
    return { socket: secured, tls, exporter, recordFault: () => observed.recordFault }
  } catch (error) {
    secured.destroy()
    throw error
  } finally {
    cancel()
  }
}

function startHandshake(observed: ObservedSocket, name: string, policy: TlsPolicy): TLSSocket {
  const secured = connect({
    socket: observed,
    secureContext: prepareTls(policy),
    host: name,
    ...(familyOf(name) === 0 ? { servername: name } : {}),
    // verificationError checks both, because a rejected certificate can't be described.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  })
  secured.once('secureConnect', () => observed.endHandshake())
  // Node describes each certificate for checkServerIdentity, and a key on a curve of no standard name ends the process then (Node 24, 26).
  secured.getPeerCertificate = () => ({}) as DetailedPeerCertificate
  // Otherwise Node loses OpenSSL's error about octets that arrive with the end of the handshake.
  return secured.on('_tlsError', (error: Error) => setImmediate(() => secured.destroy(error)))
}

async function waitForHandshake(socket: TLSSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('secureConnect', resolve)
    // Stays on the socket: an error without a listener would end the process.
    socket.on('error', reject)
    socket.once('close', () => reject(new Error('closed')))
  })
}

function isCertificateChecked(policy: TlsPolicy): boolean {
  return isVerificationRequired(policy) || policy.isInspected === true
}

function handshakeError(error: unknown, fault: RecordFault | undefined, { tls, isImplicitTls }: Server): StepError {
  if (fault?.type === 'plain-text')
    return fault.isFirst ? unencryptedDataError(isImplicitTls, error) : recordFaultError(fault, error)
  if (/UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION|VERSION_TOO_LOW/.test(codeOf(error))) {
    const hint =
      tls.minVersion === 'TLSv1.3'
        ? '--tls-min TLSv1.2 also accepts TLS 1.2'
        : 'ask your provider to enable TLS 1.2; older versions are insecure (RFC 8996)'
    return protocolError(`the server does not support ${tls.minVersion} or newer`, hint, error)
  }
  const failure = tlsErrorOf(error, fault) ?? (fault && recordFaultError(fault, error))
  if (failure === undefined) return connectionLostError('during the TLS handshake', error)
  // Not of the kind that it is once TLS stands: a handshake that fails in whatever way has protected nothing yet.
  return protocolError(failure.message, failure.hint, error)
}
