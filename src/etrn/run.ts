import pLimit, { type LimitFunction } from 'p-limit'
import { StepError } from '../errors.js'
import { type BadLine, type NameEntry, validNames } from '../input/names-file.js'
import type { ServerAddress } from '../input/server-address.js'
import { SessionError, sessionErrorOf } from '../smtp/errors.js'
import type { Server } from '../smtp/server.js'
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
  const limit = pLimit(options.jobs)
  const limiter: Limiter = (work) => limit(work)
  const context = { ...options, startedAt: performance.now(), limiter, limiterFor: createServerLimiters(limiter) }
  const reportsFor = async (request: Request | FailedRequest): Promise<ServerReport[]> => {
    if (localFailure !== undefined) return [reportFailure(request, localFailure, context)]
    if ('error' in request) return [reportFailure(request, request.error, context)]
    return request.isMx
      ? requestFromExchangers(request, context)
      : [await requestFrom(request, request.server, context)]
  }
  const reports = requests.map(async (request) => orderResults(request.entries, await reportsFor(request)))
  const servers = (await Promise.all(reports)).flat()
  return { servers, exitStatus: mergeExitStatuses(servers.flatMap(exitStatusesOf)) }
}

/** startedAt is by performance.now(). */
type RunContext = RunOptions & {
  readonly startedAt: number
  readonly limiter: Limiter
  readonly limiterFor: (server: ServerAddress) => Limiter
}

/** Returns limiters for the sessions with one server, which several profiles may name. */
function createServerLimiters(limiter: Limiter): RunContext['limiterFor'] {
  const limits = new Map<string, LimitFunction>()
  return ({ host, port }) => {
    const key = `${host} ${port}`
    const limit = limits.get(key) ?? pLimit(SESSIONS_PER_SERVER)
    limits.set(key, limit)
    return async (work) => limit(async () => limiter(work))
  }
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

async function requestFrom(
  { entries, settings, retryPolicy }: Request,
  server: Server,
  { signal, startedAt, trace, onResult, onReport, limiterFor }: RunContext,
): Promise<ServerReport> {
  const onPause = (pause: Pause): void => trace(server, pause)
  const context = { signal, startedAt, trace, onResult, onPause, limiter: limiterFor(server) }
  const report = await requestWithRetries(server, validNames(entries), settings, retryPolicy, context)
  if (!isSelfReport(report)) onReport(report)
  return report
}

async function requestFromExchangers(request: Request, context: RunContext): Promise<ServerReport[]> {
  const { server, settings } = request
  const { formatExclusion, noExchangerError, notListedWarning } = await import('./mx.js')
  const warnOf = (excluded: readonly Exclusion[]): void => {
    for (const exclusion of excluded) context.warn(`left out: ${formatExclusion(exclusion)}`)
  }
  try {
    const { requested, excluded, includesSelf } = await lookUpExchangers(request, context)
    warnOf(excluded)
    const hosts = requested.map((host) => ({ ...server, word: host, host }))
    const reports = await Promise.all(hosts.map(async (host) => requestFrom(request, host, context)))
    const self = reports.filter(isSelfReport).map((report) => ({ host: report.server.host, reason: 'this site' }))
    warnOf(self)
    if (!includesSelf && self.length === 0 && reports.length > 0)
      context.warn(notListedWarning(server.word, settings.self))
    if (reports.length > self.length) return reports.filter((report) => !isSelfReport(report))
    throw noExchangerError([...excluded, ...self])
  } catch (error) {
    if (error instanceof StepError) return [reportFailure(request, sessionErrorOf('dns', error), context)]
    throw error
  }
}

/** Looks up the mail exchangers. Within --retry-for every DNS failure is retried. */
async function lookUpExchangers(
  { server, settings, retryPolicy: { retryForMs } }: Request,
  { limiter, signal, startedAt, trace }: RunContext,
): Promise<ExchangerChoice> {
  const { chooseExchangers } = await import('./mx.js')
  const limits = { timeoutMs: settings.timeoutMs, signal }
  const step = async (): Promise<ExchangerChoice> => chooseExchangers(server.host, settings.self, limits)
  return retryStep(async () => limiter(step), {
    pauseMs: (failures) => backoffMs(failures, false, Math.random()),
    leftMs: () => retryForMs - (performance.now() - startedAt),
    onPause: (pause) => trace(server, pause),
    signal,
  })
}

function isSelfReport({ error }: ServerReport): boolean {
  return error?.kind === 'self'
}

/** Reports a server that was not reached. */
function reportFailure(
  { server, entries }: Request | FailedRequest,
  error: SessionError,
  { startedAt, onReport }: RunContext,
): ServerReport {
  const outcome = error.kind === 'interrupted' ? 'skipped' : outcomeOfError(error)
  const names = validNames(entries).map((name) => unansweredResult(name, outcome))
  const elapsedMs = Math.round(performance.now() - startedAt)
  const report = { server, ...NO_FACTS, attempts: 0, elapsedMs, error, isQueueUnknown: false, names }
  onReport(report)
  return report
}

/** Returns the result of a bad line of a names file. */
export function resultOfBadLine({ word, line, reason }: BadLine): Result {
  return unansweredResult(word, 'rejected', `line ${line}: ${reason}`)
}

/** Returns the reports with the results in the order of the entries, bad lines included. */
function orderResults(entries: readonly NameEntry[], reports: readonly ServerReport[]): ServerReport[] {
  return reports.map((report) => {
    const known = new Map(report.names.map((result) => [result.name, result]))
    const resultFor = (name: string): Result => known.get(name) ?? unansweredResult(name, 'skipped')
    const names = entries.map((entry) => (typeof entry === 'string' ? resultFor(entry) : resultOfBadLine(entry)))
    return { ...report, names }
  })
}
