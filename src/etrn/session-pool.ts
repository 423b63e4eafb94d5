import { EXIT } from '../errors.js'
import type { NodeName } from '../input/node-name.js'
import { SessionError } from '../smtp/errors.js'
import { formatReply, type Reply } from '../smtp/reply.js'
import { openSession, type Server, type Session } from '../smtp/session.js'
import { NO_FACTS, type TraceEvent } from '../smtp/trace.js'
import { NameQueue } from './name-queue.js'
import { isAccepted, isSecurityFailure, outcomeOfError, type Result, resultOf } from './outcome.js'
import { PooledSession } from './pooled-session.js'
import type { RequestSettings } from './request.js'
import type { ServerReport } from './server-report.js'
import { wouldFinishSooner, NAMES_PER_SESSION, type SessionProgress, SESSIONS_PER_SERVER } from './session-limits.js'

/** Does the work of one session when it is its turn among all. */
export type Limiter = <T>(work: () => Promise<T>) => Promise<T>

export type PoolOptions = RequestSettings & {
  readonly signal: AbortSignal
  readonly limiter: Limiter
  /** The sessions of a server are counted from 1. */
  readonly trace: (server: Server, event: TraceEvent, session: number) => void
  /** Told of each name whose reply is there, at once. */
  readonly onResult: (server: Server, result: Result) => void
}

/** How a server has shown that it wants to be asked, from one exchange with it to the next. */
export class ServerState {
  /** It accepted a name: it knows this site. */
  hasAccepted = false
  /** A session beside others failed: from then on there is one at a time. */
  isOneAtATime = false
}

/** Asks one server for all names. Never throws for what a server does: every name gets a result. */
export async function requestNames(
  server: Server,
  names: readonly NodeName[],
  o: PoolOptions,
  acquaintance = new ServerState(),
): Promise<ServerReport> {
  const began = performance.now()
  const exchange = new SessionPool(server, names, o, acquaintance)
  await exchange.run()
  const elapsedMs = Math.round(performance.now() - began)
  return {
    server,
    ...exchange.facts,
    attempts: names.length === 0 ? 0 : 1,
    elapsedMs,
    error: exchange.queue.error,
    isQueueUnknown: false,
    names: exchange.queue.results,
  }
}

/** The sessions of one server, which take its names one by one. */
class SessionPool {
  readonly queue: NameQueue
  /** Of the newest session that got as far as ETRN, or of the one that ended it */
  facts = NO_FACTS
  readonly #server: Server
  /** As it could be reached */
  #reached: Server
  readonly #o: PoolOptions
  readonly #sessions = new Set<PooledSession>()
  /** Sessions that wait for their turn */
  #waiting = 0
  #started = 0
  /** Round trips before the first ETRN, as the newest session has shown */
  #setupTrips = 0
  readonly #state: ServerState
  /** Where one beside others failed, the one that begins after so many is the last that may fail, until it has an answer. */
  #failedAfter = Infinity
  /** What a callback threw, or a bug of ours */
  readonly #thrown: unknown[] = []
  #finished = (): void => undefined

  constructor(server: Server, names: readonly NodeName[], o: PoolOptions, acquaintance: ServerState) {
    this.#server = this.#reached = server
    this.queue = new NameQueue(names)
    this.#o = o
    this.#state = acquaintance
  }

