import { setMaxListeners } from 'node:events'
import { constants } from 'node:os'
import type { CommandLine } from './command/arguments.js'
import { BUG, EXIT, mergeExitStatuses, stackOf, StepError, UsageError } from './errors.js'
import { isLackOfResources, resourcesError } from './net/resources-error.js'
import type { Reporter } from './report/reporter.js'
import { Terminal } from './report/terminal.js'
import type { Host } from './run-requests.js'

// Loads late all that only some command lines need: reading and compiling code is most of the start.

/** Signals that end a run in good order. */
export const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const satisfies readonly NodeJS.Signals[]

/**
 * Runs the command. Prints every failure; never throws. Returns the exit status, and the signal that ended the run, if one did: the
 * caller raises it.
 */
export async function main(host: Host): Promise<{ exitStatus: number; signal: NodeJS.Signals | undefined }> {
  const command = new Command(host)
  return { exitStatus: await command.run(), signal: command.signal }
}

class Command {
  signal: NodeJS.Signals | undefined
  readonly #host: Host
  readonly #terminal: Terminal
  /** Aborts everything that the run waits for. */
  readonly #abort = new AbortController()
  /** Undefined as long as the options are not known */
  #reporter: Reporter | undefined

  constructor(host: Host) {
    this.#host = host
    this.#terminal = new Terminal(host)
    setMaxListeners(0, this.#abort.signal)
  }

  async run(): Promise<number> {
    const stopListening = this.#host.onSignal((signal) => this.#handleSignal(signal), SIGNALS)
    const exitStatus = await this.#dispatch().catch((error: unknown) => this.#explain(error))
    const writeError = await this.#terminal.close(this.#abort.signal)
    stopListening()
    if (writeError === undefined) return exitStatus
    this.#terminal.warn(`etrn: can't write the output: ${writeError.message}`)
    return mergeExitStatuses([exitStatus, EXIT.IOERR])
  }

  /** Does what the arguments ask for, and returns the exit status. Throws UsageError and StepError. */
  async #dispatch(): Promise<number> {
    const { argv } = this.#host
    if (argv[0] === '--complete') return this.#complete(argv.slice(1))
    // Alone, it needs no table of options.
    if (argv.length === 1 && ['--version', '-V'].includes(argv[0] ?? '')) return this.#printVersion()
    const { parseArguments } = await import('./command/arguments.js')
    const line = await parseArguments(argv)
    const { help, version, completion, hook } = line.options
    if (help) {
      this.#terminal.print(await this.#helpText((line.options.verbose ?? 0) > 0))
    } else if (version) {
      return this.#printVersion()
    } else if (completion !== undefined) {
      const { completionScript, shellOf } = await import('./command/completion.js')
      const shell = completion === 'auto' ? shellOf(this.#host.environment['SHELL']) : completion
      this.#host.stdout.write(completionScript(shell))
    } else {
      this.#limitTime(line.options['max-time'])
      if (hook === undefined) return this.#request(line)
      const { createHook } = await import('./command/print-hook.js')
      const options = { ...this.#host, signal: this.#abort.signal, warn: this.#terminal.warn }
      this.#host.stdout.write(await createHook(line, hook, options))
    }
    return EXIT.OK
  }

  #printVersion(): number {
    this.#terminal.print(`etrn ${this.#host.version()}`)
    return EXIT.OK
  }

  async #helpText(isFull: boolean): Promise<string> {
    const { columns } = this.#host.stdout
    if (isFull) return (await import('./command/full-help.js')).fullHelpText(columns)
    return (await import('./command/help.js')).helpText(columns)
  }

  async #complete(words: readonly string[]): Promise<number> {
    const { completeCommandLine } = await import('./command/completion.js')
    for (const word of await completeCommandLine(words, { ...this.#host, signal: this.#abort.signal }))
      this.#terminal.print(word)
    return EXIT.OK
  }

  async #request(line: CommandLine): Promise<number> {
    const { runRequests } = await import('./run-requests.js')
    return runRequests(line, {
      host: this.#host,
      terminal: this.#terminal,
      signal: this.#abort.signal,
      endingSignal: () => this.signal,
      limitTime: (maxTimeMs) => this.#limitTime(maxTimeMs),
      onReporter: (reporter) => {
        this.#reporter = reporter
      },
    })
  }

  #limitTime(maxTimeMs: number | undefined): number | undefined {
    if (maxTimeMs === undefined) return undefined
    const failure = { exitStatus: EXIT.TEMPFAIL, kind: 'time-over' } as const
    const error = new StepError('--max-time limit reached', failure)
    setTimeout(() => this.#abort.abort(error), maxTimeMs).unref()
    return performance.now() + maxTimeMs
  }

  /** The first signal ends the run in good order, a second one at once. */
  #handleSignal(signal: NodeJS.Signals): void {
    if (this.signal !== undefined) {
      this.#terminal.hideSpinner()
      return this.#host.raise(signal)
    }
    this.signal = signal
    const exitStatus = 128 + constants.signals[signal]
    this.#abort.abort(new StepError(`interrupted by ${signal}`, { exitStatus, kind: 'interrupted' }))
  }

  /** Prints an error that no report covers, and returns its exit status. */
  async #explain(error: unknown): Promise<number> {
    const known = knownErrorOf(error)
    const isExpected = known instanceof UsageError || known instanceof StepError
    const failure = isExpected ? known : { message: BUG, exitStatus: EXIT.SOFTWARE, hint: undefined }
    // Without file descriptors no file of the reporter can be loaded.
    const reporter = this.#reporter ?? (await this.#createReporter().catch(() => undefined))
    if (reporter === undefined) this.#terminal.warnLines(`etrn: ${failure.message}\nhint: ${failure.hint ?? ''}`)
    else await reporter.fail(failure)
    if (!isExpected) this.#terminal.warnLines(stackOf(error))
    return failure.exitStatus
  }

  /** Returns the reporter for a command line that can't be used. */
  async #createReporter(): Promise<Reporter> {
    const { createReporter } = await import('./run-requests.js')
    const options = { quiet: 0, verbose: 0, json: this.#isJsonTyped, color: 'auto' } as const
    return createReporter(this.#terminal, this.#abort.signal, options)
  }

  /** True if the arguments ask for JSON, even if they can't be parsed. */
  get #isJsonTyped(): boolean {
    const { argv } = this.#host
    const end = argv.indexOf('--')
    return argv.slice(0, end === -1 ? argv.length : end).includes('--json')
  }
}

const NO_FOLDER = new UsageError('the current directory has been removed; change to another directory', {
  exitStatus: EXIT.NOINPUT,
})

/** Returns an error of the system, which any code can meet, as the failure that it means; any other error as it is. */
function knownErrorOf(error: unknown): unknown {
  if (isLackOfResources(error)) return resourcesError("can't continue", error)
  return hasNoFolder(error) ? NO_FOLDER : error
}

/** Returns true if a relative path can't be resolved, because the current directory is gone. */
function hasNoFolder(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error && error.syscall === 'uv_cwd'
}
