import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { protocolError } from './errors.js'

/** Enough to know a TLS record by (RFC 8446, 5.1) */
const FIRST_OCTETS = 2
/**
 * A chain and the names of all well-known authorities fit. OpenSSL may compare each name in a certificate with each constraint in the
 * chain: 90,000 octets took a second, in which every other session stood still.
 */
const HANDSHAKE_OCTETS = 40_960
/** Twice as much as a session needs in which each reply has the greatest length */
const SESSION_OCTETS = 2_097_152

/**
 * A socket that TLS runs on, and that keeps the first octets that the server sends. OpenSSL reads a plain socket by itself, and its errors
 * don't tell a lost connection from a server that doesn't speak TLS.
 */
export class ObservedSocket extends Duplex {
  #first: Buffer = Buffer.alloc(0)
  #octets = 0
  #isHandshakeOver = false
  #unwritten: Buffer | undefined
  readonly #socket: Socket

  /** Takes over a connected socket. */
  constructor(socket: Socket) {
    super()
    this.#socket = socket
    socket.on('data', (octets: Buffer) => {
      if (this.#first.length < FIRST_OCTETS)
        this.#first = Buffer.concat([this.#first, octets.subarray(0, FIRST_OCTETS)])
      this.#count(octets.length)
      if (!this.push(octets)) socket.pause()
    })
    socket.once('end', () => this.push(null))
    socket.once('error', (error) => this.destroy(error))
    socket.once('close', () => this.destroy())
  }

  /** True if the server has sent something that can't be the beginning of a TLS record. */
  get hasPlainText(): boolean {
    const [type, version] = this.#first
    return type !== undefined && (type < 0x14 || type > 0x18 || (version !== undefined && version !== 3))
  }

  /** Lets the server send as much as a session needs. */
  endHandshake(): void {
    this.#isHandshakeOver = true
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(octets: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (!this.#isHandshakeOver) {
      this.#socket.write(octets, done)
      return
    }
    this.#unwritten = octets
    // An alert that has arrived is read first, in a whole turn of the event loop: if the write fails, nothing more is read.
    setImmediate(() =>
      setImmediate(() => {
        if (this.destroyed) return done(this.errored)
        this.#unwritten = undefined
        this.#socket.write(octets, done)
      }),
    )
  }

  /**
   * Ends the connection if the server sends too much: records without a reply in them cost time, in which every other session stands
   * still, and memory, because TLS keeps its answers to some of them.
   */
  #count(octets: number): void {
    this.#octets += octets
    const limit = this.#isHandshakeOver ? SESSION_OCTETS : HANDSHAKE_OCTETS
    const place = this.#isHandshakeOver ? 'within TLS' : 'in the TLS handshake'
    if (this.#octets <= limit) return
    const problem = `the server sends too much data ${place}`
    // The handshake reports plain text, which is worse.
    this.destroy(this.hasPlainText ? new Error(problem) : protocolError(problem))
  }

  override _final(done: () => void): void {
    this.#socket.end(done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    // An interrupted client still sends QUIT.
    if (this.#unwritten !== undefined) this.#socket.write(this.#unwritten)
    this.#socket.destroy()
    done(error)
  }
}
