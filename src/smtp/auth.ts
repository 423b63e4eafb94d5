import { StepError } from '../errors.js'
import { COMMAND_LINE_OCTETS } from '../input/node-name.js'
import { exitStatusOfReply, protocolError, RejectedError } from './errors.js'
import { type MechanismName, MECHANISMS, ONLY_IF_NAMED } from './mechanisms.js'
import { MASK } from './redact.js'
import type { Reply } from './reply.js'
import { type AuthContext, authUnavailable, type MechanismSteps, SASL_MECHANISMS } from './sasl.js'
import type { Credentials } from './session-settings.js'

/** Sends a line, which a transcript shows as `shown`, and returns the whole reply. */
export type SendAuthLine = (line: string, shown: string) => Promise<Reply>

/** The longest response: in base64 a line has 12,288 octets at most (RFC 4954, section 4). */
const SASL_RESPONSE_OCTETS = 9000

/** Logs in with AUTH (RFC 4954, section 4). Throws StepError: 77, 75 for a 4xx, 76 if the server violates the mechanism. */
export async function authenticate(send: SendAuthLine, credentials: Credentials, context: AuthContext): Promise<void> {
  const mechanism = chooseMechanism(credentials, context)
  const steps = SASL_MECHANISMS[mechanism](credentials, context)
  const reply = await runExchange(send, `AUTH ${mechanism}`, steps)
  if (reply.code !== 235) throw authRejection(reply, mechanism, credentials, context)
  // By now a server that must prove its identity has done so.
  const { done } = await steps.next(Buffer.alloc(0))
  if (done !== true && !ONLY_IF_NAMED.has(mechanism)) throw protocolError('235 before the exchange was over')
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
    const response = await nextResponse(steps, reply, late).catch(async (error: unknown) => {
      // Cancels the exchange. Whatever the server replies, the first error counts.
      await send('*', '*').catch(() => undefined)
      throw error
    })
    late = undefined
    reply = await send(response.toString('base64'), MASK)
  }
  return reply
}

async function nextResponse(steps: MechanismSteps, reply: Reply, late: Buffer | undefined): Promise<Buffer> {
  const response = late ?? (await steps.next(decodeChallenge(reply))).value ?? undefined
  if (response === undefined) throw protocolError('a challenge more than the mechanism has')
  if (response.length > SASL_RESPONSE_OCTETS) throw protocolError('a response longer than a line may be')
  return response
}

/** Returns what a redactor must mask of a line of AUTH: the response, and what it is the base64 of. */
export function secretsOfAuthLine(line: string): string[] {
  const response = line.replace(/^AUTH \S+ /, '')
  return [response, Buffer.from(response, 'base64').toString()]
}

function chooseMechanism(credentials: Credentials, context: AuthContext): MechanismName {
  const { offered } = context
  const list = offered.join(', ')
  const hint = 'another port, or TLS, may have it: 587, smtps://'
  if (offered.length === 0) throw authUnavailable('the server offers no authentication here', hint)
  const [strongest] = usableMechanisms(credentials, context)
  const { mechanism = strongest } = credentials
  if (mechanism === undefined) throw authUnavailable(`no mechanism in common; the server has ${list}`)
  if (!offered.includes(mechanism)) throw authUnavailable(`the server doesn't offer ${mechanism}; it has ${list}`)
  if (isUsable(mechanism, credentials, context)) return mechanism
  const need = mechanism === 'EXTERNAL' ? '--tls-cert' : 'a password, and TLS 1.3 where its name ends in PLUS'
  throw authUnavailable(`${mechanism} needs ${need}`)
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
    throw protocolError('a challenge that is not base64')
  return Buffer.from(text, 'base64')
}

function authRejection(reply: Reply, used: MechanismName, credentials: Credentials, context: AuthContext): StepError {
  const exitStatus = exitStatusOfReply('auth', reply)
  if (reply.code !== 535) return new RejectedError(reply, { exitStatus })
  const other = usableMechanisms(credentials, context).find((name) => name !== used)
  const hint = `check user and password${other === undefined ? '' : `; else try --auth ${other}`}`
  return new RejectedError(reply, { exitStatus, hint })
}
