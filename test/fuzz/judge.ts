import type { Socket } from 'node:net'
import { EXIT_STATUS_OF, mergeExitStatuses, type Result, type ServerReport } from '../../src/etrn/outcome.js'
import type { PoolContext } from '../../src/etrn/session-pool.js'
import { jsonReporter } from '../../src/report/json.js'
import { createOutput } from '../../src/report/reporter.js'
import { TextReporter } from '../../src/report/text.js'
import { PASSWORD } from './grammar.js'
import { isWithin, LIMITS, outcomeOf, shownOf, tidied } from './reference.js'
import { afterTurns, found, hasStalled, type Scene, type Talk, type Try } from './scene.js'

/** What ask() may give, and show, after what the server said. */

/** Statuses of SPEC 5 that one server can come to: all else is for the command line, or a bug. */
const STATUSES = [0, 65, 69, 75, 76, 77]
const WITHOUT_REPLY = ['deferred', 'refused', 'unsupported', 'failed', 'skipped']
const RAW = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u
const SECRETS = [PASSWORD, Buffer.from(PASSWORD).toString('base64')].map((secret) => secret.toLowerCase())
const SENT = /^(?:EHLO \S+|STARTTLS|AUTH [A-Z0-9-]+(?: \*{4})?|\*|\*{4}|ETRN \S+|QUIT)$/

/** The other half of what the client shows: its trace and its results as they came, and both reports of them. */
export type Audience = {
  readonly trace: PoolContext['trace']
  readonly onResult: PoolContext['onResult']
  readonly end: (report: ServerReport) => void
}

/** What was told so far. */
type Heard = { readonly sent: string[]; readonly results: Result[]; isOver: boolean }

export function audience(scene: Scene): Audience {
  const heard: Heard = { sent: [], results: [], isOver: false }
  const shown = createOutput((text) => judgeShown(scene, text), false)
  const text = new TextReporter({ out: shown, err: shown, quiet: 0, verbose: true, several: true })
  const document = createOutput((lines) => shown.line(lines.replaceAll('\n', ' ')), false)
  const json = jsonReporter(document, text)
  return {
    trace: (server, event, session) => {
      for (const word of stringsIn(event)) shown.line(word)
      if (event.type === 'sent') judgeTold(scene, heard, event.line)
      text.trace(server, event, session)
    },
    onResult: (server, result) => {
      heard.results.push(result)
      const isEnd = result.outcome === 'failed' || ((result.code ?? 0) >= 500 && !scene.script.keepGoing)
      // What another session is about to send counts as sent.
      if (isEnd) afterTurns(() => (heard.isOver = true))
      text.result(server, result)
    },
    end: (report) => {
      const { names, error, greeting } = report
      scene.outcomes.push(...names.map(({ outcome }) => outcome))
      judgeReport(scene, report, heard.results)
      judgeSent(scene, heard.sent)
      for (const word of stringsIn([names, error?.message, error?.hint, greeting])) shown.line(word)
      text.report(report)
      json.end({ servers: [report], exitStatus: statusOf(report) })
    },
  }
}

/** A line that the client says it sends. */
function judgeTold(scene: Scene, heard: Heard, line: string): void {
  if (!SENT.test(line)) found(scene, `a transcript should not have: ${line}`)
  if (line === 'QUIT') scene.quits++
  if (!line.startsWith('ETRN ')) return
  heard.sent.push(line.slice(5))
  if (heard.isOver) found(scene, `sent though the last reply was the end: ${line}`)
}

/** All text within a value. */
function stringsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  if (value instanceof Map) return stringsIn([...(value as Map<unknown, unknown>)])
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(stringsIn) : []
}

function judgeShown(scene: Scene, text: string): void {
  const raw = RAW.exec(text)?.[0]
  if (raw !== undefined) found(scene, `U+${(raw.codePointAt(0) ?? 0).toString(16)} is shown: ${JSON.stringify(text)}`)
  const small = text.toLowerCase()
  const isSecret = scene.script.mechanism !== null && SECRETS.some((secret) => small.includes(secret))
  if (isSecret) found(scene, `the password is shown: ${text}`)
}

