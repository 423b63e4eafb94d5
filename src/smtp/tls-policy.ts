import type { SecureVersion } from 'node:tls'

/** How much TLS is required, in Postfix's words: none; if offered; encryption; encryption and a verified certificate. */
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
