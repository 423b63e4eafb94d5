import { UsageError } from '../errors.js'
import type { HookParts } from './hook.js'

/** The mechanisms that run scripts. The guard ends a script that has nothing to do; the shell variable names the interface. */
const SCRIPTS = {
  pppd: {
    file: '/etc/ppp/ip-up.d/etrn',
    notes: [
      'No dot in its name: run-parts (Debian) passes such files over. Arch and Gentoo run /etc/ppp/ip-up.d/*.sh',
      'only: save it as etrn.sh there.',
      'pppd waits for it, and gives it an empty environment; $1 is the interface.',
    ],
    guard: '',
    interfaceVariable: '1',
  },
  ifupdown: {
    file: '/etc/network/if-up.d/etrn',
    notes: ['ifup gives IFACE, waits, and comes once for each address family; also for lo, and for --all.'],
    guard: '\ncase ${IFACE-} in lo | --all) exit 0 ;; *) ;; esac\n',
    interfaceVariable: 'IFACE',
  },
  networkmanager: {
    file: '/etc/NetworkManager/dispatcher.d/50-etrn',
    notes: [
      'NetworkManager gives interface and action, and waits; the file has to be of root, and nobody else may write it.',
    ],
    guard: '\n[ "${2-}" = up ] || exit 0\n[ "${1-}" != lo ] || exit 0\n',
    interfaceVariable: '1',
  },
} as const

export function scriptText(kind: keyof typeof SCRIPTS, parts: HookParts): string {
  const { name, program, command, interface: local } = parts
  const { file, notes, guard, interfaceVariable } = SCRIPTS[kind]
  const words = [...program, ...command.map(({ text }) => text)].map(quoteForShell)
  const only = `[ "\${${interfaceVariable}-}" = ${quoteForShell(local ?? 'ppp0')} ] || exit 0`
  return `#!/bin/sh
# Asks for the mail that is held for this site, when a link comes up (etrn(1)).
# Save it as ${file}, and make it executable: chmod 755 ${file}
${[...notes, ...nameNotes(parts)].map((note) => `# ${note}\n`).join('')}${guard}
# On one interface only:
${local === undefined ? '# ' : ''}${only}

PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
# Nobody else can open the lock, and hold it.
umask 077

# In the background, since the hook is waited for, and one run at a time. What it says goes to the system's log.
{
  flock -n ${quoteForShell(`/run/etrn-${name}.lock`)} \\
    ${words.join(' ')} 2>&1 |
    logger -t etrn -p mail.info
} </dev/null >/dev/null 2>&1 &
`
}

/** The longest line of a crontab: more is cut, or refused. */
const CRON_LINE_OCTETS = 990

export function cronText(parts: HookParts): string {
  const { name, program, command, isNoisy, isQuiet } = parts
  const words = [...program, ...(isQuiet ? [] : ['--quiet']), ...command.map(({ text }) => text)]
  const line = ['umask 077; flock', '-n', `"$HOME/.etrn-${name}.lock"`, ...words.map(quoteForCron)].join(' ')
  if (Buffer.byteLength(line) > CRON_LINE_OCTETS) {
    const limit = `a crontab's line has at most ${CRON_LINE_OCTETS} octets`
    throw new UsageError(`${limit}: put the names into a file, --names-from`)
  }
  const mailed = isNoisy
    ? '--json and --verbose print something each time, and cron mails it.'
    : 'cron mails what is printed, so only failures are: with --quiet twice, none that pass by themselves either.'
  return `# Asks for the mail that is held for this site (etrn(1)). Put these lines into your crontab: crontab -e
# ${mailed}
${nameNotes(parts)
  .map((note) => `# ${note}\n`)
  .join('')}# One run at a time, by the lock, which nobody else can open.
3-59/10 * * * * ${line}
`
}

/** Returns the comments on a name that is requested without being given. */
export function nameNotes({ impliedName }: HookParts): string[] {
  return impliedName === undefined ? [] : [`No name is given, so it requests ${impliedName}.`]
}

/**
 * Quotes a word for sh in a crontab. An unescaped % ends the command; cron removes the backslash before it, and Debian's removes one of
 * two, too (BusyBox's removes none). So a % stands outside of quotes, and no backslash follows another one.
 */
function quoteForCron(word: string): string {
  return quoteForShell(word)
    .replace(/\\(?=\\)/g, `\\''`)
    .replaceAll('%', word === quoteForShell(word) ? '\\%' : `'\\%'`)
}

/** Quotes a word for sh: single quotes hold everything but themselves. */
function quoteForShell(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}
