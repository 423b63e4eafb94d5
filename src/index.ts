import { settleOptions } from './command/option-sources.js'
import { TLS_LEVELS, TLS_VERSIONS } from './command/options.js'
import { checkPem } from './command/tls-files.js'
import { messageOf, UsageError } from './errors.js'
import type { Outcome } from './etrn/outcome.js'
import type { Result } from './etrn/result.js'
import type { ServerReport } from './etrn/server-report.js'
import { SESSIONS_PER_SERVER } from './etrn/session-limits.js'
import { requestNames } from './etrn/session-pool.js'
import { SessionSlots } from './etrn/session-slots.js'
import { removeDuplicates } from './input/names-file.js'
import { type NodeName, parseNodeName } from './input/node-name.js'
import {
  oneOf,
  parseFingerprint,
  parseHelo,
  parseHost,
  parseLocalEnd,
  parsePort,
  PORT_RULE,
  parseSendable,
  parseText,
} from './input/option-values.js'
import { parseServer, type ServerArgument } from './input/server-address.js'
import type { Family } from './net/address.js'
import { MAX_TIMER_MS } from './net/deadline.js'
import { ownHostName } from './net/this-host.js'
import { tlsLevelFor } from './smtp/credentials-policy.js'
import { MECHANISMS } from './smtp/mechanisms.js'
import { Redactor } from './smtp/redact.js'
import type { Credentials } from './smtp/session-settings.js'
import type { TlsLevel, TlsPolicy } from './smtp/tls-policy.js'
import type { TraceEvent } from './smtp/trace.js'

export { SessionError, type Stage } from './smtp/errors.js'
export type { Extensions } from './smtp/extensions.js'
export type { MechanismName } from './smtp/mechanisms.js'
export type { Reply } from './smtp/reply.js'
export type { TlsInfo } from './smtp/trace.js'
export { type Credentials, type Outcome, type Result, type TlsLevel, type TlsPolicy, type TraceEvent, UsageError }

