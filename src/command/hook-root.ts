import { messageOf, UsageError } from '../errors.js'
import type { CommandLine } from './arguments.js'
import { type Config, readConfig } from './config.js'
import { unsafePathReason } from './file-safety.js'
import type { Reader } from './read-file.js'

// A user may print a hook that root runs. Root reads other files than the user, and trusts fewer.

/** Throws UsageError for a profile that only the user's own configuration has, which root does not read. */
export function checkProfiles({ words, options }: CommandLine, config: Config, own: Config): void {
  const wanted = options.all ? [...own.profiles.keys()] : (words[0] ?? '').split(',')
  const name = wanted.find((word) => own.profiles.has(word) && !config.profiles.has(word))
  if (name === undefined || options.mx !== undefined) return
  const place = own.profiles.get(name)?.locate?.('server') ?? ''
  throw new UsageError(
    `${place}: root runs this hook, and reads only /etc/etrn/config.toml or --config FILE: put the profile there, or name the file`,
  )
}

/** Returns what root would say of the program and the configuration that a hook names. */
export async function rootObjections(
  program: readonly string[],
  files: readonly string[],
  { signal }: Pick<Reader, 'signal'>,
): Promise<string[]> {
  const objections = program.flatMap((path) => {
    const reason = unsafeProgramReason(path)
    return reason === undefined ? [] : [`${path}: not safe to run: ${reason}`]
  })
  try {
    await readConfig(files, { uid: 0, signal })
  } catch (error) {
    objections.push(messageOf(error))
  }
  return objections
}

function unsafeProgramReason(path: string): string | undefined {
  try {
    return unsafePathReason(path, 0)
  } catch (error) {
    return messageOf(error)
  }
}
