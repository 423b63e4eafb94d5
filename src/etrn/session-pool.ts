import { EXIT } from '../errors.js'
import type { NodeName } from '../input/node-name.js'
import { SessionError, unexpectedError } from '../smtp/errors.js'
import { isPermanent } from '../smtp/reply.js'
import type { Server, SessionOptions } from '../smtp/session-settings.js'
import { mergeFacts, NO_FACTS, type TraceEvent } from '../smtp/trace.js'
import { NameQueue } from './name-queue.js'
import { isAccepted, isSecurityFailure, outcomeOfError } from './outcome.js'
import { type Result, shortenResult } from './result.js'
import type { ServerReport } from './server-report.js'
import { type Answer, PooledSession } from './pooled-session.js'
import type { RequestSettings } from './request.js'
import { ServerState } from './server-state.js'
import { type SessionProgress, SESSIONS_PER_SERVER, wouldFinishSooner } from './session-limits.js'
import type { Limiter } from './session-slots.js'

export type PoolContext = {
  readonly signal: AbortSignal
  readonly limiter: Limiter
  /** Returns how many results the whole run has, as far as it is known. */
  readonly countResults?: () => number
  /** Receives what happens in each session; sessions of a server are counted from 1. */
  readonly trace: (server: Server, event: TraceEvent, session: number) => void
  /** Waits until the receiver of the trace can take more: a session waits before it starts, and before each ETRN. */
  readonly drain?: () => Promise<void>
  /** Receives each result as soon as the reply has arrived. */
  readonly onResult: (server: Server, result: Result) => void
}

const DOUBTFUL_HINT =
  'the server closed the session after this reply, so it may be about the session; no other session could ask again: --retry-for 10m'

/** Requests all names from one server. Never throws because of the server: every name gets a result. */
export async function requestNames(
  server: Server,
  names: readonly NodeName[],
  settings: RequestSettings,
  context: PoolContext,
  state = new ServerState(),
): Promise<ServerReport> {
  return new SessionPool(server, names, { ...settings, ...context }, state).run()
}

/** The sessions with one server, which take its names from one queue. */
class SessionPool {
  readonly #server: Server
  readonly #queue: NameQueue
  readonly #options: RequestSettings & PoolContext & Pick<SessionOptions, 'protection'>
  readonly #state: ServerState
  readonly #sessions = new Set<Readonly<PooledSession>>()
  /** The server as it was reached: what has failed once is not tried again by every session. */
  #reachedServer: Server
  /** Of the last session that reached ETRN, or of the one that ended the request */
  #facts = NO_FACTS
  #waiting = 0
  #started = 0
  /** Round trips before the first ETRN, in the last session that reached it */
  #setupTrips = 0
  /** A 5xx after accepted names in one session: if the server then closes it, the reply was about the session. */
  readonly #doubtful = new Map<Readonly<PooledSession>, Answer>()
  /** Doubtful replies of names that wait for another session: each counts if no session gets another one */
  readonly #provisional = new Map<NodeName, Answer>()
  /** Once an additional session has failed, a session with a higher number must succeed, or the request ends. */
  #failedAfter = Infinity
  /** Errors that callbacks have thrown */
  readonly #thrown: unknown[] = []
  #finish = (): void => undefined

  constructor(server: Server, names: readonly NodeName[], options: RequestSettings & PoolContext, state: ServerState) {
    this.#server = this.#reachedServer = server
    this.#queue = new NameQueue(names)
    this.#options = { ...options, protection: state.protection }
    this.#state = state
  }

  /** Runs sessions until no name remains or no session is possible. Throws what a callback has thrown. */
  async run(): Promise<ServerReport> {
    await new Promise<void>((resolve) => {
      this.#finish = resolve
      this.#continue()
    })
    this.#settleProvisional()
    if (this.#thrown.length > 0) throw this.#thrown[0]
    const { results: names, unconfirmed, error } = this.#queue
    const { elapsedMs } = this.#state
    const found = { attempts: Math.min(1, names.length), elapsedMs, error, isQueueUnknown: false, unconfirmed, names }
    return { server: this.#server, ...this.#facts, ...found }
  }

  /** A server that accepts nothing must not be asked for 5,000 names. */
  get #mayContinue(): boolean {
    return this.#state.hasAccepted || this.#options.keepGoing
  }

  /** The names that may be requested now. A 5xx ends the request, so none while it is doubtful. */
  get #remaining(): number {
    return this.#doubtful.size > 0 && !this.#options.keepGoing ? 0 : this.#queue.remaining
  }

