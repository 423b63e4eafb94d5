import type { NodeName } from '../input/node-name.js'
import type { SessionError } from '../smtp/errors.js'
import { Redactor } from '../smtp/redact.js'
import type { Reply } from '../smtp/reply.js'
import type { Server, SessionSettings } from '../smtp/server.js'
import { openSession, type Session } from '../smtp/session.js'
import { NO_FACTS, type TraceEvent, updateFacts } from '../smtp/trace.js'
import { NAMES_PER_SESSION, type SessionProgress } from './session-limits.js'

export type PooledSessionOptions = {
  /** Sessions of a server are counted from 1. */
  readonly number: number
  /** True if other sessions were running when it started. */
  readonly isAdditional: boolean
  /** Round trips until it can send its first name, by experience */
  readonly delay: number
}

/** One session of a pool, and how far it has come. */
export class PooledSession implements SessionProgress {
  readonly number: number
  readonly isAdditional: boolean
  readonly #redactor: Redactor
  readonly #cancellation = new AbortController()
  #session: Session | undefined
  #facts = NO_FACTS
  #delay: number
  #namesLeft = NAMES_PER_SESSION
  #roundTrips = 0
  #replies = 0
  #pendingName: NodeName | undefined

  constructor({ number, isAdditional, delay }: PooledSessionOptions, password: string | undefined) {
    this.number = number
    this.isAdditional = isAdditional
    this.#delay = delay
    this.#redactor = new Redactor(password)
  }

  get facts(): typeof NO_FACTS {
    return this.#facts
  }

  get delay(): number {
    return this.#delay
  }

  get namesLeft(): number {
    return this.#namesLeft
  }

  /** Round trips of its connection so far */
  get roundTrips(): number {
    return this.#roundTrips
  }

  /** Replies to ETRN */
  get replies(): number {
    return this.#replies
  }

  /** The name that was sent and has no reply yet */
  get pendingName(): NodeName | undefined {
    return this.#pendingName
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
    this.#delay = 0
    return this.#session.server
  }

  /** Sends ETRN for the next name and returns the reply; undefined if there is no name. Throws SessionError. */
  async request(take: () => NodeName | undefined): Promise<Reply | undefined> {
    return this.#session?.etrn(() => {
      this.#pendingName = take()
      if (this.#pendingName !== undefined) this.#namesLeft--
      return this.#pendingName
    })
  }

  countReply(): void {
    this.#replies++
  }

  /** Returns the name that the latest reply belongs to. */
  takePendingName(): NodeName | undefined {
    const name = this.#pendingName
    this.#pendingName = undefined
    return name
  }

  /** Takes no further name. */
  retire(): void {
    this.#namesLeft = 0
  }

  /** Ends a session that has not reached ETRN. */
  cancel(): void {
    if (!this.isOpen) this.#cancellation.abort()
  }

  async quit(): Promise<void> {
    await this.#session?.quit()
  }

  redact(text: string): string {
    return this.#redactor.redact(text)
  }

  redactError(error: SessionError): SessionError {
    return this.#redactor.redactError(error)
  }

  #countEvent(event: TraceEvent): void {
    this.#facts = updateFacts(this.#facts, event)
    if (event.type === 'connected') {
      this.#delay += this.#roundTrips
      this.#roundTrips = 0
    }
    if (event.type !== 'connected' && event.type !== 'tls' && event.type !== 'received') return
    this.#roundTrips++
    this.#delay = Math.max(0, this.#delay - 1)
  }
}
