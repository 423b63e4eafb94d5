import type { SecureVersion } from 'node:tls'

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
