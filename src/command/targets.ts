import { EXIT, UsageError } from '../errors.js'
import { hidePassword } from '../input/hide-password.js'
import { parseServer, type ServerArgument } from '../input/server-address.js'
import { familyOf } from '../net/address.js'
import { hasFinalDot, isQualifiedDomain } from '../net/domain.js'
import { printable } from '../printable.js'
import type { SessionError } from '../smtp/errors.js'
import type { CommandLine } from './arguments.js'
import type { Config, Profile } from './config.js'
import { type SettledOptions, settleOptions } from './option-sources.js'

/** A server to send requests to, that of a profile, or the mail exchangers of a domain; and the options that count for it. */
export type Target = SettledOptions & {
  /** If isMx is true, its host is the domain. */
  readonly server: ServerArgument
  readonly isMx: boolean
  readonly profile: Profile | undefined
}

/** Returns the user name to log in with: that of --user, else that in the server's URL. */
export function userOf({ server, options }: Target): string | undefined {
  return options.user ?? server.user
}

/** Returns the option that gives the user name; a profile's `server` can have it, too. */
export function userOption({ options }: Target): string {
  return options.user === undefined ? 'server' : 'user'
}

const PROFILES_SHOWN = 8

/** Returns the targets of a command line. Warns about a word that may be a mistyped profile. Throws UsageError. */
export function resolveTargets(line: CommandLine, config: Config, warn: (message: string) => void): Target[] {
  const targets = listTargets(line, config)
  const { self, mx, interval } = line.options
  if (self !== undefined && mx === undefined) {
    const given = `--self ${self.join(' --self ')}`
    const {
      words: [, domain = 'DOMAIN'],
    } = line
    throw new UsageError(`--self works only with --mx; remove ${given}, or write etrn --mx ${domain} ${given}`)
  }
  if (interval !== undefined && targets.every(({ options }) => options.wait === undefined))
    throw new UsageError(
      '--interval works only with --wait: add, for example, --wait 30m, which repeats the request for at most 30 minutes, until no mail is waiting',
    )
  const known = [...config.profiles.keys()].slice(0, PROFILES_SHOWN).join(', ')
  for (const { profile, server, options } of targets) {
    const isWord = profile === undefined && isBareWord(server.word)
    const { names, subdomains, queue, 'names-from': files } = options
    const hasNames = [names, subdomains, queue, files].some((list) => list.length > 0)
    if (!isWord || (known === '' && hasNames)) continue
    const profiles = known === '' ? 'none is configured' : `known profiles: ${known}`
    warn(`etrn: warning: no profile "${server.word}" (${profiles}); using ${server.word} as a host name`)
  }
  return targets
}

/** Throws UsageError for a SERVER that is probably a mistyped option or profile. */
export async function checkServerWords({ options, words }: CommandLine, { profiles }: Config): Promise<void> {
  if (options.all) return
  if (options.mx !== undefined) {
    checkNoServer(words, options.mx, profiles)
    return
  }
  const [server = '', name = '', ...others] = words
  if (server.endsWith(',') || name.startsWith(','))
    throw new UsageError(
      `a comma between servers must have no blanks beside it; write etrn ${printable(words.join(' ').replace(/ ?, ?/g, ',').replace(/,$/, ''))}`,
    )
  for (const word of server.split(',')) {
    if (profiles.has(word) || !isBareWord(word)) continue
    const { mistakenServer } = await import('./suggest.js')
    const error = mistakenServer(word, words.length === 1, [...profiles.keys()])
    if (error !== undefined) throw error
  }
  const second = [name, ...others].find((word) => isBareWord(word) && profiles.has(word))
  if (second !== undefined && profiles.has(server) && !options['allow-wide'])
    throw new UsageError(`${second} is a profile; for several profiles, write etrn ${server},${second}`)
  if (profiles.has(name) && !profiles.has(server) && !options['allow-wide'])
    throw new UsageError(`${name} is a profile, and SERVER comes first; write etrn ${name} ${printable(server)}`)
}

