import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { type TlsOptions, TLSSocket } from 'node:tls'

/**
 * A step of one connection:
 *
 *     'S: 220 mx ESMTP'   the server sends this line and CRLF
 *     'C: QUIT'           the client must send exactly this line, and nothing after it
 *     octets              the server sends them unchanged
 *     a function          the server calls it with the socket, and awaits it
 *     { tls: ... }        the server's side of a TLS handshake; with `fails` the client must break it off
 */
export type Step = `S: ${string}` | `S:` | `C: ${string}` | Uint8Array | ((socket: Socket) => unknown) | TlsStep
export type TlsStep = { readonly tls: TlsOptions; readonly fails?: true }
export type Conversation = readonly Step[]

/** Closes the connection in good order. */
export const close = (socket: Socket): void => void socket.end()
/** Resets the connection. */
export const reset = (socket: Socket): void => void socket.resetAndDestroy()
/** Sends nothing until the client closes the connection. */
export const silence = async (socket: Socket): Promise<unknown> =>
  socket.destroyed ? undefined : once(socket, 'close')

export type Scripted = {
  readonly port: number
  /** The text that the client sent, connection by connection */
  readonly received: readonly string[]
  /** Waits until all connections have ended. Throws if the client departed from the script. */
  readonly verify: () => Promise<void>
  /** Refuses connections from now on. */
  readonly stop: () => void
}

/** The usual first steps of a session; BYE are its last ones. */
export const HELLO: Conversation = [
  'S: 220 mx.example ESMTP',
  'C: EHLO gw.site.example',
  'S: 250-mx.example',
  'S: 250 ETRN',
]
export const BYE: Conversation = ['C: QUIT', 'S: 221 bye']

/** Returns the steps of one ETRN command and its reply. */
export const etrnSteps = (name: string, reply: string): Step[] => [`C: ETRN ${name}`, `S: ${reply}`]
/** Returns a session with these steps between HELLO and BYE. */
export const sessionWith = (...steps: readonly Step[]): Conversation => [...HELLO, ...steps, ...BYE]

/** Starts a server on 127.0.0.1 until the test ends. It plays one conversation for each connection, in this order. */
export async function scripted(t: TestContext, ...conversations: readonly Conversation[]): Promise<Scripted> {
  return scriptedAt(t, { host: '127.0.0.1', port: 0 }, ...conversations)
}

/** Starts the same server, but lets the client leave before the end of the script. */
export async function loose(t: TestContext, ...conversations: readonly Conversation[]): Promise<Scripted> {
  return scriptedAt(t, { host: '127.0.0.1', port: 0, isLoose: true }, ...conversations)
}

type ListenOptions = { readonly host: string; readonly port: number; readonly isLoose?: true }

/** Starts a scripted server at an address and port of the test's choice. */
export async function scriptedAt(
  t: TestContext,
  options: ListenOptions,
  ...conversations: readonly Conversation[]
): Promise<Scripted> {
  const sockets: Socket[] = []
  const received: string[] = []
  const plays: Promise<void>[] = []
  const server = createServer({ noDelay: true }, (socket) => {
    const index = sockets.push(socket) - 1
    const conversation = conversations[index]
    received.push('')
    socket.on('error', () => undefined)
    if (conversation === undefined) {
      plays.push(Promise.reject(new Error(`connection ${index + 1} is one too many`)))
      socket.destroy()
      return
    }
    const play = perform(socket, conversation, (octets) => {
      received[index] = `${received[index] ?? ''}${octets}`
    })
    play.catch(() => socket.destroy())
    plays.push(play)
  })
  server.listen({ host: options.host, port: options.port })
  await once(server, 'listening')
  const verify = async (): Promise<void> => {
    await Promise.all(plays)
    assert.equal(plays.length, conversations.length, 'number of connections')
  }
  t.after(async () => {
    try {
      if (!options.isLoose) await verify()
    } finally {
      for (const socket of sockets) socket.destroy()
      server.close()
    }
  })
  // A TCP server has an AddressInfo.
  const { port } = server.address() as AddressInfo
  return { port, received, verify, stop: () => void server.close() }
}

async function perform(plain: Socket, conversation: Conversation, record: (octets: string) => void): Promise<void> {
  let socket = plain
  let unread = ''
  const end = { isReached: false }
  let wake = (): void => undefined
  const receive = (octets: Buffer): void => {
    unread += octets.toString('latin1')
    record(octets.toString('latin1'))
    wake()
  }
  const listen = (): void => {
    socket.on('data', receive)
    for (const event of ['end', 'close']) {
      socket.on(event, () => {
        end.isReached = true
        wake()
      })
    }
  }
  listen()
  const waitForInput = async (): Promise<void> => new Promise((resolve) => (wake = resolve))
  for (const step of conversation) {
    if (typeof step === 'function') await step(socket)
    else if (typeof step === 'string' && step.startsWith('S:')) socket.write(`${step.slice(3)}\r\n`)
    else if (typeof step === 'string') {
      const expected = `${step.slice(3)}\r\n`
      while (!unread.endsWith('\n') && !end.isReached) await waitForInput()
      assert.equal(unread, expected, 'what the client sent')
      unread = ''
    } else if ('tls' in step) {
      socket.off('data', receive)
      socket = await startTls(socket, step)
      if (step.fails) return
      listen()
    } else socket.write(step)
  }
  while (!end.isReached) await waitForInput()
  assert.equal(unread, '', 'what the client sent beyond the script')
}

async function startTls(plain: Socket, { tls, fails }: TlsStep): Promise<Socket> {
  const socket = new TLSSocket(plain, { ...tls, isServer: true })
  const failure = await new Promise<string>((resolve) => {
    socket.on('error', (error: Error) => resolve(error.message))
    socket.once('close', () => resolve('closed'))
    if (fails) socket.once('data', (octets: Buffer) => resolve(`the client sent ${octets.toString()}`))
    socket.once('secure', () => {
      if (!fails) resolve('')
    })
  })
  if ((!fails && failure !== '') || failure.startsWith('the client sent')) throw new Error(`TLS: ${failure}`)
  return socket
}
