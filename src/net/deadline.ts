import { EXIT, StepError } from '../errors.js'

export const DEFAULT_TIMEOUT_MS = 60_000

/** A timer of the platform holds 31 bits of milliseconds; this is 24 days. */
export const MAX_TIMER_MS = 24 * 24 * 3_600_000

export type Limits = {
  /** Longest wait for one step, in milliseconds */
  readonly timeoutMs: number
  /** Ends everything; its reason is best a StepError, which then tells the exit status. */
  readonly signal: AbortSignal
}

/**
 * Calls `end` once, when the time is over (75, with this message) or the signal aborts, at once if it has. Returns what calls
 * the deadline off; that may be called again.
 */
export function startDeadline(
  { timeoutMs, signal }: Limits,
  message: string,
  end: (reason: StepError) => void,
): () => void {
  const timer = setTimeout(() => finish(new StepError(message, { exitStatus: EXIT.TEMPFAIL })), timeoutMs)
  const aborted = (): void => finish(abortReason(signal))
  const callOff = (): void => {
    clearTimeout(timer)
    signal.removeEventListener('abort', aborted)
  }
  const finish = (reason: StepError): void => {
    callOff()
    end(reason)
  }
  signal.addEventListener('abort', aborted)
  if (signal.aborted) aborted()
  return callOff
}

/** `60s`, `1.5s`: milliseconds as messages have them. */
export function formatSeconds(ms: number): string {
  return `${ms / 1000}s`
}

/** Why a signal aborted, as a failure of a step. */
export function abortReason(signal: AbortSignal): StepError {
  const reason: unknown = signal.reason
  return reason instanceof StepError ? reason : new StepError('aborted', { exitStatus: EXIT.TEMPFAIL, cause: reason })
}
