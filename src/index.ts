import { TLS_LEVELS, TLS_VERSIONS } from './command/options.js'
import { checkPem, tlsLevelFor } from './command/tls-options.js'
import { EXIT, messageOf, UsageError } from './errors.js'
import type { Result } from './etrn/outcome.js'
import type { ServerReport } from './etrn/server-report.js'
import { requestNames as askServer } from './etrn/session-pool.js'
import { removeDuplicates } from './input/names-file.js'
import { parseNodeName } from './input/node-name.js'
import { type ServerArgument, parseServer } from './input/server-address.js'
import {
  parseCommandArgument,
  parseFingerprint,
  parseHost,
  oneOf,
  parsePort,
  parseSendable,
  parseText,
} from './input/values.js'
import type { Family } from './net/address.js'
import { DEFAULT_TIMEOUT_MS, MAX_TIMER_MS } from './net/deadline.js'
import { ownHostName } from './net/this-host.js'
import type { Credentials } from './smtp/credentials-policy.js'
import { MECHANISMS } from './smtp/mechanisms.js'
import type { TlsPolicy } from './smtp/tls-policy.js'
import type { TraceEvent } from './smtp/trace.js'

export { UsageError } from './errors.js'
export type { Outcome, Result } from './etrn/outcome.js'
export { SessionError, type Stage } from './smtp/errors.js'
export type { Extensions } from './smtp/extensions.js'
export type { TraceEvent } from './smtp/trace.js'
export type { Credentials } from './smtp/credentials-policy.js'
export type { MechanismName } from './smtp/mechanisms.js'
export type { Reply } from './smtp/reply.js'
export type { TlsLevel, TlsPolicy } from './smtp/tls-policy.js'
export type { TlsInfo } from './smtp/tls.js'

/** What is known at the end. */
export type Report = Omit<ServerReport, 'server' | 'isQueueUnknown'> & {
  /** As it was given */
  readonly server: string
  readonly host: string
  readonly port: number
}

/** All may be left out; the command's options of the same names say more. */
export type AskOptions = {
  /** Where the server names none; 25 */
  readonly port?: number
  /** What EHLO says; this host's own name, else the address of the connection's local end */
  readonly helo?: string
  /** Addresses of this family only */
  readonly family?: Family
  /** The local end: an address, or an interface that has one */
  readonly local?: string
  /** Longest wait for one step, in milliseconds; 60,000 */
  readonly timeoutMs?: number
  /** Goes on with the other names after a 5xx, and after a session without an accepted name. */
  readonly keepGoing?: boolean
  /** Sends ETRN even where EHLO doesn't list it. */
  readonly assumeEtrn?: boolean
  /** Takes `@` before a public suffix, and names of a single label. */
  readonly allowWide?: boolean
  /** The command's defaults and rules, but for what is given here: a CA, a name or a fingerprint alone means `verify`. */
  readonly tls?: Partial<Omit<TlsPolicy, 'isInspected'>>
  /** Sent over TLS that is verified or pinned, or to this host: `verify` is the default with them. */
  readonly credentials?: Partial<Credentials> & Pick<Credentials, 'user'>
  /** Ends the session; names without an answer are `deferred`. */
  readonly signal?: AbortSignal
  /** Told of each name whose reply is there, at once; not awaited */
  readonly onResult?: (result: Result) => void
  /** Told of all that happens, in sessions counted from 1; not awaited */
  readonly trace?: (event: TraceEvent, session: number) => void
}

