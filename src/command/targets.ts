import { UsageError } from '../errors.js'
import { parseServer, type ServerArgument } from '../input/server-address.js'
import type { CommandLine } from './arguments.js'
import type { Config, Profile } from './config.js'
import { settleOptions, type SettledOptions } from './option-sources.js'
import type { Options, PartialOptions } from './options.js'

/** A server to send requests to, that of a profile, or the mail exchangers of a domain; and the options that count for it. */
export type Target = SettledOptions & {
  /** If isMx is true, its host is the domain. */
  readonly server: ServerArgument
  readonly isMx: boolean
  readonly profile: Profile | undefined
}

/** The most profiles in a message */
const PROFILES_SHOWN = 8

/** Returns the targets of a command line. Warns of a word that may have been meant for a profile. Throws UsageError. */
export function resolveTargets(line: CommandLine, config: Config, warn: (message: string) => void): Target[] {
  const targets = listTargets(line, config)
  const { self, mx, interval } = line.options
  if (self !== undefined && mx === undefined) throw new UsageError('--self belongs to --mx: type --mx DOMAIN')
  if (interval !== undefined && targets.every(({ options }) => options.wait === undefined))
    throw new UsageError('--interval belongs to --wait: type --wait DUR')
  const known = [...config.profiles.keys()].slice(0, PROFILES_SHOWN).join(', ')
  for (const { profile, server, options } of targets) {
    const isWord = profile === undefined && /^[\w-]+$/.test(server.word) && server.word !== 'localhost'
    if (!isWord || (known === '' && !hasNoNames(options))) continue
    const profiles = known === '' ? 'there is none' : `there are: ${known}`
    warn(`${server.word} is no profile (${profiles}): taking it for a host`)
  }
  return targets
}

function hasNoNames({ names, subdomains, queue, 'names-from': files }: Options): boolean {
  return names.length + subdomains.length + queue.length + files.length === 0
}

/** Returns the options on the command line, NAME arguments included. */
function typedOptions({ options, words }: CommandLine): PartialOptions {
  const names = options.mx === undefined ? words.slice(1) : words
  return names.length === 0 ? options : { ...options, names }
}

function listTargets(line: CommandLine, { tops, profiles }: Config): Target[] {
  const { all, mx } = line.options
  if (all && mx !== undefined) throw new UsageError('--all and --mx exclude each other: type one of them')
  const typed = { options: typedOptions(line) }
  if (mx !== undefined) {
    const settled = settleOptions([typed, ...tops])
    return [{ ...settled, server: parseServer(mx, settled.options.port), isMx: true, profile: undefined }]
  }
  const targetOf = (word: string): Target => {
    const profile = profiles.get(word)
    const settled = settleOptions([typed, profile ?? [], tops].flat())
    const server = parseServer(profile?.server ?? word, settled.options.port)
    return { ...settled, server: profile === undefined ? server : { ...server, word }, isMx: false, profile }
  }
  const [servers] = line.words
  if (all) {
    if (servers !== undefined) throw new UsageError(`--all asks every profile: leave "${line.words.join(' ')}" out`)
    if (profiles.size > 0) return [...profiles.keys()].map(targetOf)
    throw new UsageError('--all: no profile is there; a configuration has them: [servers.NAME]')
  }
  if (servers === undefined) throw new UsageError('no server given: type etrn SERVER [NAME ...], or etrn --help')
  return removeRepeats(servers.split(',').map(targetOf))
}

function removeRepeats(targets: readonly Target[]): Target[] {
  const isSame = (a: Target, b: Target): boolean => {
    if (a.profile !== undefined || b.profile !== undefined) return a.profile === b.profile
    const { host, port, isImplicitTls, user } = a.server
    const other = b.server
    return host === other.host && port === other.port && isImplicitTls === other.isImplicitTls && user === other.user
  }
  return targets.filter((target, index) => targets.findIndex((other) => isSame(other, target)) === index)
}
