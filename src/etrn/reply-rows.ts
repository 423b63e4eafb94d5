import type { FailureKind } from '../errors.js'
import type { Outcome } from './outcome.js'
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
