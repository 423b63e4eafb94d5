import type { NodeName } from './names.js'
import {
  EXIT,
  EXIT_OF,
  isTrust,
  type Outcome,
  outcomeWithout,
  type Result,
  resultOf,
  resultWithout,
  said,
  SessionError,
} from './outcome.js'
import { isSooner, NAMES_A_SESSION, type Pace, SESSIONS_A_SERVER } from './pace.js'
import { type Facts, NOTHING, Progress } from './progress.js'
import { Secrets } from './secrets.js'
import type { Reply } from './smtp/reply.js'
import { open, type Server, type Session, type SessionOptions, type TraceEvent } from './smtp/session.js'

export type AskOptions = Omit<SessionOptions, 'trace'> & {
  /** Goes on after a 5xx, and after a session without an accepted name. */
  readonly keepGoing: boolean
  /** The server accepted a name before. */
  readonly wasAccepted?: boolean
  /** What this server's sessions so far have made secret */
  readonly secrets?: Secrets
  /** Does the work of one session when it is its turn among all. */
  readonly turn: <T>(work: () => Promise<T>) => Promise<T>
  /** The sessions of a server are counted from 1. */
  readonly trace: (server: Server, event: TraceEvent, session: number) => void
  /** Told of each name whose reply is there, at once. */
  readonly onResult: (server: Server, result: Result) => void
}

/** What is known of one server at the end. */
export type ServerReport = Facts & {
  readonly server: Server
  /** How often the names were asked for; 0: not at all */
  readonly attempts: number
  readonly elapsedMs: number
  /** What ended the exchange before every name had its answer; null: nothing did. */
  readonly error: SessionError | null
  /** --wait was given, and the server's answers don't tell whether anything is left. */
  readonly isBlind: boolean
  /** One for each name, in the order asked */
  readonly names: readonly Result[]
}

/** Asks one server for all names. Never throws for what a server does: every name gets a result. */
export async function ask(server: Server, names: readonly NodeName[], o: AskOptions): Promise<ServerReport> {
  const began = performance.now()
  const exchange = new Exchange(server, names, o)
  await exchange.run()
  const elapsedMs = Math.round(performance.now() - began)
  return {
    server,
    ...exchange.facts,
    attempts: names.length === 0 ? 0 : 1,
    elapsedMs,
    error: exchange.error,
    isBlind: false,
    names: exchange.results(names),
  }
}

/** How it ended for the names that were not asked for. */
type End = { readonly error: SessionError | null; readonly rest: Outcome }

/** The names of one server, in one queue, from which its sessions take them one by one. */
class Exchange {
  /** Of the newest session that got as far as ETRN, or of the one that ended it */
  facts = NOTHING
  readonly #server: Server
  /** As it could be reached */
  #reached: Server
  readonly #o: AskOptions
  readonly #secrets: Secrets
  readonly #total: number
  readonly #waiting: NodeName[]
  /** Names that took their sessions with them: for new sessions alone */
  readonly #again: NodeName[] = []
  readonly #known = new Map<NodeName, Result>()
  /** Names that have gone out without a reply, and what took it */
  readonly #owed = new Map<NodeName, SessionError>()
  readonly #sessions = new Set<Progress>()
  /** Sessions that wait for their turn */
  #queued = 0
  #begun = 0
  /** Round trips before the first ETRN, as the newest session has shown */
  #trips = 0
  #accepted = false
  /** A further session failed: from then on there is one at a time... */
  #isCareful = false
  /** ...and the next one is the last that may fail. */
  #isLastTry = false
  #end: End | undefined
  #bug: { readonly thrown: unknown } | undefined
  #finished = (): void => undefined

  constructor(server: Server, names: readonly NodeName[], o: AskOptions) {
    this.#server = this.#reached = server
    this.#total = names.length
    this.#waiting = [...names]
    this.#o = o
    this.#secrets = o.secrets ?? new Secrets(server.credentials?.password)
  }

