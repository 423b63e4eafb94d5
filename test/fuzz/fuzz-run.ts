import type { Socket } from 'node:net'
import type { Outcome } from '../../src/etrn/outcome.js'
import { countReplies, type ReplyStream } from './reference.js'
import type { ConnectionScript, TestCase } from './test-case.js'

// The record of one run: what both ends sent, and which checks failed.

/** One connection, as the server sees it. Its commands are counted from 1; a reply has the index of its command, the greeting has 0. */
export type ObservedConnection = {
  readonly number: number
  readonly script: ConnectionScript
  readonly stream: ReplyStream
  /** The accepted socket */
  readonly bareSocket: Socket
  /** The socket for SMTP: the TLS socket once TLS is up, else the accepted one */
  socket: Socket
  /** replaced: the script has something else in place of the handshake. */
  tls: 'no' | 'begun' | 'done' | 'replaced'
  commands: number
  ehloCount: number
  /** The index of the last EHLO */
  ehloIndex: number
  /** Commands and responses of AUTH */
  authCount: number
  /** The index of the last of them */
  authIndex: number
  starttlsIndex: number
  readonly requests: SentRequest[]
  hasQuit: boolean
  /** The end that closed first */
  endedBy: 'server' | 'client' | undefined
  /** The server reset the connection, so that octets of its last replies may be lost. */
  wasReset: boolean
  isClosed: boolean
  /** The time of the last octets from the client */
  receivedMs: number
  /** The time of the last octets from the server */
  sentMs: number
  /** The server's socket failed, perhaps before the server had read all octets. */
  hadError: boolean
  /** The server broke TLS. */
  isDamaged: boolean
  closedMs: number
}

/** One ETRN that the server received. */
export type SentRequest = { readonly name: string; readonly index: number; readonly connection: ObservedConnection }

export type FuzzRun = {
  readonly testCase: TestCase
  readonly outcomes: Outcome[]
  readonly connections: ObservedConnection[]
  readonly failures: string[]
  readonly transcript: string[]
  readonly interrupt: () => void
  readonly startedMs: number
  readonly timeoutMs: number
  /** Infinity: not interrupted */
  interruptedMs: number
  commands: number
  /** QUIT commands in the client's trace */
  tracedQuits: number
  /** Connections without QUIT that weren't checked, because the event loop stalled */
  unchecked: number
  /** The client must not send any other name. */
  isStopped: boolean
  /** The most names that the client may request in one session, as far as it knows */
  namesPerSession: number
}

const NAMES_PER_SESSION = 7

export function createRun(testCase: TestCase, timeoutMs: number, interrupt: () => void): FuzzRun {
  return {
    ...{ testCase, timeoutMs, interrupt, startedMs: performance.now() },
    ...{ connections: [], failures: [], transcript: [], outcomes: [] },
    ...{ commands: 0, tracedQuits: 0, unchecked: 0, interruptedMs: Infinity, isStopped: false },
    namesPerSession: NAMES_PER_SESSION,
  }
}

const TRANSCRIPT_LINES = 600

/** Adds an event to the transcript. */
export function record(run: FuzzRun, source: string, event: string): void {
  const shown = event.length > 240 ? `${event.slice(0, 240)}... ${event.length} octets` : event
  if (run.transcript.length < TRANSCRIPT_LINES) run.transcript.push(`${source} ${JSON.stringify(shown)}`)
}

/** Records that a check failed. */
export function fail(run: FuzzRun, failure: string): void {
  record(run, '!', failure)
  run.failures.push(failure)
}

export type Counts = {
  /** All replies, complete or not */
  readonly replies: number
  readonly complete: number
  readonly connections: number
  readonly unchecked: number
}

export type RunResult = Counts & {
  readonly outcomes: readonly Outcome[]
  readonly failures: readonly string[]
  /** Returns the whole story of the run, for a person who looks into a failure. */
  readonly describe: () => string
}

export function resultOfRun(run: FuzzRun): RunResult {
  const { connections, unchecked, outcomes, failures } = run
  return {
    replies: connections.reduce((sum, { stream }) => sum + countReplies(stream), 0),
    complete: connections.reduce((sum, { stream }) => sum + stream.replies.length, 0),
    connections: connections.length,
    unchecked,
    outcomes,
    failures,
    describe: () => describeRun(run),
  }
}

const DEFAULTS = new Map<string, unknown>(Object.entries({ pauseMs: 0, flood: '', ending: 'wait' }))

/** Returns the failures, the transcript, and the scripts of the connections that were made. */
function describeRun({ failures, transcript, testCase, connections: observed }: FuzzRun): string {
  const { connections, ...options } = testCase
  const omitDefault = (key: string, value: unknown): unknown => (DEFAULTS.get(key) === value ? undefined : value)
  const scripts = connections
    .slice(0, observed.length)
    .flatMap((script, index) => [
      `connection ${index + 1}`,
      ...Object.entries(script).map(([key, value]) => `  ${key}: ${JSON.stringify(value, omitDefault)}`),
    ])
  return [...failures, '', ...transcript, '', JSON.stringify(options), ...scripts].map(collapseRepeats).join('\n')
}

/** Replaces long repetitions of one piece by the piece and a count. */
export function collapseRepeats(text: string): string {
  return text.replace(/(.{1,24}?)\1{20,}/g, (all, piece: string) => `${piece}{${all.length / piece.length} times}`)
}
