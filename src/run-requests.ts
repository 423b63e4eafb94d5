import { constants } from 'node:os'
import type { Readable } from 'node:stream'
import type { Check } from './check/check.js'
import type { CommandLine } from './command/arguments.js'
import { configFilesOf } from './command/config-files.js'
import type { Config } from './command/config.js'
import { settleOptions } from './command/option-sources.js'
import type { Options } from './command/options.js'
import type { InputSources, Reader } from './command/read-file.js'
import { createRequests } from './command/requests.js'
import { swapHint, unreadHint } from './command/targets.js'
import { EXIT, mergeExitStatuses, stackOf, UsageError } from './errors.js'
import type { FailedRequest, Request } from './etrn/request.js'
import { resultOfBadLine, type Run, run } from './etrn/run.js'
import { validNames } from './input/names-file.js'
import { chooseReporter } from './report/choose-reporter.js'
import type { FailureRecorder } from './report/delayed.js'
import type { Progress, Reporter } from './report/reporter.js'
import type { Terminal, TerminalOptions } from './report/terminal.js'

/** The process as the command sees it */
export type Host = TerminalOptions &
  Pick<InputSources, 'kill' | 'onSignal' | 'raise'> & {
    readonly argv: readonly string[]
    /** The effective user; undefined on systems without user IDs. */
    readonly uid: number | undefined
    readonly stdin: () => Readable
    /** The absolute paths of node and etrn, for hooks. */
    readonly program: () => readonly string[]
    readonly version: () => string
    /** Returns the time in milliseconds since 1970. */
    readonly now: () => number
  }

/** The parts of the command that a run uses */
export type RunContext = {
  readonly host: Host
  readonly terminal: Terminal
  /** Aborts when a signal or --max-time ends the run. */
  readonly signal: AbortSignal
  /** Returns the signal that has ended the run, if one has. */
  readonly endingSignal: () => NodeJS.Signals | undefined
  /** Starts the time of --max-time, and returns when it ends, by performance.now(). */
  readonly limitTime: (maxTimeMs: number | undefined) => number | undefined
  /** Receives the reporter, which the command uses for errors that no report covers. */
  readonly onReporter: (reporter: Reporter) => void
}

/** Requests or checks what the command line asks for, reports it, and returns the exit status. Throws UsageError and StepError. */
export async function runRequests(line: CommandLine, context: RunContext): Promise<number> {
  return new RequestRun(line, context).run()
}

class RequestRun {
  readonly #line: CommandLine
  readonly #context: RunContext
  /** SERVER and NAME arguments; empty if the hint about swapped ones must not appear */
  #words: readonly string[] = []

  /** A configuration file that this user can't read */
  #unread: string | undefined

  constructor(line: CommandLine, context: RunContext) {
    this.#line = line
    this.#context = context
  }

  async run(): Promise<number> {
    const line = this.#line
    const { host, terminal, signal, limitTime, onReporter } = this.#context
    const reader = { uid: host.uid, signal }
    const onUnread = (file: string, reason: string): void => {
      // Root may read every file: without the settings of the system, a run could be less secure than they demand.
      if (host.uid === 0) throw new UsageError(`configuration ${file}: ${reason}`, { exitStatus: EXIT.NOINPUT })
      this.#unread = file
    }
    const config = await readConfig(configFilesOf(line, { ...host, warn: terminal.warn, onUnread }), reader)
    const options = settleOutput(settleOptions([line, ...config.tops]).options)
    // If a temporary failure may be silent, so is what explains it.
    const isSilent = options.quiet > 1 || options['report-after'] !== undefined
    if (!options.all && options.mx.length === 0 && !isSilent) this.#words = line.words
    const runEndsAt = limitTime(options['max-time'])
    const { quiet, verbose, json } = options
    if (quiet === 0 && verbose === 0 && !json) void terminal.startSpinner()
    const several = options.all || options.mx.length > 0 || line.words[0]?.includes(',') === true
    const record = this.#recorderOf(options)
    const reporter = await createReporter(terminal, signal, { ...options, several, record })
    onReporter(reporter)
    const failedTo = options.check ? undefined : options['failed-to']
    const problem = failedTo && (await import('./command/failed-names.js')).failedToProblem(failedTo, host.uid)
    if (problem) throw new UsageError(problem, { exitStatus: EXIT.IOERR })
    const warn = (message: string): void => reporter.warn(message)
    const requests = await createRequests(line, config, { ...host, ...reader, input: host.stdin, warn })
    for (const entry of new Set(requests.flatMap(({ entries }) => entries))) {
      if (typeof entry === 'string' || signal.aborted) continue
      reporter.result(null, resultOfBadLine(entry))
      await terminal.drain(signal)
    }
    return options.check
      ? this.#check(requests, options, reporter)
      : this.#request(requests, options, reporter, runEndsAt)
  }

