import type { Socket } from 'node:net'
import { hasStalledSince } from './event-loop.js'
import { fail, type FuzzRun, type ObservedConnection } from './fuzz-run.js'
import { hasPartialReply, LIMITS } from './reference.js'

// Checks how the connections ended: closed, with QUIT if possible, and without reading octets beyond the limits.

/** Checks that the client closed every connection, and sent QUIT before. */
export function checkConnectionEnds(run: FuzzRun): void {
  const { connections } = run
  for (const { isClosed, number } of connections) if (!isClosed) fail(run, `connection ${number} stays open`)
  const withoutQuit = connections.filter((one) => !one.hasQuit && one.endedBy !== 'server' && !mayOmitQuit(run, one))
  const unread = withoutQuit.filter((one) => mayLoseQuit(run, one))
  for (const one of withoutQuit) if (!unread.includes(one)) fail(run, `connection ${one.number} ended without QUIT`)
  // Without a command, the client may not have known of the connection.
  const expected =
    unread.filter(({ commands }) => commands > 0).length + connections.filter(({ hasQuit }) => hasQuit).length
  if (expected > run.tracedQuits) fail(run, `the trace has ${run.tracedQuits} QUIT commands, not ${expected}`)
}

/**
 * Tells whether the server may miss a QUIT that the client sent. If the client is interrupted, closes a session that has no name to
 * request, or leaves octets unread, then octets from the server cause a reset.
 */
function mayLoseQuit({ connections, interruptedMs }: FuzzRun, connection: ObservedConnection): boolean {
  const { requests, commands, sentMs, receivedMs, hadError } = connection
  const isInterrupted = interruptedMs < Infinity && (commands === 0 || sentMs >= interruptedMs)
  return hadError || isInterrupted || (connections.length > 1 && requests.length === 0 && sentMs >= receivedMs)
}

function mayOmitQuit(run: FuzzRun, connection: ObservedConnection): boolean {
  const { stream, commands, tls } = connection
  const isInjection = tls === 'begun' && stream.forbiddenFrom === commands + 1
  const isReplyMissing = stream.replies.length <= commands && !stream.isMalformed
  const isTimeout =
    isReplyMissing || hasPartialReply(stream) || connection.closedMs - connection.receivedMs > run.timeoutMs / 2
  // The client sends nothing to a server whose identity is unproven.
  const isVerified = run.testCase.tlsLevel === 'verify' || run.testCase.isImplicitTls
  const isUnknownServer = tls === 'done' && isVerified && connection.script.certificate === 'self'
  const isHandshakeFailure = tls === 'begun' || tls === 'replaced' || connection.isDamaged
  if (!isInjection && (isTimeout || isUnknownServer || isHandshakeFailure)) return true
  const hasStalled = hasStalledSince(run.startedMs)
  if (hasStalled) run.unchecked++
  return hasStalled
}

/** Checks that the client's sockets are closed, and took no more octets than complete replies can have. */
export function checkClientSockets(run: FuzzRun, sockets: readonly Socket[]): void {
  for (const socket of sockets) {
    if (!socket.destroyed) fail(run, 'a socket of the client stays open')
    const maxOctets = (run.commands + 4) * LIMITS.reply
    if (socket.bytesRead > maxOctets) fail(run, `the client read ${socket.bytesRead} octets in one connection`)
  }
}
