import pLimit, { type LimitFunction } from 'p-limit'
import { StepError } from '../errors.js'
import { type BadLine, type NameEntry, validNames } from '../input/names-file.js'
import type { ServerAddress } from '../input/server-address.js'
import { SessionError, sessionErrorOf } from '../smtp/errors.js'
import type { Server } from '../smtp/session-settings.js'
import { NO_FACTS, type TraceEvent } from '../smtp/trace.js'
import { backoffMs, type Pause, retryStep } from './backoff.js'
import type { ExchangerChoice, Exclusion } from './mx.js'
import {
  exitStatusesOf,
  mergeExitStatuses,
  outcomeOfError,
  type Result,
  type ServerReport,
  unansweredResult,
} from './outcome.js'
import type { FailedRequest, Request } from './request.js'
import { requestWithRetries } from './retry.js'
import { SESSIONS_PER_SERVER } from './session-limits.js'
import type { Limiter } from './session-pool.js'

export type RunOptions = {
  /** The most sessions at once, over all servers */
  readonly jobs: number
  /** How long to wait for the local mail server before anything else; 0 means not at all */
  readonly waitLocalMs: number
  readonly signal: AbortSignal
  /** Receives what happens in each session; sessions of a server are counted from 1. The server is null for the whole run. */
  readonly trace: (server: ServerAddress | null, event: TraceEvent | Pause, session?: number) => void
  /** Receives the result of each name as soon as it is final. */
  readonly onResult: (server: ServerAddress, result: Result) => void
  /** Receives the report of each server as soon as it is complete. */
  readonly onReport: (report: ServerReport) => void
  readonly warn: (message: string) => void
}

export type Run = { readonly servers: readonly ServerReport[]; readonly exitStatus: number }

/** Sends all requests. Never throws because of the network or a server. */
export async function run(requests: readonly (Request | FailedRequest)[], options: RunOptions): Promise<Run> {
  const localFailure = await waitForLocal(requests, options)
  const runner = new Runner(options)
  const reports = requests.map(async (request) => {
    const found = await runner.send(request, localFailure)
    return found.map((report) => ({ ...report, names: orderResults(request.entries, report.names) }))
  })
  const servers = (await Promise.all(reports)).flat()
  return { servers, exitStatus: mergeExitStatuses(servers.flatMap(exitStatusesOf)) }
}

/** Waits for the local mail server if --wait-local is given. Returns its failure. */
async function waitForLocal(
  requests: readonly (Request | FailedRequest)[],
  { waitLocalMs, signal, trace }: RunOptions,
): Promise<SessionError | undefined> {
  if (waitLocalMs === 0) return undefined
  const { waitForLocalServer } = await import('./local-server.js')
  try {
    const timeoutMs = Math.min(...requests.map(({ settings }) => settings.timeoutMs))
    await waitForLocalServer(waitLocalMs, { timeoutMs, signal }, (pause) => trace(null, pause))
    return undefined
  } catch (error) {
    if (error instanceof StepError) return sessionErrorOf('connect', error)
    throw error
  }
}

/** Sends requests within the limits of one run. */
class Runner {
  readonly #options: RunOptions
  readonly #startedAt = performance.now()
  readonly #limit: LimitFunction
  /** Limits by host and port: several profiles may name one server. */
  readonly #serverLimits = new Map<string, LimitFunction>()

  constructor(options: RunOptions) {
    this.#options = options
    this.#limit = pLimit(options.jobs)
  }

