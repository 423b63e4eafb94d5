import { EXIT, StepError } from '../errors.js'
import { COMMAND_LINE_OCTETS } from '../input/node-name.js'
import { exitStatusOfReply, protocolError, RejectedError, SessionError } from './errors.js'
import { type MechanismName, MECHANISMS, ONLY_IF_NAMED } from './mechanisms.js'
import { MASK } from './redact.js'
import { formatReply, type Reply } from './reply.js'
import { type AuthContext, authUnavailable, type MechanismSteps, SASL_MECHANISMS, type SaslResponse } from './sasl.js'
import type { Credentials } from './session-settings.js'

/** Sends a line, which a transcript shows as `shown`, and returns the whole reply. No output may show the secrets. */
export type SendAuthLine = (line: string, shown: string, secrets: readonly string[]) => Promise<Reply>

/** The longest response: in base64 a line has 12,288 octets at most (RFC 4954, section 4). */
const SASL_RESPONSE_OCTETS = 9000

/**
 * Logs in with AUTH (RFC 4954, section 4), and returns the mechanism that succeeded. If the server refuses a mechanism as such, the
 * next one is tried, each once. Credentials go over verified TLS or to this host only, so that nobody on the network path can lead the
 * client to a weaker mechanism. Throws StepError: 77, 75 for a 4xx, 76 if the server violates the mechanism.
 */
export async function authenticate(
  send: SendAuthLine,
  credentials: Credentials,
  context: AuthContext,
): Promise<MechanismName> {
  const refusals: Refusal[] = []
  for (const mechanism of chooseMechanisms(credentials, context)) {
    const steps = SASL_MECHANISMS[mechanism](credentials, context)
    const reply = await runExchange(send, `AUTH ${mechanism}`, steps).catch((error: unknown) => {
      const isLost = error instanceof StepError && error.kind === 'connection-lost'
      // A new connection would end in the same way: the server refuses a mechanism, and closes the connection.
      throw isLost && refusals.length > 0 ? refusedError(refusals, credentials, context, error) : error
    })
    if (reply.code === 235) {
      // By now a server that must prove its identity has done so.
      const { done } = await steps.next(Buffer.alloc(0))
      if (done !== true && !ONLY_IF_NAMED.has(mechanism)) throw protocolError('235 before the exchange was over')
      return mechanism
    }
    if (!MECHANISM_REFUSED_CODES.has(reply.code)) throw loginError(reply, mechanism, credentials, context)
    refusals.push({ mechanism, reply })
  }
  throw refusedError(refusals, credentials, context)
}

type Refusal = { readonly mechanism: MechanismName; readonly reply: Reply }

/**
 * Replies that are about the mechanism, not about user and password (RFC 4954, sections 4 and 6). Servers send them to the command, but
 * also to a response: 534 if they must know the user first, 501 if they can't parse it.
 */
const MECHANISM_REFUSED_CODES: ReadonlySet<number> = new Set([500, 501, 502, 504, 534])

/** Sends the command, and a response to each 334. Returns the reply that ends the exchange. */
async function runExchange(send: SendAuthLine, command: string, steps: MechanismSteps): Promise<Reply> {
  const initial = (await steps.next()).value ?? undefined
  const line = initial === undefined ? command : `${command} ${encodeResponse(initial) || '='}`
  const isShort = line.length + 2 <= COMMAND_LINE_OCTETS
  // A response that is too long for the command follows an empty challenge.
  let late = isShort ? undefined : initial
  const shown = isShort && initial !== undefined ? `${command} ${MASK}` : command
  let reply = await send(isShort ? line : command, shown, initial === undefined ? [] : secretsOf(initial))
  while (reply.code === 334) {
    const response = await nextResponse(steps, reply, late).catch(async (error: unknown) => {
      // Cancels the exchange. Whatever the server replies, the first error counts.
      await send('*', '*', []).catch(() => undefined)
      throw error
    })
    late = undefined
    reply = await send(encodeResponse(response), MASK, secretsOf(response))
  }
  return reply
}

async function nextResponse(
  steps: MechanismSteps,
  reply: Reply,
  late: SaslResponse | undefined,
): Promise<SaslResponse> {
  const response = late ?? (await steps.next(decodeChallenge(reply))).value ?? undefined
  if (response === undefined) throw protocolError('a challenge more than the mechanism has')
  if (response.octets.length > SASL_RESPONSE_OCTETS) throw protocolError('a response longer than a line may be')
  return response
}

function encodeResponse({ octets }: SaslResponse): string {
  return octets.toString('base64')
}

/** Returns the secrets of a response. One that is a secret as a whole is also one in the form in which it is sent. */
function secretsOf(response: SaslResponse): readonly string[] {
  const isWhole = response.secrets.includes(response.octets.toString())
  return isWhole ? [...response.secrets, encodeResponse(response)] : response.secrets
}

