import { OptionError } from '../errors.js'
import type { ServerArgument } from '../input/server-address.js'
import { brokenSendableRule } from '../input/values.js'
import { checkRecipients, type Credentials } from '../smtp/credentials-policy.js'
import type { CommandLine } from './arguments.js'
import { OPTION_ROWS, type Options } from './options.js'
import type { PasswordSources } from './password.js'
import type { Target } from './targets.js'

/** Returns the user name to log in with: that of --user, else that in the server's URL. */
export function userOf(server: ServerArgument, options: Options): string | undefined {
  return options.user ?? server.user
}

/** Throws OptionError if the options of a login are incomplete. Reads no file. */
export function checkLoginOptions(server: ServerArgument, options: Options): void {
  const { auth: mechanism, 'password-file': file, 'password-command': command } = options
  const user = userOf(server, options)
  if (user === undefined && mechanism !== undefined && mechanism !== 'EXTERNAL')
    throw new OptionError('auth', `--auth ${mechanism} needs a user: type --user U`)
  if (user === undefined && mechanism === undefined && (file !== undefined || command !== undefined)) {
    const option = file === undefined ? 'password-command' : 'password-file'
    throw new OptionError(option, 'a password needs a user: type --user U')
  }
  const rule = brokenSendableRule(user ?? '')
  if (rule !== undefined) throw new OptionError(userOption(options), `the user of ${server.word}: ${rule}`)
}

/** Returns the option that gives the user name; a profile's `server` can have it, too. */
export function userOption({ user }: Options): string {
  return user === undefined ? 'server' : 'user'
}

/** Returns true if the password must come from the environment or the terminal. */
export function needsPassword({ options, server }: Target): boolean {
  const hasUser = userOf(server, options) !== undefined && options.auth !== 'EXTERNAL'
  return hasUser && options['password-file'] === undefined && options['password-command'] === undefined
}

/** Applies the credentials policy to credentials that are typed, or that the environment has. Throws UsageError. */
export function checkCredentialsTarget(
  { options }: CommandLine,
  targets: readonly Target[],
  environment: string | undefined,
): void {
  const isTyped = [...OPTION_ROWS].some(([name, { scope }]) => scope === 'profile' && name in options)
  const isInUrl = targets.some(({ server, profile }) => profile === undefined && server.user !== undefined)
  if (!isTyped && !isInUrl && !(environment !== undefined && targets.some(needsPassword))) return
  const [first] = targets
  const { 'tls-name': name, 'tls-fingerprint': fingerprint } = first?.options ?? {}
  checkRecipients(targets.length, first?.isMx === true, { name, fingerprint })
}

/** Returns the credentials for a server, and reads the password or asks for it. Throws UsageError. */
export async function readCredentials(
  server: ServerArgument,
  options: Options,
  sources: PasswordSources,
): Promise<Credentials | undefined> {
  const { auth: mechanism, 'password-file': file, 'password-command': command } = options
  const user = userOf(server, options)
  if (mechanism === 'EXTERNAL') return { user: user ?? '', password: undefined, mechanism }
  if (user === undefined) return undefined
  const { readPassword } = await import('./password.js')
  const request = { file, command, server: server.word, userOption: userOption(options) }
  return { user, password: await readPassword(request, sources), mechanism }
}
