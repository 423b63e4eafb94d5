import { StepError } from '../errors.js'
import type { Credentials } from './credentials-policy.js'
import { exitStatusOfReply, RejectedError } from './errors.js'
import { type MechanismName, MECHANISMS, ONLY_IF_NAMED } from './mechanisms.js'
import type { Reply } from './reply.js'
import { saslViolation, STEPS_OF, authUnavailable, type AuthContext } from './sasl.js'

/** Whether there is what a mechanism builds on. */
function isUsable(name: MechanismName, { password }: Credentials, { hasCertificate, exporter }: AuthContext): boolean {
  if (name === 'EXTERNAL') return hasCertificate
  return password !== undefined && (name !== 'SCRAM-SHA-256-PLUS' || exporter !== undefined)
}

/** Octets of a command line, CRLF included (RFC 5321, 4.5.3.1.4) */
const COMMAND_LINE_OCTETS = 512
/** Octets of a response; in base64 a line has 12,288 at most (RFC 4954, section 4). */
const SASL_RESPONSE_OCTETS = 9000
const MASK = '****'

/** Sends a line that a transcript shows as `shown`, and gives the whole reply. */
export type SendAuthLine = (line: string, shown: string) => Promise<Reply>

/** The AUTH exchange (RFC 4954, section 4). Throws StepError: 77, 75 for a 4xx, 76 where the server breaks the mechanism. */
export async function authenticate(say: SendAuthLine, c: Credentials, s: AuthContext): Promise<void> {
  const mechanism = chooseMechanism(c, s)
  const exchange = STEPS_OF[mechanism](c, s)
  let response = (await exchange.next()).value ?? undefined
  const command = `AUTH ${mechanism}`
  const whole = response === undefined ? command : `${command} ${response.toString('base64') || '='}`
  let reply: Reply
  if (whole.length + 2 <= COMMAND_LINE_OCTETS) {
    reply = await say(whole, response === undefined ? command : `${command} ${MASK}`)
    response = undefined
  } else reply = await say(command, command)
  // Each mechanism has an answer to so many challenges and no more.
  while (reply.code === 334) {
    try {
      // What was too long for the command is the answer to an empty challenge.
      response ??= (await exchange.next(decodeChallenge(reply))).value ?? undefined
      if (response === undefined) throw saslViolation('a challenge more than the mechanism has')
      if (response.length > SASL_RESPONSE_OCTETS) throw saslViolation('a response longer than a line may be')
    } catch (error) {
      // Whatever the server does with it, what went wrong is what counts.
      await say('*', '*').catch(() => undefined)
      throw error
    }
    reply = await say(response.toString('base64'), MASK)
    response = undefined
  }
  if (reply.code !== 235) throw authRejection(reply, mechanism, c, s)
  // A server that has to prove itself must have done so by now.
  const { done } = await exchange.next(Buffer.alloc(0))
  if (done !== true && !ONLY_IF_NAMED.has(mechanism)) throw saslViolation('235 before the exchange was over')
}

function chooseMechanism(c: Credentials, s: AuthContext): MechanismName {
  if (s.offered.length === 0)
    throw authUnavailable(
      'the server offers no authentication here',
      'another port, or TLS, may have it: 587, smtps://',
    )
  const named = c.mechanism
  if (named === undefined) {
    const strongest = usableMechanisms(c, s)[0]
    if (strongest === undefined) throw authUnavailable(`no mechanism in common; the server has ${s.offered.join(', ')}`)
    return strongest
  }
  if (!s.offered.includes(named))
    throw authUnavailable(`the server doesn't offer ${named}; it has ${s.offered.join(', ')}`)
  if (isUsable(named, c, s)) return named
  throw authUnavailable(
    `${named} needs ${named === 'EXTERNAL' ? '--tls-cert' : 'a password, and TLS 1.3 where its name ends in PLUS'}`,
  )
}

function usableMechanisms(c: Credentials, s: AuthContext): MechanismName[] {
  return MECHANISMS.filter((name) => !ONLY_IF_NAMED.has(name) && s.offered.includes(name) && isUsable(name, c, s))
}

function decodeChallenge({ lines }: Reply): Buffer {
  const [text = '', ...more] = lines
  if (more.length > 0 || !/^(?:[a-z0-9+/]{4})*(?:[a-z0-9+/]{2}==|[a-z0-9+/]{3}=)?$/i.test(text))
    throw saslViolation('a challenge that is not base64')
  return Buffer.from(text, 'base64')
}

function authRejection(reply: Reply, used: MechanismName, c: Credentials, s: AuthContext): StepError {
  const exitStatus = exitStatusOfReply('auth', reply)
  if (reply.code !== 535) return new RejectedError(reply, { exitStatus })
  const other = usableMechanisms(c, s).find((name) => name !== used)
  const hint = other === undefined ? 'check user and password' : `check user and password; else try --auth ${other}`
  return new RejectedError(reply, { exitStatus, hint })
}

/** A SASL response, and what it is the base64 of */
export function secretsOfAuthLine(line: string): string[] {
  const response = line.replace(/^AUTH \S+ /, '')
  return [response, Buffer.from(response, 'base64').toString()]
}
