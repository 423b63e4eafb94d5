import { EXIT, StepError, UsageError } from '../errors.js'
import { type ServerArgument, parseServer } from '../input/server-address.js'
import type { CommandLine } from './arguments.js'
import type { Config, Profile } from './config.js'
import { type PartialOptions, type Options, OPTION_ROWS, settle } from './options.js'

/** Who is asked: a server, that of a profile, or the mail exchangers of a domain; and by which options. */
export type Target = {
  readonly server: ServerArgument
  /** The target's host is a domain. */
  readonly isMx: boolean
  readonly profile: Profile | undefined
  readonly options: Options
}

/**
 * What the command line means, with the configuration behind it. `warn` is told of a word that could have been meant for a profile.
 * Throws UsageError.
 */
export function resolveTargets(line: CommandLine, config: Config, warn: (message: string) => void): Target[] {
  const places = listTargets(line, config)
  const { options: said } = line
  if (said.self !== undefined && said.mx === undefined) throw new UsageError('--self belongs to --mx: type --mx DOMAIN')
  if (said.interval !== undefined && places.every(({ options }) => options.wait === undefined))
    throw new UsageError('--interval belongs to --wait: type --wait DUR')
  const known = [...config.profiles.keys()].slice(0, PROFILES_SHOWN).join(', ')
  for (const { profile, server: target, options } of places) {
    const isWord = profile === undefined && /^[\w-]+$/.test(target.word) && target.word !== 'localhost'
    // Without names it was most likely meant for one.
    if (isWord && (known !== '' || hasNoNames(options)))
      warn(
        `${target.word} is no profile (${known === '' ? 'there is none' : `there are: ${known}`}): taking it for a host`,
      )
  }
  return places
}

function hasNoNames({ names, subdomains, queue, 'names-from': files }: Options): boolean {
  return names.length + subdomains.length + queue.length + files.length === 0
}

/** Of a list in a message */
const PROFILES_SHOWN = 8

/** What the command line says, with its names. */
function typedOptions({ options: said, words }: CommandLine): PartialOptions {
  const names = said.mx === undefined ? words.slice(1) : words
  return names.length === 0 ? said : { ...said, names }
}

function listTargets(line: CommandLine, { top, profiles }: Config): Target[] {
  const { options: said, words } = line
  const { all, mx } = said
  if (all && mx !== undefined) throw new UsageError('--all and --mx exclude each other: type one of them')
  const servers = mx === undefined ? words[0] : undefined
  const typed = typedOptions(line)
  const place = (word: string): Target => {
    const profile = profiles.get(word)
    const options = settle(typed, profile?.options ?? {}, top)
    const target = { ...parseServer(profile?.server ?? word, options.port), ...(profile === undefined ? {} : { word }) }
    return { server: target, isMx: false, profile, options }
  }
  if (all) {
    if (servers !== undefined) throw new UsageError(`--all asks every profile: leave "${words.join(' ')}" out`)
    if (profiles.size > 0) return [...profiles.keys()].map(place)
    throw new UsageError('--all: no profile is there; a configuration has them: [servers.NAME]')
  }
  if (mx !== undefined) {
    const options = settle(typed, top)
    return [{ server: parseServer(mx, options.port), isMx: true, profile: undefined, options }]
  }
  if (servers === undefined) throw new UsageError('no server given: type etrn SERVER [NAME ...], or etrn --help')
  return removeRepeats(servers.split(',').map(place))
}

function removeRepeats(places: readonly Target[]): Target[] {
  const key = ({ server: target, profile }: Target): string =>
    profile?.source ?? JSON.stringify([target.host, target.port, target.isImplicitTls, target.user])
  return places.filter((place, index) => places.findIndex((other) => key(other) === key(place)) === index)
}

/** Whether a source says something of these things. */
export type Says = (layer: PartialOptions) => boolean

export const saysNames: Says = (layer) =>
  'names' in layer || [...OPTION_ROWS].some(([name, { unit }]) => unit === 'names' && name in layer)

/** How a server is asked */
export const saysOptions: Says = (layer) =>
  [...OPTION_ROWS].some(
    ([name, { scope: where, unit }]) =>
      name in layer && unit !== 'names' && (where === undefined || where === 'profile'),
  )

/**
 * Puts in front of what is wrong with a place where it is said; nothing where it may as well be the command line. What a profile can't
 * have is a StepError: others may be asked all the same.
 */
export async function blaming<T>(
  { profile, server: target }: Target,
  { line, config, says }: { readonly line: CommandLine; readonly config: Config; readonly says: Says },
  work: () => T | Promise<T>,
): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const isTyped = says(typedOptions(line)) || (profile === undefined && target.user !== undefined)
    const source = profile?.source ?? (says(config.top) ? config.source : undefined)
    if (!(error instanceof UsageError) || isTyped || source === undefined) throw error
    const message = `${source}: ${error.message}`
    const { exitStatus } = error
    if (profile !== undefined && exitStatus === EXIT.NOINPUT) throw new StepError(message, { exitStatus, cause: error })
    throw new UsageError(message, exitStatus === EXIT.USAGE ? EXIT.CONFIG : exitStatus, error)
  }
}
