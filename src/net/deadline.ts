import { EXIT, StepError } from '../errors.js'
import { formatDuration } from './duration.js'

/** The longest timer, 24 days: the platform counts milliseconds in 31 bits. */
export const MAX_TIMER_MS = 24 * 24 * 3_600_000

export type Limits = {
  readonly timeoutMs: number
  /** Aborts the step. If its reason is a StepError, the step fails with that one. */
  readonly signal: AbortSignal
}

/**
 * Calls `end` once: with a failure that says what is missing, `no connection within 1.5s`, when the timeout is over, or with the reason
 * when the signal aborts, at once if it has already aborted. Returns a function that cancels the deadline and may be called again.
 */
export function startDeadline(
  { timeoutMs, signal }: Limits,
  missing: string,
  end: (reason: StepError) => void,
  hint?: string,
): () => void {
  const timer = setTimeout(() => {
    const message = `${missing} within ${formatDuration(timeoutMs)}`
    finish(new StepError(message, { exitStatus: EXIT.TEMPFAIL, kind: 'timeout', hint }))
  }, timeoutMs)
  const onAbort = (): void => finish(abortReason(signal))
  const cancel = (): void => {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
  }
  const finish = (reason: StepError): void => {
    cancel()
    end(reason)
  }
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()
  return cancel
}

export function abortReason(signal: AbortSignal): StepError {
  const reason: unknown = signal.reason
  return reason instanceof StepError ? reason : new StepError('aborted', { exitStatus: EXIT.TEMPFAIL, cause: reason })
}
