import { EXIT } from '../errors.js'
import type { NodeName } from '../input/node-name.js'
import { abortReason } from '../net/deadline.js'
import { SessionError } from '../smtp/errors.js'
import { formatReply } from '../smtp/reply.js'
import type { Server } from '../smtp/session.js'
import type { TraceEvent } from '../smtp/trace.js'
import { sleep, type Pause, describePause, backoffMs } from './backoff.js'
import { isAccepted, type Result } from './outcome.js'
import type { RetryPolicy } from './request.js'
import type { ServerReport } from './server-report.js'
import { NAMES_PER_SESSION } from './session-limits.js'
import { ServerState, requestNames, type PoolOptions, type Limiter } from './session-pool.js'

export type RetryOptions = PoolOptions & {
  readonly retryPolicy: RetryPolicy
  /** When patience began, by performance.now() */
  readonly began: number
  /** Told of the pauses, too */
  readonly trace: (server: Server, event: TraceEvent | Pause, session?: number) => void
}

/**
 * Asks one server again and again as far as patience goes, each time over new connections: for what failed temporarily, and with
 * --wait until nothing is left. A result is told when no later answer can take its place.
 */
export async function requestWithRetries(
  server: Server,
  names: readonly NodeName[],
  o: RetryOptions,
): Promise<ServerReport> {
  const answers = new RetryState(o)
  const acquaintance = new ServerState()
  const backOff = new Backoff()
  const told = new Set<string>()
  const tell = (result: Result): void => {
    if (!told.has(result.name)) o.onResult(server, result)
    told.add(result.name)
  }
  let left = names
  let attempts = 0
  let started: number | undefined
  const onResult = (_: Server, result: Result): void => {
    if (answers.isFinalResult(result)) tell(result)
  }
  const turn: Limiter = async (work) =>
    o.limiter(async () => {
      started ??= performance.now()
      return work()
    })
  for (;;) {
    const round = await requestNames(server, left, { ...o, limiter: turn, onResult }, acquaintance)
    attempts += round.attempts
    answers.addRound(round)
    const isEnded = isPermanentFailure(round, answers.isRetrying)
    const next = isEnded || o.signal.aborted ? undefined : nextRound(round, answers, backOff, o)
    if (next !== undefined) {
      o.trace(server, next.pause)
      await sleep(next.pause, o.signal)
      left = answers.orderNames(names.filter((name) => next.names.has(name)))
      if (!o.signal.aborted) continue
    }
    const { results, isQueueUnknown } = answers
    for (const result of results) if (result.code !== null) tell(result)
    const ended = performance.now()
    const elapsedMs = Math.round(ended - (started ?? ended))
    const error = round.error ?? endError(answers, isEnded, o)
    return { ...round, attempts, elapsedMs, error, isQueueUnknown, names: results }
  }
}

/** What all rounds so far have come to for one name. */
type NameState = {
  readonly result: Result
  /** It failed, and can still succeed. */
  readonly isFailed: boolean
  /** It is accepted, but not empty yet. */
  readonly isWaiting: boolean
  /** Whether the server ever said what is left; undefined: it never accepted the name. */
  readonly isCounted: boolean | undefined
}

/** What all rounds so far have come to, and leave to do. */
class RetryState {
  readonly #o: RetryOptions
  /** In the order of the names, each of which has a result from the first round on */
  readonly #known = new Map<string, NameState>()

  constructor(o: RetryOptions) {
    this.#o = o
  }

  get results(): Result[] {
    return this.#resultsWhere(() => true)
  }

  get failed(): Result[] {
    return this.#resultsWhere(({ isFailed }) => isFailed)
  }

  get waiting(): Result[] {
    return this.#resultsWhere(({ isWaiting }) => isWaiting)
  }

  /** A name was accepted for the last time, and the server could never say what is left. */
  get isQueueUnknown(): boolean {
    const { waitMs } = this.#o.retryPolicy
    return waitMs > 0 && this.#resultsWhere(({ isWaiting }) => !isWaiting).some(({ outcome }) => outcome === 'started')
  }

  /** The time of --retry-for is not over. */
  get isRetrying(): boolean {
    return performance.now() - this.#o.began < this.#o.retryPolicy.retryForMs
  }

  /** Whether the name will not be asked for again because of this answer. */
  isFinalResult({ name, outcome }: Result): boolean {
    const { retryForMs, waitMs } = this.#o.retryPolicy
    if (outcome === 'deferred') return retryForMs === 0 && waitMs === 0
    if (waitMs === 0 || outcome === 'empty' || !isAccepted(outcome)) return true
    // Twice the same 250: such a server can't tell whether anything is left.
    return outcome === 'started' && this.#known.get(name)?.isCounted === false
  }

  /** Where those that were reached fill a session, the others come first: it may end again with none accepted. */
  orderNames(names: readonly NodeName[]): NodeName[] {
    const isReached = (name: NodeName): boolean => this.#known.get(name)?.result.code !== null
    const reached = names.filter(isReached)
    return reached.length < NAMES_PER_SESSION ? [...names] : [...names.filter((name) => !isReached(name)), ...reached]
  }