function statusOf({ names, error }: ServerReport): number {
  return mergeExitStatuses([...names.map(({ outcome }) => EXIT_STATUS_OF[outcome]), error?.exitStatus ?? 0])
}

function judgeReport(scene: Scene, report: ServerReport, told: readonly Result[]): void {
  const { names, error } = report
  const { script } = scene
  if (JSON.stringify(names.map(({ name }) => name)) !== JSON.stringify(script.names))
    found(scene, 'other names than asked')
  const statuses = [statusOf(report), error?.exitStatus ?? 0, ...names.map(({ outcome }) => EXIT_STATUS_OF[outcome])]
  for (const status of statuses) if (!STATUSES.includes(status)) found(scene, `exit status ${status}`)
  for (const result of names) judgeResult(scene, result, error !== null)
  const replied = names.filter(({ code }) => code !== null)
  if (told.length !== replied.length || !replied.every((result) => told.includes(result)))
    found(scene, `told of ${told.length} results, ${replied.length} in the report`)
  // What ended it for all leaves nothing to be asked again.
  const isEnd = error !== null && error.reply?.code !== 421
  const isOver = isEnd || scene.isStopped || names.some((n) => n.outcome === 'failed' || (n.code ?? 0) >= 500)
  for (const one of scene.talks.flatMap(({ tries }) => tries)) {
    judgeTry(scene, one, names)
    if (!isOver) judgeGoodbye(scene, one, names)
  }
}

/** An outcome comes from a whole reply to that very ETRN, or it is the session's failure. */
function judgeResult(scene: Scene, result: Result, isError: boolean): void {
  const { name, outcome, code, text } = result
  if (code === null) {
    if (!WITHOUT_REPLY.includes(outcome)) found(scene, `${name}: ${outcome} without a reply`)
    if (outcome !== 'skipped' && !isError) found(scene, `${name}: ${outcome}, and nothing says why`)
    if (text !== null) found(scene, `${name}: a text without a code`)
    return
  }
  if (outcome !== outcomeOf(code, text ?? '')) found(scene, `${name}: ${outcome} of ${code} ${text}`)
  const tries = scene.talks.flatMap((talk) => talk.tries).filter((one) => one.name === name)
  if (!tries.some((one) => isReplyTo(one, result))) found(scene, `${name}: no reply to it was ${code} ${text}`)
}

function isReplyTo({ talk, index }: Try, { code, enhancedCode, text }: Result): boolean {
  const whole = talk.stream.whole[index]
  if (whole?.code !== code || talk.stream.earlyAt <= index) return false
  const shown = shownOf(whole)
  // What would be a secret is hidden, and that is looked at elsewhere.
  return text?.includes('****') === true || (shown.text === tidied(text ?? '') && shown.enhancedCode === enhancedCode)
}

/** What was answered is reported, whatever came then. */
function judgeTry(scene: Scene, { talk, name, index }: Try, names: readonly Result[]): void {
  const reply = talk.stream.whole[index]
  const wasHeard =
    talk.commands > index || (talk.saidQuit && scene.interruptedMs === Infinity) || isLastWord(scene, talk)
  if (reply === undefined || !wasHeard || reply.code === 421 || talk.stream.earlyAt <= index) return
  const result = names.find((one) => one.name === name)
  if (result?.code !== reply.code) found(scene, `${name}: the reply ${reply.code} is not reported, but ${result?.code}`)
}

/** Whether the server closed behind what it had said in time, so that nothing of it is lost. */
function isLastWord(scene: Scene, { endedBy, wasReset, isDamaged, saidMs, heardMs }: Talk): boolean {
  const isInTime = saidMs - heardMs < scene.timeoutMs / 2 && !hasStalled(scene) && scene.interruptedMs === Infinity
  return endedBy === 'server' && !wasReset && !isDamaged && isInTime
}

