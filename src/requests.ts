import type { Readable } from 'node:stream'
import type { CommandLine } from './command-line.js'
import type { Config, Profile } from './config.js'
import { ownName } from './dns.js'
import { DEFAULT_TIMEOUT_MS } from './exchange.js'
import { readText, streamText } from './files.js'
import { type Entry, namesOf, type NodeName, nodeName, withoutDuplicates } from './names.js'
import { type Layer, type Options, ROWS, settled } from './options.js'
import { EXIT, UsageError } from './outcome.js'
import type { Request } from './run.js'
import { serverOf, type Target } from './servers.js'
import type { PasswordSources } from './trust.js'

export type Around = PasswordSources & {
  /** What `--names-from -` reads */
  readonly input: Readable
}

/** The interval of --wait, in milliseconds */
const DEFAULT_INTERVAL_MS = 60_000

/** Who is asked: a server, a profile's, or the mail exchangers of a domain; and by which options. */
type Place = {
  readonly target: Target
  readonly isMx: boolean
  readonly profile: Profile | undefined
  readonly options: Options
}

/** What the command line and the configuration ask of whom. Throws UsageError. */
export async function requestsOf(line: CommandLine, config: Config, around: Around): Promise<Request[]> {
  const places = placesOf(line, config)
  checkLogin(line, places, around.environment)
  const entriesOf = entryReader(around)
  const { trusted } = await import('./trust.js')
  const own = await ownName()
  const requests: Request[] = []
  for (const { target, isMx, profile, options } of places) {
    // One after another: a password may be asked for on the terminal.
    const request = await blaming(profile, line.said, async () => ({
      server: await trusted(target, options, around),
      isMx,
      entries: await entriesOf(options, isMx ? target.host : undefined),
      settings: settingsOf(options, own, isMx),
      patience: {
        retryForMs: options['retry-for'] ?? 0,
        waitMs: options.wait ?? 0,
        intervalMs: options.interval ?? DEFAULT_INTERVAL_MS,
      },
    }))
    requests.push(request)
  }
  return requests
}

/** Refuses what would be refused when the line is run, without reading what it names. */
export async function checkLine(line: CommandLine, config: Config): Promise<void> {
  for (const { options } of placesOf(line, config)) await namesIn(options)
}

function placesOf({ said, words }: CommandLine, { top, profiles }: Config): Place[] {
  const { all, mx, wait } = settled(said, top)
  if (all && mx !== undefined) throw new UsageError('--all and --mx exclude each other: type one of them')
  if (said.self !== undefined && mx === undefined) throw new UsageError('--self belongs to --mx: type --mx DOMAIN')
  if (said.interval !== undefined && wait === undefined) {
    throw new UsageError('--interval belongs to --wait: type --wait DUR')
  }
  const servers = mx === undefined ? words[0] : undefined
  const names = mx === undefined ? words.slice(1) : words
  const line = names.length === 0 ? said : { ...said, names }
  const place = (word: string): Place => {
    const profile = profiles.get(word)
    const options = settled(line, profile?.said ?? {}, top)
    const target = { ...serverOf(profile?.server ?? word, options.port), ...(profile === undefined ? {} : { word }) }
    return { target, isMx: false, profile, options }
  }
  if (all) {
    if (servers !== undefined) throw new UsageError(`--all asks every profile: leave "${words.join(' ')}" out`)
    if (profiles.size === 0)
      throw new UsageError('--all: no profile is there; a configuration has them: [servers.NAME]')
    return [...profiles.keys()].map(place)
  }
  if (mx !== undefined) {
    const options = settled(line, top)
    return [{ target: serverOf(mx, options.port), isMx: true, profile: undefined, options }]
  }
  if (servers === undefined) throw new UsageError('no server given: type etrn SERVER [NAME ...], or etrn --help')
  return withoutRepeats(servers.split(',').map(place))
}

function withoutRepeats(places: readonly Place[]): Place[] {
  const key = ({ target, profile }: Place): string =>
    profile?.source ?? JSON.stringify([target.host, target.port, target.isImplicitTls, target.user])
  return places.filter((place, index) => places.findIndex((other) => key(other) === key(place)) === index)
}

