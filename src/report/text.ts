import { codeOf, EXIT, messageOf } from '../errors.js'
import { EXIT_STATUS_OF, type Outcome, type Result, type ServerReport } from '../etrn/outcome.js'
import type { Run } from '../etrn/run.js'
import type { ServerAddress } from '../input/server-address.js'
import { SessionError } from '../smtp/errors.js'
import { formatReply } from '../smtp/reply.js'
import { generalHint, hintAfterRetries } from './hints.js'
import type { Output, Progress, Reporter, Style } from './reporter.js'

type TextOptions = {
  readonly out: Output
  readonly err: Output
  /** 1 prints failures only; 2 also leaves out temporary ones. */
  readonly quiet: number
  readonly verbose: boolean
  /** With several servers each line begins with its server. */
  readonly several: boolean
}

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

/** Prints one result a line to `out`, and to `err` failures of whole sessions, warnings, hints, and the dialogue for -v. */
export class TextReporter implements Reporter {
  readonly #options: TextOptions
  /** Hints and warnings that have been printed: each is printed once per run. */
  readonly #printed = new Set<string>()

  constructor(options: TextOptions) {
    this.#options = options
  }

  warn(message: string): void {
    if (this.#options.quiet === 0) this.#options.err.line(message)
  }

  trace(...[server, event, session = 1]: Progress): void {
    if (server !== null && event.type === 'warning') this.#warnOnce(`etrn: warning: ${server.word}: ${event.text}`)
    if (!this.#options.verbose) return
    const { line } = this.#options.err
    const number = session === 1 ? '' : `[${session}] `
    const prefix = `${new Date().toISOString()} ${this.#prefix(server)}${number}`
    for (const text of transcriptLines(server, event)) line({ style: 'dim', text: prefix + text })
  }

  result(server: ServerAddress | null, result: Result, isRetried = false): void {
    const { name, outcome, code, text } = result
    const exitStatus = EXIT_STATUS_OF[outcome]
    if (!this.#isShown(exitStatus)) return
    const described = { style: styleOf(exitStatus), text: describeResult(result) }
    const reply = code === null ? text : formatReply({ code, enhancedCode: result.enhancedCode, text: text ?? '' })
    this.#options.out.line(`${this.#prefix(server)}${name}: `, described, reply === null ? '' : ` (${reply})`)
    if (server === null) return
    this.#hintOnce(hintAfterRetries(result.hint ?? generalHint(exitStatus), isRetried), name)
  }

  report(report: ServerReport): void {
    const { server, error, isQueueUnknown, names } = report
    if (isQueueUnknown) this.#warnOnce(`${server.word}: says 250 each time: it can't tell whether anything is left`)
    if (error !== null && this.#isShown(error.exitStatus)) this.#printFailure(report, error)
    const skipped = names.filter(({ outcome }) => outcome === 'skipped')
    const isShown = names.some(({ outcome }) => this.#isShown(EXIT_STATUS_OF[outcome]))
    if (skipped.length === 0 || (this.#options.quiet > 1 && !isShown)) return
    this.#options.out.line(`${this.#prefix(server)}${OUTCOME_TEXTS.skipped}: ${listNames(skipped)}`)
    const isRefusal =
      (error === null || error.kind === 'time-over') && !names.some(({ outcome }) => outcome === 'failed')
    if (isRefusal) this.#hintOnce('a refusal ends it, or a session in which no name is accepted; -k goes on')
  }

  end({ error }: Run): void {
    if (error === null || !this.#isShown(error.exitStatus)) return
    this.#options.err.line(
      'etrn: ',
      { style: styleOf(error.exitStatus), text: error.message },
      '; no name was requested',
    )
    this.#hintOnce(error.hint)
  }

  #warnOnce(warning: string, key = warning): void {
    if (!this.#printed.has(key)) this.warn(warning)
    this.#printed.add(key)
  }

  #printFailure({ server, names, isRetried }: ServerReport, error: SessionError): void {
    const { line } = this.#options.err
    const unanswered = names.filter(({ code, outcome }) => code === null && outcome !== 'skipped')
    const suffix = unanswered.length === 0 ? '' : `; no answer for ${listNames(unanswered)}`
    const { message, exitStatus, cause, kind } = error
    line(`etrn: ${server.word}: `, { style: styleOf(exitStatus), text: message }, suffix)
    // An error of the system or of OpenSSL has a code. A server's words are in the message already.
    if (this.#options.verbose && codeOf(cause) !== '') line({ style: 'dim', text: `  ${messageOf(cause).trim()}` })
    // The user ended it: nothing is wrong.
    if (kind === 'time-over' || kind === 'interrupted') return
    this.#hintOnce(hintAfterRetries(error.hint ?? generalHint(exitStatus), isRetried))
  }

  /** Prints a hint below what it is about. Hints that differ only in the requested name are the same. */
  #hintOnce(hint: string | undefined, name = ''): void {
    if (hint !== undefined) this.#warnOnce(`hint: ${hint}`, hint.replaceAll(name.replace(/^[@#]/, '') || ' ', ' '))
  }

  #prefix(server: ServerAddress | null): string {
    return this.#options.several && server !== null ? `${server.word}: ` : ''
  }

  #isShown(exitStatus: number): boolean {
    const { quiet } = this.#options
    return quiet === 0 || (exitStatus !== EXIT.OK && (quiet === 1 || exitStatus !== EXIT.TEMPFAIL))
  }
}

function describeResult({ outcome, pending, code }: Result): string {
  if (outcome === 'rejected' && code === null) return 'not sent'
  if (outcome === 'started' && code === 458) return 'asked before; it is under way'
  if (pending === null || pending === 0) return OUTCOME_TEXTS[outcome]
  return pending === 1 ? '1 message is on its way' : `${pending} messages are on their way`
}

function styleOf(exitStatus: number): Style {
  if (exitStatus === EXIT.OK) return 'green'
  return exitStatus === EXIT.TEMPFAIL ? 'yellow' : 'red'
}

const NAMES_LISTED = 3

/** Returns a few names in full, and of many the number and the first ones. */
function listNames(results: readonly Result[]): string {
  const names = results.map(({ name }) => name)
  const first = names.slice(0, NAMES_LISTED).join(', ')
  return names.length <= NAMES_LISTED ? first : `${names.length} names (${first}, ...)`
}

/** Returns the lines that -v prints for an event: the dialogue with `C:` and `S:`, connections, TLS and pauses. */
function transcriptLines(server: ServerAddress | null, event: Progress[1]): string[] {
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
