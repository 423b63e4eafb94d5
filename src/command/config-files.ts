/** Who reads; undefined where the system has no such numbers. The signal ends the wait for a pipe. */

import { constants, type Stats } from 'node:fs'
import { type FileHandle, open, realpath, stat } from 'fs/promises'
import { Socket } from 'node:net'
import { dirname } from 'path/posix'
import { platform } from 'node:os'
import { EXIT, UsageError } from '../errors.js'
import { describeFileError, streamText } from './read-file.js'

/** Who reads; undefined where the system has no such numbers. The signal ends the wait for a pipe. */
export type Reader = {
  readonly uid: number | undefined
  readonly gid: number | undefined
  readonly signal?: AbortSignal
}
/** What a file has, if nobody but its reader and root could have written it. */
export async function readSafely(file: string, reader: Reader): Promise<string> {
  let handle: FileHandle | undefined
  try {
    // A pipe without a writer would hold us up for ever.
    handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK)
    const opened = await handle.stat()
    // A device, as /dev/null is one, is nobody's to change; a shell's pipe has no real path.
    const real = opened.isFile() ? [dirname(await realpath(file))] : []
    const folders = opened.isCharacterDevice() ? [] : [dirname(file), ...real]
    const own = opened.isCharacterDevice() ? undefined : unsafeReason(opened, reader)
    const doubts = [own, ...(await Promise.all(folders.map((folder) => unsafeFolderReason(folder, reader))))]
    const doubt = doubts.find((found) => found !== undefined)
    if (doubt !== undefined) throw new UsageError(`${file}: not safe to use: ${doubt}`, EXIT.CONFIG)
    if (!opened.isFIFO()) return await handle.readFile('utf8')
    // The very pipe that was looked at.
    return await streamText(new Socket({ fd: handle.fd }), reader.signal)
  } catch (error) {
    if (error instanceof UsageError || reader.signal?.aborted) throw error
    throw new UsageError(`configuration ${file}: ${describeFileError(error)}`, EXIT.NOINPUT, error)
  } finally {
    // A pipe's stream has closed it.
    await handle?.close().catch(() => undefined)
  }
}
export async function unsafeFolderReason(folder: string, reader: Reader): Promise<string | undefined> {
  const doubt = unsafeReason(await stat(folder), reader)
  return doubt === undefined ? undefined : `its folder ${folder}: ${doubt}`
}
export const OTHERS_WRITE = 0o002
export const GROUP_WRITES = 0o020
/** Why its owner, or others, could make root do what they like; undefined: they can't. */
export function unsafeReason({ uid, gid, mode }: Stats, reader: Reader): string | undefined {
  if (platform() === 'win32' || reader.uid === undefined) return undefined
  if (uid !== 0 && uid !== reader.uid) return 'it belongs to neither root nor you (chown)'
  if ((mode & OTHERS_WRITE) !== 0) return 'others may write it (chmod o-w)'
  // Many systems give each user a group of his own, by the same number.
  const isOwnGroup = gid === 0 || (gid === reader.gid && gid === reader.uid)
  return (mode & GROUP_WRITES) !== 0 && !isOwnGroup ? 'its group may write it (chmod g-w)' : undefined
}
