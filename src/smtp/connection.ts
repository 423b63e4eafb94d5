import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { EXIT, StepError } from '../errors.js'
import { type Limits, startDeadline } from '../net/deadline.js'
import { protocolError, RejectedError, tlsErrorOf, unencryptedDataError } from './errors.js'
import { formatReply, MalformedReplyError, type Reply, ReplyParser } from './reply.js'
import type { DialogueEvent } from './trace.js'

type ConnectionOptions = Limits & { readonly trace: (event: DialogueEvent) => void }

/** The longest line that is sent, CRLF included: a SASL response (RFC 4954, section 4). */
const COMMAND_LINE_OCTETS = 12_288
const QUIT_TIMEOUT_MS = 5000
/** The reply to QUIT (RFC 5321, 4.3.2), and those of servers that don't know the command */
const QUIT_CODES = [221, 500, 501, 502, 503, 504]

/**
 * One SMTP connection: a command, its whole reply, the next command. The timeout covers the whole reply, so that a server that sends
 * one octet at a time can't delay the client for ever. All methods but quit throw StepError.
 */
export class Connection {
  #socket: Socket
  #octets: AsyncIterator<Buffer, undefined>
  readonly #parser = new ReplyParser()
  readonly #options: ConnectionOptions
  #isQuitSent = false

  /** Takes over a socket, which must be connected and have an error listener. */
  constructor(socket: Socket, options: ConnectionOptions) {
    this.#socket = socket
    this.#options = options
    this.#octets = readOctets(socket)
  }

  /** Reads a reply that needs no command: the greeting. */
  async readReply(limits: Limits = this.#options): Promise<Reply> {
    const cancel = startDeadline(limits, 'no whole reply', (reason) => {
      // An interrupted client still sends QUIT, and waits for nothing. A server whose reply is overdue gets no QUIT.
      if (limits.signal.aborted) this.#sendQuit()
      this.#socket.destroy(reason)
    })
    try {
      let reply = this.#parser.next()
      while (reply === undefined) {
        const { value } = await this.#octets.next()
        if (value === undefined) throw this.#connectionLost()
        this.#parser.push(value)
        reply = this.#parser.next()
      }
      this.#options.trace({ type: 'received', reply })
      return reply
    } catch (error) {
      if (error instanceof StepError) throw error
      if (error instanceof MalformedReplyError)
        throw new StepError(error.message, { exitStatus: EXIT.PROTOCOL, kind: 'malformed-reply' })
      throw tlsErrorOf(error) ?? this.#connectionLost(error)
    } finally {
      cancel()
    }
  }

  /**
   * Sends one command and reads its reply. If the line holds a secret, the trace gets `shown` in its place. If the server sent
   * something before its turn, it throws and sends nothing.
   */
  async command(line: string, shown = line): Promise<Reply> {
    await this.#requireSilence()
    this.#send(line, shown)
    return this.readReply()
  }

  /** Does the same with an argument that is chosen at the last moment. Returns undefined, with nothing sent, if there is none. */
  async commandIfAny(verb: string, next: () => string | undefined): Promise<Reply | undefined> {
    await this.#requireSilence()
    const argument = next()
    if (argument === undefined) return undefined
    this.#send(`${verb} ${argument}`)
    return this.readReply()
  }

  /**
   * Continues in TLS, which `wrap` starts on the socket directly after the reply that allows it (RFC 3207). Octets beyond that reply
   * came unencrypted and would count as protected, so they end the session.
   */
  async startTls<T extends { readonly socket: Socket }>(
    wrap: (socket: Socket) => Promise<T>,
    isImplicitTls = false,
  ): Promise<T> {
    if (this.#hasOctets()) throw unencryptedDataError(isImplicitTls)
    await this.#octets.return?.()
    const wrapped = await wrap(this.#socket)
    this.#socket = wrapped.socket
    this.#octets = readOctets(this.#socket)
    return wrapped
  }

  /**
   * Sends QUIT if the connection stands, and closes it. The reply is awaited for 5 s at most; octets that arrived before it change
   * nothing. Returns 'lost' if the server has closed the connection, or said so with 421, in place of a reply, and 'extra-reply' if
   * the reply looks like one to an earlier command. Never throws.
   */
  async quit(): Promise<'closed' | 'lost' | 'extra-reply'> {
    try {
      if (!this.#socket.writable) return 'lost'
      this.#sendQuit()
      const limits = { ...this.#options, timeoutMs: Math.min(QUIT_TIMEOUT_MS, this.#options.timeoutMs) }
      const { code } = await this.readReply(limits)
      if (code === 421) return 'lost'
      return QUIT_CODES.includes(code) ? 'closed' : 'extra-reply'
    } catch (error) {
      return error instanceof StepError && error.kind === 'connection-lost' ? 'lost' : 'closed'
    } finally {
      this.#socket.destroySoon()
      // A server that limits connections must not count this one when the next one arrives.
      if (!this.#socket.closed) await once(this.#socket, 'close').catch(() => undefined)
    }
  }

  #hasOctets(): boolean {
    return this.#parser.buffered + this.#socket.readableLength > 0
  }

  /**
   * Throws if the server has sent something before a command: an attack, or a server that replies twice. A 421, which a server may
   * send at any time (RFC 5321, 3.8), means that the connection is lost.
   */
  async #requireSilence(): Promise<void> {
    // Octets that have arrived but not been read appear after one turn of the event loop.
    await nextTurn()
    if (!this.#hasOctets()) {
      // Throws the reason: after an interruption nothing more is sent.
      if (this.#options.signal.aborted) await this.readReply()
      return
    }
    const turnError = (text: string, cause?: unknown): StepError =>
      protocolError(`the server spoke before its turn: ${text}`, undefined, cause)
    const reply = await this.readReply().catch((error: unknown) => {
      const isGoodbye = this.#parser.firstThree === '421'
      const hasReason = isGoodbye || this.#options.signal.aborted || !(error instanceof StepError)
      throw hasReason ? error : turnError(error.message, error.cause)
    })
    if (reply.code === 421) throw new RejectedError(reply, { exitStatus: EXIT.TEMPFAIL, kind: 'connection-lost' })
    throw turnError(formatReply(reply))
  }

  #send(line: string, shown = line): void {
    if (/[\r\n\0]/.test(line) || line.length + 2 > COMMAND_LINE_OCTETS) throw new Error('not a command line')
    this.#options.trace({ type: 'sent', line: shown })
    this.#socket.write(`${line}\r\n`)
  }

  #sendQuit(): void {
    if (!this.#isQuitSent) this.#send('QUIT')
    this.#isQuitSent = true
  }

  #connectionLost(cause?: unknown): StepError {
    const message = `the server closed the connection${this.#parser.buffered > 0 ? ' in the middle of a reply' : ''}`
    return new StepError(message, { exitStatus: EXIT.TEMPFAIL, kind: 'connection-lost', cause })
  }
}

/** Returns the octets of a socket. They are read only while a reply is awaited: a flood stays in the server's own buffers. */
function readOctets(socket: Socket): AsyncIterator<Buffer, undefined> {
  return socket.iterator({ destroyOnReturn: false })[Symbol.asyncIterator]()
}
