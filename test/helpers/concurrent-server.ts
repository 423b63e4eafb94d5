import { EventEmitter, once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import type { TestContext } from 'node:test'

/** What is said to one command of one session; a function does what it likes with the connection. */
export type Said = string | ((socket: Socket) => unknown)
export type Rules = {
  readonly greeting?: (session: number) => Said | Promise<Said>
  readonly etrn?: (name: string, session: number) => Said | Promise<Said>
  /** Listed beside ETRN, and how other commands are answered */
  readonly listed?: readonly string[]
  readonly other?: (line: string, session: number) => Said | undefined
}

/** A server with several sessions at once, which takes down what happens in which order. */
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
    // A client that is gone has nothing more to say.
    const server = createServer({ noDelay: true }, (socket) => void this.#serve(socket).catch(() => undefined))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => server.close())
    // listen on TCP gives an AddressInfo
    return (server.address() as AddressInfo).port
  }

  async #serve(socket: Socket): Promise<void> {
    const session = this.asked.push([])
    this.most = Math.max(this.most, ++this.open)
    this.#note(`open ${session}`)
    socket.on('error', () => undefined)
    // When it sees the end of a connection is its own business: it may be after the beginning of the next one.
    let isOver = false
    const over = (): void => {
      if (!isOver) this.open--
      isOver = true
    }
    socket.on('close', () => {
      over()
      this.#note(`close ${session}`)
    })
    const say = (said: Said): void => {
      if (typeof said === 'string') socket.write(`${said}\r\n`)
      else said(socket)
      if (!socket.writable) over()
    }
    say((await this.#rules.greeting?.(session)) ?? '220 mx.example')
    for await (const line of createInterface(socket)) {
      const name = /^ETRN (.*)/.exec(line)?.[1]
      if (name !== undefined) {
        this.asked[session - 1]?.push(name)
        this.#note(`asked ${session}`)
        const said = (await this.#rules.etrn?.(name, session)) ?? '250 OK'
        this.#note(`said ${session}`)
        say(said)
      } else {
        if (line === 'QUIT') over()
        this.#note(`${line.slice(0, 4)} ${session}`)
        const hello = ['250-mx.example', ...(this.#rules.listed ?? []).map((word) => `250-${word}`), '250 ETRN']
        say(this.#rules.other?.(line, session) ?? (line.startsWith('EHLO') ? hello.join('\r\n') : '221 bye'))
      }
    }
  }

  #note(what: string): void {
    this.log.push(what)
    this.emit(what)
    this.emit('any')
  }

  /** Until so many have happened */
  async until(what: RegExp, count = 1): Promise<void> {
    while (this.log.filter((line) => what.test(line)).length < count) await once(this, 'any')
  }
}

export const list = (count: number): string[] => Array.from({ length: count }, (_, i) => `n${i + 1}.example`)

export async function crowd(t: TestContext, rules: Rules = {}): Promise<{ server: Crowd; port: number }> {
  const server = new Crowd(rules)
  return { server, port: await server.listen(t) }
}