  /** Session after session, and beside each other, until nothing waits or nothing can be had. Throws what a callback throws. */
  async run(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#finished = resolve
      this.#continue()
    })
    if (this.#thrown.length > 0) throw this.#thrown[0]
  }

  /** A server must not be asked for 5,000 names that it doesn't serve. */
  get #mayContinue(): boolean {
    return this.#state.hasAccepted || this.#o.keepGoing
  }

  /** Whether a session more is of use, beside those under way and so many that wait for their turn. */
  #isWanted(queued: number): boolean {
    const another = { delay: this.#setupTrips, namesLeft: NAMES_PER_SESSION }
    const sessions = [...this.#sessions, ...Array<SessionProgress>(queued).fill(another)]
    if (this.queue.remaining === 0 || sessions.length === 0) return this.queue.remaining > 0
    const { hasAccepted: isAccepted, isOneAtATime: isCareful } = this.#state
    if (sessions.length >= (isAccepted && !isCareful ? SESSIONS_PER_SERVER : 1)) return false
    // One that is still on its way may never arrive.
    const isSomeOpen =
      queued > 0 || [...this.#sessions].some(({ session: opened, namesLeft: left }) => opened !== undefined && left > 0)
    return !isSomeOpen || wouldFinishSooner(this.queue.remaining, sessions, another)
  }

  #continue(): void {
    if (this.#isWanted(this.#waiting)) this.#startSession()
    if (this.#sessions.size === 0 && this.queue.remaining === 0) this.#finished()
  }

  #startSession(): void {
    this.#waiting++
    void this.#o.limiter(async () => {
      this.#waiting--
      // When its turn comes, others may have asked for all.
      if (this.#isWanted(0)) await this.#runSession()
    })
  }

  async #runSession(): Promise<void> {
    const session = new PooledSession(
      ++this.#started,
      this.#sessions.size > 0,
      this.#setupTrips,
      this.#server.credentials?.password,
    )
    this.#sessions.add(session)
    try {
      await this.#requestAll(session)
    } catch (thrown) {
      this.#abort(thrown)
    }
    session.namesLeft = 0
    if (this.queue.isOver) this.#cancelUnopened()
    await session.session?.quit()
    this.#sessions.delete(session)
    this.#continue()
  }

  async #requestAll(session: PooledSession): Promise<void> {
    try {
      const opened = await this.#open(session)
      while (this.queue.remaining > 0 && session.namesLeft > 0) {
        const reply = await opened.etrn(() => this.#takeName(session))
        if (reply === undefined) break
        this.#handleReply(session, reply)
      }
      if (!this.#mayContinue) this.queue.end(null, 'skipped')
    } catch (error) {
      if (!(error instanceof SessionError)) throw error
      this.#handleFailure(session, session.redactor.redactError(error))
    }
  }

  async #open(session: PooledSession): Promise<Session> {
    const signal = AbortSignal.any([this.#o.signal, session.cancellation.signal])
    const trace = session.redactor.redactTrace((event) => {
      session.addEvent(event)
      this.#notify(() => this.#o.trace(this.#server, event, session.number))
    })
    const opened = await openSession(this.#reached, { ...this.#o, signal, trace })
    session.session = opened
    session.delay = 0
    this.#setupTrips = session.roundTrips
    this.facts = session.facts
    // What failed once isn't tried in each session anew.
    this.#reached = opened.server
    return opened
  }

  /** The next name, if this session may ask for one. */
  #takeName(session: PooledSession): NodeName | undefined {
    session.pendingName = this.queue.take(session.replies === 0)
    if (session.pendingName !== undefined) session.namesLeft--
    return session.pendingName
  }

  #handleReply(session: PooledSession, reply: Reply): void {
    if (reply.code === 421) {
      throw new SessionError('etrn', formatReply(reply), { exitStatus: EXIT.TEMPFAIL, reply, kind: 'connection-lost' })
    }
    session.replies++
    if (session.number > this.#failedAfter) this.#failedAfter = Infinity
    this.#setResult(session, reply)
    // Only an answer shows that the server has time for more at once.
    while (this.#isWanted(this.#waiting)) this.#startSession()
  }

  #setResult(session: PooledSession, reply: Reply): void {
    const { pendingName: name, redactor: secrets } = session
    if (name === undefined) return
    session.pendingName = undefined
    const result = { ...resultOf(name, reply), text: secrets.redact(reply.text) }
    this.queue.setResult(name, result)
    this.#state.hasAccepted ||= isAccepted(result.outcome)
    if (result.outcome === 'failed' || (reply.code >= 500 && !this.#o.keepGoing)) this.queue.end(null, 'skipped')
    this.#notify(() => this.#o.onResult(this.#server, result))
  }

  /** Calls back. What that throws must not come up in a connection that is about to end, or in a timer. */
  #notify(callback: () => void): void {
    try {
      callback()
    } catch (thrown) {
      this.#abort(thrown)
    }
  }

  #abort(thrown: unknown): void {
    this.#thrown.push(thrown)
    this.queue.end(null, 'skipped')
    this.#cancelUnopened()
  }

  /** Nobody has to wait for a session that has nothing to do any more. */
  #cancelUnopened(): void {
    for (const { session: opened, cancellation: calledOff } of this.#sessions)
      if (opened === undefined) calledOff.abort()
  }

  /** What follows from a session that ended before its time: others go on where it ended, or nobody does. */
  #handleFailure(session: PooledSession, error: SessionError): void {
    const { pendingName: name, replies, number } = session
    const isFurther = replies === 0 && this.#isHarmless(session, error)
    const isLost = replies > 0 && error.kind === 'connection-lost' && this.#mayContinue
    if (!isFurther && !isLost) return this.#endWith(session, error)
    this.queue.setUnanswered(name, error, true)
    if (isLost) return
    this.#state.isOneAtATime = true
    if (number > this.#failedAfter) this.queue.end(asTemporary(error), 'deferred')
    else this.#failedAfter = Math.min(this.#failedAfter, this.#started)
  }

  /** Whether it failed only as one session more, and takes nothing from what the others do. */
  #isHarmless({ pendingName: name, isAdditional: isBeside }: PooledSession, error: SessionError): boolean {
    const isUnheard = name === undefined || (isBeside && error.kind === 'connection-lost')
    const isGrave = error.kind === 'unencrypted-data' || (isSecurityFailure(error) && !isBeside)
    return isUnheard && this.queue.hasReplies && !this.#o.signal.aborted && !isGrave
  }

  /** It ends the exchange. */
  #endWith(session: PooledSession, error: SessionError): void {
    const { pendingName: name, replies } = session
    const isBroken = error.exitStatus === EXIT.PROTOCOL && (name !== undefined || replies > 0)
    if (error.reply !== null && name !== undefined) {
      // Where it isn't asked for again, a 421 is a name's reply like another.
      this.#setResult(session, error.reply)
      if (this.queue.remaining === 0) return
    } else this.queue.setUnanswered(name ?? (isBroken ? this.queue.take(true) : undefined), error, false)
    const isStopped = isBroken || error.kind === 'interrupted' || (error.kind === 'connection-lost' && replies > 0)
    this.queue.end(error, isStopped ? 'skipped' : outcomeOfError(error))
    const hasFound = session.facts.greeting !== null || this.facts.greeting === null
    if (this.queue.error === error && hasFound) this.facts = session.facts
  }
}

/** What names that were served before come to when no session can be had any more. */
function asTemporary({ stage, message, reply, cause }: SessionError): SessionError {
  return new SessionError(stage, message, { exitStatus: EXIT.TEMPFAIL, reply, cause })
}
