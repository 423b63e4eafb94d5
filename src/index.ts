import { settleOptions } from './command/option-sources.js'
import { TLS_LEVELS, TLS_VERSIONS } from './command/options.js'
import { checkPem } from './command/tls-options.js'
import { messageOf, UsageError } from './errors.js'
import type { Outcome, Result, ServerReport } from './etrn/outcome.js'
import { requestNames } from './etrn/session-pool.js'
import { removeDuplicates } from './input/names-file.js'
import { type NodeName, parseNodeName } from './input/node-name.js'
import {
  oneOf,
  parseCommandArgument,
  parseFingerprint,
  parseHelo,
  parseHost,
  parsePort,
  parseSendable,
  parseText,
} from './input/option-values.js'
import { parseServer, type ServerArgument } from './input/server-address.js'
import type { Family } from './net/address.js'
import { MAX_TIMER_MS } from './net/deadline.js'
import { ownHostName } from './net/this-host.js'
import { tlsLevelFor } from './smtp/credentials-policy.js'
import { MECHANISMS } from './smtp/mechanisms.js'
import type { Credentials, TlsLevel, TlsPolicy } from './smtp/session-settings.js'
import type { TraceEvent } from './smtp/trace.js'

export { SessionError, type Stage } from './smtp/errors.js'
export type { Extensions } from './smtp/extensions.js'
export type { MechanismName } from './smtp/mechanisms.js'
export type { Reply } from './smtp/reply.js'
export type { TlsInfo } from './smtp/tls.js'
export { type Credentials, type Outcome, type Result, type TlsLevel, type TlsPolicy, type TraceEvent, UsageError }

/** The end of a request: the server's facts, and a result for each name. */
export type Report = Omit<ServerReport, 'server' | 'isQueueUnknown'> & {
  /** The server as it was given */
  readonly server: string
  readonly host: string
  readonly port: number
}

/** Every option has a default. The manual describes the command's options of the same names. */
export type AskOptions = {
  /** The port if the server has none; 25 */
  readonly port?: number
  /** The EHLO argument; this host's own name, else the address of the local end */
  readonly helo?: string
  /** Use addresses of this family only. */
  readonly family?: Family
  /** The local end: an address, or an interface that has one */
  readonly local?: string
  /** The longest wait for one step, in milliseconds; 60,000 */
  readonly timeoutMs?: number
  /** Continue after a 5xx, and after a session in which no name was accepted. */
  readonly keepGoing?: boolean
  /** Send ETRN even if EHLO doesn't list it. */
  readonly assumeEtrn?: boolean
  /** Accept `@` before a public suffix, and names with a single label. */
  readonly allowWide?: boolean
  /** The command's defaults and rules count for what is not given: a CA, a name or a fingerprint alone means `verify`. */
  readonly tls?: Partial<Omit<TlsPolicy, 'isInspected'>>
  /** Sent over verified or pinned TLS, or to this host. With credentials `verify` is the default. */
  readonly credentials?: Partial<Credentials> & Pick<Credentials, 'user'>
  /** Ends the session. Names without a reply are `deferred`. */
  readonly signal?: AbortSignal
  /** Receives each result as soon as the reply has arrived; not awaited. */
  readonly onResult?: (result: Result) => void
  /** Receives everything that happens, with the number of the session, counted from 1; not awaited. */
  readonly trace?: (event: TraceEvent, session: number) => void
}

/** The keys of AskOptions, for callers without TypeScript */
const ASK_OPTIONS = {
  port: 0,
  helo: 0,
  family: 0,
  local: 0,
  timeoutMs: 0,
  keepGoing: 0,
  assumeEtrn: 0,
  allowWide: 0,
  tls: 0,
  credentials: 0,
  signal: 0,
  onResult: 0,
  trace: 0,
} satisfies Record<keyof AskOptions, 0>

/** The command's defaults */
const { options: DEFAULTS } = settleOptions([])

/**
 * Requests the mail that one server holds for these names (RFC 1985). The server is `host`, `host:port`, `[2001:db8::1]:port` or
 * `smtp://host`; a name is `node`, `@node` or `#queue`. Throws UsageError, with nothing sent, if an argument is wrong. Never throws
 * because of the network or the server: every name has a result, and `error` says what failed as a whole.
 */