/** Throws UsageError for a word beside --mx that is a server or looks like one. With a final dot it is a name. */
function checkNoServer(words: readonly string[], domains: readonly string[], profiles: Config['profiles']): void {
  const isWithin = (name: string): boolean => domains.some((domain) => `.${name.toLowerCase()}`.endsWith(`.${domain}`))
  const isAddress = (word: string): boolean => familyOf(word) !== 0 || /^\[|:\/\/|:\d+$/.test(word)
  for (const word of words) {
    const isLikely = looksLikeServer(word) && isQualifiedDomain(word) && !isWithin(word) && !hasFinalDot(word)
    if (!isLikely && !profiles.has(word) && !isAddress(word)) continue
    const hint = isLikely
      ? `if ${word} is a name to request, write it with a final dot: ${domains.map((domain) => `--mx ${domain}`).join(' ')} ${word}.`
      : undefined
    throw new UsageError(`--mx finds the servers in DNS, so omit ${hidePassword(word)}`, { hint })
  }
}

/** Returns true for a host name like those that providers give to their mail servers: mail, mx2, smtp-out. */
function looksLikeServer(name: string): boolean {
  return /^(?:[a-z]{1,8}-)?(?:mail|smtp|mx|mta|relay)(?:-?[a-z]?\d{0,3}|-[a-z]{1,8}\d{0,3})\./i.test(name)
}

/** Returns a hint if a server fails because SERVER and NAME are probably swapped, or SERVER is missing; undefined otherwise. */
export function swapHint(
  [server = '', ...names]: readonly string[],
  failures: readonly Pick<SessionError, 'stage' | 'exitStatus'>[],
): string | undefined {
  const isCertain = failures.some(({ exitStatus }) => exitStatus === EXIT.NOHOST)
  const [first] = names
  const name = looksLikeServer(server) ? first : (names.find(looksLikeServer) ?? first)
  if (name === undefined) {
    const isName = isCertain && isQualifiedDomain(server) && !looksLikeServer(server)
    return isName ? `hint: if ${server} is the name to request, write etrn SERVER ${server}` : undefined
  }
  if (![server, name].every((word) => isQualifiedDomain(word))) return undefined
  const command = `try etrn ${[name, server, ...names.filter((other) => other !== name)].map(printable).join(' ')}`
  const isOpposite = looksLikeServer(name) && !looksLikeServer(server)
  const isUnavailable = failures.some(({ exitStatus }) => exitStatus === EXIT.UNAVAILABLE)
  if (isOpposite && isUnavailable) return `hint: if SERVER and NAME are the wrong way round, ${command}`
  // A server has a name within a domain: with a shorter NAME behind it, SERVER is rather misspelt.
  const isDeeper = server.split('.').length > name.split('.').length
  const isUnknown = isCertain && !isDeeper && (looksLikeServer(name) || !looksLikeServer(server))
  const isUnreachable = isOpposite && failures.some(({ stage }) => stage === 'connect')
  return isUnknown || isUnreachable ? `hint: SERVER and NAME seem to be the wrong way round; ${command}` : undefined
}

/** Returns a hint if a server doesn't exist that may be a profile in a file which could not be read; undefined otherwise. */
export function unreadHint(
  [servers = '']: readonly string[],
  failures: readonly Pick<SessionError, 'exitStatus'>[],
  file: string | undefined,
): string | undefined {
  const word = servers.split(',').find(isBareWord)
  const isUnknown = failures.some(({ exitStatus }) => exitStatus === EXIT.NOHOST)
  if (file === undefined || word === undefined || !isUnknown) return undefined
  return `hint: ${word} may be a profile in ${printable(file)}, which this user can't read`
}

/** Returns true for a word that a profile could have as its name. */
export function isBareWord(word: string): boolean {
  return /^[\w-]+$/.test(word) && word !== 'localhost'
}

function listTargets({ options, words }: CommandLine, { tops, profiles }: Config): Target[] {
  const { all, mx } = options
  const names = mx === undefined ? words.slice(1) : words
  const typed = { options: names.length === 0 ? options : { ...options, names } }
  // Servers without a profile share their options: there can be thousands of servers.
  const common = settleOptions([typed, ...tops])
  if (mx !== undefined) {
    const serverOf = (domain: string): ServerArgument => parseServer(domain, common.options.port)
    return removeRepeats(mx.map((domain) => ({ ...common, server: serverOf(domain), isMx: true, profile: undefined })))
  }
  const targetOf = (word: string): Target => {
    const profile = profiles.get(word)
    const settled = profile === undefined ? common : settleOptions([typed, profile, ...tops])
    const server = parseServer(profile?.server ?? word, settled.options.port)
    // The server is no option, but errors about its user are located like those of one.
    const sourceOf: Target['sourceOf'] = (option) => (option === 'server' ? profile : settled.sourceOf(option))
    return { ...settled, sourceOf, server: profile === undefined ? server : { ...server, word }, isMx: false, profile }
  }
  const [servers] = words
  if (all) {
    if (servers !== undefined)
      throw new UsageError(
        '--all takes no SERVER or NAME; for all profiles, write etrn --all; for one server, write etrn SERVER NAME',
      )
    if (profiles.size > 0) return [...profiles.keys()].map(targetOf)
    throw new UsageError('--all needs a profile, but none is configured', {
      hint: `add a profile to ${options.config ?? 'the configuration file'}: [servers.isp], and below it server = "mail.isp.example"`,
    })
  }
  if (servers === undefined) throw new UsageError('no server given; write etrn SERVER NAME (see etrn --help)')
  return removeRepeats(servers.split(',').map(targetOf))
}

function removeRepeats(targets: readonly Target[]): Target[] {
  const keys = targets.map(({ profile, server: { word, host, port, isImplicitTls, user } }) =>
    profile === undefined ? JSON.stringify([host, port, isImplicitTls, user]) : word,
  )
  return targets.filter((_, index) => keys.indexOf(keys[index] ?? '') === index)
}
