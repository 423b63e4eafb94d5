import { EXIT } from '../errors.js'
import type { NodeName } from '../input/node-name.js'
import { SessionError } from '../smtp/errors.js'
import { type Outcome, outcomeOfError, type Result, unansweredResult } from './outcome.js'

/** The names of one server, in one queue, and what becomes of each. */
export class NameQueue {
  readonly #names: readonly NodeName[]
  /** Names that nobody has asked for yet, the next one last */
  readonly #waiting: NodeName[]
  /** Names that took their sessions with them: for new sessions alone */
  readonly #requeued: NodeName[] = []
  readonly #results = new Map<NodeName, Result>()
  /** Names that have gone out without a reply, and what took it */
  readonly #unanswered = new Map<NodeName, SessionError>()
  /** How it ended for those that were not asked for */
  #end: { readonly error: SessionError | null; readonly rest: Outcome } | undefined

  constructor(names: readonly NodeName[]) {
    this.#names = names
    this.#waiting = names.toReversed()
  }

  /** Names to ask for still */
  get remaining(): number {
    return this.#end === undefined ? this.#waiting.length + this.#requeued.length : 0
  }

  /** No session more is of use. */
  get isOver(): boolean {
    return this.#end !== undefined || this.#results.size === this.#names.length
  }

  get hasReplies(): boolean {
    return this.#results.size > 0
  }

  /** What ended it before every name had its answer */
  get error(): SessionError | null {
    return this.#end?.error ?? [...this.#unanswered.values()][0] ?? null
  }

  /** One for each name, in the order asked */
  get results(): Result[] {
    return this.#names.map((name) => {
      const owed = this.#unanswered.get(name)
      const outcome = owed === undefined ? (this.#end?.rest ?? 'skipped') : outcomeOfError(owed)
      return this.#results.get(name) ?? unansweredResult(name, outcome)
    })
  }

  /** The next name, for a session that is new or not; undefined: there is none. */
  take(isNew: boolean): NodeName | undefined {
    if (this.#end !== undefined) return undefined
    return (isNew ? this.#requeued.shift() : undefined) ?? this.#waiting.pop()
  }

  /** A whole reply is there. */
  setResult(name: NodeName, result: Result): void {
    this.#unanswered.delete(name)
    this.#results.set(name, result)
  }

  /** A name went out, and this came in place of its reply. */
  setUnanswered(name: NodeName | undefined, error: SessionError, isAskedAgain: boolean): void {
    if (name === undefined) return
    this.#unanswered.set(name, error)
    if (isAskedAgain) this.#requeued.push(name)
  }

  /** No further name is sent. The first end counts, but for one that shows that it isn't SMTP. */
  end(error: SessionError | null, rest: Outcome): void {
    if (this.#end === undefined || error?.exitStatus === EXIT.PROTOCOL) this.#end = { error, rest }
  }
}
