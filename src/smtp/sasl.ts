import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { EXIT, StepError } from '../errors.js'
import { printable } from '../printable.js'
import { protocolError } from './errors.js'
import type { MechanismName } from './mechanisms.js'
import type { Credentials, Protection } from './session-settings.js'

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
  /** Has the mechanism that an earlier session of the run used: no weaker one may follow. */
  readonly protection: Pick<Protection, 'mechanism'>
}

/** A response to a challenge. */
export type SaslResponse = {
  readonly octets: Buffer
  /** Texts that are made from the password, in this response or in the challenge that follows: no output may show them. */
  readonly secrets: readonly string[]
}

/**
 * A running mechanism: it yields a response and receives the challenge that follows. It yields undefined if the server begins; an empty
 * response is not the same (RFC 4954, 4). It returns when it expects no further challenge. Throws StepError.
 */
export type MechanismSteps = Generator<SaslResponse | undefined, void, Buffer> | ScramSteps
type ScramSteps = AsyncGenerator<SaslResponse, void, Buffer>

type Mechanism = (credentials: Credentials, context: AuthContext) => MechanismSteps

export const SASL_MECHANISMS: Readonly<Record<MechanismName, Mechanism>> = {
  /** RFC 4422, appendix A: the certificate identifies the client. */
  *EXTERNAL({ user }) {
    yield publicResponse(user)
  },
  'SCRAM-SHA-512-PLUS': (credentials, context) => scram('sha512', credentials, context, true),
  'SCRAM-SHA-512': (credentials, context) => scram('sha512', credentials, context),
  'SCRAM-SHA-256-PLUS': (credentials, context) => scram('sha256', credentials, context, true),
  'SCRAM-SHA-256': (credentials, context) => scram('sha256', credentials, context),
  'SCRAM-SHA-1': (credentials, context) => scram('sha1', credentials, context),
  /** RFC 2195 */
  *'CRAM-MD5'({ user, password = '' }) {
    const challenge = yield undefined
    const digest = createHmac('md5', password).update(challenge).digest('hex')
    yield { octets: Buffer.from(`${user} ${digest}`), secrets: [digest] }
  },
  /** RFC 4616 */
  *PLAIN({ user, password = '' }) {
    yield secretResponse(`\0${user}\0${password}`)
  },
  /** draft-murchison-sasl-login: the text of the prompts doesn't matter. */
  *LOGIN({ user, password = '' }) {
    yield undefined
    yield publicResponse(user)
    yield secretResponse(password)
  },
  /** Google's and Microsoft's mechanism: a challenge is an error, and the reply to it is empty. */
  *XOAUTH2({ user, password = '' }) {
    yield secretResponse(`user=${user}\x01auth=Bearer ${password}\x01\x01`)
    yield publicResponse('')
  },
  /** RFC 7628: a challenge is an error, and the reply to it is a separator (3.2.3). */
  *OAUTHBEARER({ user, password = '' }, { host, port }) {
    const name = escapeSaslName(user)
    yield secretResponse(`n,a=${name},\x01host=${host}\x01port=${port}\x01auth=Bearer ${password}\x01\x01`)
    yield publicResponse('\x01')
  },
}

/** Returns a response that has no part of the password: the user name is no secret. */
function publicResponse(text: string): SaslResponse {
  return { octets: Buffer.from(text), secrets: [] }
}

/** Returns a response that has the password itself. */
function secretResponse(text: string): SaslResponse {
  return { octets: Buffer.from(text), secrets: [text] }
}

/** Attributes have a fixed order (RFC 5802, section 7). */
const SERVER_FIRST = /^r=([!-+\--~]{1,1024}),s=([a-z0-9+/]+={0,2}),i=([0-9]{1,10})(?:,.*)?$/i
const SERVER_FINAL = /^(?:v=([a-z0-9+/]+={0,2})|e=([^,]*))(?:,.*)?$/i
/** The work that a server can impose (RFC 7677, 4 has the lower bound). */
const SCRAM_ITERATIONS = { least: 4096, most: 1_000_000 }

/**
 * SCRAM (RFC 5802, 7677, draft-melnikov-scram-sha-512); with `isPlus` bound to the TLS connection (RFC 9266). The server's signature is
 * checked: only a server that knows the password can make it.
 */
