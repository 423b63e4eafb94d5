import { existsSync, readdirSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { messageOf, UsageError } from '../errors.js'
import type { CommandLine } from './arguments.js'
import { type Config, readConfig } from './config.js'
import { describeFileError } from './file-errors.js'
import { type PathRules, unsafePathReason } from './file-safety.js'
import type { Reader } from './read-file.js'

// A user may print a hook that root runs. Root reads other files than the user, and trusts fewer.

/** The reason for which a hook reads other configuration files than the user who prints it, and the next step */
export type OtherFiles = { readonly reason: string; readonly hint: string }

export const ROOT_FILES: OtherFiles = {
  reason: 'root runs this hook, but root does not read this file',
  hint: 'move the profile to /etc/etrn/config.toml, or move it to another file that root owns and add --config FILE',
}
export const CRON_FILES: OtherFiles = {
  reason: 'cron does not set XDG_CONFIG_HOME, so this hook does not read this file',
  hint: 'add --config FILE',
}

/** Throws UsageError for a profile that is in a file which the hook does not read. */
export function checkProfiles({ words, options }: CommandLine, config: Config, own: Config, why: OtherFiles): void {
  const wanted = options.all ? [...own.profiles.keys()] : (words[0] ?? '').split(',')
  const placeIn = ({ profiles }: Config, word: string): string | undefined => profiles.get(word)?.locate?.('server')
  const name = wanted.find((word) => own.profiles.has(word) && placeIn(own, word) !== placeIn(config, word))
  if (name === undefined || options.mx !== undefined) return
  throw new UsageError(`${placeIn(own, name) ?? ''}: ${why.reason}`, { hint: why.hint })
}

/** Returns a warning for each file with settings of this user that the hook does not read. */
export function unreadSettings(config: Config, own: Config, { reason }: OtherFiles): string[] {
  const unread = own.tops.slice(0, Math.max(0, own.tops.length - config.tops.length))
  return unread.flatMap(({ options, locate }) => {
    const [option] = Object.keys(options)
    return option === undefined ? [] : [`${locate?.(option) ?? ''}: ${reason}`]
  })
}

/** Returns root's objections to the program and the files of a hook. Reads the configuration, too, if root reads it itself. */
export async function rootObjections(
  program: readonly string[],
  configFiles: readonly string[],
  otherFiles: readonly string[],
  { signal }: Pick<Reader, 'signal'>,
): Promise<string[]> {
  const read = configFiles.map((file) => resolve(file))
  const objections = [
    ...[...program, ...loadedFiles(program)].flatMap((path) => objectionsTo(path, 'run')),
    ...otherFiles.filter((path) => !read.includes(path)).flatMap((path) => lastingObjectionsTo(path)),
  ]
  try {
    await readConfig(configFiles, { uid: 0, signal })
  } catch (error) {
    objections.push(messageOf(error))
  }
  return objections
}

/** Throws UsageError for a file that another user can replace: systemd opens it as root, whatever it is by then. */
export function checkLoadedFiles(paths: readonly string[]): void {
  const [objection] = paths.flatMap((path) => objectionsTo(path, 'use', { isStrict: true }))
  if (objection === undefined) return
  throw new UsageError(`${objection}; systemd would open the file as root`, {
    hint: 'move the file to a directory that only root can change, for example /etc/etrn',
  })
}

/** Returns the files that bin/etrn loads, and those that tell node how to load them. */
function loadedFiles(program: readonly string[]): string[] {
  const root = join(dirname(program.at(-1) ?? ''), '..')
  const dist = join(root, 'dist')
  const scripts = existsSync(dist) ? readdirSync(dist, { recursive: true, encoding: 'utf8' }) : []
  const files = [
    ...['package.json', 'bin/package.json'].map((name) => join(root, name)),
    ...scripts.filter((name) => /\.(?:c?js|json)$/.test(name)).map((name) => join(dist, name)),
  ]
  return files.filter((file) => existsSync(file))
}

/** A hook outlives what is below a directory such as /tmp, and then anybody can create it again. */
function lastingObjectionsTo(path: string): string[] {
  const objections = objectionsTo(path, 'use')
  return objections.length > 0 ? objections : objectionsTo(path, 'use', { isLasting: true })
}

function objectionsTo(path: string, use: 'run' | 'use', rules?: PathRules): string[] {
  try {
    const reason = unsafePathReason(path, 0, rules)
    return reason === undefined ? [] : [`${path} is not safe to ${use}: ${reason}`]
  } catch (error) {
    // A file may come later; the program is there.
    return use === 'use' ? [] : [`${path} is not safe to run: ${describeFileError(error)}`]
  }
}
