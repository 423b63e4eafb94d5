import ora from 'ora'
import type { Progress } from './reporter.js'

/** A spinner on a terminal that names what the run waits for. It leaves nothing on the screen. */
export class Spinner {
  readonly #ora

  constructor(stream: NodeJS.WritableStream) {
    // Leaves standard input alone: a shell's loop may read from it.
    this.#ora = ora({ stream, discardStdin: false })
  }

  show(...[server, event]: Progress): void {
    const text = describeEvent(server, event)
    if (text === undefined) return
    this.#ora.text = server === null ? text : `${server.word}: ${text}`
    if (!this.#ora.isSpinning) this.#ora.start()
  }

  /** Removes the spinner before a line is printed; the next event brings it back. */
  hide(): void {
    this.#ora.stop()
  }
}

function describeEvent(server: Progress[0], event: Progress[1]): string | undefined {
  if (event.type === 'pause') return event.text
  if (event.type === 'connecting') return `connecting to ${event.address} port ${server?.port ?? ''}`
  if (event.type === 'sent') return event.line
  if (event.type !== 'step') return undefined
  if (event.stage === 'greeting') return 'waiting for the greeting'
  return event.stage === 'dns' && server !== null ? `looking up ${server.host}` : undefined
}
