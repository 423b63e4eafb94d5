import { hash } from 'node:crypto'
import { resolve } from 'node:path'
import { OptionError, UsageError } from '../errors.js'
import { ownHostName } from '../net/this-host.js'
import type { CommandLine } from './arguments.js'
import type { Config } from './config.js'
import { cronText, scriptText } from './hook-scripts.js'
import { systemdText } from './hook-systemd.js'
import { checkLoginOptions, checkLoginTargets, needsPassword } from './login.js'
import { locateError } from './option-sources.js'
import { OPTION_ROWS, type Options } from './options.js'
import { noNameError, typedNames } from './requested-names.js'
import { requestSettingsOf } from './requests.js'
import { resolveTargets, type Target, userOption } from './targets.js'
import { checkTlsOptions } from './tls-options.js'

export type HookKind = NonNullable<Options['hook']>

/** A word of the command line; a file name is absolute. */
export type CommandWord = { readonly text: string; readonly isPath?: true }

export type HookInput = Pick<Config, 'paths'> & {
  readonly line: CommandLine
  readonly targets: readonly Target[]
  readonly files: readonly string[]
  /** The absolute paths of node and etrn: mechanisms have a PATH of their own, or none. */
  readonly program: readonly string[]
}

export type HookParts = Omit<HookInput, 'line'> & {
  /** Names the server or domain; part of file names */
  readonly name: string
  readonly command: readonly CommandWord[]
}

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
  const digest = hash('sha256', JSON.stringify([optionWords, rest])).slice(0, 8)
  const name = `${server.replace(/[^\w.-]+/g, '-').slice(0, FILE_NAME_CHARACTERS)}-${digest}`
  const parts = { name, command, targets, ...input }
  if (kind === 'cron') return cronText(parts)
  return kind === 'systemd' ? systemdText(parts) : scriptText(kind, parts)
}

const HOOK_RETRY_MS = 300_000
const MINUTE_MS = 60_000

/** Returns the limits that the command line lacks: a hook retries, and ends. */
function limitWords(targets: readonly Target[]): CommandWord[] {
  const longestMs = Math.max(...targets.map(({ options }) => longestRunMs(options)))
  const limits = [
    ['retry-for', HOOK_RETRY_MS],
    ['max-time', longestMs],
  ] as const
  const missing = limits.filter(([name]) => targets.every(({ options }) => options[name] === undefined))
  return missing.flatMap(([name, ms]) => [{ text: `--${name}` }, { text: `${Math.ceil(ms / MINUTE_MS)}m` }])
}

/** Returns a time that is long enough for everything that a run waits for. */
function longestRunMs({ 'retry-for': retryForMs, wait: waitMs, 'wait-local': waitLocalMs }: Options): number {
  return (retryForMs ?? HOOK_RETRY_MS) + (waitMs ?? 0) + (waitLocalMs ?? 0) + 4 * MINUTE_MS
}

/** Returns an option as it was typed, with files by their absolute paths. */
function wordsOfOption(name: string, typed: unknown): CommandWord[] {
  const row = OPTION_ROWS.get(name)
  if (row === undefined || typed === undefined || typed === 0) return []
  const option = { text: `--${name}` }
  if (row.kind === 'flag') return [option]
  if (row.kind === 'counter') return Array.from({ length: Number(typed) }, () => option)
  const values = [typed].flat().map(String)
  return values.slice(row.kind === 'list' ? 0 : -1).flatMap((value) => {
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
  checkLoginTargets(line, targets)
  for (const target of targets) {
    try {
      await checkNames(target)
      requestSettingsOf(target)
      checkLoginOptions(target)
      await checkTlsOptions(target)
      if (!needsPassword(target)) continue
      const message = 'in a hook nobody types a password: --password-file F, or --password-command C'
      throw new OptionError(userOption(target), message)
    } catch (error) {
      throw locateError(error, target)
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
