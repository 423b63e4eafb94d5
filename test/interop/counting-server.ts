import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import type { TestContext } from 'node:test'

/** A session, as the server saw it */
export type CountedSession = {
  /** All octets from the client */
  octets: string
  readonly names: string[]
  /** The session ended, by QUIT or with its connection. A lost FIN may delay the end of the connection. */
  isOver: boolean
  hasQuit: boolean
}

export type CountingServer = {
  /** The argument for the command line */
  readonly argument: string
  readonly sessions: readonly Readonly<CountedSession>[]
  /** Returns the greatest number of sessions that were open at the same time. */
  readonly maxConcurrentSessions: () => number
  /** Returns every name as often as it was requested. */
  readonly requestedNames: () => string[]
  /** Waits until all connections are closed. */
  readonly waitForClose: () => Promise<unknown>
}

export type CountingOptions = {
  /** Returns the reply to the nth request for the name, counted from 1. */
  readonly reply: (name: string, nth: number) => string
  /** Called before each reply with the client's line, and with '' before the greeting; awaited. */
  readonly beforeReply?: (line: string) => unknown
}

const REPLIES: Readonly<Record<string, string>> = {
  '': '220 mx.example ESMTP',
  EHLO: '250-mx.example\r\n250 ETRN',
  QUIT: '221 bye',
}

/** Starts a server that takes any commands in any number of sessions, and counts them. It closes when the test ends. */
export async function countingServer(t: TestContext, host: string, options: CountingOptions): Promise<CountingServer> {
  const sockets: Socket[] = []
  const closes: Promise<unknown>[] = []
  const sessions: CountedSession[] = []
  let maxConcurrent = 0
  const requestedNames = (): string[] => sessions.flatMap(({ names }) => names)
  const replyTo = async (line: string, session: CountedSession): Promise<string> => {
    session.hasQuit ||= line === 'QUIT'
    session.isOver ||= session.hasQuit
    const [verb = '', name = ''] = line.split(' ')
    if (verb === 'ETRN') session.names.push(name)
    const nth = requestedNames().filter((one) => one === name).length
    await options.beforeReply?.(line)
    if (verb === 'ETRN') return options.reply(name, nth)
    return REPLIES[verb] ?? '500 unknown command'
  }
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.push(socket)
    closes.push(new Promise((resolve) => socket.on('close', resolve)))
    const session: CountedSession = { octets: '', names: [], isOver: false, hasQuit: false }
    sessions.push(session)
    maxConcurrent = Math.max(maxConcurrent, sessions.filter(({ isOver }) => !isOver).length)
    socket.on('error', () => undefined)
    socket.on('close', () => (session.isOver = true))
    socket.on('data', (octets: Buffer) => (session.octets += octets.toString('latin1')))
    converse(socket, (line) => replyTo(line, session)).catch((error: unknown) => {
      // The client may reset its connection.
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
  return {
    argument: `${host}:${port}`,
    sessions,
    maxConcurrentSessions: () => maxConcurrent,
    requestedNames,
    waitForClose: async () => Promise.all(closes),
  }
}

/** Answers each line. A reply is one TCP segment, and the last one carries the FIN, if the kernel allows. */
async function converse(socket: Socket, replyTo: (line: string) => Promise<string>): Promise<void> {
  const lines = createInterface({ input: socket, crlfDelay: Infinity })
  socket.write(`${await replyTo('')}\r\n`)
  for await (const line of lines) {
    const reply = `${await replyTo(line)}\r\n`
    if (line !== 'QUIT') socket.write(reply)
    else socket.end(reply)
  }
}
