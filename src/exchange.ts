import type { NodeName } from './names.js'
import { EXIT, EXIT_OF, outcomeWithout, type Result, resultOf, resultWithout, said, SessionError } from './outcome.js'
import { isSooner, type Pace } from './pace.js'
import { Secrets } from './secrets.js'
import type { Reply } from './smtp/reply.js'
import {
  type Extensions,
  open,
  type Server,
  type Session,
  type SessionOptions,
  type TraceEvent,
} from './smtp/session.js'
import type { TlsInfo } from './smtp/tls.js'

export const DEFAULT_TIMEOUT_MS = 60_000

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

/** What is known of one server at the end; null: not known. */
export type ServerReport = {
  readonly server: Server
  readonly address: string | null
  readonly tls: TlsInfo | null
  readonly greeting: string | null
  readonly extensions: Extensions | null
  /** How often the names were asked for; 0: not at all */
  readonly attempts: number
  readonly elapsedMs: number
  /** What ended the exchange before every name had its answer */
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

type Facts = { -readonly [K in 'address' | 'tls' | 'greeting' | 'extensions']: ServerReport[K] }

const UNKNOWN: Facts = { address: null, tls: null, greeting: null, extensions: null }

/** Sendmail slows down from the 8th name of a session, Exim closes at the 11th, Postfix at the 121st. */
export const NAMES_A_SESSION = 7
const SESSIONS_A_SERVER = 4

/** What a session takes before its first ETRN: TCP, the greeting, EHLO; and more, once the first one has shown it */
const TRIPS_TO_ETRN = 3

/** One session, as far as it has come. */
type Progress = Pace & {
  readonly number: number
  /** Beside others, so that all is done sooner */
  readonly isBeside: boolean
  /** After a further session that failed */
  readonly isLastTry: boolean
  readonly facts: Facts
  /** Ends what has not got as far as ETRN. */
  readonly calledOff: AbortController
  isOpen: boolean
  trips: number
  replies: number
  /** Taken from the queue, and not answered */
  name?: NodeName | undefined
  isSent: boolean
}

/** The names of one server, in one queue, from which its sessions take them one by one. */
class Exchange {
  /** What ended it before every name had its answer */
  error: SessionError | null = null
  /** Of the newest session that got as far as ETRN, or of the one that ended it */
  facts = UNKNOWN
  readonly #server: Server
  /** As it could be reached */
  #reached: Server
  readonly #o: AskOptions
  readonly #secrets: Secrets
  readonly #names: number
  readonly #waiting: NodeName[]
  readonly #known = new Map<NodeName, Result>()
  /** What took the reply from a name that had gone out */
  readonly #lost = new Map<NodeName, SessionError>()
  readonly #sessions = new Map<Progress, Promise<void>>()
  #count = 0
  #trips = TRIPS_TO_ETRN
  #accepted = false
  /** A further session failed: from then on there is one at a time. */
  #isCareful = false
  /** None has been answered since. */
  #isLastTry = false
  /** No further name is sent to this server: those that wait are skipped. */
  #stopped = false

  constructor(server: Server, names: readonly NodeName[], o: AskOptions) {
    this.#server = this.#reached = server
    this.#names = names.length
    this.#waiting = [...names]
    this.#o = o
    this.#secrets = o.secrets ?? new Secrets(server.credentials?.password)
  }

  /** Session after session, and beside each other, until nothing waits or nothing can be had. */
  async run(): Promise<void> {
    if (this.#isWorthIt) this.#begin()
    while (this.#sessions.size > 0) await Promise.race(this.#sessions.values())
    this.error ??= [...this.#lost.values()][0] ?? null
  }

  /** The result of each name, in this order. */
  results(names: readonly NodeName[]): Result[] {
    const outcome = this.#stopped || this.error === null ? 'skipped' : outcomeWithout(this.error)
    return names.map((name) => {
      const lost = this.#lost.get(name)
      return this.#known.get(name) ?? resultWithout(name, lost === undefined ? outcome : outcomeWithout(lost))
    })
  }

  get #isOver(): boolean {
    return this.#stopped || this.error !== null
  }

  get #hasMore(): boolean {
    return !this.#isOver && this.#waiting.length > 0
  }

  /** A server must not be asked for 5,000 names that it doesn't serve. */
  get #mayFollow(): boolean {
    return this.#accepted || this.#o.wasAccepted === true || this.#o.keepGoing
  }

  /** Whether names wait for a session more, or would have their answers sooner with one. */
  get #isWorthIt(): boolean {
    if (!this.#hasMore) return false
    const open = [...this.#sessions.keys()]
    if (open.length === 0) return true
    const most = this.#accepted && !this.#isCareful ? SESSIONS_A_SERVER : 1
    return open.length < most && isSooner(this.#waiting.length, open, { delay: this.#trips, left: NAMES_A_SESSION })
  }

  #begin(): void {
    const session: Progress = {
      ...{ number: ++this.#count, isBeside: this.#sessions.size > 0, isLastTry: this.#isLastTry },
      ...{ delay: this.#trips, left: NAMES_A_SESSION, trips: 0, replies: 0, isSent: false, isOpen: false },
      facts: { ...UNKNOWN },
      calledOff: new AbortController(),
    }
    const ended = this.#o.turn(async () => {
      // When its turn comes, others may have asked for all.
      if (this.#hasMore) await this.#session(session)
    })
    const followed = ended.then(() => {
      this.#sessions.delete(session)
      if (this.#isWorthIt) this.#begin()
    })
    this.#sessions.set(session, followed)
  }

  async #session(session: Progress): Promise<void> {
    let opened: Session | undefined
    try {
      const signal = AbortSignal.any([this.#o.signal, session.calledOff.signal])
      opened = await open(this.#reached, { ...this.#o, signal, trace: this.#tracing(session) })
      session.isOpen = true
      // What failed once isn't tried in each session anew.
      this.#reached = opened.server
      this.#trips = session.trips
      this.facts = session.facts
      session.delay = 0
      for (let name = this.#taken(session); name !== undefined; name = this.#taken(session)) {
        const reply = await opened.etrn(name)
        if (reply.code === 421) {
          throw new SessionError('etrn', said(reply), { exitStatus: EXIT.TEMPFAIL, reply, kind: 'lost' })
        }
        session.name = undefined
        session.replies++
        if (session.isLastTry) this.#isLastTry = false
        this.#answered(name, reply)
        // Only an answer shows that the server has time for more at once.
        while (this.#isWorthIt) this.#begin()
      }
      this.#stopped ||= !this.#mayFollow
    } catch (error) {
      if (!(error instanceof SessionError)) throw error
      this.#failed(session, this.#secrets.hideIn(error))
    } finally {
      session.left = 0
      if (this.#isOver || this.#known.size === this.#names) this.#callOff()
      await opened?.quit()
    }
  }

  /** Nobody has to wait for a session that has nothing to do any more. */
  #callOff(): void {
    for (const { isOpen, calledOff } of this.#sessions.keys()) if (!isOpen) calledOff.abort()
  }

  /** Tells what a session does, and learns from it. */
  #tracing(session: Progress): (event: TraceEvent) => void {
    const { facts } = session
    return this.#secrets.hiding((event) => {
      if (event.type === 'connected') {
        session.trips = 0
        Object.assign(facts, { address: event.address, tls: null })
      }
      if (event.type === 'tls') facts.tls = event.tls
      if (event.type === 'greeting') facts.greeting = event.text
      if (event.type === 'extensions') facts.extensions = event.extensions
      if (event.type === 'sent') session.isSent = session.name !== undefined
      if (event.type === 'connected' || event.type === 'tls' || event.type === 'received') {
        session.trips++
        session.delay = Math.max(0, this.#trips - session.trips)
      }
      this.#o.trace(this.#server, event, session.number)
    })
  }

  /** The next name of the queue, if this session may ask for one. */
  #taken(session: Progress): NodeName | undefined {
    session.name = this.#isOver || session.left === 0 ? undefined : this.#waiting.shift()
    session.isSent = false
    if (session.name !== undefined) session.left--
    return session.name
  }

  #answered(name: NodeName, reply: Reply): void {
    const result = { ...resultOf(name, reply), text: this.#secrets.hide(reply.text) }
    this.#lost.delete(name)
    this.#known.set(name, result)
    this.#o.onResult(this.#server, result)
    this.#accepted ||= EXIT_OF[result.outcome] === EXIT.OK
    this.#stopped ||= result.outcome === 'failed' || (reply.code >= 500 && !this.#o.keepGoing)
  }

  /** What follows from a session that ended before its time. */
  #failed(session: Progress, error: SessionError): void {
    const { name, isSent, replies, isBeside, isLastTry } = session
    const isLost = error.kind === 'lost'
    // A further session that ends without any reply to ETRN takes nothing from what the others do.
    const isUnheard = replies === 0 && (!isSent || (isBeside && isLost))
    const isFurther = isUnheard && this.#known.size > 0 && !this.#o.signal.aborted && !isTrust(error)
    const goesOn = !this.#isOver && (isFurther ? !isLastTry : isLost && replies > 0 && this.#mayFollow)
    if (isFurther) this.#isCareful = this.#isLastTry = true
    const isBroken = error.exitStatus === EXIT.PROTOCOL && !isUnheard
    // The last word that there is for a name, where it isn't asked for again
    if (name !== undefined && isSent && error.reply !== null && !goesOn) this.#answered(name, error.reply)
    else if (name !== undefined) {
      this.#waiting.unshift(name)
      if (isSent || isBroken) this.#lost.set(name, error)
    }
    if (goesOn || this.#isOver || (name !== undefined && this.#known.has(name) && this.#waiting.length === 0)) return
    this.error = isFurther ? temporary(error) : error
    this.facts = session.facts
    this.#stopped = isBroken || error.kind === 'interrupted' || (isLost && replies > 0)
  }
}

/** Whether it is the server's identity, or ours, that did not hold: never a matter of one session more. */
function isTrust({ stage, exitStatus }: SessionError): boolean {
  return stage === 'auth' || ((stage === 'starttls' || stage === 'tls') && exitStatus !== EXIT.TEMPFAIL)
}

/** What names that were served before come to when no session can be had any more. */
function temporary({ stage, message, reply, cause }: SessionError): SessionError {
  return new SessionError(stage, message, { exitStatus: EXIT.TEMPFAIL, reply, cause })
}
