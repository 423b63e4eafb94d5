import { existsSync } from 'node:fs'
import { isAbsolute } from 'node:path'
import { UsageError } from '../errors.js'
import { isReadableByAll } from './file-safety.js'
import { nameNotes } from './hook-scripts.js'
import type { HookParts } from './hook-scripts.js'

export function systemdText(parts: HookParts): string {
  const { name } = parts
  return `#!/bin/sh
# Creates a service that requests the mail queued for this site, and a timer that starts the service; see etrn(1).
# Save this script as etrn-setup.sh, read it, and run as root: sh etrn-setup.sh
# The units go to /etc/systemd/system, or to the directory named by the first argument.
# To try the service once, run: systemctl daemon-reload && systemctl start etrn-${name}.service
# The output is in the journal: journalctl -u etrn-${name}.service
set -eu
folder=\${1:-/etc/systemd/system}

cat >"$folder/etrn-${name}.service" <<'END'
${serviceText(parts)}END

cat >"$folder/etrn-${name}.timer" <<'END'
[Unit]
Description=Request queued mail every ten minutes

[Timer]
OnBootSec=1min
OnUnitInactiveSec=10min
RandomizedDelaySec=1min

[Install]
WantedBy=timers.target
END

echo "next, run: systemctl daemon-reload && systemctl enable --now etrn-${name}.timer"
`
}

function serviceText(parts: HookParts): string {
  const { words, loaded, unread } = unitFilesOf(parts)
  const start = [...parts.program.map(quoteForUnit), ...words].join(' ')
  return `[Unit]
Description=Request the mail queued for this site
Documentation=man:etrn(1)
Wants=network-online.target
After=network-online.target nss-lookup.target
# To start your own unit after each failure, even a temporary one, remove the # from the next line.
# OnFailure=report-failure@%n.service

[Service]
Type=oneshot
${nameNotes(parts)
  .map((note) => `# ${note}\n`)
  .join('')}ExecStart=${start}
# The service runs as an unprivileged user, and writes no files. systemd passes it the files that only root can read.
DynamicUser=yes
${[...loaded, ...unread].join('')}CapabilityBoundingSet=
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
ProtectControlGroups=yes
${isAtHome(parts.program) ? '# node or etrn is in a home directory: the user of this service must be able to read that directory.\nProtectHome=read-only\n' : 'ProtectHome=yes\n'}ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectSystem=strict
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
RestrictNamespaces=yes
# Node compiles code while it runs, so memory must be writable and executable.
MemoryDenyWriteExecute=no
`
}

/** The folders that ProtectHome=yes hides from a service (systemd.exec(5)) */
const HOMES = /^\/(?:home|root|run\/user)\//
/** The folders that PrivateTmp=yes replaces */
const TEMPORARY = /^\/(?:var\/)?tmp\//

function isAtHome(program: readonly string[]): boolean {
  return program.some((path) => HOMES.test(path))
}

/** Returns those of the files that are there, but that the service can't read. Only root can look into some folders. */
export function unreadByService(files: readonly string[], program: readonly string[]): string[] {
  return files.filter((file) => {
    const isHidden = TEMPORARY.test(file) || (HOMES.test(file) && !isAtHome(program))
    return existsSync(file) && (isHidden || !isReadableByAll(file))
  })
}

/**
 * Returns how systemd passes files that only root may read (those on the command line, the configuration, and files beside it): the
 * command line with their new names, the LoadCredential= lines, and comments on the files that are not passed.
 */
function unitFilesOf({ command, config, files }: HookParts) {
  const ids = new Map<string, string>()
  for (const [index, { text, isPath }] of command.entries()) if (isPath) ids.set(text, `file-${index}`)
  const unread: string[] = []
  if (config !== undefined) ids.set(config, 'config.toml')
  for (const { path, word: name } of files) {
    if (ids.has(path)) continue
    // A file is found beside the passed configuration only if it is written as a bare name.
    if (isAbsolute(name) || config === undefined)
      unread.push(`# The user of this service must be able to read ${path}\n`)
    else if ([...ids.values()].includes(name))
      throw new UsageError(`the systemd service can't have two files with the name ${name}; rename ${path}`)
    else if (/^[\w.-]+$/.test(name)) ids.set(path, name)
    else
      throw new UsageError(
        `the systemd service would not find ${name} by its relative path; write ${path} in its place`,
      )
  }
  const broken = [...ids.keys()].find((path) => /[\\\s]$/.test(path))
  if (broken !== undefined)
    throw new UsageError(`systemd can't load a file whose path ends with a space or a backslash: "${broken}"`)
  const words = command.map(({ text, isPath }) =>
    isPath ? `\${CREDENTIALS_DIRECTORY}/${ids.get(text) ?? ''}` : quoteForUnit(text),
  )
  const isNamed = command.some(({ text }) => text === '--config')
  if (config !== undefined && !isNamed) words.unshift('--config', '${CREDENTIALS_DIRECTORY}/config.toml')
  const loaded = [...ids].map(([path, id]) => `LoadCredential=${id}:${path.replaceAll('%', '%%')}\n`)
  return { words, loaded, unread }
}

/** Quotes a word for ExecStart= (systemd.service(5), systemd.syntax(7)). */
function quoteForUnit(word: string): string {
  const escaped = word.replaceAll('%', '%%').replaceAll('$', () => '$$')
  return /^[\w@%+=:,./${}-]+$/.test(escaped) ? escaped : `"${escaped.replace(/["\\]/g, '\\$&')}"`
}