  /** Session after session, and beside each other, until nothing waits or nothing can be had. Throws what a callback throws. */
  async run(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#finished = resolve
      this.#goOn()
    })
    if (this.#bug !== undefined) throw this.#bug.thrown
  }

  /** What ended it before every name had its answer */
  get error(): SessionError | null {
    return this.#end?.error ?? [...this.#owed.values()][0] ?? null
  }

  /** The result of each name, in this order. */
  results(names: readonly NodeName[]): Result[] {
    return names.map((name) => {
      const owed = this.#owed.get(name)
      const outcome = owed === undefined ? (this.#end?.rest ?? 'skipped') : outcomeWithout(owed)
      return this.#known.get(name) ?? resultWithout(name, outcome)
    })
  }

  get #isOver(): boolean {
    return this.#end !== undefined || this.#bug !== undefined
  }

  get #hasMore(): boolean {
    return !this.#isOver && this.#waiting.length + this.#again.length > 0
  }

  /** A server must not be asked for 5,000 names that it doesn't serve. */
  get #mayFollow(): boolean {
    return this.#accepted || this.#o.wasAccepted === true || this.#o.keepGoing
  }

  /** Whether a session more is of use, beside those under way and so many that wait for their turn. */
  #isWanted(queued: number): boolean {
    const another = { delay: this.#trips, left: NAMES_A_SESSION }
    const sessions = [...this.#sessions, ...Array<Pace>(queued).fill(another)]
    if (!this.#hasMore || sessions.length === 0) return this.#hasMore
    if (sessions.length >= (this.#accepted && !this.#isCareful ? SESSIONS_A_SERVER : 1)) return false
    // One that is still on its way may never arrive.
    const isSomeOpen = queued > 0 || [...this.#sessions].some(({ isOpen, left }) => isOpen && left > 0)
    return !isSomeOpen || isSooner(this.#waiting.length + this.#again.length, sessions, another)
  }

  #goOn(): void {
    if (this.#isWanted(this.#queued)) this.#begin()
    if (this.#sessions.size === 0 && !this.#hasMore) this.#finished()
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
    const session = new Progress({
      number: ++this.#begun,
      isBeside: this.#sessions.size > 0,
      isLastTry: this.#isLastTry,
      trips: this.#trips,
    })
    this.#sessions.add(session)
    let opened: Session | undefined
    try {
      opened = await this.#opened(session)
      while (this.#hasMore && session.left > 0) {
        const reply = await opened.etrn(() => this.#take(session))
        if (reply === undefined) break
        this.#heard(session, reply)
      }
      if (!this.#mayFollow) this.#finish(null, 'skipped')
    } catch (thrown) {
      if (thrown instanceof SessionError) this.#failed(session, this.#secrets.hideIn(thrown))
      else this.#bug ??= { thrown }
    } finally {
      session.left = 0
      if (this.#isOver || this.#known.size === this.#total) this.#callOff()
      await opened?.quit()
      this.#sessions.delete(session)
      this.#goOn()
    }
  }

  async #opened(session: Progress): Promise<Session> {
    const signal = AbortSignal.any([this.#o.signal, session.calledOff.signal])
    const trace = this.#secrets.hiding((event) => {
      session.see(event)
      this.#o.trace(this.#server, event, session.number)
    })
    const opened = await open(this.#reached, { ...this.#o, signal, trace })
    session.isOpen = true
    session.delay = 0
    this.#trips = session.trips
    this.facts = session.facts
    // What failed once isn't tried in each session anew.
    this.#reached = opened.server
    return opened
  }

  /** Nobody has to wait for a session that has nothing to do any more. */
  #callOff(): void {
    for (const { isOpen, calledOff } of this.#sessions) if (!isOpen) calledOff.abort()
  }

  /** The next name, if this session may ask for one. */
  #take(session: Progress): NodeName | undefined {
    if (this.#isOver) return undefined
    session.name = (session.replies === 0 ? this.#again.shift() : undefined) ?? this.#waiting.shift()
    if (session.name !== undefined) session.left--
    return session.name
  }

  #heard(session: Progress, reply: Reply): void {
    const { name } = session
    if (reply.code === 421) {
      throw new SessionError('etrn', said(reply), { exitStatus: EXIT.TEMPFAIL, reply, kind: 'lost' })
    }
    session.name = undefined
    session.replies++
    if (session.isLastTry) this.#isLastTry = false
    if (name !== undefined) this.#answered(name, reply)
    // Only an answer shows that the server has time for more at once.
    while (this.#isWanted(this.#queued)) this.#begin()
  }

  #answered(name: NodeName, reply: Reply): void {
    const result = { ...resultOf(name, reply), text: this.#secrets.hide(reply.text) }
    this.#owed.delete(name)
    this.#known.set(name, result)
    this.#accepted ||= EXIT_OF[result.outcome] === EXIT.OK
    if (result.outcome === 'failed' || (reply.code >= 500 && !this.#o.keepGoing)) this.#finish(null, 'skipped')
    this.#o.onResult(this.#server, result)
  }

  /** What follows from a session that ended before its time. */
  #failed(session: Progress, error: SessionError): void {
    const { name, replies } = session
    if (this.#isFurther(session, error)) {
      this.#isCareful = true
      this.#isLastTry = true
      if (name !== undefined) this.#askAgain(name, error)
      if (session.isLastTry) this.#finish(temporary(error), 'deferred')
    } else if (error.kind === 'lost' && replies > 0 && this.#mayFollow) {
      if (name !== undefined) this.#askAgain(name, error)
    } else this.#ended(session, error)
    const hasFound = session.facts.greeting !== null || this.facts.greeting === null
    if (this.#end?.error === error && hasFound) this.facts = session.facts
  }

  /** Whether it failed only as one session more, and takes nothing from what the others do. */
  #isFurther({ name, replies, isBeside }: Progress, error: SessionError): boolean {
    const isUnheard = replies === 0 && (name === undefined || (isBeside && error.kind === 'lost'))
    const isGrave = error.kind === 'clear text' || (isTrust(error) && !isBeside)
    return isUnheard && this.#known.size > 0 && !this.#o.signal.aborted && !isGrave
  }

  #askAgain(name: NodeName, error: SessionError): void {
    this.#again.push(name)
    this.#owed.set(name, error)
  }

  /** It ends the exchange. */
  #ended({ name, replies }: Progress, error: SessionError): void {
    const isBroken = error.exitStatus === EXIT.PROTOCOL && (name !== undefined || replies > 0)
    if (name !== undefined && error.reply !== null) {
      // Where it isn't asked for again, a 421 is a name's reply like another.
      this.#answered(name, error.reply)
      if (!this.#hasMore) return
    } else {
      const hit = name ?? (isBroken ? (this.#again.shift() ?? this.#waiting.shift()) : undefined)
      if (hit !== undefined) this.#owed.set(hit, error)
    }
    const isStopped = isBroken || error.kind === 'interrupted' || (error.kind === 'lost' && replies > 0)
    this.#finish(error, isStopped ? 'skipped' : outcomeWithout(error))
  }

  /** No further name is sent to this server. The first end counts, but for one that shows that it isn't SMTP. */
  #finish(error: SessionError | null, rest: Outcome): void {
    if (this.#end === undefined || error?.exitStatus === EXIT.PROTOCOL) this.#end = { error, rest }
  }
}

/** What names that were served before come to when no session can be had any more. */
function temporary({ stage, message, reply, cause }: SessionError): SessionError {
  return new SessionError(stage, message, { exitStatus: EXIT.TEMPFAIL, reply, cause })
}
