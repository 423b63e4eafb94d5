import type { X509Certificate } from 'node:crypto'

// OpenSSL judges the strength of certificates by its security level, which must be 0 for TLS 1.0 and 1.1. So the level must not decide.

/** The OIDs of signatures that can be forged, in hex as DER has them, and the hash that makes them weak */
const WEAK_SIGNATURES = [
  ['2a864886f70d010102', 'MD2'],
  ['2a864886f70d010103', 'MD4'],
  ['2a864886f70d010104', 'MD5'],
  ['2a864886f70d010105', 'SHA-1'],
  ['2a8648ce380403', 'SHA-1'], // DSA
  ['2a8648ce3d0401', 'SHA-1'], // ECDSA
  ['2b0e030203', 'MD5'], // of the Open Systems Environment Implementors' Workshop
  ['2b0e03020d', 'SHA'],
  ['2b0e03021b', 'SHA-1'],
  ['2b0e03021d', 'SHA-1'],
] as const
/** Has its hash as the first parameter; SHA-1 if it is missing (RFC 4055, 3.1). */
const RSASSA_PSS = '2a864886f70d01010a'
/** RSASSA-PSS with SHA-2 or SHA-3. The hash of its mask doesn't matter. */
const STRONG_PSS = new RegExp(`^0609${RSASSA_PSS}30..a0..30..06096086480165030402`)

/** The limits of OpenSSL's security level 1 */
const RSA_BITS = 1024
const CHAIN_CERTIFICATES = 16

/** Returns why a certificate, or one of those that the server sent with it, is too weak to prove anything; else undefined. */
export function weaknessOf(certificate: X509Certificate): string | undefined {
  let current: X509Certificate | undefined = certificate
  for (let count = 0; current !== undefined; count++) {
    if (count === CHAIN_CERTIFICATES) return `the server sent more than ${CHAIN_CERTIFICATES} certificates`
    const subject = current === certificate ? 'certificate' : "issuer's certificate"
    const hash = weakHashOf(current)
    if (hash !== undefined) return `${subject} is signed with ${hash}, which can be forged`
    const { modulusLength } = current.publicKey.asymmetricKeyDetails ?? {}
    if (modulusLength !== undefined && modulusLength < RSA_BITS)
      return `${subject} has a key of only ${modulusLength} bits`
    current = current.issuerCertificate
  }
  return undefined
}

function weakHashOf(certificate: X509Certificate): string | undefined {
  // A root is trusted by itself: its own signature proves nothing.
  if (certificate.verify(certificate.publicKey)) return undefined
  const algorithm = readSignatureAlgorithm(certificate.raw)
  if (algorithm.startsWith(RSASSA_PSS, OID_START)) return STRONG_PSS.test(algorithm) ? undefined : 'SHA-1'
  return WEAK_SIGNATURES.find(([oid]) => algorithm.startsWith(oid, OID_START))?.[1]
}

/** An OID begins behind its tag and its length, two hex digits each. */
const OID_START = 4

/**
 * Returns the algorithm of a certificate's signature in hex. Node's X509Certificate has it from version 24 on only, so that it is read from
 * DER, which OpenSSL has already parsed: Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, ... } (RFC 5280, 4.1).
 */
function readSignatureAlgorithm(der: Buffer): string {
  const tbsCertificate = readElement(der, readElement(der, 0).start)
  const { start, end } = readElement(der, tbsCertificate.end)
  return der.toString('hex', start, end)
}

/** Returns where the content of a DER element starts and ends. */
function readElement(der: Buffer, offset: number): { readonly start: number; readonly end: number } {
  const first = der.readUInt8(offset + 1)
  const start = offset + 2 + (first < 0x80 ? 0 : first & 0x7f)
  return { start, end: start + (first < 0x80 ? first : der.readUIntBE(offset + 2, first & 0x7f)) }
}
