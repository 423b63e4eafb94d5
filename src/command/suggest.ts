import { closest, distance } from 'fastest-levenshtein'
import { UsageError } from '../errors.js'
import { printable } from '../printable.js'
import { formatOption, OPTION_ROWS } from './options.js'

// A file of its own: only a run that fails needs it.

const SERVER = 'SERVER, the first argument (etrn SERVER NAME)'
const NAME = 'NAME, the second argument (etrn SERVER NAME)'

/** The options of other mail and network tools, by the option of etrn that does the same */
export const FOREIGN_OPTIONS: readonly (readonly [advice: string, words: string])[] = [
  [SERVER, 'host server smtp-server smtphost mailhost mail-server smarthost remote-host url relay remote target'],
  [`${SERVER}, or --helo NAME`, 'hostname'],
  [NAME, 'node nodes name site etrn rmqs X request mail-rcpt fetchdomains domains flush'],
  [`${NAME}, or --mx DOMAIN`, 'domain'],
  ['a profile as SERVER (etrn isp)', 'a account profile'],
  ['--all', 'all-servers all-profiles'],
  ['--subdomains NODE', 'wildcard'],
  ['--allow-wide', 'wide'],
  ['--port PORT', 'P service smtp-port'],
  ['--names-from FILE, or --config FILE', 'f file input input-file list'],
  ['--config FILE', 'C F K rc rcfile fetchmailrc conf config-file configuration'],
  ['--config FILE, or --check', 'c'],
  ['--helo NAME', 'ehlo hello helo-name ehlo-name local-name fqdn lhlo'],
  ['--check', 'n dry-run dryrun simulate test pretend serverinfo server-info capabilities ping S probe quit-after'],
  ['--verbose', 'd debug trace trace-ascii D log-level loglevel verbosity'],
  ['--quiet', 's silent'],
  ['--json, or a shell redirection (>FILE)', 'o out output output-file format log logfile log-file L syslog'],
  ['--user NAME', 'u U username login auth-user authuser au'],
  ['--password-file FILE, or --password-command COMMAND', 'pass passwd password passphrase secret auth-password ap'],
  ['--password-file FILE', 'passfile pass-file passwd-file'],
  ['--password-command COMMAND', 'passwordeval password-eval password-cmd passcmd pass-command'],
  ['--auth MECHANISM', 'mechanism auth-mech authmech sasl'],
  ['--auth XOAUTH2, or --auth OAUTHBEARER', 'oauth oauth2 oauth2-bearer xoauth2 oauthbearer bearer token'],
  ['smtps://SERVER, or --tls encrypt', 'ssl smtps implicit-tls tls-on-connect tlsc'],
  ['--tls encrypt', 'starttls tls-starttls use-tls use-starttls ssl-reqd require-tls tls-required force-tls sslproto'],
  ['--tls may', 'tls-optional opportunistic'],
  ['--tls none', 'no-tls no-starttls no-ssl tls-off disable-tls plaintext'],
  ['--tls verify', 'sslcertck tls-verify verify verify-cert'],
  [
    '--tls encrypt, or --tls-fingerprint SHA256',
    'insecure no-verify no-check-certificate no-tls-verify tls-certcheck skip-verify tls-skip-verify ignore-cert',
  ],
  ['--tls-ca FILE', 'ca cacert cafile ca-file ca-bundle capath tls-trust-file sslcertfile'],
  ['--tls-fingerprint SHA256', 'fingerprint pin pinnedpubkey sslfingerprint'],
  ['--tls-cert FILE', 'E cert certificate client-cert tls-cert-file sslcert'],
  ['--tls-key FILE', 'key tls-key-file sslkey'],
  [
    '--tls-min VERSION',
    'tls-protocols tls-protocol tls-version ssl-version min-tls tlsv1.0 tlsv1.1 tlsv1.2 tlsv1.3 tlsv1',
  ],
  ['--tls-name NAME', 'sni tls-sni tls-host-override sslcommonname servername'],
  ['--interface ADDR', 'I bind bind-address source source-ip source-address local-address local-interface iface li'],
  ['--ipv4', 'inet4 inet4-only ipv4-only prefer-ipv4'],
  ['--ipv6', 'inet6 inet6-only ipv6-only prefer-ipv6'],
  ['--timeout DUR', 't connect-timeout read-timeout'],
  ['--max-time DUR', 'm deadline max-runtime total-timeout time-limit'],
  [
    '--retry-for',
    'r retry retries max-retries tries attempts retry-max-time retry-delay retry-all-errors retry-connrefused',
  ],
  ['--interval DUR', 'poll-interval'],
  ['--wait 30m', 'w watch loop until-empty'],
  ['--wait-local 2m', 'b'],
  ['--jobs N', 'j parallel threads concurrency connections sessions max-sessions max-connections'],
  ['--keep-going', 'continue force ignore-errors'],
  ['--hook systemd, or --hook cron', 'daemon background fork detach cron systemd timer install'],
  ['--color never', 'no-color no-colour nocolor'],
  ['--help', '? H usage man'],
]

