import { type ChalkInstance } from 'chalk'
import { EXIT } from '../errors.js'
import type { Pause } from '../etrn/backoff.js'
import { EXIT_STATUS_OF, type Outcome, type Result } from '../etrn/outcome.js'
import type { ServerReport } from '../etrn/server-report.js'
import { printable } from '../printable.js'
import { SessionError, STAGE_LABELS } from '../smtp/errors.js'
import { formatReply } from '../smtp/reply.js'
import type { Server } from '../smtp/session.js'
import type { TraceEvent } from '../smtp/trace.js'
import { generalHint, hintFor, type Failure } from './hints.js'
import type { Output, Reporter } from './reporter.js'

export type TextOptions = {
  readonly out: Output
  readonly err: Output
  /** 1: failures only; 2: no temporary ones either */
  readonly quiet: number
  readonly verbose: boolean
  /** With several servers each line bears its own. */
  readonly several: boolean
}

/** What happens now, in words */
const OUTCOME_TEXTS: Readonly<Record<Outcome, string>> = {
  started: "asked; the server doesn't say what waits",
  empty: 'nothing waits',
  pending: 'what waits is on its way',
  deferred: 'not now',
  refused: 'refused',
  unsupported: 'ETRN is not supported',
  rejected: 'the server takes no such name',
  failed: 'no proper reply',
  skipped: 'not asked',
}

/** Results on `out`, a line a name; on `err` what failed as a whole, warnings, hints, and the dialogue where it is wanted. */
export class TextReporter implements Reporter {
  readonly #o: TextOptions
  readonly #greetings = new Map<Server, string>()
  readonly #hints = new Set<string>()
  readonly #warnings = new Set<string>()

  constructor(o: TextOptions) {
    this.#o = o
  }

