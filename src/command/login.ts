import { UsageError } from '../errors.js'
import type { ServerArgument } from '../input/server-address.js'
import type { Credentials } from '../smtp/credentials-policy.js'
import type { CommandLine } from './arguments.js'
import { type Options, ROWS } from './options.js'
import type { Sources } from './password.js'
import type { Place } from './targets.js'

/** Whether a password has to come from the environment or the terminal. */
export function lacksPassword({ options, target }: Place): boolean {
  const hasUser = (options.user ?? target.user) !== undefined && options.auth !== 'EXTERNAL'
  return hasUser && options['password-file'] === undefined && options['password-command'] === undefined
}
/** A login belongs to one server, and an unsigned DNS must not say which. Throws UsageError. */
export function checkLogin({ said }: CommandLine, places: readonly Place[], environment: string | undefined): void {
  const isSaid = [...ROWS].some(([name, { where }]) => where === 'profile' && name in said)
  const isInUrl = places.some(({ target, profile }) => profile === undefined && target.user !== undefined)
  if (!isSaid && !isInUrl && !(environment !== undefined && places.some(lacksPassword))) return
  if (places.length > 1) throw new UsageError('a login belongs to one server: ask the others in a run of their own')
  const [first] = places
  const { 'tls-name': name, 'tls-fingerprint': pin } = first?.options ?? {}
  if (first?.isMx && name === undefined && pin === undefined) {
    throw new UsageError(
      'with --mx a login needs --tls-name or --tls-fingerprint too: anybody could answer for the DNS',
    )
  }
}
export type PasswordSources = Omit<Sources, 'file' | 'command' | 'whose'>
/** What it may be told, with the password read or asked for. Throws UsageError. */
export async function credentialsOf(
  target: ServerArgument,
  options: Options,
  sources: PasswordSources,
): Promise<Credentials | undefined> {
  const { auth: mechanism, 'password-file': file, 'password-command': command } = options
  const user = options.user ?? target.user
  if (user === undefined && mechanism !== 'EXTERNAL') return undefined
  // The certificate says it all.
  if (mechanism === 'EXTERNAL') return { user: user ?? '', password: undefined, mechanism }
  const { passwordOf } = await import('./password.js')
  const password = await passwordOf({ ...sources, file, command, whose: target.word })
  return { user: user ?? '', password, mechanism }
}