/** Returns the mechanisms to try, in this order; the one that --auth names stands alone. Throws StepError if there is none. */
function chooseMechanisms(credentials: Credentials, context: AuthContext): readonly MechanismName[] {
  const { offered, earlier } = context
  const list = offered.join(', ')
  const hint = 'try another port (--port 587) or smtps://: some servers offer AUTH only there'
  if (offered.length === 0) throw authUnavailable('the server offers no authentication here', hint)
  const { mechanism } = credentials
  const usable = mechanism === undefined ? usableMechanisms(credentials, context) : [mechanism]
  if (usable.length === 0) throw authUnavailable(`no mechanism in common; the server has ${list}`)
  if (mechanism !== undefined && !offered.includes(mechanism))
    throw authUnavailable(`the server doesn't offer ${mechanism}; it has ${list}`)
  if (mechanism !== undefined && !isUsable(mechanism, credentials, context)) {
    const need = mechanism === 'EXTERNAL' ? '--tls-cert' : 'a password, and TLS 1.3 if its name ends in PLUS'
    throw authUnavailable(`${mechanism} needs ${need}`)
  }
  if (earlier === undefined) return usable
  // The mechanism that has succeeded comes first: those before it were refused.
  const allowed = usable.filter((name) => MECHANISMS.indexOf(name) <= MECHANISMS.indexOf(earlier)).toReversed()
  if (allowed.length > 0) return allowed
  const message = `an earlier session of this run used ${earlier}, but the server now offers only ${list}`
  throw authUnavailable(message, 'a faulty server, or an attack: no password was sent; tell your provider')
}

/** Returns the mechanisms that server and credentials allow, strongest first. */
function usableMechanisms(credentials: Credentials, context: AuthContext): MechanismName[] {
  return MECHANISMS.filter(
    (name) => !ONLY_IF_NAMED.has(name) && context.offered.includes(name) && isUsable(name, credentials, context),
  )
}

function isUsable(name: MechanismName, { password }: Credentials, { hasCertificate, exporter }: AuthContext): boolean {
  if (name === 'EXTERNAL') return hasCertificate
  return password !== undefined && (!name.endsWith('-PLUS') || exporter !== undefined)
}

function decodeChallenge({ lines }: Reply): Buffer {
  const [text = '', ...more] = lines
  if (more.length > 0 || !/^(?:[a-z0-9+/]{4})*(?:[a-z0-9+/]{2}==|[a-z0-9+/]{3}=)?$/i.test(text))
    throw protocolError('a challenge that is not base64')
  return Buffer.from(text, 'base64')
}

/** Returns the failure of a login that the server rejects, with a hint for those replies that have one meaning. */
function loginError(reply: Reply, used: MechanismName, credentials: Credentials, context: AuthContext): StepError {
  return new RejectedError(reply, {
    exitStatus: exitStatusOfReply('auth', reply),
    hint: loginHint(reply, used, otherMechanism([used], credentials, context)),
  })
}

function loginHint({ code }: Reply, used: MechanismName, other: MechanismName | undefined): string | undefined {
  switch (code) {
    case 432:
      return 'log in once with --auth PLAIN: the server then stores the password in the form that this mechanism needs'
    case 535: {
      const alternative = other === undefined ? '' : `; some servers need --auth ${other}`
      return `check user name and ${secretNameOf(used)} (${used} was used${alternative}), then ask your provider`
    }
    default:
      return undefined
  }
}

function secretNameOf(mechanism: MechanismName): string {
  if (mechanism === 'EXTERNAL') return 'client certificate'
  return ONLY_IF_NAMED.has(mechanism) ? 'token' : 'password'
}

/** Returns a mechanism that can be tried in place of others. A token must not be sent as a password. */
function otherMechanism(
  used: readonly MechanismName[],
  credentials: Credentials,
  context: AuthContext,
): MechanismName | undefined {
  if (used.some((name) => ONLY_IF_NAMED.has(name))) return undefined
  return usableMechanisms(credentials, context).find((name) => !used.includes(name))
}

/** Returns the failure of a login for which the server refused each mechanism. */
function refusedError(
  refusals: readonly Refusal[],
  credentials: Credentials,
  context: AuthContext,
  cause?: unknown,
): StepError {
  const list = refusals.map(({ mechanism, reply }) => `${mechanism} (${formatReply(reply)})`).join(', ')
  const used = refusals.map(({ mechanism }) => mechanism)
  const other = otherMechanism(used, credentials, context)
  const hint =
    other === undefined
      ? 'ask your provider which mechanism this user must use'
      : `the server also offers ${other}: --auth ${other}`
  const facts = { exitStatus: EXIT.NOPERM, hint, cause, reply: refusals.at(-1)?.reply ?? null }
  return new SessionError('auth', `the server refused ${list}`, facts)
}
