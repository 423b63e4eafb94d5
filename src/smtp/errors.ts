import { codeOf, EXIT, type FailureFacts, type FailureKind, messageOf, StepError } from '../errors.js'
import { isShortTimeout } from '../net/deadline.js'
import { isLackOfResources, resourcesError } from '../net/resources-error.js'
import { formatReply, isPermanent, isTransient, type Reply } from './reply.js'
import type { RecordFault } from './tls-records.js'

/** The steps of a session, as messages and --check show them. */
export const STAGE_LABELS = {
  dns: 'DNS',
  connect: 'connect',
  greeting: 'greeting',
  ehlo: 'EHLO',
  starttls: 'STARTTLS',
  tls: 'TLS',
  auth: 'AUTH',
  etrn: 'ETRN',
} as const

/** The step of a session at which it failed. */
export type Stage = keyof typeof STAGE_LABELS

/** A step that failed because of the server's reply. Its message is the reply alone; that of the session's failure names the step. */
export class RejectedError extends StepError {
  readonly reply: Reply
  /** The argument that the server has rejected: the mechanism of a login, or the EHLO name */
  readonly argument: string | undefined
  constructor(reply: Reply, facts: FailureFacts, argument?: string) {
    super(formatReply(reply), facts)
    this.reply = reply
    this.argument = argument
  }
}

/** A session that failed as a whole. The message names the step and the reason, with the server's own words in parentheses. */
export class SessionError extends StepError {
  override readonly name = 'SessionError'
  readonly stage: Stage
  /** The reply that ended the session; null if none did. */
  readonly reply: Reply | null
  constructor(stage: Stage, message: string, facts: FailureFacts & { readonly reply?: Reply | null }) {
    super(message, facts)
    this.stage = stage
    this.reply = facts.reply ?? null
  }

  withMessage(message: string, hint = this.hint): SessionError {
    const { stage, exitStatus, kind, cause, reply } = this
    return new SessionError(stage, message, { exitStatus, kind, cause, reply, hint })
  }
}

/** Returns the failure of a step as that of its session. */
export function sessionErrorOf(stage: Stage, error: StepError): SessionError {
  const message = error instanceof RejectedError ? describeRejection(stage, error) : error.message
  return new SessionError(stage, message, error)
}

/**
 * Returns an error that no code expected as the failure of one session, because those of other servers must go on: a lack of resources (75),
 * which can strike anywhere, or else a bug of our own (70).
 */
export function unexpectedError(cause: unknown): SessionError {
  if (isLackOfResources(cause)) return sessionErrorOf('etrn', resourcesError("can't continue", cause))
  const message = `unexpected error (${cause instanceof Error ? cause.name : typeof cause}: ${messageOf(cause)})`
  const hint = 'this is a bug in etrn; please report it, with these lines'
  return new SessionError('etrn', message, { exitStatus: EXIT.SOFTWARE, hint, cause })
}

type Rejection = Pick<RejectedError, 'reply'> & Partial<Pick<RejectedError, 'kind' | 'argument'>>

/**
 * Returns the message for a reply that ends a session: `EHLO rejected (501 5.5.4 bad name)`. A lost connection means that the server
 * sent the reply before the command of this stage.
 */
export function describeRejection(stage: Stage, { reply, kind, argument }: Rejection): string {
  return `${rejectionProblem(stage, reply, kind === 'connection-lost', argument)} (${formatReply(reply)})`
}

function rejectionProblem(stage: Stage, reply: Reply, isEarly: boolean, argument?: string): string {
  if (stage === 'greeting') {
    if (isTransient(reply)) return 'the server is temporarily unavailable'
    return isPermanent(reply) ? 'the server rejected the connection' : 'unexpected greeting'
  }
  const command = STAGE_LABELS[stage]
  if (reply.code === 421) return `the server closed the connection ${isEarly ? 'before' : 'after'} ${command}`
  if (!isTransient(reply) && !isPermanent(reply)) return `unexpected reply to ${command}`
  const verdict = isTransient(reply) ? 'temporarily rejected' : 'rejected'
  const [verb, before] = stage === 'auth' ? ['login', 'with '] : [command, '']
  return `${verb} ${argument === undefined ? '' : `${before}${argument} `}${verdict}`
}

/** The next step if the reply to ETRN is missing */
export const REPEAT_HINT = 'a repeated request does no harm: try again with --retry-for 10m'

/** Returns the next step after a timeout of a server that is slow or silent. */
export function timeoutHint(timeoutMs: number): string {
  return isShortTimeout(timeoutMs) ? 'give the server more time: --timeout 60s' : 'let etrn try again: --retry-for 10m'
}

/** Returns the failure of a lost connection (75): `the server closed the connection after EHLO`. */
export function connectionLostError(when: string, cause?: unknown): StepError {
  const facts = { exitStatus: EXIT.TEMPFAIL, kind: 'connection-lost', cause } as const
  return new StepError(`${lossOf(cause)} ${when}`, facts)
}

