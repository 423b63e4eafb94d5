import { EXIT, StepError } from '../errors.js'
import { validNames } from '../input/names-file.js'
import type { NodeName } from '../input/node-name.js'
import { abortReason } from '../net/deadline.js'
import { SessionError } from '../smtp/errors.js'
import { formatReply, isPermanent } from '../smtp/reply.js'
import type { Server } from '../smtp/session-settings.js'
import { backoffMs, createPause, type Pause, takePause } from './backoff.js'
import { isAccepted, type Result, type ServerReport } from './outcome.js'
import type { Request } from './request.js'
import { NAMES_PER_SESSION } from './session-limits.js'
import { type PoolContext, requestNames, ServerState } from './session-pool.js'

export type RetryContext = PoolContext & {
  /** When the retry policy began to count, by performance.now() */
  readonly startedAt: number
  /** Receives each pause, too. */
  readonly trace: (server: Server, event: Pause) => void
}

/**
 * Requests names from one server, over new connections each time, as long as the policy allows: those that failed temporarily, and with
 * --wait those that still have mail. A result is reported when no later round can replace it.
 */
export async function requestInRounds(request: Request, context: RetryContext): Promise<ServerReport> {
  const { server, settings } = request
  const state = new RetryState(request, context)
  const serverState = new ServerState()
  const unreported = new Set<string>(state.remaining)
  const onResult = (_: Server, result: Result): void => {
    if (state.isFinalResult(result) && unreported.delete(result.name)) context.onResult(server, result)
  }
  const onPause = (next: Pause): void => context.trace(server, next)
  let round: ServerReport
  let pause: Pause | undefined
  do {
    round = await requestNames(server, state.remaining, settings, { ...context, onResult }, serverState)
    pause = state.addRound(round)
  } while (pause !== undefined && (await takePause(pause, onPause, context.signal)))
  const report = state.reportAfter(round)
  const last = report.names.filter(({ name, code }) => code !== null && unreported.has(name))
  for (const result of last) context.onResult(server, result)
  return { ...report, elapsedMs: serverState.elapsedMs }
}

type NameState = {
  readonly result: Result
  /** True if it failed, and can still succeed. */
  readonly isFailed: boolean
  /** True if it is accepted and may still have mail. */
  readonly isWaiting: boolean
  /** True if the server ever said how much mail is waiting; undefined if it never accepted the name. */
  readonly isCounted: boolean | undefined
}

/** The results of all rounds so far, and the names that remain. */
class RetryState {
  remaining: readonly NodeName[]
  readonly #request: Request
  readonly #context: RetryContext
  /** By name, in their order. The first round gives every name a result. */
  readonly #names = new Map<string, NameState>()
  #attempts = 0
  /** Failures in a row, all of them with a reply or all without */
  #failures = 0
  #hasReplied = false

  constructor(request: Request, context: RetryContext) {
    this.remaining = validNames(request.entries)
    this.#request = request
    this.#context = context
  }

  /** Returns true if this result is no reason to request the name again. */
  isFinalResult({ name, outcome }: Result): boolean {
    const { retryForMs, waitMs } = this.#request.retryPolicy
    if (outcome === 'deferred') return retryForMs === 0 && waitMs === 0
    if (waitMs === 0 || outcome === 'empty' || !isAccepted(outcome)) return true
    // A server that replies 250 twice can't tell whether mail is waiting.
    return outcome === 'started' && this.#names.get(name)?.isCounted === false
  }

