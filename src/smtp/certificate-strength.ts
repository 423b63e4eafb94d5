import type { KeyObject, X509Certificate } from 'node:crypto'

// OpenSSL judges the strength of certificates by its security level, which must be 0 for TLS 1.0 and 1.1, and it rounds the strength of
// RSA keys up. So the level must not decide.

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
/** An elliptic curve, behind the tags and lengths of both OIDs */
const CURVE = /^06072a8648ce3d020106..(.*)/
/** The OIDs of the curves of less than 160 bits: those of SECG and WAP */
const WEAK_CURVES: Readonly<Record<string, string>> = {
  '2b81040004': 'sect113r1',
  '2b81040005': 'sect113r2',
  '2b81040006': 'secp112r1',
  '2b81040007': 'secp112r2',
  '2b81040016': 'sect131r1',
  '2b81040017': 'sect131r2',
  '2b8104001c': 'secp128r1',
  '2b8104001d': 'secp128r2',
  '672b010401': 'wap-wsg-idm-ecid-wtls1',
  '672b010404': 'wap-wsg-idm-ecid-wtls4',
  '672b010406': 'wap-wsg-idm-ecid-wtls6',
  '672b010408': 'wap-wsg-idm-ecid-wtls8',
}
const CHAIN_CERTIFICATES = 16
/** The certificates of a chain that are looked at as roots with a weak signature: to verify a signature can take 20 ms. */
const ROOTS = 3

/**
 * Returns why a certificate, or one that may be an issuer on its path, is too weak to prove anything; else undefined. The issuers are those
 * that the server sent, and the authorities that this host trusts. OpenSSL doesn't tell which path it has verified, so that none of the
 * possible ones may be weak.
 */
export function weaknessOf(certificate: X509Certificate, trusted: readonly X509Certificate[] = []): string | undefined {
  const sent = listIssuers(certificate)
  if (sent.length >= CHAIN_CERTIFICATES) return `the server sent more than ${CHAIN_CERTIFICATES} certificates`
  const path = new Set([certificate])
  const own = new Set(trusted)
  let roots = 0
  // The set grows while its members are visited.
  for (const current of path) {
    const weakKey = keyProblem(current)
    // The user or the system vouches for a trusted certificate, so that its signature proves nothing.
    const weakSignature = own.has(current) ? undefined : signatureProblem(current)
    // A root is trusted by itself, so that its own signature proves nothing either.
    const mayBeRoot = weakKey === undefined && weakSignature !== undefined && roots++ < ROOTS
    const weakness = mayBeRoot && isSelfSigned(current) ? undefined : (weakKey ?? weakSignature)
    if (weakness !== undefined) return `${current === certificate ? 'certificate' : "issuer's certificate"} ${weakness}`
    // The names decide: to verify each signature with each key could take seconds, and every other session would stand still.
    for (const others of [sent, trusted]) for (const other of others) if (current.checkIssued(other)) path.add(other)
  }
  return undefined
}

/** Returns the certificates that the server sent after its own. Node links them in this order, whoever issued them. */
function listIssuers(certificate: X509Certificate): X509Certificate[] {
  const sent: X509Certificate[] = []
  let next = certificate.issuerCertificate
  for (; next !== undefined && sent.length < CHAIN_CERTIFICATES; next = next.issuerCertificate) sent.push(next)
  return sent
}

/** Returns the key, or undefined if OpenSSL doesn't know its algorithm: it can't verify a signature with it either. */
function publicKeyOf(certificate: X509Certificate): KeyObject | undefined {
  try {
    return certificate.publicKey
  } catch {
    return undefined
  }
}

function keyProblem(certificate: X509Certificate): string | undefined {
  const key = publicKeyOf(certificate)
  const type = key?.asymmetricKeyType ?? ''
  if (key === undefined || /^ed\d+$/.test(type)) return undefined
  if (!['ec', 'rsa', 'rsa-pss'].includes(type)) return `has a key of the obsolete kind ${type.toUpperCase()}`
  const spki = readPublicKey(key)
  if (spki === undefined) return 'has a public key that cannot be decoded'
  return type === 'ec' ? curveProblem(spki) : lengthProblem(spki)
}

