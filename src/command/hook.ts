import { createHash } from 'node:crypto'
import { isAbsolute, resolve } from 'node:path'
import { UsageError } from '../errors.js'
import type { CommandLine } from './arguments.js'
import { type Options, OPTION_ROWS } from './options.js'
import type { Target } from './targets.js'

export type HookKind = NonNullable<Options['hook']>

/** What a hook is made of. */
export type HookInput = {
  readonly line: CommandLine
  /** What the line means; see requests.ts */
  readonly targets: readonly Target[]
  /** The configuration files behind it, and the files that they name, as they are written there */
  readonly files: readonly string[]
  readonly written: ReadonlyMap<string, string>
  /** The absolute paths of node and etrn, since such mechanisms have a PATH of their own or none */
  readonly program: readonly string[]
}

/**
 * A hook for one of the mechanisms by which a site comes online: a script or units, complete and commented, that run the rest of
 * this command line. Throws UsageError where something can't be written there.
 */
export function hookText(
  kind: HookKind,
  { line: { options: said, words, typed: given }, targets: places, program, ...configured }: HookInput,
): string {
  if (said.check) throw new UsageError('--hook and --check exclude each other: type one of them')
  if (/^\/(?:dev|proc)\//.test(said.config ?? ''))
    throw new UsageError(`${said.config ?? ''} is not there when a hook runs: name a file`)
  const typed = [...OPTION_ROWS].flatMap(([name]) => (name === 'hook' ? [] : wordsOfOption(name, given[name])))
  const options = places.map((place) => place.options)
  const limits = [
    ...(options.some((o) => o['retry-for'] !== undefined) ? [] : ['--retry-for', formatMinutes(HOOK_RETRY_MS)]),
    ...(options.some((o) => o['max-time'] !== undefined)
      ? []
      : ['--max-time', formatMinutes(Math.max(...options.map(longestRunMs)))]),
  ].map((text) => ({ text }))
  // Behind these two words an option could take the next one for its value.
  const isUnclear = words.some((word) => word.startsWith('-')) || /^(?:true|false)$/.test(words[0] ?? '')
  const rest = [...(isUnclear ? ['--'] : []), ...words].map((text) => ({ text }))
  const command = [...limits, ...typed, ...rest]
  for (const { text } of command) {
    if (/\p{C}/u.test(text)) throw new UsageError(`a hook can't hold the control character in ${JSON.stringify(text)}`)
  }
  const who = (said.mx ?? (said.all ? 'all' : (words[0] ?? '')))
    .replace(/[^\w.-]+/g, '-')
    .slice(0, FILE_NAME_CHARACTERS)
  // What asks the same, by whatever mechanism, has the same lock.
  const what = createHash('sha256')
    .update(JSON.stringify([typed, rest]))
    .digest('hex')
    .slice(0, 8)
  return HOOK_BUILDERS[kind]({ name: `${who}-${what}`, program, command, places, ...configured })
}

/** Of a file's name */
const FILE_NAME_CHARACTERS = 60

type CommandWord = { readonly text: string; readonly isPath?: true }

type HookParts = {
  /** Who is asked, as a part of a file's name */
  readonly name: string
  readonly program: readonly string[]
  /** The rest of the command line */
  readonly command: readonly CommandWord[]
  readonly places: readonly Target[]
} & Pick<HookInput, 'files' | 'written'>

const HOOK_RETRY_MS = 300_000
const MINUTE_MS = 60_000

/** Long enough for all that it is told to wait for. */
function longestRunMs(options: Options): number {
  const waits = [options['retry-for'] ?? HOOK_RETRY_MS, options.wait, options['wait-local']]
  return waits.reduce<number>((sum, ms) => sum + (ms ?? 0), 4 * MINUTE_MS)
}

function formatMinutes(ms: number): string {
  return `${Math.ceil(ms / MINUTE_MS)}m`
}

/** An option as it was typed, a file by its absolute path. */
function wordsOfOption(name: string, given: unknown): CommandWord[] {
  const row = OPTION_ROWS.get(name)
  if (row === undefined || given === undefined || given === 0) return []
  const option = { text: `--${name}` }
  if (row.kind === 'flag') return [option]
  if (row.kind === 'counter') return Array.from({ length: Number(given) }, () => option)
  const values = [given].flat().map(String)
  const last = row.kind === 'list' ? values : values.slice(-1)
  return last.flatMap((value) => {
    if (row.isPath) return [option, { text: resolve(value), isPath: true as const }]
    return value.startsWith('-') ? [{ text: `--${name}=${value}` }] : [option, { text: value }]
  })
}

/** For sh: single quotes hold everything but themselves. */
function quoteForShell(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}

/** For ExecStart= (systemd.service(5), systemd.syntax(7)) */
function quoteForUnit(word: string): string {
  const escaped = word.replaceAll('%', '%%').replaceAll('$', () => '$$')
  return /^[\w@%+=:,./${}-]+$/.test(escaped) ? escaped : `"${escaped.replace(/["\\]/g, '\\$&')}"`
}

const HOOK_BUILDERS: Readonly<Record<HookKind, (parts: HookParts) => string>> = {
  pppd: (parts) =>
    scriptText(parts, {
      file: '/etc/ppp/ip-up.d/etrn',
      notes: [
        'No dot in its name: run-parts passes such files over.',
        'pppd waits for it, and gives it an empty environment; $1 is the interface.',
      ],
      onlyFor: '1',
    }),
  ifupdown: (parts) =>
    scriptText(parts, {
      file: '/etc/network/if-up.d/etrn',
      notes: ['ifup gives IFACE, waits, and comes once for each address family; also for lo, and for --all.'],
      guard: 'case ${IFACE-} in lo | --all) exit 0 ;; *) ;; esac',
      onlyFor: 'IFACE',
    }),
  networkmanager: (parts) =>
    scriptText(parts, {
      file: '/etc/NetworkManager/dispatcher.d/50-etrn',
      notes: [
        'NetworkManager gives interface and action, and waits; the file has to be of root, and nobody else may write it.',
      ],
      guard: '[ "${2-}" = up ] || exit 0',
      onlyFor: '1',
    }),
  cron: cronText,
  systemd: systemdText,
}

type ScriptPlace = {
  /** Where it is to be put */
  readonly file: string
  readonly notes: readonly string[]
  /** What ends it where there is nothing to do */
  readonly guard?: string
  /** The variable that has the interface's name */
  readonly onlyFor: string
}

function scriptText(
  { name, program, command, places }: HookParts,
  { file, notes, guard, onlyFor }: ScriptPlace,
): string {
  const words = [...program, ...command.map(({ text }) => text)].map(quoteForShell)
  const local = commonValue(places.map(({ options }) => options.interface)) ?? ''
  const isInterface = local !== '' && !/[.:]/.test(local)
  const only = `[ "\${${onlyFor}-}" = ${quoteForShell(isInterface ? local : 'ppp0')} ] || exit 0`
  return `#!/bin/sh
# Asks for the mail that is held for this site, when a link comes up (etrn(1)).
# Save it as ${file}, and make it executable: chmod 755 ${file}
${notes.map((note) => `# ${note}\n`).join('')}${guard === undefined ? '' : `\n${guard}\n`}
# On one interface only:
${isInterface ? '' : '# '}${only}

PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH

# In the background, since the hook is waited for, and one run at a time. What it says goes to the system's log.
{
  flock -n ${quoteForShell(`/run/etrn-${name}.lock`)} \\
    ${words.join(' ')} 2>&1 |
    logger -t etrn -p mail.info
} </dev/null >/dev/null 2>&1 &
`
}

/** What all of them are; undefined: not the same. */
function commonValue<T>([first, ...others]: readonly T[]): T | undefined {
  return others.every((other) => other === first) ? first : undefined
}

/** Of a line in a crontab; what is beyond is cut or refused. */
const CRON_LINE_OCTETS = 990

function cronText({ name, program, command, places }: HookParts): string {
  const quiet = places.some(({ options }) => options.quiet > 0) ? [] : ['--quiet']
  const words = [...program, ...quiet, ...command.map(({ text }) => text)].map(quoteForShell)
  // An unescaped % is a new line to cron, and a backslash before its escape undoes it: a quote's end and beginning part them.
  const escaped = words.map((word) => word.replaceAll('\\%', `\\''%`).replaceAll('%', '\\%'))
  const line = ['flock', '-n', `"$HOME/.etrn-${name}.lock"`, ...escaped].join(' ')
  if (Buffer.byteLength(line) > CRON_LINE_OCTETS) {
    throw new UsageError(
      `a crontab's line has at most ${CRON_LINE_OCTETS} octets: put the names into a file, --names-from`,
    )
  }
  const isTold = places.some(({ options }) => options.json || options.verbose > 0)
  const mailed = isTold
    ? '--json and --verbose print something each time, and cron mails it.'
    : 'cron mails what is printed, so only failures are: with --quiet twice, none that pass by themselves either.'
  return `# Asks for the mail that is held for this site (etrn(1)). Put these lines into your crontab: crontab -e
# ${mailed}
# One run at a time, by the lock.
3-59/10 * * * * ${line}
`
}