  async #request(
    requests: readonly (Request | FailedRequest)[],
    options: Options,
    reporter: Reporter,
    runEndsAt: number | undefined,
  ): Promise<number> {
    const { host, terminal, signal } = this.#context
    // The exchangers of --mx are not known yet.
    if (options.mx.length === 0) terminal.setNames(requests.flatMap(({ entries }) => validNames(entries)).length)
    const done = await run(requests, {
      jobs: options.jobs,
      waitLocalMs: options['wait-local'] ?? 0,
      runEndsAt,
      signal,
      trace: (...progress) => this.#trace(reporter, ...progress),
      drain: async () => terminal.drain(signal),
      onResult: (...given) => {
        terminal.countName()
        reporter.result(...given)
      },
      onReport: (...given) => reporter.report(...given),
      warn: (message) => reporter.warn(message),
    })
    const { 'failed-to': file } = options
    const problem = file && (await import('./command/failed-names.js')).writeFailedNames(file, done, requests, host.uid)
    if (!problem) return this.#end(reporter, done)
    terminal.warn(`etrn: ${problem}`)
    return this.#end(reporter, { ...done, exitStatus: mergeExitStatuses([done.exitStatus, EXIT.IOERR]) })
  }

  async #check(requests: readonly (Request | FailedRequest)[], options: Options, reporter: Reporter): Promise<number> {
    const { host, terminal, signal } = this.#context
    const { check } = await import('./check/check.js')
    const { jsonCheckReporter, textCheckReporter } = await import('./check/report.js')
    const { out } = await terminal.outputs(options.color, signal)
    const { LC_ALL, LC_CTYPE, LANG } = host.environment
    const isUtf8 = /utf-?8/i.test(LC_ALL || LC_CTYPE || LANG || '')
    const report = options.json ? jsonCheckReporter(out) : textCheckReporter(out, { quiet: options.quiet, isUtf8 })
    const trace = (...progress: Progress): void => this.#trace(reporter, ...progress)
    const waitsForLocal = options['wait-local'] !== undefined
    const drain = async (): Promise<void> => terminal.drain(signal)
    return this.#end(report, await check(requests, { ...report, waitsForLocal, signal, drain, trace }))
  }

  /** Completes a report, and returns the exit status: the signal's if a signal ended the run. */
  async #end<T extends Pick<Run | Check, 'exitStatus' | 'servers'>>(
    reporter: { end: (done: T) => void | Promise<void> },
    done: T,
  ): Promise<number> {
    const { terminal, endingSignal } = this.#context
    const ending = endingSignal()
    const exitStatus = ending === undefined ? done.exitStatus : 128 + constants.signals[ending]
    const errors = done.servers.flatMap(({ error }) => error ?? [])
    // This is likelier than a misspelt server, which the hints of the report suggest.
    const hint =
      ending === undefined
        ? (unreadHint(this.#words, errors, this.#unread) ?? swapHint(this.#words, errors))
        : undefined
    if (hint !== undefined) terminal.warn(hint)
    await reporter.end({ ...done, exitStatus })
    for (const error of errors) if (error.exitStatus === EXIT.SOFTWARE) terminal.warnLines(stackOf(error.cause))
    return exitStatus
  }

  #trace(reporter: Reporter, ...progress: Progress): void {
    this.#context.terminal.showProgress(...progress)
    reporter.trace(...progress)
  }

  /** Returns what --report-after makes of failures; undefined without it. */
  #recorderOf({ 'report-after': reportAfterMs }: Options): FailureRecorder | undefined {
    if (reportAfterMs === undefined) return undefined
    const { host, endingSignal } = this.#context
    return async (targets) => {
      // An interrupted run proves nothing.
      if (endingSignal() !== undefined) return { targets: new Set(), lines: [] }
      const { recordFailures } = await import('./command/failure-state.js')
      return recordFailures(targets, { ...host, line: this.#line, reportAfterMs })
    }
  }
}

type OutputOptions = Pick<Options, 'quiet' | 'verbose' | 'json' | 'color'> & {
  readonly several?: boolean
  readonly record?: FailureRecorder | undefined
}

/** Returns the form of output that the options ask for. */
export async function createReporter(
  terminal: Terminal,
  signal: AbortSignal,
  { several = false, ...options }: OutputOptions,
): Promise<Reporter> {
  return chooseReporter({ ...options, ...(await terminal.outputs(options.color, signal)), several })
}

/** Returns the options with what follows from --report-after, which makes no difference to --check and --json. */
function settleOutput(options: Options): Options {
  if (options['report-after'] === undefined) return options
  return options.check || options.json ? { ...options, 'report-after': undefined } : { ...options, quiet: 1 }
}

/** Returns what the files configure. Throws UsageError. */
async function readConfig(files: readonly string[], reader: Reader): Promise<Config> {
  if (files.length === 0) return { tops: [], profiles: new Map(), paths: new Map() }
  const config = await import('./command/config.js')
  return config.readConfig(files, reader)
}