/** The place of an element's content */
type DerElement = { readonly start: number; readonly end: number }

/** The octets of a SubjectPublicKeyInfo, and the places of its two parts (RFC 5280, 4.1) */
type PublicKey = { readonly der: Buffer; readonly algorithm: DerElement; readonly bits: DerElement }

/** Reads the key as DER: to ask for its details ends the process for some keys, for example the point at infinity (Node 20, 22). */
function readPublicKey(key: KeyObject): PublicKey | undefined {
  const der = exportKey(key)
  const info = der && readElement(der, 0)
  const algorithm = info && readElement(der, info.start)
  const bits = algorithm && readElement(der, algorithm.end)
  return bits && { der, algorithm, bits }
}

function curveProblem({ der, algorithm }: PublicKey): string | undefined {
  const oid = CURVE.exec(der.toString('hex', algorithm.start, algorithm.end))?.[1]
  // RFC 5480, 2.1.1, forbids the parameters of a curve in place of its name. They can make any curve a weak one.
  if (oid === undefined) return 'has a key on a curve without a name'
  const curve = WEAK_CURVES[oid]
  return curve && `has a key on the weak curve ${curve}`
}

function exportKey(key: KeyObject): Buffer | undefined {
  try {
    return key.export({ type: 'spki', format: 'der' })
  } catch {
    return undefined
  }
}

function lengthProblem({ der, bits }: PublicKey): string | undefined {
  // RSAPublicKey ::= SEQUENCE { modulus, publicExponent } (RFC 8017, A.1.1), behind the number of unused bits
  const key = readElement(der, bits.start + 1)
  const modulus = key && readElement(der, key.start)
  const length = modulus && BigInt(`0x0${der.toString('hex', modulus.start, modulus.end)}`).toString(2).length
  if (length === undefined) return 'has a public key that cannot be decoded'
  return length < RSA_BITS ? `has a key of only ${length} bits` : undefined
}

function isSelfSigned(certificate: X509Certificate): boolean {
  const key = publicKeyOf(certificate)
  return key !== undefined && certificate.verify(key)
}

function signatureProblem(certificate: X509Certificate): string | undefined {
  const algorithm = readSignatureAlgorithm(certificate.raw)
  if (algorithm === undefined) return 'is not DER-encoded'
  const hash = weakHashOf(algorithm)
  return hash === undefined ? undefined : `is signed with ${hash}, whose signatures can be forged`
}

function weakHashOf(algorithm: string): string | undefined {
  if (algorithm.startsWith(RSASSA_PSS, OID_START)) return STRONG_PSS.test(algorithm) ? undefined : 'SHA-1'
  return WEAK_SIGNATURES.find(([oid]) => algorithm.startsWith(oid, OID_START))?.[1]
}

/** An OID begins behind its tag and its length, two hex digits each. */
const OID_START = 4

/**
 * Returns the algorithm of a certificate's signature in hex; undefined if the certificate isn't DER, although OpenSSL may accept it.
 * Node's X509Certificate has the algorithm from version 24 on only: Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, ... }
 * (RFC 5280, 4.1).
 */
function readSignatureAlgorithm(der: Buffer): string | undefined {
  const certificate = readElement(der, 0)
  const tbsCertificate = certificate && readElement(der, certificate.start)
  const algorithm = tbsCertificate && readElement(der, tbsCertificate.end)
  return algorithm && der.toString('hex', algorithm.start, algorithm.end)
}

/** The octets of the longest length that a certificate needs: TLS sends at most 2^24 - 1 octets. */
const LENGTH_OCTETS = 3

/** Returns where the content of a DER element starts and ends; undefined if its length is not DER, or the end is missing. */
function readElement(der: Buffer, offset: number): DerElement | undefined {
  const first = der[offset + 1] ?? 0x80
  const octets = first < 0x80 ? 0 : first & 0x7f
  const start = offset + 2 + octets
  // BER also has lengths with zeros in front, and 0x80 for an end that is marked.
  if (first === 0x80 || octets > LENGTH_OCTETS || start > der.length) return undefined
  const end = start + (octets === 0 ? first : der.readUIntBE(offset + 2, octets))
  return end > der.length ? undefined : { start, end }
}