  /** Returns true if another session would finish sooner, beside those that run and those that wait for the limiter. */
  #needsSession(waiting: number): boolean {
    const another = { delay: this.#setupTrips, namesLeft: this.#state.namesPerSession }
    const sessions = [...this.#sessions, ...Array<SessionProgress>(waiting).fill(another)]
    if (this.#remaining === 0 || sessions.length === 0) return this.#remaining > 0
    const { hasAccepted, isOneAtATime } = this.#state
    if (sessions.length >= (hasAccepted && !isOneAtATime ? SESSIONS_PER_SERVER : 1)) return false
    // A session that is not open yet may fail.
    const isSomeOpen = waiting > 0 || [...this.#sessions].some(({ isOpen, namesLeft }) => isOpen && namesLeft > 0)
    return !isSomeOpen || wouldFinishSooner(this.#remaining, sessions, another)
  }

  /** True if a session must leave its slot to a server that has none: this server has others. */
  get #mustYield(): boolean {
    return this.#sessions.size > 1 && this.#options.limiter.isContended()
  }

  #continue(): void {
    if (this.#needsSession(this.#waiting)) this.#startSession()
    if (this.#sessions.size === 0 && this.#remaining === 0) this.#finish()
  }

  #startSession(): void {
    this.#waiting++
    void this.#options.limiter.run(async () => {
      this.#waiting--
      // Meanwhile other sessions may have taken all names.
      if (this.#needsSession(0)) await this.#runSession()
    })
  }

  async #runSession(): Promise<void> {
    this.#state.startedAt ??= performance.now()
    const isAdditional = this.#sessions.size > 0
    const session = new PooledSession(++this.#started, isAdditional, this.#setupTrips, this.#state)
    this.#sessions.add(session)
    try {
      await this.#requestFrom(session)
    } catch (error) {
      this.#endWith(session, session.describeError(unexpectedError(error)))
    }
    if (this.#queue.isOver) for (const other of this.#sessions) other.cancel()
    await this.#quit(session)
    this.#sessions.delete(session)
    this.#continue()
  }

  /** Ends a session. Returns true if the server has closed the connection before. */
  async #quit(session: Readonly<PooledSession>): Promise<boolean> {
    try {
      return await session.quit()
    } catch (error) {
      if (!(error instanceof SessionError)) throw error
      this.#queue.end(error, 'skipped')
      return false
    }
  }

  async #requestFrom(session: Readonly<PooledSession>): Promise<void> {
    try {
      const trace = (event: TraceEvent): void =>
        this.#notify(() => this.#options.trace(this.#server, event, session.number))
      await this.#options.drain?.()
      this.#reachedServer = await session.open(this.#reachedServer, this.#options, trace)
      this.#setupTrips = session.roundTrips
      this.#facts = session.facts
      while (this.#remaining > 0 && session.namesLeft > 0 && !this.#mustYield) {
        await this.#options.drain?.()
        const answer = await session.request(() => this.#take(session))
        if (answer === undefined) break
        if (session.number > this.#failedAfter) this.#failedAfter = Infinity
        this.#addAnswer(session, answer)
        // Only a reply shows that the server has time for several sessions.
        while (this.#needsSession(this.#waiting)) this.#startSession()
      }
      if (this.#doubtful.has(session)) this.#settleDoubt(session, await this.#quit(session))
      // A name whose reply was about the session still gets its own.
      if (!this.#mayContinue && !this.#queue.hasRequeued) this.#queue.end(null, 'skipped')
    } catch (error) {
      if (!(error instanceof SessionError)) throw error
      this.#settleDoubt(session, error.kind === 'connection-lost')
      const isAtLimit = session.isAtLimit(error)
      if (isAtLimit) this.#state.learnLimit(session.replies)
      this.#handleFailure(session, session.describeError(error), isAtLimit)
    }
  }

  #take({ replies }: Readonly<PooledSession>): NodeName | undefined {
    return this.#remaining === 0 ? undefined : this.#queue.take(replies === 0)
  }

  /** Takes a reply for the result of its name, unless it may be about the session. */
  #addAnswer(session: Readonly<PooledSession>, answer: Answer): void {
    // The session goes on, so the reply before was about its name.
    this.#settleDoubt(session, false)
    if (answer.isSessionLimit) session.stop()
    if (answer.isSessionLimit && session.replies > 1) this.#requeue(answer, session.replies - 1)
    else if (isPermanent({ code: answer.result.code ?? 0 }) && session.hasAccepted) this.#doubtful.set(session, answer)
    else this.#setResult(answer)
  }

  /** Decides about a doubtful 5xx: `isLost` means that the server closed the connection after it. */
  #settleDoubt(session: Readonly<PooledSession>, isLost: boolean): void {
    const answer = this.#doubtful.get(session)
    if (answer === undefined) return
    this.#doubtful.delete(session)
    if (isLost) this.#requeue(answer, session.replies - 1)
    else this.#setResult(answer)
  }

  /** Leaves a name to a new session, because this one had reached the server's limit after so many names. */
  #requeue(answer: Answer, names: number): void {
    this.#state.learnLimit(names)
    // The reply was about the session, and no other one asks again: the name counts as not requested.
    if (this.#queue.isOver) return
    if (!answer.isSessionLimit) this.#provisional.set(answer.name, answer)
    this.#queue.requeue(answer.name)
  }

  /** A name that no later session could request keeps the reply that it has. If one may request it later, that is no refusal. */
  #settleProvisional(): void {
    const { error, isOver } = this.#queue
    // Another name's refusal has ended the request: these would have been asked again.
    if (isOver && error === null) return
    const isTemporary = error?.exitStatus === EXIT.TEMPFAIL
    for (const { name, result } of this.#provisional.values()) {
      if (this.#isFinalRefusal(result) && !isTemporary) this.#queue.endByRefusal()
      this.#setResult({ name, result: isTemporary ? { ...result, outcome: 'deferred', hint: DOUBTFUL_HINT } : result })
    }
  }

  #setResult({ name, result: whole }: Pick<Answer, 'name' | 'result'>): void {
    const result = shortenResult(whole, this.#options.countResults?.() ?? this.#queue.size)
    this.#provisional.delete(name)
    this.#queue.setResult(name, result)
    this.#state.hasAccepted ||= isAccepted(result.outcome)
    if (result.outcome === 'failed' || this.#isFinalRefusal(result)) this.#queue.end(null, 'skipped')
    this.#notify(() => this.#options.onResult(this.#server, result))
  }

  /** Returns true if a result ends the request: a 5xx, without --keep-going (RFC 1985, 5.2). */
  #isFinalRefusal({ code }: Result): boolean {
    return isPermanent({ code: code ?? 0 }) && !this.#options.keepGoing
  }

  /** Calls back. An error must not surface in a connection that is about to end, or in a timer: it ends the request. */
  #notify(callback: () => void): void {
    try {
      callback()
    } catch (error) {
      this.#thrown.push(error)
      this.#queue.end(null, 'skipped')
      for (const session of this.#sessions) session.cancel()
    }
  }

  /** Lets other sessions continue after a failed one, or ends the request. */
  #handleFailure(session: Readonly<PooledSession>, error: SessionError, isAtLimit: boolean): void {
    const { pendingName, replies, number } = session
    const isHarmless = replies === 0 && this.#isHarmless(session, error)
    const isLost = replies > 0 && error.kind === 'connection-lost' && (isAtLimit || this.#mayContinue)
    if (!isHarmless && !isLost) return this.#endWith(session, error)
    if (pendingName !== undefined) {
      this.#queue.setUnanswered(pendingName, error)
      this.#queue.requeue(pendingName)
    }
    if (isLost) return
    if (isSecurityFailure(error)) session.warn(`an additional session failed: ${error.message}`)
    this.#state.isOneAtATime = true
    const mayFail = number <= this.#failedAfter
    this.#failedAfter = Math.min(this.#failedAfter, this.#started)
    if (mayFail) return
    if (!this.#state.hasAccepted) return this.#endWith(session, error)
    // The server has accepted names before, so the failure is temporary.
    const { stage, message, reply, cause } = error
    this.#queue.end(new SessionError(stage, message, { exitStatus: EXIT.TEMPFAIL, reply, cause }), 'deferred')
  }

  /** Returns true if only an additional session has failed, which takes nothing from the others. */
  #isHarmless({ pendingName, isAdditional }: Readonly<PooledSession>, error: SessionError): boolean {
    const isUnsent = pendingName === undefined || (isAdditional && error.kind === 'connection-lost')
    const isForged = error.kind === 'unencrypted-data' && (error.stage === 'starttls' || error.stage === 'tls')
    const isGrave = isForged || (isSecurityFailure(error) && !isAdditional)
    return isUnsent && this.#queue.hasReplies && !this.#options.signal.aborted && !isGrave
  }

  #endWith(session: Readonly<PooledSession>, error: SessionError): void {
    const { pendingName, replies } = session
    const isViolation = error.exitStatus === EXIT.PROTOCOL && (pendingName !== undefined || replies > 0)
    if (error.reply !== null && pendingName !== undefined) {
      // If the name is not requested again, its 421 is a reply like any other.
      this.#setResult(session.answerOf(pendingName, error.reply))
      if (this.#queue.remaining === 0) return
    } else if (pendingName !== undefined) this.#queue.setUnanswered(pendingName, error)
    else if (isViolation) this.#queue.setUnsent(error)
    const isStopped = isViolation || error.kind === 'interrupted' || (error.kind === 'connection-lost' && replies > 0)
    this.#queue.end(error, isStopped ? 'skipped' : outcomeOfError(error))
    if (this.#queue.error === error) this.#facts = mergeFacts(this.#facts, session.facts)
  }
}
