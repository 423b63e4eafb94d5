import { EXIT } from '../errors.js'
import type { NodeName } from '../input/node-name.js'
import { abortReason } from '../net/deadline.js'
import { SessionError } from '../smtp/errors.js'
import { formatReply } from '../smtp/reply.js'
import type { Server } from '../smtp/session-settings.js'
import { backoffMs, createPause, type Pause, repeat } from './backoff.js'
import type { Result, ServerReport } from './outcome.js'
import type { RequestSettings, RetryPolicy } from './request.js'
import { RetryState } from './retry-state.js'
import { type PoolContext, requestNames, ServerState } from './session-pool.js'

export type RetryContext = PoolContext & {
  /** When the retry policy began to count, by performance.now() */
  readonly startedAt: number
  readonly onPause: (pause: Pause) => void
}

/**
 * Requests names from one server, over new connections each time, as long as the policy allows: those that failed temporarily, and with
 * --wait those that still have mail. A result is reported when no later round can replace it.
 */
export async function requestWithRetries(
  server: Server,
  names: readonly NodeName[],
  settings: RequestSettings,
  policy: RetryPolicy,
  context: RetryContext,
): Promise<ServerReport> {
  const state = new RetryState(policy, settings.keepGoing, context.startedAt)
  const serverState = new ServerState()
  const backoff = new Backoff()
  const reported = new Set<string>()
  const reportOnce = (result: Result): void => {
    if (!reported.has(result.name)) context.onResult(server, result)
    reported.add(result.name)
  }
  const onResult = (_: Server, result: Result): void => {
    if (state.isFinalResult(result)) reportOnce(result)
  }
  let remaining = names
  let attempts = 0
  let isOver = false
  // repeat runs one round at least.
  let report!: ServerReport
  const round = async (): Promise<Pause | undefined> => {
    report = await requestNames(server, remaining, settings, { ...context, onResult }, serverState)
    attempts += report.attempts
    state.addRound(report)
    isOver = isPermanentFailure(report, state.isRetrying)
    const next = isOver || context.signal.aborted ? undefined : nextRound(report, state, backoff, policy)
    remaining = state.orderNames(names.filter((name) => next?.names.has(name)))
    return next?.pause
  }
  await repeat(round, context.onPause, context.signal)
  for (const result of state.results) if (result.code !== null) reportOnce(result)
  const error = report.error ?? endError(state, isOver, policy, context.signal)
  const { results, isQueueUnknown } = state
  return { ...report, attempts, elapsedMs: serverState.elapsedMs, error, isQueueUnknown, names: results }
}

/** Returns true if a round ended the request for good: the server doesn't speak SMTP, or will never accept this host. */
function isPermanentFailure({ error, names }: ServerReport, isRetrying: boolean): boolean {
  if (names.some(({ outcome, code }) => outcome === 'failed' && code !== null)) return true
  const isTemporary = error === null || error.exitStatus === EXIT.TEMPFAIL || (error.stage === 'dns' && isRetrying)
  return !isTemporary
}

/** Returns the next round; undefined if nothing remains to be requested, or if it would begin too late. */
function nextRound(
  report: ServerReport,
  { failed, waiting, elapsedMs }: RetryState,
  backoff: Backoff,
  { retryForMs, waitMs, intervalMs }: RetryPolicy,
): { readonly pause: Pause; readonly names: ReadonlySet<string> } | undefined {
  const after = (reason: string, pauseMs: number, limitMs: number, results: readonly Result[]) => ({
    pause: createPause(reason, pauseMs, limitMs - elapsedMs),
    names: new Set(results.map(({ name }) => name)),
  })
  const retryMs = backoff.pauseAfter(report, failed.length > 0)
  const mayRetry = failed.length > 0 && elapsedMs + retryMs <= retryForMs
  const waitLeftMs = waitMs - elapsedMs
  if (waitLeftMs > 0 && (waiting.length > 0 || (failed.length > 0 && !mayRetry))) {
    const reason = waiting.length > 0 ? describeWaiting(waiting) : describeFailure(report, failed)
    return after(reason, Math.min(intervalMs, waitLeftMs), waitMs, [...failed, ...waiting])
  }
  return mayRetry ? after(describeFailure(report, failed), retryMs, retryForMs, failed) : undefined
}

/** Returns why names remain although the last round succeeded; null if none do. */
function endError(
  { failed, waiting }: RetryState,
  isOver: boolean,
  { waitMs }: RetryPolicy,
  signal: AbortSignal,
): SessionError | null {
  const isWaitOver = waitMs > 0 && failed.length + waiting.length > 0 && !isOver
  if (!isWaitOver && !(signal.aborted && failed.length > 0)) return null
  const over = { message: 'the time that --wait gives is over', exitStatus: EXIT.TEMPFAIL, kind: 'time-over' } as const
  const { message, exitStatus, kind } = signal.aborted ? abortReason(signal) : over
  const text = waiting.length === 0 ? message : `${message}; ${describeWaiting(waiting)}`
  return new SessionError('etrn', text, { exitStatus, kind })
}

/** Counts the failures in a row of one server. */
class Backoff {
  #failures = 0
  #hasReplied = false

  /** Counts a round, and returns the pause after it in milliseconds. */
  pauseAfter({ greeting, error }: ServerReport, isFailure: boolean): number {
    const hasReplied = greeting !== null || (error !== null && error.reply !== null)
    this.#failures = isFailure ? 1 + (hasReplied === this.#hasReplied ? this.#failures : 0) : 0
    this.#hasReplied = hasReplied
    return backoffMs(this.#failures, hasReplied, Math.random())
  }
}

function describeFailure({ error }: ServerReport, [first]: readonly Result[]): string {
  if (error !== null || first === undefined) return error?.message ?? ''
  const { name, code, enhancedCode, text } = first
  return `${name}: ${code === null ? 'no answer' : formatReply({ code, enhancedCode, text: text ?? '' })}`
}

/** Returns how many messages are waiting, as far as the server counts them. */
function describeWaiting(waiting: readonly Result[]): string {
  const [first] = waiting
  const counts = waiting.map(({ pending }) => pending)
  const total = counts.reduce<number>((sum, count) => sum + (count ?? 0), 0)
  const messages = total === 1 ? '1 message' : `${total} messages`
  const text = counts.includes(null)
    ? `${total === 0 ? 'mail' : `${messages} or more`} may be left`
    : `${messages} left`
  return `${waiting.length === 1 ? (first?.name ?? '') : `${waiting.length} names`}: ${text}`
}
