import { UsageError } from '../errors.js'
import type { Options } from './options.js'

export type HookKind = NonNullable<Options['hook']>

/** A word of the command line; a file name is absolute. */
export type CommandWord = { readonly text: string; readonly isPath?: true }

/** The texts that a hook is made of. Each of them is printable. */
export type HookParts = {
  /** The absolute paths of node and etrn: mechanisms have a PATH of their own, or none. */
  readonly program: readonly string[]
  /** Names the server or domain; part of file names */
  readonly name: string
  readonly command: readonly CommandWord[]
  /** The names that are requested because none is given */
  readonly impliedNames: readonly string[]
  /** The interface that all requests use; undefined if there is none, or if they differ */
  readonly interface: string | undefined
  /** The options that keep cron's mail short, and a comment on what cron mails then */
  readonly cron: { readonly words: readonly string[]; readonly note: string }
  /** The configuration that is read, unless there are several */
  readonly config: string | undefined
  /** The files that options name, absolute and as the configuration writes them */
  readonly files: readonly { readonly path: string; readonly word: string }[]
}

type Script = {
  readonly file: string
  readonly attempt: (file: string, local: string) => string
  readonly notes: readonly string[]
  /** Ends a script that has nothing to do */
  readonly guard: string
  /** The shell variable that names the interface */
  readonly interfaceVariable: string
  /** The caller may name no interface. */
  readonly isInterfaceOptional?: true
  /** The caller reads the file into its own shell, and the file may have other lines. */
  readonly isSourced?: true
}

/** The mechanisms that run scripts; `attempt` is the command that runs the script once by hand. */
const SCRIPTS: Readonly<Record<Exclude<HookKind, 'cron' | 'systemd'>, Script>> = {
  pppd: {
    file: '/etc/ppp/ip-up.d/etrn',
    attempt: (file, local) => `${file} ${local}`,
    notes: [
      'Debian: run-parts skips files with a dot in their names. Arch and Gentoo: only scripts named',
      '/etc/ppp/ip-up.d/*.sh run, so save the script as etrn.sh.',
      'pppd passes the interface as $1, gives the script an empty environment, and waits for the script.',
    ],
    guard: '',
    interfaceVariable: '1',
  },
  ifupdown: {
    file: '/etc/network/if-up.d/etrn',
    attempt: (file, local) => `IFACE=${local} ${file}`,
    notes: [
      'ifup passes the interface as IFACE, and waits for the script. It runs the script once per address family, and',
      'also for lo and --all, which the next line skips.',
    ],
    guard: '\ncase ${IFACE-} in lo | --all) exit 0 ;; *) ;; esac\n',
    interfaceVariable: 'IFACE',
  },
  networkmanager: {
    file: '/etc/NetworkManager/dispatcher.d/50-etrn',
    attempt: (file, local) => `${file} ${local} up`,
    notes: [
      'The file must belong to root, and no other user may write to it.',
      'NetworkManager passes the interface as $1 and the action as $2, and waits for the script.',
    ],
    guard: '\n[ "${2-}" = up ] || exit 0\n[ "${1-}" != lo ] || exit 0\n',
    interfaceVariable: '1',
  },
  networkd: {
    file: '/etc/networkd-dispatcher/routable.d/50-etrn',
    attempt: (file, local) => `IFACE=${local} ${file}`,
    notes: [
      'networkd-dispatcher skips a script unless the script and its directory belong to root:root and have mode 755.',
      'The service does not start without a script. After you save the first script, run: systemctl restart networkd-dispatcher',
      'networkd-dispatcher passes the interface as IFACE, and waits for the script.',
    ],
    guard: '\n[ "${IFACE-}" != lo ] || exit 0\n',
    interfaceVariable: 'IFACE',
  },
  dhcpcd: {
    file: '/etc/dhcpcd.exit-hook',
    attempt: (file, local) => `interface=${local} reason=BOUND sh ${file}`,
    notes: [
      'dhcpcd passes interface and reason, reads the file into its own shell, and waits. The parentheses start a',
      'subshell, so that nothing here changes or ends the shell of dhcpcd.',
      'The list of reasons leaves out renewals. If all addresses come from router advertisements, add ROUTERADVERT.',
    ],
    guard: `
case \${reason-} in
  BOUND | BOUND6 | REBOOT | REBOOT6 | INFORM | INFORM6 | STATIC | TIMEOUT) ;;
  *) exit 0 ;;
esac
[ "\${interface-}" != lo ] || exit 0
`,
    interfaceVariable: 'interface',
    isSourced: true,
  },
  script: {
    file: '/usr/local/sbin/etrn-up',
    attempt: (file, local) => `${file} ${local}`,
    notes: [
      'wg-quick: in the [Interface] section, add: PostUp = /usr/local/sbin/etrn-up %i',
      'OpenVPN: add the lines "script-security 2" and "up /usr/local/sbin/etrn-up".',
      'OpenVPN with user or chroot: also add persist-tun, so that a reconnection does not run the script',
      'without root privileges.',
      'cloud-init, to run the script at each boot: ln -s /usr/local/sbin/etrn-up /var/lib/cloud/scripts/per-boot/etrn',
      'The caller may pass the interface as $1. The exit status is always 0, because a failure would bring down the VPN.',
    ],
    guard: '\n[ "${1-}" != lo ] || exit 0\n',
    interfaceVariable: '1',
    isInterfaceOptional: true,
  },
}

