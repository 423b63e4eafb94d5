import { setMaxListeners } from 'node:events'
import { readFile } from 'node:fs/promises'
import { constants } from 'node:os'
import { ownName } from './dns.js'
import { readText, streamText } from './files.js'
import { jsonReporter } from './json.js'
import { checkedArgument, type Entry, namesOf, nodeName, withoutDuplicates } from './names.js'
import { completions, help, type Options, parseCommandLine, showCompletionScript } from './options.js'
import { combined, EXIT, StepError, UsageError } from './outcome.js'
import { printable } from './printable.js'
import { output, type Reporter, TextReporter } from './report.js'
import { DEFAULT_JOBS, DEFAULT_TIMEOUT_MS, resultOfLine, run, type RunOptions } from './run.js'
import { serversOf } from './servers.js'
import type { Spinner } from './spinner.js'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

let spinner: Spinner | undefined
/** What is waited for; undefined: nothing */
let progress: Parameters<Spinner['tell']> | undefined
let signal: (typeof SIGNALS)[number] | undefined
let outputError: NodeJS.ErrnoException | undefined

/** Runs the command and gives its exit status. Throws UsageError, and StepError where it was too late for anything. */
async function main(argv: readonly string[]): Promise<number> {
  if (argv[0] === '--get-yargs-completions') return print(...(await completions(argv.slice(1))))
  const { options, words } = await parseCommandLine(argv)
  if (options.help) return print(await help())
  if (options.version) return print(`etrn ${await version()}`)
  if (options.completion) {
    showCompletionScript()
    return EXIT.OK
  }
  const [servers, ...names] = words
  if (servers === undefined) throw new UsageError('no server given: type etrn SERVER [NAME ...], or etrn --help')
  return request(options, servers, names)
}

async function request(options: Options, serverWords: string, nameWords: readonly string[]): Promise<number> {
  const ending = new AbortController()
  setMaxListeners(0, ending.signal)
  const timer = limit(ending, options['max-time'])
  const targets = serversOf(serverWords, options.port)
  const settings = await settingsOf(options)
  const reporter = reporterFor(options, targets.length > 1)
  const entries = await entriesOf(options, nameWords, reporter, ending.signal)
  const { trusted } = await import('./trust.js')
  const servers = await trusted(targets, options, {
    environment: process.env['ETRN_PASSWORD'],
    warn: (message) => reporter.warn(message),
    signal: ending.signal,
    interrupt: () => process.kill(process.pid, 'SIGINT'),
  })
  for (const entry of entries) if (typeof entry !== 'string') reporter.result(null, resultOfLine(entry))

  const stopListening = onSignal((name) => {
    const exitStatus = 128 + constants.signals[name]
    ending.abort(new StepError(`interrupted by ${name}`, { exitStatus, kind: 'interrupted' }))
  })
  const done = await run(servers, entries, {
    ...settings,
    signal: ending.signal,
    trace: (server, event) => {
      progress = [server, event]
      spinner?.tell(...progress)
      reporter.trace(server, event)
    },
    onResult: (server, result) => reporter.result(server, result),
    onReport: (report) => reporter.report(report),
  })
  progress = undefined
  clearTimeout(timer)
  const exitStatus = signal === undefined ? done.exitStatus : 128 + constants.signals[signal]
  reporter.end({ ...done, exitStatus })
  stopListening()
  return exitStatus
}

/** Ends everything when the time of the whole run is over. */
function limit(ending: AbortController, maxTimeMs: number | undefined): NodeJS.Timeout | undefined {
  if (maxTimeMs === undefined) return undefined
  const over = new StepError('the time that --max-time gives is over', { exitStatus: EXIT.TEMPFAIL, kind: 'over' })
  return setTimeout(() => ending.abort(over), maxTimeMs).unref()
}

type Settings = Omit<RunOptions, 'signal' | 'trace' | 'onResult' | 'onReport'>

/** What holds for every session of the run. */
async function settingsOf(options: Options): Promise<Settings> {
  const { ipv4, ipv6, helo, interface: local } = options
  if (ipv4 && ipv6) throw new UsageError('-4 and -6 exclude each other: type one of them, or none for both')
  return {
    helo: helo === undefined ? await ownName() : checkedArgument('--helo', helo),
    local: local === undefined ? undefined : checkedArgument('--interface', local),
    family: ipv4 ? 4 : ipv6 ? 6 : undefined,
    timeoutMs: options.timeout ?? DEFAULT_TIMEOUT_MS,
    assumeEtrn: options['assume-etrn'],
    keepGoing: options['keep-going'],
    jobs: options.jobs ?? DEFAULT_JOBS,
  }
}

/** The names in the order: words, --subdomains, --queue, --names-from; else this host's own name (RFC 1985, section 6). */
async function entriesOf(
  options: Options,
  words: readonly string[],
  reporter: Reporter,
  stop: AbortSignal,
): Promise<Entry[]> {
  const rules = { allowWide: options['allow-wide'] }
  const given = [
    ...words,
    ...options.subdomains.map((node) => marked('--subdomains', '@', node)),
    ...options.queue.map((queue) => marked('--queue', '#', queue)),
  ]
  const named = await Promise.all(given.map(async (word) => nodeName(word, rules)))
  const listed = await Promise.all(
    options['names-from'].map(async (file) => {
      if (file === '-') return namesOf(await streamText(process.stdin, stop), 'standard input', rules)
      return namesOf(await readText('--names-from', file, stop), file, rules)
    }),
  )
  const entries: Entry[] = [...named, ...listed.flat()]
  if (entries.length > 0) return withoutDuplicates(entries)
  const own = await ownName()
  if (own === undefined) {
    throw new UsageError("no name given, and this host's own is not one that others know: type etrn SERVER NAME")
  }
  reporter.warn(`no name given: asking for ${own}`)
  return [await nodeName(own, rules)]
}

function marked(option: string, mark: string, name: string): string {
  if (name.startsWith(mark)) throw new UsageError(`${option} says the ${mark} already: leave it out`)
  return mark + name
}

function reporterFor(options: Options, several: boolean): Reporter {
  const { quiet, json, color = 'auto' } = options
  const verbose = options.verbose > 0
  const out = output((line) => write(process.stdout, line), isColoured(color, process.stdout))
  const err = output((line) => write(process.stderr, line), isColoured(color, process.stderr))
  if (process.stderr.isTTY && process.stderr.columns > 0 && quiet === 0 && !verbose && !json && !process.env['CI'])
    void startSpinner()
  const reporter = new TextReporter({ out, err, quiet, verbose, several })
  return json ? jsonReporter(out, reporter) : reporter
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
  const { Spinner } = await import('./spinner.js')
  spinner = new Spinner(process.stderr)
  if (progress !== undefined) spinner.tell(...progress)
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
      stop()
      process.kill(process.pid, name)
    }
  }
  for (const name of SIGNALS) process.on(name, listener)
  return stop
}

async function version(): Promise<string> {
  const text = await readFile(new URL('../package.json', import.meta.url), 'utf8')
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
const exitStatus = await main(process.argv.slice(2)).catch(explain)
spinner?.hide()
await Promise.all([flushed(process.stdout), flushed(process.stderr)])
process.exitCode = outputError !== undefined ? combined([exitStatus, EXIT.IOERR]) : exitStatus
// The shell's loop stops only where the signal itself ends the process.
if (signal !== undefined) process.kill(process.pid, signal)
