import assert from 'node:assert/strict'
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { PassThrough, type Readable, type Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import type { Result } from '../../src/etrn/result.js'
import { main } from '../../src/main.js'
import type { Stage } from '../../src/smtp/errors.js'
import { BIN } from './files.js'

/** The output of a run and how it ended. */
export type Finished = {
  readonly stdout: string
  readonly stderr: string
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
}

export type CallOptions = {
  /** Standard input; null leaves it open and silent. */
  readonly input?: string | null
  readonly env?: Readonly<Record<string, string>>
  /** Receives the run as soon as it has started. */
  readonly during?: (child: Running) => void
  /** Acts on the run once, when standard error contains this text. */
  readonly once?: { readonly said: string; readonly act: (child: Running) => void }
}

export type InProcessOptions = CallOptions & {
  /** The user that the command takes itself for; the user of the test if left out. */
  readonly user?: { readonly uid: number }
  /** The clock of --report-after: milliseconds since 1970 */
  readonly now?: () => number
}

export type CommandOptions = CallOptions & {
  /** A command that runs the program, for example nsenter. */
  readonly through?: readonly string[]
}

/**
 * A module that replaces the clock. Timers below 250 ms run as usual. Longer ones wait for SIGUSR2, which ends those that are waiting, or
 * the next one if none is waiting. `performance.now()` advances by these jumps alone.
 */
const CLOCK = `
  import promises from 'node:timers/promises'
  const waiting = new Map()
  const { setTimeout: realSetTimeout, clearTimeout: realClearTimeout } = globalThis
  let time = 0
  let isNext = false
  const leap = () => {
    isNext = waiting.size === 0
    for (const [timer, { work, due }] of [...waiting]) {
      if (!waiting.has(timer)) continue
      clearTimeout(timer)
      time = Math.max(time, due)
      work()
    }
  }
  performance.now = () => time
  globalThis.setTimeout = (work, ms, ...rest) => {
    if (!(ms >= 250)) return realSetTimeout(work, ms, ...rest)
    const timer = realSetTimeout(() => undefined, 2 ** 31 - 1)
    waiting.set(timer, { work, due: time + ms })
    if (isNext) setImmediate(leap)
    return timer
  }
  globalThis.clearTimeout = (timer) => {
    waiting.delete(timer)
    realClearTimeout(timer)
  }
  promises.setTimeout = (ms, value, { signal } = {}) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => resolve(value), ms)
      signal?.addEventListener('abort', () => {
        clearTimeout(timer)
        reject(signal.reason)
      })
    })
  process.on('SIGUSR2', leap)`

/** The `env` of a run whose clock leaps over long waits, each time that the test calls `leap`. */
export const LEAPING: Readonly<Record<string, string>> = {
  NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(CLOCK)}`,
}
export const leap = (child: Running): void => void child.kill('SIGUSR2')

/** A run of the command that a test can send signals to. */
export type Running = { readonly pid: number; readonly kill: (signal: NodeJS.Signals) => boolean }

/**
 * Calls the command in the test's process, the quick way to test its output and exit status. Its standard streams are pipes, and its
 * environment holds nothing but `env`.
 */
export async function etrn(args: readonly string[], options: InProcessOptions = {}): Promise<Finished> {
  // The clock belongs to a whole process.
  if (options.env === LEAPING) return spawnEtrn(args, options)
  const stdout = new PassThrough()
  const stderr = new PassThrough()
  const stdin = new PassThrough()
  if (options.input !== null) stdin.end(options.input ?? '')
  const listeners = new Set<(signal: NodeJS.Signals) => boolean>()
  const kill = (signal: NodeJS.Signals): boolean => [...listeners].map((listen) => listen(signal)).includes(true)
  const running = { pid: process.pid, kill }
  options.during?.(running)
  if (options.once !== undefined) actOnce(stderr, options.once, running)
  const output = Promise.all([text(stdout), text(stderr)])
  // A silent standard input would keep a process alive; a stream without a descriptor does not.
  const keptAlive = setInterval(() => undefined, 60_000)
  const { exitStatus, signal } = await main({
    argv: args,
    environment: options.env ?? {},
    uid: options.user === undefined ? process.getuid?.() : options.user.uid,
    stdin: () => stdin,
    stdout,
    stderr,
    program: () => [process.execPath, BIN],
    version: () => '0.0.0',
    now: options.now ?? Date.now,
    onSignal: (listener, signals) => {
      const listen = (signal: NodeJS.Signals): boolean => {
        if (signals.includes(signal)) listener(signal)
        return signals.includes(signal)
      }
      listeners.add(listen)
      return () => listeners.delete(listen)
    },
    raise: (name) => assert.fail(`${name} would have ended the process`),
    kill: (pids) => pids.forEach(endProcess),
  }).finally(() => clearInterval(keptAlive))
  stdout.end()
  stderr.end()
  const [out, err] = await output
  const ended = signal === undefined ? { status: exitStatus, signal: null } : { status: null, signal }
  return { stdout: out, stderr: err, ...ended }
}

function endProcess(pid: number): void {
  try {
    process.kill(pid)
  } catch {
    // It has ended.
  }
}

/** No run of a test takes so long: one that does hangs, and would keep the tests from ending. */
const RUN_LIMIT_MS = 120_000

/** Runs bin/etrn in a process of its own, in an environment that holds PATH and `env`. */
export async function spawnEtrn(args: readonly string[], options: CommandOptions = {}): Promise<Finished> {
  const [program = BIN, ...rest] = [...(options.through ?? []), BIN, ...args]
  // NODE_V8_COVERAGE makes the process count in the coverage report.
  const { PATH, NODE_V8_COVERAGE } = process.env
  const child = spawn(program, rest, {
    env: { PATH, NODE_V8_COVERAGE, ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  child.stdin.on('error', () => undefined)
  if (options.input !== null) child.stdin.end(options.input ?? '')
  const running = { pid: child.pid ?? 0, kill: (signal: NodeJS.Signals) => child.kill(signal) }
  options.during?.(running)
  if (options.once !== undefined) actOnce(child.stderr, options.once, running)
  const overdue = setTimeout(() => child.kill('SIGKILL'), RUN_LIMIT_MS)
  const run = await finished(child).finally(() => clearTimeout(overdue))
  if (child.killed && run.signal === 'SIGKILL') assert.fail(`the command did not end: ${JSON.stringify(run)}`)
  return run
}

function actOnce(stderr: Readable, { said, act }: NonNullable<CallOptions['once']>, running: Running): void {
  let output = ''
  stderr.on('data', (octets: Buffer) => {
    const hadText = output.includes(said)
    output += octets.toString()
    if (!hadText && output.includes(said)) act(running)
  })
}

/** Returns the output of a process and how it ended. */
export async function finished(child: ChildProcessByStdio<Writable | null, Readable, Readable>): Promise<Finished> {
  const ended = new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status, signal) => resolve([status, signal]))
  })
  const [stdout, stderr, [status, signal]] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  return { stdout, stderr, status, signal }
}

/** Asserts that the command prints one error line, perhaps a hint, and nothing else, and ends with the status. */
export async function assertRefused(
  args: readonly string[],
  message: string | RegExp,
  status = 64,
  options: InProcessOptions = {},
): Promise<void> {
  const run = await etrn(args, options)
  assert.equal(run.stdout, '')
  if (typeof message === 'string') assert.equal(run.stderr, message)
  else assert.match(run.stderr, message)
  assert.match(run.stderr, /^etrn: [^\n]*\n(?:hint: [^\n]*\n)?$/)
  assert.equal(run.status, status)
}

type DocumentError<S> = {
  readonly stage: S
  readonly message: string
  readonly code: number | null
  readonly exitStatus: number
  readonly hint: string | null
}

/** The document that --json prints; the manual describes each field. */
export type Document = {
  readonly version: number
  readonly exitStatus: number
  readonly error: DocumentError<Stage | 'input'> | null
  readonly excluded: readonly { readonly domain: string; readonly host: string; readonly reason: string }[]
  readonly servers: readonly {
    readonly server: string
    readonly host: string
    readonly port: number
    readonly address: string | null
    readonly tls: { readonly protocol: string; readonly cipher: string; readonly verified: boolean } | null
    readonly greeting: string | null
    readonly extensions: readonly string[] | null
    readonly attempts: number
    readonly elapsedMs: number
    readonly error: DocumentError<Stage> | null
    readonly names: readonly Result[]
  }[]
}

/** Runs the command with --json, and parses the document that it prints. */
export async function etrnJson(
  args: readonly string[],
  options: CommandOptions = {},
  start: typeof spawnEtrn = etrn,
): Promise<Finished & { readonly document: Document }> {
  const run = await start(['--json', ...args], options)
  assert.notEqual(run.stdout, '', run.stderr)
  // Its real type is for the tests to find out.
  return { ...run, document: JSON.parse(run.stdout) as Document }
}
