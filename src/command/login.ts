import { OptionError } from '../errors.js'
import { brokenSendableRule } from '../input/option-values.js'
import { printable } from '../printable.js'
import { checkRecipients } from '../smtp/credentials-policy.js'
import type { Credentials } from '../smtp/session-settings.js'
import type { CommandLine } from './arguments.js'
import { OPTION_ROWS } from './options.js'
import type { PasswordFiles } from './password.js'
import type { InputSources } from './read-file.js'
import { type Target, userOf, userOption } from './targets.js'

/** Throws OptionError if the credentials are incomplete. Reads no file. */
export function checkLoginOptions(target: Target): void {
  checkUsers(target)
  const { auth: mechanism, 'password-file': file, 'password-command': command } = target.options
  const user = userOf(target)
  if (user === undefined && mechanism !== undefined && mechanism !== 'EXTERNAL')
    throw new OptionError('auth', `--auth ${mechanism} needs a user name; add --user NAME`)
  if (user === undefined && mechanism === undefined && (file !== undefined || command !== undefined)) {
    const option = file === undefined ? 'password-command' : 'password-file'
    throw new OptionError(option, `--${option} needs a user name; add --user NAME`)
  }
  const rule = user === undefined ? undefined : brokenSendableRule(user)
  if (rule !== undefined) throw new OptionError(userOption(target), `the user name for ${target.server.word} ${rule}`)
}

/** Throws OptionError if one source gives two user names. */
function checkUsers({ server, options, profile, sourceOf }: Target): void {
  const userSource = sourceOf('user')
  const isOfServer = userSource === profile || profile === undefined
  if (options.user !== undefined && server.user !== undefined && options.user !== server.user && isOfServer)
    throw new OptionError(
      'user',
      `--user ${printable(options.user)} contradicts the user name in ${server.word}; remove one of them`,
    )
}

/** Returns true if the password must come from the environment or the terminal. */
export function needsPassword(target: Target): boolean {
  const { auth, 'password-file': file, 'password-command': command } = target.options
  return userOf(target) !== undefined && auth !== 'EXTERNAL' && file === undefined && command === undefined
}

/** Applies the credentials policy to credentials that are typed, or that the environment has. Throws UsageError. */
export function checkLoginTargets({ options }: CommandLine, targets: readonly Target[], environment?: string): void {
  const isTyped = [...OPTION_ROWS].some(([name, { scope }]) => scope === 'profile' && name in options)
  const isInUrl = targets.some(({ server, profile }) => profile === undefined && server.user !== undefined)
  if (!isTyped && !isInUrl && !(environment !== undefined && targets.some(needsPassword))) return
  const [first] = targets
  const { 'tls-name': name, 'tls-fingerprint': fingerprint } = first?.options ?? {}
  checkRecipients(targets.length, first?.isMx === true, { name, fingerprint })
}

/** Returns the credentials for a server. Reads the password, from each file once, or asks for it. Throws UsageError. */
export async function readCredentials(
  target: Target,
  sources: InputSources,
  files: PasswordFiles = new Map(),
): Promise<Credentials | undefined> {
  const { auth: mechanism } = target.options
  const user = userOf(target)
  if (mechanism === 'EXTERNAL') return { user: user ?? '', password: undefined, mechanism }
  if (user === undefined) return undefined
  const { readPassword } = await import('./password.js')
  return { user, password: await readPassword(target, sources, files), mechanism }
}
