import type { FuzzRun, ObservedConnection, SentRequest } from './fuzz-run.js'
import { expectedOutcomeOf, shownReplyOf, speaksOfLimit } from './reference.js'

// A second reading of the rule on session limits: which replies to ETRN are about the session, and not about the name?

const ACCEPTED_OUTCOMES = ['started', 'empty', 'pending']

/** Tells whether the server accepted a name with this request. */
export function isAcceptance({ connection, index, name }: SentRequest): boolean {
  const reply = connection.stream.replies[index]
  if (reply === undefined) return false
  const { enhancedCode, text } = shownReplyOf(reply)
  return ACCEPTED_OUTCOMES.includes(expectedOutcomeOf(reply.code, text, enhancedCode, name))
}

function isFirst({ connection, name }: SentRequest): boolean {
  return connection.requests[0]?.name === name
}

/** Tells whether the server replied that its session has reached a limit. As the first reply of a session it counts for the name. */
export function isLimitReply({ connection, index }: SentRequest): boolean {
  const reply = connection.stream.replies[index]
  return reply !== undefined && speaksOfLimit(reply.code, shownReplyOf(reply).text)
}

/** Tells whether a reply says that the session, and not the name, has reached a limit. */
export function isLaterLimitReply(request: SentRequest): boolean {
  return isLimitReply(request) && !isFirst(request)
}

/** Tells whether a reply is a 5xx after an accepted name of its session: what follows decides whether it is about the name. */
export function isDoubtful(request: SentRequest): boolean {
  const { connection, index } = request
  const earlier = connection.requests.filter((one) => one.index < index)
  return (connection.stream.replies[index]?.code ?? 0) >= 500 && earlier.some(isAcceptance)
}

/** Tells whether the next reply shows that the server went on with the session after this one. */
export function isSessionContinued({ connection, index }: SentRequest): boolean {
  const next = connection.stream.replies[index + 1]
  return next !== undefined && next.code !== 421
}

/** Tells whether a reply may be about the session, so that its name may be requested again. */
export function mayConcernSession(request: SentRequest): boolean {
  return isLaterLimitReply(request) || (isDoubtful(request) && !isSessionContinued(request))
}

/** Returns the number of names that the client knows to be the most of one session, after the QUIT of this connection. */
export function learnedLimit(run: FuzzRun, { requests }: ObservedConnection): number {
  const last = requests.at(-1)
  const isHit = last !== undefined && isLaterLimitReply(last)
  return isHit ? Math.min(run.namesPerSession, requests.length - 1) : run.namesPerSession
}
