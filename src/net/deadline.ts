import { EXIT, StepError } from '../errors.js'
import { formatDuration } from './duration.js'

/** The longest timer, 24 days: the platform counts milliseconds in 31 bits. */
export const MAX_TIMER_MS = 24 * 24 * 3_600_000

export type Limits = {
  readonly timeoutMs: number
  /** Aborts the step. If its reason is a StepError, the step fails with that one. */
  readonly signal: AbortSignal
}

/** The default of --timeout. A shorter one may be the reason for a timeout. */
const AMPLE_TIMEOUT_MS = 60_000

/** Returns true if a longer --timeout may help. */
export function isShortTimeout(timeoutMs: number): boolean {
  return timeoutMs < AMPLE_TIMEOUT_MS
}

/** The failure of a step that took too long, as far as the step describes it */
export type Timeout = { readonly message: string; readonly hint?: string | undefined }

/**
 * Calls `end` once: with the failure that `describe` returns, when the timeout is over, or with the reason when the signal aborts, at
 * once if it has already aborted. `describe` gets `within 1.5s`. Returns a function that cancels the deadline and may be called again.
 */
export function startDeadline(
  { timeoutMs, signal }: Limits,
  describe: (within: string) => Timeout,
  end: (reason: StepError) => void,
): () => void {
  let turn: NodeJS.Immediate | undefined
  const expire = (): void => {
    const { message, hint } = describe(`within ${formatDuration(timeoutMs)}`)
    finish(new StepError(message, { exitStatus: EXIT.TEMPFAIL, kind: 'timeout', hint }))
  }
  // If another session has held up this process, what has arrived in time is read first.
  const timer = setTimeout(() => (turn = setImmediate(expire)), timeoutMs)
  const onAbort = (): void => finish(abortReason(signal))
  const cancel = (): void => {
    clearTimeout(timer)
    clearImmediate(turn)
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
  return reason instanceof StepError
    ? reason
    : new StepError('aborted by the caller', { exitStatus: EXIT.TEMPFAIL, cause: reason })
}
