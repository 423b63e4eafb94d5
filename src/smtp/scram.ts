import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { EXIT, StepError } from '../errors.js'
import { printable } from '../printable.js'
import type { Credentials } from './credentials-policy.js'
import { type AsyncSteps, type AuthContext, authUnavailable, escapeSaslName, saslViolation } from './sasl.js'

/** Attributes have a fixed order (RFC 5802, section 7). */
const SERVER_FIRST = /^r=([!-+\--~]{1,1024}),s=([a-z0-9+/]+={0,2}),i=([0-9]{1,10})(?:,.*)?$/i
const SERVER_FINAL = /^(?:v=([a-z0-9+/]+={0,2})|e=([^,]*))(?:,.*)?$/i
/** The work that a server can impose (RFC 7677, 4 has the lower bound). */
const SCRAM_ITERATIONS = { least: 4096, most: 1_000_000 }

/**
 * SCRAM (RFC 5802, 7677); with `isPlus` bound to the TLS connection (RFC 9266). The server's signature is checked: only a server that
 * knows the password can make it.
 */
export async function* scram(
  hash: 'sha1' | 'sha256',
  { user, password = '' }: Credentials,
  context: Pick<AuthContext, 'exporter' | 'offered'>,
  isPlus = false,
  nonce = randomBytes(18).toString('base64'),
): AsyncSteps {
  const header = bindingHeader(context, isPlus)
  const bare = `n=${escapeSaslName(await prepareText(user))},r=${nonce}`
  const first = (yield Buffer.from(header + bare)).toString()
  const [, serverNonce = '', salt = '', i = ''] = SERVER_FIRST.exec(first) ?? []
  if (!serverNonce.startsWith(nonce) || serverNonce === nonce) throw saslViolation("a challenge that is not SCRAM's")
  const iterations = Number(i)
  if (iterations < SCRAM_ITERATIONS.least || iterations > SCRAM_ITERATIONS.most) {
    throw saslViolation(`${i} iterations wanted; ${SCRAM_ITERATIONS.least} to ${SCRAM_ITERATIONS.most} are taken`)
  }
  const size = createHash(hash).digest().length
  const saltedPassword = await promisify(pbkdf2)(
    await prepareText(password),
    Buffer.from(salt, 'base64'),
    iterations,
    size,
    hash,
  )
  const hmac = (key: Uint8Array, text: string): Buffer => createHmac(hash, key).update(text).digest()
  const exporter = (isPlus ? context.exporter : undefined) ?? Buffer.alloc(0)
  const binding = Buffer.concat([Buffer.from(header), exporter]).toString('base64')
  const withoutProof = `c=${binding},r=${serverNonce}`
  const authMessage = `${bare},${first},${withoutProof}`
  const clientKey = hmac(saltedPassword, 'Client Key')
  const clientSignature = hmac(createHash(hash).update(clientKey).digest(), authMessage)
  const proof = Buffer.from(clientKey.map((octet, index) => octet ^ (clientSignature[index] ?? 0)))
  const final = (yield Buffer.from(`${withoutProof},p=${proof.toString('base64')}`)).toString()
  checkServerFinal(final, hmac(hmac(saltedPassword, 'Server Key'), authMessage))
  yield Buffer.alloc(0)
}

/** `y`: the client supports channel binding, but the server doesn't list it. A server that does list it notices the forgery. */
function bindingHeader({ exporter, offered }: Pick<AuthContext, 'exporter' | 'offered'>, isPlus: boolean): string {
  if (isPlus) return 'p=tls-exporter,,'
  const couldBind = exporter !== undefined && !offered.some((name) => name.endsWith('-PLUS'))
  return couldBind ? 'y,,' : 'n,,'
}

function checkServerFinal(final: string, expected: Buffer): void {
  const [, verifier = '', error] = SERVER_FINAL.exec(final) ?? []
  if (error !== undefined) throw authUnavailable(`the server says ${printable(error)}`, 'check user and password')
  const signature = Buffer.from(verifier, 'base64')
  if (signature.length !== expected.length || !timingSafeEqual(signature, expected)) {
    throw saslViolation("the server doesn't prove that it knows the password: it is not the one that it says")
  }
}

/** Applies SASLprep (RFC 4013), which leaves printable ASCII unchanged. */
async function prepareText(text: string): Promise<string> {
  if (/^[\x20-\x7e]*$/.test(text)) return text
  const { saslprep } = await import('./saslprep.js')
  try {
    return saslprep(text)
  } catch (cause) {
    throw new StepError('the user or the password has characters that SCRAM does not take', {
      exitStatus: EXIT.NOPERM,
      cause,
    })
  }
}
