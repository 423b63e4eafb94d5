import type { NodeName } from '../input/node-name.js'
import { SessionError } from '../smtp/errors.js'
import { Redactor } from '../smtp/redact.js'
import type { Reply } from '../smtp/reply.js'
import type { Server, SessionSettings } from '../smtp/session-settings.js'
import { openSession, type Session } from '../smtp/session.js'
import { NO_FACTS, type TraceEvent, updateFacts } from '../smtp/trace.js'
import { NAMES_PER_SESSION, type SessionProgress } from './session-limits.js'

/** One session of a pool, and how far it has come. The pool holds it as Readonly: only the session changes its fields. */
export class PooledSession implements SessionProgress {
  /** Sessions of a server are counted from 1. */
  readonly number: number
  /** True if other sessions were running when it started. */
  readonly isAdditional: boolean
  readonly #redactor: Redactor
  readonly #cancellation = new AbortController()
  #session: Session | undefined
  facts = NO_FACTS
  delay: number
  namesLeft = NAMES_PER_SESSION
  /** Round trips of its connection so far */
  roundTrips = 0
  /** Replies to ETRN */
  replies = 0
  /** The name that was sent and has no reply yet */
  pendingName: NodeName | undefined

  constructor(number: number, isAdditional: boolean, delay: number, password: string | undefined) {
    this.number = number
    this.isAdditional = isAdditional
    this.delay = delay
    this.#redactor = new Redactor(password)
  }

  /** True from the moment when it can send ETRN. */
  get isOpen(): boolean {
    return this.#session !== undefined
  }

  /** Opens the session, and returns the server as it was reached. Throws SessionError. */
  async open(
    server: Server,
    settings: SessionSettings,
    runSignal: AbortSignal,
    trace: (event: TraceEvent) => void,
  ): Promise<Server> {
    const signal = AbortSignal.any([runSignal, this.#cancellation.signal])
    const onEvent = this.#redactor.redactTrace((event) => {
      this.#countEvent(event)
      trace(event)
    })
    this.#session = await openSession(server, { ...settings, signal, trace: onEvent })
    this.delay = 0
    return this.#session.server
  }

  /** Sends ETRN for the next name and returns the reply; undefined if there is no name. Throws SessionError. */
  async request(take: () => NodeName | undefined): Promise<Reply | undefined> {
    return this.#session?.etrn(() => {
      this.pendingName = take()
      if (this.pendingName !== undefined) this.namesLeft--
      return this.pendingName
    })
  }

  countReply(): void {
    this.replies++
  }

  /** Returns the name that the latest reply belongs to. */
  takePendingName(): NodeName | undefined {
    const name = this.pendingName
    this.pendingName = undefined
    return name
  }

  /** Ends a session that has not reached ETRN. */
  cancel(): void {
    if (!this.isOpen) this.#cancellation.abort()
  }

  /** Sends QUIT if the session is open. It takes no further name. */
  async quit(): Promise<void> {
    this.namesLeft = 0
    await this.#session?.quit()
  }

  redact(text: string): string {
    return this.#redactor.redact(text)
  }

  redactError(error: SessionError): SessionError {
    return this.#redactor.redactError(error)
  }

  #countEvent(event: TraceEvent): void {
    this.facts = updateFacts(this.facts, event)
    if (event.type === 'connected') {
      this.delay += this.roundTrips
      this.roundTrips = 0
    }
    if (event.type !== 'connected' && event.type !== 'tls' && event.type !== 'received') return
    this.roundTrips++
    this.delay = Math.max(0, this.delay - 1)
  }
}
