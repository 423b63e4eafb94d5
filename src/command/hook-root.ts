import { existsSync, readdirSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { messageOf, UsageError } from '../errors.js'
import type { CommandLine } from './arguments.js'
import { type Config, readConfig } from './config.js'
import { describeFileError } from './file-errors.js'
import { unsafePathReason } from './file-safety.js'
import type { Reader } from './read-file.js'

// A user may print a hook that root runs. Root reads other files than the user, and trusts fewer.

/** Throws UsageError for a profile that only the user's own configuration has: root does not read that. */
export function checkProfiles({ words, options }: CommandLine, config: Config, own: Config): void {
  const wanted = options.all ? [...own.profiles.keys()] : (words[0] ?? '').split(',')
  const name = wanted.find((word) => own.profiles.has(word) && !config.profiles.has(word))
  if (name === undefined || options.mx !== undefined) return
  const place = own.profiles.get(name)?.locate?.('server') ?? ''
  throw new UsageError(`${place}: root runs this hook, but root does not read this file`, {
    hint: 'move the profile to /etc/etrn/config.toml, or move it to another file that root owns and add --config FILE',
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
    ...otherFiles.filter((path) => !read.includes(path)).flatMap((path) => objectionsTo(path, 'use')),
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
  const [objection] = paths.flatMap((path) => objectionsTo(path, 'use'))
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

function objectionsTo(path: string, use: 'run' | 'use'): string[] {
  try {
    const reason = unsafePathReason(path, 0)
    return reason === undefined ? [] : [`${path} is not safe to ${use}: ${reason}`]
  } catch (error) {
    // A file may come later; the program is there.
    return use === 'use' ? [] : [`${path} is not safe to run: ${describeFileError(error)}`]
  }
}
