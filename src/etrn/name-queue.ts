import { EXIT } from '../errors.js'
import type { NodeName } from '../input/node-name.js'
import { SessionError } from '../smtp/errors.js'
import { type Outcome, outcomeOfError } from './outcome.js'
import { type Result, unansweredResult } from './result.js'

export class NameQueue {
  readonly #names: readonly NodeName[]
  /** Names that have not been requested, the next one last */
  readonly #waiting: NodeName[]
  /** Names that only a new session may request: theirs was lost, or had reached the server's limit. */
  readonly #requeued: NodeName[] = []
  readonly #results = new Map<NodeName, Result>()
  /** Names that got no reply because their session failed, with the reason */
  readonly #unanswered = new Map<NodeName, SessionError>()
  /** Those of them that were sent */
  readonly #sent = new Set<NodeName>()
  /** The reason why no further name is sent, and the outcome of the names that were not sent */
  #end: { readonly error: SessionError | null; readonly rest: Outcome } | undefined
  /** Shows an attack, or that results may belong to other names: it counts even if every name has a result. */
  #violation: SessionError | undefined

  constructor(names: readonly NodeName[]) {
    this.#names = names
    this.#waiting = names.toReversed()
  }

  /** The number of all names */
  get size(): number {
    return this.#names.length
  }

  get remaining(): number {
    return this.#end === undefined ? this.#waiting.length + this.#requeued.length : 0
  }

  /** True if another session would have nothing to send. */
  get isOver(): boolean {
    return this.#end !== undefined || this.#results.size === this.#names.length
  }

  /** True if a name waits for a new session. */
  get hasRequeued(): boolean {
    return this.#end === undefined && this.#requeued.length > 0
  }

  get hasReplies(): boolean {
    return this.#results.size > 0
  }

  /** The error that ended the request before every name had a reply, or that makes the replies doubtful */
  get error(): SessionError | null {
    if (this.#violation !== undefined) return this.#violation
    if (this.#results.size === this.#names.length) return null
    return this.#end?.error ?? [...this.#unanswered.values()][0] ?? null
  }

  /** Names that were sent and got no reply, not even a 421 */
  get unconfirmed(): NodeName[] {
    return this.#names.filter((name) => this.#sent.has(name) && this.#unanswered.get(name)?.reply === null)
  }

  /** One result for each name, in the order of the request */
  get results(): Result[] {
    return this.#names.map((name) => {
      const error = this.#unanswered.get(name)
      const outcome = error === undefined ? (this.#end?.rest ?? 'skipped') : outcomeOfError(error)
      return this.#results.get(name) ?? unansweredResult(name, outcome)
    })
  }

  /** Takes the next name for a session, or returns undefined if there is none. */
  take(isNewSession: boolean): NodeName | undefined {
    if (this.#end !== undefined) return undefined
    return (isNewSession ? this.#requeued.shift() : undefined) ?? this.#waiting.pop()
  }

  setResult(name: NodeName, result: Result): void {
    this.#unanswered.delete(name)
    this.#results.set(name, result)
  }

  /** Leaves a name to a new session, because its reply was about the session. */
  requeue(name: NodeName): void {
    this.#requeued.push(name)
  }

  /** Records why a name that was sent got no reply. */
  setUnanswered(name: NodeName, error: SessionError): void {
    this.#sent.add(name)
    this.#unanswered.set(name, error)
  }

  /** Records why the next name could not be sent. */
  setUnsent(error: SessionError): void {
    const name = this.take(true)
    if (name !== undefined) this.#unanswered.set(name, error)
  }

  /** Lets a refusal end the request that a later failure has ended, unless that shows that the server doesn't speak SMTP. */
  endByRefusal(): void {
    if (this.#violation === undefined) this.#end = { error: null, rest: 'skipped' }
  }

  /**
   * Sends no further name. The first end counts, unless a later one shows that the server doesn't speak SMTP. Only a surplus reply casts
   * doubt on the results, so no other violation replaces it.
   */
  end(error: SessionError | null, rest: Outcome): void {
    const isViolation = error?.exitStatus === EXIT.PROTOCOL
    if (this.#end === undefined || isViolation) this.#end = { error, rest }
    if (isViolation && this.#violation?.kind !== 'surplus-reply') this.#violation = error
  }
}