  async send(request: Request | FailedRequest, localFailure: SessionError | undefined): Promise<ServerReport[]> {
    if (localFailure !== undefined) return [this.#reportFailure(request, localFailure)]
    if ('error' in request) return [this.#reportFailure(request, request.error)]
    return request.isMx ? this.#sendToExchangers(request) : [await this.#sendTo(request.server, request)]
  }

  async #sendTo(server: Server, { entries, settings, retryPolicy }: Request): Promise<ServerReport> {
    const onPause = (pause: Pause): void => this.#options.trace(server, pause)
    const context = { ...this.#options, startedAt: this.#startedAt, onPause, limiter: this.#limiterFor(server) }
    const report = await requestWithRetries(server, validNames(entries), settings, retryPolicy, context)
    if (!isSelfReport(report)) this.#options.onReport(report)
    return report
  }

  async #sendToExchangers(request: Request): Promise<ServerReport[]> {
    const { server, settings } = request
    const { formatExclusion, noExchangerError, notListedWarning } = await import('./mx.js')
    const warnOf = (excluded: readonly Exclusion[]): void => {
      for (const exclusion of excluded) this.#options.warn(`left out: ${formatExclusion(exclusion)}`)
    }
    try {
      const { requested, excluded, includesSelf } = await this.#lookUpExchangers(request)
      warnOf(excluded)
      const sending = requested.map(async (host) => this.#sendTo({ ...server, word: host, host }, request))
      const reports = await Promise.all(sending)
      const self = reports.filter(isSelfReport).map((report) => ({ host: report.server.host, reason: 'this site' }))
      warnOf(self)
      if (!includesSelf && self.length === 0 && reports.length > 0)
        this.#options.warn(notListedWarning(server.word, settings.self))
      if (reports.length > self.length) return reports.filter((report) => !isSelfReport(report))
      throw noExchangerError([...excluded, ...self])
    } catch (error) {
      if (error instanceof StepError) return [this.#reportFailure(request, sessionErrorOf('dns', error))]
      throw error
    }
  }

  /** Looks up the mail exchangers. Within --retry-for every DNS failure is retried. */
  async #lookUpExchangers({ server, settings, retryPolicy }: Request): Promise<ExchangerChoice> {
    const { chooseExchangers } = await import('./mx.js')
    const { signal, trace } = this.#options
    const limits = { timeoutMs: settings.timeoutMs, signal }
    return retryStep(async () => this.#limit(async () => chooseExchangers(server.host, settings.self, limits)), {
      pauseMs: (failures) => backoffMs(failures, false, Math.random()),
      leftMs: () => retryPolicy.retryForMs - (performance.now() - this.#startedAt),
      onPause: (pause) => trace(server, pause),
      signal,
    })
  }

  #limiterFor({ host, port }: Server): Limiter {
    const key = `${host} ${port}`
    const limit = this.#serverLimits.get(key) ?? pLimit(SESSIONS_PER_SERVER)
    this.#serverLimits.set(key, limit)
    return async (work) => limit(async () => this.#limit(work))
  }

  /** Reports a server that was not reached. */
  #reportFailure({ server, entries }: Request | FailedRequest, error: SessionError): ServerReport {
    const outcome = error.kind === 'interrupted' ? 'skipped' : outcomeOfError(error)
    const names = validNames(entries).map((name) => unansweredResult(name, outcome))
    const elapsedMs = Math.round(performance.now() - this.#startedAt)
    const report = { server, ...NO_FACTS, attempts: 0, elapsedMs, error, isQueueUnknown: false, names }
    this.#options.onReport(report)
    return report
  }
}

function isSelfReport({ error }: ServerReport): boolean {
  return error?.kind === 'self'
}

/** Returns the result of a bad line of a names file. */
export function resultOfBadLine({ word, line, reason }: BadLine): Result {
  return unansweredResult(word, 'rejected', `line ${line}: ${reason}`)
}

/** Returns the results in the order of the entries, bad lines included. */
function orderResults(entries: readonly NameEntry[], results: readonly Result[]): Result[] {
  const known = new Map(results.map((result) => [result.name, result]))
  const resultOf = (name: string): Result => known.get(name) ?? unansweredResult(name, 'skipped')
  return entries.map((entry) => (typeof entry === 'string' ? resultOf(entry) : resultOfBadLine(entry)))
}
