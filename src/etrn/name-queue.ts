import { EXIT } from '../errors.js'
import type { NodeName } from '../input/node-name.js'
import { SessionError } from '../smtp/errors.js'
import { type Outcome, outcomeWithout, type Result, resultWithout } from './outcome.js'

/** The names of one server, in one queue, and what becomes of each. */
export class Ledger {
  readonly #names: readonly NodeName[]
  /** Names that nobody has asked for yet, the next one last */
  readonly #waiting: NodeName[]
  /** Names that took their sessions with them: for new sessions alone */
  readonly #again: NodeName[] = []
  readonly #known = new Map<NodeName, Result>()
  /** Names that have gone out without a reply, and what took it */
  readonly #owed = new Map<NodeName, SessionError>()
  /** How it ended for those that were not asked for */
  #end: { readonly error: SessionError | null; readonly rest: Outcome } | undefined

  constructor(names: readonly NodeName[]) {
    this.#names = names
    this.#waiting = names.toReversed()
  }

  /** Names to ask for still */
  get left(): number {
    return this.#end === undefined ? this.#waiting.length + this.#again.length : 0
  }

  /** No session more is of use. */
  get isOver(): boolean {
    return this.#end !== undefined || this.#known.size === this.#names.length
  }

  get hasReplies(): boolean {
    return this.#known.size > 0
  }

  /** What ended it before every name had its answer */
  get error(): SessionError | null {
    return this.#end?.error ?? [...this.#owed.values()][0] ?? null
  }

  /** One for each name, in the order asked */
  get results(): Result[] {
    return this.#names.map((name) => {
      const owed = this.#owed.get(name)
      const outcome = owed === undefined ? (this.#end?.rest ?? 'skipped') : outcomeWithout(owed)
      return this.#known.get(name) ?? resultWithout(name, outcome)
    })
  }

  /** The next name, for a session that is new or not; undefined: there is none. */
  take(isNew: boolean): NodeName | undefined {
    if (this.#end !== undefined) return undefined
    return (isNew ? this.#again.shift() : undefined) ?? this.#waiting.pop()
  }

  /** A whole reply is there. */
  answer(name: NodeName, result: Result): void {
    this.#owed.delete(name)
    this.#known.set(name, result)
  }

  /** A name went out, and this came in place of its reply. */
  lose(name: NodeName | undefined, error: SessionError, isAskedAgain: boolean): void {
    if (name === undefined) return
    this.#owed.set(name, error)
    if (isAskedAgain) this.#again.push(name)
  }

  /** No further name is sent. The first end counts, but for one that shows that it isn't SMTP. */
  end(error: SessionError | null, rest: Outcome): void {
    if (this.#end === undefined || error?.exitStatus === EXIT.PROTOCOL) this.#end = { error, rest }
  }
}
