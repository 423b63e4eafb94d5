import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { StepError } from '../errors.js'
import { familyOf } from '../net/address.js'
import { printable, shortenMessage } from '../printable.js'
import { weaknessOf } from './certificate-strength.js'
import { protocolError } from './errors.js'
import type { TlsPolicy } from './session-settings.js'

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

const NAMES_SHOWN = 4
const ISSUER_CHARACTERS = 120

/** Returns why a certificate fails verification (its pin, its chain or its name), or undefined if it passes. */
export function verificationError(
  socket: TLSSocket,
  certificate: X509Certificate | undefined,
  name: string,
  policy: TlsPolicy,
): StepError | undefined {
  if (certificate === undefined) return protocolError('the server has no certificate', 'ask your provider')
  const pin = `--tls-fingerprint ${certificate.fingerprint256}`
  if (policy.fingerprint !== undefined) {
    if (certificate.fingerprint256.replaceAll(':', '') === policy.fingerprint) return undefined
    const message = `the certificate is not the pinned one, but ${certificate.fingerprint256}`
    return protocolError(message, 'if the provider has renewed it, pin that one')
  }
  // The types say that it is an Error, but it is a code of OpenSSL's.
  const code = socket.authorized ? undefined : String(socket.authorizationError)
  // OpenSSL's own verdict on a weak certificate has no name.
  const weakness = code === undefined || code === 'UNSPECIFIED' ? weaknessOf(certificate) : undefined
  if (weakness !== undefined) return protocolError(weakness, `ask your provider for a new certificate; ${pinHint(pin)}`)
  return code === undefined ? nameError(certificate, name, pin) : chainError(code, certificate, pin)
}

function nameError(certificate: X509Certificate, name: string, pin: string): StepError | undefined {
  const matched =
    familyOf(name) === 0
      ? certificate.checkHost(name, { partialWildcards: false, subject: 'never' })
      : certificate.checkIP(name)
  if (matched !== undefined) return undefined
  const names = hostNamesOf(certificate)
  const shown = names.slice(0, NAMES_SHOWN).join(', ') || 'no host (a common name alone does not count)'
  const more = names.length > NAMES_SHOWN ? ', ...' : ''
  const other = names.find((candidate) => !candidate.includes('*') && candidate !== name)
  const option = other === undefined ? pin : `--tls-name ${other}`
  const hint = `try ${option}, if that is your provider, or ask it`
  return protocolError(`the certificate is for ${shown}${more}, not ${name}`, hint)
}

function chainError(code: string, certificate: X509Certificate, pin: string): StepError {
  const validFrom = formatDay(certificate.validFrom)
  const unknownIssuer = `the certificate's issuer is not known here: ${issuerOf(certificate)}`
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return protocolError(expiryMessage(certificate), `ask the provider to renew it; ${pinHint(pin)}`)
    case 'CERT_NOT_YET_VALID':
      return protocolError(`the certificate is valid from ${validFrom} only`, "is this host's clock right?")
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
      return protocolError('the certificate is signed by itself alone', pinHint(pin))
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
      return protocolError(unknownIssuer, `--tls-ca FILE names your provider's authority; ${pinHint(pin)}`)
    default:
      return protocolError(`the certificate does not hold: ${code}`, pinHint(pin))
  }
}

function pinHint(pin: string): string {
  return `${pin} takes this one, if you know that it is right`
}

function issuerOf({ issuer }: X509Certificate): string {
  return shortenMessage(printable(issuer.replaceAll('\n', ', ')), ISSUER_CHARACTERS)
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

/** The certificate can be valid although its issuer's has expired. */
function expiryMessage({ validTo }: X509Certificate): string {
  if (new Date(validTo) >= new Date()) return 'the certificate of its issuer expired'
  return `the certificate expired: it was valid to ${formatDay(validTo)}`
}

/** Returns OpenSSL's `Nov 24 12:00:00 2026 GMT` as `2026-11-24`. */
function formatDay(date: string): string {
  const time = new Date(date)
  return Number.isNaN(time.valueOf()) ? printable(date) : time.toISOString().slice(0, 10)
}
