import { codeOf, EXIT, type FailureFacts, StepError } from '../errors.js'
import { formatReply, isPermanent, isTransient, type Reply } from './reply.js'

/** The steps of a session, as messages show them. */
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

/** A step that failed because of the server's reply. */
export class RejectedError extends StepError {
  readonly reply: Reply
  constructor(reply: Reply, facts: FailureFacts) {
    super(formatReply(reply), facts)
    this.reply = reply
  }
}

/** A session that failed as a whole. The message says why, in the server's own words if it sent any. */
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

  withMessage(message: string): SessionError {
    return new SessionError(this.stage, message, this)
  }
}

/** Returns the failure of a step as that of its session. A RejectedError has the reply. */
export function sessionErrorOf(stage: Stage, error: StepError | RejectedError): SessionError {
  return new SessionError(stage, error.message, error)
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

/** Returns the failure of a server that sends plain text where TLS must begin: a faulty server, or a forgery (76). */
export function unencryptedDataError(isImplicitTls: boolean, cause?: unknown): StepError {
  const message = `unencrypted data arrived ${isImplicitTls ? 'in place of TLS' : 'after STARTTLS, before TLS began'}`
  const hint = isImplicitTls
    ? 'smtps:// is for a port that expects TLS at once: check host and port, or use smtp:// with --tls verify'
    : 'a faulty server or proxy, or an attack: nothing was requested; tell your provider'
  return new StepError(message, { exitStatus: EXIT.PROTOCOL, kind: 'unencrypted-data', hint, cause })
}

/** The error codes of OpenSSL that mean plain text in place of TLS: the server's, or a forgery. */
const PLAIN_TEXT_CODES =
  /WRONG_VERSION_NUMBER|HTTPS?_(?:PROXY_)?REQUEST|PACKET_LENGTH_TOO_LONG|BAD_RECORD_TYPE|UNKNOWN_PROTOCOL/

/** Returns a TLS error of OpenSSL's as a failed step; undefined for any other error. */
export function tlsErrorOf(error: unknown): StepError | undefined {
  const [, isAlert, name] = /^ERR_O?SSL_(?:(?:SSL|TLS)V\d+_|SSL\/TLS_)?(ALERT_)?(.*)$/.exec(codeOf(error)) ?? []
  if (name === undefined) return undefined
  const words = name.replaceAll('_', ' ').toLowerCase()
  // With TLS 1.3 an alert can arrive after the client has finished its handshake, in place of a reply.
  const needsCertificate = isAlert !== undefined && /certificate|handshake/.test(words)
  const hint = needsCertificate ? 'perhaps it wants a certificate of yours: --tls-cert' : 'ask your provider'
  const failure = isAlert === undefined ? 'TLS failed' : 'the server broke TLS off'
  const kind = PLAIN_TEXT_CODES.test(codeOf(error)) ? 'unencrypted-data' : undefined
  return new StepError(`${failure}: ${words}`, { exitStatus: EXIT.PROTOCOL, kind, hint, cause: error })
}
