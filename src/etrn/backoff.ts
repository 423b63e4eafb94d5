import { StepError } from '../errors.js'
import { abortReason, startDeadline } from '../net/deadline.js'

/** A pause between attempts; the text says why it is made and when it ends. */
export type Pause = { readonly type: 'pause'; readonly text: string; readonly pauseMs: number }

/** Pauses after failures grow within these bounds. A server that replied gets longer ones. */
const BACKOFF_BOUNDS = {
  silence: { leastMs: 1000, mostMs: 30_000 },
  reply: { leastMs: 10_000, mostMs: 300_000 },
} as const

/** Returns the pause after a number of failures in a row, 1 or more: it doubles each time, with jitter (0 to 1) of up to twice that. */
export function backoffMs(failures: number, hasReplied: boolean, jitter: number): number {
  const { leastMs, mostMs } = hasReplied ? BACKOFF_BOUNDS.reply : BACKOFF_BOUNDS.silence
  return Math.min(mostMs, leastMs * 2 ** (failures - 1) * (1 + jitter))
}

/** Returns a pause; `leftMs` is the time after which nothing is retried any more. */
export function createPause(reason: string, pauseMs: number, leftMs: number): Pause {
  const clock = (ms: number): string => new Date(Date.now() + ms).toTimeString().slice(0, 8)
  return { type: 'pause', text: `${reason}; again at ${clock(pauseMs)}, until ${clock(leftMs)}`, pauseMs }
}

/** Runs attempts with the pauses that they return, until one returns none or the signal aborts. */
export async function repeat(
  attempt: () => Promise<Pause | undefined>,
  onPause: (pause: Pause) => void,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    const pause = await attempt()
    if (pause === undefined) return
    onPause(pause)
    await sleep(pause.pauseMs, signal)
    if (signal.aborted) return
  }
}

export type StepRetry = {
  readonly pauseMs: (failures: number) => number
  /** The time that is left for retries, in milliseconds */
  readonly leftMs: () => number
  readonly onPause: (pause: Pause) => void
  readonly signal: AbortSignal
}

/** Repeats a step that throws StepError until it succeeds. Throws its error if the next pause would outlast the time. */
export async function retryStep<T>(
  step: () => Promise<T>,
  { pauseMs, leftMs, onPause, signal }: StepRetry,
): Promise<T> {
  let success: { readonly result: T } | undefined
  let failures = 0
  const attempt = async (): Promise<Pause | undefined> => {
    try {
      success = { result: await step() }
      return undefined
    } catch (error) {
      const next = pauseMs(++failures)
      const left = leftMs()
      if (!(error instanceof StepError) || signal.aborted || next > left) throw error
      return createPause(error.message, next, left)
    }
  }
  await repeat(attempt, onPause, signal)
  if (success === undefined) throw abortReason(signal)
  return success.result
}

/** Sleeps for a time, or until the signal aborts. Never throws. */
async function sleep(timeoutMs: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => startDeadline({ timeoutMs, signal }, '', () => resolve()))
}
