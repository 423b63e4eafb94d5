import { codeOf, EXIT, messageOf } from '../errors.js'
import { EXIT_STATUS_OF, isAccepted, type Outcome } from '../etrn/outcome.js'
import type { Result } from '../etrn/result.js'
import type { ServerReport } from '../etrn/server-report.js'
import type { Run } from '../etrn/run.js'
import type { ServerAddress } from '../input/server-address.js'
import type { SessionError } from '../smtp/errors.js'
import { formatReply, isPermanent } from '../smtp/reply.js'
import { truncateOctets } from '../printable.js'
import { HintList } from './hint-list.js'
import { generalHint, hintAfterRetries } from './hints.js'
import { formatCount, listNames } from './names.js'
import type { Failure, Output, Progress, Reporter, Style } from './reporter.js'
import { summaryOf } from './summary.js'

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
  started: 'accepted',
  empty: 'no mail waiting',
  pending: 'accepted, mail is waiting',
  deferred: 'deferred',
  refused: 'refused',
  unsupported: 'ETRN not supported',
  rejected: 'rejected',
  failed: 'unexpected reply',
  skipped: 'not requested',
}

/**
 * Prints one result a line to `out`, and to `err` failures of whole sessions, warnings, and the dialogue for -v. Hints, each once, and
 * the summary follow at the end.
 */
export class TextReporter implements Reporter {
  readonly #options: TextOptions
  readonly #hints = new HintList()
  /** Each warning is printed once per run. */
  readonly #warnings = new Set<string>()

  constructor(options: TextOptions) {
    this.#options = options
  }