/** 421 to a name is no end, where the session had answered one and this server accepted one before. */
function judgeGoodbye(scene: Scene, { talk, name, index }: Try, names: readonly Result[]): void {
  const isGoodbye = talk.stream.whole[index]?.code === 421 && talk.commands === index && talk.saidQuit
  const isAfterAnother =
    talk.tries.length > 1 && names.some(({ outcome }) => EXIT_STATUS_OF[outcome] === 0 && outcome !== 'skipped')
  if (!isGoodbye || !isAfterAnother || scene.interruptedMs < Infinity) return
  const isLast = scene.talks.every(
    ({ number, tries }) => number <= talk.number && !tries.some((one) => one.name === name && one.talk !== talk),
  )
  if (isLast) found(scene, `${name}: not asked for again after 421`)
}

/** Every name that came over the wire is in the transcript as often. */
function judgeSent(scene: Scene, sent: readonly string[]): void {
  const left = [...sent]
  for (const { name } of scene.talks.flatMap(({ tries }) => tries)) {
    const at = left.indexOf(name)
    if (at === -1) found(scene, `sent, and not told to the trace: ${name}`)
    else left.splice(at, 1)
  }
}

/** QUIT, on every session that stood. */
export function judgeEnd(scene: Scene): void {
  const { talks } = scene
  for (const { isClosed, number } of talks) if (!isClosed) found(scene, `connection ${number} stays open`)
  const without = talks.filter((t) => !t.saidQuit && t.endedBy !== 'server' && !mayGoWithoutQuit(scene, t))
  const cutOff = without.filter((talk) => isCutOff(scene, talk))
  for (const talk of without) if (!cutOff.includes(talk)) found(scene, `connection ${talk.number} ended without QUIT`)
  // Before its first command it may not have been connected yet.
  const due = cutOff.filter(({ commands }) => commands > 0).length + talks.filter(({ saidQuit }) => saidQuit).length
  if (due > scene.quits) found(scene, `${due} sessions to be ended with QUIT, and ${scene.quits} were`)
}

/**
 * QUIT is written and not read: where the client is interrupted, or calls a session off because nothing is left to ask, or leaves
 * octets unread, what the server says at that moment breaks its own end.
 */
function isCutOff({ talks, interruptedMs }: Scene, { tries, commands, saidMs, heardMs, hadError }: Talk): boolean {
  const isInterrupted = interruptedMs < Infinity && (commands === 0 || saidMs >= interruptedMs)
  return hadError || isInterrupted || (talks.length > 1 && tries.length === 0 && saidMs >= heardMs)
}

function mayGoWithoutQuit(scene: Scene, talk: Talk): boolean {
  const { stream, commands, tls } = talk
  const isAttack = tls === 'begun' && stream.earlyAt === commands + 1
  // Overdue: nothing whole to what was said last, or only half of something else.
  const isOwed = stream.whole.length <= commands && !stream.isBroken
  const isOverdue = isOwed || isWithin(stream) || talk.closedMs - talk.heardMs > scene.timeoutMs / 2
  // To whom has not shown who it is, nothing is said.
  const isVerified = scene.script.level === 'verify' || scene.script.isImplicitTls
  const isUnknown = tls === 'done' && isVerified && talk.conversation.certificate === 'self'
  const isNoTls = tls === 'begun' || tls === 'never' || talk.isDamaged
  if (!isAttack && (isOverdue || isUnknown || isNoTls)) return true
  if (hasStalled(scene)) scene.excused++
  return hasStalled(scene)
}

/** Nothing stays open, and no more was read than whole replies may have. */
export function judgeSockets(scene: Scene, sockets: readonly Socket[]): void {
  for (const socket of sockets) {
    if (!socket.destroyed) found(scene, 'a socket of the client stays open')
    const most = (scene.commands + 4) * LIMITS.lines * LIMITS.line
    if (socket.bytesRead > most) found(scene, `${socket.bytesRead} octets were read in a connection`)
  }
}
