import { EXIT, mergeExitStatuses, StepError } from '../errors.js'
import type { Limits } from '../net/deadline.js'
import { type BadLine, type NameEntry, validNames } from '../input/names-file.js'
import type { ServerAddress } from '../input/server-address.js'
import { SessionError, sessionErrorOf, unexpectedError } from '../smtp/errors.js'
import { NO_FACTS, type TraceEvent } from '../smtp/trace.js'
import { backoffAfter, type Pause, retryStep, RetryWindow } from './backoff.js'
import type { ExchangerChoice, Exclusion } from './mx.js'
import { isAccepted, outcomeOfError } from './outcome.js'
import { type Result, unansweredResult } from './result.js'
import { exitStatusesOf, isSelfReport, type ServerReport } from './server-report.js'
import type { FailedRequest, Request } from './request.js'
import { isRetried, requestInRounds } from './retry.js'
import { SessionSlots } from './session-slots.js'

export type RunOptions = {
  /** The most sessions at once, over all servers */
  readonly jobs: number
  /** The longest wait for the local mail server before anything else; 0 means none */
  readonly waitLocalMs: number
  /** When --max-time ends the run, by performance.now() */
  readonly runEndsAt?: number | undefined
  readonly signal: AbortSignal
  /** Receives what happens in each session; sessions of a server are counted from 1. The server is null for the whole run. */
  readonly trace: (server: ServerAddress | null, event: TraceEvent | Pause, session?: number) => void
  /** Waits until the output can take more. */
  readonly drain?: () => Promise<void>
  /** Receives each final result; `isRetried` is true if temporary failures were retried. */
  readonly onResult: (server: ServerAddress, result: Result, isRetried: boolean) => void
  /** Receives the report of each server as soon as it is complete, and the SERVER or the domain of --mx that led to the server. */
  readonly onReport: (report: ServerReport, target: string) => void
  readonly warn: (message: string) => void
}

export type Run = {
  readonly servers: readonly ServerReport[]
  /** The mail exchangers of all domains that were not requested from */
  readonly excluded: readonly Exclusion[]
  /** The failure of this host that ended the run before any server was contacted; null if nothing did */
  readonly error: SessionError | null
  readonly exitStatus: number
}

const NOTHING_TO_DO: Run = { servers: [], excluded: [], error: null, exitStatus: EXIT.OK }

/** Sends all requests; one without names needs no server. Never throws because of the network or a server. */
export async function run(given: readonly (Request | FailedRequest)[], options: RunOptions): Promise<Run> {
  const requests = given.filter((request) => 'error' in request || request.entries.length > 0)
  if (requests.length === 0) return NOTHING_TO_DO
  const { waitLocalMs, signal, trace } = options
  const limits = { timeoutMs: Math.min(...requests.map(({ settings }) => settings.timeoutMs)), signal }
  const localFailure = await waitForLocal(waitLocalMs, limits, (pause) => trace(null, pause))
  if (localFailure !== undefined) {
    // After a signal every name is reported.
    const servers = localFailure.kind === 'interrupted' ? requests.map(unsentReport) : []
    return { servers, excluded: [], error: localFailure, exitStatus: localFailure.exitStatus }
  }
  const runner = new Runner(options, requests)
  const reports = requests.map(async (request) => {
    const found = await runner.send(request)
    return found.map((report) => ({ ...report, names: orderResults(request.entries, report.names) }))
  })
  const servers = (await Promise.all(reports)).flat()
  return {
    servers,
    excluded: runner.excluded,
    error: null,
    exitStatus: mergeExitStatuses(servers.flatMap(exitStatusesOf)),
  }
}

async function waitForLocal(
  waitMs: number,
  limits: Limits,
  onPause: (pause: Pause) => void,
): Promise<SessionError | undefined> {
  if (waitMs === 0) return undefined
  const { waitForLocalServer } = await import('./local-server.js')
  return waitForLocalServer(waitMs, limits, onPause)
}

class Runner {
  readonly excluded: Exclusion[] = []
  readonly #options: RunOptions
  readonly #startedAt = performance.now()
  readonly #slots: SessionSlots
  /** The number of --mx domains */
  readonly #domains: number
  /** The number of results, as far as the servers are known */
  #results = 0

  constructor(options: RunOptions, requests: readonly (Request | FailedRequest)[]) {
    this.#options = options
    this.#slots = new SessionSlots(options.jobs, requests.length)
    this.#domains = requests.filter((request) => 'isMx' in request && request.isMx).length
  }

