import { X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { EXIT, messageOf, StepError } from '../errors.js'
import type { TlsPolicy } from './tls-policy.js'

/** The systems' certificate authorities. Node has its own list, which lacks local ones. */
const SYSTEM_CA_FILES = ['/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls/certs/ca-bundle.crt', '/etc/ssl/cert.pem']
/** One certificate, under each of the names that OpenSSL knows */
const PEM = /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[^-]*-----END (?:X509 |TRUSTED )?CERTIFICATE-----/g

/** Nothing is read again for a policy once its TLS is prepared. */
const texts = new WeakMap<TlsPolicy, string | undefined>()
/** The certificates of each PEM text: those of a system take milliseconds. */
const parsed = new Map<string, readonly X509Certificate[]>()

/**
 * Returns the certificate authorities that a policy trusts, in PEM; undefined for Node's own list, if the system has none. Throws StepError
 * (66) if they can't be read.
 */
export function readAuthorities(policy: TlsPolicy): string | undefined {
  if (!texts.has(policy)) texts.set(policy, policy.ca ?? readSystemAuthorities())
  return texts.get(policy)
}

function readSystemAuthorities(): string | undefined {
  const file = SYSTEM_CA_FILES.find((name) => existsSync(name))
  try {
    return file === undefined ? undefined : readFileSync(file, 'utf8')
  } catch (cause) {
    const hint = `make ${file ?? ''} readable, or use another file: --tls-ca FILE`
    const message = `this host's CA certificates can't be read (${messageOf(cause)})`
    throw new StepError(message, { exitStatus: EXIT.NOINPUT, hint, cause })
  }
}

/** Returns the same authorities as certificates, without those that OpenSSL can't read; none in place of Node's own list, which has no weak ones. */
export function trustedCertificates(policy: TlsPolicy): readonly X509Certificate[] {
  const text = readAuthorities(policy) ?? ''
  const known = parsed.get(text)
  if (known !== undefined) return known
  const certificates = (text.match(PEM) ?? []).flatMap(parseCertificate)
  parsed.set(text, certificates)
  return certificates
}

function parseCertificate(pem: string): X509Certificate | [] {
  try {
    return new X509Certificate(pem)
  } catch {
    return []
  }
}
