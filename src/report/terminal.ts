import { codeOf } from '../errors.js'
import { createOutput, type Output, type Progress } from './reporter.js'
import type { Spinner } from './spinner.js'

/** A stream that the command writes to; a terminal has columns. */
type OutputStream = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number }

export type TerminalOptions = {
  readonly stdout: OutputStream
  readonly stderr: OutputStream
  readonly environment: Readonly<Record<string, string | undefined>>
}

/** Standard output and standard error, line by line, with colour and a spinner if they are terminals. */
export class Terminal {
  readonly #options: TerminalOptions
  #spinner: Spinner | undefined
  /** The event that a spinner would show; undefined once the run is over. */
  #latest: Progress | undefined
  #writeError: Error | undefined

  constructor(options: TerminalOptions) {
    this.#options = options
    for (const stream of [options.stdout, options.stderr]) {
      stream.on('error', (error: Error) => {
        // A reader that closes a pipe has read what it needs.
        if (codeOf(error) !== 'EPIPE') this.#writeError = error
      })
    }
  }

  /** Prints a line to standard output. */
  readonly print = (line: string): void => this.#write(this.#options.stdout, line)

  /** Prints a line to standard error. */
  readonly warn = (line: string): void => this.#write(this.#options.stderr, line)

  /** Returns standard output and standard error, in colour if `color`, the environment and the stream allow it. */
  outputs(color: 'auto' | 'always' | 'never'): { readonly out: Output; readonly err: Output } {
    const isColoured = ({ isTTY }: OutputStream): boolean => {
      if (color !== 'auto') return color === 'always'
      const { NO_COLOR, FORCE_COLOR, TERM } = this.#options.environment
      if (NO_COLOR) return false
      if (FORCE_COLOR !== undefined) return FORCE_COLOR !== '0' && FORCE_COLOR !== 'false'
      return isTTY === true && TERM !== 'dumb'
    }
    const { stdout, stderr } = this.#options
    return { out: createOutput(this.print, isColoured(stdout)), err: createOutput(this.warn, isColoured(stderr)) }
  }

  /** Starts a spinner if both streams are terminals: it would come between the lines that `| tee` prints. */
  async startSpinner(): Promise<void> {
    const { stdout, stderr, environment } = this.#options
    const isTerminal = stdout.isTTY && stderr.isTTY && (stderr.columns ?? 0) > 0
    if (!isTerminal || environment['CI']) return
    const { Spinner } = await import('./spinner.js')
    this.#spinner = new Spinner(stderr)
    if (this.#latest !== undefined) this.#spinner.show(...this.#latest)
  }

  /** Shows in the spinner what the run waits for. */
  showProgress(...progress: Progress): void {
    // A step that is done is no longer waited for.
    if (progress[1].type !== 'done') this.#latest = progress
    this.#spinner?.show(...progress)
  }

  /** Removes the spinner until the next event. */
  hideSpinner(): void {
    this.#spinner?.hide()
  }

  /** Waits until both streams have taken everything. Returns the error that a stream reported, if any. */
  async close(): Promise<Error | undefined> {
    // A spinner that is still being loaded must not start any more.
    this.#latest = undefined
    this.hideSpinner()
    const { stdout, stderr } = this.#options
    for (const stream of [stdout, stderr]) await new Promise<void>((resolve) => stream.write('', () => resolve()))
    return this.#writeError
  }

  #write(stream: OutputStream, line: string): void {
    this.hideSpinner()
    stream.write(`${line}\n`)
  }
}
