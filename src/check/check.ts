import { EXIT, StepError } from '../errors.js'
import { chooseExchangers, noExchangerError, notListedWarning, selfExclusions } from '../etrn/mx.js'
import { mergeExitStatuses } from '../etrn/outcome.js'
import type { FailedRequest, Request } from '../etrn/request.js'
import { type NameEntry, validNames } from '../input/names-file.js'
import type { ServerAddress } from '../input/server-address.js'
import { hintFor, hintForError } from '../report/hints.js'
import { SessionError, sessionErrorOf, STAGE_LABELS } from '../smtp/errors.js'
import { Redactor } from '../smtp/redact.js'
import { openSession } from '../smtp/session.js'
import type { TraceEvent } from '../smtp/trace.js'
import { checkDelivery } from './delivery.js'
import { type CheckFacts, NO_CHECK_FACTS, SessionChecker } from './session-checker.js'
import { type Step, StepLog } from './steps.js'

/** What was found at one server; null if it is unknown. */
export type ServerCheck = CheckFacts & {
  readonly server: ServerAddress
  /** The names that a real run would request, and the bad lines */
  readonly entries: readonly NameEntry[]
  readonly steps: readonly Step[]
  readonly error: SessionError | null
}

export type CheckOptions = {
  readonly signal: AbortSignal
  /** True if a real run would wait for the local mail server, and fail without it. */
  readonly waitsForLocal: boolean
  readonly trace: (server: ServerAddress, event: TraceEvent) => void
  /** Receives the title of each part before its steps. */
  readonly onPart: (title: string) => void
  readonly onStep: (step: Step) => void
}

export type Check = {
  readonly servers: readonly ServerCheck[]
  /** Whether released mail would be delivered to this host */
  readonly delivery: readonly Step[]
  readonly exitStatus: number
}

/**
 * Checks everything that ETRN needs, up to the command itself, which is not sent. The exit status is that of a real run, as far as it
 * can be known; problems with delivery don't affect it. Never throws because of the network or a server.
 */
export async function check(requests: readonly (Request | FailedRequest)[], options: CheckOptions): Promise<Check> {
  const servers: ServerCheck[] = []
  // One after another: somebody reads the steps as they appear.
  for (const request of requests) servers.push(...(await checkRequest(request, options)))
  const delivery = new StepLog(options.onStep)
  let hasLocalServer = true
  // After an interruption nothing more is reported.
  if (!options.signal.aborted) {
    options.onPart('the way back')
    const names = requests.flatMap(({ entries }) => validNames(entries))
    const endpoints = {
      seenAs: servers.flatMap(({ seenAs }) => seenAs ?? []),
      servers: servers.flatMap(({ address }) => address ?? []),
    }
    const timeoutMs = Math.min(...requests.map(({ settings }) => settings.timeoutMs))
    hasLocalServer = await checkDelivery(names, endpoints, { timeoutMs, signal: options.signal }, delivery)
  }
  const isLocalMissing = options.waitsForLocal && !hasLocalServer
  const statuses = [isLocalMissing ? EXIT.TEMPFAIL : EXIT.OK, ...servers.flatMap(checkExitStatuses)]
  return { servers, delivery: delivery.all, exitStatus: mergeExitStatuses(statuses) }
}

function checkExitStatuses({ error, entries }: ServerCheck): number[] {
  const status = error?.exitStatus ?? EXIT.OK
  if (entries.length === 0) return [status, EXIT.USAGE]
  const ofEntries = entries.map((entry) => (typeof entry === 'string' ? status : EXIT.DATAERR))
  // A real run doesn't connect if all lines are bad.
  return validNames(entries).length > 0 ? [...ofEntries, status] : ofEntries
}

async function checkRequest(request: Request | FailedRequest, options: CheckOptions): Promise<ServerCheck[]> {
  if ('error' in request) return [reportFailedRequest(request, options)]
  return request.isMx ? checkExchangers(request, options) : [await checkServer(request, options)]
}

