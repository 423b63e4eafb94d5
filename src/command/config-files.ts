import { closeSync, lstatSync, openSync, type Stats, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { codeOf } from '../errors.js'
import { isLackOfResources, resourcesError } from '../net/resources-error.js'
import type { CommandLine } from './arguments.js'
import { describeFileError, OPEN_FLAGS } from './file-errors.js'

export type ConfigSearch = {
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly uid: number | undefined
  readonly warn: (message: string) => void
  /** Receives each file that can't be read, and the reason. May throw. */
  readonly onUnread?: (file: string, reason: string) => void
}

/**
 * Returns the configuration files that exist and may be read, the system's first. Root reads only the system's, because sudo keeps
 * HOME. A file that can't be read, or whose folder or link can't, is skipped with a warning. Throws StepError (75) if this host lacks descriptors.
 */
export function findConfigFiles({ environment, uid, warn, onUnread }: ConfigSearch): string[] {
  const { HOME, XDG_CONFIG_HOME } = environment
  const home = XDG_CONFIG_HOME?.startsWith('/') ? resolve(XDG_CONFIG_HOME) : HOME ? `${HOME}/.config` : undefined
  const folders = home === undefined || uid === 0 ? ['/etc'] : ['/etc', home]
  const files = folders.map((folder) => `${folder}/etrn/config.toml`)
  return files.filter((file) => {
    try {
      closeSync(openSync(file, OPEN_FLAGS))
      return true
    } catch (error) {
      // Another program holds a lease on the file, which the file's reader waits for.
      if (codeOf(error) === 'EAGAIN') return true
      if (isLackOfResources(error)) throw resourcesError(`can't read the configuration ${file}`, error)
      const isMissing = ['ENOENT', 'ENOTDIR'].includes(codeOf(error))
      const reason = isMissing ? blockedReason(file) : describeFileError(error)
      if (reason === undefined) return false
      onUnread?.(file, reason)
      warn(`etrn: warning: ${file}: ${reason}; continuing without this file`)
      return false
    }
  })
}

/** Returns the reason if something in the path of a missing file is there, but leads to no file; undefined if there is nothing. */
function blockedReason(file: string): string | undefined {
  const folder = dirname(file)
  for (let path = file; path !== dirname(path); path = dirname(path)) {
    const stats = findEntry(lstatSync, path)
    if (stats === undefined) continue
    const target = stats.isSymbolicLink() ? findEntry(statSync, path) : stats
    if (target === undefined) return `the target of the symbolic link ${path} does not exist`
    // A home such as /dev/null means that there is none.
    return path === folder && !target.isDirectory() ? `${path} is not a directory` : undefined
  }
  return undefined
}

function findEntry(stat: (path: string) => Stats, path: string): Stats | undefined {
  try {
    return stat(path)
  } catch {
    return undefined
  }
}

/** Returns the configuration files that a command line reads: that of --config, or those that findConfigFiles finds. */
export function configFilesOf({ options }: Pick<CommandLine, 'options'>, { warn, ...search }: ConfigSearch): string[] {
  if (options.config !== undefined) return [options.config]
  const isSilent = options.quiet || options['report-after'] !== undefined
  return findConfigFiles({ ...search, warn: isSilent ? (): void => undefined : warn })
}
