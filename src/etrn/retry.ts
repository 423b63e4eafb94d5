import { EXIT, StepError } from '../errors.js'
import { validNames } from '../input/names-file.js'
import type { NodeName } from '../input/node-name.js'
import { abortReason } from '../net/deadline.js'
import { type SessionError, sessionErrorOf } from '../smtp/errors.js'
import { formatReply, isPermanent } from '../smtp/reply.js'
import type { Server } from '../smtp/session-settings.js'
import { mergeFacts, NO_FACTS } from '../smtp/trace.js'
import { backoffAfter, constantBackoff, endMessage, type Pause, RetryWindow, takePause } from './backoff.js'
import { isAccepted } from './outcome.js'
import type { Result } from './result.js'
import type { ServerReport } from './server-report.js'
import type { Request } from './request.js'
import { ServerState } from './server-state.js'
import { type PoolContext, requestNames } from './session-pool.js'

export type RetryContext = Omit<PoolContext, 'onResult'> & {
  /** When the retry policy began to count, by performance.now() */
  readonly startedAt: number
  /** When --max-time ends the run, by performance.now() */
  readonly runEndsAt?: number | undefined
  /** Receives each pause, too. */
  readonly trace: (server: Server, event: Pause) => void
  readonly onResult: (server: Server, result: Result, isRetried: boolean) => void
}

/**
 * Requests names from one server, over new connections each time, as long as the policy allows: those that failed temporarily, and with
 * --wait those that still have mail. A result is reported when no later round can replace it.
 */
