import { closeSync, createReadStream, fstat, open, stat, type Stats } from 'node:fs'
import { Socket } from 'node:net'
import { addAbortSignal, type Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { isatty, ReadStream } from 'node:tty'
import { promisify } from 'node:util'
import { codeOf, EXIT, OptionError } from '../errors.js'
import { isLackOfResources, resourcesError } from '../net/resources-error.js'
import { describeFileError, OPEN_FLAGS } from './file-errors.js'
import { foreignControlReason, foreignFileReason, pathChanger } from './file-safety.js'
import { canHoldFiles, holdFile, pathOfHeld, UnsafePathError } from './hold-file.js'

/** The user that reads files; undefined on systems without such numbers. The signal ends the wait for a pipe. */
export type Reader = {
  readonly uid: number | undefined
  readonly signal: AbortSignal
}

/** The sources of names and passwords that a run provides. */
export type InputSources = Reader & {
  /** Standard input, which `--names-from -` reads */
  readonly input: () => Readable
  /** ETRN_PASSWORD is one of its variables. */
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly warn: (message: string) => void
  /** Calls the listener at each of these signals. Returns a function that stops that. */
  readonly onSignal: (listener: (signal: NodeJS.Signals) => void, signals: readonly NodeJS.Signals[]) => () => void
  /** Takes the default action of a signal. */
  readonly raise: (signal: NodeJS.Signals) => void
  /** Ends other processes. */
  readonly kill: (pids: readonly number[]) => void
}

/** Judges a file that is held or open, before anything is read. May throw to refuse the file. */
type FileCheck = (stats: Stats) => void | Promise<void>

type ReadLimits = {
  /** Reading ends with the chunk that has this text. */
  readonly end?: string
  /** A longer file is an error. */
  readonly octets?: number
}

/**
 * Returns the text of a file that an option names. Throws OptionError (66) if it can't be read, or if another user could have it wait
 * without end, and the signal's reason if that ended the wait.
 */
export async function readText(
  option: string,
  file: string,
  reader: Reader,
  check?: FileCheck,
  limits?: ReadLimits,
): Promise<string> {
  const octets = await readSource(
    option,
    file,
    reader.signal,
    async () => openSafely(option, file, reader, check),
    limits,
  )
  return octets.toString()
}

/** Returns the octets of a file's first line, and perhaps more. A pipe may stay open behind it. Throws as readText does. */
export async function readFirstLine(option: string, file: string, reader: Reader, check?: FileCheck): Promise<Buffer> {
  return readSource(option, file, reader.signal, async () => openSafely(option, file, reader, check), { end: '\n' })
}

/** Returns the text of standard input. Throws as readText does. */
export async function readInput(option: string, input: () => Readable, signal: AbortSignal): Promise<string> {
  return (await readSource(option, '-', signal, input)).toString()
}

async function readSource(
  option: string,
  file: string,
  signal: AbortSignal,
  openSource: () => Readable | Promise<Readable>,
  limits?: ReadLimits,
): Promise<Buffer> {
  try {
    return await readStream(await openSource(), signal, limits)
  } catch (error) {
    if (signal.aborted) throw signal.reason
    if (error instanceof OptionError) throw error
    if (isLackOfResources(error)) throw resourcesError(`can't read --${option} ${file}`, error)
    throw new OptionError(option, `--${option} ${file}: ${describeFileError(error)}`, {
      exitStatus: EXIT.NOINPUT,
      cause: error,
    })
  }
}

/**
 * Opens a file if no other user's link has led to it, because to read some files of the kernel takes away what is in them; a FIFO or a
 * device only if no other user can have put it there.
 */
async function openSafely(option: string, file: string, reader: Reader, check?: FileCheck): Promise<Readable> {
  const { uid } = reader
  const safePath = `a path that only ${uid === 0 ? 'root' : 'you and root'} can change`
  const refuse = (problem: string, hint: string): never => {
    throw new OptionError(option, `--${option} ${file}: ${problem}`, { exitStatus: EXIT.NOINPUT, hint })
  }
  const judge = (stats: Stats): void => {
    if (!stats.isFIFO() && !stats.isCharacterDevice() && !stats.isBlockDevice()) return
    const reason = foreignControlReason(file, uid) ?? foreignFileReason(file, stats, uid)
    if (reason !== undefined)
      refuse(`is a FIFO or a device, and is not safe to use: ${reason}`, `use a regular file, or ${safePath}`)
  }
  return openFile(file, reader, judge, check).catch((error: unknown) => {
    if (error instanceof UnsafePathError) refuse(`is not safe to use: ${error.message}`, `use ${safePath}`)
    throw error
  })
}

/**
 * Opens a file of any kind and returns its octets, which read nothing yet. `judge` judges it before it is opened, too: a device can
 * begin to work when it is opened. Throws UnsafePathError if another user may have led to the file.
 */
export async function openFile(file: string, reader: Reader, judge: FileCheck, check?: FileCheck): Promise<Readable> {
  const fd = await openJudged(file, reader, judge)
  const stats = await promisify(fstat)(fd)
  const stream = isatty(fd) ? new ReadStream(fd) : stats.isFIFO() ? new Socket({ fd }) : createReadStream('', { fd })
  try {
    await check?.(stats)
  } catch (error) {
    stream.destroy()
    throw error
  }
  return stream
}

async function openJudged(file: string, reader: Reader, judge: FileCheck): Promise<number> {
  if (!canHoldFiles()) return openJudgedTwice(file, reader, judge)
  const held = holdFile(file, reader.uid)
  try {
    await judge(await promisify(fstat)(held))
    // By its path, another file could be opened: another user may have put one there since.
    return await openLeased(pathOfHeld(held), reader.signal)
  } finally {
    closeSync(held)
  }
}

async function openJudgedTwice(file: string, { uid, signal }: Reader, judge: FileCheck): Promise<number> {
  // Before anything else: a path that no other user can change now stays so.
  const changer = pathChanger(file, uid)
  await judge(await promisify(stat)(file))
  const fd = await openLeased(file, signal)
  try {
    const stats = await promisify(fstat)(fd)
    // Without a hold on each folder, a link may have led to the file: of its own owner alone, who can read it himself.
    if (changer !== undefined && (stats.uid !== changer.uid || pathChanger(file, stats.uid) !== undefined))
      throw new UnsafePathError(changer.reason)
    await judge(stats)
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/** A file server such as smbd gives its lease up at once; its owner may also be a user who keeps the lease. */
const LEASE_WAIT_MS = 2000
const LEASE_RETRY_MS = 100

/** Returns the descriptor of a file. Another program's lease on it (fcntl(2)) is waited for, but only for a short time. */
async function openLeased(file: string, signal: AbortSignal): Promise<number> {
  for (let waitedMs = 0; ; waitedMs += LEASE_RETRY_MS) {
    try {
      // Without NONBLOCK nothing could end the wait for a pipe without a writer, not even the end of the process.
      return await promisify(open)(file, OPEN_FLAGS)
    } catch (error) {
      if (codeOf(error) !== 'EAGAIN') throw error
      // Not this error itself: elsewhere, its code means a lack of resources.
      if (waitedMs === LEASE_WAIT_MS)
        throw new Error(
          `another program holds a lease on the file (fcntl) and did not release it within ${LEASE_WAIT_MS / 1000}s`,
          { cause: error },
        )
    }
    await sleep(LEASE_RETRY_MS, undefined, { signal })
  }
}

/** More than any list of names has. A device may be endless. */
const FILE_OCTETS = 16 * 1024 * 1024

/** Returns the octets of a stream, without more than is needed to have `end`. Throws the stream's error, or the signal's reason. */
export async function readStream(
  stream: Readable,
  signal: AbortSignal,
  { end, octets = FILE_OCTETS }: ReadLimits = {},
): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of addAbortSignal(signal, stream) as AsyncIterable<Buffer>) {
      length += chunk.length
      if (length > octets) throw new Error(`larger than the limit of ${octets / 2 ** 20} MiB`)
      chunks.push(chunk)
      if (end !== undefined && chunk.includes(end)) break
    }
  } catch (error) {
    throw signal.aborted ? signal.reason : error
  }
  return Buffer.concat(chunks)
}
