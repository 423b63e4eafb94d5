import type { Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { deadline, type Limits, seconds } from '../deadline.js'
import { EXIT, said, StepError } from '../outcome.js'
import { type Reply, ReplyError, ReplyParser } from './reply.js'

/** What went over the wire, as a transcript shows it. */
export type Line =
  { readonly type: 'sent'; readonly line: string } | { readonly type: 'received'; readonly reply: Reply }

export type ConnectionOptions = Limits & { readonly trace: (line: Line) => void }

/** Octets of a command line, CRLF included (RFC 5321, 4.5.3.1.4). */
const COMMAND_OCTETS = 512
const QUIT_MS = 5000

/**
 * One SMTP connection: a command, its whole reply, the next command. Every reply has the deadline as a whole, so that a server
 * which drips octets holds nobody. All throw StepError.
 */
export class Connection {
  readonly #socket: Socket
  readonly #octets: AsyncIterator<Buffer, undefined>
  readonly #parser = new ReplyParser()
  readonly #o: ConnectionOptions
  #saidQuit = false

  /** Takes the socket over; it must be connected and have an error listener. */
  constructor(socket: Socket, o: ConnectionOptions) {
    this.#socket = socket
    this.#o = o
    // Octets are taken only while a reply is awaited: a flood stays in the server's own buffers.
    this.#octets = socket.iterator({ destroyOnReturn: false })[Symbol.asyncIterator]()
  }

  /** The local end's address */
  get localAddress(): string {
    return this.#socket.localAddress ?? ''
  }

  /** The next reply, for which no command is needed: the greeting. */
  async read(): Promise<Reply> {
    return this.#reply(this.#o)
  }

  /** Sends one command and reads its reply. Throws, with nothing sent, where the server spoke before its turn. */
  async command(line: string): Promise<Reply> {
    if (/[\r\n\0]/.test(line) || line.length + 2 > COMMAND_OCTETS) throw new Error('not a command line')
    await this.#silence()
    this.#send(line)
    return this.read()
  }

  /**
   * QUIT, if the connection stands, and the end of it. Its reply is awaited 5 s at most and changes nothing, nor do octets that
   * came before it. Never throws.
   */
  async quit(): Promise<void> {
    try {
      if (!this.#socket.writable) return
      this.#quit()
      await this.#reply({ ...this.#o, timeoutMs: Math.min(QUIT_MS, this.#o.timeoutMs) })
    } catch {
      // The session is over either way.
    } finally {
      this.#socket.destroySoon()
    }
  }

  /**
   * Octets before a command are an attack, or a server that answers twice; but for 421, its goodbye, which may come at any time
   * (RFC 5321, 3.8).
   */
  async #silence(): Promise<void> {
    // One turn of the event loop, for octets that are there but not read yet.
    await turn()
    if (this.#parser.buffered + this.#socket.readableLength === 0) return
    const reply = await this.read()
    if (reply.code === 421) {
      throw new StepError(said(reply), { exitStatus: EXIT.TEMPFAIL, reply, lost: true })
    }
    throw new StepError(`the server spoke before its turn: ${said(reply)}`, { exitStatus: EXIT.PROTOCOL })
  }

  #send(line: string): void {
    this.#o.trace({ type: 'sent', line })
    this.#socket.write(`${line}\r\n`)
  }

  #quit(): void {
    if (!this.#saidQuit) this.#send('QUIT')
    this.#saidQuit = true
  }

  async #reply(limits: Limits): Promise<Reply> {
    const callOff = deadline(limits, `no whole reply within ${seconds(limits.timeoutMs)}`, (reason) => {
      // Whoever is interrupted still says goodbye, but waits for no answer; a server that is overdue hears nothing more.
      if (limits.signal.aborted) this.#quit()
      this.#socket.destroy(reason)
    })
    try {
      for (;;) {
        const reply = this.#parser.next()
        if (reply !== undefined) {
          this.#o.trace({ type: 'received', reply })
          return reply
        }
        const { value } = await this.#octets.next()
        if (value === undefined) throw this.#closed()
        this.#parser.push(value)
      }
    } catch (error) {
      if (error instanceof StepError) throw error
      if (error instanceof ReplyError) throw new StepError(error.message, { exitStatus: EXIT.PROTOCOL, cause: error })
      throw this.#closed(error)
    } finally {
      callOff()
    }
  }

  #closed(cause?: unknown): StepError {
    const where = this.#parser.buffered > 0 ? ' in the middle of a reply' : ''
    return new StepError(`the server closed the connection${where}`, { exitStatus: EXIT.TEMPFAIL, lost: true, cause })
  }
}
