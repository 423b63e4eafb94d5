import type { Readable } from 'node:stream'
import { EXIT, StepError, UsageError } from '../errors.js'
import type { Request, RequestSettings } from '../etrn/request.js'
import type { NameEntry } from '../input/names-file.js'
import type { ServerArgument } from '../input/server-address.js'
import { DEFAULT_TIMEOUT_MS } from '../net/deadline.js'
import { ownHostName } from '../net/this-host.js'
import { SessionError, type Stage } from '../smtp/errors.js'
import type { TlsPolicy } from '../smtp/tls-policy.js'
import type { CommandLine } from './arguments.js'
import type { Config } from './config.js'
import { checkCredentialsTarget, readCredentials, needsPassword, type PasswordSources } from './login.js'
import type { Options } from './options.js'
import { createNameReader, noNameError, typedNames } from './requested-names.js'
import { blaming, type Target, resolveTargets, type Says, saysNames, saysOptions } from './targets.js'

export type RequestSources = PasswordSources & {
  /** What `--names-from -` reads */
  readonly input: () => Readable
}

/** The interval of --wait, in milliseconds */
const DEFAULT_INTERVAL_MS = 60_000

/** What the command line and the configuration ask of whom. Throws UsageError, and StepError where nobody else is to be asked. */
export async function createRequests(line: CommandLine, config: Config, around: RequestSources): Promise<Request[]> {
  const places = resolveTargets(line, config, around.warn)
  checkCredentialsTarget(line, places, around.environment)
  const entriesOf = createNameReader(around)
  const { readTlsPolicy: policyOf } = await import('./tls-options.js')
  const own = ownHostName()
  const requests: Request[] = []
  for (const place of places) {
    const { server: target, isMx, options } = place
    const blamed = async <T>(says: Says, work: () => T | Promise<T>): Promise<T> =>
      blaming(place, { line, config, says }, work)
    const settings = await blamed(saysOptions, () => settingsOf(options, own, isMx))
    const request = { isMx, settings, retryPolicy: retryPolicyOf(options) }
    let stage: Stage = 'etrn'
    let entries: readonly NameEntry[] = []
    try {
      // One after another: a password may be asked for on the terminal.
      entries = await blamed(saysNames, async () => entriesOf(options, isMx ? target.host : undefined))
      stage = 'tls'
      const tls = await blamed(saysOptions, async () => policyOf(target, options, around.signal))
      stage = 'auth'
      const credentials = await blamed(saysOptions, async () => readCredentials(target, options, around))
      requests.push({ ...request, entries, server: { ...target, tls, credentials } })
    } catch (error) {
      const isOwn = error instanceof StepError && error.exitStatus === EXIT.NOINPUT
      if (!isOwn || places.length === 1) throw error
      requests.push({ ...request, entries, ...failedRequest(target, stage, error) })
    }
  }
  return requests
}

/** A server that lacks something of its own */
function failedRequest(
  target: ServerArgument,
  stage: Stage,
  { message, exitStatus, cause }: StepError,
): Pick<Request, 'server' | 'failure'> {
  const hint = 'the others are asked all the same'
  return {
    server: { ...target, tls: NO_POLICY, credentials: undefined },
    failure: new SessionError(stage, message, { exitStatus, cause, hint }),
  }
}

const NO_POLICY: TlsPolicy = {
  ...{ level: 'none', minVersion: 'TLSv1.2', fingerprint: undefined, name: undefined },
  ...{ ca: undefined, cert: undefined, key: undefined },
}

/** What a hook can be made of: the same, but for what is read only when it runs. Throws UsageError. */
export async function checkHookTargets(
  line: CommandLine,
  config: Config,
  warn: (message: string) => void,
): Promise<Target[]> {
  const places = resolveTargets(line, config, warn)
  checkCredentialsTarget(line, places, undefined)
  for (const place of places) {
    const { options, isMx } = place
    await blaming(place, { line, config, says: saysNames }, async () => {
      const names = await typedNames(options)
      if (options['names-from'].includes('-'))
        throw new UsageError('a hook has no standard input: put the names into a file')
      if (names.length + options['names-from'].length === 0 && !isMx && ownHostName() === undefined) throw noNameError()
    })
    const { checkTlsOptions: checkTrust } = await import('./tls-options.js')
    await blaming(place, { line, config, says: saysOptions }, () => {
      settingsOf(options, undefined, isMx)
      checkTrust(place.server, options)
      if (!needsPassword(place)) return Promise.resolve()
      throw new UsageError('in a hook nobody types a password: --password-file F, or --password-command C')
    })
  }
  return places
}

/** What holds for every session with one server. */
function settingsOf(options: Options, own: string | undefined, isMx: boolean): RequestSettings {
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

function retryPolicyOf(options: Options): Request['retryPolicy'] {
  return {
    retryForMs: options['retry-for'] ?? 0,
    waitMs: options.wait ?? 0,
    intervalMs: options.interval ?? DEFAULT_INTERVAL_MS,
  }
}
