import { once } from 'node:events'
import type { Ora } from 'ora'
import { codeOf } from '../errors.js'
import { printable, printableLines, shortenMessage } from '../printable.js'
import { createOutput, type Output, type Progress } from './reporter.js'

/** A stream that the command writes to; a terminal has columns. */
type OutputStream = NodeJS.WritableStream & {
  readonly isTTY?: boolean
  readonly columns?: number
  /** The octets that wait for the reader */
  readonly writableLength?: number
}

/** Standard output and standard error */
type Outputs = { readonly out: Output; readonly err: Output }

export type TerminalOptions = {
  readonly stdout: OutputStream
  readonly stderr: OutputStream
  readonly environment: Readonly<Record<string, string | undefined>>
}

/** The time that an output has left when the run is over */
const FLUSH_TIMEOUT_MS = 2000
/** The output that may wait for a slow reader: more of it delays the run, so that it doesn't fill the memory. */
const PENDING_OCTETS = 1_048_576

const MIN_SPINNER_CHARACTERS = 20

/** Standard output and standard error, line by line, with colour and a spinner if they are terminals. */
export class Terminal {
  readonly #options: TerminalOptions
  #spinner: Ora | undefined
  /** The step that the run waits for; undefined after a line, until the next event */
  #awaited: string | undefined
  #names = { done: 0, total: 0 }
  #writeError: Error | undefined
  /** Streams whose slow reader is awaited */
  readonly #drained = new Map<OutputStream, Promise<void>>()

  constructor(options: TerminalOptions) {
    this.#options = options
    for (const stream of [options.stdout, options.stderr]) {
      stream.on('error', (error: Error) => {
        // A reader that closes a pipe has read what it needs.
        if (codeOf(error) !== 'EPIPE') this.#writeError = error
      })
    }
  }

  /** Prints lines of our own to standard output. */
  readonly print = (lines: string): void => this.#write(this.#options.stdout, printableLines(lines))

  /** Prints one line to standard error, whatever is in it. */
  readonly warn = (line: string): void => this.#write(this.#options.stderr, printable(line))

  /** Prints lines of our own to standard error. */
  readonly warnLines = (stack: string): void => this.#write(this.#options.stderr, printableLines(stack))