  warn(message: string): void {
    if (this.#options.quiet > 0 || this.#warnings.has(message)) return
    this.#warnings.add(message)
    this.#options.err.line(message)
  }

  trace(...[server, event, session = 1]: Progress): void {
    if (server !== null && event.type === 'warning') this.warn(`etrn: warning: ${server.word}: ${event.text}`)
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
    const shown = truncateOctets(name, NAME_OCTETS)
    this.#options.out.line(`${this.#prefix(server)}${shown}: `, described, reply === null ? '' : ` (${reply})`)
    const hint = hintAfterRetries(result.hint ?? generalHint(exitStatus), isRetried)
    if (server !== null && hint !== undefined) this.#hints.add(hint, { server, name })
  }

  report(report: ServerReport): void {
    const { server, error, isQueueUnknown, names } = report
    const advice = names.every(({ outcome }) => isAccepted(outcome)) ? NO_REPEAT : ''
    if (isQueueUnknown) this.warn(`etrn: warning: ${server.word}: ${advice}${QUEUE_UNKNOWN_WARNING}`)
    if (error !== null && this.#isShown(error.exitStatus)) this.#printFailure(report, error)
    const skipped = names.filter(({ outcome }) => outcome === 'skipped').map(({ name }) => name)
    const isShown = names.some(({ outcome }) => this.#isShown(EXIT_STATUS_OF[outcome]))
    if (skipped.length === 0 || (this.#options.quiet > 1 && !isShown)) return
    this.#options.out.line(`${this.#prefix(server)}${OUTCOME_TEXTS.skipped}: ${listNames(skipped)}`)
    if (error !== null && error.kind !== 'time-over') return
    const hint = stopHint(names)
    if (hint !== undefined) this.#hints.add(hint, { server, name: null })
  }

  fail({ message, hint, exitStatus }: Failure): void {
    if (!this.#isShown(exitStatus)) return
    const { line } = this.#options.err
    line('etrn: ', { style: styleOf(exitStatus), text: message })
    if (hint !== undefined) line(`hint: ${hint}`)
  }

  end(run: Run): void {
    const { quiet, several, err } = this.#options
    if (run.error !== null) {
      const { message, hint, exitStatus } = run.error
      this.fail({ message: `${message}; the requests were not sent`, hint, exitStatus })
    }
    for (const line of this.#hints.lines(several)) err.line(line)
    const summary = quiet > 0 ? undefined : summaryOf(run.servers)
    if (summary !== undefined) err.line(summary)
  }

  #printFailure(report: ServerReport, error: SessionError): void {
    const { line } = this.#options.err
    const { message, exitStatus, cause, kind } = error
    const { server, isRetried } = report
    line(`etrn: ${describeServer(server)}: `, { style: styleOf(exitStatus), text: message }, describeUnanswered(report))
    // An error of the system or of OpenSSL has a code. A server's words are in the message already.
    if (this.#options.verbose && codeOf(cause) !== '') line({ style: 'dim', text: `  ${messageOf(cause).trim()}` })
    // The user ended it: nothing is wrong.
    const isEndedByUser = kind === 'time-over' || kind === 'interrupted'
    const hint = hintAfterRetries(error.hint ?? (isEndedByUser ? undefined : generalHint(exitStatus)), isRetried)
    if (hint !== undefined) this.#hints.add(hint, { server, name: null })
  }

  /** Returns the server for the start of a line. Under -q there is always one, because cron mails the line. */
  #prefix(server: ServerAddress | null): string {
    const { several, quiet } = this.#options
    return (several || quiet > 0) && server !== null ? `${server.word}: ` : ''
  }

  #isShown(exitStatus: number): boolean {
    const { quiet } = this.#options
    return quiet === 0 || (exitStatus !== EXIT.OK && (quiet === 1 || exitStatus !== EXIT.TEMPFAIL))
  }
}

/** The longest name that can be sent fits. A bad line of a names file must not push its result off the line. */
const NAME_OCTETS = 510

const QUEUE_UNKNOWN_WARNING = 'the server does not report whether mail is waiting, so omit --wait next time'
const NO_REPEAT = 'the request was accepted and need not be repeated; '

/** Returns the server as the user named it, with its host if the name is a profile's or has other letters. */
function describeServer({ word, host }: ServerAddress): string {
  return word.toLowerCase().includes(host.toLowerCase()) ? word : `${word} (${host})`
}

function describeResult({ outcome, pending, code }: Result): string {
  if (outcome === 'rejected' && code === null) return 'invalid, not sent'
  if (outcome === 'started' && code === 458) return 'accepted, already in progress'
  if (pending === null || pending === 0) return OUTCOME_TEXTS[outcome]
  return `accepted, ${formatCount(pending, 'message')} waiting`
}

/** Returns what is known of the names without a reply: the request is out, or was never sent. */
function describeUnanswered({ names, unconfirmed = [] }: ServerReport): string {
  const sent = new Set(unconfirmed)
  const unsent = names.filter(
    ({ name, code, outcome }) => code === null && outcome !== 'skipped' && !isAccepted(outcome) && !sent.has(name),
  )
  const [only] = names.length === 1 ? unconfirmed : []
  const requests = unconfirmed.length > 1 ? 'requests' : 'request'
  const request = only === undefined ? `${requests} for ${listNames(unconfirmed)}` : requests
  const sentPart = unconfirmed.length === 0 ? '' : `; the ${request} may have been accepted`
  const unsentPart = unsent.length === 0 ? '' : `; ${listNames(unsent.map(({ name }) => name))} not requested`
  return sentPart + unsentPart
}

/** Returns why names were skipped although no session failed, and how to request them; undefined if a bad reply is the reason. */
function stopHint(names: readonly Result[]): string | undefined {
  if (names.some(({ outcome }) => outcome === 'failed')) return undefined
  const refused = names.find(({ code }) => isPermanent({ code: code ?? 0 }))
  const reason =
    refused === undefined
      ? 'stopped because the server accepted none of the names in the first session'
      : `stopped after ${refused.name} was ${refused.outcome === 'unsupported' ? 'refused' : refused.outcome}`
  return `${reason}; --keep-going requests the remaining names`
}

function styleOf(exitStatus: number): Style {
  if (exitStatus === EXIT.OK) return 'green'
  return exitStatus === EXIT.TEMPFAIL ? 'yellow' : 'red'
}

/** Returns the lines that -v prints for an event: the dialogue with `C:` and `S:`, connections, TLS and pauses. */
function transcriptLines(server: ServerAddress | null, event: Progress[1]): string[] {
  switch (event.type) {
    case 'pause':
      return [`${event.reason}; ${event.next}`]
    case 'connecting':
      return [`connecting to ${event.address} port ${server?.port ?? ''}`]
    case 'connected':
      return [`connected to ${event.address}`]
    case 'tls': {
      const { protocol, cipher, verified } = event.tls
      return [`${protocol} ${cipher}, certificate ${verified ? '' : 'not '}verified`]
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
