import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { dirname } from 'node:path'
import type { TestContext } from 'node:test'
import type { CommandLine } from '../../src/command/arguments.js'
import type { HookInput } from '../../src/command/hook.js'
import type { HookKind } from '../../src/command/hook-scripts.js'
import { resolveTargets } from '../../src/command/targets.js'
import { etrn } from './command.js'
import { makeFile } from './files.js'
import { NO_CONFIG } from './options.js'

/** The kinds of hooks that are scripts */
export const SCRIPT_KINDS = ['pppd', 'ifupdown', 'networkmanager', 'networkd', 'dhcpcd', 'script'] as const

/** Returns the hook that requests site.example from mail.isp.example. */
export const printHook = async (kind: HookKind, ...args: string[]): Promise<string> =>
  (await etrn(['--hook', kind, ...args, 'mail.isp.example', 'site.example'])).stdout

/** Returns the words that a shell makes of a command. */
export function splitByShell(command: string): string[] {
  const printed = execFileSync('sh', ['-c', `dollar='$'; printf '%s\\0' ${command}`], {
    encoding: 'utf8',
    env: { HOME: '/home/u' },
  })
  return printed.split('\0').slice(0, -1)
}

/** Programs that read a crontab, by the characters before which each of them removes a backslash */
const CRONS = { debian: '%\\', cronie: '%', busybox: '' } as const
export type Cron = keyof typeof CRONS
export const CRON_NAMES: readonly Cron[] = ['debian', 'cronie', 'busybox']

/** Returns what cron hands to a shell: an unescaped % ends a command, except that of BusyBox. */
function readByCron(line: string, cron: Cron): string {
  return line.replace(/\\([^])|%([^]*)/g, (found, escaped?: string) => {
    if (escaped !== undefined) return CRONS[cron].includes(escaped) ? escaped : found
    return cron === 'busybox' ? found : ''
  })
}

/** Returns the command of a hook, from node on, as the mechanism hands it to a shell. */
export function commandIn(kind: HookKind, text: string, cron: Cron = 'debian'): string {
  const line = /^3-59\/10 \* \* \* \* umask 077; flock -n \S+ (.*)$/m.exec(text)?.[1] ?? ''
  const command = kind === 'cron' ? readByCron(line, cron) : /flock -n \S+ \\\n {4}(.*) 2>&1 \|\n/.exec(text)?.[1]
  return command ?? assert.fail(text)
}

/** Returns the input of a hook for a command line without a configuration. */
export function inputOf(line: CommandLine): HookInput {
  const targets = resolveTargets(line, NO_CONFIG, () => undefined)
  return { line, targets, files: [], paths: new Map(), program: ['/node', '/etrn'] }
}

/** Returns the hook for a configuration; its folder is shown as /c. */
export async function printHookWithConfig(t: TestContext, toml: string, ...args: string[]): Promise<string> {
  const config = makeFile(t, 'own.toml', toml)
  const run = await etrn(['--config', config, ...args])
  assert.equal(run.status, 0, run.stderr)
  return run.stdout.replaceAll(dirname(config), '/c')
}

/** A profile for such a configuration */
export const ISP = '[servers.isp]\nserver = "mail.isp.example"\nnames = ["site.example"]\n'
