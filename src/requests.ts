import type { Readable } from 'node:stream'
import type { CommandLine } from './command-line.js'
import type { Config } from './config.js'
import { DEFAULT_TIMEOUT_MS } from './deadline.js'
import { ownName } from './dns.js'
import type { Settings } from './exchange.js'
import { readText, streamText } from './files.js'
import { type Entry, namesOf, type NodeName, nodeName, withoutDuplicates } from './names.js'
import type { Options } from './options.js'
import { EXIT, SessionError, type Stage, StepError, UsageError } from './outcome.js'
import {
  blaming,
  checkLogin,
  lacksPassword,
  type Place,
  placesOf,
  type Says,
  saysNames,
  saysOptions,
} from './places.js'
import type { Request } from './run.js'
import type { Target } from './servers.js'
import type { TlsPolicy } from './smtp/policy.js'
import type { PasswordSources } from './trust.js'

export type Around = PasswordSources & {
  /** What `--names-from -` reads */
  readonly input: () => Readable
}

/** The interval of --wait, in milliseconds */
const DEFAULT_INTERVAL_MS = 60_000

/** What the command line and the configuration ask of whom. Throws UsageError, and StepError where nobody else is to be asked. */
export async function requestsOf(line: CommandLine, config: Config, around: Around): Promise<Request[]> {
  const places = placesOf(line, config, around.warn)
  checkLogin(line, places, around.environment)
  const entriesOf = entryReader(around)
  const { credentialsOf, policyOf } = await import('./trust.js')
  const own = ownName()
  const requests: Request[] = []
  for (const place of places) {
    const { target, isMx, options } = place
    const blamed = async <T>(says: Says, work: () => T | Promise<T>): Promise<T> =>
      blaming(place, { line, config, says }, work)
    const settings = await blamed(saysOptions, () => settingsOf(options, own, isMx))
    const request = { isMx, settings, patience: patienceOf(options) }
    let stage: Stage = 'etrn'
    let entries: readonly Entry[] = []
    try {
      // One after another: a password may be asked for on the terminal.
      entries = await blamed(saysNames, async () => entriesOf(options, isMx ? target.host : undefined))
      stage = 'tls'
      const tls = await blamed(saysOptions, async () => policyOf(target, options, around.signal))
      stage = 'auth'
      const credentials = await blamed(saysOptions, async () => credentialsOf(target, options, around))
      requests.push({ ...request, entries, server: { ...target, tls, credentials } })
    } catch (error) {
      const isOwn = error instanceof StepError && error.exitStatus === EXIT.NOINPUT
      if (!isOwn || places.length === 1) throw error
      requests.push({ ...request, entries, ...notAsked(target, stage, error) })
    }
  }
  return requests
}

/** A server that lacks something of its own */
function notAsked(
  target: Target,
  stage: Stage,
  { message, exitStatus, cause }: StepError,
): Pick<Request, 'server' | 'failure'> {
  const advice = 'the others are asked all the same'
  return {
    server: { ...target, tls: NO_POLICY, credentials: undefined },
    failure: new SessionError(stage, message, { exitStatus, cause, advice }),
  }
}

const NO_POLICY: TlsPolicy = {
  ...{ level: 'none', minVersion: 'TLSv1.2', fingerprint: undefined, name: undefined },
  ...{ ca: undefined, cert: undefined, key: undefined },
}

/** What a hook can be made of: the same, but for what is read only when it runs. Throws UsageError. */
export async function placesForHook(
  line: CommandLine,
  config: Config,
  warn: (message: string) => void,
): Promise<Place[]> {
  const places = placesOf(line, config, warn)
  checkLogin(line, places, undefined)
  for (const place of places) {
    const { options, isMx } = place
    await blaming(place, { line, config, says: saysNames }, async () => {
      const names = await namesIn(options)
      if (options['names-from'].includes('-'))
        throw new UsageError('a hook has no standard input: put the names into a file')
      if (names.length + options['names-from'].length === 0 && !isMx && ownName() === undefined) throw nameless()
    })
    const { checkTrust } = await import('./trust.js')
    await blaming(place, { line, config, says: saysOptions }, () => {
      settingsOf(options, undefined, isMx)
      checkTrust(place.target, options)
      if (!lacksPassword(place)) return Promise.resolve()
      throw new UsageError('in a hook nobody types a password: --password-file F, or --password-command C')
    })
  }
  return places
}

/** What holds for every session with one server. */
function settingsOf(options: Options, own: string | undefined, isMx: boolean): Settings {
  const { ipv4, ipv6 } = options
  const helo = options.helo?.replace(/\.$/, '')
  if (ipv4 && ipv6) throw new UsageError('-4 and -6 exclude each other: type one of them, or none for both')
  const self = [own, helo, ...options.self].flatMap((name) => name?.toLowerCase() ?? [])
  return {
    helo: helo ?? own,
    self: isMx ? [...new Set(self)] : [],
    local: options.interface,
    family: ipv4 ? 4 : ipv6 ? 6 : undefined,
    timeoutMs: options.timeout ?? DEFAULT_TIMEOUT_MS,
    assumeEtrn: options['assume-etrn'],
    keepGoing: options['keep-going'],
  }
}

function patienceOf(options: Options): Request['patience'] {
  return {
    retryForMs: options['retry-for'] ?? 0,
    waitMs: options.wait ?? 0,
    intervalMs: options.interval ?? DEFAULT_INTERVAL_MS,
  }
}

/**
 * Reads the names of a place, in the order: words, --subdomains, --queue, --names-from; else the domain of --mx, else this host's
 * own name (RFC 1985, section 6). A file is read once, since standard input can be read only once; so is a list that two places
 * have in common.
 */
function entryReader({
  input,
  warn,
  signal,
}: Around): (options: Options, domain?: string) => Promise<readonly Entry[]> {
  const files = once(async (file: string, allowWide: boolean) => {
    const text = file === '-' ? streamText(input(), signal) : readText('--names-from', file, signal)
    return namesOf(await text, file === '-' ? 'standard input' : file, { allowWide })
  })
  const owns = once(async (allowWide: boolean) => {
    const own = ownName()
    if (own === undefined) throw nameless()
    warn(`no name given: asking for ${own}`)
    return nodeName(own, { allowWide })
  })
  return once(async (options: Options, domain?: string) => {
    const { 'names-from': from, 'allow-wide': allowWide } = options
    const named = await namesIn(options)
    const listed = await Promise.all([...new Set(from)].map(async (file) => files(file, allowWide)))
    const entries = [...named, ...listed.flat()]
    if (entries.length > 0) return withoutDuplicates(entries)
    if (domain !== undefined) return [await nodeName(domain, { allowWide })]
    // There is enough to be looked at without a name.
    return options.check && ownName() === undefined ? [] : [await owns(allowWide)]
  })
}

/** The same answer to the same question. */
function once<A extends readonly unknown[], T>(work: (...args: A) => Promise<T>): (...args: A) => Promise<T> {
  const known = new Map<string, Promise<T>>()
  return async (...args) => {
    const key = JSON.stringify(args)
    const answer = known.get(key) ?? work(...args)
    known.set(key, answer)
    return answer
  }
}

function nameless(): UsageError {
  return new UsageError("no name given, and this host's own is not one that others know: type etrn SERVER NAME")
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
