import { EXIT, StepError } from '../errors.js'
import { COMMAND_LINE_OCTETS } from '../input/node-name.js'
import { familyOf } from '../net/address.js'
import { exitStatusOfReply, protocolError, RejectedError, SessionError } from './errors.js'
import { type MechanismName, MECHANISMS, ONLY_IF_NAMED } from './mechanisms.js'
import { MASK } from './redact.js'
import { formatReply, isPermanent, type Reply } from './reply.js'
import { type AuthContext, authUnavailable, type MechanismSteps, SASL_MECHANISMS, type SaslResponse } from './sasl.js'
import type { Credentials } from './session-settings.js'

/** Sends a line, which a transcript shows as `shown`, and returns the whole reply. No output may show the secrets. */
export type SendAuthLine = (line: string, shown: string, secrets: readonly string[]) => Promise<Reply>

/** The longest response: in base64 a line has 12,288 octets at most (RFC 4954, section 4). */
const SASL_RESPONSE_OCTETS = 9000

/**
 * Logs in with AUTH (RFC 4954, section 4), and records the mechanism. If the server refuses a mechanism as such, the next one is tried,
 * each once. Credentials go over verified TLS or to this host only, so that nobody on the network path can lead the
 * client to a weaker mechanism. Throws StepError: 77, 75 for a 4xx, 76 if the server violates the mechanism.
 */
export async function authenticate(send: SendAuthLine, credentials: Credentials, context: AuthContext): Promise<void> {
  const refusals: Refusal[] = []
  const { protection } = context
  const { mechanism: earlier } = protection
  for (const mechanism of chooseMechanisms(credentials, context)) {
    // If this attempt fails without a verdict on the mechanism, it still binds the next session.
    protection.mechanism = mechanism
    const steps = SASL_MECHANISMS[mechanism](credentials, context)
    const reply = await runExchange(send, `AUTH ${mechanism}`, steps).catch((error: unknown) => {
      throw addRefusals(error, refusals, mechanism)
    })
    if (reply.code === 235) {
      // By now a server that must prove its identity has done so.
      const { done } = await steps.next(Buffer.alloc(0))
      if (done !== true && !ONLY_IF_NAMED.has(mechanism))
        throw protocolError(
          `login failed: the server ended the ${mechanism} exchange too early (${formatReply(reply)})`,
        )
      return
    }
    if (!MECHANISM_REFUSED_CODES.has(reply.code))
      throw addRefusals(loginError(reply, mechanism, credentials, context), refusals, mechanism)
    protection.mechanism = earlier
    refusals.push({ mechanism, reply })
  }
  throw refusedError(refusals, earlier, credentials, context)
}

type Refusal = { readonly mechanism: MechanismName; readonly reply: Reply }

/**
 * Adds the refusals to the end of the connection behind them: without --auth, the next run would begin with the same mechanism, and would
 * never get to this one.
 */
function addRefusals(error: unknown, refusals: readonly Refusal[], mechanism: MechanismName): unknown {
  if (refusals.length === 0 || !(error instanceof StepError)) return error
  const isLost = error.kind === 'connection-lost' || (error instanceof RejectedError && error.reply.code === 421)
  if (!isLost) return error
  const message = `the server closed the connection after it had refused ${listRefusals(refusals)}`
  const { exitStatus, cause } = error
  return new StepError(message, { exitStatus, kind: 'connection-lost', cause, hint: `try --auth ${mechanism}` })
}

function listRefusals(refusals: readonly Refusal[]): string {
  return refusals.map(({ mechanism, reply }) => `${mechanism} (${formatReply(reply)})`).join(', ')
}

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
  if (response === undefined) throw protocolError('login failed: the server sent one challenge too many')
  if (response.octets.length > SASL_RESPONSE_OCTETS)
    throw protocolError(`login failed: the response is longer than ${SASL_RESPONSE_OCTETS} octets`)
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
  const { offered, protection } = context
  const list = offered.join(', ')
  const { mechanism } = credentials
  if (protection.mechanism !== undefined) return mechanismsAfter(protection.mechanism, credentials, context)
  if (offered.length === 0)
    throw authUnavailable('AUTH not offered, but credentials were given', noAuthHint(context.host))
  if (mechanism !== undefined && !offered.includes(mechanism))
    throw authUnavailable(`${mechanism} not offered (AUTH lists ${list})`, notOfferedHint(mechanism, offered))
  if (mechanism !== undefined && !isUsable(mechanism, credentials, context)) throw unusableError(mechanism, credentials)
  const usable = usableMechanisms(credentials, context)
  if (usable.length === 0)
    throw authUnavailable(`no AUTH mechanism in common (AUTH lists ${list})`, noMechanismHint(credentials, offered))
  return usable
}

const FAULTY_HINT = 'the server may be faulty, or this may be an attack: tell your provider'

/** Returns the mechanisms to try after an earlier session: its own first, then stronger ones, which were refused then. */
function mechanismsAfter(earlier: MechanismName, credentials: Credentials, context: AuthContext): MechanismName[] {
  const usable = usableMechanisms(credentials, context)
  const allowed = usable.filter((name) => MECHANISMS.indexOf(name) <= MECHANISMS.indexOf(earlier)).toReversed()
  if (allowed.length > 0) return allowed
  const now =
    context.offered.length === 0 ? 'AUTH is not offered now' : `AUTH now lists only ${context.offered.join(', ')}`
  throw authUnavailable(`an earlier session of this run used ${earlier}, but ${now}`, FAULTY_HINT)
}

