import { EXIT } from '../errors.js'
import type { ServerAddress } from '../input/server-address.js'
import type { SessionError } from '../smtp/errors.js'
import { NO_FACTS, type ServerFacts } from '../smtp/trace.js'
import { EXIT_STATUS_OF, type Result } from './outcome.js'

/** What is known about one server at the end. */
export type ServerReport = ServerFacts & {
  readonly server: ServerAddress
  /** How often the names were requested; 0 if no session was possible */
  readonly attempts: number
  /**
   * From the start of the first session to the end, with pauses; 0 without names. If no session could be started, from the start of
   * the run, after --wait-local
   */
  readonly elapsedMs: number
  /** What ended the request before every name had a reply; null if nothing did */
  readonly error: SessionError | null
  /** True if --wait was given and the server's replies don't tell whether mail is waiting. */
  readonly isQueueUnknown: boolean
  /** One result for each name, in the order of the request */
  readonly names: readonly Result[]
}

/** Returns the report of a server that was not reached. */
export function unreachedReport(
  server: ServerAddress,
  error: SessionError,
  names: readonly Result[],
  elapsedMs: number,
): ServerReport {
  return { server, ...NO_FACTS, attempts: 0, elapsedMs, error, isQueueUnknown: false, names }
}

/** Returns the exit status of each name, and that of the session. A name that failed with its session has the session's status. */
export function exitStatusesOf({ names, error, isQueueUnknown }: ServerReport): number[] {
  const ofNames = names.map(({ outcome }) =>
    outcome === 'failed' && error !== null ? error.exitStatus : EXIT_STATUS_OF[outcome],
  )
  return [...ofNames, error?.exitStatus ?? EXIT.OK, isQueueUnknown ? EXIT.QUEUE_UNKNOWN : EXIT.OK]
}
