import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'

type Attempt<T> = () => Promise<T>

/**
 * Runs attempts until one succeeds: each next one starts as soon as the one before it fails, or beside it after the delay. Attempts that
 * still run are the caller's to end. Throws an AggregateError with the errors in the order of the attempts, or the signal's reason.
 */
export async function race<T>(attempts: readonly Attempt<T>[], delayMs: number, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  const won = new AbortController()
  const over = AbortSignal.any([signal, won.signal])
  // There are as many listeners as attempts.
  setMaxListeners(0, over)
  // An attempt may wait for something else than the signal.
  // Node 20 keeps a combined signal as long as it has a listener, even after it has aborted.
  const aborted = new Promise<never>((_, reject) =>
    over.addEventListener('abort', () => reject(over.reason as Error), { once: true }),
  )
  try {
    return await Promise.race([raceFrom(attempts, delayMs, over), aborted])
  } finally {
    won.abort()
  }
}

async function raceFrom<T>(
  [start, ...others]: readonly Attempt<T>[],
  delayMs: number,
  signal: AbortSignal,
): Promise<T> {
  signal.throwIfAborted()
  if (start === undefined) throw new AggregateError([])
  const first = start()
  const failure = new Promise<void>((resolve) => void first.catch(resolve))
  const pause = Promise.race([failure, sleep(delayMs, undefined, { signal })])
  try {
    return await Promise.any([first, pause.then(async () => raceFrom(others, delayMs, signal))])
  } catch (error) {
    throw new AggregateError(errorsOf(error).flatMap(errorsOf))
  }
}

/** Returns the errors of a race that has failed; any other error as it is. */
export function errorsOf(error: unknown): unknown[] {
  return error instanceof AggregateError ? error.errors : [error]
}
