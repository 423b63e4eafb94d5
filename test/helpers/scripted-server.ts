import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { type TlsOptions, TLSSocket } from 'node:tls'

/**
 * What happens in one connection, in order:
 *
 *     'S: 220 mx ESMTP'   the server sends this line, CRLF behind it
 *     'C: QUIT'           the client must send exactly this line, and nothing beyond it
 *     octets              the server sends them as they are
 *     a function          whatever it does; awaited
 *     { tls: ... }        the server's side of a TLS handshake; `fails`: the client has to break it off
 */
export type Step = `S: ${string}` | `S:` | `C: ${string}` | Uint8Array | ((socket: Socket) => unknown) | TlsStep
export type TlsStep = { readonly tls: TlsOptions; readonly fails?: true }
export type Conversation = readonly Step[]

/** Ends the connection as TCP has it, or breaks it off. */
export const close = (socket: Socket): void => void socket.end()
export const reset = (socket: Socket): void => void socket.resetAndDestroy()
/** Says nothing more until the client goes. */
export const silence = async (socket: Socket): Promise<unknown> =>
  socket.destroyed ? undefined : once(socket, 'close')

export type Scripted = {
  readonly port: number
  /** All that came from the client, connection by connection */
  readonly received: readonly string[]
  /** Waits for all connections to end, and throws where the client didn't keep to the script. */
  readonly verify: () => Promise<void>
}

/** The usual beginning and end. */
export const HELLO: Conversation = [
  'S: 220 mx.example ESMTP',
  'C: EHLO gw.site.example',
  'S: 250-mx.example',
  'S: 250 ETRN',
]
export const BYE: Conversation = ['C: QUIT', 'S: 221 bye']

/** A server on 127.0.0.1 that plays a conversation for each connection, in this order; it goes when the test ends. */
export async function scripted(t: TestContext, ...conversations: readonly Conversation[]): Promise<Scripted> {
  return scriptedAt(t, { host: '127.0.0.1', port: 0 }, ...conversations)
}

/** The same for a client that may leave before the end of the script: a test of what it says, not of what it sends. */
export async function loose(t: TestContext, ...conversations: readonly Conversation[]): Promise<Scripted> {
  return scriptedAt(t, { host: '127.0.0.1', port: 0, isLoose: true }, ...conversations)
}

type Where = { readonly host: string; readonly port: number; readonly isLoose?: true }

export async function scriptedAt(
  t: TestContext,
  where: Where,
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
  server.listen({ host: where.host, port: where.port })
  await once(server, 'listening')
  const verify = async (): Promise<void> => {
    await Promise.all(plays)
    assert.equal(plays.length, conversations.length, 'number of connections')
  }
  t.after(async () => {
    try {
      if (!where.isLoose) await verify()
    } finally {
      for (const socket of sockets) socket.destroy()
      server.close()
    }
  })
  // listen on TCP gives an AddressInfo
  const { port } = server.address() as AddressInfo
  return { port, received, verify }
}

async function perform(bare: Socket, conversation: Conversation, note: (octets: string) => void): Promise<void> {
  let socket = bare
  let heard = ''
  const end = { reached: false }
  let wake = (): void => undefined
  const hear = (octets: Buffer): void => {
    heard += octets.toString('latin1')
    note(octets.toString('latin1'))
    wake()
  }
  const listen = (): void => {
    socket.on('data', hear)
    for (const event of ['end', 'close']) {
      socket.on(event, () => {
        end.reached = true
        wake()
      })
    }
  }
  listen()
  const more = async (): Promise<void> => new Promise((resolve) => (wake = resolve))
  for (const step of conversation) {
    if (typeof step === 'function') await step(socket)
    else if (typeof step === 'string' && step.startsWith('S:')) socket.write(`${step.slice(3)}\r\n`)
    else if (typeof step === 'string') {
      const expected = `${step.slice(3)}\r\n`
      while (!heard.endsWith('\n') && !end.reached) await more()
      assert.equal(heard, expected, 'what the client sent')
      heard = ''
    } else if ('tls' in step) {
      socket.off('data', hear)
      socket = await secured(socket, step)
      if (step.fails) return
      listen()
    } else socket.write(step)
  }
  while (!end.reached) await more()
  assert.equal(heard, '', 'what the client sent beyond the script')
}

async function secured(bare: Socket, { tls, fails }: TlsStep): Promise<Socket> {
  const socket = new TLSSocket(bare, { ...tls, isServer: true })
  const ended = await new Promise<string>((resolve) => {
    socket.on('error', (error: Error) => resolve(error.message))
    socket.once('close', () => resolve('closed'))
    if (fails) socket.once('data', (octets: Buffer) => resolve(`said: ${octets.toString()}`))
    socket.once('secure', () => {
      if (!fails) resolve('')
    })
  })
  if ((!fails && ended !== '') || ended.startsWith('said')) throw new Error(`TLS: ${ended}`)
  return socket
}
