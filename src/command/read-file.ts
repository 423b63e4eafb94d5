import { constants, openSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { Socket } from 'node:net'
import { addAbortSignal, type Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { codeOf, EXIT, messageOf, OptionError } from '../errors.js'

/** The sources of names and passwords that a run provides. */
export type InputSources = {
  /** Standard input, which `--names-from -` reads */
  readonly input: () => Readable
  /** ETRN_PASSWORD */
  readonly environment: string | undefined
  readonly warn: (message: string) => void
  readonly signal: AbortSignal
  /** Ends the process, as ^C at the prompt must do. */
  readonly interrupt: () => void
}

/** Returns the text of a file that an option names. Throws OptionError (66), or the signal's reason if it ended the wait. */
export async function readText(option: string, file: string, signal: AbortSignal): Promise<string> {
  try {
    if (!statSync(file).isFIFO()) return await readFile(file, { encoding: 'utf8', signal })
    // A pipe may be slow or have no writer. Without NONBLOCK nothing could end the wait, not even the end of the process.
    const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
    return await streamText(new Socket({ fd }), signal)
  } catch (error) {
    if (signal.aborted) throw signal.reason
    throw new OptionError(option, `--${option} ${file}: ${describeFileError(error)}`, EXIT.NOINPUT, error)
  }
}

/** Returns the text of a stream. Throws the stream's error, or the signal's reason if it ended the wait. */
export async function streamText(stream: Readable, signal: AbortSignal): Promise<string> {
  try {
    return await text(addAbortSignal(signal, stream))
  } catch (error) {
    throw signal.aborted ? signal.reason : error
  }
}

const FILE_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'you are not allowed to read it',
  EISDIR: 'it is a folder',
}

/** Returns a system error about a file in plain words. */
export function describeFileError(error: unknown): string {
  return FILE_ERRORS[codeOf(error)] ?? messageOf(error)
}
