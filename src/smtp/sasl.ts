import { createHmac } from 'node:crypto'
import { EXIT, StepError } from '../errors.js'
import type { Credentials } from './credentials-policy.js'
import type { MechanismName } from './mechanisms.js'
import { scram } from './scram.js'

/** What a mechanism can build on. */
export type AuthContext = {
  readonly host: string
  readonly port: number
  /** The connection's TLS exporter (RFC 9266); undefined: none */
  readonly exporter: Uint8Array | undefined
  /** The client showed a certificate of its own. */
  readonly hasCertificate: boolean
  /** Mechanisms that the server lists, in capitals */
  readonly offered: readonly string[]
}
/**
 * A mechanism at work: it yields a response and is sent the challenge that follows. The first one is the initial response, or
 * undefined where the server begins; empty is not the same as none (RFC 4954, 4). Returning ends the mechanism's part: no further
 * challenge is expected. Throws StepError where the server isn't what it says.
 */
export type MechanismSteps = SyncSteps | AsyncSteps
export type SyncSteps = Generator<Buffer | undefined, void, Buffer>
export type AsyncSteps = AsyncGenerator<Buffer | undefined, void, Buffer>

export const STEPS_OF: Readonly<Record<MechanismName, (c: Credentials, s: AuthContext) => MechanismSteps>> = {
  EXTERNAL: external,
  'SCRAM-SHA-256-PLUS': (c, s) => scram('sha256', c, s, true),
  'SCRAM-SHA-256': (c, s) => scram('sha256', c, s),
  'SCRAM-SHA-1': (c, s) => scram('sha1', c, s),
  'CRAM-MD5': cramMd5,
  PLAIN: plain,
  LOGIN: login,
  XOAUTH2: xoauth2,
  OAUTHBEARER: oauthBearer,
}

const EMPTY_RESPONSE = Buffer.alloc(0)

export function authUnavailable(message: string, hint?: string): StepError {
  return new StepError(message, { exitStatus: EXIT.NOPERM, hint })
}

export function saslViolation(message: string): StepError {
  return new StepError(message, { exitStatus: EXIT.PROTOCOL })
}

/** RFC 4422, appendix A: who we are, the certificate has said. */
function* external({ user }: Credentials): SyncSteps {
  yield Buffer.from(user)
}

/** RFC 4616 */
function* plain({ user, password = '' }: Credentials): SyncSteps {
  yield Buffer.from(`\0${user}\0${password}`)
}

/** draft-murchison-sasl-login: what the prompts say doesn't matter. */
function* login({ user, password = '' }: Credentials): SyncSteps {
  yield undefined
  yield Buffer.from(user)
  yield Buffer.from(password)
}

/** RFC 2195 */
function* cramMd5({ user, password = '' }: Credentials): SyncSteps {
  const challenge = yield undefined
  yield Buffer.from(`${user} ${createHmac('md5', password).update(challenge).digest('hex')}`)
}

/** Google's and Microsoft's: a challenge is an error, to be answered with nothing. */
function* xoauth2({ user, password = '' }: Credentials): SyncSteps {
  yield Buffer.from(`user=${user}\x01auth=Bearer ${password}\x01\x01`)
  yield EMPTY_RESPONSE
}

/** RFC 7628: a challenge is an error, to be answered with a lone separator (3.2.3). */
function* oauthBearer({ user, password = '' }: Credentials, { host, port }: AuthContext): SyncSteps {
  const name = escapeSaslName(user)
  yield Buffer.from(`n,a=${name},\x01host=${host}\x01port=${port}\x01auth=Bearer ${password}\x01\x01`)
  yield Buffer.from('\x01')
}

/** A user's name within a list of attributes (RFC 5802, 5.1) */
export function escapeSaslName(user: string): string {
  return user.replaceAll('=', '=3D').replaceAll(',', '=2C')
}
