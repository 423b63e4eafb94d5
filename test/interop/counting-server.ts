import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import type { TestContext } from 'node:test'

/** A session, as the server saw it */
export type Session = {
  /** All that came */
  octets: string
  /** The names that were asked for */
  readonly names: string[]
  /** By QUIT, or with the connection. How long a lost FIN takes is no matter of the client's. */
  isOver: boolean
  hasQuit: boolean
}

export type CountingServer = {
  /** As the command line has it */
  readonly word: string
  readonly sessions: readonly Readonly<Session>[]
  /** Most sessions at once, so far */
  readonly atOnce: () => number
  /** All names that were asked for, each as often as it was */
  readonly asked: () => string[]
  /** Waits for the end of all connections. */
  readonly closed: () => Promise<unknown>
}

export type CountingOptions = {
  /** The reply to ETRN for a name that is asked for the nth time, from 1 */
  readonly reply: (name: string, nth: number) => string
  /** Called with each line before its reply, and with `''` before the greeting; awaited. */
  readonly before?: (line: string) => unknown
}

/** A server that answers what it is asked in any session, in any order, and keeps count; it goes when the test ends. */
export async function countingServer(t: TestContext, host: string, o: CountingOptions): Promise<CountingServer> {
  const sockets: Socket[] = []
  const ends: Promise<unknown>[] = []
  const sessions: Session[] = []
  let most = 0
  const asked = (): string[] => sessions.flatMap(({ names }) => names)
  const answer = async (line: string, session: Session): Promise<string> => {
    session.hasQuit ||= line === 'QUIT'
    session.isOver ||= session.hasQuit
    const [verb = '', name = ''] = line.split(' ')
    if (verb === 'ETRN') session.names.push(name)
    const nth = asked().filter((one) => one === name).length
    await o.before?.(line)
    if (verb === 'ETRN') return o.reply(name, nth)
    return { '': '220 mx.example ESMTP', EHLO: '250-mx.example\r\n250 ETRN', QUIT: '221 bye' }[verb] ?? '500 what?'
  }
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.push(socket)
    ends.push(new Promise((resolve) => socket.on('close', resolve)))
    const session: Session = { octets: '', names: [], isOver: false, hasQuit: false }
    sessions.push(session)
    most = Math.max(most, sessions.filter(({ isOver }) => !isOver).length)
    socket.on('error', () => undefined)
    socket.on('close', () => (session.isOver = true))
    socket.on('data', (octets: Buffer) => (session.octets += octets.toString('latin1')))
    converse(socket, (line) => answer(line, session)).catch((error: unknown) => {
      // A client that reset its connection did nothing wrong.
      if (socket.errored === null) throw error
    })
  })
  server.listen({ host, port: 0 })
  await once(server, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  // listen on TCP gives an AddressInfo
  const { port } = server.address() as AddressInfo
  return { word: `${host}:${port}`, sessions, atOnce: () => most, asked, closed: async () => Promise.all(ends) }
}

/** Each reply goes out as one segment, the last one with its FIN, as far as the kernel lets it. */
async function converse(socket: Socket, answer: (line: string) => Promise<string>): Promise<void> {
  const lines = createInterface({ input: socket, crlfDelay: Infinity })
  socket.write(`${await answer('')}\r\n`)
  for await (const line of lines) {
    const reply = `${await answer(line)}\r\n`
    if (line !== 'QUIT') socket.write(reply)
    else socket.end(reply)
  }
}
