import { EXIT, StepError } from '../errors.js'
import type { MechanismName } from './mechanisms.js'
import type { TlsPolicy } from './tls-policy.js'

/** What a server may be told to let us in. */
export type Credentials = {
  readonly user: string
  /** A password, or the token of XOAUTH2 and OAUTHBEARER; undefined: there is none, as for EXTERNAL */
  readonly password: string | undefined
  /** The mechanism that --auth names; undefined: the strongest that both know */
  readonly mechanism: MechanismName | undefined
}
/** What is said of TLS for one server. */
export type TlsRequest = { readonly [K in 'level' | 'fingerprint' | 'ca' | 'name']?: TlsPolicy[K] | undefined }
export function untrustedServerError(isTls: boolean): StepError {
  const how = isTls ? 'over TLS that is not verified' : 'in clear'
  const hint = '--tls verify checks the certificate, --tls-fingerprint pins it'
  return new StepError(`user and password are not sent ${how}`, { exitStatus: EXIT.NOPERM, hint })
}
