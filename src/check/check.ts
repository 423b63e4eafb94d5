import { EXIT, mergeExitStatuses, StepError } from '../errors.js'
import { localServerError } from '../etrn/local-server.js'
import {
  checkNames,
  chooseExchangers,
  type Exclusion,
  lateExclusions,
  listExclusions,
  noExchangerError,
} from '../etrn/mx.js'
import { resultOf } from '../etrn/result.js'
import { addHint } from '../etrn/reply-meanings.js'
import type { FailedRequest, Request } from '../etrn/request.js'
import { validNames } from '../input/names-file.js'
import type { ServerAddress } from '../input/server-address.js'
import { listSome } from '../printable.js'
import { SessionError, sessionErrorOf, STAGE_LABELS } from '../smtp/errors.js'
import type { Server, SessionOptions } from '../smtp/session-settings.js'
import { openSession } from '../smtp/session.js'
import type { TraceEvent } from '../smtp/trace.js'
import { checkDelivery } from './delivery.js'
import { NO_CHECK_FACTS, type ServerCheck, SessionChecker } from './session-checker.js'
import { type Step, type StepListener, StepLog } from './steps.js'

export type CheckOptions = StepListener & {
  readonly signal: AbortSignal
  /** True if a real run would wait for the local mail server, and fail without it. */
  readonly waitsForLocal: boolean
  readonly trace: (server: ServerAddress, event: TraceEvent) => void
  /** Waits until the output can take more. */
  readonly drain: () => Promise<void>
}

export type Check = {
  readonly servers: readonly ServerCheck[]
  /** The mail exchangers of all domains that a real run would not request from */
  readonly excluded: readonly Exclusion[]
  /** Steps that show if released mail would be delivered to this host */
  readonly delivery: readonly Step[]
  /** The failure of this host that would end a real run before any server is contacted; null if nothing would */
  readonly error: SessionError | null
  readonly exitStatus: number
}

/**
 * Checks everything that ETRN needs, up to the command itself, which is not sent. The exit status is that of a real run, as far as it
 * can be known; problems with delivery don't affect it. Never throws because of the network or a server.
 */
export async function check(requests: readonly (Request | FailedRequest)[], options: CheckOptions): Promise<Check> {
  const servers: ServerCheck[] = []
  const excluded: Exclusion[] = []
  // One after another: somebody reads the steps as they appear.
  for (const request of requests) {
    const found = await checkRequest(request, options)
    servers.push(...found.servers)
    excluded.push(...found.excluded)
  }
  let delivery: StepLog | undefined
  let localFailure: StepError | undefined
  // After an interruption nothing more is reported.
  if (!options.signal.aborted) {
    const effect = options.waitsForLocal ? '' : ' (does not affect the exit status)'
    delivery = new StepLog(`delivery to this host${effect}`, options)
    const timeoutMs = Math.min(...requests.map(({ settings }) => settings.timeoutMs))
    localFailure = await checkDelivery(servers, { timeoutMs, signal: options.signal }, delivery)
  }
  const error = options.waitsForLocal && localFailure !== undefined ? localServerError(localFailure) : null
  const statuses = [error?.exitStatus ?? EXIT.OK, ...servers.flatMap(checkExitStatuses)]
  return { servers, excluded, delivery: delivery?.all ?? [], error, exitStatus: mergeExitStatuses(statuses) }
}

function checkExitStatuses({ error, entries }: ServerCheck): number[] {
  const status = error?.exitStatus ?? EXIT.OK
  if (entries.length === 0) return [status, EXIT.USAGE]
  const ofEntries = entries.map((entry) => (typeof entry === 'string' ? status : EXIT.DATAERR))
  // A real run doesn't connect if all lines are bad.
  return validNames(entries).length > 0 ? [...ofEntries, status] : ofEntries
}

type RequestCheck = Pick<Check, 'servers' | 'excluded'>

async function checkRequest(request: Request | FailedRequest, options: CheckOptions): Promise<RequestCheck> {
  if ('error' in request) {
    const { server, error } = request
    const steps = new StepLog(partTitle(server), options)
    return { servers: [failedCheck(request, steps, STAGE_LABELS[error.stage], error)], excluded: [] }
  }
  return request.isMx
    ? checkExchangers(request, options)
    : { servers: [await checkServer(request, options)], excluded: [] }
}

