import { accessSync, constants, existsSync, type Stats } from 'node:fs'
import { type FileHandle, open, realpath, stat } from 'node:fs/promises'
import { Socket } from 'node:net'
import { platform } from 'node:os'
import { dirname } from 'node:path'
import { EXIT, UsageError } from '../errors.js'
import { describeFileError, streamText } from './read-file.js'

export type ConfigSearch = {
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly uid: number | undefined
  readonly warn: (message: string) => void
}

/**
 * Returns the configuration files that exist and may be read, the system's first. Root reads only the system's, because sudo keeps
 * HOME. A file that may not be read is skipped with a warning.
 */
export function findConfigFiles({ environment, uid, warn }: ConfigSearch): string[] {
  const { HOME, XDG_CONFIG_HOME } = environment
  const home = XDG_CONFIG_HOME?.startsWith('/') ? XDG_CONFIG_HOME : HOME ? `${HOME}/.config` : undefined
  const folders = home === undefined || uid === 0 ? ['/etc'] : ['/etc', home]
  const files = folders.map((folder) => `${folder}/etrn/config.toml`)
  return files.filter((file) => {
    try {
      accessSync(file, constants.R_OK)
      return true
    } catch {
      if (existsSync(file)) warn(`${file}: you are not allowed to read it; going on without it`)
      return false
    }
  })
}

/** The user that reads a file; undefined on systems without such numbers. The signal ends the wait for a pipe. */
export type Reader = {
  readonly uid: number | undefined
  readonly gid: number | undefined
  readonly signal: AbortSignal
}

/** Returns the text of a file that only its reader and root can write. Throws UsageError: 78 if it is unsafe, 66 if it can't be read. */
export async function readSafely(file: string, reader: Reader): Promise<string> {
  let handle: FileHandle | undefined
  try {
    // Without NONBLOCK a pipe that has no writer would block for ever.
    handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK)
    const stats = await handle.stat()
    // A device such as /dev/null needs no check, and a pipe of a shell has no real path.
    const folders = stats.isFile() ? [dirname(file), dirname(await realpath(file))] : [dirname(file)]
    const isDevice = stats.isCharacterDevice()
    const reason = isDevice ? undefined : (unsafeReason(stats, reader) ?? (await unsafeFolderReason(folders, reader)))
    if (reason !== undefined) throw new UsageError(`${file}: not safe to use: ${reason}`, EXIT.CONFIG)
    if (!stats.isFIFO()) return await handle.readFile('utf8')
    // Reads the pipe that was checked, not another one of that name.
    return await streamText(new Socket({ fd: handle.fd }), reader.signal)
  } catch (error) {
    if (error instanceof UsageError || reader.signal.aborted) throw error
    throw new UsageError(`configuration ${file}: ${describeFileError(error)}`, EXIT.NOINPUT, error)
  } finally {
    // The stream of a pipe has closed it already.
    await handle?.close().catch(() => undefined)
  }
}

async function unsafeFolderReason(folders: readonly string[], reader: Reader): Promise<string | undefined> {
  for (const folder of folders) {
    const reason = unsafeReason(await stat(folder), reader)
    if (reason !== undefined) return `its folder ${folder}: ${reason}`
  }
  return undefined
}

const OTHERS_WRITE_MODE = 0o002
const GROUP_WRITES_MODE = 0o020

/** Returns why the file is unsafe, or undefined. Its writers could make root run their commands. */
function unsafeReason({ uid, gid, mode }: Stats, reader: Reader): string | undefined {
  if (platform() === 'win32' || reader.uid === undefined) return undefined
  if (uid !== 0 && uid !== reader.uid) return 'it belongs to neither root nor you (chown)'
  if ((mode & OTHERS_WRITE_MODE) !== 0) return 'others may write it (chmod o-w)'
  // Many systems give each user a group of the same number.
  const isOwnGroup = gid === 0 || (gid === reader.gid && gid === reader.uid)
  return (mode & GROUP_WRITES_MODE) !== 0 && !isOwnGroup ? 'its group may write it (chmod g-w)' : undefined
}
