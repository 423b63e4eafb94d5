import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { Order, Plan, Tally } from './server.js'

/** The server, in its own process. */
export class BenchServer {
  readonly #child: ChildProcess = fork(fileURLToPath(new URL('server.ts', import.meta.url)))

  /** Begins anew, with nothing counted; gives the ports of 127.0.0.1. */
  async begin(plan: Partial<Plan> = {}): Promise<readonly number[]> {
    // The reply to a plan
    return (await this.#order({ ports: 1, ticks: false, slowsDown: false, ...plan })) as readonly number[]
  }

  async tally(): Promise<Tally> {
    // The reply to 'tally'
    return (await this.#order('tally')) as Tally
  }

  close(): void {
    this.#child.disconnect()
  }

  async #order(order: Order): Promise<unknown> {
    const replied = once(this.#child, 'message')
    this.#child.send(order)
    return (await replied)[0]
  }
}

/** A command with its arguments; `input` is its standard input. */
export type Command = { readonly argv: readonly string[]; readonly input?: string }

const scratch = mkdtempSync(join(tmpdir(), 'etrn-bench-'))
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }))
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1))
/** No configuration file but the machine's own; fetchmail's lock isn't the user's. */
const env = { PATH: process.env['PATH'], HOME: scratch, FETCHMAILHOME: scratch }
/** What hangs is ended, and shows in the tally. */
const LIMIT_MS = 60_000

/** Runs it silently; milliseconds from its start to its end, as the one who started it sees them. */
export async function run({ argv: [program = '', ...args] }: Command): Promise<number> {
  const began = performance.now()
  await once(spawn(program, args, { env, stdio: 'ignore', timeout: LIMIT_MS }), 'exit')
  return performance.now() - began
}

/** What a program says of its version; undefined: it isn't there. */
export async function versionOf(program: string, option: string): Promise<string | undefined> {
  const child = spawn(program, [option], { env, stdio: ['ignore', 'pipe', 'ignore'] })
  const missing = once(child, 'error').then(() => '')
  const said = await Promise.race([text(child.stdout), missing])
  return /\d[\w.]*/.exec(said)?.[0]
}

export type Cost = {
  /** User and system time of the process and all that it waited for */
  readonly cpuMs: number
  /** Most memory held at once; null: unknown here */
  readonly peakMiB: number | null
}

/** Runs it silently, under a shell whose `times` knows what its children cost: nothing beyond POSIX is needed. */
export async function costOf({ argv, input = '' }: Command): Promise<Cost> {
  const script = '"$@" >/dev/null 2>&1; times'
  const shell = spawn('sh', ['-c', script, 'sh', ...argv], {
    env,
    stdio: ['pipe', 'pipe', 'ignore'],
    timeout: LIMIT_MS,
  })
  // One that ends early doesn't read all of it.
  shell.stdin.on('error', () => undefined)
  shell.stdin.end(input)
  let peakMiB: number | null = null
  // VmHWM never falls: only what comes after the last of these is missed.
  const watch = setInterval(() => (peakMiB = peakOfChild(shell.pid ?? 0) ?? peakMiB), 10)
  const times = await text(shell.stdout)
  clearInterval(watch)
  return { cpuMs: childrenMs(times), peakMiB }
}

/** `times` prints user and system time, first those of the shell, then those of its children: 0m1.230000s 0m0.450000s. */
function childrenMs(times: string): number {
  const [, children = ''] = times.split('\n')
  const parts = [...children.matchAll(/(\d+)m([\d.]+)s/g)]
  return parts.reduce((sum, [, minutes, seconds]) => sum + Number(minutes) * 60_000 + Number(seconds) * 1000, 0)
}

/** From Linux's /proc */
function peakOfChild(parent: number): number | undefined {
  try {
    const [child = ''] = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').split(' ')
    const status = child === '' ? '' : readFileSync(`/proc/${child}/status`, 'utf8')
    const [, kibibytes] = /^VmHWM:\s*(\d+) kB$/m.exec(status) ?? []
    return kibibytes === undefined ? undefined : Number(kibibytes) / 1024
  } catch {
    // It has just ended, or this isn't Linux.
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
