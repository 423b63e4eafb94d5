import { EXIT } from '../errors.js'
import type { NodeName } from '../input/node-name.js'
import { SessionError } from '../smtp/errors.js'
import { Redactor, redactorFor } from '../smtp/redact.js'
import { formatReply, type Reply } from '../smtp/reply.js'
import type { Server, SessionOptions } from '../smtp/session-settings.js'
import { openSession, type Session } from '../smtp/session.js'
import { NO_FACTS, type TraceEvent, updateFacts } from '../smtp/trace.js'
import { NAMES_PER_SESSION, type SessionProgress } from './session-limits.js'

/** One session of a pool, and how far it has come. The pool holds it as Readonly: only the session changes its fields. */
export class PooledSession implements SessionProgress {
  /** Sessions of a server are counted from 1. */
  readonly number: number
  /** True if other sessions were running when it started. */
  readonly isAdditional: boolean
  /** Masks the password, and what the sessions with the server have made from it. */
  redactor = new Redactor()
  readonly #cancellation = new AbortController()
  #session: Session | undefined
  /** Round trips that it is expected to take before the first ETRN */
  #setupTrips: number
  facts = NO_FACTS
  namesLeft = NAMES_PER_SESSION
  /** Round trips of its connection so far */
  roundTrips = 0
  replies = 0
  /** The name that was sent and has no reply yet */
  pendingName: NodeName | undefined

  constructor(number: number, isAdditional: boolean, setupTrips: number) {
    this.number = number
    this.isAdditional = isAdditional
    this.#setupTrips = setupTrips
  }

  /** True from the moment when it can send ETRN. */
  get isOpen(): boolean {
    return this.#session !== undefined
  }

  get delay(): number {
    return this.isOpen ? 0 : Math.max(0, this.#setupTrips - this.roundTrips)
  }

  /** Opens the session, and returns the server as it was reached. Throws SessionError. */
  async open(
    server: Server,
    options: Omit<SessionOptions, 'trace'>,
    trace: (event: TraceEvent) => void,
  ): Promise<Server> {
    const signal = AbortSignal.any([options.signal, this.#cancellation.signal])
    this.redactor = redactorFor(server.credentials)
    const onEvent = this.redactor.redactTrace((event) => {
      this.facts = updateFacts(this.facts, event)
      if (event.type === 'connected') {
        this.#setupTrips = Math.max(this.#setupTrips, this.roundTrips)
        this.roundTrips = 0
      }
      if (event.type === 'connected' || event.type === 'tls' || event.type === 'received') this.roundTrips++
      trace(event)
    })
    this.#session = await openSession(server, { ...options, signal, trace: onEvent })
    return this.#session.server
  }

  /** Sends ETRN for the next name and returns the reply; undefined if there is no name. Throws SessionError. */
  async request(take: () => NodeName | undefined): Promise<{ name: NodeName; reply: Reply } | undefined> {
    const reply = await this.#session?.etrn(() => {
      this.pendingName = take()
      if (this.pendingName !== undefined) this.namesLeft--
      return this.pendingName
    })
    const name = this.pendingName
    if (reply === undefined || name === undefined) return undefined
    if (reply.code === 421) {
      const failure = { exitStatus: EXIT.TEMPFAIL, reply, kind: 'connection-lost' } as const
      throw new SessionError('etrn', formatReply(reply), failure)
    }
    this.pendingName = undefined
    this.replies++
    return { name, reply }
  }

  cancel(): void {
    if (!this.isOpen) this.#cancellation.abort()
  }

  /** Sends QUIT if the session is open. It takes no further name. */
  async quit(): Promise<void> {
    this.namesLeft = 0
    await this.#session?.quit()
  }
}
