import type { NodeName } from './names.js'
import { EXIT, EXIT_OF, outcomeWithout, type Result, resultOf, resultWithout, said, SessionError } from './outcome.js'
import { Secrets } from './secrets.js'
import type { Reply } from './smtp/reply.js'
import { type Extensions, open, type Server, type SessionOptions, type TraceEvent } from './smtp/session.js'
import type { TlsInfo } from './smtp/tls.js'

export const DEFAULT_TIMEOUT_MS = 60_000

export type AskOptions = Omit<SessionOptions, 'trace'> & {
  /** Goes on after a 5xx, and after a session without an accepted name. */
  readonly keepGoing: boolean
  /** The server accepted a name before. */
  readonly wasAccepted?: boolean
  /** What this server's sessions so far have made secret */
  readonly secrets?: Secrets
  readonly trace: (server: Server, event: TraceEvent) => void
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
  const facts: Facts = { address: null, tls: null, greeting: null, extensions: null }
  const secrets = o.secrets ?? new Secrets(server.credentials?.password)
  const trace = secrets.hiding((event) => {
    if (event.type === 'connected') Object.assign(facts, { address: event.address, tls: null })
    if (event.type === 'tls') facts.tls = event.tls
    if (event.type === 'greeting') facts.greeting = event.text
    if (event.type === 'extensions') facts.extensions = event.extensions
    o.trace(server, event)
  })
  const exchange = new Exchange(server, names, {
    ...o,
    trace,
    secrets,
    onResult: (result) => o.onResult(server, result),
  })
  await exchange.run()
  const elapsedMs = Math.round(performance.now() - began)
  return {
    server,
    ...facts,
    attempts: names.length === 0 ? 0 : 1,
    elapsedMs,
    error: exchange.error,
    isBlind: false,
    names: exchange.results(names),
  }
}

type Facts = { -readonly [K in 'address' | 'tls' | 'greeting' | 'extensions']: ServerReport[K] }

/** Sendmail slows down from the 8th name of a session, Exim closes at the 11th, Postfix at the 121st. */
export const NAMES_A_SESSION = 7

type ExchangeOptions = SessionOptions &
  Pick<AskOptions, 'keepGoing' | 'wasAccepted'> & {
    readonly secrets: Secrets
    readonly onResult: (result: Result) => void
  }

/** How one session went. */
type Ended = {
  /** Names that it answered */
  readonly replies: number
  /** What ended it before its time */
  readonly error?: SessionError
  /** The name that had gone out then, without a reply */
  readonly owed?: NodeName | undefined
}

/** The names of one server, handed to its sessions one by one. */
class Exchange {
  /** What ended it before every name had its answer */
  error: SessionError | null = null
  #server: Server
  readonly #o: ExchangeOptions
  readonly #waiting: NodeName[]
  readonly #known = new Map<NodeName, Result>()
  #accepted: boolean
  /** No further name is sent to this server: those that wait are skipped. */
  #stopped = false

  constructor(server: Server, names: readonly NodeName[], o: ExchangeOptions) {
    this.#server = server
    this.#waiting = [...names]
    this.#o = o
    this.#accepted = o.wasAccepted ?? false
  }

  /** Session after session, until nothing waits or nothing can be had. */
  async run(): Promise<void> {
    /** Sessions in a row that ended before their first ETRN */
    let unopened = 0
    while (this.#next() !== undefined) {
      const { replies, error, owed } = await this.#session()
      // A server must not be asked for 5,000 names that it doesn't serve.
      const mayGoOn = this.#accepted || this.#o.keepGoing
      if (replies > 0 || owed !== undefined) unopened = 0
      if (error === undefined) this.#stopped ||= !mayGoOn
      else if (replies === 0 && owed === undefined) {
        // A further session that ends so takes no name; only the second one in a row ends the exchange.
        const isFurther = this.#known.size > 0 && !this.#o.signal.aborted && !isTrust(error)
        if (isFurther && unopened++ === 0) continue
        this.error = isFurther ? temporary(error) : error
        this.#stopped = error.kind === 'interrupted'
      } else if (error.kind !== 'lost' || replies === 0 || !mayGoOn) this.#end(error, replies, owed)
    }
  }

  /** The result of each name, in this order. */
  results(names: readonly NodeName[]): Result[] {
    const outcome = this.#stopped || this.error === null ? 'skipped' : outcomeWithout(this.error)
    return names.map((name) => this.#known.get(name) ?? resultWithout(name, outcome))
  }

  #next(): NodeName | undefined {
    return this.#stopped || this.error !== null ? undefined : this.#waiting[0]
  }

  async #session(): Promise<Ended> {
    let replies = 0
    let owed: NodeName | undefined
    const trace = (event: TraceEvent): void => {
      if (event.type === 'sent' && event.line.startsWith('ETRN ')) owed = this.#next()
      this.#o.trace(event)
    }
    try {
      const session = await open(this.#server, { ...this.#o, trace })
      // What failed once isn't tried in each session anew.
      this.#server = session.server
      try {
        for (let name = this.#next(); name !== undefined && replies < NAMES_A_SESSION; name = this.#next()) {
          const reply = await session.etrn(name)
          if (reply.code === 421) {
            throw new SessionError('etrn', said(reply), { exitStatus: EXIT.TEMPFAIL, reply, kind: 'lost' })
          }
          this.#answered(name, this.#resultOf(name, reply))
          owed = undefined
          replies++
        }
      } finally {
        await session.quit()
      }
      return { replies }
    } catch (error) {
      if (error instanceof SessionError) return { replies, error: this.#o.secrets.hideIn(error), owed }
      throw error
    }
  }

  #resultOf(name: NodeName, reply: Reply): Result {
    return { ...resultOf(name, reply), text: this.#o.secrets.hide(reply.text) }
  }

  #answered(name: NodeName, result: Result): void {
    this.#waiting.shift()
    this.#known.set(name, result)
    this.#o.onResult(result)
    this.#accepted ||= EXIT_OF[result.outcome] === EXIT.OK
    this.#stopped ||= result.outcome === 'failed' || ((result.code ?? 0) >= 500 && !this.#o.keepGoing)
  }

  /** No session follows: the name whose reply is owed has the 421, or nothing, to show for it. */
  #end(error: SessionError, replies: number, owed: NodeName | undefined): void {
    const isBroken = error.exitStatus === EXIT.PROTOCOL
    // What breaks the protocol before a command is the failure of the name that was to be asked for.
    const hit = owed ?? (isBroken ? this.#next() : undefined)
    if (owed !== undefined && error.reply !== null) this.#answered(owed, this.#resultOf(owed, error.reply))
    else if (hit !== undefined) {
      this.#waiting.shift()
      this.#known.set(hit, resultWithout(hit, outcomeWithout(error)))
    }
    const isTold = owed !== undefined && error.reply !== null && this.#waiting.length === 0
    this.error = isTold ? null : error
    this.#stopped ||= isBroken || error.kind === 'interrupted' || (error.kind === 'lost' && replies > 0)
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
