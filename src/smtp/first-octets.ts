import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { protocolError } from './errors.js'
import { type RecordFault, RecordScanner } from './tls-records.js'

/**
 * A chain and the names of all well-known authorities fit. OpenSSL may compare each name in a certificate with each constraint in the
 * chain: 90,000 octets took a second, in which every other session stood still.
 */
const HANDSHAKE_OCTETS = 40_960
/** Twice as much as a session needs in which each reply has the greatest length */
const SESSION_OCTETS = 2_097_152

/**
 * A socket that TLS runs on, and that knows whether the server sends TLS records. OpenSSL reads a plain socket by itself, and its errors
 * don't tell a lost connection from a server that doesn't speak TLS.
 */
export class ObservedSocket extends Duplex {
  readonly #records = new RecordScanner()
  #octets = 0
  #isHandshakeOver = false
  #unwritten: Buffer | undefined
  readonly #socket: Socket

  /** Takes over a connected socket. */
  constructor(socket: Socket) {
    super()
    this.#socket = socket
    socket.on('data', (octets: Buffer) => {
      this.#records.push(octets)
      this.#count(octets.length)
      if (!this.push(octets)) socket.pause()
      if (this.recordFault !== undefined) this.#endHandshakeSoon()
    })
    socket.once('end', () => this.push(null))
    socket.once('error', (error) => this.destroy(error))
    socket.once('close', () => this.destroy())
  }

  /** The first octets that the server has sent in place of a TLS record, or its unencrypted alert */
  get recordFault(): RecordFault | undefined {
    return this.#records.fault
  }

  /** Lets the server send as much as a session needs. */
  endHandshake(): void {
    this.#isHandshakeOver = true
  }

  /** Ends the handshake in which the server has sent a fault. OpenSSL reports some faults at once, and waits for more octets after others. */
  #endHandshakeSoon(): void {
    setImmediate(() =>
      setImmediate(() => {
        if (!this.#isHandshakeOver) this.destroy(new Error('no TLS record'))
      }),
    )
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
    const isPlainText = !this.#isHandshakeOver && this.recordFault?.type === 'plain-text'
    this.destroy(isPlainText ? new Error(problem) : protocolError(problem))
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
