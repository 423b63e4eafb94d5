import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, constants, openSync, readdirSync, readFileSync, type Stats, writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { isatty, ReadStream } from 'node:tty'
import { codeOf, EXIT, messageOf, OptionError } from '../errors.js'
import { isLackOfResources, resourcesError } from '../net/resources-error.js'
import { printableLines } from '../printable.js'
import { warnIfExposed } from './file-safety.js'
import { type InputSources, readFirstLine } from './read-file.js'
import { type Target, userOption } from './targets.js'

/**
 * Returns the password from the file, the command, the environment or the terminal, whichever comes first. Throws UsageError: 64 if there
 * is no source, 66 if the source has no password.
 */
export async function readPassword(target: Target, sources: InputSources): Promise<string> {
  const { 'password-file': file, 'password-command': command } = target.options
  const { ETRN_PASSWORD: typed } = sources.environment
  if (file !== undefined) {
    const check = (stats: Stats): void => void warnIfExposed(file, stats, 'password', sources)
    const text = await readFirstLine('password-file', file, sources, check)
    const source = `--password-file ${file}`
    return checkPassword(firstLine(text), 'password-file', source, `${source}: no password on the first line`)
  }
  if (command !== undefined) {
    const output = await runPasswordCommand(command, sources)
    const source = '--password-command'
    return checkPassword(
      firstLine(output),
      'password-command',
      source,
      `${source} printed no password on the first line`,
    )
  }
  if (typed !== undefined) return checkPassword(firstLine(typed), '', 'ETRN_PASSWORD', 'ETRN_PASSWORD is empty')
  return promptPassword(target, sources)
}

/** The longest password: a SASL response must fit into a line of SMTP. */
const PASSWORD_CHARACTERS = 8192
const OUTPUT_CHARACTERS = 65_536

/**
 * Returns what a shell command has printed when it ends. Its processes in the background may keep the output open. The command may
 * itself ask on the terminal.
 */
async function runPasswordCommand(command: string, sources: InputSources): Promise<string> {
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

async function readCommandOutput(command: string, { signal, environment, kill }: InputSources): Promise<string> {
  const env = { ...environment, ETRN_PASSWORD: undefined }
  const child = spawn(command, { shell: true, env, stdio: ['inherit', 'pipe', 'inherit'] })
  try {
    // A child that can't start may have no output to read from.
    await once(child, 'spawn', { signal })
    const ended = once(child, 'exit', { signal }) as Promise<[number | null, NodeJS.Signals | null]>
    let output = ''
    // The first line is there, and the command may print for ever.
    const flooded = new Promise<'flooded'>((resolve) => {
      // setEncoding joins characters that are cut between two chunks.
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        if (output.length <= OUTPUT_CHARACTERS) output += text
        if (output.length > OUTPUT_CHARACTERS) resolve('flooded')
      })
    })
    const end = await Promise.race([ended, flooded])
    if (end === 'flooded') return output
    // Output from before the end is read in the next turn.
    for (let turn = 0; turn < 2; turn++) await nextTurn()
    const [status, name] = end
    if (status === 0) return output
    throw new Error(name === null ? `exit status ${status ?? ''}` : `killed by ${name}`)
  } finally {
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

function firstLine(text: string): string {
  const [line = ''] = text.replace(/^\ufeff/, '').split('\n', 1)
  return text.includes('\n') ? line.replace(/\r$/, '') : line
}

/** Returns a password from a source that an option names. Throws OptionError (66), with the message `ifEmpty` if there is none. */
function checkPassword(password: string, option: string, source: string, ifEmpty: string): string {
  const rule = brokenPasswordRule(password)
  if (password !== '' && rule === undefined) return password
  const message = password === '' ? ifEmpty : `the password from ${source} ${rule ?? ''}`
  throw new OptionError(option, message, { exitStatus: EXIT.NOINPUT })
}

function brokenPasswordRule(password: string): string | undefined {
  if (password.length > PASSWORD_CHARACTERS) return `has more than ${PASSWORD_CHARACTERS} characters`
  if (password.includes('\0')) return 'contains a NUL character'
  // Octets that are not UTF-8 have become this character, and the password has become another one.
  return /\ufffd/.test(password) ? 'is not UTF-8; convert it, for example with iconv -f latin1 -t utf-8' : undefined
}

/** Signals that would end the process at once, and can be caught. SIGINT, SIGTERM and SIGHUP end the run in good order. */
const FATAL_SIGNALS: readonly NodeJS.Signals[] = [
  'SIGQUIT',
  'SIGUSR2',
  'SIGALRM',
  'SIGVTALRM',
  'SIGPROF',
  'SIGXCPU',
  'SIGXFSZ',
  'SIGABRT',
  'SIGTRAP',
  'SIGSYS',
  'SIGIO',
  'SIGPWR',
  'SIGSTKFLT',
]

/** Asks on the terminal, whatever standard input is, and doesn't show what is typed. The terminal is restored however this ends. */
async function promptPassword(target: Target, { signal, onSignal, raise }: InputSources): Promise<string> {
  signal.throwIfAborted()
  const { input, write, close, isGone } = openTerminal(userOption(target))
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input, output: nowhere, terminal: true })
  // A terminal that was closed can't be restored; SIGHUP ends the run.
  lines.on('error', () => undefined)
  const prompt = `Password for ${target.server.word}: `
  const end = (name: NodeJS.Signals): void => {
    lines.close()
    close()
    raise(name)
  }
  // Not SIGTSTP, which a process without a shell above it ignores: it would go on with the terminal that shows the password.
  const stop = (): void => {
    input.setRawMode(false)
    raise('SIGSTOP')
  }
  const resume = (): void => {
    input.setRawMode(true)
    write(prompt)
  }
  lines.once('SIGINT', () => end('SIGINT'))
  lines.on('SIGTSTP', stop)
  const listeners = [onSignal(end, FATAL_SIGNALS), onSignal(stop, ['SIGTSTP']), onSignal(resume, ['SIGCONT'])]
  write(prompt)
  const password = await new Promise<string>((resolve) => {
    lines.once('line', resolve)
    lines.once('close', () => resolve(''))
    signal.addEventListener('abort', () => lines.close())
  })
  for (const stopListening of listeners) stopListening()
  // The end of the input can come before the signal that tells of it.
  if (isGone()) raise('SIGHUP')
  lines.close()
  close()
  signal.throwIfAborted()
  return checkPassword(firstLine(password), userOption(target), 'the terminal', 'no password entered')
}

/** The time after which a write to a stopped terminal is tried again. */
const STOPPED_MS = 100

function openTerminal(option: string) {
  try {
    const input = new ReadStream(openSync('/dev/tty', 'r'))
    // A blocking write would wait until the terminal is started again, and nothing could end the wait.
    const output = openSync('/dev/tty', constants.O_WRONLY | constants.O_NONBLOCK)
    let isOpen = true
    const write = (text: string): void => {
      try {
        if (isOpen) writeSync(output, printableLines(text))
      } catch (error) {
        if (codeOf(error) === 'EAGAIN') setTimeout(write, STOPPED_MS, text).unref()
      }
    }
    const close = (): void => {
      write('\n')
      isOpen = false
      input.destroy()
      closeSync(output)
    }
    return { input, write, close, isGone: () => !isatty(output) }
  } catch {
    const message = "no password given, and etrn can't ask for one without a terminal"
    throw new OptionError(option, message, {
      hint: 'use --password-file FILE or --password-command COMMAND, or set the environment variable ETRN_PASSWORD',
    })
  }
}