  async send(request: Request | FailedRequest): Promise<ServerReport[]> {
    if ('error' in request) return [this.#reportFailure(request, request.error)]
    if (!request.isMx) return [await this.#sendTo(request)]
    return this.#sendToExchangers(request).catch((error: unknown) => {
      const failure = error instanceof StepError ? sessionErrorOf('dns', error) : unexpectedError(error)
      return [this.#reportFailure(request, failure)]
    })
  }

  async #sendTo(request: Request, target = request.server.word): Promise<ServerReport> {
    const { server } = request
    const limiter = this.#slots.limiterFor(server, server.isExchanger ? target : undefined)
    this.#results += request.entries.length
    const context = { ...this.#options, startedAt: this.#startedAt, limiter, countResults: () => this.#results }
    try {
      const report = await requestInRounds(request, context)
      if (!isSelfReport(report)) this.#options.onReport(report, target)
      return report
    } catch (error) {
      return this.#reportFailure(request, unexpectedError(error), target)
    }
  }

  async #sendToExchangers(request: Request): Promise<ServerReport[]> {
    const { server } = request
    const { warn } = this.#options
    const { checkNames, exclusionLines, lateExclusions, noExchangerError } = await import('./mx.js')
    const choice = await this.#lookUpExchangers(request)
    const { requests, excluded, warning } = choice
    checkNames(request, requests)
    for (const line of exclusionLines(server.word, excluded)) warn(line)
    const reports = await Promise.all(requests.map(async (one) => this.#sendTo(one, server.word)))
    const late = lateExclusions(server.host, choice, reports)
    this.excluded.push(...late)
    for (const line of exclusionLines(server.word, late)) warn(line)
    if (warning !== undefined && late.length === 0 && reports.length > 0) warn(`etrn: warning: ${warning}`)
    if (reports.length === late.length) {
      const failure = sessionErrorOf('dns', noExchangerError([...excluded, ...late]))
      return [this.#reportFailure(request, failure, server.word, acceptedNames(reports))]
    }
    return reports.filter((report) => !late.some(({ host }) => host === report.server.host))
  }

  /** Looks up the mail exchangers. Within --retry-for every DNS failure is retried, and that none is left to request. */
  async #lookUpExchangers(request: Request): Promise<ExchangerChoice> {
    const { signal, trace } = this.#options
    const { chooseExchangers, noExchangerError } = await import('./mx.js')
    let excluded: readonly Exclusion[] = []
    const choose = async (): Promise<ExchangerChoice> => {
      const choice = await this.#slots.run(request.server.word, async () => {
        return chooseExchangers(request, signal, this.#domains)
      })
      excluded = choice.excluded
      if (choice.requests.length === 0) throw noExchangerError(excluded)
      return choice
    }
    return retryStep(choose, {
      stage: 'dns',
      backoffAfter: (failures) => backoffAfter(failures, false, Math.random()),
      window: new RetryWindow(this.#startedAt, request.retryPolicy.retryForMs, this.#options.runEndsAt),
      onPause: (pause) => trace(request.server, pause),
      signal,
    }).finally(() => this.excluded.push(...excluded))
  }

  /** Reports a failure of all names. `unconfirmed` are those that were requested, with replies that don't count. */
  #reportFailure(
    request: Request | FailedRequest,
    error: SessionError,
    target = request.server.word,
    unconfirmed: readonly string[] = [],
  ): ServerReport {
    const { server, entries } = request
    const outcome = error.kind === 'interrupted' ? 'skipped' : outcomeOfError(error)
    const names = validNames(entries).map((name) => unansweredResult(name, outcome))
    const elapsedMs = Math.round(performance.now() - this.#startedAt)
    const wasRetried = 'retryPolicy' in request && isRetried(request)
    const flags = { isQueueUnknown: false, isRetried: wasRetried, unconfirmed }
    const report = { server, ...NO_FACTS, attempts: 0, elapsedMs, error, ...flags, names }
    this.#options.onReport(report, target)
    return report
  }
}

function acceptedNames(reports: readonly ServerReport[]): string[] {
  const results = reports.flatMap(({ names }) => names)
  return [...new Set(results.filter(({ outcome }) => isAccepted(outcome)).map(({ name }) => name))]
}

/** Returns the report of a server that nothing was sent to, because of this host. */
function unsentReport({ server, entries }: Request | FailedRequest): ServerReport {
  const names = orderResults(entries, [])
  return { server, ...NO_FACTS, attempts: 0, elapsedMs: 0, error: null, isQueueUnknown: false, names }
}

export function resultOfBadLine({ word, line, reason }: BadLine): Result {
  return unansweredResult(word, 'rejected', `line ${line} ${reason}`)
}

/** Returns the results in the order of the entries, bad lines included. */
function orderResults(entries: readonly NameEntry[], results: readonly Result[]): Result[] {
  const known = new Map(results.map((result) => [result.name, result]))
  const resultOf = (name: string): Result => known.get(name) ?? unansweredResult(name, 'skipped')
  return entries.map((entry) => (typeof entry === 'string' ? resultOf(entry) : resultOfBadLine(entry)))
}