  /** Waits for a slow reader if much output waits for him, unless the signal aborts. Never throws. */
  async drain(signal: AbortSignal): Promise<void> {
    for (const stream of [this.#options.stdout, this.#options.stderr]) {
      if (!stream.writable || (stream.writableLength ?? 0) < PENDING_OCTETS) continue
      const drained = this.#drained.get(stream) ?? waitForDrain(stream, signal)
      this.#drained.set(stream, drained)
      await drained
      this.#drained.delete(stream)
    }
  }

  /**
   * Returns standard output and standard error, in colour if `color`, the environment and the stream allow it. Nobody waits for a slow
   * reader after the signal has aborted.
   */
  async outputs(color: 'auto' | 'always' | 'never', signal: AbortSignal): Promise<Outputs> {
    const isColoured = ({ isTTY }: OutputStream): boolean => {
      if (color !== 'auto') return color === 'always'
      const { NO_COLOR, FORCE_COLOR, TERM } = this.#options.environment
      if (NO_COLOR) return false
      if (FORCE_COLOR !== undefined) return FORCE_COLOR !== '0' && FORCE_COLOR !== 'false'
      return isTTY === true && TERM !== 'dumb'
    }
    const { stdout, stderr } = this.#options
    const drain = async (): Promise<void> => this.drain(signal)
    const outputOf = async (stream: OutputStream): Promise<Output> => {
      const colours = isColoured(stream) ? (await import('./colours.js')).colours : undefined
      return createOutput((lines) => this.#write(stream, lines), colours, drain)
    }
    return { out: await outputOf(stdout), err: await outputOf(stderr) }
  }

  /** Starts a spinner if both streams are terminals: it would come between the lines that `| tee` prints. */
  async startSpinner(): Promise<void> {
    const { stdout, stderr, environment } = this.#options
    const isTerminal = stdout.isTTY && stderr.isTTY && (stderr.columns ?? 0) > 0
    if (!isTerminal || environment['CI'] || environment['TERM'] === 'dumb') return
    const { ora } = await import('./spinner.js')
    // Leaves standard input alone: a shell's loop may read from it. Is enabled here: ora would ask the environment of the process.
    this.#spinner = ora({ stream: stderr, discardStdin: false, isEnabled: true })
    if (this.#awaited !== undefined) this.#spinner.start(this.#awaited)
  }

  /** Sets the number of names that the spinner counts. */
  setNames(total: number): void {
    this.#names.total = total
  }

  /** Counts one name as done. */
  countName(): void {
    this.#names.done++
  }

  /** Shows in the spinner what the run waits for, and how many of several names are done. */
  showProgress(...[server, event]: Progress): void {
    const text = describeEvent(server, event)
    if (text === undefined) return
    const { done, total } = this.#names
    const count = total > 1 ? `${done} of ${total} names; ` : ''
    // A terminal may draw other characters wider or narrower than ora assumes, which then erases too many lines with each frame.
    const line = printable(`${count}${server === null ? '' : `${server.word}: `}${text}`).replace(/[^ -~]/gu, '?')
    // A server must not fill the screen with each frame.
    this.#awaited = shortenMessage(line, Math.max(MIN_SPINNER_CHARACTERS, (this.#options.stderr.columns ?? 0) - 6))
    this.#spinner?.start(this.#awaited)
  }

  /** Removes the spinner until the next event. One that is still being loaded must not start either. */
  hideSpinner(): void {
    this.#awaited = undefined
    this.#spinner?.stop()
  }

  /**
   * Waits until both streams have taken everything; not for long, if the signal aborts: a stopped terminal or an unread pipe takes
   * nothing. Returns the error that a stream reported, if any.
   */
  async close(signal: AbortSignal): Promise<Error | undefined> {
    this.hideSpinner()
    const { stdout, stderr } = this.#options
    const flush = async (stream: OutputStream): Promise<void> =>
      new Promise((resolve) => stream.write('', () => resolve()))
    let timer: NodeJS.Timeout | undefined
    const overdue = new Promise<void>((resolve) => {
      const giveUp = (): void => {
        this.#writeError ??= new Error('no program read it in time')
        resolve()
      }
      const start = (): void => void (timer = setTimeout(giveUp, FLUSH_TIMEOUT_MS))
      if (signal.aborted) start()
      else signal.addEventListener('abort', start, { once: true })
    })
    await Promise.race([overdue, Promise.all([flush(stdout), flush(stderr)])])
    clearTimeout(timer)
    return this.#writeError
  }

  #write(stream: OutputStream, lines: string): void {
    this.hideSpinner()
    stream.write(`${lines}\n`)
  }
}

/** Waits until a stream has written everything, is closed or fails, or the signal aborts. Never throws. */
async function waitForDrain(stream: OutputStream, signal: AbortSignal): Promise<void> {
  const found = new AbortController()
  const limits = { signal: AbortSignal.any([signal, found.signal]) }
  await Promise.race([once(stream, 'drain', limits), once(stream, 'close', limits)]).catch(() => undefined)
  found.abort()
}

function describeEvent(server: Progress[0], event: Progress[1]): string | undefined {
  // A narrow terminal cuts the end off.
  if (event.type === 'pause') return `${event.next} (${event.reason})`
  if (server === null) return undefined
  if (event.type === 'connecting') return `connecting to ${event.address} port ${server.port}`
  if (event.type === 'sent') return event.line
  if (event.type !== 'step') return undefined
  if (event.stage === 'greeting') return 'waiting for the greeting'
  return event.stage === 'dns' ? `looking up ${server.host}` : undefined
}
