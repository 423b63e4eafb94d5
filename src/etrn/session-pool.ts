import { EXIT } from '../errors.js'
import type { NodeName } from '../input/node-name.js'
import { SessionError } from '../smtp/errors.js'
import { formatReply, isPermanent, type Reply } from '../smtp/reply.js'
import type { Server } from '../smtp/session-settings.js'
import { NO_FACTS, type TraceEvent } from '../smtp/trace.js'
import { NameQueue } from './name-queue.js'
import { isAccepted, isSecurityFailure, outcomeOfError, type Result, resultOf, type ServerReport } from './outcome.js'
import { PooledSession } from './pooled-session.js'
import type { RequestSettings } from './request.js'
import { NAMES_PER_SESSION, type SessionProgress, SESSIONS_PER_SERVER, wouldFinishSooner } from './session-limits.js'

/** Runs a session as soon as the limit on sessions allows it. */
export type Limiter = <T>(work: () => Promise<T>) => Promise<T>

/** What a run gives to each of its requests. */
export type PoolContext = {
  readonly signal: AbortSignal
  readonly limiter: Limiter
  /** Receives what happens in each session; sessions of a server are counted from 1. */
  readonly trace: (server: Server, event: TraceEvent, session: number) => void
  /** Receives each result as soon as the reply has arrived. */
  readonly onResult: (server: Server, result: Result) => void
}

/** What earlier rounds learned about a server. */
export class ServerState {
  /** True once it has accepted a name: it knows this host. */
  hasAccepted = false
  /** True once an additional session has failed: from then on there is one session at a time. */
  isOneAtATime = false
  /** When the first session started, by performance.now() */
  startedAt: number | undefined

  /** The time since the first session started, in milliseconds */
  get elapsedMs(): number {
    const now = performance.now()
    return Math.round(now - (this.startedAt ?? now))
  }
}

/** Requests all names from one server. Never throws because of the server: every name gets a result. */
export async function requestNames(
  server: Server,
  names: readonly NodeName[],
  settings: RequestSettings,
  context: PoolContext,
  state = new ServerState(),
): Promise<ServerReport> {
  const pool = new SessionPool(server, new NameQueue(names), settings, context, state)
  const { results, error } = await pool.run()
  const attempts = names.length === 0 ? 0 : 1
  const { elapsedMs } = state
  return { server, ...pool.facts, attempts, elapsedMs, error, isQueueUnknown: false, names: results }
}

/** The sessions with one server, which take its names from one queue. */
class SessionPool {
  /** Of the last session that reached ETRN, or of the one that ended the request */
  facts = NO_FACTS
  readonly #server: Server
  readonly #queue: NameQueue
  readonly #settings: RequestSettings
  readonly #context: PoolContext
  readonly #state: ServerState
  readonly #sessions = new Set<Readonly<PooledSession>>()
  /** The server as it was reached: what has failed once is not tried again by every session. */
  #reachedServer: Server
  /** Sessions that wait for the limiter */
  #waiting = 0
  #started = 0
  /** Round trips before the first ETRN, in the last session that reached it */
  #setupTrips = 0
  /** Once an additional session has failed, a session with a higher number must succeed, or the request ends. */
  #failedAfter = Infinity
  /** What callbacks have thrown, and bugs of our own */
  readonly #thrown: unknown[] = []
  #finish = (): void => undefined

  constructor(server: Server, queue: NameQueue, settings: RequestSettings, context: PoolContext, state: ServerState) {
    this.#server = this.#reachedServer = server
    this.#queue = queue
    this.#settings = settings
    this.#context = context
    this.#state = state
  }

  /** Runs sessions until no name remains or no session is possible. Throws what a callback has thrown. */
  async run(): Promise<NameQueue> {
    await new Promise<void>((resolve) => {
      this.#finish = resolve
      this.#continue()
    })
    if (this.#thrown.length > 0) throw this.#thrown[0]
    return this.#queue
  }

  /** A server that accepts nothing must not be asked for 5,000 names. */
  get #mayContinue(): boolean {
    return this.#state.hasAccepted || this.#settings.keepGoing
  }

