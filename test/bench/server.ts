import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'

// The server of the bench. measure.ts forks it, so that its CPU time isn't counted as a client's.

export type Plan = {
  /** The number of ports of 127.0.0.1 that the server listens on */
  readonly ports: number
  /** Replies wait for the ticks of a clock that counts round trips, instead of being sent at once. */
  readonly hasTicks: boolean
  /** From the 8th ETRN of a session on, the reply takes 1, 2, 4... more ticks. */
  readonly slowsDown: boolean
}

/** The counts since the plan began */
export type Tally = {
  readonly connections: number
  /** Reads that returned octets */
  readonly segments: number
  readonly octets: number
  /** Replies to ETRN */
  readonly replies: number
  /** The tick of the last of these replies */
  readonly lastReplyTick: number
  /** The first octets from the clients */
  readonly text: string
}

/** A message from the parent. The answer to a plan is the list of ports, the answer to 'tally' is a Tally. */
export type ParentMessage = Plan | 'tally'

/** After this time without octets from any client, every client waits for a reply. */
const QUIET_MS = 60
/** The same while a client has a reply and hasn't reacted */
const REACTION_MS = 400
/** Sendmail's MAXTIMEOUT in seconds, with a tick for a second */
const MAX_DELAY_TICKS = 240
/** Sendmail's MAXETRNCOMMANDS */
const FIRST_SLOW_REQUEST = 8

/**
 * Counts round trips without measuring time. Each reply is due in a tick. When all clients wait, the clock goes to the next tick with a
 * reply, and the replies of that tick are sent together. The clock stops while no client waits for a reply.
 */
class TripClock {
  now = 0
  #due: { readonly tick: number; readonly socket: Socket; readonly send: () => void }[] = []
  /** Clients that have a reply and haven't reacted */
  readonly #reacting = new Set<Socket>()
  #timer: NodeJS.Timeout | undefined

  schedule(socket: Socket, ticks: number, send: () => void): void {
    this.#due.push({ tick: this.now + ticks, socket, send })
    this.noteActivity(socket)
  }

  noteActivity(socket: Socket): void {
    this.#reacting.delete(socket)
    this.#restartTimer()
  }

  noteClose(socket: Socket): void {
    this.#due = this.#due.filter((due) => due.socket !== socket)
    this.noteActivity(socket)
  }

  stop(): void {
    this.#due = []
    clearTimeout(this.#timer)
  }

  #restartTimer(): void {
    clearTimeout(this.#timer)
    if (this.#due.length === 0) return
    this.#timer = setTimeout(() => this.#tick(), this.#reacting.size > 0 ? REACTION_MS : QUIET_MS)
  }

  #tick(): void {
    this.now = Math.min(...this.#due.map(({ tick }) => tick))
    const ready = this.#due.filter(({ tick }) => tick <= this.now)
    this.#due = this.#due.filter(({ tick }) => tick > this.now)
    for (const { socket, send } of ready) {
      this.#reacting.add(socket)
      send()
    }
    this.#restartTimer()
  }
}

/** Serves the connections of one plan. */
class PlanServer {
  readonly tally = { connections: 0, segments: 0, octets: 0, replies: 0, lastReplyTick: 0, text: '' }
  readonly #plan: Plan
  readonly #clock = new TripClock()
  readonly #servers: Server[] = []
  readonly #sockets = new Set<Socket>()

  constructor(plan: Plan) {
    this.#plan = plan
  }

  async listen(): Promise<number[]> {
    for (let index = 0; index < this.#plan.ports; index++) {
      const server = createServer({ noDelay: true }, (socket) => this.#converse(socket))
      this.#servers.push(server.listen(0, '127.0.0.1'))
      await once(server, 'listening')
    }
    // listen on TCP gives an AddressInfo
    return this.#servers.map((server) => (server.address() as AddressInfo).port)
  }

  close(): void {
    this.#clock.stop()
    for (const server of this.#servers) server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #converse(socket: Socket): void {
    this.#sockets.add(socket)
    this.tally.connections++
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.#sockets.delete(socket)
      this.#clock.noteClose(socket)
    })
    // The kernel accepts the connection at once, so that the greeting's two ticks include the TCP handshake.
    this.#reply(socket, 2, '220 mail.provider.example ESMTP')
    let partialLine = ''
    let etrns = 0
    socket.on('data', (octets) => {
      this.#countOctets(octets.toString())
      this.#clock.noteActivity(socket)
      const lines = `${partialLine}${octets.toString()}`.split(/\r?\n/)
      partialLine = lines.pop() ?? ''
      for (const line of lines) {
        if (/^ETRN /i.test(line)) this.#replyToEtrn(socket, ++etrns)
        else this.#replyToOther(socket, line)
      }
    })
  }

  #countOctets(text: string): void {
    this.tally.segments++
    this.tally.octets += text.length
    if (this.tally.text.length < 1000) this.tally.text += text
  }

  /** Replies to the nth ETRN of a session. */
  #replyToEtrn(socket: Socket, nth: number): void {
    const delay =
      this.#plan.slowsDown && nth >= FIRST_SLOW_REQUEST ? Math.min(2 ** (nth - FIRST_SLOW_REQUEST), MAX_DELAY_TICKS) : 0
    this.#reply(socket, 1 + delay, '250 Queuing started', () => {
      this.tally.replies++
      this.tally.lastReplyTick = this.#clock.now
    })
  }

  #replyToOther(socket: Socket, line: string): void {
    if (/^EHLO /i.test(line)) this.#reply(socket, 1, '250-mail.provider.example\r\n250-PIPELINING\r\n250 ETRN')
    else if (/^QUIT$/i.test(line)) this.#reply(socket, 1, '221 bye', () => socket.end())
    else this.#reply(socket, 1, '500 unknown command')
  }

  #reply(socket: Socket, ticks: number, text: string, afterSend: () => void = () => undefined): void {
    const send = (): void => {
      socket.write(`${text}\r\n`)
      afterSend()
    }
    if (this.#plan.hasTicks) this.#clock.schedule(socket, ticks, send)
    else send()
  }
}

let planServer: PlanServer | undefined

async function answerParent(message: ParentMessage): Promise<readonly number[] | Tally | undefined> {
  if (message === 'tally') return planServer?.tally
  planServer?.close()
  planServer = new PlanServer(message)
  return planServer.listen()
}

process.on('message', (message: ParentMessage) => {
  void answerParent(message).then((answer) => process.send?.(answer))
})
// The parent has ended, perhaps by a signal.
process.on('disconnect', () => process.exit())
