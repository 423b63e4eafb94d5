import { spawn } from 'node:child_process'
import { openSync, statSync } from 'node:fs'
import { platform } from 'node:os'
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { ReadStream, WriteStream } from 'node:tty'
import { EXIT, OptionError } from '../errors.js'
import { type InputSources, readText } from './read-file.js'
import { type Target, userOption } from './targets.js'

/**
 * Returns the password from the file, the command, the environment or the terminal, whichever comes first. Throws UsageError: 64 if there
 * is no source, 66 if the source has no password.
 */
export async function readPassword(target: Target, sources: InputSources): Promise<string> {
  const { 'password-file': file, 'password-command': command } = target.options
  const { environment, warn, signal } = sources
  if (file !== undefined)
    return firstLine(await readPasswordFile(file, warn, signal), 'password-file', `--password-file ${file}`)
  if (command !== undefined)
    return firstLine(await runPasswordCommand(command, signal), 'password-command', '--password-command')
  if (environment !== undefined) return firstLine(environment, '', 'ETRN_PASSWORD')
  return promptPassword(target, sources)
}

/** The longest password: a SASL response must fit into a line of SMTP. */
const PASSWORD_CHARACTERS = 8192
const OUTPUT_CHARACTERS = 65_536
/** Readable by the group, or by everybody */
const OTHERS_READ_MODE = 0o044

async function readPasswordFile(file: string, warn: (message: string) => void, signal: AbortSignal): Promise<string> {
  const stats = statSync(file, { throwIfNoEntry: false })
  const isOpen = platform() !== 'win32' && stats?.isFile() === true && (stats.mode & OTHERS_READ_MODE) !== 0
  const text = await readText('password-file', file, signal)
  if (isOpen) warn(`${file}: others may read this password; chmod 600 ${file}`)
  return text
}

/** Returns what a shell command prints. The command may itself ask on the terminal. */
async function runPasswordCommand(command: string, signal: AbortSignal): Promise<string> {
  const child = spawn(command, { shell: true, signal, stdio: ['inherit', 'pipe', 'inherit'] })
  const failure = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('close', (status, name) => resolve(status === 0 ? '' : `it ended with ${name ?? `status ${status}`}`))
  })
  // Processes that the command has started may continue; they must not delay the run.
  const abandon = (): void => {
    child.kill()
    child.stdout.destroy()
    child.unref()
  }
  signal.addEventListener('abort', abandon)
  let output = ''
  try {
    // setEncoding joins characters that are cut between two chunks.
    for await (const text of child.stdout.setEncoding('utf8')) {
      output += String(text)
      if (output.length <= OUTPUT_CHARACTERS) continue
      // The first line is there, and the command may print for ever.
      abandon()
      return output
    }
  } catch (error) {
    throw signal.aborted ? signal.reason : error
  }
  const message = await failure
  if (signal.aborted) throw signal.reason
  if (message !== '') throw new OptionError('password-command', `--password-command: ${message}`, EXIT.NOINPUT)
  return output
}

function firstLine(text: string, option: string, source: string): string {
  const password = text.replace(/\r?\n.*$/s, '')
  const fail = (problem: string): never => {
    throw new OptionError(option, `${source}: ${problem}`, EXIT.NOINPUT)
  }
  if (password === '') fail('there is no password in its first line')
  if (password.length > PASSWORD_CHARACTERS) fail(`more than ${PASSWORD_CHARACTERS} characters`)
  if (password.includes('\0')) fail('a password has no NUL')
  return password
}

/** Asks on the terminal, whatever standard input is, and doesn't show what is typed. */
async function promptPassword(target: Target, { signal, interrupt }: InputSources): Promise<string> {
  const { input, output } = openTerminal(userOption(target))
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input, output: nowhere, terminal: true })
  const close = (): void => {
    lines.close()
    output.end('\n')
    input.destroy()
  }
  lines.once('SIGINT', () => {
    close()
    interrupt()
  })
  output.write(`Password for ${target.server.word}: `)
  const password = await new Promise<string>((resolve) => {
    lines.once('line', resolve)
    lines.once('close', () => resolve(''))
    signal.addEventListener('abort', () => lines.close())
  })
  close()
  signal.throwIfAborted()
  return firstLine(password, userOption(target), 'the terminal')
}

function openTerminal(option: string): { readonly input: ReadStream; readonly output: WriteStream } {
  try {
    return { input: new ReadStream(openSync('/dev/tty', 'r')), output: new WriteStream(openSync('/dev/tty', 'w')) }
  } catch {
    const message = 'a login needs a password: --password-file F, --password-command C, or ETRN_PASSWORD'
    throw new OptionError(option, message)
  }
}