/** The end of a request: the server's facts, and a result for each name. */
export type Report = Omit<ServerReport, 'server' | 'isQueueUnknown' | 'turns'> & {
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
  /** Accept `@` before a public suffix, names with a single label, underscores, and A-labels that are not valid. */
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

/** Parsers of the values of an object's keys. Each throws a plain Error with the rule that a value breaks, as a sentence without its subject. */
type Parsers<T> = { readonly [K in keyof T]-?: (value: unknown) => Exclude<T[K], undefined> }

const TLS_PARSERS: Parsers<NonNullable<AskOptions['tls']>> = {
  level: oneOf(...TLS_LEVELS),
  fingerprint: parseFingerprint,
  name: parseHost,
  ca: parseText,
  cert: parseText,
  key: parseText,
  minVersion: oneOf(...TLS_VERSIONS),
}

const CREDENTIALS_PARSERS: Parsers<Credentials> = {
  user: parseSendable,
  password: parsePassword,
  mechanism: oneOf(...MECHANISMS),
}

/** For callers without TypeScript: no value of a wrong type is ignored. */
const OPTION_PARSERS: Parsers<Omit<AskOptions, 'tls' | 'credentials'> & { tls: object; credentials: object }> = {
  port: parsePortNumber,
  helo: parseHelo,
  family: parseFamily,
  local: parseLocalEnd,
  timeoutMs: parseTimeout,
  keepGoing: parseBoolean,
  assumeEtrn: parseBoolean,
  allowWide: parseBoolean,
  tls: parseObject,
  credentials: parseObject,
  signal: parseSignal,
  onResult: parseFunction,
  trace: parseFunction,
}

/** The command's defaults */
const { options: DEFAULTS } = settleOptions([])

/**
 * Requests the mail that one server holds for these names (RFC 1985). The server is `host`, `host:port`, `[2001:db8::1]:port` or
 * `smtp://host`; a name is `node`, `@node` or `#queue`. Throws UsageError, with nothing sent, if an argument is wrong. Never throws
 * because of the network or the server: every name has a result, and `error` says what failed as a whole.
 */
export async function ask(server: string, names: readonly string[], options: AskOptions = {}): Promise<Report> {
  const given = parseKeys('', OPTION_PARSERS, parseArgument('options', parseObject, options))
  const word = parseArgument('server', parseText, server)
  const target = parseServer(word, given.port)
  if (target.user !== undefined) throw new UsageError('server must not contain a user name; use credentials.user')
  const tls = await tlsPolicyOf(target, given.tls ?? {}, given.credentials !== undefined)
  const credentials = given.credentials && credentialsOf(given.credentials, tls)
  const { helo = ownHostName(), family, local, timeoutMs = DEFAULTS.timeout } = given
  const { keepGoing = false, assumeEtrn = false, allowWide = false } = given
  const settings = { helo, family, local, self: [], timeoutMs, keepGoing, assumeEtrn }
  const nodes = await parseNames(names, allowWide)
  const redactor = new Redactor(credentials?.password)
  const report = await requestNames({ ...target, tls, credentials, redactor }, nodes, settings, {
    signal: given.signal ?? new AbortController().signal,
    limiter: new SessionSlots(SESSIONS_PER_SERVER).limiterFor(target),
    onResult: (_, result) => given.onResult?.(result),
    trace: (_, event, session) => given.trace?.(event, session),
  })
  // The server itself has the credentials, which a caller might log.
  const { server: _, isQueueUnknown: __, turns: ___, ...rest } = report
  return { server: target.word, host: target.host, port: target.port, ...rest }
}

async function parseNames(names: readonly string[], allowWide: boolean): Promise<NodeName[]> {
  if (!Array.isArray(names)) throw new UsageError('names must be an array of strings')
  // The holes of an array are undefined, too.
  const words = Array.from(names, (name: unknown, index) => parseArgument(`names[${index}]`, parseText, name))
  return removeDuplicates(await Promise.all(words.map(async (word) => parseNodeName(word, { allowWide }))))
}

async function tlsPolicyOf(target: ServerArgument, options: object, hasCredentials: boolean): Promise<TlsPolicy> {
  const { ca, cert, key, fingerprint, name, ...tls } = parseKeys('tls.', TLS_PARSERS, options)
  const request = { level: tls.level, fingerprint, ca, name }
  const level = settleLevel(target, request, hasCredentials)
  const unused = tls.minVersion === undefined ? (cert === undefined ? undefined : 'cert') : 'minVersion'
  if (level === 'none' && unused !== undefined)
    throw new UsageError(`tls.level "none" contradicts tls.${unused}; remove one of them`)
  if (cert === undefined && key !== undefined) throw new UsageError('tls.key needs tls.cert')
  const pem = { ca, cert, key }
  await checkPem(pem, (part, problem, cause) => new UsageError(`tls.${part}: ${problem}`, { cause }))
  return { ...pem, fingerprint, name, minVersion: tls.minVersion ?? DEFAULTS['tls-min'], level }
}

/** Returns what tlsLevelFor returns. Its error names options of the command. */
function settleLevel(...[target, request, hasCredentials]: Parameters<typeof tlsLevelFor>): TlsLevel {
  try {
    return tlsLevelFor(target, request, hasCredentials)
  } catch (cause) {
    const unchecked = 'the given tls.fingerprint, tls.ca or tls.name'
    throw new UsageError(`tls.level "${request.level ?? ''}" does not check ${unchecked}; use "verify"`, { cause })
  }
}

function credentialsOf(credentials: object, { cert }: TlsPolicy): Credentials {
  const { user, password, mechanism } = parseKeys('credentials.', CREDENTIALS_PARSERS, credentials)
  if (user === undefined) throw new UsageError('credentials.user must be a string')
  if (password === undefined && cert === undefined)
    throw new UsageError(
      'credentials.password is missing (only EXTERNAL works without a password, and it needs tls.cert)',
    )
  return { user, password, mechanism }
}

/** Returns the values of an object, parsed; undefined means that a key is not given. Throws UsageError, also for an unknown key. */
function parseKeys<T>(prefix: string, parsers: Parsers<T>, values: object): Partial<T> {
  const unknown = Object.keys(values).find((key) => !Object.hasOwn(parsers, key))
  if (unknown !== undefined)
    throw new UsageError(`unknown option ${prefix}${unknown}; the options are ${Object.keys(parsers).join(', ')}`)
  const given = new Map<string, unknown>()
  for (const [key, parse] of Object.entries<(value: unknown) => unknown>(parsers)) {
    const value: unknown = Reflect.get(values, key)
    if (value !== undefined) given.set(key, parseArgument(prefix + key, parse, value))
  }
  // The parser of each key has made its value.
  return Object.fromEntries(given) as Partial<T>
}

function parseArgument<T>(name: string, parse: (value: unknown) => T, value: unknown): T {
  try {
    return parse(value)
  } catch (error) {
    throw new UsageError(`${name} ${messageOf(error)}`, { cause: error })
  }
}

/** Returns an object that can have keys: no array, Map or null. */
function parseObject(value: unknown): object {
  if (typeof value !== 'object' || value === null || Object.prototype.toString.call(value) !== '[object Object]')
    throw new Error('must be an object')
  return value
}

/** Returns a text without NUL, which separates the parts of PLAIN (RFC 4616). */
function parsePassword(value: unknown): string {
  const text = parseText(value)
  if (text.includes('\0')) throw new Error('contains a NUL character')
  return text
}

function parseBoolean(value: unknown): boolean {
  if (typeof value !== 'boolean') throw new Error('must be true or false')
  return value
}

function parsePortNumber(value: unknown): number {
  if (typeof value !== 'number') throw new Error(PORT_RULE)
  return parsePort(String(value))
}

function parseFamily(value: unknown): 4 | 6 {
  if (value !== 4 && value !== 6) throw new Error('must be 4 or 6')
  return value
}

function parseTimeout(value: unknown): number {
  if (typeof value !== 'number' || !(value > 0 && value <= MAX_TIMER_MS))
    throw new Error(`must be a number of milliseconds, above 0 and at most ${MAX_TIMER_MS}`)
  return value
}

function parseSignal(value: unknown): AbortSignal {
  if (!(value instanceof AbortSignal)) throw new Error('must be an AbortSignal')
  return value
}

function parseFunction(value: unknown): () => void {
  if (typeof value !== 'function') throw new Error('must be a function')
  // Its parameters are the caller's affair.
  return value as () => void
}
