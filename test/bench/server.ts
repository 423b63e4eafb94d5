import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'

// The server of the bench, in a process of its own, so that what it costs isn't the clients' cost. Forked by bench-measure.ts.

export type Plan = {
  /** How many ports of 127.0.0.1 it listens on */
  readonly ports: number
  /** Replies wait for the ticks of a clock that counts round trips; else each goes out at once. */
  readonly ticks: boolean
  /** From the 8th ETRN of a session the reply takes 1, 2, 4... ticks more. */
  readonly slowsDown: boolean
}

/** What was seen since a plan began. */
export type Tally = {
  readonly connections: number
  /** Reads that brought octets */
  readonly segments: number
  readonly octets: number
  /** Replies to ETRN that have gone out */
  readonly answered: number
  /** In which tick the last of these did */
  readonly lastAnswer: number
  /** The beginning of what clients sent */
  readonly text: string
}

/** What the parent sends; the reply to a plan is the list of ports, to 'tally' a Tally. */
export type Order = Plan | 'tally'

/** No client stirred for this long: all that one might do on what it has read is done. */
const QUIET_MS = 60
/** The same while a client has a reply that it did nothing upon yet */
const PATIENT_MS = 400
/** Sendmail's MAXTIMEOUT is 240 s, its MAXETRNCOMMANDS 8. A tick stands for a second here. */
const LONGEST_TICKS = 240
const FIRST_SLOW = 8

/**
 * Counts round trips without measuring time. A reply is due in some tick; when all clients wait, the clock goes to the
 * next tick in which a reply is due, and what is due then goes out together. While no client waits for a reply, as
 * between two processes of a loop, the clock stands.
 */
class Clock {
  now = 0
  #due: { readonly tick: number; readonly socket: Socket; readonly send: () => void }[] = []
  /** Have a reply, and didn't stir since */
  readonly #thinking = new Set<Socket>()
  #timer: NodeJS.Timeout | undefined

  post(socket: Socket, ticks: number, send: () => void): void {
    this.#due.push({ tick: this.now + ticks, socket, send })
    this.stirred(socket)
  }

  stirred(socket: Socket): void {
    this.#thinking.delete(socket)
    this.#wait()
  }

  gone(socket: Socket): void {
    this.#due = this.#due.filter((due) => due.socket !== socket)
    this.stirred(socket)
  }

  stop(): void {
    this.#due = []
    clearTimeout(this.#timer)
  }

  #wait(): void {
    clearTimeout(this.#timer)
    if (this.#due.length === 0) return
    this.#timer = setTimeout(() => this.#tick(), this.#thinking.size > 0 ? PATIENT_MS : QUIET_MS)
  }

  #tick(): void {
    this.now = Math.min(...this.#due.map(({ tick }) => tick))
    const ready = this.#due.filter(({ tick }) => tick <= this.now)
    this.#due = this.#due.filter(({ tick }) => tick > this.now)
    for (const { socket, send } of ready) {
      this.#thinking.add(socket)
      send()
    }
    this.#wait()
  }
}

/** One plan, from its first connection to its last. */
class Play {
  readonly tally = { connections: 0, segments: 0, octets: 0, answered: 0, lastAnswer: 0, text: '' }
  readonly #plan: Plan
  readonly #clock = new Clock()
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
      this.#clock.gone(socket)
    })
    // The kernel accepts at once: of these two one is the handshake, which no server can shorten.
    this.#say(socket, 2, '220 mail.provider.example ESMTP')
    let rest = ''
    let etrns = 0
    socket.on('data', (octets) => {
      this.#note(octets.toString())
      this.#clock.stirred(socket)
      const lines = `${rest}${octets.toString()}`.split('\r\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        if (/^ETRN /i.test(line)) this.#etrn(socket, ++etrns)
        else this.#other(socket, line)
      }
    })
  }

  #note(text: string): void {
    this.tally.segments++
    this.tally.octets += text.length
    if (this.tally.text.length < 1000) this.tally.text += text
  }

  /** A reply to the nth ETRN of a session. */
  #etrn(socket: Socket, nth: number): void {
    const late = this.#plan.slowsDown && nth >= FIRST_SLOW ? Math.min(2 ** (nth - FIRST_SLOW), LONGEST_TICKS) : 0
    this.#say(socket, 1 + late, '250 Queuing started', () => {
      this.tally.answered++
      this.tally.lastAnswer = this.#clock.now
    })
  }

  #other(socket: Socket, line: string): void {
    if (/^EHLO /i.test(line)) this.#say(socket, 1, '250-mail.provider.example\r\n250-PIPELINING\r\n250 ETRN')
    else if (/^QUIT$/i.test(line)) this.#say(socket, 1, '221 bye', () => socket.end())
    else this.#say(socket, 1, '500 not known')
  }

  #say(socket: Socket, ticks: number, text: string, then: () => void = () => undefined): void {
    const send = (): void => {
      socket.write(`${text}\r\n`)
      then()
    }
    if (this.#plan.ticks) this.#clock.post(socket, ticks, send)
    else send()
  }
}

let play: Play | undefined

async function obey(order: Order): Promise<readonly number[] | Tally | undefined> {
  if (order === 'tally') return play?.tally
  play?.close()
  play = new Play(order)
  return play.listen()
}

process.on('message', (order: Order) => {
  void obey(order).then((reply) => process.send?.(reply))
})
// The bench has ended, whatever ended it.
process.on('disconnect', () => process.exit())
