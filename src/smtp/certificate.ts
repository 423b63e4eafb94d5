import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { StepError } from '../errors.js'
import { familyOf } from '../net/address.js'
import { listSome, printable, shortenMessage } from '../printable.js'
import { weaknessOf } from './certificate-strength.js'
import { protocolError } from './errors.js'
import type { TlsPolicy } from './tls-policy.js'
import { trustedCertificates } from './trusted-authorities.js'

/** The facts of a certificate. All texts are printable. */
export type CertificateInfo = {
  readonly names: readonly string[]
  readonly issuer: string
  /** The last day on which it is valid, as 2026-11-24 */
  readonly validTo: string
  readonly fingerprint: string
  /** The reason why it fails verification; null if it passes, or was not checked */
  readonly problem: string | null
}

export function certificateInfoOf(certificate: X509Certificate, problem: StepError | undefined): CertificateInfo {
  return {
    names: hostNamesOf(certificate),
    issuer: issuerOf(certificate),
    validTo: formatDay(certificate.validTo),
    fingerprint: certificate.fingerprint256,
    problem: problem?.message ?? null,
  }
}

const ISSUER_OCTETS = 120

/** Returns why a certificate fails verification (its pin, its chain or its name), or undefined if it passes. */
export function verificationError(
  socket: TLSSocket,
  certificate: X509Certificate | undefined,
  name: string,
  policy: TlsPolicy,
): StepError | undefined {
  if (certificate === undefined)
    return protocolError('the server sent no certificate', 'ask your provider to install a certificate')
  const { fingerprint256 } = certificate
  if (policy.fingerprint !== undefined) {
    if (fingerprint256.replaceAll(':', '') === policy.fingerprint) return undefined
    return protocolError('certificate does not match the pinned fingerprint', changedHint(certificate))
  }
  // The types say that it is an Error, but it is a code of OpenSSL's.
  const code = socket.authorized ? undefined : String(socket.authorizationError)
  // OpenSSL's own verdict on a weak certificate has no name. Its security level 1 takes an RSA key of 920 bits for one of 1024, and level 0,
  // that of old TLS versions, takes any key.
  const isJudged = code === undefined || code === 'UNSPECIFIED'
  const weakness = isJudged ? weaknessOf(certificate, trustedCertificates(policy)) : undefined
  if (weakness !== undefined)
    return protocolError(
      weakness,
      `ask your provider to install a new certificate; until then, ${pinHint(certificate)}`,
    )
  return code === undefined ? nameError(certificate, name) : chainError(code, certificate)
}

function nameError(certificate: X509Certificate, name: string): StepError | undefined {
  const matched =
    familyOf(name) === 0
      ? certificate.checkHost(name, { partialWildcards: false, subject: 'never' })
      : certificate.checkIP(name)
  if (matched !== undefined) return undefined
  const names = hostNamesOf(certificate)
  const other = names.find((candidate) => !candidate.includes('*') && candidate !== name)
  const hint =
    other === undefined
      ? pinHint(certificate)
      : `ask your provider whether ${other} is a name of the server; only if so: --tls-name ${other}`
  return protocolError(nameProblem(names, name), hint)
}

function nameProblem(names: readonly string[], name: string): string {
  if (names.length === 0)
    return `certificate contains no host name (a common name alone does not count), so it is not valid for ${name}`
  if (names.includes(name)) return `certificate lists ${name} as a DNS name, but not as an IP address`
  return `certificate is for ${listSome(names)}, not for ${name}`
}

function chainError(code: string, certificate: X509Certificate): StepError {
  const clockHint = `if the clock of this host is right (${formatDay(new Date().toISOString())})`
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return protocolError(expiryMessage(certificate), `${clockHint}, ask your provider to renew the certificate`)
    case 'CERT_NOT_YET_VALID':
      return protocolError(
        notYetValidMessage(certificate),
        `${clockHint}, ask your provider to install a certificate that is valid now`,
      )
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
      return protocolError('self-signed certificate', pinHint(certificate))
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
      return protocolError(
        `certificate issued by an unknown CA (${issuerOf(certificate)})`,
        `use your provider's CA certificate: --tls-ca FILE; or ${pinHint(certificate)}`,
      )
    default:
      return protocolError(`certificate verification failed (${code})`, pinHint(certificate))
  }
}

function changedHint({ fingerprint256 }: X509Certificate): string {
  return `the server's certificate now has a different SHA-256 fingerprint; use it only if your provider confirms it: --tls-fingerprint ${fingerprint256}`
}

function pinHint({ fingerprint256 }: X509Certificate): string {
  return `if your provider confirms this SHA-256 fingerprint, pin the certificate with it: --tls-fingerprint ${fingerprint256}`
}

function issuerOf({ issuer }: { readonly issuer: string | undefined }): string {
  // Node has no text for an empty name, although its types say so.
  if (issuer === undefined) return 'CA without a name'
  return shortenMessage(printable(issuer.replaceAll('\n', ', ')), ISSUER_OCTETS)
}

/**
 * Returns the host names and addresses in a certificate, and leaves out what can't be one. The common name is none of them (RFC 9525,
 * section 2): it has no defined form, and a CA need not have checked it as a host name.
 */
function hostNamesOf(certificate: X509Certificate): string[] {
  const alternatives = (certificate.subjectAltName ?? '').split(', ')
  const names = alternatives.flatMap((name) => /^(?:DNS|IP Address):(.*)$/.exec(name)?.[1] ?? [])
  return names.filter((name) => /^[\w.*:-]{1,253}$/.test(name))
}

/** The certificate can be valid although its issuer's is not. */
function notYetValidMessage({ validFrom }: X509Certificate): string {
  if (new Date(validFrom) <= new Date()) return "issuer's certificate is not yet valid"
  return `certificate is not valid before ${formatDay(validFrom)}`
}

function expiryMessage({ validTo }: X509Certificate): string {
  if (new Date(validTo) >= new Date()) return "issuer's certificate has expired"
  return `certificate expired on ${formatDay(validTo)}`
}

/** Returns OpenSSL's `Nov 24 12:00:00 2026 GMT` as `2026-11-24`. */
function formatDay(date: string): string {
  const time = new Date(date)
  return Number.isNaN(time.valueOf()) ? printable(date) : time.toISOString().slice(0, 10)
}
