import { EXIT, OptionError, StepError } from '../errors.js'
import type { FailedRequest, Request, RequestSettings } from '../etrn/request.js'
import type { NameEntry } from '../input/names-file.js'
import { canonicalAddress } from '../net/address.js'
import { ownHostName } from '../net/this-host.js'
import { SessionError, sessionErrorOf, type Stage } from '../smtp/errors.js'
import { Redactor } from '../smtp/redact.js'
import type { CommandLine } from './arguments.js'
import type { Config } from './config.js'
import { checkLoginOptions, checkLoginTargets, readCredentials } from './login.js'
import { locateError } from './option-sources.js'
import type { InputSources } from './read-file.js'
import { createNameReader, type NameReader } from './requested-names.js'
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
  const readNames = createNameReader(sources)
  const requests: (Request | FailedRequest)[] = []
  // By host. A server can repeat the password of one profile to another, also to one without credentials.
  const redactors = new Map<string, Redactor>()
  // One after another: several may ask for a password on the terminal.
  for (const target of targets) {
    const host = canonicalAddress(target.server.host)
    const redactor = redactors.get(host) ?? new Redactor()
    redactors.set(host, redactor)
    requests.push(await createRequest(target, targets.length > 1, redactor, readNames, sources))
  }
  return requests
}

async function createRequest(
  target: Target,
  hasOthers: boolean,
  redactor: Redactor,
  readNames: NameReader,
  sources: InputSources,
) {
  const { server, isMx, options, profile } = target
  const settings = requestSettingsOf(target)
  let entries: readonly NameEntry[] = []
  let stage: Stage = 'etrn'
  try {
    entries = await readNames(options, server.word, isMx ? server.host : undefined)
    stage = 'tls'
    checkLoginOptions(target)
    const tls = await readTlsPolicy(target, sources)
    stage = 'auth'
    const credentials = await readCredentials(target, sources)
    redactor.addPassword(credentials?.password ?? '')
    const { 'retry-for': retryForMs = 0, wait: waitMs = 0, interval: intervalMs } = options
    const retryPolicy = { retryForMs, waitMs, intervalMs }
    const doubtfulNames = options.names.filter((name) => !name.endsWith('.')).map((name) => name.toLowerCase())
    const given = { selfOption: options.self, doubtfulNames }
    return { server: { ...server, tls, credentials, redactor }, isMx, entries, settings, retryPolicy, ...given }
  } catch (error) {
    // The names are known, so that the report has them, and --failed-to too.
    if (error instanceof StepError && error === sources.signal.reason && stage !== 'etrn') {
      const message = `${error.message} while etrn read the ${stage === 'auth' ? 'password' : 'TLS files'}`
      return { server, entries, settings, error: sessionErrorOf(stage, error).withMessage(message) }
    }
    if (!(error instanceof OptionError)) throw error
    const located = locateError(error, target)
    const { message, exitStatus, hint, cause } = located
    const isOwn = profile !== undefined && target.sourceOf(error.option) === profile && exitStatus === EXIT.NOINPUT
    if (!isOwn || !hasOthers) throw located
    const facts = { exitStatus, cause, hint: hint ?? 'correct the profile; the other profiles are not affected' }
    return { server, entries, settings, error: new SessionError(stage, message, facts) }
  }
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