/** Returns the error for an unknown option, with what was probably meant. */
export function unknownOption(name: string, word: string): UsageError {
  const known = [...OPTION_ROWS.keys()]
  // -version probably means --version, and -debug another tool's --debug.
  const bare = word.slice(1)
  const isWord = bare.length > 1 && (known.includes(bare) || foreignAdvice(bare) !== undefined)
  const meant = isWord ? bare : name
  const near = meant.length > 1 ? nearest(meant, known) : undefined
  const advice = foreignAdvice(meant) ?? (near === undefined ? undefined : formatOption(near))
  const isLetter = name.length === 1 && !word.startsWith('--') && !isWord
  const shown = printable(isLetter ? `-${name}` : word.replace(/=.*/s, ''))
  const next = advice === undefined ? 'etrn --help --verbose lists all options' : `did you mean ${advice}?`
  return new UsageError(`unknown option ${shown}; ${next}`)
}

/** Returns the equivalent of an option of another tool; undefined if it is unknown. */
export function foreignAdvice(name: string): string | undefined {
  const word = name.length > 1 ? name.toLowerCase() : name
  return FOREIGN_OPTIONS.find(([, words]) => words.split(' ').includes(word))?.[0]
}

/** Returns the key of a configuration file that was probably meant; undefined if none is near. */
export function nearestKey(key: string, known: readonly string[]): string | undefined {
  const sameKey = differentCase(key, known)
  if (sameKey !== undefined) return sameKey
  const advice = foreignAdvice(key) ?? ''
  const words = [...advice.matchAll(/--([a-z0-9-]+)/g)].map(([, name = '']) => name)
  if (advice.startsWith(SERVER)) words.push('server')
  if (advice.startsWith(NAME)) words.push('names')
  return words.find((word) => known.includes(word)) ?? nearest(key, known)
}

/** The options that are commands in other tools. `help`, `version` and `all` mean them only if nothing follows. */
const COMMANDS = ['help', 'version', 'all', 'check', 'hook', 'completion']
const COMMANDS_WITH_ARGUMENTS = COMMANDS.slice(3)

/** Returns the error for a SERVER that is probably a mistyped option or profile; undefined for any other word. */
export function mistakenServer(word: string, isAlone: boolean, profiles: readonly string[]): UsageError | undefined {
  const isCommand = (isAlone ? COMMANDS : COMMANDS_WITH_ARGUMENTS).includes(word)
  const meant = isCommand ? `etrn ${formatOption(word)}` : nearest(word, profiles)
  if (meant === undefined) return undefined
  return new UsageError(`no profile "${word}"; did you mean ${meant}?`, {
    hint: `if ${word} is a host name, write smtp://${word}`,
  })
}

/** Returns the candidate that a mistyped word was probably meant for; undefined if none is near. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const typed = word.toLowerCase()
  const byLowerCase = new Map(candidates.map((candidate) => [candidate.toLowerCase(), candidate]))
  const known = [...byLowerCase.keys()]
  const longer = known.find((candidate) => typed.length > 2 && candidate.startsWith(typed))
  const shorter = known.filter((candidate) => candidate.length > 3 && typed.startsWith(candidate))
  const reordered = known.find((candidate) => isReordered(typed, candidate))
  const near = reordered ?? (known.length === 0 ? undefined : closest(typed, known))
  const isMeant = near !== undefined && isNear(typed, near)
  const found =
    differentCase(typed, known) ?? longer ?? (isMeant ? near : shorter.toSorted((a, b) => b.length - a.length)[0])
  return byLowerCase.get(found ?? '')
}

/** Returns the candidate that differs from the word in case at most; undefined if there is none. */
function differentCase(word: string, candidates: readonly string[]): string | undefined {
  return candidates.find((candidate) => candidate.toLowerCase() === word.toLowerCase())
}

/** Returns true if a third of the letters differ at most, in each part of a word with hyphens, or if only their order does. */
function isNear(word: string, candidate: string): boolean {
  const [parts, others] = [word.split('-'), candidate.split('-')]
  const differs = (part: string, index: number): boolean =>
    distance(part, others[index] ?? '') > Math.max(1, part.length / 3) && !isReordered(part, others[index] ?? '')
  if (isReordered(word, candidate)) return true
  if (parts.length === others.length && parts.some(differs)) return false
  return distance(word, candidate) <= Math.max(word.length, candidate.length) / 3
}

function isReordered(word: string, candidate: string): boolean {
  const sort = (text: string): string => Array.from(text).sort().join('')
  return sort(word) === sort(candidate)
}
