import { EXIT } from '../errors.js'
import type { NodeName } from '../input/node-name.js'
import { isPermanent } from '../smtp/reply.js'
import { isAccepted, type Result, type ServerReport } from './outcome.js'
import type { RetryPolicy } from './request.js'
import { NAMES_PER_SESSION } from './session-limits.js'

/** What all rounds so far have shown about one name. */
type NameState = {
  readonly result: Result
  /** True if it failed, and can still succeed. */
  readonly isFailed: boolean
  /** True if it is accepted and may still have mail. */
  readonly isWaiting: boolean
  /** True if the server ever said how much mail is waiting; undefined if it never accepted the name. */
  readonly isCounted: boolean | undefined
}

/** What all rounds so far have shown, and what they leave to do. */
export class RetryState {
  readonly #policy: RetryPolicy & { readonly keepGoing: boolean; readonly startedAt: number }
  /** By name, in their order. The first round gives every name a result. */
  readonly #names = new Map<string, NameState>()

  constructor(policy: RetryPolicy, keepGoing: boolean, startedAt: number) {
    this.#policy = { ...policy, keepGoing, startedAt }
  }

  get elapsedMs(): number {
    return performance.now() - this.#policy.startedAt
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

  /** True if a name is accepted for the last time, and the server could never say whether mail is waiting. */
  get isQueueUnknown(): boolean {
    if (this.#policy.waitMs === 0) return false
    return this.#resultsWhere(({ isWaiting }) => !isWaiting).some(({ outcome }) => outcome === 'started')
  }

  /** True until the time of --retry-for is over. */
  get isRetrying(): boolean {
    return this.elapsedMs < this.#policy.retryForMs
  }

  /** Returns true if this result is no reason to request the name again. */
  isFinalResult({ name, outcome }: Result): boolean {
    const { retryForMs, waitMs } = this.#policy
    if (outcome === 'deferred') return retryForMs === 0 && waitMs === 0
    if (waitMs === 0 || outcome === 'empty' || !isAccepted(outcome)) return true
    // A server that replies 250 twice can't tell whether mail is waiting.
    return outcome === 'started' && this.#names.get(name)?.isCounted === false
  }

  /** Returns the names in the order of the next round: those without a reply come first if the others fill a session. */
  orderNames(names: readonly NodeName[]): NodeName[] {
    const hasReply = (name: NodeName): boolean => this.#names.get(name)?.result.code !== null
    const replied = names.filter(hasReply)
    // A session in which no name is accepted ends the round.
    return replied.length < NAMES_PER_SESSION ? [...names] : [...names.filter((name) => !hasReply(name)), ...replied]
  }

  addRound(round: ServerReport): void {
    const mayRetrySkipped = this.#mayRetrySkipped(round)
    for (const result of round.names) {
      const { name, outcome, code } = result
      const before = this.#names.get(name)
      this.#names.set(name, {
        result: latestResult(before?.result, result),
        isFailed: outcome === 'skipped' ? mayRetrySkipped : this.#canSucceed(result, round),
        // A round without a reply, or with a temporary failure, doesn't show that the queue is empty.
        isWaiting: code === null || outcome === 'deferred' ? before?.isWaiting === true : !this.isFinalResult(result),
        isCounted: isAccepted(outcome) ? before?.isCounted === true || outcome !== 'started' : before?.isCounted,
      })
    }
  }

  #resultsWhere(test: (state: NameState) => boolean): Result[] {
    return [...this.#names.values()].filter(test).map(({ result }) => result)
  }

  #canSucceed(result: Result, { error }: ServerReport): boolean {
    const { outcome, code } = result
    if (outcome === 'deferred') return !this.isFinalResult(result)
    // Retries every DNS failure: just after link-up a resolver may be missing or wrong.
    return outcome === 'failed' && code === null && error?.stage === 'dns' && this.isRetrying
  }

  /** Skipped names are retried after a temporary failure. After a refusal they would be refused, too. */
  #mayRetrySkipped({ error, names }: ServerReport): boolean {
    const isTemporary = error?.exitStatus === EXIT.TEMPFAIL || names.some(({ outcome }) => outcome === 'deferred')
    return isTemporary && !names.some(({ code }) => isPermanent({ code: code ?? 0 }) && !this.#policy.keepGoing)
  }
}

/** Returns the result that counts: a reply stays if a later round skipped the name, or lost the connection after it was accepted. */
function latestResult(before: Result | undefined, result: Result): Result {
  if (before === undefined || before.code === null || result.code !== null) return result
  return result.outcome === 'skipped' || isAccepted(before.outcome) ? before : result
}
