import type { FailureKind } from '../errors.js'
import { REPEAT_HINT, SessionError, type Stage } from '../smtp/errors.js'
import { MASKED_GREETING, MIDDLEBOX_HINT } from '../smtp/middlebox.js'
import { ENHANCED_CODE, type Reply } from '../smtp/reply.js'
import type { Outcome } from './outcome.js'
import { HINTS, LOGIN_OPTIONS, RETRY_STEP } from './reply-hints.js'
import * as words from './reply-patterns.js'

/** One row of the table of meanings. It fits if all its conditions hold; the first row that fits counts. */
type ReplyMeaning = {
  /** Codes, or classes of codes */
  readonly codes?: readonly (number | '2xx' | '4xx' | '5xx')[]
  /** The text, without the requested name */
  readonly text?: RegExp
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

/**
 * Returns the rows of a text for which the class of the code decides, not the code: `501 Helo command rejected` is no word on syntax.
 * `retryStep` is undefined if a retry alone can't help.
 */
function rowsByClass(text: RegExp, hint: string, source: string, retryStep?: string): ReplyMeaning[] {
  return [
    { codes: ['5xx'], text, outcome: 'refused', hint, source },
    { codes: ['4xx'], text, hint, retryStep, source },
  ]
}

/** Replies to ETRN that mean more, or something else, than their code */
const ETRN_TEXTS: readonly ReplyMeaning[] = [
  { codes: [458], text: /^Already processing\W*$/i, outcome: 'started', source: 'Exim 4.96: its lock for each name' },
  { codes: [250], name: /^[@#]/, banner: /\bPostfix\b/, hint: HINTS.ignoredSign, source: 'Postfix 3.7' },
  ...rowsByClass(
    words.SESSION_LIMIT,
    HINTS.limit,
    'Oracle and PMDF: ALLOW_ETRNS_PER_SESSION; Exim',
    '--retry-for 1h keeps trying',
  ),
  { codes: [500, 502], banner: MASKED_GREETING, outcome: 'unsupported', hint: MIDDLEBOX_HINT, source: 'Cisco PIX' },

  // About this host. Postfix evaluates these restrictions at ETRN, before those for ETRN.
  ...rowsByClass(words.HELO_NAME, HINTS.helo, 'Postfix: smtpd_helo_restrictions', RETRY_STEP),
  ...rowsByClass(words.BLOCKLIST, HINTS.blocklist, 'Postfix: default_rbl_reply', RETRY_STEP),
  ...rowsByClass(
    words.REVERSE_NAME,
    HINTS.reverseName,
    'Postfix: reject_unknown_client_hostname',
    'a DNS failure can also be the reason: --retry-for 10m tries again',
  ),
  ...rowsByClass(words.CLIENT_CERTIFICATE, HINTS.certificate, 'Postfix: check_ccert_access'),
  ...rowsByClass(words.ADDRESS, HINTS.postfixAddress, 'Postfix: smtpd_client_restrictions', RETRY_STEP),
  { codes: [458], text: words.ACCESS_DENIED, outcome: 'refused', hint: HINTS.address, source: 'RFC 1985, 5.3' },
  ...rowsByClass(words.ACCESS_DENIED, HINTS.address, 'Postfix: smtpd_check.c', RETRY_STEP),

  // 458: temporary by its code, but servers use it for policy.
  {
    codes: [458],
    text: /^Internal failure/,
    hint: 'Exim: smtp_etrn_command fails on the server (since 4.94 it needs a lookup in place of a bare $domain); tell your provider',
    source: 'Exim 4.96',
  },
  {
    codes: [458],
    text: /^Unable to queue messages$/,
    hint: HINTS.flush,
    source: 'Postfix 3.7',
  },
  {
    codes: [458],
    text: words.TEMPORARY,
    status: /^(?!5\.)/,
    hint: HINTS.temporary,
    source: 'Exim: smtp_in.c, "Unable to fork process"',
  },
  {
    codes: [458],
    status: /^4\.[234]\./,
    hint: HINTS.temporary,
    source: 'RFC 3463, 3.3 to 3.5: mailbox, system, network',
  },
  { codes: [458], text: words.LOGIN, outcome: 'refused', hint: HINTS.login, source: 'Exim 4.96: deny with a message' },
  { codes: [458], text: words.TLS, outcome: 'refused', hint: HINTS.tls, source: 'Exim 4.96: deny with a message' },
  { codes: [458], banner: /\bExim\b/, outcome: 'refused', hint: HINTS.exim, source: 'Exim 4.96: any other 458' },
  {
    codes: [458],
    text: /^Administrative prohibition/i,
    outcome: 'refused',
    hint: HINTS.exim,
    source: 'Exim 4.96: deny in acl_smtp_etrn',
  },

  { codes: ['4xx'], text: words.TLS_UNAVAILABLE, hint: HINTS.temporary, source: 'RFC 3207, 4' },
  ...rowsByClass(words.LOGIN, HINTS.login, 'RFC 4954, 6'),
  ...rowsByClass(words.TLS, HINTS.tls, 'RFC 3207, 4'),

  // About the name
  {
    codes: [459],
    text: /^Queue .*unknown/i,
    hint: 'Sendmail: no queue group has this name; request the domain itself',
    source: 'Sendmail 8.17',
  },
  {
    codes: [459],
    text: /\bservice unavailable/i,
    hint: 'ask your provider to add the domain to fast_flush_domains or relay_domains (Postfix)',
    source: 'Postfix 3.7',
  },
  {
    codes: [501],
    text: /\bmust begin with #/i,
    hint: "this server accepts only names that start with '#': write --queue {name} in place of the name",
    source: 'Exim 4.96 without smtp_etrn_command',
  },
  {
    codes: [458],
    name: /^[@#]/,
    text: words.POLICY,
    outcome: 'refused',
    hint: HINTS.plainName,
    source: 'RFC 1985, 5.2: both forms are optional',
  },
  { codes: [458], status: /^5\.7\./, outcome: 'refused', hint: HINTS.name, source: 'RFC 3463, 3.8' },
  { codes: [458, 459, 501, 504, 553, 555], name: /^[@#]/, hint: HINTS.plainName, source: 'RFC 1985, 5.2' },
  { codes: ['5xx'], name: /^[@#]/, text: words.FORM, hint: HINTS.plainName, source: 'RFC 1985, 5.2' },
  {
    codes: [458],
    text: /\bstore mail\b/i,
    outcome: 'refused',
    hint: HINTS.elsewhere,
    source: 'Exchange: "Node x does not store mail here"',
  },
  { codes: [458], text: words.POLICY, outcome: 'refused', hint: HINTS.name, source: 'Oracle: "only literal domains"' },
  { codes: [458], status: /^4\.7\./, hint: HINTS.name, retryStep: RETRY_STEP, source: 'RFC 3463, 2 and 3.8' },
  { codes: [501], status: /^5\.(?:1\.|5\.[24])/, hint: HINTS.badName, source: 'RFC 3463, 3.2 and 3.6' },
  { codes: [501], status: /^5\.7\./, outcome: 'refused', hint: HINTS.name, source: 'RFC 3463, 3.8' },
  {
    codes: [501],
    text: words.REFUSAL,
    outcome: 'refused',
    hint: HINTS.name,
    source: 'hMailServer: SMTPConnection.cpp',
  },
  {
    codes: [502],
    text: /\bdo not allow/i,
    hint: 'Sendmail: ETRN is off (PrivacyOptions noetrn), or this is its submission port: try --port 25, or ask your provider to enable ETRN',
    source: 'Sendmail 8.17',
  },
]

/** Replies that mean success, but of another command: status, HELP, the greeting, QUIT and AUTH */
const OTHER_COMMANDS = [211, 214, 220, 221, 235]

/** Replies to ETRN by their codes alone */
const ETRN_CODES: readonly ReplyMeaning[] = [
  { codes: [251], outcome: 'empty', source: 'RFC 1985, 5.1' },
  { codes: [252, 253], outcome: 'pending', source: 'RFC 1985, 5.1' },
  { codes: [421], outcome: 'deferred', source: 'RFC 5321, 3.8' },
  { codes: [459], outcome: 'refused', hint: HINTS.name, source: 'RFC 1985, 5.3' },
  { codes: [458], status: /^5\./, outcome: 'refused', hint: HINTS.name, source: 'RFC 3463, 2' },
  { codes: [500, 502], outcome: 'unsupported', hint: HINTS.noEtrn, source: 'RFC 5321, 4.2.4; OpenSMTPD, Courier' },
  { codes: [504], outcome: 'unsupported', hint: HINTS.noEtrn, source: 'RFC 5321, 4.2.2' },
  { codes: [501, 553, 555], outcome: 'rejected', hint: HINTS.badName, source: 'RFC 1985, 5.3; RFC 5321, 4.2.2' },
  {
    codes: [530],
    outcome: 'refused',
    hint: `the server requires TLS (--tls encrypt) or a login (${LOGIN_OPTIONS}) before ETRN`,
    source: 'RFC 3207, 4; RFC 4954, 6',
  },
  { codes: [550, 554], outcome: 'refused', hint: HINTS.refusal, source: 'RFC 5321, 4.2.2' },
  { codes: OTHER_COMMANDS, outcome: 'failed', hint: HINTS.otherCommand, source: 'RFC 5321, 4.2.3; RFC 4954, 6' },
  { codes: ['2xx'], outcome: 'started', source: 'RFC 1985, 5.1' },
  { codes: ['4xx'], outcome: 'deferred', source: 'RFC 5321, 4.2.1' },
  { codes: ['5xx'], outcome: 'refused', source: 'RFC 5321, 4.2.1' },
]

const NO_MAIL_SERVER: ReplyMeaning = {
  kind: 'malformed-reply',
  hint: 'this may not be a mail server: check the host and the port',
  source: 'RFC 5321, 4.2',
}

/** Failures of a session before ETRN: hints alone, because the exit status depends on the stage. */
const SESSION_FAILURES: Readonly<Partial<Record<Stage, readonly ReplyMeaning[]>>> = {
  greeting: [
    { kind: 'malformed-reply', text: /2[02]0\*{3}/, hint: MIDDLEBOX_HINT, source: 'Cisco PIX 4.4' },
    NO_MAIL_SERVER,
    { codes: ['4xx', '5xx'], text: words.BLOCKLIST, hint: HINTS.blocklist, source: 'Postfix: default_rbl_reply' },
    { codes: ['4xx'], text: words.CONNECTION_LIMIT, hint: HINTS.connections, source: 'Postfix: anvil(8)' },
    { codes: ['5xx'], hint: HINTS.noMail, source: 'RFC 5321, 3.1; RFC 7504; Postfix: smtpd_delay_reject = no' },
    {
      kind: 'connection-lost',
      hint: `${RETRY_STEP}; if the server keeps closing the connection, ask your provider whether your public IP address is blocked`,
      source: 'TCP wrappers',
    },
  ],
  ehlo: [
    NO_MAIL_SERVER,
    { codes: ['4xx', '5xx'], text: words.BLOCKLIST, hint: HINTS.blocklist, source: 'Postfix: default_rbl_reply' },
    { codes: ['4xx', '5xx'], text: words.HELO_NAME, hint: HINTS.helo, source: 'Postfix: smtpd_helo_restrictions' },
    { codes: [500, 502], banner: MASKED_GREETING, hint: MIDDLEBOX_HINT, source: 'Cisco PIX' },
    { codes: [500, 502], hint: HINTS.noEhlo, source: 'RFC 1985, 3' },
    {
      codes: [501, 504, 553],
      hint: 'send another name of this host: --helo HOST.DOMAIN; if no name is accepted, ask your provider which name to send',
      source: 'RFC 5321, 4.1.4',
    },
    { codes: [503], text: words.ACCESS_DENIED, hint: HINTS.noMail, source: 'Postfix: smtpd_delay_reject = no' },
    { codes: [550, 554], hint: HINTS.noMail, source: 'Postfix: smtpd_delay_reject = no' },
  ],
  starttls: [
    { codes: [454], hint: `the server has no TLS at the moment; ${RETRY_STEP}`, source: 'RFC 3207, 4' },
    { codes: ['5xx'], hint: 'ask your provider which port offers TLS and ETRN', source: 'RFC 3207, 4' },
  ],
  etrn: [
    // The names with this reply have the general hint; it covers the rest.
    { codes: [421], source: 'RFC 5321, 3.8' },
    { kind: 'connection-lost', hint: REPEAT_HINT, source: 'RFC 1985, 5' },
  ],
  auth: [
    { codes: [454], hint: `the server can't check the password now: ${RETRY_STEP}`, source: 'RFC 4954, 6' },
    { codes: [530, 538], hint: 'the server requires TLS before you log in: --tls verify', source: 'RFC 4954, 6' },
  ],
}

type Facts = {
  readonly code?: number
  readonly text: string
  readonly status?: string
  readonly banner: string
  readonly name?: string
  readonly kind?: FailureKind | undefined
}

/** Returns the outcome and the hint of a reply to ETRN. The banner is what the server has said about itself. */
export function meaningOf(reply: Reply, name: string, banner: string): { outcome: Outcome; hint: string | null } {
  const { code } = reply
  const bareName = name.replace(/^[@#]/, '')
  const text = words.readableText(reply.text, bareName)
  const status = reply.enhancedCode ?? ENHANCED_CODE.exec(text)?.[0] ?? ''
  const facts = { code, text: text.replace(ENHANCED_CODE, '').trimStart(), status, banner, name }
  const byCode = ETRN_CODES.find((row) => isFitting(row, facts))
  const row = ETRN_TEXTS.find((one) => isFitting(one, facts)) ?? byCode
  const outcome = row?.outcome ?? byCode?.outcome ?? 'failed'
  const steps = [row?.hint ?? [], (outcome === 'deferred' ? row?.retryStep : undefined) ?? []].flat()
  return { outcome, hint: steps.join('; ').replaceAll('{name}', () => bareName) || null }
}

/** Returns true if a reply to ETRN speaks of a limit on the requests of one session. */
export function isSessionLimit({ code, text }: Pick<Reply, 'code' | 'text'>, name: string): boolean {
  return code >= 400 && words.SESSION_LIMIT.test(words.readableText(text, name.replace(/^[@#]/, '')))
}

/** Returns the error with a hint, its own or that of the table; the hint stays undefined if neither knows one. */
export function addHint(error: SessionError, banner: string): SessionError {
  const { stage, exitStatus, reply, kind, cause, message } = error
  const facts = {
    text: words.readableText(reply?.text ?? message),
    banner,
    kind,
    ...(reply === null ? {} : { code: reply.code }),
  }
  const hint = error.hint ?? SESSION_FAILURES[stage]?.find((row) => isFitting(row, facts))?.hint
  return new SessionError(stage, message, { exitStatus, reply, kind, hint, cause })
}

function isFitting({ codes, text, status, banner, name, kind }: ReplyMeaning, facts: Facts): boolean {
  return (
    (kind === undefined || kind === facts.kind) &&
    (codes?.some((code) => hasCode(code, facts.code ?? 0)) ?? true) &&
    (text?.test(facts.text) ?? true) &&
    (status?.test(facts.status ?? '') ?? true) &&
    (banner?.test(facts.banner) ?? true) &&
    (name?.test(facts.name ?? '') ?? true)
  )
}

function hasCode(expected: number | string, code: number): boolean {
  return typeof expected === 'number' ? expected === code : expected === `${Math.floor(code / 100)}xx`
}
