import type { CommandLine } from './arguments.js'
import { configFilesOf, findConfigFiles } from './config-files.js'
import { type Config, readConfig } from './config.js'
import {
  commandPathsOf,
  commandVariablesOf,
  hookText,
  optionPathsOf,
  relativeCommandPathsOf,
  resolveHookTargets,
} from './hook.js'
import type { HookKind } from './hook-scripts.js'
import { checkLoadedFiles, checkProfiles, CRON_FILES, ROOT_FILES, rootObjections, unreadSettings } from './hook-root.js'
import { unreadByService } from './hook-systemd.js'
import type { Reader } from './read-file.js'
import { checkServerWords, isBareWord } from './targets.js'

export type HookOptions = Reader & {
  readonly environment: Readonly<Record<string, string | undefined>>
  /** The absolute paths of node and etrn */
  readonly program: () => readonly string[]
  readonly warn: (message: string) => void
}

/** Returns the hook of --hook for a command line. Warns of what root should not run. Throws UsageError. */
export async function createHook(line: CommandLine, kind: HookKind, options: HookOptions): Promise<string> {
  const { environment, uid, warn, signal } = options
  const program = options.program()
  const runner = kind === 'cron' ? uid : 0
  const files = configFilesOf(line, { environment: { HOME: environment['HOME'] }, uid: runner, warn })
  const config = await readConfig(files, { uid, signal })
  const own = await readOwnConfig(line, config, options)
  if (runner === 0)
    await checkServerWords(line, { ...config, profiles: new Map([...config.profiles, ...own.profiles]) })
  const why = runner === 0 ? ROOT_FILES : CRON_FILES
  checkProfiles(line, config, own, why)
  for (const warning of unreadSettings(config, own, why)) warn(`etrn: warning: ${warning}`)
  const targets = await resolveHookTargets(line, config, warn)
  for (const path of relativeCommandPathsOf(targets))
    warn(
      `etrn: warning: --password-command contains ${path}: the hook can run in another directory; write the absolute path`,
    )
  const unread = kind === 'systemd' ? unreadByService(commandPathsOf(targets), program) : []
  for (const path of unread)
    warn(
      `etrn: warning: --password-command contains ${path}: the user of the service can't read this file; use --password-file, because systemd passes that file`,
    )
  if (kind === 'systemd' && uid === 0) checkLoadedFiles(optionPathsOf(targets))
  const paths = [...optionPathsOf(targets), ...commandPathsOf(targets)]
  const text = hookText(kind, { line, targets, files, paths: config.paths, program })
  // systemd hands the files over, and the service reads them as another user.
  const [read, used] = kind === 'systemd' ? [[], [...new Set([...files, ...paths])]] : [files, paths]
  const objections = runner === 0 ? await rootObjections(program, read, used, options) : []
  if (runner === 0) objections.push(...commandVariablesOf(targets).map(uncheckedText))
  for (const objection of objections) warn(`etrn: warning: root runs this hook: ${objection}`)
  return text
}

function uncheckedText(variable: string): string {
  return `--password-command contains ${variable}, so some of its files can't be checked; write their absolute paths`
}

/**
 * Returns the configuration that this user reads; that of the hook if the own one is broken. Throws the error of the own one if the command
 * line has a word that may be one of its profiles.
 */
async function readOwnConfig(line: CommandLine, config: Config, options: HookOptions): Promise<Config> {
  const { environment, uid, signal } = options
  const search = { environment, uid, warn: (): void => undefined }
  const files = line.options.config === undefined ? findConfigFiles(search) : []
  const isProfile = (word: string): boolean => isBareWord(word) && !config.profiles.has(word)
  const needsOwn = line.options.mx === undefined && (line.words[0] ?? '').split(',').some(isProfile)
  return readConfig(files, { uid, signal }).catch((error: unknown) => {
    if (needsOwn) throw error
    return config
  })
}