function failedCheck(request: Request | FailedRequest, steps: StepLog, step: string, error: SessionError): ServerCheck {
  const { server, entries } = request
  steps.add(step, false, error.message, stepHint(error))
  return { ...NO_CHECK_FACTS, server, entries, steps: steps.all, error }
}

/** The most exchangers of one domain that are checked, one after another: each can take some time, and DNS can list any number. */
const CHECKED_EXCHANGERS = 10

async function checkExchangers(request: Request, options: CheckOptions): Promise<RequestCheck> {
  const { server } = request
  const steps = new StepLog(`mail exchangers of ${server.host}`, options)
  const excluded: Exclusion[] = []
  try {
    const choice = await chooseExchangers(request, options.signal)
    const { requests, warning } = choice
    excluded.push(...choice.excluded)
    if (requests.length === 0) throw noExchangerError(excluded, true)
    checkNames(request, requests)
    const hosts = listSome(requests.map((one) => one.server.host))
    const more = requests.length > CHECKED_EXCHANGERS ? `; only the first ${CHECKED_EXCHANGERS} are checked` : ''
    const suffix = `${more}${excluded.length === 0 ? '' : `; excluded: ${listExclusions(excluded)}`}`
    steps.add('MX', warning === undefined ? true : null, hosts + suffix, warning)
    const checks: ServerCheck[] = []
    for (const one of requests.slice(0, CHECKED_EXCHANGERS)) checks.push(await checkServer(one, options))
    const late = lateExclusions(server.host, choice, checks)
    excluded.push(...late)
    if (checks.length === late.length) throw noExchangerError(excluded, true)
    return { servers: checks.filter((check) => !late.some(({ host }) => host === check.server.host)), excluded }
  } catch (cause) {
    if (!(cause instanceof StepError)) throw cause
    return { servers: [failedCheck(request, steps, 'MX', sessionErrorOf('dns', cause))], excluded }
  }
}

/** Opens a session as a real run would, and ends it before the first ETRN. */
async function checkServer({ server, entries, settings }: Request, options: CheckOptions): Promise<ServerCheck> {
  await options.drain()
  const checker = new SessionChecker(partTitle(server), server, options)
  const { redactor } = server
  const trace = redactor.redactTrace((event) => {
    // A warning is a step here.
    if (event.type !== 'warning') options.trace(server, event)
    checker.addEvent(event)
  })
  let error: SessionError | null = null
  try {
    const inspected = { ...server, tls: { ...server.tls, isInspected: true as const } }
    await passSession(inspected, { ...settings, signal: options.signal, trace })
    checker.addConclusions()
    const greeting = checker.facts.greeting ?? ''
    // What is known about this server and names of these forms
    const accepted = { code: 250, enhancedCode: null, lines: [''], text: '' }
    const hints = validNames(entries).map((name) => resultOf(name, accepted, greeting).hint)
    for (const hint of new Set(hints)) if (hint !== null) checker.note('names', null, hint)
    if (entries.length === 0)
      checker.note(
        'names',
        null,
        'no name given, and this host has no domain name that other hosts know',
        'add a NAME for a real run',
      )
  } catch (cause) {
    if (!(cause instanceof SessionError)) throw cause
    error = addHint(redactor.redactError(cause), checker.facts.greeting ?? '')
    if (error.kind === 'self')
      checker.addFailure(error, null, 'the connection leads back to this host through NAT: a real run excludes this MX')
    else checker.addFailure(error, false, stepHint(error))
  }
  return { ...checker.facts, server, entries, steps: checker.all, error }
}

/** Opens a session, and ends it where a real run would send the first ETRN. Throws SessionError. */
async function passSession(server: Server, options: SessionOptions): Promise<void> {
  const session = await openSession(server, options)
  try {
    // Sends nothing, but fails as a request would if the server has sent too much, or has closed the connection.
    await session.etrn(() => undefined)
  } finally {
    await session.quit()
  }
}

function partTitle({ word, host, port }: ServerAddress): string {
  return `${word === host ? '' : `${word}: `}${host} port ${port}`
}

/** Returns the next step for a failure: there is always one, unless the user ended the run. */
function stepHint({ kind, hint }: SessionError): string | null {
  if (kind === 'interrupted' || kind === 'time-over') return null
  return hint ?? 'send these lines to your provider'
}
