import type { Socket } from 'node:net'
import type { Outcome } from '../../src/etrn/outcome.js'
import type { Conversation, Script } from './grammar.js'
import { repliesIn, type Stream } from './reference.js'

/** What is known of a run: what was said, by whom, and what was found wrong with it. */

/** One connection. Its commands are counted from 1; the reply to each has the same index, the greeting has 0. */
export type Talk = {
  readonly number: number
  readonly conversation: Conversation
  readonly stream: Stream
  /** The socket that was accepted, and the one that octets go through: within TLS another */
  readonly bare: Socket
  socket: Socket
  /** never: the script has something else in place of the handshake. */
  tls: 'no' | 'begun' | 'done' | 'never'
  commands: number
  /** How many of them were EHLO, and the index of the last one; the same of AUTH and its responses */
  hellos: number
  hello: number
  auths: number
  auth: number
  /** The index of STARTTLS */
  starttls: number
  readonly tries: Try[]
  saidQuit: boolean
  /** Who ended it first */
  endedBy: 'server' | 'client' | undefined
  /** By a reset: what was said before it may be lost. */
  wasReset: boolean
  isClosed: boolean
  /** When the client and the server said something last */
  heardMs: number
  saidMs: number
  /** Its server's end broke, perhaps before it had read what there was. */
  hadError: boolean
  /** The server broke TLS. */
  isDamaged: boolean
  closedMs: number
}

/** One ETRN. */
export type Try = { readonly name: string; readonly index: number; readonly talk: Talk }

/** All that is known of one run. */
export type Scene = {
  readonly outcomes: Outcome[]
  readonly script: Script
  readonly talks: Talk[]
  readonly findings: string[]
  readonly transcript: string[]
  readonly interrupt: () => void
  readonly beganMs: number
  readonly timeoutMs: number
  /** Infinity: not yet */
  interruptedMs: number
  commands: number
  /** Told to the trace */
  quits: number
  /** Connections that may have been late, and for that reason without QUIT */
  excused: number
  /** No name may be sent any more. */
  isStopped: boolean
}

export function sceneOf(script: Script, timeoutMs: number, interrupt: () => void): Scene {
  return {
    ...{
      script,
      timeoutMs,
      interrupt,
      beganMs: performance.now(),
      talks: [],
      findings: [],
      transcript: [],
      outcomes: [],
    },
    ...{ commands: 0, quits: 0, excused: 0, interruptedMs: Infinity, isStopped: false },
  }
}

const TRANSCRIPT_LINES = 600

/** Keeps what happened, for whoever has to look into it. */
export function note(scene: Scene, who: string, what: string): void {
  const shown = what.length > 240 ? `${what.slice(0, 240)}... ${what.length} octets` : what
  if (scene.transcript.length < TRANSCRIPT_LINES) scene.transcript.push(`${who} ${JSON.stringify(shown)}`)
}

export function found(scene: Scene, finding: string): void {
  note(scene, '!', finding)
  scene.findings.push(finding)
}

/** A few turns of the event loop later, when what was on its way between the two ends has come. */
export function afterTurns(work: () => void, turns = 5): void {
  setImmediate(() => (turns > 1 ? afterTurns(work, turns - 1) : work()))
}

/** When the event loop last stood still for a while, on whatever machine this is. */
let stalledMs = -Infinity
let beatMs = performance.now()
const BEAT_MS = 20
setInterval(() => {
  const now = performance.now()
  if (now - beatMs > 2 * BEAT_MS) stalledMs = now
  beatMs = now
}, BEAT_MS).unref()

/** Whether what happened may have been too late for reasons that are not the client's. */
export function hasStalled({ beganMs }: Scene): boolean {
  return stalledMs > beganMs
}

export type Counts = {
  /** Whole or not */
  readonly replies: number
  readonly whole: number
  readonly sessions: number
  readonly excused: number
}

export function countsOf({ talks, excused }: Scene): Counts {
  return {
    replies: talks.reduce((sum, talk) => sum + repliesIn(talk.stream), 0),
    whole: talks.reduce((sum, talk) => sum + talk.stream.whole.length, 0),
    sessions: talks.length,
    excused,
  }
}

export type Played = Counts & {
  readonly outcomes: readonly Outcome[]
  readonly findings: readonly string[]
  /** All about it, for whoever has to look into it */
  readonly told: () => string
}

const USUAL = new Map<string, unknown>(Object.entries({ pauseMs: 0, flood: '', then: 'wait' }))

/** What was found, all that was said, and the script as far as it was played. */
export function told({ findings, transcript, script, talks }: Scene): string {
  const { conversations, ...asked } = script
  const usual = (key: string, value: unknown): unknown => (USUAL.get(key) === value ? undefined : value)
  const acts = conversations
    .slice(0, talks.length)
    .flatMap((one, index) => [
      `conversation ${index + 1}`,
      ...Object.entries(one).map(([key, value]) => `  ${key}: ${JSON.stringify(value, usual)}`),
    ])
  return [...findings, '', ...transcript, '', JSON.stringify(asked), ...acts].map(shortened).join('\n')
}

/** A long stretch of the same is said once. */
export function shortened(text: string): string {
  return text.replace(/(.{1,24}?)\1{20,}/g, (all, piece: string) => `${piece}{${all.length / piece.length} times}`)
}