export async function* scram(
  hash: 'sha1' | 'sha256' | 'sha512',
  { user, password = '' }: Credentials,
  { exporter, offered }: Pick<AuthContext, 'exporter' | 'offered'>,
  isPlus = false,
  nonce = randomBytes(18).toString('base64'),
): ScramSteps {
  // `y`: the client supports channel binding, but the server doesn't list it. A server that does list it notices the forgery.
  const couldBind = exporter !== undefined && !offered.some((name) => name.endsWith('-PLUS'))
  const header = isPlus ? 'p=tls-exporter,,' : couldBind ? 'y,,' : 'n,,'
  const bare = `n=${escapeSaslName(await prepareText(user))},r=${nonce}`
  const first = (yield publicResponse(header + bare)).toString()
  const [, serverNonce = '', salt = '', i = ''] = SERVER_FIRST.exec(first) ?? []
  if (!serverNonce.startsWith(nonce) || serverNonce === nonce)
    throw protocolError('login failed: the server sent an invalid SCRAM challenge')
  const iterations = Number(i)
  if (iterations < SCRAM_ITERATIONS.least || iterations > SCRAM_ITERATIONS.most)
    throw protocolError(
      `login failed: the server wants ${i} SCRAM iterations (etrn accepts ${SCRAM_ITERATIONS.least} to ${SCRAM_ITERATIONS.most})`,
    )
  const size = createHash(hash).digest().length
  const secret = await prepareText(password)
  const saltedPassword = await promisify(pbkdf2)(secret, Buffer.from(salt, 'base64'), iterations, size, hash)
  const channel = (isPlus ? exporter : undefined) ?? Buffer.alloc(0)
  const binding = Buffer.concat([Buffer.from(header), channel]).toString('base64')
  const withoutProof = `c=${binding},r=${serverNonce}`
  const authMessage = `${bare},${first},${withoutProof}`
  const { proof, serverSignature, secrets } = scramProof(hash, saltedPassword, authMessage)
  const final = (yield { octets: Buffer.from(`${withoutProof},p=${proof.toString('base64')}`), secrets }).toString()
  checkServerFinal(final, serverSignature)
  yield publicResponse('')
}

/** Returns the client's proof, the signature that the server must send (RFC 5802, 3), and all texts that no output may show. */
function scramProof(hash: string, saltedPassword: Buffer, authMessage: string) {
  const hmac = (key: Uint8Array, text: string): Buffer => createHmac(hash, key).update(text).digest()
  const clientKey = hmac(saltedPassword, 'Client Key')
  const clientSignature = hmac(createHash(hash).update(clientKey).digest(), authMessage)
  const proof = Buffer.from(clientKey.map((octet, index) => octet ^ (clientSignature[index] ?? 0)))
  const serverKey = hmac(saltedPassword, 'Server Key')
  const serverSignature = hmac(serverKey, authMessage)
  // With the keys anybody can log in, or pass for the server; with proof or signature, passwords can be tried without the server.
  const secrets = [proof, serverSignature, saltedPassword, clientKey, serverKey].flatMap((secret) => [
    secret.toString('base64'),
    secret.toString('base64url'),
    secret.toString('hex'),
  ])
  return { proof, serverSignature, secrets }
}

function checkServerFinal(final: string, expected: Buffer): void {
  const [, verifier = '', error] = SERVER_FINAL.exec(final) ?? []
  if (error !== undefined)
    throw new StepError(`login rejected (SCRAM error: ${printable(error)})`, {
      exitStatus: EXIT.NOPERM,
      kind: 'login-rejected',
      hint: 'check the user name and the password, then ask your provider whether this user may log in',
    })
  const signature = Buffer.from(verifier, 'base64')
  if (signature.length !== expected.length || !timingSafeEqual(signature, expected))
    throw protocolError(
      'login failed: the server did not prove that it knows the password',
      'the server may be faulty, or this may be an attack: tell your provider',
    )
}

/** Escapes a user name for a list of attributes (RFC 5802, 5.1). */
function escapeSaslName(user: string): string {
  return user.replaceAll('=', '=3D').replaceAll(',', '=2C')
}

/** Applies SASLprep (RFC 4013), which leaves printable ASCII unchanged. */
async function prepareText(text: string): Promise<string> {
  if (/^[\x20-\x7e]*$/.test(text)) return text
  const { saslprep } = await import('./saslprep.js')
  try {
    return saslprep(text)
  } catch (cause) {
    const message = 'login failed: the user name or the password has characters that SCRAM does not allow'
    throw new StepError(message, { exitStatus: EXIT.NOPERM, hint: 'if the server offers PLAIN: --auth PLAIN', cause })
  }
}

/** Returns the failure of a login that can't be tried. */
export function authUnavailable(message: string, hint?: string): StepError {
  return new StepError(message, { exitStatus: EXIT.NOPERM, hint })
}
