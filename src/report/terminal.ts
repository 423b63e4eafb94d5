import { codeOf } from '../errors.js'
import { createOutput, type Output, type Progress } from './reporter.js'
import { Spinner } from './spinner.js'

/** A stream that the command writes to; a terminal has columns. */
export type OutputStream = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number }

export type TerminalOptions = {
  readonly stdout: OutputStream
  readonly stderr: OutputStream
  readonly environment: Readonly<Record<string, string | undefined>>
}

/** Standard output and standard error, line by line, with colour and a spinner if they are terminals. */
export class Terminal {
  readonly #stdout: OutputStream
  readonly #stderr: OutputStream
  readonly #environment: TerminalOptions['environment']
  #spinner: Spinner | undefined
  /** The event that a spinner would show; undefined once the run is over. */
  #latest: Progress | undefined
  #writeError: Error | undefined

  constructor({ stdout, stderr, environment }: TerminalOptions) {
    this.#stdout = stdout
    this.#stderr = stderr
    this.#environment = environment
    for (const stream of [stdout, stderr]) {
      stream.on('error', (error: Error) => {
        // A reader that closes a pipe has read what it needs.
        if (codeOf(error) !== 'EPIPE') this.#writeError = error
      })
    }
  }

  /** Prints a line to standard output. */
  print(line: string): void {
    this.#write(this.#stdout, line)
  }

  /** Prints a line to standard error. */
  warn(line: string): void {
    this.#write(this.#stderr, line)
  }

  /** Returns standard output and standard error, in colour if `color`, the environment and the stream allow it. */
  outputs(color: 'auto' | 'always' | 'never'): { readonly out: Output; readonly err: Output } {
    return {
      out: createOutput((line) => this.print(line), this.#isColoured(color, this.#stdout)),
      err: createOutput((line) => this.warn(line), this.#isColoured(color, this.#stderr)),
    }
  }

  /** Starts a spinner if both streams are terminals: it would come between the lines that `| tee` prints. */
  async startSpinner(): Promise<void> {
    const isTerminal = this.#stdout.isTTY && this.#stderr.isTTY && (this.#stderr.columns ?? 0) > 0
    if (!isTerminal || this.#environment['CI']) return
    const { Spinner } = await import('./spinner.js')
    this.#spinner = new Spinner(this.#stderr)
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
    await Promise.all(
      [this.#stdout, this.#stderr].map(
        async (stream) => new Promise<void>((resolve) => stream.write('', () => resolve())),
      ),
    )
    return this.#writeError
  }

  #write(stream: OutputStream, line: string): void {
    this.hideSpinner()
    stream.write(`${line}\n`)
  }

  #isColoured(color: 'auto' | 'always' | 'never', stream: OutputStream): boolean {
    if (color !== 'auto') return color === 'always'
    const { NO_COLOR, FORCE_COLOR, TERM } = this.#environment
    if (NO_COLOR) return false
    if (FORCE_COLOR !== undefined) return FORCE_COLOR !== '0' && FORCE_COLOR !== 'false'
    return stream.isTTY === true && TERM !== 'dumb'
  }
}
