import { isUtf8 } from 'node:buffer'
import type { Stats } from 'node:fs'
import { EXIT, UsageError } from '../errors.js'
import { isLackOfResources, resourcesError } from '../net/resources-error.js'
import { describeFileError } from './file-errors.js'
import { unsafeFileReason } from './file-safety.js'
import { UnsafePathError } from './hold-file.js'
import { openFile, type Reader, readStream } from './read-file.js'

/**
 * Returns the text of a file that only its reader and root can change. Throws UsageError: 78 if it is unsafe or not UTF-8, 66 if it
 * can't be read.
 */
export async function readSafely(file: string, { uid, signal }: Reader): Promise<string> {
  const check = (stats: Stats): void => {
    const reason = unsafeFileReason(file, stats, uid, { isStrict: true })
    if (reason !== undefined) throw new UsageError(`${file} is not safe to use: ${reason}`, { exitStatus: EXIT.CONFIG })
  }
  try {
    const octets = await readStream(await openFile(file, { uid, signal }, check), signal)
    if (isUtf8(octets)) return octets.toString()
  } catch (error) {
    if (signal.aborted) throw signal.reason
    if (error instanceof UsageError) throw error
    if (error instanceof UnsafePathError)
      throw new UsageError(`${file} is not safe to use: ${error.message}`, { exitStatus: EXIT.CONFIG, cause: error })
    if (isLackOfResources(error)) throw resourcesError(`can't read the configuration ${file}`, error)
    throw new UsageError(`configuration ${file}: ${describeFileError(error)}`, {
      exitStatus: EXIT.NOINPUT,
      cause: error,
    })
  }
  throw new UsageError(`${file} is not UTF-8; convert it, for example with iconv -f latin1 -t utf-8`, {
    exitStatus: EXIT.CONFIG,
  })
}
