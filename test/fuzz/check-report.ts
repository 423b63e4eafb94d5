import { mergeExitStatuses } from '../../src/errors.js'
import { EXIT_STATUS_OF } from '../../src/etrn/outcome.js'
import type { Result } from '../../src/etrn/result.js'
import type { ServerReport } from '../../src/etrn/server-report.js'
import { hasStalledSince } from './event-loop.js'
import { fail, type FuzzRun, type ObservedConnection, type SentRequest } from './fuzz-run.js'
import { expectedOutcomeOf, shownReplyOf, speaksOfLimit, trimHalfCharacter } from './reference.js'
import { isLaterLimitReply, mayConcernSession } from './session-limits.js'

// Checks the client's report against the replies that the server sent.

/** One server can cause these exit statuses; another one would be a bug. */
const SERVER_EXIT_STATUSES = [0, 65, 69, 75, 76, 77]
const UNANSWERED_OUTCOMES = ['deferred', 'refused', 'unsupported', 'failed', 'skipped']

export function exitStatusOf({ names, error }: ServerReport): number {
  return mergeExitStatuses([...names.map(({ outcome }) => EXIT_STATUS_OF[outcome]), error?.exitStatus ?? 0])
}

/** Checks the report; `announced` are the results that came before it, one by one. */
export function checkReport(run: FuzzRun, report: ServerReport, announced: readonly Result[]): void {
  const { names, error } = report
  const { testCase } = run
  if (JSON.stringify(names.map(({ name }) => name)) !== JSON.stringify(testCase.names))
    fail(run, 'the names in the report are not those that were given')
  const statuses = [
    exitStatusOf(report),
    error?.exitStatus ?? 0,
    ...names.map(({ outcome }) => EXIT_STATUS_OF[outcome]),
  ]
  for (const status of statuses) if (!SERVER_EXIT_STATUSES.includes(status)) fail(run, `exit status ${status}`)
  for (const result of names) checkResult(run, result, error !== null)
  checkSkippedNames(run, report)
  const answered = names.filter(({ code }) => code !== null)
  if (announced.length !== answered.length || !answered.every((result) => announced.includes(result)))
    fail(run, `${announced.length} results were announced, but the report has ${answered.length}`)
  // If the whole run ended, no name is requested again.
  const isFinalError = error !== null && error.reply?.code !== 421
  const isOver =
    isFinalError || run.isStopped || names.some((one) => one.outcome === 'failed' || (one.code ?? 0) >= 500)
  for (const request of run.connections.flatMap(({ requests }) => requests)) {
    checkReplyIsReported(run, request, names)
    if (isOver) continue
    checkRequestAfter421(run, request, names)
    if (error === null) checkRequestAfterLimit(run, request, names)
  }
}

/** Checks that an outcome comes from a whole reply to that very ETRN, or from an error of the session. */
function checkResult(run: FuzzRun, result: Result, hasError: boolean): void {
  const { name, outcome, code, text, enhancedCode } = result
  if (code === null) {
    if (!UNANSWERED_OUTCOMES.includes(outcome)) fail(run, `${name}: ${outcome} without a reply`)
    if (outcome !== 'skipped' && !hasError) fail(run, `${name}: ${outcome} without a reply and without an error`)
    if (text !== null) fail(run, `${name}: a text without a code`)
    return
  }
  const requests = run.connections.flatMap((connection) => connection.requests).filter((one) => one.name === name)
  // A reply that may be about the session is no verdict if no other session could ask again.
  const isOpen = outcome === 'deferred' && requests.some(mayConcernSession)
  if (outcome !== expectedOutcomeOf(code, text ?? '', enhancedCode, name) && !isOpen)
    fail(run, `${name}: ${outcome} from ${code} ${text}`)
  if (!requests.some((request) => isReplyTo(request, result))) fail(run, `${name}: no reply was ${code} ${text}`)
}

/** Checks that an interrupted run skips every name that the client had not sent; `sent` are the names in its trace. */
export function checkUnsentNames(run: FuzzRun, { names, error }: ServerReport, sent: readonly string[]): void {
  if (error?.kind !== 'interrupted') return
  for (const { name, outcome } of names)
    if (outcome !== 'skipped' && !sent.includes(name)) fail(run, `${name}: ${outcome}, although it was not sent`)
}

