import { closeSync, openSync } from 'node:fs'
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
 * HOME. A file that can't be read, or whose folder can't, is skipped with a warning. Throws StepError (75) if this host lacks descriptors.
 */
export function findConfigFiles({ environment, uid, warn, onUnread }: ConfigSearch): string[] {
  const { HOME, XDG_CONFIG_HOME } = environment
  const home = XDG_CONFIG_HOME?.startsWith('/') ? XDG_CONFIG_HOME : HOME ? `${HOME}/.config` : undefined
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
      // Without the folder there is no file.
      const isMissing = ['ENOENT', 'ENOTDIR'].includes(codeOf(error))
      if (isMissing) return false
      const reason = describeFileError(error)
      onUnread?.(file, reason)
      warn(`etrn: warning: ${file}: ${reason}; continuing without this file`)
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