  /** Returns the pause before the next round; undefined if nothing remains to be requested, or if it would begin too late. */
  addRound(round: ServerReport): Pause | undefined {
    const { error, names } = round
    const { retryPolicy, settings } = this.#request
    const { startedAt, signal } = this.#context
    // Retries every DNS failure: just after link-up a resolver may be missing or wrong.
    const isRetriedDns = error?.stage === 'dns' && performance.now() - startedAt < retryPolicy.retryForMs
    const isDeferred = error?.exitStatus === EXIT.TEMPFAIL || names.some(({ outcome }) => outcome === 'deferred')
    const isRefused = !settings.keepGoing && names.some(({ code }) => isPermanent({ code: code ?? 0 }))
    for (const result of names) {
      const { name, outcome, code } = result
      const before = this.#names.get(name)
      const isRetriable =
        outcome === 'deferred' ? !this.isFinalResult(result) : outcome === 'failed' && code === null && isRetriedDns
      this.#names.set(name, {
        result: latestResult(before?.result, result),
        // After a refusal the skipped names would be refused, too.
        isFailed: outcome === 'skipped' ? isDeferred && !isRefused : isRetriable,
        // A round without a reply, or with a temporary failure, doesn't show that the queue is empty.
        isWaiting: code === null || outcome === 'deferred' ? before?.isWaiting === true : !this.isFinalResult(result),
        isCounted: isAccepted(outcome) ? before?.isCounted === true || outcome !== 'started' : before?.isCounted,
      })
    }
    this.#attempts += round.attempts
    const isTemporary = error === null || error.exitStatus === EXIT.TEMPFAIL || isRetriedDns
    return isTemporary && !isViolated(round) && !signal.aborted ? this.#pauseAfter(round) : undefined
  }

  reportAfter(lastRound: ServerReport): ServerReport {
    const states = [...this.#names.values()]
    // A name is accepted for the last time, and the server could never say whether mail is waiting.
    const isUnknown = states.some(({ isWaiting, result }) => !isWaiting && result.outcome === 'started')
    const isQueueUnknown = isUnknown && this.#request.retryPolicy.waitMs > 0
    const error = lastRound.error ?? this.#endError(lastRound)
    const names = states.map(({ result }) => result)
    return { ...lastRound, attempts: this.#attempts, error, isQueueUnknown, names }
  }

  #resultsWhere(flag: 'isFailed' | 'isWaiting'): Result[] {
    return [...this.#names.values()].filter((state) => state[flag]).map(({ result }) => result)
  }

  /** Returns the pause before the next round, and sets its names. */
  #pauseAfter(round: ServerReport): Pause | undefined {
    const { retryForMs, waitMs, intervalMs } = this.#request.retryPolicy
    const elapsedMs = performance.now() - this.#context.startedAt
    const failed = this.#resultsWhere('isFailed')
    const waiting = this.#resultsWhere('isWaiting')
    const hasReplied = round.greeting !== null || (round.error !== null && round.error.reply !== null)
    this.#failures = failed.length === 0 ? 0 : 1 + (hasReplied === this.#hasReplied ? this.#failures : 0)
    this.#hasReplied = hasReplied
    const retryMs = backoffMs(this.#failures, hasReplied, Math.random())
    const mayRetry = failed.length > 0 && elapsedMs + retryMs <= retryForMs
    const waitLeftMs = waitMs - elapsedMs
    if (waitLeftMs > 0 && (waiting.length > 0 || (failed.length > 0 && !mayRetry))) {
      this.#setRemaining([...failed, ...waiting])
      const reason = waiting.length > 0 ? describeWaiting(waiting) : describeFailure(round, failed)
      return createPause(reason, Math.min(intervalMs, waitLeftMs), waitLeftMs)
    }
    this.#setRemaining(failed)
    return mayRetry ? createPause(describeFailure(round, failed), retryMs, retryForMs - elapsedMs) : undefined
  }

  /** Sets the names of the next round in their order, but those without a reply come first if the others fill a session. */
  #setRemaining(results: readonly Result[]): void {
    const chosen = new Set(results.map(({ name }) => name))
    const names = validNames(this.#request.entries).filter((name) => chosen.has(name))
    const hasReply = (name: NodeName): boolean => this.#names.get(name)?.result.code !== null
    const replied = names.filter(hasReply)
    // A session in which no name is accepted ends the round.
    this.remaining =
      replied.length < NAMES_PER_SESSION ? names : [...names.filter((name) => !hasReply(name)), ...replied]
  }

  /** Returns why names remain although the last round succeeded; null if none do. */
  #endError(lastRound: ServerReport): SessionError | null {
    const { signal } = this.#context
    const failed = this.#resultsWhere('isFailed')
    const waiting = this.#resultsWhere('isWaiting')
    const { waitMs } = this.#request.retryPolicy
    const isWaitOver = waitMs > 0 && failed.length + waiting.length > 0 && !isViolated(lastRound)
    if (!isWaitOver && !(signal.aborted && failed.length > 0)) return null
    const over = new StepError('the time that --wait gives is over', { exitStatus: EXIT.TEMPFAIL, kind: 'time-over' })
    const { message, exitStatus, kind } = signal.aborted ? abortReason(signal) : over
    const text = waiting.length === 0 ? message : `${message}; ${describeWaiting(waiting)}`
    return new SessionError('etrn', text, { exitStatus, kind })
  }
}

/** Returns true if a reply has shown that the server doesn't speak SMTP. */
function isViolated({ names }: ServerReport): boolean {
  return names.some(({ outcome, code }) => outcome === 'failed' && code !== null)
}

/** Returns the result that counts: a reply stays if a later round skipped the name, or lost the connection after it was accepted. */
function latestResult(before: Result | undefined, result: Result): Result {
  if (before === undefined || before.code === null || result.code !== null) return result
  return result.outcome === 'skipped' || isAccepted(before.outcome) ? before : result
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
