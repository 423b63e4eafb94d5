import { EXIT, OptionError, type UsageError } from '../errors.js'
import type { FailedRequest, Request, RequestSettings, RetryPolicy } from '../etrn/request.js'
import type { NameEntry } from '../input/names-file.js'
import { ownHostName } from '../net/this-host.js'
import { SessionError, type Stage } from '../smtp/errors.js'
import type { CommandLine } from './arguments.js'
import type { Config } from './config.js'
import { checkCredentialsTarget, checkLoginOptions, readCredentials } from './login.js'
import { locateError } from './option-sources.js'
import type { Options } from './options.js'
import type { PasswordSources } from './password.js'
import { createNameReader, type NameReader, type NameSources } from './requested-names.js'
import { resolveTargets, type Target } from './targets.js'

export type RequestSources = PasswordSources & NameSources

/**
 * Returns the requests that the command line and the configuration ask for, with all files read. What one of several profiles lacks is a
 * FailedRequest; everything else that is wrong is thrown as UsageError.
 */
export async function createRequests(
  line: CommandLine,
  config: Config,
  sources: RequestSources,
): Promise<(Request | FailedRequest)[]> {
  const targets = resolveTargets(line, config, sources.warn)
  checkCredentialsTarget(line, targets, sources.environment)
  const readNames = createNameReader(sources)
  const requests: (Request | FailedRequest)[] = []
  // One after another: several may ask for a password on the terminal.
  for (const target of targets) requests.push(await createRequest(target, targets.length > 1, readNames, sources))
  return requests
}

async function createRequest(
  target: Target,
  hasOthers: boolean,
  readNames: NameReader,
  sources: RequestSources,
): Promise<Request | FailedRequest> {
  const { server, isMx, options, profile } = target
  const settings = settingsFor(target)
  let entries: readonly NameEntry[] = []
  let stage: Stage = 'etrn'
  try {
    entries = await readNames(options, isMx ? server.host : undefined)
    stage = 'tls'
    checkLoginOptions(server, options)
    const { readTlsPolicy } = await import('./tls-options.js')
    const tls = await readTlsPolicy(server, options, sources.signal)
    stage = 'auth'
    const credentials = await readCredentials(server, options, sources)
    return { server: { ...server, tls, credentials }, isMx, entries, settings, retryPolicy: retryPolicyOf(options) }
  } catch (error) {
    if (!(error instanceof OptionError)) throw error
    const source = target.sourceOf(error.option)
    const located = locateError(error, source)
    const isOwn = profile !== undefined && source === profile && error.exitStatus === EXIT.NOINPUT
    if (!isOwn || !hasOthers) throw located
    return { server, entries, settings, error: profileFailure(stage, located) }
  }
}

function settingsFor(target: Target): RequestSettings {
  try {
    return requestSettingsOf(target.options, target.isMx)
  } catch (error) {
    throw withPlace(target, error)
  }
}

function profileFailure(stage: Stage, { message, exitStatus, cause }: UsageError): SessionError {
  return new SessionError(stage, message, { exitStatus, cause, hint: 'the others are asked all the same' })
}

/** Returns the error with the place where its option is set, if it is an OptionError. */
export function withPlace({ sourceOf }: Target, error: unknown): unknown {
  return error instanceof OptionError ? locateError(error, sourceOf(error.option)) : error
}

/** Returns what holds for every session with a server. Throws OptionError. */
export function requestSettingsOf(options: Options, isMx: boolean): RequestSettings {
  const { ipv4, ipv6 } = options
  if (ipv4 && ipv6) throw new OptionError('ipv6', '-4 and -6 exclude each other: type one of them, or none for both')
  const own = ownHostName()
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

function retryPolicyOf(options: Options): RetryPolicy {
  return { retryForMs: options['retry-for'] ?? 0, waitMs: options.wait ?? 0, intervalMs: options.interval }
}