export async function ask(server: string, names: readonly string[], options: AskOptions = {}): Promise<Report> {
  if (typeof options !== 'object' || (options as unknown) === null) throw new UsageError('options: an object')
  checkKeys('', options, ASK_OPTIONS)
  const word = parseArgument('server', parseText, server)
  const target = parseServer(
    word,
    parseOptional('port', (port) => parsePort(String(port)), options.port),
  )
  if (target.user !== undefined) throw new UsageError('a user in the URL: give `credentials` instead')
  const tls = await tlsPolicyOf(target, options)
  const credentials = options.credentials && credentialsOf(options.credentials, tls)
  const settings = settingsOf(options)
  const nodes = await parseNames(names, options.allowWide ?? false)
  const report = await requestNames({ ...target, tls, credentials }, nodes, settings, {
    signal: options.signal ?? new AbortController().signal,
    limiter: async (work) => work(),
    onResult: (_, result) => options.onResult?.(result),
    trace: (_, event, session) => options.trace?.(event, session),
  })
  // The server itself has the credentials, which a caller might log.
  const { server: _, isQueueUnknown: __, ...rest } = report
  return { server: target.word, host: target.host, port: target.port, ...rest }
}

async function parseNames(names: readonly string[], allowWide: boolean): Promise<NodeName[]> {
  if (!Array.isArray(names)) throw new UsageError('names: a list of texts')
  const words = names.map((name) => parseArgument('names', parseText, name))
  return removeDuplicates(await Promise.all(words.map(async (word) => parseNodeName(word, { allowWide }))))
}

function settingsOf(options: AskOptions): Parameters<typeof requestNames>[2] {
  const { family, timeoutMs = DEFAULTS.timeout } = options
  if (!(timeoutMs > 0 && timeoutMs <= MAX_TIMER_MS))
    throw new UsageError(`timeoutMs ${timeoutMs}: more than 0, at most ${MAX_TIMER_MS}`)
  if (![4, 6, undefined].includes(family)) throw new UsageError(`family ${String(family)}: 4 or 6`)
  return {
    helo: parseOptional('helo', parseHelo, options.helo) ?? ownHostName(),
    family,
    local: parseOptional('local', parseCommandArgument, options.local),
    self: [],
    timeoutMs,
    keepGoing: options.keepGoing ?? false,
    assumeEtrn: options.assumeEtrn ?? false,
  }
}

async function tlsPolicyOf(target: ServerArgument, { tls = {}, credentials }: AskOptions): Promise<TlsPolicy> {
  checkKeys('tls.', tls, { fingerprint: 0, name: 0, ca: 0, cert: 0, key: 0, minVersion: 0, level: 0 })
  const { ca, cert, key } = tls
  const typedLevel = parseOptional('tls.level', oneOf(...TLS_LEVELS), tls.level)
  const minVersion = parseOptional('tls.minVersion', oneOf(...TLS_VERSIONS), tls.minVersion) ?? DEFAULTS['tls-min']
  const fingerprint = parseOptional('tls.fingerprint', parseFingerprint, tls.fingerprint)
  const name = parseOptional('tls.name', parseHost, tls.name)
  const level = tlsLevelFor(target, { ...tls, level: typedLevel }, credentials !== undefined)
  if (cert === undefined && key !== undefined) throw new UsageError('tls.key belongs to tls.cert')
  const pem = { ca, cert, key }
  await checkPem(pem, (part, problem, cause) => new UsageError(`tls.${part}: ${problem}`, undefined, cause))
  return { ...pem, fingerprint, name, minVersion, level }
}

function credentialsOf(credentials: Partial<Credentials>, { cert }: TlsPolicy): Credentials {
  checkKeys('credentials.', credentials, { user: 0, password: 0, mechanism: 0 })
  const mechanism = parseOptional('credentials.mechanism', oneOf(...MECHANISMS), credentials.mechanism)
  const user = parseArgument('credentials.user', parseSendable, credentials.user)
  if (credentials.password === undefined && cert === undefined)
    throw new UsageError('credentials: a password is missing, or the certificate that EXTERNAL needs')
  return { user, password: credentials.password, mechanism }
}

/** Throws UsageError for an unknown key, as TypeScript would report it. */
function checkKeys(prefix: string, value: object, keys: object): void {
  const unknown = Object.keys(value).find((key) => !Object.hasOwn(keys, key))
  if (unknown === undefined) return
  throw new UsageError(`${prefix}${unknown} is no option; there are ${Object.keys(keys).join(', ')}`)
}

function parseOptional<T>(name: string, parse: (value: unknown) => T, value: unknown): T | undefined {
  return value === undefined ? undefined : parseArgument(name, parse, value)
}

function parseArgument<T>(name: string, parse: (value: unknown) => T, value: unknown): T {
  try {
    return parse(value)
  } catch (error) {
    throw new UsageError(`${name}: ${messageOf(error)}`, undefined, error)
  }
}
