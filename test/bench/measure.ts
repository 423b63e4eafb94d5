import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { ParentMessage, Plan, Tally } from './server.js'

/** The bench's server, in a process of its own. */
export class BenchServer {
  readonly #child: ChildProcess = fork(fileURLToPath(new URL('server.ts', import.meta.url)))

  /** Starts a plan with counts of zero; returns the ports of 127.0.0.1. */
  async start(plan: Partial<Plan> = {}): Promise<readonly number[]> {
    // The answer to a plan has this type.
    return (await this.#ask({ ports: 1, hasTicks: false, slowsDown: false, ...plan })) as readonly number[]
  }

  async readTally(): Promise<Tally> {
    // The answer to 'tally' has this type.
    return (await this.#ask('tally')) as Tally
  }

  close(): void {
    this.#child.disconnect()
  }

  async #ask(message: ParentMessage): Promise<unknown> {
    const answered = once(this.#child, 'message')
    this.#child.send(message)
    return (await answered)[0]
  }
}

/** A program with its arguments; `input` is its standard input. */
export type Command = { readonly argv: readonly string[]; readonly input?: string }

const scratch = mkdtempSync(join(tmpdir(), 'etrn-bench-'))
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }))
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1))
/** An empty file for node */
export const EMPTY_FILE = join(scratch, 'empty.cjs')
writeFileSync(EMPTY_FILE, '')
/** Keeps the user's configuration files, and fetchmail's lock, out of the measurement. */
const env = { PATH: process.env['PATH'], HOME: scratch, FETCHMAILHOME: scratch }
/** A client that hangs is ended; the tally shows it. */
const CLIENT_TIMEOUT_MS = 60_000

/** Runs the command without output; returns the milliseconds from its start to its end. */
export async function measureTime({ argv: [program = '', ...args], input }: Command): Promise<number> {
  const began = performance.now()
  const child = spawn(program, args, {
    env,
    stdio: [input === undefined ? 'ignore' : 'pipe', 'ignore', 'ignore'],
    timeout: CLIENT_TIMEOUT_MS,
  })
  child.stdin?.on('error', () => undefined).end(input)
  await once(child, 'exit')
  return performance.now() - began
}

/** Returns the version that a command prints; undefined if the program isn't installed. */
export async function versionOf({ argv: [program = '', ...args] }: Command): Promise<string | undefined> {
  const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'ignore'] })
  const missing = once(child, 'error').then(() => '')
  const output = await Promise.race([text(child.stdout), missing])
  return /\d[\w.-]*/.exec(output)?.[0]
}

export type Cost = {
  /** User and system time of the process and of the children that it waited for */
  readonly cpuMs: number
  /** The peak of its resident memory; null if this platform doesn't tell */
  readonly peakMiB: number | null
}

/** Runs the command without output, under a POSIX shell whose `times` prints the cost of its children. */
export async function measureCost({ argv, input = '' }: Command): Promise<Cost> {
  const script = '"$@" >/dev/null 2>&1; times'
  const shell = spawn('sh', ['-c', script, 'sh', ...argv], {
    env,
    stdio: ['pipe', 'pipe', 'ignore'],
    timeout: CLIENT_TIMEOUT_MS,
  })
  // A command that ends early doesn't read all its input.
  shell.stdin.on('error', () => undefined)
  shell.stdin.end(input)
  let peakMiB: number | null = null
  // VmHWM never falls, so that only growth after the last reading is missed.
  const timer = setInterval(() => (peakMiB = readPeakOfChild(shell.pid ?? 0) ?? peakMiB), 10)
  const times = await text(shell.stdout)
  clearInterval(timer)
  return { cpuMs: parseChildrenMs(times), peakMiB }
}

/** Parses the output of `times`: user and system time, first of the shell, then of its children: 0m1.230000s 0m0.450000s. */
function parseChildrenMs(times: string): number {
  const [, children = ''] = times.split('\n')
  const parts = [...children.matchAll(/(\d+)m([\d.]+)s/g)]
  return parts.reduce((sum, [, minutes, seconds]) => sum + Number(minutes) * 60_000 + Number(seconds) * 1000, 0)
}

/** Returns the peak from Linux's /proc, undefined if there is none. */
function readPeakOfChild(parent: number): number | undefined {
  try {
    const [child = ''] = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').split(' ')
    const status = child === '' ? '' : readFileSync(`/proc/${child}/status`, 'utf8')
    const [, kibibytes] = /^VmHWM:\s*(\d+) kB$/m.exec(status) ?? []
    return kibibytes === undefined ? undefined : Number(kibibytes) / 1024
  } catch {
    // The process has just ended, or this isn't Linux.
    return undefined
  }
}

export type Spread = { readonly median: number; readonly min: number; readonly max: number }

export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (index: number): number => sorted[index] ?? NaN
  const last = sorted.length - 1
  return { median: (at(Math.floor(last / 2)) + at(Math.ceil(last / 2))) / 2, min: at(0), max: at(last) }
}