/** Returns the next step if the server lacks the mechanism that --auth names. A token must not be sent as a password. */
function notOfferedHint(mechanism: MechanismName, offered: readonly string[]): string {
  if (!ONLY_IF_NAMED.has(mechanism)) return `run without --auth ${mechanism}`
  const other = [...ONLY_IF_NAMED].find((name) => offered.includes(name))
  return other === undefined
    ? `ask your provider how to log in: the server does not accept tokens, and without --auth ${mechanism} the token would be sent as a password`
    : `use the other mechanism for tokens: --auth ${other}`
}

function noAuthHint(host: string): string {
  const url = `smtps://${familyOf(host) === 6 ? `[${host}]` : host}`
  return `many servers offer AUTH only on port 587 (--port 587) or with TLS from the start (${url} in place of ${host}); if neither works, ask your provider which port offers AUTH and ETRN`
}

/** Returns the next step if the server offers no mechanism that the credentials allow. */
function noMechanismHint({ password }: Credentials, offered: readonly string[]): string {
  if (password === undefined) return 'give a password: --password-file FILE'
  const named = [...ONLY_IF_NAMED].find((name) => offered.includes(name))
  return named === undefined
    ? 'ask your provider to offer SCRAM-SHA-256 or PLAIN'
    : `if the password is an OAuth token: --auth ${named}`
}

/** Returns the failure for a mechanism that the user has named, but that lacks what it needs. */
function unusableError(mechanism: MechanismName, { password }: Credentials): StepError {
  const [need, hint] =
    mechanism === 'EXTERNAL'
      ? ['a client certificate', '--tls-cert FILE --tls-key FILE']
      : password === undefined
        ? ['a password', 'give a password: --password-file FILE']
        : ['TLS 1.3', `use the mechanism without channel binding: --auth ${mechanism.replace('-PLUS', '')}`]
  return authUnavailable(`${mechanism} is not possible without ${need}`, hint)
}

/** Returns the mechanisms that server and credentials allow, strongest first: only the one that --auth names, if it does. */
function usableMechanisms(credentials: Credentials, context: AuthContext): MechanismName[] {
  const { mechanism } = credentials
  return MECHANISMS.filter((name) => {
    const isWanted = mechanism === undefined ? !ONLY_IF_NAMED.has(name) : name === mechanism
    return isWanted && context.offered.includes(name) && isUsable(name, credentials, context)
  })
}

function isUsable(name: MechanismName, { password }: Credentials, { hasCertificate, exporter }: AuthContext): boolean {
  if (name === 'EXTERNAL') return hasCertificate
  return password !== undefined && (!name.endsWith('-PLUS') || exporter !== undefined)
}

function decodeChallenge({ lines }: Reply): Buffer {
  const [text = '', ...more] = lines
  if (more.length > 0 || !/^(?:[a-z0-9+/]{4})*(?:[a-z0-9+/]{2}==|[a-z0-9+/]{3}=)?$/i.test(text))
    throw protocolError('login failed: the server sent a challenge that is not base64')
  return Buffer.from(text, 'base64')
}

/** Returns the failure of a login that the server rejects, with a hint for those replies that have one meaning. */
function loginError(reply: Reply, used: MechanismName, credentials: Credentials, context: AuthContext): StepError {
  const hint = loginHint(reply, used, otherMechanism([used], credentials, context))
  const kind = isPermanent(reply) ? 'login-rejected' : undefined
  return new RejectedError(reply, { exitStatus: exitStatusOfReply('auth', reply), kind, hint }, used)
}

function loginHint({ code }: Reply, used: MechanismName, other: MechanismName | undefined): string | undefined {
  switch (code) {
    case 432:
      return `run once with --auth PLAIN: the server then stores the password in the form that ${used} needs`
    case 535: {
      const alternative = other === undefined ? '' : ` (some servers need the mechanism ${other}: --auth ${other})`
      return `check the user name and the ${secretNameOf(used)}${alternative}, then ask your provider whether this user may log in`
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
  return usableMechanisms({ ...credentials, mechanism: undefined }, context).find((name) => !used.includes(name))
}

/** Returns the next step if no mechanism is left. Some servers refuse a password in the way that others refuse a mechanism. */
function refusedHint(refusals: readonly Refusal[], host: string): string {
  const says = (text: RegExp): boolean => refusals.some(({ reply }) => text.test(reply.text))
  if (says(/\bauthentication (?:is )?(?:not enabled|disabled)\b/i)) return noAuthHint(host)
  const next = 'ask your provider which mechanism this user must use'
  // IceWarp: 501 5.7.0
  return says(/\bauthentication fail|\bpassword\b|\bcredentials\b/i)
    ? `check the user name and the password, then ${next}`
    : next
}

/** Returns the failure of a login for which the server refused each mechanism: also the earlier session's, if there was one. */
function refusedError(
  refusals: readonly Refusal[],
  earlier: MechanismName | undefined,
  credentials: Credentials,
  context: AuthContext,
): StepError {
  const used = refusals.map(({ mechanism }) => mechanism)
  const other = otherMechanism(used, credentials, context)
  const next =
    other === undefined ? refusedHint(refusals, context.host) : `the server also offers ${other}: try --auth ${other}`
  const hint = earlier === undefined ? next : `an earlier session of this run used ${earlier}: ${FAULTY_HINT}`
  const facts = { exitStatus: EXIT.NOPERM, hint, reply: refusals.at(-1)?.reply ?? null }
  return new SessionError('auth', `login rejected: ${listRefusals(refusals)}`, facts)
}
