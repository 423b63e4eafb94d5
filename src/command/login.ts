import { UsageError } from '../errors.js'
import type { ServerArgument } from '../input/server-address.js'
import type { Credentials } from '../smtp/credentials-policy.js'
import type { CommandLine } from './arguments.js'
import { type Options, OPTION_ROWS } from './options.js'
import type { PasswordRequest } from './password.js'
import type { Target } from './targets.js'

/** Whether a password has to come from the environment or the terminal. */
export function needsPassword({ options, server: target }: Target): boolean {
  const hasUser = (options.user ?? target.user) !== undefined && options.auth !== 'EXTERNAL'
  return hasUser && options['password-file'] === undefined && options['password-command'] === undefined
}
/** A login belongs to one server, and an unsigned DNS must not say which. Throws UsageError. */
export function checkCredentialsTarget(
  { options: said }: CommandLine,
  places: readonly Target[],
  environment: string | undefined,
): void {
  const isSaid = [...OPTION_ROWS].some(([name, { scope: where }]) => where === 'profile' && name in said)
  const isInUrl = places.some(({ server: target, profile }) => profile === undefined && target.user !== undefined)
  if (!isSaid && !isInUrl && !(environment !== undefined && places.some(needsPassword))) return
  if (places.length > 1) throw new UsageError('a login belongs to one server: ask the others in a run of their own')
  const [first] = places
  const { 'tls-name': name, 'tls-fingerprint': pin } = first?.options ?? {}
  if (first?.isMx && name === undefined && pin === undefined) {
    throw new UsageError(
      'with --mx a login needs --tls-name or --tls-fingerprint too: anybody could answer for the DNS',
    )
  }
}
export type PasswordSources = Omit<PasswordRequest, 'file' | 'command' | 'server'>
/** What it may be told, with the password read or asked for. Throws UsageError. */
export async function readCredentials(
  target: ServerArgument,
  options: Options,
  sources: PasswordSources,
): Promise<Credentials | undefined> {
  const { auth: mechanism, 'password-file': file, 'password-command': command } = options
  const user = options.user ?? target.user
  if (user === undefined && mechanism !== 'EXTERNAL') return undefined
  // The certificate says it all.
  if (mechanism === 'EXTERNAL') return { user: user ?? '', password: undefined, mechanism }
  const { readPassword: passwordOf } = await import('./password.js')
  const password = await passwordOf({ ...sources, file, command, server: target.word })
  return { user: user ?? '', password, mechanism }
}
