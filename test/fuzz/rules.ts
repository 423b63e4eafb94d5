import type { Script } from './grammar.js'
import { outcomeOf, shownOf, type Stream } from './reference.js'
import { afterTurns, found, hasStalled, type Scene, type Talk, type Try } from './scene.js'

/** What a client may do, as the server sees it: SPEC 4 and 7, line by line. */
const ACCEPTED = ['started', 'empty', 'pending']
const NAMES_A_SESSION = 7
const SESSIONS_AT_ONCE = 4

/** A connection more; to be called when what went before it has been heard. */
export function judgeOpening(scene: Scene, talk: Talk): void {
  const standing = scene.talks.filter((t) => !t.saidQuit && !t.isClosed && t.endedBy === undefined)
  const isAccepted = scene.talks.some(({ tries, stream }) => tries.some(({ index }) => isAcceptance(stream, index)))
  if (standing.length > 1 && !isAccepted) found(scene, `${standing.length} sessions before a name was accepted`)
  if (standing.length > SESSIONS_AT_ONCE) found(scene, `${standing.length} sessions at once`)
  if (talk.number > mostConnections(scene.script)) found(scene, `${talk.number} connections`)
}

function isAcceptance({ whole }: Stream, index: number): boolean {
  const reply = whole[index]
  return reply !== undefined && ACCEPTED.includes(outcomeOf(reply.code, shownOf(reply).text))
}

/** Each session answers a name, or is followed by one that does; where TLS fails there may be one more. */
export function mostConnections({ names }: Script): number {
  return 4 * names.length + 12
}

/** One line of the client's; `whole` replies had been said before it came. */
export function judgeLine(scene: Scene, talk: Talk, line: string, whole: number): void {
  if (talk.saidQuit) found(scene, `said after QUIT: ${line}`)
  if (line === 'QUIT\r\n') return judgeQuit(scene, talk, whole)
  const index = ++talk.commands
  scene.commands++
  if (whole < index) found(scene, `sent before the whole reply to what went before: ${line}`)
  if (index >= talk.stream.earlyAt) found(scene, `sent though the server had spoken before its turn: ${line}`)
  const last = talk.stream.whole[index - 1]
  const command = line.slice(0, -2)
  if (talk.auth === index - 1 && index > 1 && last?.code === 334) judgeResponse(scene, talk, command, index)
  else judgeCommand(scene, talk, command, index)
  if (scene.script.interruptedAt !== scene.commands) return
  setImmediate(() => {
    scene.interruptedMs = performance.now()
    scene.interrupt()
    stopSoon(scene)
  })
}

/** What other sessions had begun to send by now has been heard a few turns later. */
function stopSoon(scene: Scene): void {
  afterTurns(() => (scene.isStopped = true))
}

function judgeResponse(scene: Scene, talk: Talk, response: string, index: number): void {
  if (!/^(?:[A-Za-z0-9+/]*={0,2}|\*)$/.test(response)) found(scene, `no response: ${response}`)
  talk.auths++
  talk.auth = index
}

function judgeCommand(scene: Scene, talk: Talk, command: string, index: number): void {
  const { script } = scene
  const isVerified = script.level === 'verify' || script.isImplicitTls
  const isClear = (isVerified || script.level === 'encrypt') && talk.tls !== 'done'
  // Nobody vouches for the one certificate.
  const isExposed = isClear || (isVerified && talk.conversation.certificate === 'self')
  // The list from before TLS is none any more.
  const isListless = talk.hello < 0 || (talk.tls === 'done' && talk.hello < talk.starttls)
  if (isListless && !command.startsWith('EHLO ')) found(scene, `sent before EHLO: ${command}`)
  if (/^EHLO \S+$/.test(command)) {
    talk.hellos++
    talk.hello = index
  } else if (command === 'STARTTLS') {
    if (talk.tls !== 'no' || script.level === 'none') found(scene, 'STARTTLS where it has no place')
    talk.starttls = index
  } else if (/^AUTH [A-Z0-9-]+(?: [A-Za-z0-9+/=]+)?$/.test(command)) {
    if (script.mechanism === null || isExposed) found(scene, `not to be said here: ${command}`)
    talk.auths++
    talk.auth = index
  } else if (/^ETRN \S+$/.test(command)) {
    if (isExposed) found(scene, `TLS is demanded, or to be verified: ${command}`)
    judgeEtrn(scene, talk, { name: command.slice(5), index, talk })
  } else found(scene, `no command of ours: ${command}`)
}

function judgeEtrn(scene: Scene, talk: Talk, one: Try): void {
  const { name } = one
  const { script } = scene
  const isListed = talk.stream.whole[talk.hello]?.lines.slice(1).some((line) => /^etrn(?: |$)/i.test(line))
  if (isListed !== true && !script.assumeEtrn) found(scene, `ETRN, which is not listed: ${name}`)
  if (!script.names.includes(name)) found(scene, `nobody asked for ${name}`)
  if (scene.isStopped) found(scene, `sent after the end for this server: ${name}`)
  const before = talk.tries.at(-1)
  if (before !== undefined && isEnd(scene, talk, before.index)) found(scene, `sent behind what was the end: ${name}`)
  const earlier = scene.talks.flatMap(({ tries }) => tries).find((t) => t.name === name && !mayBeLost(t))
  if (earlier !== undefined) found(scene, `sent again: ${name}, first in connection ${earlier.talk.number}`)
  if (talk.tries.push(one) > NAMES_A_SESSION) found(scene, `${talk.tries.length} names in a session`)
}

/** Whether a name may be asked for again: 421, or the server's close in place of its reply. */
function mayBeLost({ index, talk }: Try): boolean {
  const reply = talk.stream.whole[index]
  if (reply?.code === 421) return true
  return talk.endedBy === 'server' && talk.commands === index && (talk.wasReset || reply === undefined)
}

function judgeQuit(scene: Scene, talk: Talk, whole: number): void {
  talk.saidQuit = true
  const last = talk.tries.at(-1)
  const isAnswer = last !== undefined && last.index === talk.commands && talk.stream.earlyAt > last.index
  const isBroken = isAnswer && talk.stream.isBroken && talk.stream.whole.length === last.index
  const isHeard = isAnswer && whole > last.index
  if (isBroken || (isHeard ? isEnd(scene, talk, last.index) : isAttack(scene, talk))) stopSoon(scene)
}

/** Whether the whole reply to an ETRN ends it for this server. */
function isEnd({ script }: Scene, { stream }: Talk, index: number): boolean {
  const code = stream.whole[index]?.code
  if (code === undefined) return false
  return code < 200 || (code >= 300 && code < 400) || (code >= 500 && !script.keepGoing)
}

/** Clear text behind the reply to STARTTLS, before any name was sent: there is no falling back. */
function isAttack({ talks }: Scene, { stream, tls, commands }: Talk): boolean {
  const isFirst = talks.every(({ tries }) => tries.length === 0)
  return isFirst && tls === 'begun' && stream.earlyAt === commands + 1
}

/** A connection less. A server that goes on in clear where TLS has to begin is not asked in clear then (SPEC 7). */
export function judgeClosing(scene: Scene, talk: Talk): void {
  const isFirst = scene.talks.every(({ tries }) => tries.length === 0)
  const [octets = ''] = talk.conversation.handshake.writes
  // Less than the head of a record may be a slow handshake.
  const isClear = talk.tls === 'never' && /^\d{3}[ -]./s.test(octets) && talk.stream.octets > 0
  if (isFirst && isClear && talk.endedBy === 'client' && !hasStalled(scene)) scene.isStopped = true
}
