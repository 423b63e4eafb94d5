import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

export const BIN = fileURLToPath(new URL('../bin/etrn', import.meta.url))

export type Finished = {
  readonly stdout: string
  readonly stderr: string
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
}

export type CommandOptions = {
  readonly input?: string
  readonly env?: Readonly<Record<string, string>>
  /** Called with the process while it runs. */
  readonly during?: (child: { readonly pid: number; readonly kill: (signal: NodeJS.Signals) => boolean }) => void
}

/** Runs bin/etrn as a user does, in an environment with nothing but PATH. */
export async function etrn(args: readonly string[], o: CommandOptions = {}): Promise<Finished> {
  const child = spawn(BIN, args, { env: { PATH: process.env['PATH'], ...o.env }, stdio: ['pipe', 'pipe', 'pipe'] })
  child.stdin.on('error', () => undefined)
  child.stdin.end(o.input ?? '')
  o.during?.({ pid: child.pid ?? 0, kill: (signal) => child.kill(signal) })
  const ended = new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status, signal) => resolve([status, signal]))
  })
  const [stdout, stderr, [status, signal]] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  return { stdout, stderr, status, signal }
}
