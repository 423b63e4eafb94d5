import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { OptionError, UsageError } from '../errors.js'
import { familyOf } from '../net/address.js'
import { MAX_TIMER_MS } from '../net/deadline.js'
import { ownHostName } from '../net/this-host.js'
import { printable } from '../printable.js'
import type { CommandLine } from './arguments.js'
import type { Config } from './config.js'
import { type CommandWord, cronText, type HookKind, type HookParts, scriptText } from './hook-scripts.js'
import { systemdText } from './hook-systemd.js'
import { checkLoginOptions, checkLoginTargets, needsPassword } from './login.js'
import { locateError } from './option-sources.js'
import { OPTION_ROWS, type Options } from './options.js'
import { requestFileName } from './request-file.js'
import { noNameError, typedNames } from './requested-names.js'
import { checkServerWords, resolveTargets, type Target, userOption } from './targets.js'
import { checkTlsOptions } from './tls-options.js'

export type HookInput = Pick<Config, 'paths'> &
  Pick<HookParts, 'program'> & {
    readonly line: CommandLine
    readonly targets: readonly Target[]
    readonly files: readonly string[]
  }

/**
 * Returns a hook that runs the rest of the command line when the host comes online: a script or units, complete and commented. Throws
 * UsageError if the mechanism can't hold something.
 */
export function hookText(kind: HookKind, input: HookInput): string {
  const parts = hookPartsOf(input)
  checkTexts(parts)
  if (kind === 'cron') return cronText(parts)
  return kind === 'systemd' ? systemdText(parts) : scriptText(kind, parts)
}

/** Throws UsageError if a text could end its line, or hide in it. This is the one gate: a hook is made of nothing but these parts. */
function checkTexts(parts: HookParts): void {
  JSON.stringify(parts, (_, value: unknown) => {
    if (typeof value === 'string' && printable(value) !== value)
      throw new UsageError(
        `a hook must not contain control or invisible characters: ${printable(JSON.stringify(value))}`,
      )
    return value
  })
}

function hookPartsOf({ line, targets, files, paths, program }: HookInput): HookParts {
  const { options, words, typed } = line
  checkFiles([options.config ?? '', ...optionPathsOf(targets)])
  const optionWords = [...OPTION_ROWS].flatMap(([name]) => (name === 'hook' ? [] : wordsOfOption(name, typed[name])))
  // After these two words an option could take the next one for its value.
  const isUnclear = words.some((word) => word.startsWith('-')) || /^(?:true|false)$/.test(words[0] ?? '')
  const rest = [...(isUnclear ? ['--'] : []), ...words].map((text) => ({ text }))
  const command = [...limitWords(targets), ...optionWords, ...rest]
  // The same requests have the same lock, whatever mechanism runs them.
  const name = requestFileName(line, [optionWords, rest])
  const [local, ...others] = new Set(targets.map((target) => target.options.interface))
  return {
    name,
    program,
    command,
    impliedNames: [...new Set(targets.flatMap((target) => impliedName(target) ?? []))],
    interface: others.length === 0 && familyOf(local ?? '') === 0 ? local : undefined,
    cron: cronOutputOf(targets),
    config: files.length === 1 ? resolve(files[0] ?? '') : undefined,
    files: optionPathsOf(targets).map((path) => ({ path, word: paths.get(path) ?? path })),
  }
}

/** Throws UsageError for a file that only a running process has, for example the shell's `<(command)`. */
function checkFiles(paths: readonly string[]): void {
  const passing = paths.find((path) => /^\/(?:dev\/(?:fd\/|std)|proc\/)/.test(path))
  if (passing !== undefined)
    throw new UsageError(`the file ${passing} will not exist when the hook runs; use a regular file`)
}

/** Returns the files that options of these targets name, as absolute paths, each once. */
export function optionPathsOf(targets: readonly Target[]): string[] {
  return [...new Set(targets.flatMap(({ options }) => pathsOfOptions(options)))]
}

/** A word of a shell with what is quoted or escaped in it; other characters that can stand in a path don't end it. */
const SHELL_WORD = /(?:\\.|'[^']*'|"(?:\\.|[^"\\])*"|[^\s'"`<>|;&()\\])+/gs

/**
 * Returns everything in the targets' password commands that may be a path: programs, and the files that they read. Each is absolute, as
 * most mechanisms start a hook in `/`.
 */
