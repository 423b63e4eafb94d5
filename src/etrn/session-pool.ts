import { EXIT } from '../errors.js'
import type { NodeName } from '../input/node-name.js'
import { SessionError } from '../smtp/errors.js'
import { formatReply, type Reply } from '../smtp/reply.js'
import { open, type Server, type Session } from '../smtp/session.js'
import { NOTHING, type TraceEvent } from '../smtp/trace.js'
import { Ledger } from './name-queue.js'
import { isAccepted, isTrust, outcomeWithout, type Result, resultOf } from './outcome.js'
import { Progress } from './pooled-session.js'
import type { Settings } from './request.js'
import type { ServerReport } from './server-report.js'
import { isSooner, NAMES_A_SESSION, type Pace, SESSIONS_A_SERVER } from './session-limits.js'

/** Does the work of one session when it is its turn among all. */
export type Turn = <T>(work: () => Promise<T>) => Promise<T>

export type AskOptions = Settings & {
  readonly signal: AbortSignal
  readonly turn: Turn
  /** The sessions of a server are counted from 1. */
  readonly trace: (server: Server, event: TraceEvent, session: number) => void
  /** Told of each name whose reply is there, at once. */
  readonly onResult: (server: Server, result: Result) => void
}

/** How a server has shown that it wants to be asked, from one exchange with it to the next. */
export class Acquaintance {
  /** It accepted a name: it knows this site. */
  isAccepted = false
  /** A session beside others failed: from then on there is one at a time. */
  isCareful = false
}

/** Asks one server for all names. Never throws for what a server does: every name gets a result. */
export async function ask(
  server: Server,
  names: readonly NodeName[],
  o: AskOptions,
  acquaintance = new Acquaintance(),
): Promise<ServerReport> {
  const began = performance.now()
  const exchange = new Exchange(server, names, o, acquaintance)
  await exchange.run()
  const elapsedMs = Math.round(performance.now() - began)
  return {
    server,
    ...exchange.facts,
    attempts: names.length === 0 ? 0 : 1,
    elapsedMs,
    error: exchange.names.error,
    isQueueUnknown: false,
    names: exchange.names.results,
  }
}

/** The sessions of one server, which take its names one by one. */
class Exchange {
  readonly names: Ledger
  /** Of the newest session that got as far as ETRN, or of the one that ended it */
  facts = NOTHING
  readonly #server: Server
  /** As it could be reached */
  #reached: Server
  readonly #o: AskOptions
  readonly #sessions = new Set<Progress>()
  /** Sessions that wait for their turn */
  #queued = 0
  #begun = 0
  /** Round trips before the first ETRN, as the newest session has shown */
  #trips = 0
  readonly #acquaintance: Acquaintance
  /** Where one beside others failed, the one that begins after so many is the last that may fail, until it has an answer. */
  #failedAfter = Infinity
  /** What a callback threw, or a bug of ours */
  readonly #thrown: unknown[] = []
  #finished = (): void => undefined

  constructor(server: Server, names: readonly NodeName[], o: AskOptions, acquaintance: Acquaintance) {
    this.#server = this.#reached = server
    this.names = new Ledger(names)
    this.#o = o
    this.#acquaintance = acquaintance
  }

