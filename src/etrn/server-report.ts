import { EXIT } from '../errors.js'
import { SessionError } from '../smtp/errors.js'
import type { Server } from '../smtp/session.js'
import type { ServerFacts } from '../smtp/trace.js'
import { EXIT_STATUS_OF, type Result } from './outcome.js'

/** What is known of one server at the end. */
export type ServerReport = ServerFacts & {
  readonly server: Server
  /** How often the names were asked for; 0: not at all */
  readonly attempts: number
  /**
   * From the turn of the first session to the end, pauses and all; 0 without names. Where no session could be begun, from the
   * beginning of the run, behind --wait-local
   */
  readonly elapsedMs: number
  /** What ended the exchange before every name had its answer; null: nothing did. */
  readonly error: SessionError | null
  /** --wait was given, and the server's answers don't tell whether anything is left. */
  readonly isQueueUnknown: boolean
  /** One for each name, in the order asked */
  readonly names: readonly Result[]
}
/** What each name stands for, and the session; a name that failed with its session has the session's exit status. */
export function exitStatusesOf({ names, error, isQueueUnknown }: ServerReport): number[] {
  const ofNames = names.map(({ outcome }) =>
    outcome === 'failed' && error !== null ? error.exitStatus : EXIT_STATUS_OF[outcome],
  )
  return [...ofNames, error?.exitStatus ?? EXIT.OK, isQueueUnknown ? EXIT.QUEUE_UNKNOWN : EXIT.OK]
}
