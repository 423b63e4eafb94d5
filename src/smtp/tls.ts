import { X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { connect, createSecureContext, type SecureContext, type SecureVersion, type TLSSocket } from 'node:tls'
import { deadline, type Limits, seconds } from '../deadline.js'
import { familyOf } from '../ip.js'
import { EXIT, StepError } from '../outcome.js'
import { printable } from '../printable.js'
import { tlsFailure } from './alert.js'

/** Postfix's words: no TLS; if it is offered; demanded; demanded, with a certificate that holds. */
export type TlsLevel = 'none' | 'may' | 'encrypt' | 'verify'

export type TlsPolicy = {
  readonly level: TlsLevel
  /** The certificate's SHA-256, 64 hex digits in capitals: it is pinned, and its chain and name don't matter. */
  readonly fingerprint: string | undefined
  /** The name that the certificate must have; undefined: the host's */
  readonly name: string | undefined
  /** Authorities in PEM; undefined: the system's */
  readonly ca: string | undefined
  /** The client's own certificate and key, in PEM */
  readonly cert: string | undefined
  readonly key: string | undefined
  readonly minVersion: SecureVersion
  /** Says of a certificate that need not hold whether it would. */
  readonly isInspected?: true
}

/** What a handshake came to. */
export type TlsInfo = {
  readonly protocol: string
  readonly cipher: string
  /** The chain and the name hold, or the certificate is the pinned one. */
  readonly verified: boolean
  readonly certificate: Certificate | null
}

/** Whom a server says that it is. Printable already. */
export type Certificate = {
  /** Names of hosts, and addresses */
  readonly names: readonly string[]
  readonly issuer: string
  /** The last day, as 2026-11-24 */
  readonly validTo: string
  readonly fingerprint: string
  /** Why it doesn't hold; null: it does, or nobody looked. */
  readonly problem: string | null
}

export type Secured = {
  readonly socket: TLSSocket
  readonly tls: TlsInfo
  /** Octets that this very connection has in common with the server alone (RFC 9266); undefined before TLS 1.3 */
  readonly exporter: Uint8Array | undefined
}

/** Where systems keep their authorities; Node has a list of its own, which knows no local one. */
const SYSTEM_CA = ['/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls/certs/ca-bundle.crt', '/etc/ssl/cert.pem']

const contexts = new WeakMap<TlsPolicy, SecureContext>()

/** What can be made ready before the server is asked for TLS. Throws what OpenSSL says of a bad certificate or key. */
export function prepare(policy: TlsPolicy): SecureContext {
  const context =
    contexts.get(policy) ??
    createSecureContext({
      ca: isChecked(policy) && policy.fingerprint === undefined ? (policy.ca ?? systemCa()) : [],
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
): Promise<Secured> {
  // A scope is this host's own business.
  const name = policy.name ?? host.replace(/%.*/, '')
  const before = socket.bytesRead
  const secured = connect({
    socket,
    secureContext: prepare(policy),
    host: name,
    ...(familyOf(name) === 0 ? { servername: name } : {}),
    // Checked below, where the certificate is still there to tell what is wrong with it.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  })
  let over: StepError | undefined
  const callOff = deadline(limits, `no TLS handshake within ${seconds(limits.timeoutMs)}`, (reason) => {
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
    const problem = isChecked(policy) ? problemOf(secured, certificate, name, policy) : undefined
    const info = infoOf(secured, policy, certificate, problem)
    onTls(info)
    if (problem !== undefined && isVerified(policy)) throw problem
    return securedOf(secured, info)
  } catch (error) {
    secured.destroy()
    if (error instanceof StepError) throw error
    // Less than a record's head: whatever it was, it was no TLS.
    const octets = socket.bytesRead - before
    if (octets > 0 && octets < RECORD_HEAD_OCTETS) throw notTls(error)
    throw over ?? failed(error, policy)
  } finally {
    callOff()
  }
}

function infoOf(
  socket: TLSSocket,
  policy: TlsPolicy,
  certificate: X509Certificate | undefined,
  problem: StepError | undefined,
): TlsInfo {
  return {
    protocol: socket.getProtocol() ?? 'unknown',
    cipher: socket.getCipher().name,
    verified: isVerified(policy) && problem === undefined,
    certificate: certificate === undefined ? null : certificateOf(certificate, problem),
  }
}

function securedOf(socket: TLSSocket, tls: TlsInfo): Secured {
  if (tls.protocol !== 'TLSv1.3') return { socket, tls, exporter: undefined }
  return { socket, tls, exporter: socket.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0)) }
}

function certificateOf(certificate: X509Certificate, problem: StepError | undefined): Certificate {
  return {
    names: namesOf(certificate),
    issuer: issuerOf(certificate),
    validTo: day(certificate.validTo),
    fingerprint: certificate.fingerprint256,
    problem: problem?.message ?? null,
  }
}

function isChecked(policy: TlsPolicy): boolean {
  return isVerified(policy) || policy.isInspected === true
}

/** Whether a handshake that went well under this policy proves who the server is. */
function isVerified({ level, fingerprint }: TlsPolicy): boolean {
  return level === 'verify' || fingerprint !== undefined
}

function systemCa(): string[] | undefined {
  const file = SYSTEM_CA.find((name) => existsSync(name))
  return file === undefined ? undefined : [readFileSync(file, 'utf8')]
}

/** Why the certificate does not hold: its pin, its chain or its name; undefined: it does. */
function problemOf(
  socket: TLSSocket,
  certificate: X509Certificate | undefined,
  name: string,
  policy: TlsPolicy,
): StepError | undefined {
  if (certificate === undefined) return refused('the server has no certificate', 'ask your provider')
  const pin = `--tls-fingerprint ${certificate.fingerprint256}`
  if (policy.fingerprint !== undefined) {
    if (certificate.fingerprint256.replaceAll(':', '') === policy.fingerprint) return undefined
    return refused(
      `the certificate is not the pinned one, but ${certificate.fingerprint256}`,
      'if the provider has renewed it, pin that one',
    )
  }
  // A code of OpenSSL's, though the types say that it is an error.
  const problem = socket.authorized ? undefined : String(socket.authorizationError)
  if (problem !== undefined) return chainProblem(problem, certificate, pin)
  const fits =
    familyOf(name) === 0 ? certificate.checkHost(name, { partialWildcards: false }) : certificate.checkIP(name)
  if (fits !== undefined) return undefined
  const names = namesOf(certificate)
  const fitting = names.find((candidate) => !candidate.includes('*') && candidate !== name)
  const advice = fitting === undefined ? pin : `--tls-name ${fitting}`
  return refused(
    `the certificate is for ${listed(names)}, not ${name}`,
    `try ${advice}, if that is your provider, or ask it`,
  )
}

/** Of an issuer's name, in a message */
const ISSUER_CHARACTERS = 120

function chainProblem(code: string, certificate: X509Certificate, pin: string): StepError {
  const issuer = issuerOf(certificate)
  const pinIt = `${pin} takes this one, if you know that it is right`
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return refused(expiry(certificate), `ask the provider to renew it; ${pinIt}`)
    case 'CERT_NOT_YET_VALID':
      return refused(`the certificate is valid from ${day(certificate.validFrom)} only`, "is this host's clock right?")
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
      return refused('the certificate is signed by itself alone', pinIt)
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
      return refused(
        `the certificate's issuer is not known here: ${issuer}`,
        `--tls-ca FILE names your provider's authority; ${pinIt}`,
      )
    default:
      return refused(`the certificate does not hold: ${code}`, pinIt)
  }
}

function issuerOf({ issuer }: X509Certificate): string {
  return printable(issuer.replaceAll('\n', ', ')).slice(0, ISSUER_CHARACTERS)
}

/** RFC 8446, 5.1 */
const RECORD_HEAD_OCTETS = 5

function notTls(cause: unknown): StepError {
  const advice = 'is it the right port? smtps:// begins with TLS, smtp:// comes to it by STARTTLS'
  return new StepError('what answers is not TLS', { exitStatus: EXIT.PROTOCOL, kind: 'clear text', advice, cause })
}

/** What broke the handshake off, in words. */
function failed(error: unknown, { minVersion }: TlsPolicy): StepError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (isClearText(code)) return notTls(error)
  if (/UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION|VERSION_TOO_LOW/.test(code)) {
    return refused(
      `the server has no TLS as new as ${minVersion}`,
      '--tls-min TLSv1 allows what is older, for what it is worth',
      error,
    )
  }
  return (
    tlsFailure(error) ??
    new StepError('the server closed the connection within the handshake', {
      exitStatus: EXIT.TEMPFAIL,
      kind: 'lost',
      cause: error,
    })
  )
}

/** A server that goes on in clear where TLS has to begin is no TLS server, or somebody on the way speaks for it. */
function isClearText(code: string): boolean {
  return /WRONG_VERSION_NUMBER|HTTPS?_(?:PROXY_)?REQUEST|PACKET_LENGTH_TOO_LONG|BAD_RECORD_TYPE|UNKNOWN_PROTOCOL/.test(
    code,
  )
}

function refused(message: string, advice: string, cause?: unknown): StepError {
  return new StepError(message, { exitStatus: EXIT.PROTOCOL, advice, cause })
}

/** What a certificate is for, without what is no name of a host. */
function namesOf(certificate: X509Certificate): string[] {
  const alternatives = (certificate.subjectAltName ?? '').split(', ')
  const names = alternatives.flatMap((name) => /^(?:DNS|IP Address):(.*)$/.exec(name)?.[1] ?? [])
  const common = /^CN=(.*)$/m.exec(certificate.subject)?.[1]
  return (names.length > 0 ? names : [common ?? '']).filter((name) => /^[\w.*:-]{1,253}$/.test(name))
}

const LISTED = 4

function listed(names: readonly string[]): string {
  if (names.length === 0) return 'no host'
  return names.slice(0, LISTED).join(', ') + (names.length > LISTED ? ', ...' : '')
}

/** The certificate may hold still, and its issuer's not. */
function expiry({ validTo }: X509Certificate): string {
  return new Date(validTo) < new Date()
    ? `the certificate expired: it was valid to ${day(validTo)}`
    : 'the certificate of its issuer expired'
}

/** `2026-11-24` of OpenSSL's `Nov 24 12:00:00 2026 GMT` */
function day(date: string): string {
  const time = new Date(date)
  return Number.isNaN(time.valueOf()) ? printable(date) : time.toISOString().slice(0, 10)
}
