import { EventEmitter, once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import type { TestContext } from 'node:test'

/** The reply to one command of one session, or a function that acts on the connection. */
export type Said = string | ((socket: Socket) => unknown)
export type Rules = {
  readonly greeting?: (session: number) => Said | Promise<Said>
  readonly etrn?: (name: string, session: number) => Said | Promise<Said>
  /** Keywords that EHLO lists beside ETRN, and the replies to other commands */
  readonly listed?: readonly string[]
  readonly other?: (line: string, session: number) => Said | undefined
}

/** A server with several sessions at once. It records the order of events. */
export class Crowd extends EventEmitter {
  readonly asked: string[][] = []
  readonly log: string[] = []
  open = 0
  most = 0
  readonly #rules: Rules

  constructor(rules: Rules) {
    super()
    this.#rules = rules
  }

  /** Listens until the test ends. */
  async listen(t: TestContext): Promise<number> {
    // A client may break the connection off.
    const server = createServer({ noDelay: true }, (socket) => void this.#serve(socket).catch(() => undefined))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => server.close())
    // A TCP server has an AddressInfo.
    return (server.address() as AddressInfo).port
  }

  async #serve(socket: Socket): Promise<void> {
    const session = this.asked.push([])
    this.most = Math.max(this.most, ++this.open)
    this.note(`open ${session}`)
    socket.on('error', () => undefined)
    // 'close' may come after the next connection has begun, so QUIT ends the count already.
    let isOver = false
    const endSession = (): void => {
      if (!isOver) this.open--
      isOver = true
    }
    socket.on('close', () => {
      endSession()
      this.note(`close ${session}`)
    })
    const send = (reply: Said): void => {
      if (typeof reply === 'string') socket.write(`${reply}\r\n`)
      else reply(socket)
      if (!socket.writable) endSession()
    }
    send((await this.#rules.greeting?.(session)) ?? '220 mx.example')
    for await (const line of createInterface(socket)) {
      const name = /^ETRN (.*)/.exec(line)?.[1]
      if (name !== undefined) {
        this.asked[session - 1]?.push(name)
        this.note(`asked ${session}`)
        const reply = (await this.#rules.etrn?.(name, session)) ?? '250 OK'
        this.note(`said ${session}`)
        send(reply)
      } else {
        if (line === 'QUIT') endSession()
        this.note(`${line.slice(0, 4)} ${session}`)
        const hello = ['250-mx.example', ...(this.#rules.listed ?? []).map((word) => `250-${word}`), '250 ETRN']
        send(this.#rules.other?.(line, session) ?? (line.startsWith('EHLO') ? hello.join('\r\n') : '221 bye'))
      }
    }
  }

  /** Adds an event to the log. */
  note(event: string): void {
    this.log.push(event)
    this.emit(event)
    this.emit('any')
  }

  /** Waits until the log has this many events of the pattern. */
  async until(pattern: RegExp, count = 1): Promise<void> {
    while (this.log.filter((line) => pattern.test(line)).length < count) await once(this, 'any')
  }
}

/** Returns this many names. */
export const list = (count: number): string[] => Array.from({ length: count }, (_, i) => `n${i + 1}.example`)

/** Starts a Crowd that listens until the test ends. */
export async function crowd(t: TestContext, rules: Rules = {}): Promise<{ server: Crowd; port: number }> {
  const server = new Crowd(rules)
  return { server, port: await server.listen(t) }
}