/** Checks that names are skipped only after an error, or after a reply that stops the run; with keepGoing hardly any reply does. */
function checkSkippedNames(run: FuzzRun, { names, error }: ServerReport): void {
  const skipped = names.filter(({ outcome }) => outcome === 'skipped')
  if (error !== null || skipped.length === 0) return
  const isRefusal = ({ code, outcome }: Result): boolean => code !== null && EXIT_STATUS_OF[outcome] !== 0
  const mayStop = names.some((one) => one.outcome === 'failed' || (!run.testCase.keepGoing && isRefusal(one)))
  if (!mayStop) fail(run, `skipped without a reason: ${skipped.map(({ name }) => name).join(', ')}`)
}

function isReplyTo({ connection, index }: SentRequest, { code, enhancedCode, text }: Result): boolean {
  const reply = connection.stream.replies[index]
  if (reply?.code !== code || connection.stream.forbiddenFrom <= index) return false
  const shown = shownReplyOf(reply)
  // The client masks secrets; check-output.ts checks that.
  const isMasked = text?.includes('****') === true
  return isMasked || (shown.text === trimHalfCharacter(text ?? '') && shown.enhancedCode === enhancedCode)
}

/** Checks that the report has a reply that the client must have read, whatever followed it. */
function checkReplyIsReported(run: FuzzRun, request: SentRequest, names: readonly Result[]): void {
  const { connection, name, index } = request
  if (mayConcernSession(request)) return
  const reply = connection.stream.replies[index]
  const wasRead =
    connection.commands > index ||
    (connection.hasQuit && run.interruptedMs === Infinity) ||
    isReadBeforeClose(run, connection)
  if (reply === undefined || !wasRead || reply.code === 421 || connection.stream.forbiddenFrom <= index) return
  const result = names.find((one) => one.name === name)
  if (result?.code !== reply.code)
    fail(run, `${name}: the server replied ${reply.code}, but the report has ${result?.code}`)
}

/** Tells whether the server closed after it had replied in time, so that the client must have read the reply. */
function isReadBeforeClose(
  run: FuzzRun,
  { endedBy, wasReset, isDamaged, sentMs, receivedMs }: ObservedConnection,
): boolean {
  const isInTime =
    sentMs - receivedMs < run.timeoutMs / 2 && !hasStalledSince(run.startedMs) && run.interruptedMs === Infinity
  return endedBy === 'server' && !wasReset && !isDamaged && isInTime
}

/** Checks that a name with the reply 421 was requested again, if its session had answered a name and the server had accepted one. */
function checkRequestAfter421(run: FuzzRun, request: SentRequest, names: readonly Result[]): void {
  const { connection, name, index } = request
  const is421 = connection.stream.replies[index]?.code === 421 && connection.commands === index && connection.hasQuit
  const hasProgress =
    connection.requests.length > 1 &&
    names.some(({ outcome }) => EXIT_STATUS_OF[outcome] === 0 && outcome !== 'skipped')
  if (!is421 || !hasProgress || run.interruptedMs < Infinity) return
  const isLast = run.connections.every(
    (other) =>
      other.number <= connection.number &&
      !other.requests.some((one) => one.name === name && one.connection !== connection),
  )
  if (isLast) fail(run, `${name}: not requested again after 421`)
}

/** Checks that a name whose reply was about the session was requested again, and that this reply is not its result. */
function checkRequestAfterLimit(run: FuzzRun, request: SentRequest, names: readonly Result[]): void {
  const { connection, name, index } = request
  if (!isLaterLimitReply(request) || run.interruptedMs < Infinity || connection.stream.forbiddenFrom <= index) return
  const others = run.connections
    .flatMap(({ requests }) => requests)
    .filter((one) => one.name === name && one !== request)
  if (!others.some((one) => one.connection.number > connection.number || one.index === 0))
    fail(run, `${name}: not requested again after a session limit`)
  const result = names.find((one) => one.name === name)
  const isFirst = others.some((one) => one.connection.requests[0] === one)
  if (result?.code !== null && speaksOfLimit(result?.code ?? 0, result?.text ?? '') && !isFirst)
    fail(run, `${name}: the reply about its session is its result`)
}