/** A login belongs to one server, and an unsigned DNS must not say which. */
function checkLogin({ said }: CommandLine, places: readonly Place[], environment: string | undefined): void {
  const isSaid = [...ROWS].some(([name, { where }]) => where === 'profile' && name in said)
  const isInUrl = places.some(({ target, profile }) => profile === undefined && target.user !== undefined)
  const takesEnvironment = places.some(({ options }) => {
    const hasSource = options['password-file'] !== undefined || options['password-command'] !== undefined
    return environment !== undefined && options.user !== undefined && !hasSource
  })
  if (!isSaid && !isInUrl && !takesEnvironment) return
  if (places.length > 1) throw new UsageError('a login belongs to one server: ask the others in a run of their own')
  const [first] = places
  const { 'tls-name': name, 'tls-fingerprint': pin } = first?.options ?? {}
  if (first?.isMx && name === undefined && pin === undefined)
    throw new UsageError(
      'with --mx a login needs --tls-name or --tls-fingerprint too, since anybody could answer for the DNS',
    )
}

/** Puts the profile in front of what is wrong with it. */
async function blaming<T>(profile: Profile | undefined, said: Layer, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (profile === undefined || !(error instanceof UsageError)) throw error
    // Whoever typed options of this server's may have typed the wrong ones.
    const isTyped = [...ROWS].some(([name, { where }]) => where === undefined && name in said)
    const exitStatus = error.exitStatus === EXIT.USAGE && !isTyped ? EXIT.CONFIG : error.exitStatus
    throw new UsageError(`${profile.source}: ${error.message}`, exitStatus, error)
  }
}

/** What holds for every session with one server. */
function settingsOf(options: Options, own: string | undefined, isMx: boolean): Request['settings'] {
  const { ipv4, ipv6, helo } = options
  if (ipv4 && ipv6) throw new UsageError('-4 and -6 exclude each other: type one of them, or none for both')
  const self = [own, helo, ...options.self].flatMap((name) => name?.toLowerCase() ?? [])
  return {
    helo: helo ?? own,
    self: isMx ? self : [],
    local: options.interface,
    family: ipv4 ? 4 : ipv6 ? 6 : undefined,
    timeoutMs: options.timeout ?? DEFAULT_TIMEOUT_MS,
    assumeEtrn: options['assume-etrn'],
    keepGoing: options['keep-going'],
  }
}

/**
 * Reads the names of a place, in the order: words, --subdomains, --queue, --names-from; else the domain of --mx, else this host's
 * own name (RFC 1985, section 6). Standard input can be read only once: what several places have in common is read once.
 */
function entryReader({
  input,
  warn,
  signal,
}: Around): (options: Options, domain?: string) => Promise<readonly Entry[]> {
  const known = new Map<string, Promise<Entry[]>>()
  const read = async (options: Options, domain?: string): Promise<Entry[]> => {
    const rules = { allowWide: options['allow-wide'] }
    const named = await namesIn(options)
    const listed = await Promise.all(
      options['names-from'].map(async (file) => {
        if (file === '-') return namesOf(await streamText(input, signal), 'standard input', rules)
        return namesOf(await readText('--names-from', file, signal), file, rules)
      }),
    )
    const entries: Entry[] = [...named, ...listed.flat()]
    if (entries.length > 0) return withoutDuplicates(entries)
    const own = domain ?? (await ownName())
    // There is enough to be looked at without a name.
    if (own === undefined && options.check) return []
    if (own === undefined) {
      throw new UsageError("no name given, and this host's own is not one that others know: type etrn SERVER NAME")
    }
    if (domain === undefined) warn(`no name given: asking for ${own}`)
    return [await nodeName(own, rules)]
  }
  return async (options, domain) => {
    const { names, subdomains, queue, 'names-from': files, 'allow-wide': isWide } = options
    const key = JSON.stringify([names, subdomains, queue, files, isWide, domain])
    const entries = known.get(key) ?? read(options, domain)
    known.set(key, entries)
    return entries
  }
}

async function namesIn({ names, subdomains, queue, 'allow-wide': allowWide }: Options): Promise<NodeName[]> {
  const given = [
    ...names,
    ...subdomains.map((node) => marked('--subdomains', '@', node)),
    ...queue.map((word) => marked('--queue', '#', word)),
  ]
  return Promise.all(given.map(async (word) => nodeName(word, { allowWide })))
}

function marked(option: string, mark: string, name: string): string {
  if (name.startsWith(mark)) throw new UsageError(`${option} says the ${mark} already: leave it out`)
  return mark + name
}
