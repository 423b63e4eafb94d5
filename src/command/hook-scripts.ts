import { UsageError } from '../errors.js'
import type { HookParts } from './hook.js'

/**
 * The mechanisms that run scripts. The guard ends a script that has nothing to do; the shell variable names the interface. `attempt` is the
 * command that runs the script once by hand.
 */
const SCRIPTS = {
  pppd: {
    file: '/etc/ppp/ip-up.d/etrn',
    attempt: (file: string, local: string) => `${file} ${local}`,
    notes: [
      'Debian: run-parts skips files with a dot in their names. Arch and Gentoo: only /etc/ppp/ip-up.d/*.sh run,',
      'so save the script as etrn.sh.',
      'pppd passes the interface as $1 and an empty environment, and waits for the script.',
    ],
    guard: '',
    interfaceVariable: '1',
  },
  ifupdown: {
    file: '/etc/network/if-up.d/etrn',
    attempt: (file: string, local: string) => `IFACE=${local} ${file}`,
    notes: [
      'ifup passes the interface as IFACE, and waits for the script. It runs the script once per address family, and',
      'also for lo and --all, which the next line skips.',
    ],
    guard: '\ncase ${IFACE-} in lo | --all) exit 0 ;; *) ;; esac\n',
    interfaceVariable: 'IFACE',
  },
  networkmanager: {
    file: '/etc/NetworkManager/dispatcher.d/50-etrn',
    attempt: (file: string, local: string) => `${file} ${local} up`,
    notes: [
      'The file must belong to root, and no other user may write to it.',
      'NetworkManager passes the interface as $1 and the action as $2, and waits for the script.',
    ],
    guard: '\n[ "${2-}" = up ] || exit 0\n[ "${1-}" != lo ] || exit 0\n',
    interfaceVariable: '1',
  },
} as const

export function scriptText(kind: keyof typeof SCRIPTS, parts: HookParts): string {
  const { name, program, command, interface: local } = parts
  const { file, attempt, notes, guard, interfaceVariable } = SCRIPTS[kind]
  const words = [...program, ...command.map(({ text }) => text)].map(quoteForShell)
  const word = quoteForShell(local ?? 'ppp0')
  const only = `[ "\${${interfaceVariable}-}" = ${word} ] || exit 0`
  return `#!/bin/sh
# Requests the mail queued for this site when a network link comes up; see etrn(1).
# Save this script as ${file}, and run: chmod 755 ${file}
# To try the script once, run: ${attempt(file, word)}
# The output is in the system log: journalctl -t etrn
${[...notes, ...nameNotes(parts)].map((note) => `# ${note}\n`).join('')}${guard}
# ${local === undefined ? 'To run on one interface only, remove the # from the next line.' : 'Run on this interface only.'}
${local === undefined ? '# ' : ''}${only}

PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
# Keep other users from opening the lock file, and so from blocking this script.
umask 077

# Run in the background, because the caller waits for this script. flock allows one run at a time.
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
  const { name, program, command, cron } = parts
  const words = [...program, ...cron.words, ...command.map(({ text }) => text)]
  const line = ['umask 077; flock', '-n', `"$HOME/.etrn-${name}.lock"`, ...words.map(quoteForCron)].join(' ')
  if (Buffer.byteLength(line) > CRON_LINE_OCTETS) {
    const problem = `the crontab line would have more than ${CRON_LINE_OCTETS} octets`
    throw new UsageError(`${problem}; write the names to a file and use --names-from FILE`)
  }
  return `# Requests the mail queued for this site every ten minutes; see etrn(1).
# Add these lines to your crontab with: crontab -e
# To try the command once, start sh, and run the part from "umask" on.
# cron mails any output: ${cron.note}
${nameNotes(parts)
  .map((note) => `# ${note}\n`)
  .join('')}# flock allows one run at a time. Other users can't open the lock file.
3-59/10 * * * * ${line}
`
}

/** Returns the comments on a name that is requested without being given. */
export function nameNotes({ impliedName }: HookParts): string[] {
  return impliedName === undefined ? [] : [`No NAME was given: this hook requests ${impliedName}.`]
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