  /** Returns true if another session would finish sooner, beside those that run and those that wait for the limiter. */
  #needsSession(waiting: number): boolean {
    const another = { delay: this.#setupTrips, namesLeft: NAMES_PER_SESSION }
    const sessions = [...this.#sessions, ...Array<SessionProgress>(waiting).fill(another)]
    if (this.#queue.remaining === 0 || sessions.length === 0) return this.#queue.remaining > 0
    const { hasAccepted, isOneAtATime } = this.#state
    if (sessions.length >= (hasAccepted && !isOneAtATime ? SESSIONS_PER_SERVER : 1)) return false
    // A session that is not open yet may fail.
    const isSomeOpen = waiting > 0 || [...this.#sessions].some(({ isOpen, namesLeft }) => isOpen && namesLeft > 0)
    return !isSomeOpen || wouldFinishSooner(this.#queue.remaining, sessions, another)
  }

  #continue(): void {
    if (this.#needsSession(this.#waiting)) this.#startSession()
    if (this.#sessions.size === 0 && this.#queue.remaining === 0) this.#finish()
  }

  #startSession(): void {
    this.#waiting++
    void this.#context.limiter(async () => {
      this.#waiting--
      // Meanwhile other sessions may have taken all names.
      if (this.#needsSession(0)) await this.#runSession()
    })
  }

  async #runSession(): Promise<void> {
    this.#state.startedAt ??= performance.now()
    const isAdditional = this.#sessions.size > 0
    const password = this.#server.credentials?.password
    const session = new PooledSession(++this.#started, isAdditional, this.#setupTrips, password)
    this.#sessions.add(session)
    try {
      await this.#requestFrom(session)
    } catch (error) {
      this.#abort(error)
    }
    if (this.#queue.isOver) this.#cancelUnopened()
    await session.quit()
    this.#sessions.delete(session)
    this.#continue()
  }

  async #requestFrom(session: Readonly<PooledSession>): Promise<void> {
    try {
      await this.#open(session)
      while (this.#queue.remaining > 0 && session.namesLeft > 0) {
        const reply = await session.request(() => this.#queue.take(session.replies === 0))
        if (reply === undefined) break
        this.#handleReply(session, reply)
      }
      if (!this.#mayContinue) this.#queue.end(null, 'skipped')
    } catch (error) {
      if (!(error instanceof SessionError)) throw error
      this.#handleFailure(session, session.redactError(error))
    }
  }

  async #open(session: Readonly<PooledSession>): Promise<void> {
    const trace = (event: TraceEvent): void =>
      this.#notify(() => this.#context.trace(this.#server, event, session.number))
    this.#reachedServer = await session.open(this.#reachedServer, this.#settings, this.#context.signal, trace)
    this.#setupTrips = session.roundTrips
    this.facts = session.facts
  }

  #handleReply(session: Readonly<PooledSession>, reply: Reply): void {
    if (reply.code === 421) {
      const failure = { exitStatus: EXIT.TEMPFAIL, reply, kind: 'connection-lost' } as const
      throw new SessionError('etrn', formatReply(reply), failure)
    }
    session.countReply()
    if (session.number > this.#failedAfter) this.#failedAfter = Infinity
    this.#setResult(session, reply)
    // Only a reply shows that the server has time for several sessions.
    while (this.#needsSession(this.#waiting)) this.#startSession()
  }

  #setResult(session: Readonly<PooledSession>, reply: Reply): void {
    const name = session.takePendingName()
    if (name === undefined) return
    const result = { ...resultOf(name, reply), text: session.redact(reply.text) }
    this.#queue.setResult(name, result)
    this.#state.hasAccepted ||= isAccepted(result.outcome)
    const isEnd = result.outcome === 'failed' || (isPermanent(reply) && !this.#settings.keepGoing)
    if (isEnd) this.#queue.end(null, 'skipped')
    this.#notify(() => this.#context.onResult(this.#server, result))
  }

  /** Calls back. An error must not surface in a connection that is about to end, or in a timer. */
  #notify(callback: () => void): void {
    try {
      callback()
    } catch (error) {
      this.#abort(error)
    }
  }

  #abort(error: unknown): void {
    this.#thrown.push(error)
    this.#queue.end(null, 'skipped')
    this.#cancelUnopened()
  }

  /** Cancels the sessions that have not reached ETRN. */
  #cancelUnopened(): void {
    for (const session of this.#sessions) session.cancel()
  }

  /** Lets other sessions continue after a failed one, or ends the request. */
  #handleFailure(session: Readonly<PooledSession>, error: SessionError): void {
    const { pendingName, replies, number } = session
    const isHarmless = replies === 0 && this.#isHarmless(session, error)
    const isLost = replies > 0 && error.kind === 'connection-lost' && this.#mayContinue
    if (!isHarmless && !isLost) return this.#endWith(session, error)
    this.#queue.setUnanswered(pendingName, error, true)
    if (isLost) return
    this.#state.isOneAtATime = true
    if (number > this.#failedAfter) this.#queue.end(asTemporary(error), 'deferred')
    else this.#failedAfter = Math.min(this.#failedAfter, this.#started)
  }

  /** Returns true if only an additional session has failed, which takes nothing from the others. */
  #isHarmless({ pendingName, isAdditional }: Readonly<PooledSession>, error: SessionError): boolean {
    const isUnsent = pendingName === undefined || (isAdditional && error.kind === 'connection-lost')
    const isGrave = error.kind === 'unencrypted-data' || (isSecurityFailure(error) && !isAdditional)
    return isUnsent && this.#queue.hasReplies && !this.#context.signal.aborted && !isGrave
  }

  #endWith(session: Readonly<PooledSession>, error: SessionError): void {
    const { pendingName, replies } = session
    const isViolation = error.exitStatus === EXIT.PROTOCOL && (pendingName !== undefined || replies > 0)
    if (error.reply !== null && pendingName !== undefined) {
      // If the name is not requested again, its 421 is a reply like any other.
      this.#setResult(session, error.reply)
      if (this.#queue.remaining === 0) return
    } else {
      const name = pendingName ?? (isViolation ? this.#queue.take(true) : undefined)
      this.#queue.setUnanswered(name, error, false)
    }
    const isStopped = isViolation || error.kind === 'interrupted' || (error.kind === 'connection-lost' && replies > 0)
    this.#queue.end(error, isStopped ? 'skipped' : outcomeOfError(error))
    const hasFacts = session.facts.greeting !== null || this.facts.greeting === null
    if (this.#queue.error === error && hasFacts) this.facts = session.facts
  }
}

/** Returns the failure as a temporary one: the server has accepted names before. */
function asTemporary({ stage, message, reply, cause }: SessionError): SessionError {
  return new SessionError(stage, message, { exitStatus: EXIT.TEMPFAIL, reply, cause })
}
