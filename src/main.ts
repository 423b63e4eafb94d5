import { setMaxListeners } from 'node:events'
import { constants } from 'node:os'
import type { Readable } from 'node:stream'
import type { Check } from './check/check.js'
import { type CommandLine, parseArguments } from './command/arguments.js'
import { findConfigFiles } from './command/config-files.js'
import { type Config, readConfig } from './command/config.js'
import { settleOptions } from './command/option-sources.js'
import type { Options } from './command/options.js'
import type { InputSources, Reader } from './command/read-file.js'
import { createRequests } from './command/requests.js'
import { swapHint } from './command/targets.js'
import { BUG, EXIT, stackOf, StepError, UsageError } from './errors.js'
import { mergeExitStatuses } from './etrn/outcome.js'
import type { FailedRequest, Request } from './etrn/request.js'
import { resultOfBadLine, type Run, run } from './etrn/run.js'
import { validNames } from './input/names-file.js'
import { chooseReporter } from './report/choose-reporter.js'
import type { FailureRecorder } from './report/delayed.js'
import type { Progress, Reporter } from './report/reporter.js'
import { Terminal, type TerminalOptions } from './report/terminal.js'

/** Signals that end a run in good order. */
export const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const satisfies readonly NodeJS.Signals[]

export type Host = TerminalOptions &
  Pick<InputSources, 'kill' | 'onSignal' | 'raise'> & {
    readonly argv: readonly string[]
    /** The effective user; undefined on systems without user IDs. */
    readonly uid: number | undefined
    readonly stdin: () => Readable
    /** The absolute paths of node and etrn, for hooks. */
    readonly program: readonly string[]
    readonly version: () => string
    /** Returns the time in milliseconds since 1970. */
    readonly now: () => number
  }

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
  readonly #reader: Reader
  /** Undefined as long as the options are not known */
  #reporter: Reporter | undefined
  /** SERVER and NAME arguments */
  #words: readonly string[] = []

  constructor(host: Host) {
    this.#host = host
    this.#terminal = new Terminal(host)
    this.#reader = { uid: host.uid, signal: this.#abort.signal }
    setMaxListeners(0, this.#abort.signal)
  }

  async run(): Promise<number> {
    const stopListening = this.#host.onSignal((signal) => this.#handleSignal(signal), SIGNALS)
    const exitStatus = await this.#dispatch().catch((error: unknown) => this.#explain(error))
    const writeError = await this.#terminal.close(this.#abort.signal)
    stopListening()
    if (writeError === undefined) return exitStatus
    this.#terminal.warn(`etrn: cannot write the output: ${writeError.message}`)
    return mergeExitStatuses([exitStatus, EXIT.IOERR])
  }

  /** Does what the arguments ask for, and returns the exit status. Throws UsageError and StepError. */
  async #dispatch(): Promise<number> {
    const { argv } = this.#host
    if (argv[0] === '--complete') return this.#complete(argv.slice(1))
    const line = await parseArguments(argv)
    const { help, version, completion, hook } = line.options
    if (help) {
      this.#terminal.print(await this.#helpText((line.options.verbose ?? 0) > 0))
    } else if (version) {
      this.#terminal.print(`etrn ${this.#host.version()}`)
    } else if (completion !== undefined) {
      const { completionScript, shellOf } = await import('./command/completion.js')
      const shell = completion === 'auto' ? shellOf(this.#host.environment['SHELL']) : completion
      this.#host.stdout.write(completionScript(shell))
    } else {
      this.#limit(line.options['max-time'])
      return hook === undefined ? this.#request(line) : this.#printHook(line, hook)
    }
    return EXIT.OK
  }

  async #helpText(isFull: boolean): Promise<string> {
    const { columns } = this.#host.stdout
    if (isFull) return (await import('./command/full-help.js')).fullHelpText(columns)
    return (await import('./command/help.js')).helpText(columns)
  }

  async #complete(words: readonly string[]): Promise<number> {
    const { completeWords } = await import('./command/completion.js')
    const readProfiles = async (file: string | undefined): Promise<string[]> => {
      const files = file === undefined ? findConfigFiles({ ...this.#host, warn: () => undefined }) : [file]
      const config = await readConfig(files, this.#reader).catch(() => undefined)
      return [...(config?.profiles.keys() ?? [])]
    }
    for (const word of await completeWords(words, readProfiles)) this.#terminal.print(word)
    return EXIT.OK
  }

  async #printHook(line: CommandLine, kind: NonNullable<Options['hook']>): Promise<number> {
    const { uid, program, stdout } = this.#host
    const { warn } = this.#terminal
    const { commandPathsOf, hookText, optionPathsOf, resolveHookTargets } = await import('./command/hook.js')
    const runner = kind === 'cron' ? uid : 0
    const files = this.#configFiles(line, runner)
    const config = await readConfig(files, this.#reader)
    if (runner === 0) await this.#checkProfiles(line, config)
    const targets = await resolveHookTargets(line, config, warn)
    const paths = [...optionPathsOf(targets), ...commandPathsOf(targets)]
    // systemd hands the files over, and the service reads them as another user.
    const isHandedOver = kind === 'systemd'
    if (runner === 0) await this.#warnForRoot(isHandedOver ? [] : files, isHandedOver ? [...files, ...paths] : paths)
    stdout.write(hookText(kind, { line, targets, files, paths: config.paths, program }))
    return EXIT.OK
  }

  /** Throws UsageError for a profile of the user's own in a hook that root runs. */
  async #checkProfiles(line: CommandLine, config: Config): Promise<void> {
    const { checkProfiles } = await import('./command/hook-root.js')
    const ownFiles = line.options.config === undefined ? findConfigFiles({ ...this.#host, warn: () => undefined }) : []
    checkProfiles(line, config, await readConfig(ownFiles, this.#reader).catch(() => config))
  }

  async #warnForRoot(configFiles: readonly string[], otherFiles: readonly string[]): Promise<void> {
    const { rootObjections } = await import('./command/hook-root.js')
    for (const objection of await rootObjections(this.#host.program, configFiles, otherFiles, this.#reader))
      this.#terminal.warn(`etrn: warning: root runs this hook: ${objection}`)
  }

  async #request(line: CommandLine): Promise<number> {
    const config = await readConfig(this.#configFiles(line), this.#reader)
    const options = settleOutput(settleOptions([line, ...config.tops]).options)
    // If a temporary failure may be silent, so is what explains it.
    const isSilent = options.quiet > 1 || options['report-after'] !== undefined
    if (!options.all && options.mx.length === 0 && !isSilent) this.#words = line.words
    this.#limit(options['max-time'])
    const hasSeveral = options.all || options.mx.length > 0 || line.words[0]?.includes(',') === true
    const { quiet, verbose, json } = options
    if (quiet === 0 && verbose === 0 && !json) void this.#terminal.startSpinner()
    const reporter = (this.#reporter = this.#createReporter(options, hasSeveral, line))
    const { stdin: input } = this.#host
    const warn = (message: string): void => reporter.warn(message)
    const failedTo = options.check ? undefined : options['failed-to']
    const problem = failedTo && (await import('./command/failed-names.js')).failedToProblem(failedTo)
    if (problem) throw new UsageError(problem, { exitStatus: EXIT.IOERR })
    const requests = await createRequests(line, config, { ...this.#host, ...this.#reader, input, warn })
    const entries = new Set(requests.flatMap((request) => request.entries))
    for (const entry of entries) {
      if (typeof entry === 'string' || this.#abort.signal.aborted) continue
      reporter.result(null, resultOfBadLine(entry))
      await this.#terminal.drain(this.#abort.signal)
    }
    return options.check ? this.#check(requests, options, reporter) : this.#run(requests, options, reporter)
  }

  async #run(requests: readonly (Request | FailedRequest)[], options: Options, reporter: Reporter): Promise<number> {
    // The exchangers of --mx are not known yet.
    if (options.mx.length === 0) this.#terminal.setNames(requests.flatMap(({ entries }) => validNames(entries)).length)
    const done = await run(requests, {
      jobs: options.jobs,
      waitLocalMs: options['wait-local'] ?? 0,
      signal: this.#abort.signal,
      trace: (...progress) => this.#trace(reporter, ...progress),
      drain: async () => this.#terminal.drain(this.#abort.signal),
      onResult: (...given) => {
        this.#terminal.countName()
        reporter.result(...given)
      },
      onReport: (...given) => reporter.report(...given),
      warn: (message) => reporter.warn(message),
    })
    const { 'failed-to': file } = options
    const problem = file && (await import('./command/failed-names.js')).writeFailedNames(file, done, requests)
    if (!problem) return this.#end(reporter, done)
    this.#terminal.warn(`etrn: ${problem}`)
    return this.#end(reporter, { ...done, exitStatus: mergeExitStatuses([done.exitStatus, EXIT.IOERR]) })
  }

  async #check(requests: readonly (Request | FailedRequest)[], options: Options, reporter: Reporter): Promise<number> {
    const { check } = await import('./check/check.js')
    const { jsonCheckReporter, textCheckReporter } = await import('./check/report.js')
    const { out } = this.#terminal.outputs(options.color, this.#abort.signal)
    const { LC_ALL, LC_CTYPE, LANG } = this.#host.environment
    const isUtf8 = /utf-?8/i.test(LC_ALL || LC_CTYPE || LANG || '')
    const report = options.json ? jsonCheckReporter(out) : textCheckReporter(out, { quiet: options.quiet, isUtf8 })
    const trace = (...progress: Progress): void => this.#trace(reporter, ...progress)
    const waitsForLocal = options['wait-local'] !== undefined
    const { signal } = this.#abort
    const drain = async (): Promise<void> => this.#terminal.drain(signal)
    return this.#end(report, await check(requests, { ...report, waitsForLocal, signal, drain, trace }))
  }

  /** Completes a report, and returns the exit status: the signal's if a signal ended the run. */
  async #end<T extends Pick<Run | Check, 'exitStatus' | 'servers'>>(
    reporter: { end: (done: T) => void | Promise<void> },
    done: T,
  ): Promise<number> {
    const exitStatus = this.signal === undefined ? done.exitStatus : 128 + constants.signals[this.signal]
    await reporter.end({ ...done, exitStatus })
    for (const { error } of done.servers)
      if (error?.exitStatus === EXIT.SOFTWARE) this.#terminal.warnLines(stackOf(error.cause))
    const hint = swapHint(
      this.#words,
      done.servers.flatMap(({ error }) => error ?? []),
    )
    if (hint !== undefined && this.signal === undefined) this.#terminal.warn(hint)
    return exitStatus
  }

  #trace(reporter: Reporter, ...progress: Progress): void {
    this.#terminal.showProgress(...progress)
    reporter.trace(...progress)
  }

  #createReporter(options: OutputOptions, several: boolean, line?: CommandLine): Reporter {
    const outputs = this.#terminal.outputs(options.color, this.#abort.signal)
    const { 'report-after': reportAfterMs } = options
    const isDelayed = line !== undefined && reportAfterMs !== undefined
    const record = isDelayed ? this.#createRecorder(line, reportAfterMs) : undefined
    return chooseReporter({ ...options, ...outputs, several, record })
  }

  #createRecorder(line: CommandLine, reportAfterMs: number): FailureRecorder {
    return async (targets) => {
      // An interrupted run proves nothing.
      if (this.signal !== undefined) return { targets: new Set(), lines: [] }
      const { recordFailures } = await import('./command/failure-state.js')
      return recordFailures(targets, { ...this.#host, line, reportAfterMs })
    }
  }

  #configFiles({ options }: CommandLine, uid = this.#host.uid): string[] {
    if (options.config !== undefined) return [options.config]
    const isSilent = options.quiet || options['report-after'] !== undefined
    const warn = isSilent ? (): void => undefined : this.#terminal.warn
    return findConfigFiles({ environment: this.#host.environment, uid, warn })
  }

  #limit(maxTimeMs: number | undefined): void {
    if (maxTimeMs === undefined) return
    const failure = { exitStatus: EXIT.TEMPFAIL, kind: 'time-over' } as const
    const error = new StepError('the --max-time limit is reached', failure)
    setTimeout(() => this.#abort.abort(error), maxTimeMs).unref()
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
    const isExpected = error instanceof UsageError || error instanceof StepError
    const failure = isExpected ? error : { message: BUG, exitStatus: EXIT.SOFTWARE, hint: undefined }
    const reporter = this.#reporter ?? this.#createReporter({ ...DEFAULT_OUTPUT, json: this.#isJsonTyped }, false)
    await reporter.fail(failure)
    if (!isExpected) this.#terminal.warnLines(stackOf(error))
    return failure.exitStatus
  }

  /** True if the arguments ask for JSON, even if they can't be parsed. */
  get #isJsonTyped(): boolean {
    const { argv } = this.#host
    const end = argv.indexOf('--')
    return argv.slice(0, end === -1 ? argv.length : end).includes('--json')
  }
}

type OutputOptions = Pick<Options, 'quiet' | 'verbose' | 'json' | 'color' | 'report-after'>

const DEFAULT_OUTPUT: OutputOptions = { quiet: 0, verbose: 0, json: false, color: 'auto', 'report-after': undefined }

/** Returns the options with what follows from --report-after, which makes no difference to --check and --json. */
function settleOutput(options: Options): Options {
  if (options['report-after'] === undefined) return options
  return options.check || options.json ? { ...options, 'report-after': undefined } : { ...options, quiet: 1 }
}
