import assert from 'node:assert/strict'
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { Result } from '../src/etrn/outcome.js'
import type { Stage } from '../src/smtp/errors.js'

export const BIN = fileURLToPath(new URL('../bin/etrn', import.meta.url))

export type Finished = {
  readonly stdout: string
  readonly stderr: string
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
}

export type CommandOptions = {
  /** Standard input; null: it stays open and silent. */
  readonly input?: string | null
  readonly env?: Readonly<Record<string, string>>
  /** A command that runs it, as nsenter does */
  readonly through?: readonly string[]
  /** Called with the process while it runs. */
  readonly during?: (child: Running) => void
  /** Called once, when standard error has this text. */
  readonly once?: { readonly said: string; readonly act: (child: Running) => void }
}

export type Running = { readonly pid: number; readonly kill: (signal: NodeJS.Signals) => boolean }

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
export const LEAPING = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(CLOCK)}` }
export const leap = (child: Running): void => void child.kill('SIGUSR2')

/** Runs bin/etrn as a user does, in an environment with nothing but PATH. */
export async function etrn(args: readonly string[], o: CommandOptions = {}): Promise<Finished> {
  const [program = BIN, ...rest] = [...(o.through ?? []), BIN, ...args]
  // With the second one, what the command runs counts in the coverage.
  const { PATH, NODE_V8_COVERAGE } = process.env
  const child = spawn(program, rest, { env: { PATH, NODE_V8_COVERAGE, ...o.env }, stdio: ['pipe', 'pipe', 'pipe'] })
  child.stdin.on('error', () => undefined)
  if (o.input !== null) child.stdin.end(o.input ?? '')
  const running = { pid: child.pid ?? 0, kill: (signal: NodeJS.Signals) => child.kill(signal) }
  o.during?.(running)
  let heard = ''
  child.stderr.on('data', (octets: Buffer) => {
    const wasSaid = o.once !== undefined && heard.includes(o.once.said)
    heard += octets.toString()
    if (!wasSaid && o.once !== undefined && heard.includes(o.once.said)) o.once.act(running)
  })
  return finished(child)
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
): Promise<Finished & { readonly document: Document }> {
  const run = await etrn(['--json', ...args], o)
  assert.notEqual(run.stdout, '', run.stderr)
  // What it is, the tests are there to find out.
  return { ...run, document: JSON.parse(run.stdout) as Document }
}
