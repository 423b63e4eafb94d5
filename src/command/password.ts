import { spawn } from 'node:child_process'
import { openSync, statSync } from 'node:fs'
import { platform } from 'node:os'
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { ReadStream, WriteStream } from 'node:tty'
import { EXIT, UsageError } from '../errors.js'
import { readText } from './read-file.js'

/** Where a password can come from, in the order in which they count. */
export type PasswordRequest = {
  readonly file: string | undefined
  readonly command: string | undefined
  /** The server as the user knows it, for the prompt */
  readonly server: string
  /** ETRN_PASSWORD */
  readonly environment: string | undefined
  readonly warn: (message: string) => void
  /** Ends the wait for a file or a command */
  readonly signal: AbortSignal
  /** Ends the process, as ^C at the prompt wants it. */
  readonly interrupt: () => void
}

/** The password; asked for on the terminal where nothing else has it. Throws UsageError: 64, or 66 where the source gives none. */
export async function readPassword({
  file,
  command,
  server: whose,
  environment,
  warn,
  signal,
  interrupt,
}: PasswordRequest): Promise<string> {
  if (file !== undefined) return firstLine(await readPasswordFile(file, warn, signal), `--password-file ${file}`)
  if (command !== undefined) return firstLine(await runPasswordCommand(command, signal), '--password-command')
  if (environment !== undefined) return firstLine(environment, 'ETRN_PASSWORD')
  return promptPassword(whose, signal, interrupt)
}

/** A response of SASL has to fit in a line of SMTP. */
const PASSWORD_CHARACTERS = 8192
/** Of what a command prints; more ends it. */
const OUTPUT_CHARACTERS = 65_536
/** Read by the group or by everybody */
const OTHERS_READ_MODE = 0o044

async function readPasswordFile(file: string, warn: PasswordRequest['warn'], signal: AbortSignal): Promise<string> {
  const found = statSync(file, { throwIfNoEntry: false })
  const isOpen = platform() !== 'win32' && found?.isFile() === true && (found.mode & OTHERS_READ_MODE) !== 0
  const text = await readText('--password-file', file, signal)
  if (isOpen) warn(`${file}: others may read this password; chmod 600 ${file}`)
  return text
}

/** What a shell's command prints; it may ask on the terminal itself. */
async function runPasswordCommand(command: string, signal: AbortSignal): Promise<string> {
  const child = spawn(command, { shell: true, signal, stdio: ['inherit', 'pipe', 'inherit'] })
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('close', (status, signal) =>
      resolve(status === 0 ? '' : `it ended with ${signal ?? `status ${String(status)}`}`),
    )
  })
  // What the command has started may go on, and holds nobody.
  const leave = (): void => {
    child.kill()
    child.stdout.destroy()
    child.unref()
  }
  signal.addEventListener('abort', leave)
  let output = ''
  try {
    // Characters may be cut where octets are.
    for await (const characters of child.stdout.setEncoding('utf8')) {
      output += String(characters)
      // It would go on for ever; the first line is there.
      if (output.length > OUTPUT_CHARACTERS) {
        leave()
        return output
      }
    }
  } catch (error) {
    throw signal.aborted ? signal.reason : error
  }
  const failure = await ended
  if (signal.aborted) throw signal.reason
  if (failure !== '') throw new UsageError(`--password-command: ${failure}`, EXIT.NOINPUT)
  return output
}

function firstLine(given: string, source: string): string {
  const password = given.replace(/\r?\n.*$/s, '')
  if (password === '') throw new UsageError(`${source}: there is no password in its first line`, EXIT.NOINPUT)
  if (password.length > PASSWORD_CHARACTERS)
    throw new UsageError(`${source}: more than ${PASSWORD_CHARACTERS} characters`, EXIT.NOINPUT)
  if (password.includes('\0')) throw new UsageError(`${source}: a password has no NUL`, EXIT.NOINPUT)
  return password
}

/** Asks on the terminal, whatever standard input is, and shows nothing of what is typed. */
async function promptPassword(whose: string, signal: AbortSignal, interrupt: () => void): Promise<string> {
  const terminal = openTerminal()
  if (terminal === undefined) {
    throw new UsageError('a login needs a password: --password-file F, --password-command C, or ETRN_PASSWORD')
  }
  const { input, output } = terminal
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input, output: nowhere, terminal: true })
  const end = (): void => {
    lines.close()
    output.end('\n')
    input.destroy()
  }
  lines.once('SIGINT', () => {
    end()
    interrupt()
  })
  output.write(`Password for ${whose}: `)
  const password = await new Promise<string>((resolve) => {
    lines.once('line', resolve)
    lines.once('close', () => resolve(''))
    signal.addEventListener('abort', () => lines.close())
  })
  end()
  signal.throwIfAborted()
  return firstLine(password, 'the terminal')
}

function openTerminal(): { input: ReadStream; output: WriteStream } | undefined {
  try {
    return { input: new ReadStream(openSync('/dev/tty', 'r')), output: new WriteStream(openSync('/dev/tty', 'w')) }
  } catch {
    return undefined
  }
}