export async function requestInRounds(request: Request, context: RetryContext): Promise<ServerReport> {
  const { server, settings } = request
  const serverState = new ServerState()
  const state = new RetryState(request, context, serverState)
  const unreported = new Set<string>(state.remaining)
  const report = (result: Result): void => context.onResult(server, result, isRetried(request))
  const onResult = (_: Server, result: Result): void => {
    if (state.isFinalResult(result) && unreported.delete(result.name)) report(result)
  }
  const onPause = (next: Pause): void => context.trace(server, next)
  let round: ServerReport
  let pause: Pause | undefined
  // Until a later round DNS may have changed.
  const { addresses: _, ...unresolvedServer } = server
  let nextServer: Server = server
  do {
    round = await requestNames(nextServer, state.remaining, settings, { ...context, onResult }, serverState)
    nextServer = unresolvedServer
    pause = state.addRound(round)
  } while (pause !== undefined && (await takePause(pause, onPause, context.signal)))
  const done = state.reportAfter(round)
  for (const result of done.names) if (result.code !== null && unreported.has(result.name)) report(result)
  return { ...done, elapsedMs: serverState.elapsedMs }
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
  readonly #signal: AbortSignal
  readonly #serverState: ServerState
  readonly #retryWindow: RetryWindow
  readonly #waitWindow: RetryWindow
  /** By name, in their order. The first round gives every name a result. */
  readonly #names = new Map<string, NameState>()
  /** Names that were sent and got no reply in any round since */
  readonly #unconfirmed = new Set<string>()
  readonly #sent = new Set<string>()
  /** The last round in which each name had its turn: it got a reply, or it was the first one. */
  readonly #turns = new Map<string, number>()
  #rounds = 0
  /** The failure because of which the last of them got no reply */
  #lostError: SessionError | null = null
  #facts = NO_FACTS
  #attempts = 0
  /** Failures in a row, those with a reply (true) apart from those without (false) */
  readonly #failures = new Map<boolean, number>()
  /** True if the last round ended in a way that another round might mend. */
  #mayRetry = false

  constructor(request: Request, { startedAt, runEndsAt, signal }: RetryContext, serverState: ServerState) {
    const { retryForMs, waitMs } = request.retryPolicy
    this.remaining = validNames(request.entries)
    this.#request = request
    this.#signal = signal
    this.#serverState = serverState
    this.#retryWindow = new RetryWindow(startedAt, retryForMs, runEndsAt)
    this.#waitWindow = new RetryWindow(startedAt, waitMs, runEndsAt)
  }

  /** Returns true if this result is no reason to request the name again. */
  isFinalResult({ name, outcome }: Result): boolean {
    const { waitMs } = this.#request.retryPolicy
    if (outcome === 'deferred') return !isRetried(this.#request)
    if (waitMs === 0 || outcome === 'empty' || !isAccepted(outcome)) return true
    // A server that replies 250 twice can't tell whether mail is waiting.
    return outcome === 'started' && this.#names.get(name)?.isCounted === false
  }

  /** Returns the pause before the next round; undefined if nothing remains to be requested, or if the time is over. */
  addRound(round: ServerReport): Pause | undefined {
    const { error, names } = round
    // Retries every DNS failure: just after link-up a resolver may be missing or wrong. That the server is this host is none.
    const isDns = error?.stage === 'dns' && error.kind !== 'self' && this.#retryWindow.hasLength
    const isRetriedDns = isDns && !this.#retryWindow.isOver
    const isDeferred = error?.exitStatus === EXIT.TEMPFAIL || names.some(({ outcome }) => outcome === 'deferred')
    const refused = names.filter(({ outcome, code }) => outcome !== 'deferred' && isPermanent({ code: code ?? 0 }))
    // A name that no round before had sent says nothing about the others, which the server has not refused.
    const isTurned = refused.some(({ name }) => this.#sent.has(name))
    this.#rounds++
    const unconfirmed = new Set(round.unconfirmed)
    if (unconfirmed.size > 0) this.#lostError = error
    for (const result of names) {
      const { name, outcome, code } = result
      const before = this.#names.get(name)
      const isSpared = !isTurned && this.#sent.has(name) && before?.isFailed === true
      if (unconfirmed.has(name)) this.#unconfirmed.add(name)
      else if (code !== null) this.#unconfirmed.delete(name)
      const isRetriable =
        outcome === 'deferred' ? !this.isFinalResult(result) : outcome === 'failed' && code === null && isRetriedDns
      this.#names.set(name, {
        result: latestResult(before?.result, result, this.#unconfirmed.has(name)),
        // After a refusal the skipped names would be refused, too.
        isFailed: outcome === 'skipped' ? (refused.length === 0 ? isDeferred : isSpared) : isRetriable,
        // A round without a reply, or with a temporary failure, doesn't show that the queue is empty.
        isWaiting: code === null || outcome === 'deferred' ? before?.isWaiting === true : !this.isFinalResult(result),
        isCounted: isAccepted(outcome) ? before?.isCounted === true || outcome !== 'started' : before?.isCounted,
      })
    }
    this.#addTurns(round)
    this.#facts = mergeFacts(this.#facts, round)
    this.#attempts += round.attempts
    const isTemporary = error === null || error.exitStatus === EXIT.TEMPFAIL
    this.#mayRetry = (isTemporary || isDns) && !isViolated(round)
    const isEnd = !this.#mayRetry || (!isTemporary && !isRetriedDns) || this.#signal.aborted
    return isEnd ? undefined : this.#pauseAfter(round)
  }

  reportAfter(lastRound: ServerReport): ServerReport {
    const states = [...this.#names.values()]
    // A name is accepted for the last time, and the server could never say whether mail is waiting.
    const isUnknown = states.some(({ isWaiting, result }) => !isWaiting && result.outcome === 'started')
    const isQueueUnknown = isUnknown && this.#request.retryPolicy.waitMs > 0
    const error = this.#endError(lastRound)
    const names = states.map(({ result }) => result)
    const waiting = this.#resultsWhere('isWaiting').map(({ name }) => name)
    const flags = {
      isQueueUnknown,
      isRetried: isRetried(this.#request),
      unconfirmed: [...this.#unconfirmed],
      waiting,
      turns: this.#turns,
    }
    return { ...lastRound, ...this.#facts, attempts: this.#attempts, error, ...flags, names }
  }

  #addTurns({ names, unconfirmed = [] }: ServerReport): void {
    const lost = new Set(unconfirmed)
    const sent = names.filter(({ name, code }) => code !== null || lost.has(name))
    for (const { name, code } of sent) {
      this.#sent.add(name)
      // With 421 or without a reply, the session may have ended because of the names before.
      const isAnswered = code !== null && code !== 421
      if (isAnswered || name === this.remaining[0]) this.#turns.set(name, this.#rounds)
    }
  }

  #resultsWhere(flag: 'isFailed' | 'isWaiting'): Result[] {
    return [...this.#names.values()].filter((state) => state[flag]).map(({ result }) => result)
  }

  /** Returns the pause before the next round, and sets its names. */
  #pauseAfter(round: ServerReport): Pause | undefined {
    const failed = this.#resultsWhere('isFailed')
    const waiting = this.#resultsWhere('isWaiting')
    const hasReplied = round.greeting !== null
    const failures = (this.#failures.get(hasReplied) ?? 0) + 1
    if (failed.length === 0) this.#failures.clear()
    else this.#failures.set(hasReplied, failures)
    const interval = constantBackoff(this.#request.retryPolicy.intervalMs)
    const nextWait = waiting.length === 0 ? undefined : this.#waitWindow.createPause(describeWaiting(waiting), interval)
    this.#setRemaining(nextWait === undefined ? failed : [...failed, ...waiting])
    if (nextWait !== undefined || failed.length === 0) return nextWait
    const reason = describeFailure(round, failed)
    const backoff = backoffAfter(failures, hasReplied, Math.random())
    return this.#retryWindow.createPause(reason, backoff) ?? this.#waitWindow.createPause(reason, interval)
  }

  /**
   * Sets the names of the next round: in their order, but those that had no turn for the longest time come first if a session has no room
   * for all, or if two rounds gave none to some, because the sessions never got beyond a name before them.
   */
  #setRemaining(results: readonly Result[]): void {
    const chosen = new Set(results.map(({ name }) => name))
    const names = validNames(this.#request.entries).filter((name) => chosen.has(name))
    const turnOf = (name: NodeName): number => this.#turns.get(name) ?? 0
    // A session in which no name is accepted ends the round.
    const isFull = names.filter((name) => turnOf(name) === this.#rounds).length >= this.#serverState.namesPerSession
    const isOneLeftOut = names.some((name) => turnOf(name) < this.#rounds - 1)
    this.remaining = isFull || isOneLeftOut ? names.toSorted((a, b) => turnOf(a) - turnOf(b)) : names
  }

  /** Returns the error of the last round, or why names remain although it had none; null if none do. */
  #endError(lastRound: ServerReport): SessionError | null {
    const isUnanswered = [...this.#names.values()].some(
      ({ result: { outcome, code } }) => outcome === 'deferred' && code === null,
    )
    const error = lastRound.error ?? (isUnanswered ? this.#lostError : null)
    const waiting = this.#resultsWhere('isWaiting')
    const isLeft = error !== null || waiting.length + this.#resultsWhere('isFailed').length > 0
    if (!isLeft) return null
    const reason = this.#signal.aborted ? abortReason(this.#signal) : TIME_OVER
    const failure = error ?? sessionErrorOf('etrn', reason)
    if (!isRetried(this.#request) || !this.#mayRetry) return error
    const texts = [reason === TIME_OVER && error === null ? [] : failure.message]
    if (waiting.length > 0) texts.push(describeWaiting(waiting))
    const window = this.#waitWindow.hasLength ? this.#waitWindow : this.#retryWindow
    const isOnlyWaiting = reason === TIME_OVER && error === null && waiting.length > 0
    const verb = isOnlyWaiting ? 'stopped waiting' : undefined
    const message = endMessage(texts.flat().join('; '), window, this.#attempts, this.#signal, verb)
    return failure.withMessage(message, isOnlyWaiting ? waitingHint(this.#request, waiting) : failure.hint)
  }
}

const TIME_OVER = new StepError('the time for retries has run out', { exitStatus: EXIT.TEMPFAIL, kind: 'time-over' })

/** Returns true if temporary failures are retried. */
export function isRetried({ retryPolicy: { retryForMs, waitMs } }: Pick<Request, 'retryPolicy'>): boolean {
  return retryForMs > 0 || waitMs > 0
}

/** Returns true if a reply has shown that the server doesn't speak SMTP. */
function isViolated({ names }: ServerReport): boolean {
  return names.some(({ outcome, code }) => outcome === 'failed' && code !== null)
}

/** Returns the result that counts: the newest, but an accepted name stays so if a later round brought no reply. */
function latestResult(before: Result | undefined, result: Result, isUnconfirmed: boolean): Result {
  if (before === undefined || result.code !== null) return result
  // Skipping a name doesn't undo that it was sent.
  return isAccepted(before.outcome) || (isUnconfirmed && result.outcome === 'skipped') ? before : result
}

function describeFailure({ error }: ServerReport, [first]: readonly Result[]): string {
  if (error !== null || first === undefined) return error?.message ?? ''
  const { name, code, enhancedCode, text } = first
  if (code === null) return `no reply for ${name}`
  return `${name} deferred (${formatReply({ code, enhancedCode, text: text ?? '' })})`
}

function waitingHint({ server }: Request, [first]: readonly Result[]): string {
  const command = `etrn --check ${server.word} ${first?.name ?? ''}`
  return `the delivery may still be under way: a longer --wait waits longer; if the number of messages stays the same, run ${command} to see whether your own mail server accepts mail`
}

/** Returns how much mail is waiting, as far as the server counts it: `site.example: 14 messages waiting`. */
function describeWaiting(waiting: readonly Result[]): string {
  const [first] = waiting
  const counts = waiting.map(({ pending }) => pending)
  const total = counts.reduce<number>((sum, count) => sum + (count ?? 0), 0)
  const messages = total === 1 ? '1 message' : `${total} messages`
  const text = counts.includes(null)
    ? total === 0
      ? 'mail may be waiting'
      : `at least ${messages} waiting`
    : `${messages} waiting`
  return `${waiting.length === 1 ? (first?.name ?? '') : `${waiting.length} names`}: ${text}`
}
