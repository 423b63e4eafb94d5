import { once } from 'node:events'
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from 'node:net'
import { createInterface } from 'node:readline'

/** A message as SMTP carries it. */
export type Message = { readonly from: string; readonly to: string; readonly text: string }

type Lines = AsyncIterator<string, undefined>

/** A command beyond those of a plain receiving server. */
type Extension = { readonly keyword: string; readonly answer: (argument: string) => string }

/** A mail server that calls `accept` with each message. */
export class MailServer {
  readonly name: string
  readonly #accept: (message: Message) => void
  readonly #extensions: readonly Extension[]
  readonly #sockets = new Set<Socket>()
  readonly #server: Server
  /** The number of connections so far */
  connections = 0

  constructor(name: string, accept: (message: Message) => void, extensions: readonly Extension[] = []) {
    this.name = name
    this.#accept = accept
    this.#extensions = extensions
    this.#server = createServer((socket) => {
      this.connections++
      this.#sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => this.#sockets.delete(socket))
      this.#converse(socket).catch((error: unknown) => {
        // Postfix doesn't wait for the reply to QUIT, so the reply is answered with a reset.
        if (socket.errored === null) throw error
      })
    })
  }

  /** Listens on the port, or on a free one for 0. Returns the port. */
  async listen(port = 0, host = '127.0.0.1'): Promise<number> {
    this.#server.listen(port, host)
    await once(this.#server, 'listening')
    // A TCP server has an AddressInfo.
    return (this.#server.address() as AddressInfo).port
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }

  async #converse(socket: Socket): Promise<void> {
    const reply = (line: string): void => void socket.write(`${line}\r\n`)
    const lines = linesOf(socket)
    let from = ''
    let to: string[] = []
    reply(`220 ${this.name} ESMTP`)
    for (let line = await nextLine(lines); line !== undefined; line = await nextLine(lines)) {
      const [, verb = '', argument = ''] = /^(\S*) *(.*)$/.exec(line) ?? []
      switch (verb.toUpperCase()) {
        case 'EHLO':
          for (const line of this.#hello()) reply(line)
          break
        case 'MAIL':
          from = addressIn(argument)
          to = []
          reply('250 OK')
          break
        case 'RCPT':
          to.push(addressIn(argument))
          reply('250 OK')
          break
        case 'DATA': {
          reply('354 go ahead')
          const text = await readData(lines)
          for (const recipient of to) this.#accept({ from, to: recipient, text })
          reply('250 OK')
          break
        }
        case 'QUIT':
          reply('221 bye')
          socket.end()
          break
        default:
          reply(
            this.#extensions.find(({ keyword }) => keyword === verb.toUpperCase())?.answer(argument) ??
              '500 unknown command',
          )
      }
    }
  }

  #hello(): string[] {
    const lines = [this.name, ...this.#extensions.map(({ keyword }) => keyword), 'HELP']
    return lines.map((line, index) => `250${index < lines.length - 1 ? '-' : ' '}${line}`)
  }
}

/** A provider that holds mail for sites that are offline, and delivers it on request (RFC 1985). */
export class Provider extends MailServer {
  /** The waiting messages, by domain */
  readonly held: ReadonlyMap<string, readonly Message[]>

  /** Creates a provider. `sites` has the port of each domain's own server on this machine. */
  constructor(name: string, sites: ReadonlyMap<string, number>) {
    const held = new Map<string, Message[]>([...sites.keys()].map((domain) => [domain, []]))
    const busy = new Set<string>()
    const deliverHeld = async (domain: string, port: number): Promise<void> => {
      if (busy.has(domain)) return
      busy.add(domain)
      try {
        const messages = held.get(domain) ?? []
        while (messages[0] !== undefined) {
          await send(port, name, messages[0])
          messages.shift()
        }
      } catch {
        // The site is offline: the remaining messages wait.
      } finally {
        busy.delete(domain)
      }
    }
    super(
      name,
      (message) => {
        const domain = message.to.replace(/.*@/, '')
        held.get(domain)?.push(message)
        // A message that can't be delivered at once waits for ETRN.
        void deliverHeld(domain, sites.get(domain) ?? 0)
      },
      [
        {
          keyword: 'ETRN',
          answer: (node) => {
            const port = sites.get(node)
            const waiting = held.get(node)?.length ?? 0
            if (port === undefined) return `459 Node ${node} not allowed: not a customer`
            if (waiting === 0) return `251 OK, no messages waiting for node ${node}`
            setImmediate(() => void deliverHeld(node, port))
            return `253 OK, ${waiting} pending messages for node ${node} started`
          },
        },
      ],
    )
    this.held = held
  }
}

/** Sends a message to the server on this port, over a connection of its own. */
export async function send(port: number, client: string, { from, to, text }: Message): Promise<void> {
  const socket = createConnection(port, '127.0.0.1')
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  const lines = linesOf(socket)
  const expect = async (code: string): Promise<void> => {
    let line = await nextLine(lines)
    while (line?.startsWith(`${code}-`)) line = await nextLine(lines)
    if (!line?.startsWith(code)) throw new Error(`expected ${code}, got ${line ?? 'nothing'}`)
  }
  await expect('220')
  for (const [command, code] of [
    [`EHLO ${client}`, '250'],
    [`MAIL FROM:<${from}>`, '250'],
    [`RCPT TO:<${to}>`, '250'],
    ['DATA', '354'],
    [`${text.replace(/^\./gm, '..').replaceAll('\n', '\r\n')}\r\n.`, '250'],
    ['QUIT', '221'],
  ] as const) {
    socket.write(`${command}\r\n`)
    await expect(code)
  }
  socket.end()
}

function linesOf(socket: Socket): Lines {
  return createInterface({ input: socket, crlfDelay: Infinity })[Symbol.asyncIterator]()
}

async function nextLine(lines: Lines): Promise<string | undefined> {
  return (await lines.next()).value
}

async function readData(lines: Lines): Promise<string> {
  const text: string[] = []
  for (let line = await nextLine(lines); line !== undefined && line !== '.'; line = await nextLine(lines)) {
    text.push(line.replace(/^\./, ''))
  }
  return text.join('\n')
}

function addressIn(argument: string): string {
  return /<(.*)>/.exec(argument)?.[1] ?? ''
}
