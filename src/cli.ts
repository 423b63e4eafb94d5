import { setMaxListeners } from 'node:events'
import { accessSync, constants as constantsOfFiles, existsSync, readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'
import { type CommandLine, parseArguments } from './command/arguments.js'
import type { Config } from './command/config.js'
import { type PartialOptions, type Options, settle } from './command/options.js'
import { checkHookTargets, createRequests } from './command/requests.js'
import { EXIT, messageOf, StepError, UsageError } from './errors.js'
import { mergeExitStatuses } from './etrn/outcome.js'
import type { Request } from './etrn/request.js'
import { DEFAULT_JOBS, resultOfBadLine, run } from './etrn/run.js'
import { printable } from './printable.js'
import { jsonReporter } from './report/json.js'
import { createOutput, type Output, type Reporter } from './report/reporter.js'
import { Spinner } from './report/spinner.js'
import { TextReporter } from './report/text.js'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

let spinner: Spinner | undefined
/** What is waited for; undefined: nothing */
let progress: Parameters<Spinner['show']> | undefined
let signal: (typeof SIGNALS)[number] | undefined
let outputError: NodeJS.ErrnoException | undefined

/** Runs the command and gives its exit status. Throws UsageError, and StepError where it was too late for anything. */
async function main(argv: readonly string[]): Promise<number> {
  if (argv[0] === '--get-yargs-completions') return complete(argv.slice(1))
  const line = await parseArguments(argv)
  const { help: isHelp, version: isVersion, completion } = line.options
  if (isHelp) {
    const { helpText: help } = await import('./command/help.js')
    return print(await help())
  }
  if (isVersion) return print(`etrn ${version()}`)
  if (completion) {
    const { printCompletionScript: showCompletionScript } = await import('./command/completion.js')
    showCompletionScript()
    return EXIT.OK
  }
  const ending = new AbortController()
  setMaxListeners(0, ending.signal)
  limit(ending, line.options['max-time'])
  const kind = line.options.hook
  const files = configurationFiles(line.options, kind !== undefined && kind !== 'cron')
  const config = await configuration(files, ending.signal)
  if (kind === undefined) return request(line, config, ending)
  const warn = (message: string): void => write(process.stderr, message)
  if (kind !== 'cron' && kind !== 'systemd' && process.getuid?.() !== 0)
    await configuration(files, ending.signal, { uid: 0, gid: 0 }).catch((error: unknown) =>
      warn(`root runs this hook, and would say: ${messageOf(error)}`),
    )
  const places = await checkHookTargets(line, config, warn)
  const { hookText: hook } = await import('./command/hook.js')
  const program = [process.execPath, fileURLToPath(new URL('../bin/etrn', import.meta.url))]
  process.stdout.write(hook(kind, { line, targets: places, files, written: config.paths, program }))
  return EXIT.OK
}

/** Options, and profiles where the server stands. */
async function complete(words: readonly string[]): Promise<number> {
  const config = await configuration(configurationFiles({}, false), new AbortController().signal).catch(() => undefined)
  const { completeWords: completions } = await import('./command/completion.js')
  return print(...(await completions(words, [...(config?.profiles.keys() ?? [])])))
}

async function request(line: CommandLine, config: Config, ending: AbortController): Promise<number> {
  const options = settle(line.options, config.top)
  if (line.options['max-time'] === undefined) limit(ending, options['max-time'])
  const reporter = reporterFor(
    options,
    options.all || options.mx !== undefined || line.words[0]?.includes(',') === true,
  )
  const requests = await createRequests(line, config, {
    input: () => process.stdin,
    environment: process.env['ETRN_PASSWORD'],
    warn: (message) => reporter.warn(message),
    signal: ending.signal,
    interrupt: () => process.kill(process.pid, 'SIGINT'),
  })
  const lines = new Set(requests.flatMap(({ entries }) => entries).filter((entry) => typeof entry !== 'string'))
  for (const bad of lines) reporter.result(null, resultOfBadLine(bad))

  const stopListening = onSignal((name) => {
    const exitStatus = 128 + constants.signals[name]
    ending.abort(new StepError(`interrupted by ${name}`, { exitStatus, kind: 'interrupted' }))
  })
  if (options.check) {
    const exitStatus = await diagnose(requests, options, reporter, ending.signal)
    stopListening()
    return exitStatus
  }
  const done = await run(requests, {
    jobs: options.jobs ?? DEFAULT_JOBS,
    waitLocalMs: options['wait-local'] ?? 0,
    signal: ending.signal,
    trace: (...event) => told(reporter, ...event),
    onResult: (server, result) => reporter.result(server, result),
    onReport: (report) => reporter.report(report),
    warn: (message) => reporter.warn(message),
  })
  const exitStatus = statusOf(done.exitStatus)
  reporter.end({ ...done, exitStatus })
  stopListening()
  return exitStatus
}

/** A signal's, where one ended the run */
function statusOf(exitStatus: number): number {
  return signal === undefined ? exitStatus : 128 + constants.signals[signal]
}

/** --check: looks at everything and asks for nothing. */
async function diagnose(
  requests: readonly Request[],
  options: Options,
  reporter: Reporter,
  stop: AbortSignal,
): Promise<number> {
  const { check } = await import('./check/check.js')
  const { jsonCheckReporter: jsonCheck, textCheckReporter: textCheck } = await import('./check/report.js')
  const { out } = outputs(options)
  const { LC_ALL, LC_CTYPE, LANG } = process.env
  const isUtf8 = /utf-?8/i.test(LC_ALL || LC_CTYPE || LANG || '')
  const report = options.json ? jsonCheck(out) : textCheck(out, { quiet: options.quiet, isUtf8 })
  const waitsForOwn = options['wait-local'] !== undefined
  const done = await check(requests, {
    ...report,
    waitsForLocal: waitsForOwn,
    signal: stop,
    trace: (server, event) => told(reporter, server, event),
  })
  const exitStatus = statusOf(done.exitStatus)
  report.end({ ...done, exitStatus })
  return exitStatus
}

/** Ends everything when the time of the whole run is over. */
function limit(ending: AbortController, maxTimeMs: number | undefined): void {
  if (maxTimeMs === undefined) return
  const over = new StepError('the time that --max-time gives is over', { exitStatus: EXIT.TEMPFAIL, kind: 'time-over' })
  setTimeout(() => ending.abort(over), maxTimeMs).unref()
}

/**
 * The configuration files that are there and count. Of the usual ones, root reads the system's alone, since sudo keeps HOME; so does
 * what a hook starts, if it `isRoots`.
 */
function configurationFiles({ config, quiet = 0 }: PartialOptions, isRoots: boolean): string[] {
  if (config !== undefined) return [config]
  const { HOME, XDG_CONFIG_HOME } = process.env
  const isRoot = isRoots || process.getuid?.() === 0
  const home = XDG_CONFIG_HOME?.startsWith('/') ? XDG_CONFIG_HOME : HOME ? `${HOME}/.config` : undefined
  const places = ['/etc', isRoot ? [] : (home ?? [])].flat()
  return places
    .map((place) => `${place}/etrn/config.toml`)
    .filter((file) => existsSync(file))
    .filter((file) => {
      const isOpen = isReadable(file)
      if (!isOpen && quiet === 0) write(process.stderr, `${file}: you are not allowed to read it; going on without it`)
      return isOpen
    })
}

function isReadable(file: string): boolean {
  try {
    accessSync(file, constantsOfFiles.R_OK)
    return true
  } catch {
    return false
  }
}

/** As this user may read it, or as `root` may */
async function configuration(files: readonly string[], stop: AbortSignal, root?: { uid: 0; gid: 0 }): Promise<Config> {
  if (files.length === 0) return { source: '', top: {}, profiles: new Map(), paths: new Map() }
  const { readConfig: configOf } = await import('./command/config.js')
  return configOf(files, { ...(root ?? { uid: process.getuid?.(), gid: process.getgid?.() }), signal: stop })
}

function told(reporter: Reporter, ...event: Parameters<Reporter['trace']>): void {
  const [server, what] = event
  // What is done is waited for no longer.
  if (what.type !== 'done') progress = [server, what]
  spinner?.show(server, what)
  reporter.trace(...event)
}

function reporterFor(options: Options, several: boolean): Reporter {
  const { quiet, json } = options
  const verbose = options.verbose > 0
  const { out, err } = outputs(options)
  const { stdout, stderr } = process
  // What `| tee` shows on the same terminal would come between.
  const isTerminal = stdout.isTTY && stderr.isTTY && stderr.columns > 0
  if (isTerminal && quiet === 0 && !verbose && !json && !process.env['CI']) void startSpinner()
  const reporter = new TextReporter({ out, err, quiet, verbose, several })
  return json ? jsonReporter(out, reporter) : reporter
}

function outputs({ color = 'auto' }: Options): { out: Output; err: Output } {
  const on = (stream: NodeJS.WriteStream): Output =>
    createOutput((line) => write(stream, line), isColoured(color, stream))
  return { out: on(process.stdout), err: on(process.stderr) }
}

function isColoured(when: 'auto' | 'always' | 'never', stream: NodeJS.WriteStream): boolean {
  if (when !== 'auto') return when === 'always'
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env
  if (NO_COLOR) return false
  if (FORCE_COLOR !== undefined) return FORCE_COLOR !== '0' && FORCE_COLOR !== 'false'
  return stream.isTTY && TERM !== 'dumb'
}

/** Loads what turns while the network is waited for. */
async function startSpinner(): Promise<void> {
  const { Spinner } = await import('./report/spinner.js')
  spinner = new Spinner(process.stderr)
  if (progress !== undefined) spinner.show(...progress)
}

function write(stream: NodeJS.WriteStream, line: string): void {
  spinner?.hide()
  stream.write(`${line}\n`)
}

function print(...lines: readonly string[]): number {
  for (const line of lines) write(process.stdout, line)
  return EXIT.OK
}

/** The first signal ends the run in good order, a second one at once. Returns what leaves signals to the system again. */
function onSignal(interrupt: (name: (typeof SIGNALS)[number]) => void): () => void {
  const stop = (): void => {
    for (const name of SIGNALS) process.removeListener(name, listener)
  }
  const listener = (name: NodeJS.Signals): void => {
    const known = SIGNALS.find((s) => s === name)
    if (known === undefined) return
    if (signal === undefined) interrupt((signal = known))
    else {
      spinner?.hide()
      end(name)
    }
  }
  for (const name of SIGNALS) process.on(name, listener)
  return stop
}

/** A shell's loop stops only where the signal itself ends the process; the spinner's packages listen to it, too. */
function end(name: NodeJS.Signals): void {
  process.removeAllListeners(name)
  process.kill(process.pid, name)
}

function version(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  // Our own file, which npm wants to have a version.
  return (JSON.parse(text) as { readonly version: string }).version
}

/** What went wrong before, or beside, anything that a report has room for; the exit status. */
function explain(error: unknown): number {
  if (error instanceof UsageError || error instanceof StepError) {
    write(process.stderr, `etrn: ${printable(error.message)}`)
    return error.exitStatus
  }
  const stack = error instanceof Error ? error.stack : String(error)
  write(process.stderr, `etrn: this is a bug of etrn; please report it, with what follows\n${stack ?? ''}`)
  return EXIT.SOFTWARE
}

async function finish(exitStatus: number): Promise<void> {
  // A spinner that is only being loaded has nothing to show any more.
  progress = undefined
  spinner?.hide()
  await Promise.all([flushed(process.stdout), flushed(process.stderr)])
  if (outputError !== undefined) process.stderr.write(`etrn: the output can't be written: ${outputError.message}\n`)
  process.exitCode = outputError !== undefined ? mergeExitStatuses([exitStatus, EXIT.IOERR]) : exitStatus
  if (signal !== undefined) end(signal)
}

async function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => stream.write('', () => resolve()))
}

// Should a promise be lost on the way, the process must not end with success.
process.exitCode = EXIT.SOFTWARE
process.on('uncaughtException', (error) => {
  explain(error)
  process.exit()
})
for (const stream of [process.stdout, process.stderr]) {
  // A reader that has gone away has read what it wanted.
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') outputError = error
  })
}
void main(process.argv.slice(2)).catch(explain).then(finish)