export function scriptText(kind: keyof typeof SCRIPTS, parts: HookParts): string {
  const { file, attempt, notes, isSourced } = SCRIPTS[kind]
  const word = quoteForShell(parts.interface ?? 'ppp0')
  const [save, mode] = isSourced ? ['append this script to', '644'] : ['save this script as', '755']
  const body = scriptBody(SCRIPTS[kind], parts, word)
  return `#!/bin/sh
# Requests the mail queued for this site when a network link comes up; see etrn(1).
# As root, ${save} ${file}, and run: chmod ${mode} ${file}
# To try the script once, run: ${attempt(file, word)}
# Each result goes to the system log as soon as it is final: journalctl -t etrn (facility mail)
${[...notes, ...nameNotes(parts)].map((note) => `# ${note}\n`).join('')}${isSourced ? `(${body})\n` : body}`
}

function scriptBody(script: Script, { name, program, command, interface: local }: HookParts, word: string): string {
  const { guard, interfaceVariable: variable, isInterfaceOptional } = script
  const only = `${isInterfaceOptional ? `[ -z "\${${variable}-}" ] || ` : ''}[ "\${${variable}-}" = ${word} ] || exit 0`
  const words = [...program, ...command.map(({ text }) => text)].map(quoteForLauncher)
  const isExpanded = words.some((text) => text.includes(DOLLAR))
  return `${guard}
# ${local === undefined ? 'To run on one interface only, remove the # from the next line.' : 'Run on this interface only.'}
${local === undefined ? '# ' : ''}${only}

PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
# Keep other users from opening the lock file, and so from blocking this script.
umask 077

# The caller may limit or end the programs that it starts. If present, systemd runs the command in a unit of its own.
set -- setsid
${isExpanded ? `dollar='$'\n` : ''}if [ -d /run/systemd/system ]; then
  set -- systemd-run --quiet --collect --no-block --property=UMask=0077 \\
    --property=SyslogIdentifier=etrn --property=SyslogFacility=mail
${isExpanded ? `  # systemd expands a single dollar sign.\n  dollar='$$'\n` : ''}fi

# Run in the background, because the caller waits for this script. flock allows one run at a time.
{
  "$@" flock -n ${quoteForShell(`/run/etrn-${name}.lock`)} \\
    ${words.join(' ')} 2>&1 |
    logger -t etrn -p mail.info
} </dev/null >/dev/null 2>&1 &
`
}

const DOLLAR = `'"$dollar"'`

/** Quotes a word for sh. Each dollar sign is a variable, because systemd-run needs two of them. */
const quoteForLauncher = (word: string): string => quoteForShell(word).replaceAll('$', () => DOLLAR)

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
  return `# Every ten minutes, requests the mail queued for this site; see etrn(1).
# Add these lines to your crontab with: crontab -e
# The command prints nothing on success. It retries temporary failures, so a trial can take some minutes.
# To try the command once, run: crontab -l | grep '^[^#].*/\\.etrn-${name}' | cut -d ' ' -f 6- | sh
# cron mails any output: ${cron.note}
${nameNotes(parts)
  .map((note) => `# ${note}\n`)
  .join('')}# flock allows one run at a time. Other users can't open the lock file.
3-59/10 * * * * ${line}
`
}

/** Returns the comments on names that are requested without being given. */
export function nameNotes({ impliedNames }: HookParts): string[] {
  return impliedNames.length === 0 ? [] : [`No NAME was given: this hook requests ${impliedNames.join(', ')}.`]
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
