import { EXIT } from '../errors.js'
import type { NodeName } from '../input/node-name.js'
import { shortenMessage } from '../printable.js'
import { describeRejection, SessionError } from '../smtp/errors.js'
import { Redactor } from '../smtp/redact.js'
import { formatReply, type Reply, shortenReply } from '../smtp/reply.js'
import type { Server, SessionOptions } from '../smtp/session-settings.js'
import { openSession, type Session } from '../smtp/session.js'
import { NO_FACTS, type TraceEvent, updateFacts } from '../smtp/trace.js'
import { isAccepted } from './outcome.js'
import { pendingCount, type Result, resultOf } from './result.js'
import { addHint, isSessionLimit } from './reply-meanings.js'
import type { SessionLimit, SessionProgress } from './session-limits.js'

export type Answer = {
  readonly name: NodeName
  readonly result: Result
  /** True if the reply speaks of a limit on the requests of one session. */
  readonly isSessionLimit: boolean
}

/** One session of a pool, and how far it has come. The pool holds it as Readonly: only the session changes its fields. */
export class PooledSession implements SessionProgress {
  /** Sessions of a server are counted from 1. */
  readonly number: number
  /** True if other sessions were running when it started. */
  readonly isAdditional: boolean
  /** That of the server, once the session is opened */
  redactor = new Redactor()
  readonly #cancellation = new AbortController()
  #session: Session | undefined
  #trace: (event: TraceEvent) => void = () => undefined
  /** Round trips that it is expected to take before the first ETRN */
  #setupTrips: number
  facts = NO_FACTS
  /** The greeting, and the first line of the EHLO reply, as far as they can be believed */
  #banner = ''
  readonly #limit: Readonly<SessionLimit>
  #requests = 0
  #isStopped = false
  /** Round trips of its connection so far */
  roundTrips = 0
  replies = 0
  readonly #replyCodes = new Set<number>()
  /** True once it has accepted a name. */
  hasAccepted = false
  /** The name that was sent and has no reply yet */
  pendingName: NodeName | undefined

  constructor(number: number, isAdditional: boolean, setupTrips: number, limit: Readonly<SessionLimit>) {
    this.number = number
    this.#limit = limit
    this.isAdditional = isAdditional
    this.#setupTrips = setupTrips
  }

  /** True from the moment when it can send ETRN. */
  get isOpen(): boolean {
    return this.#session !== undefined
  }

  get namesLeft(): number {
    return this.#isStopped ? 0 : Math.max(0, this.#limit.namesPerSession - this.#requests)
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
    this.#trace = trace
    this.redactor = server.redactor
    const onEvent = this.redactor.redactTrace((event) => {
      this.facts = updateFacts(this.facts, event)
      if (event.type === 'connected') {
        this.#setupTrips = Math.max(this.#setupTrips, this.roundTrips)
        this.roundTrips = 0
      }
      if (event.type === 'connected' || event.type === 'tls' || event.type === 'received') this.roundTrips++
      if (!this.isOpen) this.#updateBanner(event)
      trace(event)
    })
    this.#session = await openSession(server, { ...options, signal, trace: onEvent })
    return this.#session.server
  }

  #updateBanner(event: TraceEvent): void {
    if (event.type === 'greeting') this.#banner = event.text
    // Anybody on the way may have written what came before this handshake (RFC 3207, 4.2).
    if (event.type === 'tls' && event.tls.verified) this.#banner = ''
    // Before the first ETRN only EHLO is answered with 250. The newest reply counts.
    if (event.type === 'received' && event.reply.code === 250)
      this.#banner = `${this.#banner.split('\n', 1).join('')}\n${event.reply.lines[0] ?? ''}`
  }

  /** Sends ETRN for the next name and returns the answer; undefined if there is no name. Throws SessionError. */
  async request(take: () => NodeName | undefined): Promise<Answer | undefined> {
    const reply = await this.#session?.etrn(() => {
      this.pendingName = take()
      if (this.pendingName !== undefined) this.#requests++
      return this.pendingName
    })
    const name = this.pendingName
    if (reply === undefined || name === undefined) return undefined
    if (reply.code === 421) {
      const failure = { exitStatus: EXIT.TEMPFAIL, reply, kind: 'connection-lost' } as const
      throw new SessionError('etrn', describeRejection('etrn', { reply }), failure)
    }
    this.pendingName = undefined
    this.replies++
    this.#replyCodes.add(reply.code)
    const answer = this.answerOf(name, reply)
    this.hasAccepted ||= isAccepted(answer.result.outcome)
    return answer
  }

  /** Returns what a reply means for a name. */
  answerOf(name: NodeName, reply: Reply): Answer {
    const { enhancedCode, text } = this.redactor.redactReply(shortenReply(reply))
    // A password of digits could stand in the place of the count.
    const pending = pendingCount({ code: reply.code, text })
    const result = { ...resultOf(name, reply, this.#banner), enhancedCode, text, pending }
    return { name, result, isSessionLimit: isSessionLimit(reply, name) }
  }

  /** Returns true if the session was lost because it had reached the server's limit, and not because of the name. */
  isAtLimit({ kind, reply }: SessionError): boolean {
    if (this.pendingName === undefined || this.replies === 0) return false
    // Within TLS, Exim sends its last reply unencrypted.
    return kind === 'unencrypted-data' || (reply !== null && isSessionLimit(reply, this.pendingName))
  }

  /** Returns an error of this session as it is reported: without secrets, and with a hint if there is one. */
  describeError(error: SessionError): SessionError {
    const { stage, message, cause } = error
    const lost = { exitStatus: EXIT.TEMPFAIL, kind: 'connection-lost', cause } as const
    const isLost = error.kind === 'unencrypted-data' && this.isAtLimit(error)
    return addHint(this.redactor.redactError(isLost ? new SessionError(stage, message, lost) : error), this.#banner)
  }

  cancel(): void {
    if (!this.isOpen) this.#cancellation.abort()
  }

  /** Takes no further name. */
  stop(): void {
    this.#isStopped = true
  }

  /**
   * Sends QUIT if the session is open, and stops. Returns true if the server has closed the connection before. After a surplus reply
   * the results may belong to other names, so it throws SessionError. It only warns if the surplus reply came before QUIT and either
   * the session had one name, or all its replies have the same code.
   */
  async quit(): Promise<boolean> {
    this.stop()
    const ending = await this.#session?.quit()
    if (ending === 'lost') return true
    if (ending === undefined || this.replies === 0) return false
    const reply = ending.reply && this.redactor.redactReply(shortenReply(ending.reply))
    const words = reply === null ? 'not an SMTP reply' : shortenMessage(formatReply(reply))
    const shown = `(${ending.isEarly ? '' : 'QUIT: '}${words})`
    const text = `the server sent one reply too many, so results may belong to other names ${shown}`
    this.#replyCodes.add(ending.reply?.code ?? 0)
    if (!ending.isEarly || (this.replies > 1 && this.#replyCodes.size > 1))
      throw new SessionError('etrn', text, { exitStatus: EXIT.PROTOCOL, kind: 'surplus-reply', reply })
    this.warn(text)
    return false
  }

  /** Reports something that makes no difference to the results. */
  warn(text: string): void {
    this.#trace({ type: 'warning', stage: 'etrn', text })
  }
}
