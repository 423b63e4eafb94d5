import type { Outcome } from '../etrn/outcome.js'
import type { ServerReport } from '../etrn/server-report.js'
import { formatElapsed } from '../net/duration.js'
import { formatCount } from './names.js'

/** More names than these need a summary: nobody counts the lines. */
const NAMES_WITHOUT_SUMMARY = 7

const WORDS: Readonly<Record<Outcome, string>> = {
  started: 'accepted',
  empty: 'accepted',
  pending: 'accepted',
  refused: 'refused',
  rejected: 'rejected',
  unsupported: 'not supported',
  failed: 'failed',
  deferred: 'deferred',
  skipped: 'not requested',
}
const WITHOUT_REPLY = 'without a reply'
/** In the order of the summary: names that were not sent come last. */
const COUNTED = [...new Set(Object.values(WORDS))].toSpliced(-1, 0, WITHOUT_REPLY)

/**
 * Returns a line that counts the outcomes of a run: `40 names: 37 accepted, 2 refused, 1 deferred`. Returns undefined if the results
 * need none: few names at one server, requested once.
 */
export function summaryOf(servers: readonly ServerReport[]): string | undefined {
  const outcomes = servers.flatMap(wordsOf)
  const isRetried =
    servers.some(({ attempts }) => attempts > 1) &&
    servers.every(({ error, isQueueUnknown }) => error === null && !isQueueUnknown)
  const isLong = outcomes.length > NAMES_WITHOUT_SUMMARY || servers.length > 1
  if (outcomes.length === 0 || !(isLong || isRetried)) return undefined
  const counts = COUNTED.flatMap((word) => {
    const count = outcomes.filter((other) => other === word).length
    return count === 0 ? [] : `${count} ${word}`
  })
  const count = outcomes.length
  const subject =
    servers.length > 1 ? `${formatCount(count, 'result')} from ${servers.length} servers` : formatCount(count, 'name')
  return `${subject}: ${counts.join(', ')}${isRetried ? describeRetries(servers) : ''}`
}

/** Returns a word for each name of a server. One without a reply has the outcome of its session, which says nothing of the name. */
function wordsOf({ names, unconfirmed = [] }: ServerReport): string[] {
  const sent = new Set(unconfirmed)
  return names.map(({ name, outcome, code }) => {
    if (code !== null || outcome === 'rejected') return WORDS[outcome]
    return sent.has(name) ? WITHOUT_REPLY : WORDS.skipped
  })
}

function describeRetries(servers: readonly ServerReport[]): string {
  const attempts = Math.max(...servers.map((server) => server.attempts))
  const elapsedMs = Math.max(...servers.map((server) => server.elapsedMs))
  return `; ${servers.length > 1 ? 'up to ' : ''}${attempts} attempts in ${formatElapsed(elapsedMs)}`
}
