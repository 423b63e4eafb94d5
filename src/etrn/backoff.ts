import { StepError } from '../errors.js'
import { abortReason, startDeadline } from '../net/deadline.js'
import { formatElapsed } from '../net/duration.js'
import { SessionError, sessionErrorOf, type Stage } from '../smtp/errors.js'

/** A pause between attempts: why it is made, and when the next attempt follows */
export type Pause = {
  readonly type: 'pause'
  readonly reason: string
  readonly next: string
  readonly pauseMs: number
}

/** The pause that is due before the next attempt, and the shortest one of its kind */
export type Backoff = { readonly pauseMs: number; readonly leastMs: number }

/** Pauses after failures grow within these bounds. A server that replied gets longer ones. */
const BACKOFF_BOUNDS = {
  silence: { leastMs: 1000, mostMs: 30_000 },
  reply: { leastMs: 10_000, mostMs: 300_000 },
} as const

/** Returns the pause after a number of failures in a row, 1 or more: it doubles each time, with jitter (0 to 1) of up to twice that. */
export function backoffAfter(failures: number, hasReplied: boolean, jitter: number): Backoff {
  const { leastMs, mostMs } = hasReplied ? BACKOFF_BOUNDS.reply : BACKOFF_BOUNDS.silence
  return { pauseMs: Math.min(mostMs, leastMs * 2 ** (failures - 1) * (1 + jitter)), leastMs }
}

/** Returns a pause that is the same each time. */
export function constantBackoff(pauseMs: number): Backoff {
  return { pauseMs, leastMs: pauseMs / 2 }
}

/** The last attempt starts so long before the end. */
const BEFORE_END_MS = 100
/** If less time is left, the attempt that has just failed was the last one. */
const SHORTEST_PAUSE_MS = 500

/** The time for which attempts are repeated. Its last attempt starts just before its end, and no other follows. */
export class RetryWindow {
  readonly #startedAt: number
  readonly #lengthMs: number
  #isLastDue = false

  /**
   * `startedAt` is a time of performance.now(), as is `runEndsAt`, when the whole run ends. Without a length nothing is repeated. The window
   * ends in time before the run does, so that its last attempt is not cut off.
   */
  constructor(startedAt: number, lengthMs: number, runEndsAt = Infinity) {
    const untilEndMs = runEndsAt - startedAt
    const mostMs = untilEndMs - Math.min(10_000, Math.max(2000, untilEndMs / 10))
    this.#startedAt = startedAt
    this.#lengthMs = mostMs < SHORTEST_PAUSE_MS ? lengthMs : Math.min(lengthMs, mostMs)
  }

  get hasLength(): boolean {
    return this.#lengthMs > 0
  }

  /** True if no attempt may follow. */
  get isOver(): boolean {
    return this.#isLastDue || this.#untilLastMs < SHORTEST_PAUSE_MS
  }

  get elapsedMs(): number {
    return performance.now() - this.#startedAt
  }

  /**
   * Returns the pause before the next attempt; undefined if none may follow. A pause that would leave no time for another one of its kind
   * ends with the last attempt.
   */
  createPause(reason: string, { pauseMs, leastMs }: Backoff): Pause | undefined {
    if (this.isOver) return undefined
    const untilLastMs = this.#untilLastMs
    this.#isLastDue = untilLastMs < Math.max(pauseMs, 2 * leastMs)
    const ms = this.#isLastDue ? untilLastMs : Math.min(pauseMs, untilLastMs - leastMs)
    const next = this.#isLastDue
      ? `final retry at ${formatClock(ms)}`
      : `retry at ${formatClock(ms)}; retries end at ${formatClock(this.#lengthMs - this.elapsedMs)}`
    return { type: 'pause', reason, next, pauseMs: ms }
  }

  /** Returns the end of a message: `gave up after 6 attempts in 10m`. */
  describeEnd(attempts: number, verb = 'gave up'): string {
    return `${verb} after ${attempts} attempt${attempts === 1 ? '' : 's'} in ${formatElapsed(this.elapsedMs)}`
  }

  get #untilLastMs(): number {
    return this.#lengthMs - BEFORE_END_MS - this.elapsedMs
  }
}

/** Returns the time of day after so many milliseconds. */
function formatClock(ms: number): string {
  return new Date(Date.now() + ms).toTimeString().slice(0, 8)
}

/** Reports a pause, and sleeps until it is over or the signal aborts. Returns false if the signal has aborted. Never throws. */
export async function takePause(pause: Pause, onPause: (pause: Pause) => void, signal: AbortSignal): Promise<boolean> {
  onPause(pause)
  const limits = { timeoutMs: pause.pauseMs, signal }
  await new Promise<void>((resolve) =>
    startDeadline(
      limits,
      () => ({ message: '' }),
      () => resolve(),
    ),
  )
  return !signal.aborted
}

type StepRetry = {
  /** The stage of a failure that has none */
  readonly stage: Stage
  readonly backoffAfter: (failures: number) => Backoff
  readonly window: RetryWindow
  readonly onPause: (pause: Pause) => void
  readonly signal: AbortSignal
}

/**
 * Repeats a step that throws StepError until it succeeds. When the time is over, throws the last failure as SessionError, which says how
 * often the step was tried. Throws the reason of a signal that aborts a pause.
 */
export async function retryStep<T>(step: () => Promise<T>, retry: StepRetry): Promise<T> {
  const { stage, window, onPause, signal } = retry
  for (let failures = 1; ; failures++) {
    try {
      return await step()
    } catch (error) {
      if (!(error instanceof StepError)) throw error
      const pause = signal.aborted ? undefined : window.createPause(error.message, retry.backoffAfter(failures))
      if (pause !== undefined && (await takePause(pause, onPause, signal))) continue
      const reason = pause === undefined ? error : abortReason(signal)
      if (reason.kind === 'interrupted') throw sessionErrorOf(stage, reason)
      const failure = error instanceof SessionError ? error : sessionErrorOf(stage, error)
      throw failure.withMessage(endMessage(error.message, window, failures, signal))
    }
  }
}

/** Returns the message of the last failure, with the reason why no attempt follows, unless that is a signal of the user. */
export function endMessage(
  failure: string,
  window: RetryWindow,
  attempts: number,
  signal: AbortSignal,
  verb?: string,
): string {
  const reason = signal.aborted ? abortReason(signal) : undefined
  if (!window.hasLength || (reason !== undefined && reason.kind !== 'time-over')) return failure
  const isKnown = reason === undefined || failure.includes(reason.message)
  return [failure, isKnown ? '' : reason.message, window.describeEnd(attempts, verb)].filter(Boolean).join('; ')
}
