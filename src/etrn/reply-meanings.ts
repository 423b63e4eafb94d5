import { SessionError } from '../smtp/errors.js'
import { ENHANCED_CODE, isTransient, type Reply } from '../smtp/reply.js'
import { ETRN_CODES, ETRN_TEXTS } from './etrn-replies.js'
import type { Outcome } from './outcome.js'
import { SESSION_LIMIT } from './reply-patterns.js'
import { findRow, hintOf } from './reply-rows.js'
import { readableText } from './reply-text.js'
import { SESSION_FAILURES } from './session-failures.js'

/** An enhanced status code as qmail writes it, `(#5.7.1)`, or one in brackets at the end */
const LATE_CODE = /#([245]\.\d{1,3}\.\d{1,3})(?![\w.])|[([]([245]\.[0-7]\.\d{1,3})[)\]]\W*$/

/** Returns the outcome and the hint of a reply to ETRN. The banner is what the server has said about itself. */
export function meaningOf(reply: Reply, name: string, banner: string): { outcome: Outcome; hint: string | null } {
  const { code } = reply
  const bareName = name.replace(/^[@#]/, '')
  const [, first, last] = LATE_CODE.exec(reply.text) ?? []
  const status = reply.enhancedCode ?? ENHANCED_CODE.exec(reply.text)?.[0] ?? first ?? last ?? ''
  const text = readableText(reply.text.replace(ENHANCED_CODE, ''), bareName)
  const facts = { code, text, status, banner, name }
  const byCode = findRow(ETRN_CODES, facts)
  const row = findRow(ETRN_TEXTS, facts) ?? byCode
  const outcome = row?.outcome ?? byCode?.outcome ?? 'failed'
  const hint = hintOf(row, outcome === 'deferred')
  return { outcome, hint: hint?.replaceAll('{name}', () => bareName) ?? null }
}

/** Returns true if a reply to ETRN speaks of a limit on the requests of one session. */
export function isSessionLimit({ code, text }: Pick<Reply, 'code' | 'text'>, name: string): boolean {
  return code >= 400 && SESSION_LIMIT.test(readableText(text, name.replace(/^[@#]/, '')).words)
}

/** Returns the error with a hint, its own or that of the table; the hint stays undefined if neither knows one. */
export function addHint(error: SessionError, banner: string): SessionError {
  const { stage, exitStatus, reply, kind, cause, message } = error
  const facts = {
    text: readableText(reply?.text ?? message),
    banner,
    kind,
    ...(reply === null ? {} : { code: reply.code }),
  }
  const row = findRow(SESSION_FAILURES[stage] ?? [], facts)
  const hint = error.hint ?? hintOf(row, reply !== null && isTransient(reply))
  return new SessionError(stage, message, { exitStatus, reply, kind, hint, cause })
}
