import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { EXIT, StepError } from '../errors.js'
import { familyOf } from '../net/address.js'
import { truncate, printable } from '../printable.js'
import type { TlsPolicy } from './tls-policy.js'

/** Whom a server says that it is. Printable already. */
export type CertificateInfo = {
  /** Names of hosts, and addresses */
  readonly names: readonly string[]
  readonly issuer: string
  /** The last day, as 2026-11-24 */
  readonly validTo: string
  readonly fingerprint: string
  /** Why it doesn't hold; null: it does, or nobody looked. */
  readonly problem: string | null
}

/** What a certificate says, with what is wrong with it. */
export function certificateInfoOf(certificate: X509Certificate, problem: StepError | undefined): CertificateInfo {
  return {
    names: hostNamesOf(certificate),
    issuer: issuerOf(certificate),
    validTo: formatDay(certificate.validTo),
    fingerprint: certificate.fingerprint256,
    problem: problem?.message ?? null,
  }
}

/** Why the certificate does not hold: its pin, its chain or its name; undefined: it does. */
export function verificationError(
  socket: TLSSocket,
  certificate: X509Certificate | undefined,
  name: string,
  policy: TlsPolicy,
): StepError | undefined {
  if (certificate === undefined) return tlsPolicyError('the server has no certificate', 'ask your provider')
  const pin = `--tls-fingerprint ${certificate.fingerprint256}`
  if (policy.fingerprint !== undefined) {
    if (certificate.fingerprint256.replaceAll(':', '') === policy.fingerprint) return undefined
    return tlsPolicyError(
      `the certificate is not the pinned one, but ${certificate.fingerprint256}`,
      'if the provider has renewed it, pin that one',
    )
  }
  // A code of OpenSSL's, though the types say that it is an error.
  const problem = socket.authorized ? undefined : String(socket.authorizationError)
  if (problem !== undefined) return chainError(problem, certificate, pin)
  const fits =
    familyOf(name) === 0 ? certificate.checkHost(name, { partialWildcards: false }) : certificate.checkIP(name)
  if (fits !== undefined) return undefined
  const names = hostNamesOf(certificate)
  const fitting = names.find((candidate) => !candidate.includes('*') && candidate !== name)
  const advice = fitting === undefined ? pin : `--tls-name ${fitting}`
  return tlsPolicyError(
    `the certificate is for ${listNames(names)}, not ${name}`,
    `try ${advice}, if that is your provider, or ask it`,
  )
}

/** Of an issuer's name, in a message */
const ISSUER_CHARACTERS = 120

function chainError(code: string, certificate: X509Certificate, pin: string): StepError {
  const issuer = issuerOf(certificate)
  const pinIt = `${pin} takes this one, if you know that it is right`
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return tlsPolicyError(expiryMessage(certificate), `ask the provider to renew it; ${pinIt}`)
    case 'CERT_NOT_YET_VALID':
      return tlsPolicyError(
        `the certificate is valid from ${formatDay(certificate.validFrom)} only`,
        "is this host's clock right?",
      )
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
      return tlsPolicyError('the certificate is signed by itself alone', pinIt)
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
      return tlsPolicyError(
        `the certificate's issuer is not known here: ${issuer}`,
        `--tls-ca FILE names your provider's authority; ${pinIt}`,
      )
    default:
      return tlsPolicyError(`the certificate does not hold: ${code}`, pinIt)
  }
}

function issuerOf({ issuer }: X509Certificate): string {
  return truncate(printable(issuer.replaceAll('\n', ', ')), ISSUER_CHARACTERS)
}

/** What a certificate is for, without what is no name of a host. */
function hostNamesOf(certificate: X509Certificate): string[] {
  const alternatives = (certificate.subjectAltName ?? '').split(', ')
  const names = alternatives.flatMap((name) => /^(?:DNS|IP Address):(.*)$/.exec(name)?.[1] ?? [])
  const common = /^CN=(.*)$/m.exec(certificate.subject)?.[1]
  return (names.length > 0 ? names : [common ?? '']).filter((name) => /^[\w.*:-]{1,253}$/.test(name))
}

const NAMES_SHOWN = 4

function listNames(names: readonly string[]): string {
  if (names.length === 0) return 'no host'
  return names.slice(0, NAMES_SHOWN).join(', ') + (names.length > NAMES_SHOWN ? ', ...' : '')
}

/** The certificate may hold still, and its issuer's not. */
function expiryMessage({ validTo }: X509Certificate): string {
  return new Date(validTo) < new Date()
    ? `the certificate expired: it was valid to ${formatDay(validTo)}`
    : 'the certificate of its issuer expired'
}

/** `2026-11-24` of OpenSSL's `Nov 24 12:00:00 2026 GMT` */
function formatDay(date: string): string {
  const time = new Date(date)
  return Number.isNaN(time.valueOf()) ? printable(date) : time.toISOString().slice(0, 10)
}

/** What is demanded of TLS doesn't hold: 76. */
export function tlsPolicyError(message: string, hint: string, cause?: unknown): StepError {
  return new StepError(message, { exitStatus: EXIT.PROTOCOL, hint, cause })
}
