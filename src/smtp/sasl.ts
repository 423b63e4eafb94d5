import { createHmac } from 'node:crypto'
import { EXIT, StepError } from '../errors.js'
import type { Credentials } from './credentials-policy.js'

/** The connection that a mechanism runs on. */
export type AuthContext = {
  readonly host: string
  readonly port: number
  /** The TLS exporter (RFC 9266); undefined if there is none */
  readonly exporter: Uint8Array | undefined
  /** True if the client has presented a certificate. */
  readonly hasCertificate: boolean
  /** Mechanisms that the server lists, in capitals */
  readonly offered: readonly string[]
}

/**
 * A running mechanism: it yields a response and receives the challenge that follows. It yields undefined if the server begins; an empty
 * response is not the same (RFC 4954, 4). It returns when it expects no further challenge. Throws StepError.
 */
export type MechanismSteps = SyncSteps | AsyncSteps
export type SyncSteps = Generator<Buffer | undefined, void, Buffer>
export type AsyncSteps = AsyncGenerator<Buffer | undefined, void, Buffer>

const EMPTY_RESPONSE = Buffer.alloc(0)

/** RFC 4422, appendix A: the certificate identifies the client. */
export function* external({ user }: Credentials): SyncSteps {
  yield Buffer.from(user)
}

/** RFC 4616 */
export function* plain({ user, password = '' }: Credentials): SyncSteps {
  yield Buffer.from(`\0${user}\0${password}`)
}

/** draft-murchison-sasl-login: the text of the prompts doesn't matter. */
export function* login({ user, password = '' }: Credentials): SyncSteps {
  yield undefined
  yield Buffer.from(user)
  yield Buffer.from(password)
}

/** RFC 2195 */
export function* cramMd5({ user, password = '' }: Credentials): SyncSteps {
  const challenge = yield undefined
  yield Buffer.from(`${user} ${createHmac('md5', password).update(challenge).digest('hex')}`)
}

/** Google's and Microsoft's mechanism: a challenge is an error, and the reply to it is empty. */
export function* xoauth2({ user, password = '' }: Credentials): SyncSteps {
  yield Buffer.from(`user=${user}\x01auth=Bearer ${password}\x01\x01`)
  yield EMPTY_RESPONSE
}

/** RFC 7628: a challenge is an error, and the reply to it is a separator (3.2.3). */
export function* oauthBearer({ user, password = '' }: Credentials, { host, port }: AuthContext): SyncSteps {
  const name = escapeSaslName(user)
  yield Buffer.from(`n,a=${name},\x01host=${host}\x01port=${port}\x01auth=Bearer ${password}\x01\x01`)
  yield Buffer.from('\x01')
}

/** Escapes a user name for a list of attributes (RFC 5802, 5.1). */
export function escapeSaslName(user: string): string {
  return user.replaceAll('=', '=3D').replaceAll(',', '=2C')
}

/** Returns the failure of a login that can't be tried, or that the server refuses. */
export function authUnavailable(message: string, hint?: string): StepError {
  return new StepError(message, { exitStatus: EXIT.NOPERM, hint })
}

/** Returns the failure of a server that violates the mechanism. */
export function saslViolation(message: string): StepError {
  return new StepError(message, { exitStatus: EXIT.PROTOCOL })
}
