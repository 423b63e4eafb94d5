import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { EXIT, StepError } from '../errors.js'
import { isShortTimeout, type Limits, startDeadline, type Timeout } from '../net/deadline.js'
import { shortenMessage } from '../printable.js'
import {
  connectionLostError,
  RejectedError,
  REPEAT_HINT,
  timeoutHint,
  tlsErrorOf,
  unencryptedDataError,
} from './errors.js'
import { ONE_STEP_LOGIN } from './mechanisms.js'
import {
  CHALLENGE_LINE_OCTETS,
  formatReply,
  MalformedReplyError,
  type Reply,
  REPLY_LINE_OCTETS,
  ReplyParser,
} from './reply.js'
import { isFatalAlert, type RecordFault } from './tls-records.js'
import type { DialogueEvent } from './trace.js'

type ConnectionOptions = Limits & {
  readonly trace: (event: DialogueEvent) => void
  /** The next step if the server is silent in place of its greeting */
  readonly silenceHint?: string | undefined
}

/**
 * A reply beyond those that the server owed: it came before QUIT, or the reply to QUIT shows that there was one. Null stands for data before
 * QUIT that are no reply.
 */
export type SurplusReply = { readonly reply: Reply | null; readonly isEarly: boolean }

/** A socket within TLS, and the first octets so far that are no TLS record */
type Wrapped = { readonly socket: Socket; readonly recordFault: () => RecordFault | undefined }

/** What is awaited: the greeting, the reply to a command, or the rest of a reply that came before its command */
type Awaited = 'greeting' | 'early reply' | { readonly command: string }

/** The longest line that is sent, CRLF included: a SASL response (RFC 4954, section 4). */
const COMMAND_LINE_OCTETS = 12_288
const QUIT_TIMEOUT_MS = 5000
/** Replies that servers give to QUIT in place of 221 (RFC 5321, 4.3.2): those of servers that don't know it, too */
const QUIT_CODES = [250, 500, 501, 502, 503, 504]
const CLOSE_TIMEOUT_MS = 1000
/** The octets that a message shows of an unfinished reply */
const UNFINISHED_OCTETS = 200

/**
 * One SMTP connection: a command, its whole reply, the next command. The timeout covers the whole reply, so that a server that sends
 * one octet at a time can't delay the client for ever. All methods but quit throw StepError.
 */
export class Connection {
  #socket: Socket
  #octets: AsyncIterator<Buffer, undefined>
  /** The error of the socket: its octets end without it if it came before they were read. */
  #socketError: Error | undefined
  #recordFault: () => RecordFault | undefined = () => undefined
  readonly #parser = new ReplyParser()
  readonly #options: ConnectionOptions
  #isQuitSent = false
  #awaited: Awaited = 'greeting'
  #lastLine = ''

  /** Takes over a socket, which must be connected and have an error listener. */
  constructor(socket: Socket, options: ConnectionOptions) {
    this.#socket = socket
    this.#options = options
    this.#octets = this.#readOctets()
  }