function lossOf(cause: unknown): string {
  const code = codeOf(cause)
  // Node gives this code to the end of a connection in the handshake, too. Only an error of the system has a call.
  const isReset = code === 'ECONNRESET' && cause instanceof Error && 'syscall' in cause
  if (isReset) return 'the connection was reset'
  return /^(?:ECONNRESET|EPIPE|ERR_STREAM_PREMATURE_CLOSE)?$/.test(code)
    ? 'the server closed the connection'
    : `the connection failed (${code})`
}

/** Returns the exit status of a reply that ends a session. A permanent one depends on the stage (SPEC, section 5). */
export function exitStatusOfReply(stage: Stage, reply: Reply): number {
  if (isTransient(reply)) return EXIT.TEMPFAIL
  if (!isPermanent(reply)) return EXIT.PROTOCOL
  if (stage === 'auth') return EXIT.NOPERM
  return stage === 'greeting' || stage === 'ehlo' ? EXIT.UNAVAILABLE : EXIT.PROTOCOL
}

/** Returns the failure of a server that violates a protocol, or that TLS doesn't protect (76). */
export function protocolError(message: string, hint?: string, cause?: unknown): StepError {
  return new StepError(message, { exitStatus: EXIT.PROTOCOL, hint, cause })
}

const ATTACK_HINT = 'the server or a proxy may be faulty, or this may be an attack: tell your provider'

/** Returns the failure of a server that sends plain text where TLS must begin: a faulty server, or a forgery (76). */
export function unencryptedDataError(isImplicitTls: boolean, cause?: unknown): StepError {
  const message = `unencrypted data arrived ${isImplicitTls ? 'in place of TLS' : 'after STARTTLS, before TLS began'}`
  const hint = isImplicitTls
    ? 'smtps:// is only for a port that expects TLS from the start: check the host and the port, or use smtp:// with --tls verify'
    : ATTACK_HINT
  return new StepError(message, { exitStatus: EXIT.PROTOCOL, kind: 'unencrypted-data', hint, cause })
}

/**
 * Returns the failure of a server that has sent something in place of a TLS record: once TLS stands, the session must not go on without it
 * (76).
 */
export function recordFaultError(fault: RecordFault, cause?: unknown): StepError {
  if (fault.type === 'alert') return alertError(`number ${fault.number}`, VERSIONS_HINT, cause)
  const isPlainText = fault.type === 'plain-text'
  const message = isPlainText ? 'unencrypted data arrived within TLS' : 'the server sent an invalid TLS record'
  return withinTlsError(message, ATTACK_HINT, cause, isPlainText ? 'unencrypted-data' : 'invalid-record')
}

function withinTlsError(
  message: string,
  hint: string,
  cause: unknown,
  kind: FailureKind = 'invalid-record',
): StepError {
  return new StepError(message, { exitStatus: EXIT.PROTOCOL, kind, hint, cause })
}

function alertError(description: string, hint: string, cause: unknown): StepError {
  return protocolError(`the server ended TLS with an alert (${description})`, hint, cause)
}

const VERSIONS_HINT = 'ask your provider which TLS versions and ciphers the server supports'
const NAME_HINT =
  'the server knows no host of this name: check the name; with --tls verify, --tls-name NAME gives another one'
export const CERTIFICATE_HINT =
  'the server may require a client certificate, or reject yours: --tls-cert FILE --tls-key FILE'

function alertHint(words: string): string {
  if (words === 'unrecognized name') return NAME_HINT
  return /certificate|handshake|unknown ca|access denied/.test(words) ? CERTIFICATE_HINT : VERSIONS_HINT
}

/**
 * Returns a TLS error of OpenSSL's as a failed step; undefined for any other error. OpenSSL's words for data that is no TLS record differ
 * from version to version: there the fault decides that the octets have shown.
 */
export function tlsErrorOf(error: unknown, fault?: RecordFault): StepError | undefined {
  const code = codeOf(error)
  // OpenSSL's names of the alerts of RFC 6066 lack the word.
  const [, isAlert, name] =
    /^ERR_O?SSL_(?:(?:SSL|TLS)V3_|SSL\/TLS_)?(ALERT_|TLSV\d+_(?:ALERT_)?)?(.*)$/.exec(code) ?? []
  if (name === undefined && code !== 'EPROTO') return undefined
  const words = name?.replaceAll('_', ' ').toLowerCase()
  // With TLS 1.3 an alert can arrive after the client has finished its handshake, in place of a reply.
  if (isAlert !== undefined && words !== undefined) return alertError(words, alertHint(words), error)
  // A record that can't be decrypted came first: what follows it is read from a wrong place.
  const isBroken = words !== undefined && /\bmac\b|decrypt|cipher operation/.test(words)
  if (fault !== undefined && fault.type !== 'alert' && !isBroken) return recordFaultError(fault, error)
  // Directly after the handshake Node can lose OpenSSL's error about a record: then the next write fails with this code.
  if (words === undefined) return withinTlsError('invalid data arrived within TLS (protocol error)', ATTACK_HINT, error)
  return withinTlsError(`TLS failed (${words})`, VERSIONS_HINT, error)
}