const KEYS = {
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

const TLS = {
  fingerprint: undefined,
  name: undefined,
  ca: undefined,
  cert: undefined,
  key: undefined,
  minVersion: 'TLSv1.2',
} as const

/**
 * Asks one server to send what it holds for these names (RFC 1985). `server`: `host`, `host:port`, `[2001:db8::1]:port`,
 * `smtp://host`; `names`: `node`, `@node`, `#queue`. Throws UsageError where anything given is wrong, and then nothing was sent.
 * Never throws for what the network or the server does: every name has a result, and `error` says what failed as a whole.
 */
export async function ask(server: string, names: readonly string[], o: AskOptions = {}): Promise<Report> {
  if (typeof o !== 'object' || (o as unknown) === null) throw new UsageError('options: an object')
  known('', o, KEYS)
  const target = parseServer(
    checked('server', parseText, server),
    optional('port', (given) => parsePort(String(given)), o.port),
  )
  if (target.user !== undefined) throw new UsageError('a user in the URL: give `credentials` instead')
  const tls = await policyOf(target, o)
  const credentials = o.credentials && loginOf(o.credentials, tls)
  const helo = optional('helo', parseCommandArgument, o.helo) ?? ownHostName()
  if (!Array.isArray(names)) throw new UsageError('names: a list of texts')
  const nodes = await Promise.all(
    names.map(async (name) => parseNodeName(checked('names', parseText, name), { allowWide: o.allowWide ?? false })),
  )
  const timeoutMs = o.timeoutMs ?? DEFAULT_TIMEOUT_MS
  if (!(timeoutMs > 0 && timeoutMs <= MAX_TIMER_MS))
    throw new UsageError(`timeoutMs ${timeoutMs}: more than 0, at most ${MAX_TIMER_MS}`)
  if (![4, 6, undefined].includes(o.family)) throw new UsageError(`family ${String(o.family)}: 4 or 6`)
  const report = await askServer({ ...target, tls, credentials }, removeDuplicates(nodes), {
    helo,
    family: o.family,
    local: optional('local', parseCommandArgument, o.local),
    self: [],
    timeoutMs,
    signal: o.signal ?? new AbortController().signal,
    keepGoing: o.keepGoing ?? false,
    assumeEtrn: o.assumeEtrn ?? false,
    onResult: (_, result) => o.onResult?.(result),
    limiter: async (work) => work(),
    trace: (_, event, session) => o.trace?.(event, session),
  })
  // Not the server with its login, which a caller may well write into a log
  const { server: _, isQueueUnknown: __, ...rest } = report
  return { server: target.word, host: target.host, port: target.port, ...rest }
}

/** The policy, of texts that are what they should be */
async function policyOf(target: ServerArgument, { tls = {}, credentials }: AskOptions): Promise<TlsPolicy> {
  known('tls.', tls, { ...TLS, level: 0 })
  const level = optional('tls.level', oneOf(...TLS_LEVELS), tls.level)
  const policy = {
    ...TLS,
    ...tls,
    fingerprint: optional('tls.fingerprint', parseFingerprint, tls.fingerprint),
    name: optional('tls.name', parseHost, tls.name),
    minVersion: optional('tls.minVersion', oneOf(...TLS_VERSIONS), tls.minVersion) ?? TLS.minVersion,
    level: tlsLevelFor(target, { ...tls, level }, credentials !== undefined),
  }
  if (policy.cert === undefined && policy.key !== undefined) throw new UsageError('tls.key belongs to tls.cert')
  await checkPem(policy, (which) => `tls.${which}`, EXIT.USAGE)
  return policy
}

function loginOf(given: Partial<Credentials>, { cert }: TlsPolicy): Credentials {
  known('credentials.', given, { user: 0, password: 0, mechanism: 0 })
  const mechanism = optional('credentials.mechanism', oneOf(...MECHANISMS), given.mechanism)
  const user = checked('credentials.user', parseSendable, given.user)
  if (given.password === undefined && cert === undefined)
    throw new UsageError('credentials: a password is missing, or the certificate that EXTERNAL needs')
  return { user, password: given.password, mechanism }
}

/** What TypeScript would see */
function known(what: string, given: object, keys: object): void {
  const unknown = Object.keys(given).find((key) => !(key in keys))
  if (unknown !== undefined)
    throw new UsageError(`${what}${unknown} is no option; there are ${Object.keys(keys).join(', ')}`)
}

function optional<T>(name: string, parse: (word: unknown) => T, word: unknown): T | undefined {
  return word === undefined ? undefined : checked(name, parse, word)
}

function checked<T>(name: string, parse: (word: unknown) => T, word: unknown): T {
  try {
    return parse(word)
  } catch (error) {
    throw new UsageError(`${name}: ${messageOf(error)}`, EXIT.USAGE, error)
  }
}
