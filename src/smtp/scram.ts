import { randomBytes, createHash, pbkdf2, createHmac, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { EXIT, StepError } from '../errors.js'
import { printable } from '../printable.js'
import type { Credentials } from './credentials-policy.js'
import { type AsyncSteps, saslViolation, escapeSaslName, authUnavailable, type AuthContext } from './sasl.js'

/** How long the server may make us compute (RFC 7677, 4 has the lower bound). */
export const SCRAM_ITERATIONS = { least: 4096, most: 1_000_000 }
/** The attributes stand in a fixed order (RFC 5802, section 7). */
export const SERVER_FIRST = /^r=([!-+\--~]{1,1024}),s=([a-z0-9+/]+={0,2}),i=([0-9]{1,10})(?:,.*)?$/i
export const SERVER_FINAL = /^(?:v=([a-z0-9+/]+={0,2})|e=([^,]*))(?:,.*)?$/i
/**
 * RFC 5802 and 7677; with an exporter the PLUS variant (RFC 9266). The server's signature is checked: only who knows the
 * password can make it.
 */
export async function* scram(
  hash: 'sha1' | 'sha256',
  { user, password = '' }: Credentials,
  { exporter, offered }: Pick<AuthContext, 'exporter' | 'offered'>,
  isPlus = false,
  nonce = randomBytes(18).toString('base64'),
): AsyncSteps {
  // y: we could bind to the channel, but the server doesn't offer it; a server that did would notice that it was cut out.
  const couldBind = exporter !== undefined && !offered.some((name) => name.endsWith('-PLUS'))
  const header = isPlus ? 'p=tls-exporter,,' : couldBind ? 'y,,' : 'n,,'
  const bare = `n=${escapeSaslName(await prepareText(user))},r=${nonce}`
  const first = (yield Buffer.from(header + bare)).toString()
  const [, r = '', s = '', i = ''] = SERVER_FIRST.exec(first) ?? []
  if (!r.startsWith(nonce) || r === nonce) throw saslViolation("a challenge that is not SCRAM's")
  const iterations = Number(i)
  if (iterations < SCRAM_ITERATIONS.least || iterations > SCRAM_ITERATIONS.most) {
    throw saslViolation(`${i} iterations wanted; ${SCRAM_ITERATIONS.least} to ${SCRAM_ITERATIONS.most} are taken`)
  }
  const size = createHash(hash).digest().length
  const salted = await promisify(pbkdf2)(await prepareText(password), Buffer.from(s, 'base64'), iterations, size, hash)
  const hmac = (key: Uint8Array, text: string): Buffer => createHmac(hash, key).update(text).digest()
  const binding = Buffer.concat([Buffer.from(header), (isPlus ? exporter : undefined) ?? Buffer.alloc(0)])
  const unproven = `c=${binding.toString('base64')},r=${r}`
  const transcript = `${bare},${first},${unproven}`
  const clientKey = hmac(salted, 'Client Key')
  const signature = hmac(createHash(hash).update(clientKey).digest(), transcript)
  const proof = Buffer.from(clientKey.map((octet, index) => octet ^ (signature[index] ?? 0)))
  const last = (yield Buffer.from(`${unproven},p=${proof.toString('base64')}`)).toString()
  const [, v = '', e] = SERVER_FINAL.exec(last) ?? []
  if (e !== undefined) throw authUnavailable(`the server says ${printable(e)}`, 'check user and password')
  const expected = hmac(hmac(salted, 'Server Key'), transcript)
  const shown = Buffer.from(v, 'base64')
  if (shown.length !== expected.length || !timingSafeEqual(shown, expected)) {
    throw saslViolation("the server doesn't prove that it knows the password: it is not the one that it says")
  }
  yield Buffer.alloc(0)
}
/** SASLprep (RFC 4013), which changes nothing in printable ASCII. */
export async function prepareText(text: string): Promise<string> {
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
