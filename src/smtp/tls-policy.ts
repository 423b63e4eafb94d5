import type { SecureVersion } from 'node:tls'

/** The TLS that is required, in Postfix's words: none; if offered; encryption; encryption and a verified certificate. */
export type TlsLevel = 'none' | 'may' | 'encrypt' | 'verify'

export type TlsPolicy = {
  readonly level: TlsLevel
  /** The certificate's SHA-256, 64 hex digits in capitals. It pins the certificate; chain and name are not checked. */
  readonly fingerprint: string | undefined
  /** The name that the certificate must have; undefined: the host's */
  readonly name: string | undefined
  /** Certificate authorities in PEM; undefined: the system's */
  readonly ca: string | undefined
  /** The client's certificate and key, in PEM */
  readonly cert: string | undefined
  readonly key: string | undefined
  readonly minVersion: SecureVersion
  /** Reports whether a certificate would pass even if the level doesn't require it. */
  readonly isInspected?: true
}

/** Returns true if the server must prove its identity by its certificate. */
export function isVerificationRequired({ level, fingerprint }: TlsPolicy): boolean {
  return level === 'verify' || fingerprint !== undefined
}

/** Returns true if TLS 1.0 or 1.1 may be used: OpenSSL knows them at its security level 0 alone, which judges no certificate. */
export function isOldTlsAccepted({ minVersion }: TlsPolicy): boolean {
  return minVersion < 'TLSv1.2'
}
