import { hasStalledSince, runAfterTurns } from './event-loop.js'
import { fail, type FuzzRun, type ObservedConnection, type SentRequest } from './fuzz-run.js'
import {
  isAcceptance,
  isDoubtful,
  isLaterLimitReply,
  isLimitReply,
  isSessionContinued,
  learnedLimit,
  mayConcernSession,
} from './session-limits.js'
import type { TestCase } from './test-case.js'

// Checks every connection and every command as the server sees them: may the client send this, now?

const SESSIONS_PER_SERVER = 4

/** Checks a new connection. Must be called after the octets from the older ones have arrived. */
export function checkNewConnection(run: FuzzRun, connection: ObservedConnection): void {
  const open = run.connections.filter(isOpen)
  const isAnyAccepted = run.connections.some(({ requests }) => requests.some(isAcceptance))
  if (open.length > 1 && !isAnyAccepted) fail(run, `${open.length} sessions before a name was accepted`)
  // A loaded server learns late that the client has closed a session.
  if (open.length > SESSIONS_PER_SERVER)
    runAfterTurns(() => {
      const stillOpen = open.filter(isOpen).length
      if (stillOpen > SESSIONS_PER_SERVER) fail(run, `${stillOpen} sessions at once`)
    })
  if (connection.number > maxConnections(run.testCase)) fail(run, `${connection.number} connections`)
}

function isOpen({ hasQuit, isClosed, endedBy }: ObservedConnection): boolean {
  return !hasQuit && !isClosed && endedBy === undefined
}

/** Returns a bound: each session answers a name or precedes one that does, and a failed TLS handshake can cost one more. */
export function maxConnections({ names }: TestCase): number {
  return 4 * names.length + 12
}

/** Checks one line from the client; `replies` is the number of replies that the server had sent before the line arrived. */
export function checkLine(run: FuzzRun, connection: ObservedConnection, line: string, replies: number): void {
  if (connection.hasQuit) fail(run, `sent after QUIT: ${line}`)
  if (line === 'QUIT\r\n') return acceptQuit(run, connection, replies)
  const index = ++connection.commands
  run.commands++
  if (replies < index) fail(run, `sent before the whole reply to the previous command: ${line}`)
  if (index >= connection.stream.forbiddenFrom) fail(run, `sent although the server spoke out of turn: ${line}`)
  const previous = connection.stream.replies[index - 1]
  const command = line.slice(0, -2)
  if (connection.authIndex === index - 1 && index > 1 && previous?.code === 334)
    checkSaslResponse(run, connection, command, index)
  else checkCommand(run, connection, command, index)
  if (run.testCase.interruptedAt !== run.commands) return
  setImmediate(() => {
    run.interruptedMs = performance.now()
    run.interrupt()
    stopSoon(run)
  })
}

/** Stops the run a few turns later: until then, lines arrive that other sessions had sent already. */
function stopSoon(run: FuzzRun): void {
  runAfterTurns(() => (run.isStopped = true))
}

function checkSaslResponse(run: FuzzRun, connection: ObservedConnection, response: string, index: number): void {
  if (!/^(?:[A-Za-z0-9+/]*={0,2}|\*)$/.test(response)) fail(run, `not a SASL response: ${response}`)
  connection.authCount++
  connection.authIndex = index
}

function checkCommand(run: FuzzRun, connection: ObservedConnection, command: string, index: number): void {
  const { testCase } = run
  const isVerified = testCase.tlsLevel === 'verify' || testCase.isImplicitTls
  const isUnencrypted = (isVerified || testCase.tlsLevel === 'encrypt') && connection.tls !== 'done'
  const isExposed = isUnencrypted || (isVerified && connection.script.certificate === 'self')
  // RFC 3207, 4.2: the client must discard the list from before TLS.
  const isEhloDue =
    connection.ehloIndex < 0 || (connection.tls === 'done' && connection.ehloIndex < connection.starttlsIndex)
  if (isEhloDue && !command.startsWith('EHLO ')) fail(run, `sent before EHLO: ${command}`)
  if (/^EHLO \S+$/.test(command)) {
    connection.ehloCount++
    connection.ehloIndex = index
  } else if (command === 'STARTTLS') {
    if (connection.tls !== 'no' || testCase.tlsLevel === 'none') fail(run, 'STARTTLS is not allowed here')
    connection.starttlsIndex = index
  } else if (/^AUTH [A-Z0-9-]+(?: [A-Za-z0-9+/=]+)?$/.test(command)) {
    if (testCase.mechanism === null || isExposed) fail(run, `AUTH is not allowed here: ${command}`)
    connection.authCount++
    connection.authIndex = index
  } else if (/^ETRN \S+$/.test(command)) {
    if (isExposed) fail(run, `ETRN without the required TLS: ${command}`)
    checkEtrn(run, connection, { name: command.slice(5), index, connection })
  } else fail(run, `not a command of the client: ${command}`)
}

