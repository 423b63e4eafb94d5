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

/** Reports a pause, and sleeps until it is over or the signal aborts. Returns false if the signal has aborted. Never throws. */
export async function takePause(pause: Pause, onPause: (pause: Pause) => void, signal: AbortSignal): Promise<boolean> {
  onPause(pause)
  const limits = { timeoutMs: pause.pauseMs, signal }
  await new Promise<void>((resolve) => startDeadline(limits, '', () => resolve()))
  return !signal.aborted
}

type StepRetry = {
  readonly pauseMs: (failures: number) => number
  /** When the last attempt must start, by performance.now() */
  readonly endsAt: number
  readonly onPause: (pause: Pause) => void
  readonly signal: AbortSignal
}

/** Repeats a step that throws StepError until it succeeds. Throws its error if the next pause would outlast the time. */
export async function retryStep<T>(step: () => Promise<T>, retry: StepRetry): Promise<T> {
  const { endsAt, onPause, signal } = retry
  for (let failures = 1; ; failures++) {
    try {
      return await step()
    } catch (error) {
      const pauseMs = retry.pauseMs(failures)
      const leftMs = endsAt - performance.now()
      if (!(error instanceof StepError) || signal.aborted || pauseMs > leftMs) throw error
      if (!(await takePause(createPause(error.message, pauseMs, leftMs), onPause, signal))) throw abortReason(signal)
    }
  }
}