  /** Session after session, and beside each other, until nothing waits or nothing can be had. Throws what a callback throws. */
  async run(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#finished = resolve
      this.#goOn()
    })
    if (this.#thrown.length > 0) throw this.#thrown[0]
  }

  /** A server must not be asked for 5,000 names that it doesn't serve. */
  get #mayFollow(): boolean {
    return this.#acquaintance.isAccepted || this.#o.keepGoing
  }

  /** Whether a session more is of use, beside those under way and so many that wait for their turn. */
  #isWanted(queued: number): boolean {
    const another = { delay: this.#trips, left: NAMES_A_SESSION }
    const sessions = [...this.#sessions, ...Array<Pace>(queued).fill(another)]
    if (this.names.left === 0 || sessions.length === 0) return this.names.left > 0
    const { isAccepted, isCareful } = this.#acquaintance
    if (sessions.length >= (isAccepted && !isCareful ? SESSIONS_A_SERVER : 1)) return false
    // One that is still on its way may never arrive.
    const isSomeOpen = queued > 0 || [...this.#sessions].some(({ opened, left }) => opened !== undefined && left > 0)
    return !isSomeOpen || isSooner(this.names.left, sessions, another)
  }

  #goOn(): void {
    if (this.#isWanted(this.#queued)) this.#begin()
    if (this.#sessions.size === 0 && this.names.left === 0) this.#finished()
  }

  #begin(): void {
    this.#queued++
    void this.#o.turn(async () => {
      this.#queued--
      // When its turn comes, others may have asked for all.
      if (this.#isWanted(0)) await this.#session()
    })
  }

  async #session(): Promise<void> {
    const session = new Progress(
      ++this.#begun,
      this.#sessions.size > 0,
      this.#trips,
      this.#server.credentials?.password,
    )
    this.#sessions.add(session)
    try {
      await this.#dialogue(session)
    } catch (thrown) {
      this.#broken(thrown)
    }
    session.left = 0
    if (this.names.isOver) this.#callOff()
    await session.opened?.quit()
    this.#sessions.delete(session)
    this.#goOn()
  }

  async #dialogue(session: Progress): Promise<void> {
    try {
      const opened = await this.#open(session)
      while (this.names.left > 0 && session.left > 0) {
        const reply = await opened.etrn(() => this.#take(session))
        if (reply === undefined) break
        this.#heard(session, reply)
      }
      if (!this.#mayFollow) this.names.end(null, 'skipped')
    } catch (error) {
      if (!(error instanceof SessionError)) throw error
      this.#failed(session, session.secrets.hideIn(error))
    }
  }

  async #open(session: Progress): Promise<Session> {
    const signal = AbortSignal.any([this.#o.signal, session.calledOff.signal])
    const trace = session.secrets.hiding((event) => {
      session.see(event)
      this.#tell(() => this.#o.trace(this.#server, event, session.number))
    })
    const opened = await open(this.#reached, { ...this.#o, signal, trace })
    session.opened = opened
    session.delay = 0
    this.#trips = session.trips
    this.facts = session.facts
    // What failed once isn't tried in each session anew.
    this.#reached = opened.server
    return opened
  }

  /** The next name, if this session may ask for one. */
  #take(session: Progress): NodeName | undefined {
    session.name = this.names.take(session.replies === 0)
    if (session.name !== undefined) session.left--
    return session.name
  }

  #heard(session: Progress, reply: Reply): void {
    if (reply.code === 421) {
      throw new SessionError('etrn', formatReply(reply), { exitStatus: EXIT.TEMPFAIL, reply, kind: 'connection-lost' })
    }
    session.replies++
    if (session.number > this.#failedAfter) this.#failedAfter = Infinity
    this.#answered(session, reply)
    // Only an answer shows that the server has time for more at once.
    while (this.#isWanted(this.#queued)) this.#begin()
  }

  #answered(session: Progress, reply: Reply): void {
    const { name, secrets } = session
    if (name === undefined) return
    session.name = undefined
    const result = { ...resultOf(name, reply), text: secrets.hide(reply.text) }
    this.names.answer(name, result)
    this.#acquaintance.isAccepted ||= isAccepted(result.outcome)
    if (result.outcome === 'failed' || (reply.code >= 500 && !this.#o.keepGoing)) this.names.end(null, 'skipped')
    this.#tell(() => this.#o.onResult(this.#server, result))
  }

  /** Calls back. What that throws must not come up in a connection that is about to end, or in a timer. */
  #tell(callback: () => void): void {
    try {
      callback()
    } catch (thrown) {
      this.#broken(thrown)
    }
  }

  #broken(thrown: unknown): void {
    this.#thrown.push(thrown)
    this.names.end(null, 'skipped')
    this.#callOff()
  }

  /** Nobody has to wait for a session that has nothing to do any more. */
  #callOff(): void {
    for (const { opened, calledOff } of this.#sessions) if (opened === undefined) calledOff.abort()
  }

  /** What follows from a session that ended before its time: others go on where it ended, or nobody does. */
  #failed(session: Progress, error: SessionError): void {
    const { name, replies, number } = session
    const isFurther = replies === 0 && this.#isFurther(session, error)
    const isLost = replies > 0 && error.kind === 'connection-lost' && this.#mayFollow
    if (!isFurther && !isLost) return this.#ended(session, error)
    this.names.lose(name, error, true)
    if (isLost) return
    this.#acquaintance.isCareful = true
    if (number > this.#failedAfter) this.names.end(temporary(error), 'deferred')
    else this.#failedAfter = Math.min(this.#failedAfter, this.#begun)
  }

  /** Whether it failed only as one session more, and takes nothing from what the others do. */
  #isFurther({ name, isBeside }: Progress, error: SessionError): boolean {
    const isUnheard = name === undefined || (isBeside && error.kind === 'connection-lost')
    const isGrave = error.kind === 'unencrypted-data' || (isTrust(error) && !isBeside)
    return isUnheard && this.names.hasReplies && !this.#o.signal.aborted && !isGrave
  }

  /** It ends the exchange. */
  #ended(session: Progress, error: SessionError): void {
    const { name, replies } = session
    const isBroken = error.exitStatus === EXIT.PROTOCOL && (name !== undefined || replies > 0)
    if (error.reply !== null && name !== undefined) {
      // Where it isn't asked for again, a 421 is a name's reply like another.
      this.#answered(session, error.reply)
      if (this.names.left === 0) return
    } else this.names.lose(name ?? (isBroken ? this.names.take(true) : undefined), error, false)
    const isStopped = isBroken || error.kind === 'interrupted' || (error.kind === 'connection-lost' && replies > 0)
    this.names.end(error, isStopped ? 'skipped' : outcomeWithout(error))
    const hasFound = session.facts.greeting !== null || this.facts.greeting === null
    if (this.names.error === error && hasFound) this.facts = session.facts
  }
}

/** What names that were served before come to when no session can be had any more. */
function temporary({ stage, message, reply, cause }: SessionError): SessionError {
  return new SessionError(stage, message, { exitStatus: EXIT.TEMPFAIL, reply, cause })
}
