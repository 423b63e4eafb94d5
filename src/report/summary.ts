import type { Outcome, ServerReport } from '../etrn/outcome.js'
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

/**
 * Returns a line that counts the outcomes of a run: `40 names: 37 accepted, 2 refused, 1 deferred`. Returns undefined if the results
 * need none: few names at one server, requested once.
 */
export function summaryOf(servers: readonly ServerReport[]): string | undefined {
  const outcomes = servers.flatMap(({ names }) => names.map(({ outcome }) => WORDS[outcome]))
  const isRetried = servers.some(({ attempts }) => attempts > 1) && servers.every(({ error }) => error === null)
  const isLong = outcomes.length > NAMES_WITHOUT_SUMMARY || servers.length > 1
  if (outcomes.length === 0 || !(isLong || isRetried)) return undefined
  const counts = [...new Set(Object.values(WORDS))].flatMap((word) => {
    const count = outcomes.filter((other) => other === word).length
    return count === 0 ? [] : `${count} ${word}`
  })
  const total =
    servers.length > 1
      ? `${formatCount(outcomes.length, 'request')} to ${servers.length} servers`
      : formatCount(outcomes.length, 'name')
  return `${total}: ${counts.join(', ')}${isRetried ? describeRetries(servers) : ''}`
}

function describeRetries(servers: readonly ServerReport[]): string {
  const attempts = Math.max(...servers.map((server) => server.attempts))
  const elapsedMs = Math.max(...servers.map((server) => server.elapsedMs))
  return `; ${servers.length > 1 ? 'up to ' : ''}${attempts} attempts in ${formatElapsed(elapsedMs)}`
}
