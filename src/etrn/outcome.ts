import { EXIT } from '../errors.js'
import type { SessionError } from '../smtp/errors.js'

/** The outcome of the request for one name. */
export type Outcome =
  'started' | 'empty' | 'pending' | 'deferred' | 'refused' | 'unsupported' | 'rejected' | 'failed' | 'skipped'

/** The exit status of each outcome. A skipped name has none of its own. */
export const EXIT_STATUS_OF: Readonly<Record<Outcome, number>> = {
  started: EXIT.OK,
  empty: EXIT.OK,
  pending: EXIT.OK,
  deferred: EXIT.TEMPFAIL,
  refused: EXIT.NOPERM,
  unsupported: EXIT.UNAVAILABLE,
  rejected: EXIT.DATAERR,
  failed: EXIT.PROTOCOL,
  skipped: EXIT.OK,
}

export function isAccepted(outcome: Outcome): boolean {
  return EXIT_STATUS_OF[outcome] === EXIT.OK && outcome !== 'skipped'
}

/** Returns the outcome of a name that got no reply because its session failed. */
export function outcomeOfError(error: SessionError): Outcome {
  if (error.exitStatus === EXIT.TEMPFAIL || error.kind === 'interrupted') return 'deferred'
  if (error.exitStatus === EXIT.UNAVAILABLE) return 'unsupported'
  return error.exitStatus === EXIT.NOPERM ? 'refused' : 'failed'
}

/** Returns true if the server or this host failed to prove its identity, or TLS was refused. */
export function isSecurityFailure({ stage, exitStatus }: SessionError): boolean {
  return exitStatus !== EXIT.TEMPFAIL && (stage === 'auth' || stage === 'starttls' || stage === 'tls')
}