/** Checks the mail exchangers of a domain, without this host. */
async function checkExchangers(request: Request, options: CheckOptions): Promise<ServerCheck[]> {
  const { server, settings, entries } = request
  options.onPart(`the mail exchangers of ${server.host}`)
  const steps = new StepLog(options.onStep)
  try {
    const { requested, excluded, includesSelf } = await chooseExchangers(request, options.signal)
    if (requested.length === 0) throw noExchangerError(excluded)
    const suffix = excluded.map((exclusion) => `; left out: ${exclusion}`).join('')
    const hint = includesSelf ? null : notListedWarning(server.host, settings.self)
    steps.add('MX', includesSelf ? true : null, requested.join(', ') + suffix, hint)
    const checks: ServerCheck[] = []
    for (const host of requested)
      checks.push(await checkServer({ ...request, server: { ...server, word: host, host } }, options))
    const self = selfExclusions(checks)
    if (checks.length === self.length) throw noExchangerError([...excluded, ...self])
    return checks.filter(({ error }) => error?.kind !== 'self')
  } catch (cause) {
    if (!(cause instanceof StepError)) throw cause
    const error = sessionErrorOf('dns', cause)
    steps.add('MX', false, error.message, stepHint(error, ''))
    return [{ ...NO_CHECK_FACTS, server, entries, steps: steps.all, error }]
  }
}

/** Opens a session as a real run would, and ends it before the first ETRN. */
async function checkServer({ server, entries, settings }: Request, options: CheckOptions): Promise<ServerCheck> {
  options.onPart(partTitle(server))
  const steps = new StepLog(options.onStep)
  const checker = new SessionChecker(server, steps)
  const redactor = new Redactor(server.credentials?.password)
  const trace = redactor.redactTrace((event) => {
    // A warning is a step here.
    if (event.type !== 'warning') options.trace(server, event)
    checker.addEvent(event)
  })
  let error: SessionError | null = null
  try {
    const inspected = { ...server, tls: { ...server.tls, isInspected: true as const } }
    const session = await openSession(inspected, { ...settings, signal: options.signal, trace })
    await session.quit()
    checker.addConclusions()
    for (const hint of hintsForNames(entries, checker.facts.greeting ?? '')) steps.note('names', null, hint)
    if (entries.length === 0)
      steps.note('names', null, 'none is given, and this host has none of its own: a real run needs one')
  } catch (cause) {
    if (!(cause instanceof SessionError)) throw cause
    error = redactor.redactError(cause)
    if (error.kind === 'self') checker.addFailure(error, null, 'a NAT leads back to it: a real run leaves it out')
    else checker.addFailure(error, false, stepHint(error, checker.facts.greeting ?? ''))
  }
  return { ...checker.facts, server, entries, steps: steps.all, error }
}

function reportFailedRequest({ server, entries, error }: FailedRequest, options: CheckOptions): ServerCheck {
  options.onPart(partTitle(server))
  const steps = new StepLog(options.onStep)
  steps.add(STAGE_LABELS[error.stage], false, error.message, stepHint(error, ''))
  return { ...NO_CHECK_FACTS, server, entries, steps: steps.all, error }
}

function partTitle({ word, host, port }: ServerAddress): string {
  return `${word === host ? '' : `${word}: `}${host} port ${port}`
}

/** Returns the next step for a failure: there is always one, unless the user ended the run. */
function stepHint(error: SessionError, greeting: string): string {
  if (error.kind === 'interrupted' || error.kind === 'time-over') return ''
  return hintForError(error, greeting) ?? 'show your provider these lines'
}

/** Returns what is known about this server and names of these forms. */
function hintsForNames(entries: readonly NameEntry[], greeting: string): Set<string> {
  const hints = validNames(entries).map((name) => hintFor({ stage: 'etrn', code: 250, text: '', name, greeting }))
  return new Set(hints.filter((hint) => hint !== undefined))
}
