import { EXIT } from '../errors.js'
import { shortenMessage } from '../printable.js'
import { mayContinueUnencrypted } from './credentials-policy.js'
import { type Dialogue, expectCode, type GreetedDialogue, runStep } from './dialogue.js'
import {
  CERTIFICATE_HINT,
  connectionLostError,
  describeRejection,
  SessionError,
  sessionErrorOf,
  tlsErrorOf,
} from './errors.js'
import type { Extensions } from './extensions.js'
import { isBehindMiddlebox, MIDDLEBOX_HINT } from './middlebox.js'
import { formatReply, isPermanent, isTransient, type Reply } from './reply.js'
import type { Server } from './session-settings.js'
import type * as Tls from './tls.js'

/**
 * Returns true if a failed session may be tried again without TLS. Plain text in place of TLS, and broken data once TLS stands, may be an
 * attack: they end the session.
 */
export function mayRetryWithoutTls(error: unknown, server: Server): error is SessionError {
  if (!(error instanceof SessionError) || error.stage !== 'tls') return false
  const mayBeAttack = error.kind === 'unencrypted-data' || error.kind === 'invalid-record'
  return !mayBeAttack && mayContinueUnencrypted(server)
}

/**
 * Reads the first reply within TLS. With TLS 1.3 a server gets the client's certificate, and judges it, after the client has finished the
 * handshake: its alert, silence after EHLO, the end of the connection, or a reply about the certificate is a failed handshake like any other.
 */
export async function readFirstReply(work: () => Promise<Reply>): Promise<Reply> {
  try {
    const reply = await work()
    rejectCertificateReply(reply)
    return reply
  } catch (error) {
    if (!(error instanceof SessionError) || error.stage === 'tls') throw error
    if (error.reply !== null) rejectCertificateReply(error.reply)
    if (error.reply !== null) throw error
    if (tlsErrorOf(error.cause) !== undefined) throw sessionErrorOf('tls', error)
    if (error.kind === 'connection-lost') throw sessionErrorOf('tls', connectionLostError(AFTER_HANDSHAKE, error.cause))
    const isSilent = error.kind === 'timeout' && error.stage === 'ehlo'
    throw isSilent ? sessionErrorOf('tls', error.withMessage(`${error.message} ${AFTER_HANDSHAKE}`)) : error
  }
}

const AFTER_HANDSHAKE = 'directly after the TLS handshake'

/**
 * Throws SessionError (76) for a reply that rejects this host's TLS certificate, or its lack. Postfix accepts every handshake, and sends
 * such a reply to the next command (smtpd_tls_req_ccert), with a code that looks temporary.
 */
export function rejectCertificateReply(reply: Reply): void {
  // Not a name: the server's own, or that of this host.
  const words = reply.text.split(' ').filter((word) => !/[<>]|\w\.\w/.test(word))
  if (!(isTransient(reply) || isPermanent(reply)) || !/\bcertificates?\b/i.test(words.join(' '))) return
  const message = `the server rejected TLS (${formatReply(reply)})`
  throw new SessionError('tls', message, { exitStatus: EXIT.PROTOCOL, hint: CERTIFICATE_HINT, reply })
}

/** Says in a warning that a session goes on without TLS, and how to prevent this. */
export const WITHOUT_TLS = 'continuing without TLS (to require TLS: --tls encrypt)'

/** Starts TLS as the policy says (RFC 3207). Returns undefined if the session continues without it. */
export async function startTls(
  dialogue: GreetedDialogue,
  extensions: Extensions,
): Promise<Tls.SecureConnection | undefined> {
  const { smtp, server, options } = dialogue
  const isRequired = server.tls.level !== 'may'
  if (!extensions.has('STARTTLS')) {
    if (!isRequired) {
      const text = `STARTTLS was offered in an earlier session of this run, but is not offered now; ${WITHOUT_TLS}`
      if (options.protection?.hasTls === true) options.trace({ type: 'warning', stage: 'starttls', text })
      return undefined
    }
    const hint = isBehindMiddlebox(dialogue, extensions) ? MIDDLEBOX_HINT : MISSING_HINT
    const message = `STARTTLS not offered, but ${requirementOf(server)} requires it`
    throw new SessionError('starttls', message, { exitStatus: EXIT.PROTOCOL, hint })
  }
  // Loaded and prepared first: nothing may happen between the reply and the handshake.
  const tls = await import('./tls.js')
  const reply = await runStep('starttls', options, async () => {
    tls.prepareTls(server.tls)
    return smtp.command('STARTTLS')
  })
  if (reply.code === 220) {
    if (options.protection !== undefined) options.protection.hasTls = true
    return runHandshake(dialogue, tls)
  }
  const isRefused = (isTransient(reply) && reply.code !== 421) || isPermanent(reply)
  if (isRequired || !isRefused) expectCode('starttls', 220, reply)
  const text = `${shortenMessage(describeRejection('starttls', { reply }))}; ${WITHOUT_TLS}`
  options.trace({ type: 'warning', stage: 'starttls', text })
  return undefined
}

const MISSING_HINT =
  'ask your provider which port offers TLS and ETRN; perhaps a firewall on the network path hides STARTTLS'

/** Returns the option that requires TLS. A user who has given credentials alone may not know it. */
function requirementOf({ tls: { level }, credentials }: Server): string {
  return credentials !== undefined && level === 'verify'
    ? '--tls verify (the default with credentials)'
    : `--tls ${level}`
}

export async function runHandshake(dialogue: Dialogue, { handshake }: typeof Tls): Promise<Tls.SecureConnection> {
  const { smtp, server, options } = dialogue
  const { isImplicitTls } = server
  return runStep(isImplicitTls ? 'tls' : 'starttls', options, () =>
    smtp.startTls((socket) => runStep('tls', options, () => handshake(socket, server, options)), isImplicitTls),
  )
}