function systemdText(parts: HookParts): string {
  const { name, program } = parts
  const { words, loaded, unread } = unitFilesOf(parts)
  const start = [...program.map(quoteForUnit), ...words].join(' ')
  const isAtHome = program.some((path) => /^\/(?:home|root|run\/user)\//.test(path))
  return `#!/bin/sh
# Makes a service that asks for the mail that is held for this site (etrn(1)), and a timer that starts it.
# Read it, then run it as root; as its argument it takes another folder than /etc/systemd/system.
set -eu
folder=\${1:-/etc/systemd/system}

cat >"$folder/etrn-${name}.service" <<'END'
[Unit]
Description=Ask for the mail that is held for this site
Documentation=man:etrn(1)
Wants=network-online.target
After=network-online.target nss-lookup.target

[Service]
Type=oneshot
ExecStart=${start}
# Nobody's rights, and nothing to write. Files that only root can read are handed over.
DynamicUser=yes
${[...loaded, ...unread].join('')}CapabilityBoundingSet=
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
ProtectControlGroups=yes
${isAtHome ? "# node or etrn is in somebody's home: this user has to be able to read it.\nProtectHome=read-only\n" : 'ProtectHome=yes\n'}ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectSystem=strict
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
RestrictNamespaces=yes
# Node compiles while it runs, so memory has to be both writable and executable.
MemoryDenyWriteExecute=no
END

cat >"$folder/etrn-${name}.timer" <<'END'
[Unit]
Description=Ask for held mail every ten minutes

[Timer]
OnBootSec=1min
OnUnitInactiveSec=10min
RandomizedDelaySec=1min

[Install]
WantedBy=timers.target
END

echo "now: systemctl daemon-reload && systemctl enable --now etrn-${name}.timer"
`
}

type UnitFiles = { readonly words: string[]; readonly loaded: string[]; readonly unread: string[] }

/** Files that only root may be able to read, as systemd hands them over: those of the line, the configuration, and what lies beside it. */
function unitFilesOf({ command, places, files, written }: HookParts): UnitFiles {
  const ids = new Map<string, string>()
  for (const [index, { text, isPath }] of command.entries()) if (isPath) ids.set(text, `file-${index}`)
  const config = files.length === 1 ? resolve(files[0] ?? '') : undefined
  const unread: string[] = []
  if (config !== undefined) ids.set(config, 'config.toml')
  for (const path of new Set(places.flatMap(({ options }) => pathsOfOptions(options)))) {
    if (ids.has(path)) continue
    const name = written.get(path) ?? path
    // Only what is written as a mere name is found beside a configuration that was handed over.
    if (isAbsolute(name) || config === undefined)
      unread.push(`# The user of this service has to be able to read ${path}\n`)
    else if (/^[\w.-]+$/.test(name)) ids.set(path, name)
    else throw new UsageError(`systemd would not find ${name} beside the configuration: write it as ${path}`)
  }
  for (const path of ids.keys()) {
    if (path.endsWith('\\'))
      throw new UsageError(`systemd would take the backslash at its end for another line: ${path}`)
  }
  const words = command.map(({ text, isPath }) =>
    isPath ? `\${CREDENTIALS_DIRECTORY}/${ids.get(text) ?? ''}` : quoteForUnit(text),
  )
  const isNamed = command.some(({ text }) => text === '--config')
  if (config !== undefined && !isNamed) words.unshift('--config', '${CREDENTIALS_DIRECTORY}/config.toml')
  const loaded = [...ids].map(([path, id]) => `LoadCredential=${id}:${path.replaceAll('%', '%%')}\n`)
  return { words, loaded, unread }
}

function pathsOfOptions(options: Options): string[] {
  const said = [...OPTION_ROWS].flatMap(([name, { isPath }]) =>
    isPath ? [Reflect.get(options, name) as unknown].flat() : [],
  )
  return said.filter((path): path is string => typeof path === 'string' && path !== '-').map((path) => resolve(path))
}
