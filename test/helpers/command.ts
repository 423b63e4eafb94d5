import assert from 'node:assert/strict'
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { PassThrough, type Readable, type Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import type { Result } from '../../src/etrn/outcome.js'
import { main } from '../../src/main.js'
import type { Stage } from '../../src/smtp/errors.js'
import { BIN } from './files.js'

export type Finished = {
  readonly stdout: string
  readonly stderr: string
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
}

export type CallOptions = {
  /** Standard input; null: it stays open and silent. */
  readonly input?: string | null
  readonly env?: Readonly<Record<string, string>>
  /** Called with the process while it runs. */
  readonly during?: (child: Running) => void
  /** Called once, when standard error has this text. */
  readonly once?: { readonly said: string; readonly act: (child: Running) => void }
}

export type CommandOptions = CallOptions & {
  /** A command that runs it, as nsenter does */
  readonly through?: readonly string[]
}

/** What is to take a quarter of a second or more ends when it is told to, at once or as soon as it begins; all else takes no time. */
const CLOCK = `
  import promises from 'node:timers/promises'
  const late = new Map()
  const { setTimeout: later, clearTimeout: forget } = globalThis
  let time = 0
  let isNext = false
  const leap = () => {
    isNext = late.size === 0
    for (const [timer, { work, due }] of [...late]) {
      if (!late.has(timer)) continue
      clearTimeout(timer)
      time = Math.max(time, due)
      work()
    }
  }
  performance.now = () => time
  globalThis.setTimeout = (work, ms, ...rest) => {
    if (!(ms >= 250)) return later(work, ms, ...rest)
    const timer = later(() => undefined, 2 ** 31 - 1)
    late.set(timer, { work, due: time + ms })
    if (isNext) setImmediate(leap)
    return timer
  }
  globalThis.clearTimeout = (timer) => {
    late.delete(timer)
    forget(timer)
  }
  promises.setTimeout = (ms, _, { signal } = {}) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, ms)
      signal?.addEventListener('abort', () => {
        clearTimeout(timer)
        reject(signal.reason)
      })
    })
  process.on('SIGUSR2', leap)`

/** For `env`: a clock that leaps over what is waited for, and only when the test says so. */
export const LEAPING: Readonly<Record<string, string>> = {
  NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(CLOCK)}`,
}
export const leap = (child: Running): void => void child.kill('SIGUSR2')

/** A run of the command that a test can act on. */
export type Running = { readonly pid: number; readonly kill: (signal: NodeJS.Signals) => boolean }

/**
 * Runs the command in this process: the quick way to test what it prints and its exit status. Its standard streams are pipes, and its
 * environment has nothing but `env`.
 */
export async function etrn(args: readonly string[], o: CallOptions = {}): Promise<Finished> {
  // Its clock is the whole process's.
  if (o.env === LEAPING) return spawnEtrn(args, o)
  const stdout = new PassThrough()
  const stderr = new PassThrough()
  const stdin = new PassThrough()
  if (o.input !== null) stdin.end(o.input ?? '')
  const listeners = new Set<(signal: NodeJS.Signals) => void>()
  const kill = (signal: NodeJS.Signals): boolean => {
    for (const listener of listeners) listener(signal)
    return listeners.size > 0
  }
  const running = { pid: process.pid, kill }
  o.during?.(running)
  if (o.once !== undefined) actOnce(stderr, o.once, running)
  const output = Promise.all([text(stdout), text(stderr)])
  const { exitStatus, signal } = await main({
    argv: args,
    environment: o.env ?? {},
    uid: process.getuid?.(),
    gid: process.getgid?.(),
    stdin: () => stdin,
    stdout,
    stderr,
    program: [process.execPath, BIN],
    version: () => '0.0.0',
    onSignal: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    raise: (name) => assert.fail(`${name} would have ended the process`),
  })
  stdout.end()
  stderr.end()
  const [out, err] = await output
  const ended = signal === undefined ? { status: exitStatus, signal: null } : { status: null, signal }
  return { stdout: out, stderr: err, ...ended }
}

/** Runs bin/etrn in a process of its own, as a user does, in an environment with nothing but PATH. */
export async function spawnEtrn(args: readonly string[], o: CommandOptions = {}): Promise<Finished> {
  const [program = BIN, ...rest] = [...(o.through ?? []), BIN, ...args]
  // With the second one, what the command runs counts in the coverage.
  const { PATH, NODE_V8_COVERAGE } = process.env
  const child = spawn(program, rest, { env: { PATH, NODE_V8_COVERAGE, ...o.env }, stdio: ['pipe', 'pipe', 'pipe'] })
  child.stdin.on('error', () => undefined)
  if (o.input !== null) child.stdin.end(o.input ?? '')
  const running = { pid: child.pid ?? 0, kill: (signal: NodeJS.Signals) => child.kill(signal) }
  o.during?.(running)
  if (o.once !== undefined) actOnce(child.stderr, o.once, running)
  return finished(child)
}

function actOnce(stderr: Readable, { said, act }: NonNullable<CallOptions['once']>, running: Running): void {
  let heard = ''
  stderr.on('data', (octets: Buffer) => {
    const wasSaid = heard.includes(said)
    heard += octets.toString()
    if (!wasSaid && heard.includes(said)) act(running)
  })
}

/** What a process printed, and how it ended. */
export async function finished(child: ChildProcessByStdio<Writable | null, Readable, Readable>): Promise<Finished> {
  const ended = new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status, signal) => resolve([status, signal]))
  })
  const [stdout, stderr, [status, signal]] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  return { stdout, stderr, status, signal }
}

/** What --json prints (the manual has it in full). */
export type Document = {
  readonly version: number
  readonly exitStatus: number
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
    readonly error: {
      readonly stage: Stage
      readonly message: string
      readonly code: number | null
      readonly exitStatus: number
    } | null
    readonly names: readonly Result[]
  }[]
}

/** The same with --json: standard output is one document. */
export async function etrnJson(
  args: readonly string[],
  o: CommandOptions = {},
  start: typeof spawnEtrn = etrn,
): Promise<Finished & { readonly document: Document }> {
  const run = await start(['--json', ...args], o)
  assert.notEqual(run.stdout, '', run.stderr)
  // What it is, the tests are there to find out.
  return { ...run, document: JSON.parse(run.stdout) as Document }
}
