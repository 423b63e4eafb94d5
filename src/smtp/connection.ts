import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { EXIT, StepError } from '../errors.js'
import { startDeadline, type Limits, formatSeconds } from '../net/deadline.js'
import { RejectedError, tlsErrorOf } from './errors.js'
import { formatReply, type Reply, MalformedReplyError, ReplyParser } from './reply.js'
import type { DialogueEvent } from './trace.js'

export type ConnectionOptions = Limits & { readonly trace: (line: DialogueEvent) => void }

/** Octets of a line, CRLF included: a response within AUTH is the longest (RFC 4954, section 4). */
const COMMAND_LINE_OCTETS = 12_288
const QUIT_TIMEOUT_MS = 5000

/**
 * One SMTP connection: a command, its whole reply, the next command. Every reply has the deadline as a whole, so that a server
 * which drips octets holds nobody. All throw StepError.
 */
export class Connection {
  #socket: Socket
  #octets: AsyncIterator<Buffer, undefined>
  readonly #parser = new ReplyParser()
  readonly #o: ConnectionOptions
  #isQuitSent = false

  /** Takes the socket over; it must be connected and have an error listener. */
  constructor(socket: Socket, o: ConnectionOptions) {
    this.#socket = socket
    this.#o = o
    this.#octets = readOctets(socket)
  }

  /** The local end's address */
  get localAddress(): string {
    return this.#socket.localAddress ?? ''
  }

  /** The next reply, for which no command is needed: the greeting. */
  async readReply(): Promise<Reply> {
    return this.#awaitReply(this.#o)
  }

  /**
   * Sends one command and reads its reply. Where it holds a secret, `shown` is what a transcript may have of it. Throws, with
   * nothing sent, where the server spoke before its turn.
   */
  async command(line: string, shown = line): Promise<Reply> {
    await this.#requireSilence()
    this.#send(line, shown)
    return this.readReply()
  }

  /** The same with the line that is chosen when nothing can come before it any more; undefined: none. */
  async commandIfAny(choose: () => string | undefined): Promise<Reply | undefined> {
    await this.#requireSilence()
    const line = choose()
    if (line === undefined) return undefined
    this.#send(line)
    return this.readReply()
  }

  /**
   * Goes on within TLS, which `wrap` begins on the bare socket, at once after the reply that allows it (RFC 3207). What the server
   * said beyond that reply came in clear: it would be taken for what TLS protects, so it ends the session.
   */
  async startTls<T extends { readonly socket: Socket }>(wrap: (socket: Socket) => Promise<T>): Promise<T> {
    if (this.#parser.buffered + this.#socket.readableLength > 0) {
      throw new StepError('the server, or somebody on the way, spoke in clear where TLS has to begin', {
        exitStatus: EXIT.PROTOCOL,
        kind: 'unencrypted-data',
        hint: 'on smtp:// this is an attack; smtps:// is for a port that begins with TLS',
      })
    }
    await this.#octets.return?.()
    const wrapped = await wrap(this.#socket)
    this.#socket = wrapped.socket
    this.#octets = readOctets(this.#socket)
    return wrapped
  }

  /**
   * QUIT, if the connection stands, and the end of it. Its reply is awaited 5 s at most and changes nothing, nor do octets that
   * came before it. Never throws.
   */
  async quit(): Promise<void> {
    try {
      if (!this.#socket.writable) return
      this.#sendQuit()
      await this.#awaitReply({ ...this.#o, timeoutMs: Math.min(QUIT_TIMEOUT_MS, this.#o.timeoutMs) })
    } catch {
      // The session is over either way.
    } finally {
      this.#socket.destroySoon()
      // Whoever connects next must not find this one still counted.
      if (!this.#socket.closed) await once(this.#socket, 'close').catch(() => undefined)
    }
  }

  /**
   * Octets before a command are an attack, or a server that answers twice; but for 421, its goodbye, which may come at any time
   * (RFC 5321, 3.8).
   */
  async #requireSilence(): Promise<void> {
    // One turn of the event loop, for octets that are there but not read yet.
    await turn()
    if (this.#parser.buffered + this.#socket.readableLength === 0) {
      // Which throws: whoever is interrupted sends nothing more.
      if (this.#o.signal.aborted) await this.readReply()
      return
    }
    let reply: Reply
    try {
      reply = await this.readReply()
    } catch (error) {
      const isGoodbye = this.#parser.firstThree === '421'
      if (isGoodbye || this.#o.signal.aborted || !(error instanceof StepError)) throw error
      const message = `the server spoke before its turn: ${error.message}`
      throw new StepError(message, { exitStatus: EXIT.PROTOCOL, cause: error.cause })
    }
    if (reply.code === 421) throw new RejectedError(reply, { exitStatus: EXIT.TEMPFAIL, kind: 'connection-lost' })
    throw new StepError(`the server spoke before its turn: ${formatReply(reply)}`, { exitStatus: EXIT.PROTOCOL })
  }

  #send(line: string, shown = line): void {
    if (/[\r\n\0]/.test(line) || line.length + 2 > COMMAND_LINE_OCTETS) throw new Error('not a command line')
    this.#o.trace({ type: 'sent', line: shown })
    this.#socket.write(`${line}\r\n`)
  }

  #sendQuit(): void {
    if (!this.#isQuitSent) this.#send('QUIT')
    this.#isQuitSent = true
  }

  async #awaitReply(limits: Limits): Promise<Reply> {
    const callOff = startDeadline(limits, `no whole reply within ${formatSeconds(limits.timeoutMs)}`, (reason) => {
      // Whoever is interrupted still says goodbye, but waits for no answer; a server that is overdue hears nothing more.
      if (limits.signal.aborted) this.#sendQuit()
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
        if (value === undefined) throw this.#connectionLost()
        this.#parser.push(value)
      }
    } catch (error) {
      if (error instanceof StepError) throw error
      if (error instanceof MalformedReplyError) throw new StepError(error.message, { exitStatus: EXIT.PROTOCOL })
      throw tlsErrorOf(error) ?? this.#connectionLost(error)
    } finally {
      callOff()
    }
  }

  #connectionLost(cause?: unknown): StepError {
    const where = this.#parser.buffered > 0 ? ' in the middle of a reply' : ''
    return new StepError(`the server closed the connection${where}`, {
      exitStatus: EXIT.TEMPFAIL,
      kind: 'connection-lost',
      cause,
    })
  }
}

/** Octets are taken only while a reply is awaited: a flood stays in the server's own buffers. */
function readOctets(socket: Socket): AsyncIterator<Buffer, undefined> {
  return socket.iterator({ destroyOnReturn: false })[Symbol.asyncIterator]()
}
