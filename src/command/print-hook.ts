import type { CommandLine } from './arguments.js'
import { configFilesOf, findConfigFiles } from './config-files.js'
import { type Config, readConfig } from './config.js'
import {
  commandPathsOf,
  commandVariablesOf,
  type HookKind,
  hookText,
  optionPathsOf,
  resolveHookTargets,
} from './hook.js'
import { checkProfiles, rootObjections } from './hook-root.js'
import type { Reader } from './read-file.js'

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
  const files = configFilesOf(line, { environment, uid: runner, warn })
  const config = await readConfig(files, { uid, signal })
  if (runner === 0) checkProfiles(line, config, await readOwnConfig(line, config, options))
  const targets = await resolveHookTargets(line, config, warn)
  const paths = [...optionPathsOf(targets), ...commandPathsOf(targets)]
  // systemd hands the files over, and the service reads them as another user.
  const [read, used] = kind === 'systemd' ? [[], [...files, ...paths]] : [files, paths]
  const objections = runner === 0 ? await rootObjections(program, read, used, options) : []
  if (runner === 0) objections.push(...commandVariablesOf(targets).map(uncheckedText))
  for (const objection of objections) warn(`etrn: warning: root runs this hook: ${objection}`)
  return hookText(kind, { line, targets, files, paths: config.paths, program })
}

function uncheckedText(variable: string): string {
  return `--password-command contains ${variable}, so some of its files can't be checked; write their absolute paths`
}

/** Returns the configuration that this user reads; the hook's if the user's can't be read. */
async function readOwnConfig(line: CommandLine, config: Config, options: HookOptions): Promise<Config> {
  const { environment, uid, signal } = options
  const search = { environment, uid, warn: (): void => undefined }
  const files = line.options.config === undefined ? findConfigFiles(search) : []
  return readConfig(files, { uid, signal }).catch(() => config)
}
