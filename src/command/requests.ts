import { EXIT, OptionError, StepError } from '../errors.js'
import type { FailedRequest, Request, RequestSettings } from '../etrn/request.js'
import type { NameEntry } from '../input/names-file.js'
import { canonicalAddress } from '../net/address.js'
import { hasFinalDot } from '../net/domain.js'
import { ownHostName } from '../net/this-host.js'
import { SessionError, sessionErrorOf, type Stage } from '../smtp/errors.js'
import { Redactor } from '../smtp/redact.js'
import type { CommandLine } from './arguments.js'
import type { Config } from './config.js'
import { checkLoginOptions, checkLoginTargets, readCredentials } from './login.js'
import { locateError } from './option-sources.js'
import type { PasswordFiles } from './password.js'
import type { InputSources } from './read-file.js'
import { createNameReader, type NameReader, typedNames } from './requested-names.js'
import { checkServerWords, resolveTargets, type Target } from './targets.js'
import { readTlsPolicy } from './tls-options.js'

/**
 * Returns the requests that the command line and the configuration ask for, with all files read. What one of several profiles lacks is a
 * FailedRequest; everything else that is wrong is thrown as UsageError.
 */
export async function createRequests(
  line: CommandLine,
  config: Config,
  sources: InputSources,
): Promise<(Request | FailedRequest)[]> {
  await checkServerWords(line, config)
  const targets = resolveTargets(line, config, sources.warn)
  checkLoginTargets(line, targets, sources.environment['ETRN_PASSWORD'])
  const context = { ...sources, hasOthers: targets.length > 1, passwordFiles: new Map() }
  const readNames = createNameReader(sources)
  const named: NamedTarget[] = []
  // All names first: what happens while a password is read must not lose any.
  for (const target of targets) named.push(await nameTarget(target, readNames, context))
  const requests: (Request | FailedRequest)[] = []
  // By host. A server can repeat the password of one profile to another, also to one without credentials.
  const redactors = new Map<string, Redactor>()
  // One after another: several may ask for a password on the terminal.
  for (const one of named) {
    const host = canonicalAddress(one.target.server.host)
    const redactor = redactors.get(host) ?? new Redactor()
    redactors.set(host, redactor)
    requests.push(await createRequest(one, redactor, context))
  }
  return requests
}

type RequestContext = InputSources & {
  /** True if there are other targets, which one that fails must not affect */
  readonly hasOthers: boolean
  readonly passwordFiles: PasswordFiles
}

/** A target with its names: all, or only those of the command line or the profile if the others can't be read */
type NamedTarget = {
  readonly target: Target
  readonly entries: readonly NameEntry[]
  readonly error?: SessionError
}

async function nameTarget(target: Target, readNames: NameReader, context: RequestContext): Promise<NamedTarget> {
  const { server, isMx, options } = target
  try {
    return { target, entries: await readNames(options, server.word, isMx ? server.host : undefined) }
  } catch (error) {
    const failure = failureOf(error, target, 'etrn', context)
    return { target, entries: await typedNames(options), error: failure }
  }
}

async function createRequest(
  { target, entries, error: namesError }: NamedTarget,
  redactor: Redactor,
  context: RequestContext,
): Promise<Request | FailedRequest> {
  const { server, isMx, options } = target
  const settings = requestSettingsOf(target)
  if (namesError !== undefined) return { server, entries, lacksNames: true, settings, error: namesError }
  let stage: Stage = 'tls'
  try {
    checkLoginOptions(target)
    const tls = await readTlsPolicy(target, context)
    stage = 'auth'
    const credentials = await readCredentials(target, context, context.passwordFiles)
    redactor.addPassword(credentials?.password ?? '')
    const { 'retry-for': retryForMs = 0, wait: waitMs = 0, interval: intervalMs } = options
    const retryPolicy = { retryForMs, waitMs, intervalMs }
    const doubtfulNames = options.names.filter((name) => !hasFinalDot(name)).map((name) => name.toLowerCase())
    const given = { selfOption: options.self, doubtfulNames }
    return { server: { ...server, tls, credentials, redactor }, isMx, entries, settings, retryPolicy, ...given }
  } catch (error) {
    return { server, entries, settings, error: failureOf(error, target, stage, context) }
  }
}

const READ_AT_STAGE: Partial<Record<Stage, string>> = { etrn: 'names', tls: 'TLS files', auth: 'password' }

/**
 * Returns the failure of one server: that its profile names a file that can't be read, or that the run ended meanwhile. Throws every
 * other error.
 */
function failureOf(error: unknown, target: Target, stage: Stage, { hasOthers, signal }: RequestContext): SessionError {
  if (error instanceof StepError && error === signal.reason) {
    const message = `${error.message} while etrn read the ${READ_AT_STAGE[stage] ?? 'files'}`
    return sessionErrorOf(stage, error).withMessage(message)
  }
  if (!(error instanceof OptionError)) throw error
  const located = locateError(error, target)
  const { message, exitStatus, hint, cause } = located
  const { profile } = target
  const isOwn = profile !== undefined && target.sourceOf(error.option) === profile && exitStatus === EXIT.NOINPUT
  if (!isOwn || !hasOthers) throw located
  const facts = { exitStatus, cause, hint: hint ?? 'correct the profile; the other profiles are not affected' }
  return new SessionError(stage, message, facts)
}

/** Returns what holds for every session with a server. */
export function requestSettingsOf({ options, isMx }: Target): RequestSettings {
  const { ipv4, ipv6 } = options
  // Few runs need the name, and /etc/hosts may be long.
  const own = isMx || options.helo === undefined ? ownHostName() : undefined
  const helo = options.helo?.replace(/\.$/, '')
  const self = [own, helo, ...options.self].flatMap((name) => name?.toLowerCase() ?? [])
  return {
    helo: helo ?? own,
    self: isMx ? [...new Set(self)] : [],
    local: options.interface,
    family: ipv4 ? 4 : ipv6 ? 6 : undefined,
    timeoutMs: options.timeout,
    assumeEtrn: options['assume-etrn'],
    keepGoing: options['keep-going'],
  }
}
