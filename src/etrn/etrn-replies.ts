import { MASKED_COMMAND, MASKED_GREETING, MIDDLEBOX_HINT } from '../smtp/middlebox.js'
import { HINTS, LOGIN_OPTIONS, RETRY_STEP } from './reply-hints.js'
import * as words from './reply-patterns.js'
import { BAD_ADDRESS, BAD_HELO, type ReplyMeaning, rowsByClass, SERVER_FAULTS } from './reply-rows.js'

/** Returns the row with a further step for a name with `@` or `#`: its form may be the reason, too. */
function rowsByForm(row: ReplyMeaning): ReplyMeaning[] {
  const hint = [row.hint ?? [], HINTS.plainName].flat().join('; ')
  return [{ ...row, name: /^[@#]/, hint }, row]
}

/** Replies to ETRN that mean more, or something else, than their code */
export const ETRN_TEXTS: readonly ReplyMeaning[] = [
  {
    codes: [458],
    // The request for another name is no success for this one.
    textWithHosts: /^Already processing[^\w?]*$/i,
    outcome: 'started',
    source: 'Exim 4.96: its lock for each name',
  },
  { codes: [250], name: /^[@#]/, banner: /\bPostfix\b/, hint: HINTS.ignoredSign, source: 'Postfix 3.7' },
  ...rowsByClass(
    words.SESSION_LIMIT,
    HINTS.limit,
    'Oracle and PMDF: ALLOW_ETRNS_PER_SESSION; Exim',
    '--retry-for 1h keeps trying',
  ),
  { codes: [500, 502], banner: MASKED_GREETING, outcome: 'unsupported', hint: MIDDLEBOX_HINT, source: 'Cisco PIX' },
  // The server quotes the command as it arrived.
  { codes: [500, 502, 503, 504], text: MASKED_COMMAND, hint: MIDDLEBOX_HINT, source: 'Cisco ASA: inspect esmtp' },
  {
    codes: [501, 503, 550, 554],
    text: words.UNKNOWN_COMMAND,
    outcome: 'unsupported',
    hint: HINTS.noEtrn,
    source: 'ZMailer: smtpserver.c; OpenSMTPD: smtp_session.c',
  },
  {
    codes: ['5xx'],
    text: /\bout of memory\b/i,
    outcome: 'deferred',
    hint: HINTS.temporary,
    source: 'Sendmail: srvrsmtp.c, "500 5.5.0 ETRN out of memory"',
  },

  // About this host. Postfix evaluates these restrictions at ETRN, before those for ETRN.
  ...SERVER_FAULTS,
  ...BAD_HELO,
  ...BAD_ADDRESS,
  ...rowsByClass(words.CLIENT_CERTIFICATE, HINTS.certificate, 'Postfix: check_ccert_access'),
  { codes: ['4xx'], text: words.PASSING_RESTRICTION, hint: HINTS.temporary, source: 'Postfix: check_policy_service' },
  ...rowsByClass(words.ADDRESS, HINTS.postfixAddress, 'Postfix: smtpd_client_restrictions', RETRY_STEP),

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
  {
    codes: [458],
    text: words.PASSING,
    status: /^(?!5\.)/,
    hint: HINTS.temporary,
    source: 'RFC 1985, 5.3: 458 is temporary',
  },
  { codes: [458], text: words.ACCESS_DENIED, outcome: 'refused', hint: HINTS.address, source: 'RFC 1985, 5.3' },
  ...rowsByClass(words.ACCESS_DENIED, HINTS.address, 'Postfix: smtpd_check.c', RETRY_STEP),
  { codes: [458], text: words.LOGIN, outcome: 'refused', hint: HINTS.login, source: 'Exim 4.96: deny with a message' },
  { codes: [458], text: words.TLS, outcome: 'refused', hint: HINTS.tls, source: 'Exim 4.96: deny with a message' },
  { codes: [458], banner: /\bExim\b/, text: words.FAILED_ATTEMPT, source: 'Exim 4.96: a failure of the server' },
  ...rowsByForm({
    codes: [458],
    banner: /\bExim\b/,
    outcome: 'refused',
    hint: HINTS.exim,
    source: 'Exim 4.96: any other 458',
  }),
  ...rowsByForm({
    codes: [458],
    text: /^Administrative prohibition/i,
    outcome: 'refused',
    hint: HINTS.exim,
    source: 'Exim 4.96: deny in acl_smtp_etrn',
  }),

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
    name: /^#[^.]+$/,
    text: /\bservice unavailable/i,
    hint: HINTS.noQueues,
    source: 'Postfix 3.7: "#" is dropped',
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
  ...rowsByForm({ codes: [458], status: /^5\.7\./, outcome: 'refused', hint: HINTS.name, source: 'RFC 3463, 3.8' }),
  { codes: [458, 459, 501, 504, 553, 555], name: /^[@#]/, hint: HINTS.plainName, source: 'RFC 1985, 5.2' },
  { codes: ['5xx'], name: /^[@#]/, text: words.FORM, hint: HINTS.plainName, source: 'RFC 1985, 5.2' },
  {
    codes: [458],
    text: words.ELSEWHERE,
    outcome: 'refused',
    hint: HINTS.elsewhere,
    source: 'Exchange: "Node x does not store mail here"',
  },
  { codes: [458], text: words.POLICY, outcome: 'refused', hint: HINTS.name, source: 'Oracle: "only literal domains"' },
  { codes: [458], status: /^4\.7\./, hint: HINTS.name, retryStep: RETRY_STEP, source: 'RFC 3463, 2 and 3.8' },
  { codes: [501], status: /^5\.(?:1\.|5\.[24])/, hint: HINTS.badName, source: 'RFC 3463, 3.2 and 3.6' },
  {
    codes: [501],
    text: words.ELSEWHERE,
    outcome: 'refused',
    hint: HINTS.elsewhere,
    source: 'RFC 1985, 5.3: for such a refusal there is 459',
  },
  { codes: [501], status: /^5\.7\./, outcome: 'refused', hint: HINTS.name, source: 'RFC 3463, 3.8' },
  {
    codes: [501],
    text: /^Command not accepted$/i,
    outcome: 'refused',
    hint: HINTS.mayNeedLogin,
    source: 'XMail: AllowSmtpETRN',
  },
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
  { codes: [500, 502, 504], text: words.SWITCHED_OFF, hint: HINTS.noEtrn, source: 'RFC 5321, 4.2.4' },
  {
    codes: [500, 502, 504, 553, 555],
    status: /^5\.7\./,
    outcome: 'refused',
    hint: HINTS.refusal,
    source: 'RFC 3463, 3.8; qmail: "not in my list of allowed rcpthosts (#5.7.1)"',
  },
  {
    codes: [553, 555],
    text: words.CLEARLY_REFUSED,
    outcome: 'refused',
    hint: HINTS.refusal,
    source: 'RFC 1985, 5.3: for such a refusal there is 459',
  },
  {
    codes: ['4xx'],
    status: /^5\.7\./,
    text: words.CLEARLY_REFUSED,
    hint: HINTS.refusal,
    source: 'RFC 3463, 2: 4.X.X would be temporary',
  },
]

/** Replies that mean success, but of another command: status, HELP, the greeting, QUIT and AUTH */
const OTHER_COMMANDS = [211, 214, 220, 221, 235]

/** Replies to ETRN by their codes alone */
export const ETRN_CODES: readonly ReplyMeaning[] = [
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
