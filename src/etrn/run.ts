import pLimit, { type LimitFunction } from 'p-limit'
import { StepError } from '../errors.js'
import { type BadLine, type Entry, nodesIn } from '../input/names-file.js'
import { SessionError, sessionErrorOf } from '../smtp/errors.js'
import type { Server } from '../smtp/session.js'
import { NOTHING, type TraceEvent } from '../smtp/trace.js'
import { lasting, type Pause, pauseFor, pauseMsAfter } from './backoff.js'
import type { Exchangers } from './mx.js'
import { combined, outcomeWithout, type Result, resultWithout } from './outcome.js'
import type { Request } from './request.js'
import { persist } from './retry.js'
import { exitStatusesOf, type ServerReport } from './server-report.js'
import { SESSIONS_A_SERVER } from './session-limits.js'
import type { Turn } from './session-pool.js'

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
  const failure = await withOwn(requests, o)
  const limit = pLimit(o.jobs)
  const turn: Turn = (work) => limit(work)
  const context: Context = { ...o, began: performance.now(), turn, turnAt: turns(turn) }
  const reports = await Promise.all(
    requests.map(async (request) => {
      const error = failure ?? request.failure
      const found = error === undefined ? await asked(request, context) : [failed(request, error, context)]
      return found.map((report) => ({ ...report, names: inOrder(request.entries, report.names) }))
    }),
  )
  const servers = reports.flat()
  return { servers, exitStatus: combined(servers.flatMap(exitStatusesOf)) }
}

type Context = RunOptions & {
  readonly began: number
  readonly turn: Turn
  readonly turnAt: (server: Server) => Turn
}

/** Turns among all, and among those at one server, which may be that of several profiles. */
function turns(among: Turn): Context['turnAt'] {
  const limits = new Map<string, LimitFunction>()
  return ({ host, port }) => {
    const key = `${host} ${port}`
    const limit = limits.get(key) ?? pLimit(SESSIONS_A_SERVER)
    limits.set(key, limit)
    return async (work) => limit(async () => among(work))
  }
}

/** Waits for this host's own mail server, if that is wanted; what went wrong. */
async function withOwn(requests: readonly Request[], o: RunOptions): Promise<SessionError | undefined> {
  if (o.waitLocalMs === 0) return undefined
  const timeoutMs = Math.min(...requests.map(({ settings }) => settings.timeoutMs))
  const { waitForOwn } = await import('./local-server.js')
  try {
    await waitForOwn(o.waitLocalMs, { timeoutMs, signal: o.signal }, (pause) => o.trace(null, pause))
    return undefined
  } catch (error) {
    if (error instanceof StepError) return sessionErrorOf('connect', error)
    throw error
  }
}

async function asked(request: Request, o: Context): Promise<ServerReport[]> {
  const { server, settings, patience } = request
  const names = nodesIn(request.entries)
  const ask = async (host: Server): Promise<ServerReport> => {
    const { signal, began, trace, onResult } = o
    const turn = o.turnAt(host)
    const report = await persist(host, names, { ...settings, patience, signal, began, turn, trace, onResult })
    if (!isThisSite(report)) o.onReport(report)
    return report
  }
  if (!request.isMx) return [await ask(server)]
  const { inWords, nobodyLeft, unknownHere } = await import('./mx.js')
  try {
    const found = await lookedUp(request, o)
    for (const one of found.leftOut) o.warn(`left out: ${inWords(one)}`)
    const reports = await Promise.all(found.asked.map(async (host) => ask({ ...server, word: host, host })))
    const ourselves = reports.filter(isThisSite).map((report) => ({ host: report.server.host, reason: 'this site' }))
    for (const one of ourselves) o.warn(`left out: ${inWords(one)}`)
    if (!found.isAmong && ourselves.length === 0 && reports.length > 0) o.warn(unknownHere(server.word, settings.self))
    if (reports.length > ourselves.length) return reports.filter((report) => !isThisSite(report))
    throw nobodyLeft([...found.leftOut, ...ourselves])
  } catch (error) {
    if (error instanceof StepError) return [failed(request, sessionErrorOf('dns', error), o)]
    throw error
  }
}

/** The mail exchangers; within --retry-for every failure of the DNS is tried again. */
async function lookedUp({ server, settings, patience }: Request, o: Context): Promise<Exchangers> {
  const { exchangersOf } = await import('./mx.js')
  for (let failures = 1; ; failures++) {
    try {
      return await o.turn(() => exchangersOf(server.host, settings.self, { ...settings, signal: o.signal }))
    } catch (error) {
      if (!(error instanceof StepError) || o.signal.aborted) throw error
      const leftMs = patience.retryForMs - (performance.now() - o.began)
      const pauseMs = pauseMsAfter(failures, false, Math.random())
      if (pauseMs > leftMs) throw error
      const pause = pauseFor(error.message, pauseMs, leftMs)
      o.trace(server, pause)
      await lasting(pause, o.signal)
      o.signal.throwIfAborted()
    }
  }
}

function isThisSite({ error }: ServerReport): boolean {
  return error?.kind === 'self'
}

/** The report where no session could be had. */
function failed(request: Request, error: SessionError, o: Context): ServerReport {
  const outcome = error.kind === 'interrupted' ? 'skipped' : outcomeWithout(error)
  const report = {
    server: request.server,
    ...NOTHING,
    attempts: 0,
    elapsedMs: Math.round(performance.now() - o.began),
    error,
    isQueueUnknown: false,
    names: nodesIn(request.entries).map((name) => resultWithout(name, outcome)),
  }
  o.onReport(report)
  return report
}

/** What a line of --names-from that is no name comes to. */
export function resultOfLine({ word, line, reason }: BadLine): Result {
  return resultWithout(word, 'rejected', `line ${line}: ${reason}`)
}

function inOrder(entries: readonly Entry[], results: readonly Result[]): Result[] {
  const known = new Map(results.map((result) => [result.name, result]))
  return entries.map((entry) => {
    return typeof entry === 'string' ? (known.get(entry) ?? resultWithout(entry, 'skipped')) : resultOfLine(entry)
  })
}
