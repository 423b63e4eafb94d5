import { REPEAT_HINT, type Stage } from '../smtp/errors.js'
import { MASKED_COMMAND, MASKED_GREETING, MIDDLEBOX_HINT } from '../smtp/middlebox.js'
import { HINTS, RETRY_STEP } from './reply-hints.js'
import * as words from './reply-patterns.js'
import { BAD_ADDRESS, BAD_HELO, type ReplyMeaning, SERVER_FAULTS } from './reply-rows.js'

const NO_MAIL_SERVER: ReplyMeaning = {
  kind: 'malformed-reply',
  hint: 'this may not be a mail server: check the host and the port',
  source: 'RFC 5321, 4.2',
}

/** Failures of a session before ETRN: hints alone, because the exit status depends on the stage. */
export const SESSION_FAILURES: Readonly<Partial<Record<Stage, readonly ReplyMeaning[]>>> = {
  greeting: [
    { kind: 'malformed-reply', text: /2[02]0\*{3}/, hint: MIDDLEBOX_HINT, source: 'Cisco PIX 4.4' },
    NO_MAIL_SERVER,
    ...SERVER_FAULTS,
    ...BAD_ADDRESS,
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
    ...SERVER_FAULTS,
    { codes: [503, 550, 554], text: words.UNKNOWN_COMMAND, hint: HINTS.noEhlo, source: 'ZMailer: smtpserver.c' },
    ...BAD_HELO,
    ...BAD_ADDRESS,
    { codes: [500, 502], banner: MASKED_GREETING, hint: MIDDLEBOX_HINT, source: 'Cisco PIX' },
    { codes: [500, 502], text: MASKED_COMMAND, hint: MIDDLEBOX_HINT, source: 'Cisco ASA: inspect esmtp' },
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
    {
      codes: [435, 454],
      hint: `the server can't check the password now: ${RETRY_STEP}`,
      source: 'RFC 4954, 6; Exim: smtp_in.c',
    },
    { codes: [530, 538], hint: 'the server requires TLS before you log in: --tls verify', source: 'RFC 4954, 6' },
  ],
}
