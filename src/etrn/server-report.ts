import { EXIT } from '../errors.js'
import type { ServerAddress } from '../input/server-address.js'
import type { SessionError } from '../smtp/errors.js'
import type { ServerFacts } from '../smtp/trace.js'
import { EXIT_STATUS_OF } from './outcome.js'
import type { Result } from './result.js'

export type ServerReport = ServerFacts & {
  readonly server: ServerAddress
  /** The number of times that the names were requested; 0 if no session was possible */
  readonly attempts: number
  /**
   * From the start of the first session to the end, with pauses; 0 without names. If no session could be started, from the start of
   * the run, after --wait-local
   */
  readonly elapsedMs: number
  /** The error that ended the request before every name had a reply; null if nothing did */
  readonly error: SessionError | null
  /** True if --wait was given and the server's replies don't tell whether mail is waiting. */
  readonly isQueueUnknown: boolean
  /** True if temporary failures were retried, by --retry-for or --wait. */
  readonly isRetried?: boolean
  /** Names that were sent and got no reply: the server may have accepted them. */
  readonly unconfirmed?: readonly string[]
  /** The last round in which each name had its turn: it got a reply, or was the first to be sent. */
  readonly turns?: ReadonlyMap<string, number>
  /** Names that are accepted, and whose mail may still be waiting although the time for --wait is over. */
  readonly waiting?: readonly string[]
  /** One result for each name, in the order of the request */
  readonly names: readonly Result[]
}

/** Returns the exit status of each name, and that of the session. A name that failed with its session has the session's status. */
export function exitStatusesOf({ names, error, isQueueUnknown }: ServerReport): number[] {
  const ofNames = names.map(({ outcome }) =>
    outcome === 'failed' && error !== null ? error.exitStatus : EXIT_STATUS_OF[outcome],
  )
  const statuses = [...ofNames, error?.exitStatus ?? EXIT.OK, isQueueUnknown ? EXIT.QUEUE_UNKNOWN : EXIT.OK]
  const isLost = names.some(({ outcome }) => outcome === 'skipped') && statuses.every((status) => status === EXIT.OK)
  // Never a success while a name was not requested.
  return isLost ? [...statuses, EXIT.TEMPFAIL] : statuses
}

export type SelfFacts = Pick<ServerReport, 'server' | 'error'> &
  Partial<Pick<ServerReport, 'names' | 'turns' | 'unconfirmed'>>

/** Returns true if the session with an exchanger has led back to this host. One that a name was sent to stays another server. */
export function isSelfReport({ error, turns, unconfirmed = [], names = [] }: SelfFacts): boolean {
  const isSent = (turns?.size ?? 0) > 0 || unconfirmed.length > 0 || names.some(({ code }) => code !== null)
  return error?.kind === 'self' && !isSent
}