function checkEtrn(run: FuzzRun, connection: ObservedConnection, request: SentRequest): void {
  const { name } = request
  const { testCase } = run
  const ehloReply = connection.stream.replies[connection.ehloIndex]
  const isListed = ehloReply?.lines.slice(1).some((line) => /^etrn(?: |$)/i.test(line))
  if (isListed !== true && !testCase.assumeEtrn) fail(run, `ETRN is not listed: ${name}`)
  if (!testCase.names.includes(name)) fail(run, `not a requested name: ${name}`)
  if (run.isStopped) fail(run, `sent after the end of the run: ${name}`)
  const previous = connection.requests.at(-1)
  if (previous !== undefined && isFinalReply(run, previous)) fail(run, `sent after a final reply: ${name}`)
  if (previous !== undefined && isLimitReply(previous)) fail(run, `sent after a session limit: ${name}`)
  const earlier = run.connections
    .flatMap(({ requests }) => requests)
    .find((one) => one.name === name && !mayBeRepeated(one))
  if (earlier !== undefined) fail(run, `sent again: ${name}, first in connection ${earlier.connection.number}`)
  if (connection.requests.push(request) > run.namesPerSession)
    fail(run, `${connection.requests.length} names in a session`)
}

/** Tells whether a name may be requested again: the server replied 421, or about the session, or closed instead of replying. */
function mayBeRepeated(request: SentRequest): boolean {
  const { index, connection } = request
  const reply = connection.stream.replies[index]
  if (reply?.code === 421 || mayConcernSession(request)) return true
  return (
    connection.endedBy === 'server' && connection.commands === index && (connection.wasReset || reply === undefined)
  )
}

function acceptQuit(run: FuzzRun, connection: ObservedConnection, replies: number): void {
  connection.hasQuit = true
  const last = connection.requests.at(-1)
  const { stream } = connection
  const followsEtrn = last !== undefined && last.index === connection.commands && stream.forbiddenFrom > last.index
  const isMalformed = followsEtrn && stream.isMalformed && stream.replies.length === last.index
  const isAnswered = followsEtrn && replies > last.index
  // What the server does after QUIT decides about a doubtful reply.
  const isFinal = isAnswered && !isDoubtful(last) && isFinalReply(run, last)
  if (isMalformed || (isAnswered ? isFinal : isInjection(run, connection))) stopSoon(run)
  runAfterTurns(() => (run.namesPerSession = learnedLimit(run, connection)))
}

/** Tells whether the reply to an ETRN ends the run. */
function isFinalReply({ testCase }: FuzzRun, request: SentRequest): boolean {
  const code = request.connection.stream.replies[request.index]?.code
  if (code === undefined || isLaterLimitReply(request)) return false
  return code < 200 || (code >= 300 && code < 400) || (code >= 500 && !testCase.keepGoing)
}

/** Tells whether unencrypted octets followed the reply to STARTTLS before any ETRN: the client must not go on without TLS. */
function isInjection({ connections }: FuzzRun, { stream, tls, commands }: ObservedConnection): boolean {
  const isBeforeEtrn = connections.every(({ requests }) => requests.length === 0)
  return isBeforeEtrn && tls === 'begun' && stream.forbiddenFrom === commands + 1
}

/**
 * Stops the run if the server answered the TLS handshake with plain text: the client must not go on without TLS. Stops it, too, if the
 * reply to QUIT shows that a doubtful reply was final.
 */
export function updateAfterClose(run: FuzzRun, connection: ObservedConnection): void {
  const last = connection.requests.at(-1)
  if (last !== undefined && isDoubtful(last) && isSessionContinued(last) && isFinalReply(run, last))
    run.isStopped = true
  const isBeforeEtrn = run.connections.every(({ requests }) => requests.length === 0)
  const [octets = ''] = connection.script.handshake.writes
  // Fewer octets than the head of a TLS record may be a slow handshake.
  const isPlainText = connection.tls === 'replaced' && /^\d{3}[ -]./s.test(octets) && connection.stream.octets > 0
  if (isBeforeEtrn && isPlainText && connection.endedBy === 'client' && !hasStalledSince(run.startedMs))
    run.isStopped = true
}
