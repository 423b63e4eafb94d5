import { isUtf8 } from 'node:buffer'
import { closeSync, constants, openSync, writeSync } from 'node:fs'
import type { Key } from 'node:readline'
// That of node:readline edits nothing if TERM is dumb.
import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import { isatty, ReadStream } from 'node:tty'
import { codeOf, OptionError } from '../errors.js'
import { printableLines } from '../printable.js'
import { FATAL_SIGNALS } from './fatal-signals.js'
import type { InputSources } from './read-file.js'

/** A text whose first line is a password */
export type PasswordText = {
  readonly text: string
  /** False if octets that are not UTF-8 became U+FFFD */
  readonly isExact: boolean
}

/**
 * Asks for the password on the terminal, whatever standard input is, and doesn't show what is typed. The terminal is restored however
 * this ends. Throws OptionError if there is no terminal.
 */
export async function promptPassword(server: string, option: string, sources: InputSources): Promise<PasswordText> {
  const { signal } = sources
  signal.throwIfAborted()
  const terminal = openTerminal(option)
  const { input, lines, write, close, isGone } = terminal
  // A terminal that was closed can't be restored; SIGHUP ends the run.
  lines.on('error', () => undefined)
  const typed: Buffer[] = []
  input.on('data', (octets: Buffer) => typed.push(octets))
  const prompt = `Password for ${server}: `
  const stopListening = handleSignals(terminal, prompt, sources)
  write(prompt)
  const text = await new Promise<string>((resolve) => {
    lines.once('line', resolve)
    lines.once('close', () => resolve(''))
    signal.addEventListener('abort', () => lines.close())
  })
  stopListening()
  // The end of the input can come before the signal that tells of it.
  if (isGone()) sources.raise('SIGHUP')
  lines.close()
  close()
  signal.throwIfAborted()
  return { text, isExact: isUtf8(Buffer.concat(typed)) }
}

const CTRL_BACKSLASH = '\x1c'

/** Restores the terminal before a signal ends or stops the process, also a signal of a key. Returns a function that stops that. */
function handleSignals(
  { input, lines, write, close }: ReturnType<typeof openTerminal>,
  prompt: string,
  { onSignal, raise }: InputSources,
): () => void {
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
  // readline knows no key for this signal, and would take the character as a part of the password.
  input.on('keypress', (_text: unknown, { sequence }: Key) => {
    if (sequence === CTRL_BACKSLASH) end('SIGQUIT')
  })
  const listeners = [onSignal(end, FATAL_SIGNALS), onSignal(stop, ['SIGTSTP']), onSignal(resume, ['SIGCONT'])]
  return () => {
    for (const stopListening of listeners) stopListening()
  }
}

/** The time after which a write to a stopped terminal is tried again. */
const STOPPED_MS = 100

function openTerminal(option: string) {
  try {
    const input = new ReadStream(openSync('/dev/tty', 'r'))
    const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
    // Fails for a process in the background that no shell can bring back.
    const lines = createInterface({ input, output: nowhere, terminal: true })
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
    return { input, lines, write, close, isGone: () => !isatty(output) }
  } catch {
    const message = "no password given, and etrn can't ask for one without a terminal"
    throw new OptionError(option, message, {
      hint: 'use --password-file FILE or --password-command COMMAND, or set the environment variable ETRN_PASSWORD',
    })
  }
}
