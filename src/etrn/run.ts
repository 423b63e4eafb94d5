import pLimit, { type LimitFunction } from 'p-limit'
import { StepError } from '../errors.js'
import { type BadLine, type NameEntry, validNames } from '../input/names-file.js'
import type { ServerAddress } from '../input/server-address.js'
import { type SessionError, sessionErrorOf } from '../smtp/errors.js'
import type { Server } from '../smtp/server.js'
import type { TraceEvent } from '../smtp/trace.js'
import { backoffMs, type Pause, retryStep } from './backoff.js'
import type { Exclusion, ExchangerChoice } from './mx.js'
import { mergeExitStatuses, outcomeOfError, type Result, unansweredResult } from './outcome.js'
import type { FailedRequest, Request } from './request.js'
import { requestWithRetries } from './retry.js'
import { exitStatusesOf, type ServerReport, unreachedReport } from './server-report.js'
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
  const context = { ...options, startedAt: performance.now(), ...createLimiters((work) => limit(work)) }
  const reports = await Promise.all(
    requests.map(async (request) => {
      const found = await reportsFor(request, localFailure, context)
      return found.map((report) => ({ ...report, names: orderResults(request.entries, report.names) }))
    }),
  )
  const servers = reports.flat()
  return { servers, exitStatus: mergeExitStatuses(servers.flatMap(exitStatusesOf)) }
}

type Limiters = { readonly limiter: Limiter; readonly limiterFor: (server: ServerAddress) => Limiter }
/** startedAt is by performance.now(). */
type RunContext = RunOptions & Limiters & { readonly startedAt: number }

/** Returns limiters for all sessions, and for those with one server, which several profiles may name. */
function createLimiters(limiter: Limiter): Limiters {
  const limits = new Map<string, LimitFunction>()
  const limiterFor = ({ host, port }: ServerAddress): Limiter => {
    const key = `${host} ${port}`
    const limit = limits.get(key) ?? pLimit(SESSIONS_PER_SERVER)
    limits.set(key, limit)
    return async (work) => limit(async () => limiter(work))
  }
  return { limiter, limiterFor }
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

async function reportsFor(
  request: Request | FailedRequest,
  localFailure: SessionError | undefined,
  context: RunContext,
): Promise<ServerReport[]> {
  if (localFailure !== undefined) return [reportFailure(request, localFailure, context)]
  if ('error' in request) return [reportFailure(request, request.error, context)]
  return request.isMx ? requestFromExchangers(request, context) : [await requestFrom(request, request.server, context)]
}

async function requestFrom(
  { entries, settings, retryPolicy }: Request,
  server: Server,
  { signal, startedAt, trace, onResult, onReport, limiterFor }: RunContext,
): Promise<ServerReport> {
  const onPause = (pause: Pause): void => trace(server, pause)
  const context = { signal, startedAt, trace, onResult, onPause, limiter: limiterFor(server) }
  const report = await requestWithRetries(server, validNames(entries), { settings, retryPolicy }, context)
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
  return retryStep(async () => limiter(async () => chooseExchangers(server.host, settings.self, limits)), {
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
  const report = unreachedReport(server, error, names, Math.round(performance.now() - startedAt))
  onReport(report)
  return report
}

/** Returns the result of a bad line of a names file. */
export function resultOfBadLine({ word, line, reason }: BadLine): Result {
  return unansweredResult(word, 'rejected', `line ${line}: ${reason}`)
}

function orderResults(entries: readonly NameEntry[], results: readonly Result[]): Result[] {
  const known = new Map(results.map((result) => [result.name, result]))
  return entries.map((entry) => {
    return typeof entry === 'string' ? (known.get(entry) ?? unansweredResult(entry, 'skipped')) : resultOfBadLine(entry)
  })
}
