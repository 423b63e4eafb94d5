import { StepError } from '../errors.js'
import type { Credentials } from './credentials-policy.js'
import { exitStatusOfReply, RejectedError } from './errors.js'
import { type MechanismName, MECHANISMS, ONLY_IF_NAMED } from './mechanisms.js'
import type { Reply } from './reply.js'
import {
  type AuthContext,
  authUnavailable,
  cramMd5,
  external,
  login,
  type MechanismSteps,
  oauthBearer,
  plain,
  saslViolation,
  xoauth2,
} from './sasl.js'
import { scram } from './scram.js'

/** Sends a line, which a transcript shows as `shown`, and returns the whole reply. */
export type SendAuthLine = (line: string, shown: string) => Promise<Reply>

const STEPS_OF: Readonly<Record<MechanismName, (c: Credentials, context: AuthContext) => MechanismSteps>> = {
  EXTERNAL: external,
  'SCRAM-SHA-256-PLUS': (credentials, context) => scram('sha256', credentials, context, true),
  'SCRAM-SHA-256': (credentials, context) => scram('sha256', credentials, context),
  'SCRAM-SHA-1': (credentials, context) => scram('sha1', credentials, context),
  'CRAM-MD5': cramMd5,
  PLAIN: plain,
  LOGIN: login,
  XOAUTH2: xoauth2,
  OAUTHBEARER: oauthBearer,
}

/** The longest command line, CRLF included (RFC 5321, 4.5.3.1.4). */
const COMMAND_LINE_OCTETS = 512
/** The longest response: in base64 a line has 12,288 octets at most (RFC 4954, section 4). */
const SASL_RESPONSE_OCTETS = 9000
const MASK = '****'

/** Logs in with AUTH (RFC 4954, section 4). Throws StepError: 77, 75 for a 4xx, 76 if the server violates the mechanism. */
export async function authenticate(send: SendAuthLine, credentials: Credentials, context: AuthContext): Promise<void> {
  const mechanism = chooseMechanism(credentials, context)
  const steps = STEPS_OF[mechanism](credentials, context)
  const reply = await runExchange(send, `AUTH ${mechanism}`, steps)
  if (reply.code !== 235) throw authRejection(reply, mechanism, credentials, context)
  // By now a server that must prove its identity has done so.
  const { done } = await steps.next(Buffer.alloc(0))
  if (done !== true && !ONLY_IF_NAMED.has(mechanism)) throw saslViolation('235 before the exchange was over')
}

/** Sends the command, and a response to each 334. Returns the reply that ends the exchange. */
async function runExchange(send: SendAuthLine, command: string, steps: MechanismSteps): Promise<Reply> {
  const initial = (await steps.next()).value ?? undefined
  const line = initial === undefined ? command : `${command} ${initial.toString('base64') || '='}`
  const isShort = line.length + 2 <= COMMAND_LINE_OCTETS
  // A response that is too long for the command follows an empty challenge.
  let late = isShort ? undefined : initial
  const shown = isShort && initial !== undefined ? `${command} ${MASK}` : command
  let reply = await send(isShort ? line : command, shown)
  while (reply.code === 334) {
    const response = await nextResponse(send, steps, reply, late)
    late = undefined
    reply = await send(response.toString('base64'), MASK)
  }
  return reply
}

async function nextResponse(
  send: SendAuthLine,
  steps: MechanismSteps,
  reply: Reply,
  late: Buffer | undefined,
): Promise<Buffer> {
  try {
    const response = late ?? (await steps.next(decodeChallenge(reply))).value ?? undefined
    if (response === undefined) throw saslViolation('a challenge more than the mechanism has')
    if (response.length > SASL_RESPONSE_OCTETS) throw saslViolation('a response longer than a line may be')
    return response
  } catch (error) {
    // Cancels the exchange. Whatever the server replies, the first error counts.
    await send('*', '*').catch(() => undefined)
    throw error
  }
}

/** Returns what a redactor must mask of a line of AUTH: the response, and what it is the base64 of. */
export function secretsOfAuthLine(line: string): string[] {
  const response = line.replace(/^AUTH \S+ /, '')
  return [response, Buffer.from(response, 'base64').toString()]
}

function chooseMechanism(credentials: Credentials, context: AuthContext): MechanismName {
  const { offered } = context
  if (offered.length === 0)
    throw authUnavailable(
      'the server offers no authentication here',
      'another port, or TLS, may have it: 587, smtps://',
    )
  const named = credentials.mechanism
  if (named === undefined) {
    const [strongest] = usableMechanisms(credentials, context)
    if (strongest !== undefined) return strongest
    throw authUnavailable(`no mechanism in common; the server has ${offered.join(', ')}`)
  }
  if (!offered.includes(named)) throw authUnavailable(`the server doesn't offer ${named}; it has ${offered.join(', ')}`)
  if (isUsable(named, credentials, context)) return named
  throw authUnavailable(
    `${named} needs ${named === 'EXTERNAL' ? '--tls-cert' : 'a password, and TLS 1.3 where its name ends in PLUS'}`,
  )
}

/** Returns the mechanisms that server and credentials allow, strongest first. */
function usableMechanisms(credentials: Credentials, context: AuthContext): MechanismName[] {
  return MECHANISMS.filter(
    (name) => !ONLY_IF_NAMED.has(name) && context.offered.includes(name) && isUsable(name, credentials, context),
  )
}

function isUsable(name: MechanismName, { password }: Credentials, { hasCertificate, exporter }: AuthContext): boolean {
  if (name === 'EXTERNAL') return hasCertificate
  return password !== undefined && (name !== 'SCRAM-SHA-256-PLUS' || exporter !== undefined)
}

function decodeChallenge({ lines }: Reply): Buffer {
  const [text = '', ...more] = lines
  if (more.length > 0 || !/^(?:[a-z0-9+/]{4})*(?:[a-z0-9+/]{2}==|[a-z0-9+/]{3}=)?$/i.test(text))
    throw saslViolation('a challenge that is not base64')
  return Buffer.from(text, 'base64')
}

function authRejection(reply: Reply, used: MechanismName, credentials: Credentials, context: AuthContext): StepError {
  const exitStatus = exitStatusOfReply('auth', reply)
  if (reply.code !== 535) return new RejectedError(reply, { exitStatus })
  const other = usableMechanisms(credentials, context).find((name) => name !== used)
  const hint = other === undefined ? 'check user and password' : `check user and password; else try --auth ${other}`
  return new RejectedError(reply, { exitStatus, hint })
}
