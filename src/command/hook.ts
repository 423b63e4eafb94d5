import { createHash } from 'node:crypto'
import { resolve } from 'node:path'
import { OptionError, UsageError } from '../errors.js'
import { ownHostName } from '../net/this-host.js'
import type { CommandLine } from './arguments.js'
import type { Config } from './config.js'
import { cronText, ifupdownText, networkManagerText, pppdText } from './hook-scripts.js'
import { systemdText } from './hook-units.js'
import { checkCredentialsTarget, checkLoginOptions, needsPassword, userOption } from './login.js'
import { OPTION_ROWS, type Options } from './options.js'
import { requestSettingsOf, withPlace } from './requests.js'
import { noNameError, typedNames } from './requested-names.js'
import { resolveTargets, type Target } from './targets.js'
import { checkTlsOptions } from './tls-options.js'

export type HookKind = NonNullable<Options['hook']>

/** A word of the command line; a file name is absolute. */
export type CommandWord = { readonly text: string; readonly isPath?: true }

/** What each kind of hook is made of. */
export type HookParts = {
  /** Names the server or domain; part of file names */
  readonly name: string
  /** The absolute paths of node and etrn: mechanisms have a PATH of their own, or none. */
  readonly program: readonly string[]
  /** The rest of the command line */
  readonly command: readonly CommandWord[]
  readonly targets: readonly Target[]
  /** The configuration files */
  readonly files: readonly string[]
  /** The files that options in them name: absolute paths, and how they are written */
  readonly paths: ReadonlyMap<string, string>
}

export type HookInput = Pick<HookParts, 'program' | 'targets' | 'files' | 'paths'> & { readonly line: CommandLine }

const HOOK_BUILDERS: Readonly<Record<HookKind, (parts: HookParts) => string>> = {
  pppd: pppdText,
  ifupdown: ifupdownText,
  networkmanager: networkManagerText,
  cron: cronText,
  systemd: systemdText,
}

/** The longest part of a file name */
const FILE_NAME_CHARACTERS = 60

/**
 * Returns a hook that runs the rest of the command line when the host comes online: a script or units, complete and commented. Throws
 * UsageError if the mechanism can't hold something.
 */
export function hookText(kind: HookKind, { line, targets, ...input }: HookInput): string {
  const { options, words, typed } = line
  if (options.check) throw new UsageError('--hook and --check exclude each other: type one of them')
  if (/^\/(?:dev|proc)\//.test(options.config ?? ''))
    throw new UsageError(`${options.config ?? ''} is not there when a hook runs: name a file`)
  const optionWords = [...OPTION_ROWS].flatMap(([name]) => (name === 'hook' ? [] : wordsOfOption(name, typed[name])))
  // After these two words an option could take the next one for its value.
  const isUnclear = words.some((word) => word.startsWith('-')) || /^(?:true|false)$/.test(words[0] ?? '')
  const rest = [...(isUnclear ? ['--'] : []), ...words].map((text) => ({ text }))
  const command = [...limitWords(targets), ...optionWords, ...rest]
  for (const { text } of command) {
    if (/\p{C}/u.test(text)) throw new UsageError(`a hook can't hold the control character in ${JSON.stringify(text)}`)
  }
  const server = options.mx ?? (options.all ? 'all' : (words[0] ?? ''))
  // The same requests have the same lock, whatever mechanism runs them.
  const hash = createHash('sha256')
    .update(JSON.stringify([optionWords, rest]))
    .digest('hex')
  const name = `${server.replace(/[^\w.-]+/g, '-').slice(0, FILE_NAME_CHARACTERS)}-${hash.slice(0, 8)}`
  return HOOK_BUILDERS[kind]({ name, command, targets, ...input })
}

const HOOK_RETRY_MS = 300_000
const MINUTE_MS = 60_000

/** Returns the limits that the command line lacks: a hook retries, and ends. */
function limitWords(targets: readonly Target[]): CommandWord[] {
  const all = targets.map(({ options }) => options)
  const hasRetry = all.some((options) => options['retry-for'] !== undefined)
  const hasMaxTime = all.some((options) => options['max-time'] !== undefined)
  const retry = hasRetry ? [] : ['--retry-for', formatMinutes(HOOK_RETRY_MS)]
  const maxTime = hasMaxTime ? [] : ['--max-time', formatMinutes(Math.max(...all.map(longestRunMs)))]
  return [...retry, ...maxTime].map((text) => ({ text }))
}

/** Returns a time that is long enough for everything that a run waits for. */
function longestRunMs(options: Options): number {
  const waits = [options['retry-for'] ?? HOOK_RETRY_MS, options.wait, options['wait-local']]
  return waits.reduce<number>((sum, ms) => sum + (ms ?? 0), 4 * MINUTE_MS)
}

function formatMinutes(ms: number): string {
  return `${Math.ceil(ms / MINUTE_MS)}m`
}

/** Returns an option as it was typed, with files by their absolute paths. */
function wordsOfOption(name: string, typed: unknown): CommandWord[] {
  const row = OPTION_ROWS.get(name)
  if (row === undefined || typed === undefined || typed === 0) return []
  const option = { text: `--${name}` }
  if (row.kind === 'flag') return [option]
  if (row.kind === 'counter') return Array.from({ length: Number(typed) }, () => option)
  const values = [typed].flat().map(String)
  const last = row.kind === 'list' ? values : values.slice(-1)
  return last.flatMap((value) => {
    if (row.isPath) return [option, { text: resolve(value), isPath: true as const }]
    return value.startsWith('-') ? [{ text: `--${name}=${value}` }] : [option, { text: value }]
  })
}

/** Returns the targets of a hook, and checks everything that can be checked before it runs. Throws UsageError. */
export async function resolveHookTargets(
  line: CommandLine,
  config: Config,
  warn: (message: string) => void,
): Promise<Target[]> {
  const targets = resolveTargets(line, config, warn)
  checkCredentialsTarget(line, targets, undefined)
  for (const target of targets) {
    try {
      await checkNames(target)
      requestSettingsOf(target.options, target.isMx)
      checkLoginOptions(target.server, target.options)
      checkTlsOptions(target.server, target.options)
      if (needsPassword(target)) {
        const message = 'in a hook nobody types a password: --password-file F, or --password-command C'
        throw new OptionError(userOption(target.options), message)
      }
    } catch (error) {
      throw withPlace(target, error)
    }
  }
  return targets
}

async function checkNames({ options, isMx }: Target): Promise<void> {
  const names = await typedNames(options)
  const files = options['names-from']
  if (files.includes('-'))
    throw new OptionError('names-from', 'a hook has no standard input: put the names into a file')
  if (names.length + files.length === 0 && !isMx && ownHostName() === undefined) throw noNameError()
}
