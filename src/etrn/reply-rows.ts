import type { FailureKind } from '../errors.js'
import type { Outcome } from './outcome.js'
import { HINTS, RETRY_STEP } from './reply-hints.js'
import * as words from './reply-patterns.js'
import type { ReplyText } from './reply-text.js'

/** One row of the table of meanings. It fits if all its conditions hold; the first row that fits counts. */
export type ReplyMeaning = {
  /** Codes, or classes of codes */
  readonly codes?: readonly (number | '2xx' | '4xx' | '5xx')[]
  /** The text, without the requested name and other names of hosts */
  readonly text?: RegExp
  /** The text with the names of hosts, but without the requested name */
  readonly textWithHosts?: RegExp
  /** The enhanced status code, even if its class is not that of the code: `458 5.7.1` */
  readonly status?: RegExp
  /** The greeting, and on a line of its own the first line of the EHLO reply: they may name the software. */
  readonly banner?: RegExp
  readonly name?: RegExp
  readonly kind?: FailureKind
  /** Undefined if the code alone decides. */
  readonly outcome?: Outcome
  /** The next step for the user; `{name}` stands for the name without `@` and `#`. */
  readonly hint?: string
  /** A further step if the outcome is `deferred` */
  readonly retryStep?: string | undefined
  /** An RFC, a server that was measured, or its source or manual */
  readonly source: string
}

export type ReplyFacts = {
  readonly code?: number
  readonly text: ReplyText
  readonly status?: string
  readonly banner: string
  readonly name?: string
  readonly kind?: FailureKind | undefined
}

/** Returns the first row that fits. */
export function findRow(rows: readonly ReplyMeaning[], facts: ReplyFacts): ReplyMeaning | undefined {
  return rows.find((row) => isFitting(row, facts))
}

/** Returns the hint of a row; undefined if it has none. */
export function hintOf(row: ReplyMeaning | undefined, isDeferred: boolean): string | undefined {
  const steps = [row?.hint ?? [], (isDeferred ? row?.retryStep : undefined) ?? []].flat()
  return steps.join('; ') || undefined
}

function isFitting(row: ReplyMeaning, facts: ReplyFacts): boolean {
  const { codes, text, textWithHosts, status, banner, name, kind } = row
  return (
    (kind === undefined || kind === facts.kind) &&
    (codes?.some((code) => hasCode(code, facts.code ?? 0)) ?? true) &&
    (text?.test(facts.text.words) ?? true) &&
    (textWithHosts?.test(facts.text.withHosts) ?? true) &&
    (status?.test(facts.status ?? '') ?? true) &&
    (banner?.test(facts.banner) ?? true) &&
    (name?.test(facts.name ?? '') ?? true)
  )
}

function hasCode(expected: number | string, code: number): boolean {
  return typeof expected === 'number' ? expected === code : expected === `${Math.floor(code / 100)}xx`
}

/**
 * Returns the rows of a text for which the class of the code decides, not the code: `501 Helo command rejected` is no word on syntax.
 * `retryStep` is undefined if a retry alone can't help.
 */
export function rowsByClass(
  text: RegExp | Pick<ReplyMeaning, 'textWithHosts'>,
  hint: string,
  source: string,
  retryStep?: string,
): ReplyMeaning[] {
  const condition = text instanceof RegExp ? { text } : text
  return [
    { codes: ['5xx'], ...condition, outcome: 'refused', hint, source },
    { codes: ['4xx'], ...condition, hint, retryStep, source },
  ]
}

// About this host, at any command. Postfix says so at the greeting, at EHLO or at ETRN (smtpd_delay_reject).

/** Neither the name in EHLO nor the address is the reason. */
export const SERVER_FAULTS: readonly ReplyMeaning[] = [
  ...rowsByClass(words.SERVER_FAULT, HINTS.serverFault, 'Postfix: smtpd_check.c', RETRY_STEP),
  // Commands are never sent in groups, so that something on the path may be the reason: only the general hint helps.
  {
    codes: [503, 521, 550, 554],
    text: words.WRONG_ORDER,
    source: 'Postfix: reject_unauth_pipelining, postscreen; Exim; Sendmail',
  },
]
export const BAD_HELO = rowsByClass(words.HELO_NAME, HINTS.helo, 'Postfix: smtpd_helo_restrictions', RETRY_STEP)
export const BAD_ADDRESS = [
  ...rowsByClass({ textWithHosts: words.BLOCKLIST }, HINTS.blocklist, 'Postfix: default_rbl_reply', RETRY_STEP),
  ...rowsByClass(
    words.REVERSE_NAME,
    HINTS.reverseName,
    'Postfix: reject_unknown_client_hostname',
    'a DNS failure can also be the reason: --retry-for 10m tries again',
  ),
]
