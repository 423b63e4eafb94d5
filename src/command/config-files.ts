import { isUtf8 } from 'node:buffer'
import { closeSync, constants, openSync } from 'node:fs'
import { codeOf, EXIT, UsageError } from '../errors.js'
import type { CommandLine } from './arguments.js'
import { unsafeFileReason } from './file-safety.js'
import { describeFileError, openFile, type Reader, readStream } from './read-file.js'

export type ConfigSearch = {
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly uid: number | undefined
  readonly warn: (message: string) => void
}

/**
 * Returns the configuration files that exist and may be read, the system's first. Root reads only the system's, because sudo keeps
 * HOME. A file that can't be read, or whose folder can't, is skipped with a warning.
 */
export function findConfigFiles({ environment, uid, warn }: ConfigSearch): string[] {
  const { HOME, XDG_CONFIG_HOME } = environment
  const home = XDG_CONFIG_HOME?.startsWith('/') ? XDG_CONFIG_HOME : HOME ? `${HOME}/.config` : undefined
  const folders = home === undefined || uid === 0 ? ['/etc'] : ['/etc', home]
  const files = folders.map((folder) => `${folder}/etrn/config.toml`)
  return files.filter((file) => {
    try {
      closeSync(openSync(file, constants.O_RDONLY | constants.O_NONBLOCK))
      return true
    } catch (error) {
      // Without the folder there is no file.
      const isMissing = ['ENOENT', 'ENOTDIR'].includes(codeOf(error))
      if (!isMissing) warn(`etrn: warning: ${file}: ${describeFileError(error)}; continuing without this file`)
      return false
    }
  })
}

/** Returns the configuration files that a command line reads: that of --config, or those that findConfigFiles finds. */
export function configFilesOf({ options }: Pick<CommandLine, 'options'>, { warn, ...search }: ConfigSearch): string[] {
  if (options.config !== undefined) return [options.config]
  const isSilent = options.quiet || options['report-after'] !== undefined
  return findConfigFiles({ ...search, warn: isSilent ? (): void => undefined : warn })
}

/**
 * Returns the text of a file that only its reader and root can change. Throws UsageError: 78 if it is unsafe or not UTF-8, 66 if it
 * can't be read.
 */
export async function readSafely(file: string, { uid, signal }: Reader): Promise<string> {
  try {
    const stream = await openFile(file, (stats) => {
      const reason = unsafeFileReason(file, stats, uid, { isStrict: true })
      if (reason !== undefined)
        throw new UsageError(`${file} is not safe to use: ${reason}`, { exitStatus: EXIT.CONFIG })
    })
    const octets = await readStream(stream, signal)
    if (isUtf8(octets)) return octets.toString()
  } catch (error) {
    if (error instanceof UsageError || signal.aborted) throw error
    throw new UsageError(`configuration ${file}: ${describeFileError(error)}`, {
      exitStatus: EXIT.NOINPUT,
      cause: error,
    })
  }
  throw new UsageError(`${file} is not UTF-8; convert it, for example with iconv -f latin1 -t utf-8`, {
    exitStatus: EXIT.CONFIG,
  })
}
