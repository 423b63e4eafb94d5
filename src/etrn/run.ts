import pLimit, { type LimitFunction } from 'p-limit'
import { StepError } from '../errors.js'
import { type BadLine, type NameEntry, validNames } from '../input/names-file.js'
import { SessionError, sessionErrorOf } from '../smtp/errors.js'
import type { Server } from '../smtp/session.js'
import { NO_FACTS, type TraceEvent } from '../smtp/trace.js'
import { sleep, type Pause, describePause, backoffMs } from './backoff.js'
import type { ExchangerChoice } from './mx.js'
import { mergeExitStatuses, outcomeOfError, type Result, unansweredResult } from './outcome.js'
import type { Request } from './request.js'
import { requestWithRetries } from './retry.js'
import { exitStatusesOf, type ServerReport } from './server-report.js'
import { SESSIONS_PER_SERVER } from './session-limits.js'
import type { Limiter } from './session-pool.js'

export const DEFAULT_JOBS = 8

export type RunOptions = {
  /** Sessions at once */
  readonly jobs: number
  /** How long this host's own mail server is waited for, before anything else; 0: not at all */
  readonly waitLocalMs: number
  readonly signal: AbortSignal
  /** null: what happens concerns all. The sessions of a server are counted from 1. */
  readonly trace: (server: Server | null, event: TraceEvent | Pause, session?: number) => void
  /** Told of each name whose last reply is there, at once. */
  readonly onResult: (server: Server, result: Result) => void
  /** Told of each server, when all about it is known. */
  readonly onReport: (report: ServerReport) => void
  readonly warn: (message: string) => void
}

export type Run = { readonly servers: readonly ServerReport[]; readonly exitStatus: number }

/** Asks all servers. Never throws for what the network or a server does. */
export async function run(requests: readonly Request[], o: RunOptions): Promise<Run> {
  const failure = await waitForLocal(requests, o)
  const limit = pLimit(o.jobs)
  const turn: Limiter = (work) => limit(work)
  const context: RunContext = { ...o, began: performance.now(), turn, turnAt: serverLimiters(turn) }
  const reports = await Promise.all(
    requests.map(async (request) => {
      const error = failure ?? request.failure
      const found = error === undefined ? await requestFrom(request, context) : [failureReport(request, error, context)]
      return found.map((report) => ({ ...report, names: orderResults(request.entries, report.names) }))
    }),
  )
  const servers = reports.flat()
  return { servers, exitStatus: mergeExitStatuses(servers.flatMap(exitStatusesOf)) }
}

type RunContext = RunOptions & {
  readonly began: number
  readonly turn: Limiter
  readonly turnAt: (server: Server) => Limiter
}

/** Turns among all, and among those at one server, which may be that of several profiles. */
function serverLimiters(among: Limiter): RunContext['turnAt'] {
  const limits = new Map<string, LimitFunction>()
  return ({ host, port }) => {
    const key = `${host} ${port}`
    const limit = limits.get(key) ?? pLimit(SESSIONS_PER_SERVER)
    limits.set(key, limit)
    return async (work) => limit(async () => among(work))
  }
}

/** Waits for this host's own mail server, if that is wanted; what went wrong. */
async function waitForLocal(requests: readonly Request[], o: RunOptions): Promise<SessionError | undefined> {
  if (o.waitLocalMs === 0) return undefined
  const timeoutMs = Math.min(...requests.map(({ settings }) => settings.timeoutMs))
  const { waitForLocalServer: waitForOwn } = await import('./local-server.js')
  try {
    await waitForOwn(o.waitLocalMs, { timeoutMs, signal: o.signal }, (pause) => o.trace(null, pause))
    return undefined
  } catch (error) {
    if (error instanceof StepError) return sessionErrorOf('connect', error)
    throw error
  }
}

async function requestFrom(request: Request, o: RunContext): Promise<ServerReport[]> {
  const { server, settings, retryPolicy: patience } = request
  const names = validNames(request.entries)
  const ask = async (host: Server): Promise<ServerReport> => {
    const { signal, began, trace, onResult } = o
    const turn = o.turnAt(host)
    const report = await requestWithRetries(host, names, {
      ...settings,
      retryPolicy: patience,
      signal,
      began,
      limiter: turn,
      trace,
      onResult,
    })
    if (!isSelfReport(report)) o.onReport(report)
    return report
  }
  if (!request.isMx) return [await ask(server)]
  const {
    formatExclusion: inWords,
    noExchangerError: nobodyLeft,
    notListedWarning: unknownHere,
  } = await import('./mx.js')
  try {
    const found = await lookUpExchangers(request, o)
    for (const one of found.excluded) o.warn(`left out: ${inWords(one)}`)
    const reports = await Promise.all(found.requested.map(async (host) => ask({ ...server, word: host, host })))
    const ourselves = reports.filter(isSelfReport).map((report) => ({ host: report.server.host, reason: 'this site' }))
    for (const one of ourselves) o.warn(`left out: ${inWords(one)}`)
    if (!found.includesSelf && ourselves.length === 0 && reports.length > 0)
      o.warn(unknownHere(server.word, settings.self))
    if (reports.length > ourselves.length) return reports.filter((report) => !isSelfReport(report))
    throw nobodyLeft([...found.excluded, ...ourselves])
  } catch (error) {
    if (error instanceof StepError) return [failureReport(request, sessionErrorOf('dns', error), o)]
    throw error
  }
}

/** The mail exchangers; within --retry-for every failure of the DNS is tried again. */
async function lookUpExchangers(
  { server, settings, retryPolicy: patience }: Request,
  o: RunContext,
): Promise<ExchangerChoice> {
  const { chooseExchangers: exchangersOf } = await import('./mx.js')
  for (let failures = 1; ; failures++) {
    try {
      return await o.turn(() => exchangersOf(server.host, settings.self, { ...settings, signal: o.signal }))
    } catch (error) {
      if (!(error instanceof StepError) || o.signal.aborted) throw error
      const leftMs = patience.retryForMs - (performance.now() - o.began)
      const pauseMs = backoffMs(failures, false, Math.random())
      if (pauseMs > leftMs) throw error
      const pause = describePause(error.message, pauseMs, leftMs)
      o.trace(server, pause)
      await sleep(pause, o.signal)
      o.signal.throwIfAborted()
    }
  }
}

function isSelfReport({ error }: ServerReport): boolean {
  return error?.kind === 'self'
}

/** The report where no session could be had. */
function failureReport(request: Request, error: SessionError, o: RunContext): ServerReport {
  const outcome = error.kind === 'interrupted' ? 'skipped' : outcomeOfError(error)
  const report = {
    server: request.server,
    ...NO_FACTS,
    attempts: 0,
    elapsedMs: Math.round(performance.now() - o.began),
    error,
    isQueueUnknown: false,
    names: validNames(request.entries).map((name) => unansweredResult(name, outcome)),
  }
  o.onReport(report)
  return report
}

/** What a line of --names-from that is no name comes to. */
export function resultOfBadLine({ word, line, reason }: BadLine): Result {
  return unansweredResult(word, 'rejected', `line ${line}: ${reason}`)
}

function orderResults(entries: readonly NameEntry[], results: readonly Result[]): Result[] {
  const known = new Map(results.map((result) => [result.name, result]))
  return entries.map((entry) => {
    return typeof entry === 'string' ? (known.get(entry) ?? unansweredResult(entry, 'skipped')) : resultOfBadLine(entry)
  })
}