  warn(message: string): void {
    if (this.#o.quiet === 0) this.#o.err.line(message)
  }

  trace(server: Server | null, event: TraceEvent | Pause, session = 1): void {
    if (server !== null && event.type === 'warning') this.#warnOnce(server, event.text)
    if (server !== null && event.type === 'greeting') this.#greetings.set(server, event.text)
    if (!this.#o.verbose) return
    const { line, colour } = this.#o.err
    const number = session === 1 ? '' : `[${session}] `
    const front = `${new Date().toISOString()} ${this.#prefix(server)}${number}`
    for (const text of transcriptLines(server, event)) line(colour.dim(front + text))
  }

  result(server: Server | null, result: Result): void {
    const { name, outcome, code, text } = result
    if (!this.#isShown(EXIT_STATUS_OF[outcome])) return
    const { line, colour } = this.#o.out
    const words = colourFor(colour, EXIT_STATUS_OF[outcome])(describeResult(result))
    const quotation = code === null ? text : formatReply({ code, enhancedCode: result.enhancedCode, text: text ?? '' })
    line(`${this.#prefix(server)}${name}: ${words}${quotation === null ? '' : ` (${quotation})`}`)
    if (server !== null) this.#hintFor(server, { stage: 'etrn', code, text: text ?? '', name }, EXIT_STATUS_OF[outcome])
  }

  report({ server, error, isQueueUnknown, names }: ServerReport): void {
    if (isQueueUnknown) this.#warnOnce(server, "says 250 each time: it can't tell whether anything is left")
    if (error !== null && this.#isShown(error.exitStatus)) this.#failure(server, error, names)
    const skipped = names.filter(({ outcome }) => outcome === 'skipped')
    const isTemporary = names.every(
      ({ outcome }) => EXIT_STATUS_OF[outcome] === EXIT.OK || EXIT_STATUS_OF[outcome] === EXIT.TEMPFAIL,
    )
    if (skipped.length === 0 || (this.#o.quiet > 1 && isTemporary)) return
    this.#o.out.line(`${this.#prefix(server)}${OUTCOME_TEXTS.skipped}: ${listResults(skipped)}`)
    const isRefusal = error === null && !names.some(({ outcome }) => outcome === 'failed')
    if (isRefusal) this.#hintOnce('a refusal ends it, or a session in which no name is accepted; -k goes on')
  }

  end(): void {
    // Everything has been said.
  }

  /** Each session of a server meets the same; it is said once. */
  #warnOnce(server: Server, text: string): void {
    const warning = `${server.word}: ${text}`
    if (this.#warnings.has(warning)) return
    this.#warnings.add(warning)
    this.warn(warning)
  }

  #failure(server: Server, error: SessionError, names: readonly Result[]): void {
    const { line, colour } = this.#o.err
    const without = names.filter(({ code, outcome }) => code === null && outcome !== 'skipped')
    const count = without.length === 0 ? '' : `; no answer for ${listResults(without)}`
    const { stage, message, reply, exitStatus, cause } = error
    line(`${server.word}: ${colourFor(colour, exitStatus)(`${STAGE_LABELS[stage]}: ${message}`)}${count}`)
    if (this.#o.verbose && isSystemError(cause)) line(colour.dim(`  ${printable(cause.message.trim())}`))
    // Nothing went wrong that could be mended.
    if (error.kind === 'time-over' || error.kind === 'interrupted') return
    if (error.hint !== undefined) this.#printHint(error.hint)
    else this.#hintFor(server, { stage, code: reply?.code ?? null, text: message, name: '' }, exitStatus)
  }

  #hintFor(server: Server, trouble: Omit<Failure, 'greeting'>, exitStatus: number): void {
    const hint = hintFor({ ...trouble, greeting: this.#greetings.get(server) ?? '' }) ?? generalHint(exitStatus)
    if (hint !== undefined) this.#hintOnce(hint)
  }

  /** Below what it is about, and once a run. */
  #hintOnce(hint: string): void {
    if (!this.#hints.has(hint)) this.#printHint(hint)
    this.#hints.add(hint)
  }

  #printHint(text: string): void {
    if (this.#o.quiet === 0) this.#o.err.line(`  ${text}`)
  }

  #prefix(server: Server | null): string {
    return this.#o.several && server !== null ? `${server.word}: ` : ''
  }

  #isShown(exitStatus: number): boolean {
    if (this.#o.quiet === 0) return true
    return exitStatus !== EXIT.OK && (this.#o.quiet === 1 || exitStatus !== EXIT.TEMPFAIL)
  }
}

function describeResult({ outcome, pending, code }: Result): string {
  if (outcome === 'rejected' && code === null) return 'not sent'
  if (outcome === 'started' && code === 458) return 'asked before; it is under way'
  if (pending === null || pending === 0) return OUTCOME_TEXTS[outcome]
  return pending === 1 ? '1 message is on its way' : `${pending} messages are on their way`
}

function colourFor(colour: ChalkInstance, exitStatus: number): (text: string) => string {
  if (exitStatus === EXIT.OK) return colour.green
  return exitStatus === EXIT.TEMPFAIL ? colour.yellow : colour.red
}

/** An error of the system's or of OpenSSL's; what a server said is in the message already. */
function isSystemError(cause: unknown): cause is Error {
  return cause instanceof Error && 'code' in cause
}

const NAMES_LISTED = 3

/** A few names in full, many by their number. */
function listResults(results: readonly Result[]): string {
  const names = results.map(({ name }) => name)
  return names.length <= NAMES_LISTED
    ? names.join(', ')
    : `${names.length} names (${names.slice(0, NAMES_LISTED).join(', ')}, ...)`
}

/** The lines of a transcript that an event gives. */
function transcriptLines(server: Server | null, event: TraceEvent | Pause): string[] {
  switch (event.type) {
    case 'pause':
      return [event.text]
    case 'connecting':
      return [`connecting to ${event.address} port ${server?.port ?? ''}`]
    case 'connected':
      return [`connected to ${event.address}`]
    case 'tls': {
      const { protocol, cipher, verified } = event.tls
      return [`${protocol} ${cipher}, the server ${verified ? 'is' : 'is not'} verified`]
    }
    case 'sent':
      return [`C: ${event.line}`]
    case 'received': {
      const { code, lines } = event.reply
      return lines.map((line, index) => `S: ${code}${index < lines.length - 1 ? '-' : ' '}${line}`.trimEnd())
    }
    default:
      return []
  }
}