  /** Reads a reply that needs no command: the greeting. */
  async readReply(limits: Limits = this.#options): Promise<Reply> {
    const describe = (within: string): Timeout => this.#describeTimeout(within, limits)
    const cancel = startDeadline(limits, describe, (reason) => {
      // An interrupted client still sends QUIT, and waits for nothing. A server whose reply is overdue gets no QUIT.
      if (limits.signal.aborted) this.#leave()
      this.#socket.destroy(reason)
    })
    try {
      let reply = this.#nextReply()
      while (reply === undefined) {
        const { value } = await this.#octets.next()
        if (value === undefined) throw this.#connectionLost()
        this.#parser.push(value)
        reply = this.#nextReply()
      }
      this.#options.trace({ type: 'received', reply })
      return reply
    } catch (caught) {
      const error = caught instanceof MalformedReplyError ? caught : (this.#socketError ?? caught)
      if (error instanceof StepError) throw error
      if (error instanceof MalformedReplyError)
        throw new StepError(this.#describeMalformed(error), { exitStatus: EXIT.PROTOCOL, kind: 'malformed-reply' })
      throw tlsErrorOf(error, this.#recordFault()) ?? this.#connectionLost(error)
    } finally {
      cancel()
    }
  }

  /**
   * Sends one command and reads its reply. If the line holds a secret, the trace gets `shown` in its place. If the server sent
   * something before its turn, it throws and sends nothing.
   */
  async command(line: string, shown = line): Promise<Reply> {
    await this.#requireSilence(verbOf(shown))
    this.#send(line, shown)
    return this.readReply()
  }

  /** Does the same with an argument that is chosen at the last moment. Returns undefined, with nothing sent, if there is none. */
  async commandIfAny(verb: string, next: () => string | undefined): Promise<Reply | undefined> {
    await this.#requireSilence(verb)
    const argument = next()
    if (argument === undefined) return undefined
    this.#send(`${verb} ${argument}`)
    return this.readReply()
  }

  /**
   * Continues in TLS, which `wrap` starts on the socket directly after the reply that allows it (RFC 3207). Octets beyond that reply
   * came unencrypted and would count as protected, so they end the session. An alert belongs to the handshake: a server without a usable
   * version of TLS sends it at once.
   */
  async startTls<T extends Wrapped>(wrap: (socket: Socket) => Promise<T>, isImplicitTls = false): Promise<T> {
    const early = this.#takeOctets()
    if (this.#hasOctets() || (early.length > 0 && !isFatalAlert(early))) throw unencryptedDataError(isImplicitTls)
    await this.#octets.return?.()
    if (early.length > 0) this.#socket.unshift(early)
    const wrapped = await wrap(this.#socket)
    this.#socket = wrapped.socket
    this.#recordFault = wrapped.recordFault
    this.#octets = this.#readOctets()
    return wrapped
  }

  /**
   * Sends QUIT if the connection stands, and closes it. The reply is awaited for 5 s at most. Returns 'lost' if the server has closed
   * the connection, or said so with 421, in place of a reply; the surplus reply if there was one; else undefined. Never throws.
   */
  async quit(): Promise<'lost' | SurplusReply | undefined> {
    const end = performance.now() + QUIT_TIMEOUT_MS
    const isEarly = this.#hasOctets()
    try {
      if (!this.#socket.writable) return 'lost'
      this.#sendQuit()
      const reply = await this.#readReplyWithin(QUIT_TIMEOUT_MS)
      if (reply.code === 421) return 'lost'
      if (reply.code === 221) return undefined
      const isSurplus = isEarly || !QUIT_CODES.includes(reply.code) || (await this.#isFollowed(end))
      return isSurplus ? { reply, isEarly } : undefined
    } catch (error) {
      const kind = error instanceof StepError ? error.kind : undefined
      if (kind === 'connection-lost') return 'lost'
      return isEarly && kind === 'malformed-reply' ? { reply: null, isEarly } : undefined
    } finally {
      await this.#close()
    }
  }

  /** Returns true if another reply follows the one after QUIT, which then belongs to an earlier command. Never throws. */
  async #isFollowed(end: number): Promise<boolean> {
    // A server that doesn't know QUIT closes the connection now.
    this.#socket.end()
    const reply = await this.#readReplyWithin(Math.max(0, end - performance.now())).catch(() => undefined)
    return reply !== undefined && reply.code !== 421
  }

  async #readReplyWithin(timeoutMs: number): Promise<Reply> {
    return this.readReply({ ...this.#options, timeoutMs: Math.min(timeoutMs, this.#options.timeoutMs) })
  }

  /**
   * Closes the connection when everything is written, at the latest after a second: a server may stop reading. A server that limits
   * connections must not count this one when the next one arrives, so it waits for the end.
   */
  async #close(): Promise<void> {
    const socket = this.#socket
    socket.destroySoon()
    if (socket.closed) return
    const timer = setTimeout(() => socket.destroy(), CLOSE_TIMEOUT_MS)
    await once(socket, 'close').catch(() => undefined)
    clearTimeout(timer)
  }

  /** Returns the octets of the socket. They are read only while a reply is awaited: a flood stays in the server's own buffers. */
  #readOctets(): AsyncIterator<Buffer, undefined> {
    this.#socket.once('error', (error) => (this.#socketError = error))
    return this.#socket.iterator({ destroyOnReturn: false })[Symbol.asyncIterator]()
  }

  /** Removes and returns the octets that have arrived and are no whole line. */
  #takeOctets(): Buffer {
    const unread: unknown = this.#socket.readableLength > 0 ? this.#socket.read() : null
    return Buffer.concat([this.#parser.takeOctets(), ...(Buffer.isBuffer(unread) ? [unread] : [])])
  }

  #hasOctets(): boolean {
    return this.#parser.buffered + this.#socket.readableLength > 0
  }

  /**
   * Throws if the server has sent something before a command: an attack, or a server that replies twice. A 421, which a server may
   * send at any time (RFC 5321, 3.8), means that the connection is lost. A line that continues a command has no verb of its own.
   */
  async #requireSilence(verb: string | undefined): Promise<void> {
    // Octets that have arrived but not been read appear after one turn of the event loop.
    await nextTurn()
    if (!this.#hasOctets()) {
      // Throws the reason: after an interruption nothing more is sent, and a connection that is closed takes nothing.
      if (this.#options.signal.aborted || !this.#socket.writable) await this.readReply()
      return
    }
    const message = `the server sent data too early, before ${verb ?? 'the rest of the login'}`
    const facts = { exitStatus: EXIT.PROTOCOL, kind: 'surplus-reply' } as const
    this.#awaited = 'early reply'
    const reply = await this.readReply().catch((error: unknown) => {
      const isGoodbye = this.#parser.firstThree === '421'
      const hasReason = isGoodbye || this.#options.signal.aborted || !(error instanceof StepError)
      throw hasReason ? error : new StepError(`${message}: ${error.message}`, { ...facts, cause: error.cause })
    })
    if (reply.code === 421) throw new RejectedError(reply, { exitStatus: EXIT.TEMPFAIL, kind: 'connection-lost' })
    throw new StepError(`${message} (${formatReply(reply)})`, facts)
  }

  #send(line: string, shown = line): void {
    if (/[\r\n\0]/.test(line) || line.length + 2 > COMMAND_LINE_OCTETS) throw new Error('not a command line')
    // The later lines of a login belong to AUTH.
    const command = verbOf(shown) ?? 'AUTH'
    this.#awaited = { command }
    this.#lastLine = shown
    this.#options.trace({ type: 'sent', line: shown })
    this.#socket.write(`${line}\r\n`)
  }

  /** Sends QUIT, after `*` if the server may take the next line for a part of the login (RFC 4954, 4). */
  #leave(): void {
    if (this.#isLoggingIn && !this.#isQuitSent && !ONE_STEP_LOGIN.test(this.#lastLine)) this.#send('*')
    this.#sendQuit()
  }

  #sendQuit(): void {
    if (!this.#isQuitSent) this.#send('QUIT')
    this.#isQuitSent = true
  }

  #connectionLost(cause?: unknown): StepError {
    const isMidReply = this.#parser.buffered > 0
    if (this.#awaited === 'greeting')
      return connectionLostError(isMidReply ? 'in the middle of the greeting' : 'before the greeting', cause)
    if (this.#awaited === 'early reply') return connectionLostError('in the middle of a reply', cause)
    const { command } = this.#awaited
    return connectionLostError(isMidReply ? `in the middle of the reply to ${command}` : `after ${command}`, cause)
  }

  #describeTimeout(within: string, { timeoutMs }: Limits): Timeout {
    const octets = this.#parser.bufferedText
    const isSilent = this.#parser.buffered === 0
    const received = isSilent ? '0 octets received' : `only "${shortenMessage(octets, UNFINISHED_OCTETS)}"`
    const message = `no ${isSilent ? '' : 'complete '}${this.#awaitedNoun} ${within} (${received})`
    return { message, hint: this.#timeoutHint(isSilent, timeoutMs) }
  }

  #timeoutHint(isSilent: boolean, timeoutMs: number): string {
    if (typeof this.#awaited === 'object' && this.#awaited.command === 'ETRN')
      return isShortTimeout(timeoutMs) ? 'a repeated request does no harm: try again with --timeout 60s' : REPEAT_HINT
    const { silenceHint } = this.#options
    const isGreetingMissing = this.#awaited === 'greeting' && isSilent
    return [(isGreetingMissing ? silenceHint : undefined) ?? [], timeoutHint(timeoutMs)]
      .flat()
      .join('; if that does not help, ')
  }

  #describeMalformed({ message }: MalformedReplyError): string {
    return this.#awaited === 'early reply' ? message : `invalid ${this.#awaitedNoun}: ${message}`
  }

  #nextReply(): Reply | undefined {
    return this.#parser.next(this.#isLoggingIn ? CHALLENGE_LINE_OCTETS : REPLY_LINE_OCTETS)
  }

  get #isLoggingIn(): boolean {
    return typeof this.#awaited === 'object' && this.#awaited.command === 'AUTH'
  }

  get #awaitedNoun(): string {
    if (this.#awaited === 'greeting') return 'greeting'
    return this.#awaited === 'early reply' ? 'reply' : `reply to ${this.#awaited.command}`
  }
}

/** Returns the verb of a command as a transcript shows it; undefined for a line that continues a login. */
function verbOf(shown: string): string | undefined {
  return /^[A-Z]+(?= |$)/.exec(shown)?.[0]
}