export function commandPathsOf(targets: readonly Target[]): string[] {
  const words = passwordCommandsOf(targets).flatMap((command) => [
    // A shell splits a command at these characters, and joins what is quoted to the rest of its word.
    ...[command, command.replace(/['"\\]/g, '')].flatMap((text) => text.split(/[\s'"`=<>|;&(){}:,]+/)),
    ...[...command.matchAll(/'([^']*)'|"([^"]*)"/g)].map(([, single, double]) => single ?? double ?? ''),
    ...[...command.matchAll(SHELL_WORD)].map(([word]) => word.replace(/\\(.)|['"]/gs, '$1')),
  ])
  const paths = words.flatMap((word) => /^(?:\.{0,2}\/)+([^/].*)$/s.exec(word)?.[1] ?? []).map((path) => `/${path}`)
  return [...new Set(paths)]
}

/** Returns the relative paths in the targets' password commands that lead nowhere from `/`, where most mechanisms start a hook. */
export function relativeCommandPathsOf(targets: readonly Target[]): string[] {
  const words = passwordCommandsOf(targets).flatMap((command) =>
    [...command.matchAll(SHELL_WORD)].map(([word]) => word.replace(/\\(.)|['"]/gs, '$1')),
  )
  const isRelative = (word: string): boolean => /^\.{1,2}\//.test(word) || (/^[^/]+\//.test(word) && existsSync(word))
  return [...new Set(words.filter((word) => isRelative(word) && !existsSync(resolve('/', word))))]
}

/** Returns the variables and home directories in the targets' password commands: only a shell knows what paths they make. */
export function commandVariablesOf(targets: readonly Target[]): string[] {
  const found = passwordCommandsOf(targets).flatMap((command) => [
    ...(command.match(/(?<![^\s'"`=<>|;&(){}:,])~(?:[\w.-]+|(?=\/))|\$(?:\{[A-Za-z_][^}]*\}|[A-Za-z_]\w*)/g) ?? []),
    // Between single quotes, these are rather columns and operators of awk.
    ...(command.replace(/'[^']*'/g, '').match(/(?<!\S)~(?=[\s;&|)]|$)|\$(?:[\d@*]|\{[\d@*][^}]*\})/g) ?? []),
  ])
  return [...new Set(found)]
}

function passwordCommandsOf(targets: readonly Target[]): string[] {
  return targets.flatMap(({ options }) => options['password-command'] ?? [])
}

function pathsOfOptions(options: Options): string[] {
  const names = [...OPTION_ROWS].flatMap(([name, { isPath }]) => (isPath ? [name] : []))
  const values = names.flatMap((name): unknown => Reflect.get(options, name))
  return values.filter((path): path is string => typeof path === 'string' && path !== '-').map((path) => resolve(path))
}

function hasNames({ names, subdomains, queue, 'names-from': files }: Options): boolean {
  return [names, subdomains, queue, files].some((list) => list.length > 0)
}

/** Returns the name that a target requests although none is given; undefined if one is, or if there is none to take. */
function impliedName({ options, isMx, server }: Target): string | undefined {
  if (hasNames(options)) return undefined
  return isMx ? server.host : ownHostName()
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

/** Returns the options that the command line lacks, because cron mails any output; and what cron mails then. */
function cronOutputOf(targets: readonly Target[]): HookParts['cron'] {
  const has = (isSet: (options: Options) => boolean): boolean => targets.some(({ options }) => isSet(options))
  const isDelayed = has((options) => options['report-after'] !== undefined)
  const hidesTemporary = !isDelayed && has(({ quiet }) => quiet > 1)
  const delay = isDelayed || hidesTemporary ? [] : ['--report-after', '4h']
  if (has(({ json }) => json))
    return { words: has(({ quiet }) => quiet > 0) ? [] : ['--quiet'], note: 'with --json, the document of every run.' }
  if (has(({ verbose }) => verbose > 0)) return { words: delay, note: 'with --verbose, the dialogue of every run.' }
  const note = hidesTemporary
    ? 'with --quiet given twice, permanent failures only.'
    : 'permanent failures at once, temporary failures after the --report-after time.'
  return { words: delay, note }
}

/** Returns a time that is long enough for everything that a run waits for. */
function longestRunMs({ 'retry-for': retryForMs, wait: waitMs, 'wait-local': waitLocalMs }: Options): number {
  const ms = (retryForMs ?? HOOK_RETRY_MS) + (waitMs ?? 0) + (waitLocalMs ?? 0) + 4 * MINUTE_MS
  // No option takes more.
  return Math.min(ms, MAX_TIMER_MS)
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
  await checkServerWords(line, config)
  const targets = resolveTargets(line, config, warn)
  checkLoginTargets(line, targets)
  const impliedNames = new Set<string>()
  for (const target of targets) {
    try {
      await checkNames(target)
      const implied = impliedName(target)
      if (implied !== undefined) impliedNames.add(implied)
      else if (!hasNames(target.options)) throw noNameError()
      if (line.options.hook === 'systemd') checkWritesNothing(target)
      checkLoginOptions(target)
      await checkTlsOptions(target)
      if (!needsPassword(target)) continue
      const message = "a hook can't ask for a password; add --password-file FILE or --password-command COMMAND"
      throw new OptionError(userOption(target), message)
    } catch (error) {
      throw locateError(error, target)
    }
  }
  for (const name of impliedNames) warn(`etrn: no name given; the hook requests ${name}`)
  return targets
}

/** Throws OptionError for an option that would write a file: the user of the service is made anew for each run. */
function checkWritesNothing({ options }: Target): void {
  const option = (['report-after', 'failed-to'] as const).find((name) => options[name] !== undefined)
  if (option === undefined) return
  const hint = 'the journal keeps the results of every run'
  throw new OptionError(option, `the systemd service writes no files; remove --${option}`, { hint })
}

async function checkNames({ options }: Target): Promise<void> {
  await typedNames(options)
  if (options['names-from'].includes('-'))
    throw new OptionError(
      'names-from',
      'a hook has no standard input; write the names to a file and use --names-from FILE',
    )
}