  addRound(round: ServerReport): void {
    const isPassing = this.#mayRetrySkipped(round)
    for (const result of round.names) {
      const { name, outcome, code } = result
      const before = this.#known.get(name)
      this.#known.set(name, {
        result: latestResult(before?.result, result),
        isFailed: outcome === 'skipped' ? isPassing : this.#canSucceed(result, round),
        // A later round that gave no answer, or a temporary one, empties nothing.
        isWaiting: code === null || outcome === 'deferred' ? before?.isWaiting === true : !this.isFinalResult(result),
        isCounted: isAccepted(outcome) ? before?.isCounted === true || outcome !== 'started' : before?.isCounted,
      })
    }
  }

  #resultsWhere(isOne: (known: NameState) => boolean): Result[] {
    return [...this.#known.values()].filter(isOne).map(({ result }) => result)
  }

  #canSucceed(result: Result, { error }: ServerReport): boolean {
    const { outcome, code } = result
    if (outcome === 'deferred') return !this.isFinalResult(result)
    // In a hook the resolver may come later, and until then say what it likes.
    return outcome === 'failed' && code === null && error?.stage === 'dns' && this.isRetrying
  }

  /** Whether what a round skipped may be asked for: behind refusals alone it would only be refused, too. */
  #mayRetrySkipped({ error, names }: ServerReport): boolean {
    const isTemporary = error?.exitStatus === EXIT.TEMPFAIL || names.some(({ outcome }) => outcome === 'deferred')
    return isTemporary && !names.some(({ code }) => (code ?? 0) >= 500 && !this.#o.keepGoing)
  }
}

/** Whether a round ended the exchange with this server for good: what it says isn't SMTP, or it will never let us in. */
function isPermanentFailure({ error, names }: ServerReport, isRetrying: boolean): boolean {
  if (names.some(({ outcome, code }) => outcome === 'failed' && code !== null)) return true
  const mayPass = error === null || error.exitStatus === EXIT.TEMPFAIL || (error.stage === 'dns' && isRetrying)
  return !mayPass
}

/** An answer stays where a later round gave none: what was accepted, and what was said of a name before it was passed over. */
function latestResult(before: Result | undefined, result: Result): Result {
  if (before === undefined || before.code === null || result.code !== null) return result
  return result.outcome === 'skipped' || isAccepted(before.outcome) ? before : result
}

/** How it goes on; undefined: not at all, since nothing is left, or the next time would be too late. */
function nextRound(
  round: ServerReport,
  { failed, waiting }: RetryState,
  backOff: Backoff,
  { retryPolicy: patience, began }: RetryOptions,
): { readonly pause: Pause; readonly names: ReadonlySet<string> } | undefined {
  const elapsedMs = performance.now() - began
  const next = (reason: string, pauseMs: number, limitMs: number, results: readonly Result[]) => ({
    pause: describePause(reason, pauseMs, limitMs - elapsedMs),
    names: new Set(results.map(({ name }) => name)),
  })
  const retryMs = backOff.after(round, failed.length > 0)
  const mayRetry = failed.length > 0 && elapsedMs + retryMs <= patience.retryForMs
  const waitLeftMs = patience.waitMs - elapsedMs
  if (waitLeftMs > 0 && (waiting.length > 0 || (failed.length > 0 && !mayRetry))) {
    const reason = waiting.length > 0 ? describeWaiting(waiting) : describeFailure(round, failed)
    return next(reason, Math.min(patience.intervalMs, waitLeftMs), patience.waitMs, [...failed, ...waiting])
  }
  return mayRetry ? next(describeFailure(round, failed), retryMs, patience.retryForMs, failed) : undefined
}

/** Why names are left though the last round went well. */
function endError(
  { failed, waiting }: RetryState,
  isEnded: boolean,
  { signal, retryPolicy: patience }: RetryOptions,
): SessionError | null {
  const isOver = patience.waitMs > 0 && failed.length + waiting.length > 0 && !isEnded
  if (!isOver && !(signal.aborted && failed.length > 0)) return null
  const over = { message: 'the time that --wait gives is over', exitStatus: EXIT.TEMPFAIL, kind: 'time-over' } as const
  const reason = signal.aborted ? abortReason(signal) : over
  const message = waiting.length === 0 ? reason.message : `${reason.message}; ${describeWaiting(waiting)}`
  return new SessionError('etrn', message, reason)
}

class Backoff {
  #failures = 0
  #wasAnswered = false

  /** Counts a round, and says how long to wait after it. A server that speaks is left in peace for longer. */
  after({ greeting, error }: ServerReport, isFailure: boolean): number {
    const isAnswered = greeting !== null || (error !== null && error.reply !== null)
    this.#failures = isFailure ? 1 + (isAnswered === this.#wasAnswered ? this.#failures : 0) : 0
    this.#wasAnswered = isAnswered
    return backoffMs(this.#failures, isAnswered, Math.random())
  }
}

function describeFailure({ error }: ServerReport, [first]: readonly Result[]): string {
  if (error !== null) return error.message
  return first === undefined ? '' : `${first.name}: ${describeReply(first)}`
}

function describeReply({ code, enhancedCode, text }: Result): string {
  return code === null ? 'no answer' : formatReply({ code, enhancedCode, text: text ?? '' })
}

/** What waits, as far as the server counts it */
function describeWaiting(waiting: readonly Result[]): string {
  const [first] = waiting
  const counts = waiting.map(({ pending }) => pending)
  const total = counts.reduce<number>((sum, count) => sum + (count ?? 0), 0)
  const messages = total === 1 ? '1 message' : `${total} messages`
  const what = counts.includes(null)
    ? `${total === 0 ? 'mail' : `${messages} or more`} may be left`
    : `${messages} left`
  return `${waiting.length === 1 ? (first?.name ?? '') : `${waiting.length} names`}: ${what}`
}
