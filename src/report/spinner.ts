import ora from 'ora'
import type { Pause } from '../etrn/backoff.js'
import type { Server } from '../smtp/session.js'
import type { TraceEvent } from '../smtp/trace.js'

/** What is waited for, turning on a terminal; nothing of it stays there. */
export class Spinner {
  readonly #ora

  constructor(stream: NodeJS.WritableStream) {
    // Standard input is not ours to read: a shell's loop may feed on it.
    this.#ora = ora({ stream, discardStdin: false })
  }

  show(server: Server | null, event: TraceEvent | Pause): void {
    const text = event.type === 'pause' ? event.text : server === null ? undefined : describeEvent(server, event)
    if (text === undefined) return
    this.#ora.text = server === null ? text : `${server.word}: ${text}`
    if (!this.#ora.isSpinning) this.#ora.start()
  }

  /** Before a line is written; the next event brings it back. */
  hide(): void {
    this.#ora.stop()
  }
}

function describeEvent(server: Server, event: TraceEvent): string | undefined {
  if (event.type === 'connecting') return `connecting to ${event.address} port ${server.port}`
  if (event.type === 'sent') return event.line
  if (event.type !== 'step') return undefined
  if (event.stage === 'greeting') return 'waiting for the greeting'
  return event.stage === 'dns' ? `looking up ${server.host}` : undefined
}
