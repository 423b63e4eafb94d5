import { EXIT } from '../errors.js'
import { mayContinueUnencrypted } from './credentials-policy.js'
import { type Dialogue, expectCode, type GreetedDialogue, runStep } from './dialogue.js'
import { SessionError, sessionErrorOf, tlsErrorOf } from './errors.js'
import type { Extensions } from './extensions.js'
import { isBehindMiddlebox, MIDDLEBOX_HINT } from './middlebox.js'
import { formatReply, isPermanent, isTransient } from './reply.js'
import type { Server } from './session-settings.js'
import type * as Tls from './tls.js'

/** Returns true if a failed session may be tried again without TLS. Plain text in place of TLS may be an attack: it ends the session. */
export function mayRetryWithoutTls(error: unknown, server: Server): error is SessionError {
  const isTlsFailure = error instanceof SessionError && error.stage === 'tls' && error.kind !== 'unencrypted-data'
  return isTlsFailure && mayContinueUnencrypted(server)
}

/**
 * Reads the first reply within TLS. With TLS 1.3 a server judges the client's certificate after the client has finished the handshake: its
 * alert, or the end of the connection, comes in place of that reply, and is the end of the handshake like any other.
 */
export async function readFirstReply<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof SessionError) || error.reply !== null) throw error
    const isHandshakeOver = tlsErrorOf(error.cause) === undefined && error.kind !== 'connection-lost'
    throw isHandshakeOver ? error : sessionErrorOf('tls', error)
  }
}

/** Starts TLS as the policy says (RFC 3207). Returns undefined if the session continues without it. */
export async function startTls(
  dialogue: GreetedDialogue,
  extensions: Extensions,
): Promise<Tls.SecureConnection | undefined> {
  const { smtp, server, options } = dialogue
  const isRequired = server.tls.level !== 'may'
  if (!extensions.has('STARTTLS')) {
    if (!isRequired) {
      const text =
        'STARTTLS: an earlier session of this run had it, but it is no longer offered; continuing unencrypted (--tls encrypt forbids it)'
      if (options.protection?.hasTls === true) options.trace({ type: 'warning', text })
      return undefined
    }
    const hint = isBehindMiddlebox(dialogue, extensions)
      ? MIDDLEBOX_HINT
      : 'another port may have it: 587, or smtps:// for TLS at once'
    const message = "the server doesn't offer TLS, and it is demanded"
    throw new SessionError('starttls', message, { exitStatus: EXIT.PROTOCOL, hint })
  }
  // Loaded and prepared first: nothing may happen between the reply and the handshake.
  const tls = await import('./tls.js')
  const reply = await runStep('starttls', options, async () => {
    tls.prepareTls(server.tls)
    return smtp.command('STARTTLS')
  })
  if (reply.code === 220) return runHandshake(dialogue, tls)
  const isRefused = (isTransient(reply) && reply.code !== 421) || isPermanent(reply)
  if (isRequired || !isRefused) expectCode('starttls', 220, reply)
  const text = `STARTTLS: ${formatReply(reply)}; going on in clear (--tls encrypt forbids it)`
  options.trace({ type: 'warning', text })
  return undefined
}

export async function runHandshake(dialogue: Dialogue, { handshake }: typeof Tls): Promise<Tls.SecureConnection> {
  const { smtp, server, options } = dialogue
  const { isImplicitTls } = server
  return runStep(isImplicitTls ? 'tls' : 'starttls', options, () =>
    smtp.startTls((socket) => runStep('tls', options, () => handshake(socket, server, options)), isImplicitTls),
  )
}
