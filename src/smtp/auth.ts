import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { EXIT, exitStatusOf, said, StepError } from '../outcome.js'
import { printable } from '../printable.js'
import { type MechanismName, MECHANISMS, ON_REQUEST } from './mechanisms.js'
import type { Reply } from './reply.js'

/** What a server may be told to let us in. */
export type Credentials = {
  readonly user: string
  /** A password, or the token of XOAUTH2 and OAUTHBEARER; undefined: there is none, as for EXTERNAL */
  readonly password: string | undefined
  /** The mechanism that --auth names; undefined: the strongest that both know */
  readonly mechanism: MechanismName | undefined
}

/** What a mechanism can build on. */
export type Surroundings = {
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
type Exchange = Steps | AsyncSteps
type Steps = Generator<Buffer | undefined, void, Buffer>
type AsyncSteps = AsyncGenerator<Buffer | undefined, void, Buffer>

const EXCHANGES: Readonly<Record<MechanismName, (c: Credentials, s: Surroundings) => Exchange>> = {
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

/** Whether there is what a mechanism builds on. */
function isPossible(
  name: MechanismName,
  { password }: Credentials,
  { hasCertificate, exporter }: Surroundings,
): boolean {
  if (name === 'EXTERNAL') return hasCertificate
  return password !== undefined && (name !== 'SCRAM-SHA-256-PLUS' || exporter !== undefined)
}

/** Octets of a command line, CRLF included (RFC 5321, 4.5.3.1.4) */
const COMMAND_OCTETS = 512
/** Octets of a response; in base64 a line has 12,288 at most (RFC 4954, section 4). */
const RESPONSE_OCTETS = 9000
/** How long the server may make us compute (RFC 7677, 4 has the lower bound). */
const ITERATIONS = { least: 4096, most: 1_000_000 }
const EMPTY = Buffer.alloc(0)
const HIDDEN = '****'

/** Sends a line that a transcript shows as `shown`, and gives the whole reply. */
export type Say = (line: string, shown: string) => Promise<Reply>

/** The AUTH exchange (RFC 4954, section 4). Throws StepError: 77, 75 for a 4xx, 76 where the server breaks the mechanism. */
export async function authenticate(say: Say, c: Credentials, s: Surroundings): Promise<void> {
  const mechanism = mechanismFor(c, s)
  const exchange = EXCHANGES[mechanism](c, s)
  let response = (await exchange.next()).value ?? undefined
  const command = `AUTH ${mechanism}`
  const whole = response === undefined ? command : `${command} ${response.toString('base64') || '='}`
  let reply: Reply
  if (whole.length + 2 <= COMMAND_OCTETS) {
    reply = await say(whole, response === undefined ? command : `${command} ${HIDDEN}`)
    response = undefined
  } else reply = await say(command, command)
  // Each mechanism has an answer to so many challenges and no more.
  while (reply.code === 334) {
    try {
      // What was too long for the command is the answer to an empty challenge.
      response ??= (await exchange.next(challengeOf(reply))).value ?? undefined
      if (response === undefined) throw broken('a challenge more than the mechanism has')
      if (response.length > RESPONSE_OCTETS) throw broken('a response longer than a line may be')
    } catch (error) {
      // Whatever the server does with it, what went wrong is what counts.
      await say('*', '*').catch(() => undefined)
      throw error
    }
    reply = await say(response.toString('base64'), HIDDEN)
    response = undefined
  }
  if (reply.code !== 235) throw refused(reply, mechanism, c, s)
  // A server that has to prove itself must have done so by now.
  const { done } = await exchange.next(EMPTY)
  if (done !== true && !ON_REQUEST.has(mechanism)) throw broken('235 before the exchange was over')
}

function mechanismFor(c: Credentials, s: Surroundings): MechanismName {
  if (s.offered.length === 0)
    throw impossible('the server offers no authentication here', 'another port, or TLS, may have it: 587, smtps://')
  const named = c.mechanism
  if (named === undefined) {
    const strongest = candidates(c, s)[0]
    if (strongest === undefined) throw impossible(`no mechanism in common; the server has ${s.offered.join(', ')}`)
    return strongest
  }
  if (!s.offered.includes(named)) throw impossible(`the server doesn't offer ${named}; it has ${s.offered.join(', ')}`)
  if (isPossible(named, c, s)) return named
  throw impossible(
    `${named} needs ${named === 'EXTERNAL' ? '--tls-cert' : 'a password, and TLS 1.3 where its name ends in PLUS'}`,
  )
}

function candidates(c: Credentials, s: Surroundings): MechanismName[] {
  return MECHANISMS.filter((name) => !ON_REQUEST.has(name) && s.offered.includes(name) && isPossible(name, c, s))
}

function challengeOf({ lines }: Reply): Buffer {
  const [text = '', ...more] = lines
  if (more.length > 0 || !/^(?:[a-z0-9+/]{4})*(?:[a-z0-9+/]{2}==|[a-z0-9+/]{3}=)?$/i.test(text))
    throw broken('a challenge that is not base64')
  return Buffer.from(text, 'base64')
}

function refused(reply: Reply, used: MechanismName, c: Credentials, s: Surroundings): StepError {
  const facts = { exitStatus: exitStatusOf('auth', reply), reply }
  if (reply.code !== 535) return new StepError(said(reply), facts)
  const other = candidates(c, s).find((name) => name !== used)
  const advice = other === undefined ? 'check user and password' : `check user and password; else try --auth ${other}`
  return new StepError(said(reply), { ...facts, advice })
}

function impossible(message: string, advice?: string): StepError {
  return new StepError(message, { exitStatus: EXIT.NOPERM, advice })
}

function broken(message: string): StepError {
  return new StepError(message, { exitStatus: EXIT.PROTOCOL })
}

/** RFC 4422, appendix A: who we are, the certificate has said. */
function* external({ user }: Credentials): Steps {
  yield Buffer.from(user)
}

/** RFC 4616 */
function* plain({ user, password = '' }: Credentials): Steps {
  yield Buffer.from(`\0${user}\0${password}`)
}

/** draft-murchison-sasl-login: what the prompts say doesn't matter. */
function* login({ user, password = '' }: Credentials): Steps {
  yield undefined
  yield Buffer.from(user)
  yield Buffer.from(password)
}

/** RFC 2195 */
function* cramMd5({ user, password = '' }: Credentials): Steps {
  const challenge = yield undefined
  yield Buffer.from(`${user} ${createHmac('md5', password).update(challenge).digest('hex')}`)
}

/** Google's and Microsoft's: a challenge is an error, to be answered with nothing. */
function* xoauth2({ user, password = '' }: Credentials): Steps {
  yield Buffer.from(`user=${user}\x01auth=Bearer ${password}\x01\x01`)
  yield EMPTY
}

/** RFC 7628: a challenge is an error, to be answered with a lone separator (3.2.3). */
function* oauthBearer({ user, password = '' }: Credentials, { host, port }: Surroundings): Steps {
  const name = escaped(user)
  yield Buffer.from(`n,a=${name},\x01host=${host}\x01port=${port}\x01auth=Bearer ${password}\x01\x01`)
  yield Buffer.from('\x01')
}

/** The attributes stand in a fixed order (RFC 5802, section 7). */
const SERVER_FIRST = /^r=([!-+\--~]{1,1024}),s=([a-z0-9+/]+={0,2}),i=([0-9]{1,10})(?:,.*)?$/i
const SERVER_FINAL = /^(?:v=([a-z0-9+/]+={0,2})|e=([^,]*))(?:,.*)?$/i

/**
 * RFC 5802 and 7677; with an exporter the PLUS variant (RFC 9266). The server's signature is checked: only who knows the
 * password can make it.
 */
export async function* scram(
  hash: 'sha1' | 'sha256',
  { user, password = '' }: Credentials,
  { exporter, offered }: Pick<Surroundings, 'exporter' | 'offered'>,
  isPlus = false,
  nonce = randomBytes(18).toString('base64'),
): AsyncSteps {
  // y: we could bind to the channel, but the server doesn't offer it; a server that did would notice that it was cut out.
  const couldBind = exporter !== undefined && !offered.some((name) => name.endsWith('-PLUS'))
  const header = isPlus ? 'p=tls-exporter,,' : couldBind ? 'y,,' : 'n,,'
  const bare = `n=${escaped(await prepared(user))},r=${nonce}`
  const first = (yield Buffer.from(header + bare)).toString()
  const [, r = '', s = '', i = ''] = SERVER_FIRST.exec(first) ?? []
  if (!r.startsWith(nonce) || r === nonce) throw broken("a challenge that is not SCRAM's")
  const iterations = Number(i)
  if (iterations < ITERATIONS.least || iterations > ITERATIONS.most) {
    throw broken(`${i} iterations wanted; ${ITERATIONS.least} to ${ITERATIONS.most} are taken`)
  }
  const size = createHash(hash).digest().length
  const salted = await promisify(pbkdf2)(await prepared(password), Buffer.from(s, 'base64'), iterations, size, hash)
  const hmac = (key: Uint8Array, text: string): Buffer => createHmac(hash, key).update(text).digest()
  const binding = Buffer.concat([Buffer.from(header), isPlus ? (exporter ?? EMPTY) : EMPTY])
  const unproven = `c=${binding.toString('base64')},r=${r}`
  const transcript = `${bare},${first},${unproven}`
  const clientKey = hmac(salted, 'Client Key')
  const signature = hmac(createHash(hash).update(clientKey).digest(), transcript)
  const proof = Buffer.from(clientKey.map((octet, index) => octet ^ (signature[index] ?? 0)))
  const last = (yield Buffer.from(`${unproven},p=${proof.toString('base64')}`)).toString()
  const [, v = '', e] = SERVER_FINAL.exec(last) ?? []
  if (e !== undefined) throw impossible(`the server says ${printable(e)}`, 'check user and password')
  const expected = hmac(hmac(salted, 'Server Key'), transcript)
  const shown = Buffer.from(v, 'base64')
  if (shown.length !== expected.length || !timingSafeEqual(shown, expected)) {
    throw broken("the server doesn't prove that it knows the password: it is not the one that it says")
  }
  yield EMPTY
}

/** A user's name within a list of attributes (RFC 5802, 5.1) */
function escaped(user: string): string {
  return user.replaceAll('=', '=3D').replaceAll(',', '=2C')
}

/** SASLprep (RFC 4013), which changes nothing in printable ASCII. */
async function prepared(text: string): Promise<string> {
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

/** A SASL response, and what it is the base64 of */
export function secretsIn(line: string): string[] {
  const response = line.replace(/^AUTH \S+ /, '')
  return [response, Buffer.from(response, 'base64').toString()]
}
