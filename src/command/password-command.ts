import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { EXIT, messageOf, OptionError } from '../errors.js'
import { isLackOfResources, resourcesError } from '../net/resources-error.js'
import { FATAL_SIGNALS } from './fatal-signals.js'
import type { InputSources } from './read-file.js'

/** More than a password can have */
const OUTPUT_OCTETS = 65_536

/**
 * Returns the octets that a shell command has printed when it ends. Its processes in the background may keep the output open. The command may
 * itself ask on the terminal.
 */
export async function runPasswordCommand(command: string, sources: InputSources): Promise<Buffer> {
  if (command.includes('\0')) throw commandError('a command must not contain NUL')
  try {
    return await readCommandOutput(command, sources)
  } catch (error) {
    sources.signal.throwIfAborted()
    if (isLackOfResources(error)) throw resourcesError("can't start --password-command", error)
    throw commandError(messageOf(error), error)
  }
}

function commandError(problem: string, cause?: unknown): OptionError {
  const facts = { exitStatus: EXIT.NOINPUT, cause }
  return new OptionError('password-command', `--password-command failed: ${problem}`, facts)
}

async function readCommandOutput(command: string, sources: InputSources): Promise<Buffer> {
  const { signal, environment, kill } = sources
  const env = { ...environment, ETRN_PASSWORD: undefined }
  const child = spawn(command, { shell: true, env, stdio: ['inherit', 'pipe', 'inherit'] })
  const stopListening = sources.onSignal((name) => {
    abandon(child, kill)
    sources.raise(name)
  }, FATAL_SIGNALS)
  try {
    // A child that can't start may have no output to read from.
    await once(child, 'spawn', { signal })
    const ended = once(child, 'exit', { signal }) as Promise<[number | null, NodeJS.Signals | null]>
    const chunks: Buffer[] = []
    let octets = 0
    // The first line is there, and the command may print for ever.
    const flooded = new Promise<'flooded'>((resolve) => {
      child.stdout.on('data', (chunk: Buffer) => {
        if (octets <= OUTPUT_OCTETS) chunks.push(chunk)
        octets += chunk.length
        if (octets > OUTPUT_OCTETS) resolve('flooded')
      })
    })
    const end = await Promise.race([ended, flooded])
    if (end === 'flooded') return Buffer.concat(chunks)
    // Output from before the end is read in the next turn.
    for (let turn = 0; turn < 2; turn++) await nextTurn()
    const [status, name] = end
    if (status === 0) return Buffer.concat(chunks)
    throw new Error(name === null ? `exit status ${status ?? ''}` : `killed by ${name}`)
  } finally {
    stopListening()
    abandon(child, kill)
  }
}

/** Ends a command that is still running, with all that it has started. Other processes may go on. */
function abandon(child: ChildProcess, kill: InputSources['kill']): void {
  if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) kill(processTree(child.pid))
  child.stdout?.destroy()
  child.unref()
}

/** Returns a process and its descendants. Where the system can't tell, there are none. */
function processTree(pid: number): number[] {
  try {
    const threads = readdirSync(`/proc/${pid}/task`)
    const lists = threads.map((thread) => readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8'))
    const children = lists.flatMap((list) => list.split(' ').map(Number)).filter((child) => child > 0)
    return [pid, ...children.flatMap(processTree)]
  } catch {
    return [pid]
  }
}
