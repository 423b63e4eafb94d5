import type { GreetedDialogue } from './dialogue.js'
import type { Extensions } from './extensions.js'

/** A greeting in which Cisco's mailguard has replaced all characters but 0, 2 and blanks. */
export const MASKED_GREETING = /\*{4}[*02 ]{0,80}$/m

/** A keyword that Cisco's ESMTP inspection has replaced: `XXXXXXXA` was STARTTLS. */
const MASKED_KEYWORD = /^X{3,}[A-Z]?$/

/** A command that ESMTP inspection has replaced, as a server quotes it: `Unrecognized command "XXXX"` */
export const MASKED_COMMAND = /\bX{3,}[A-Z]\b/

/** The usual reply to NOOP. PIX turns a command that it doesn't know, EHLO too, into NOOP. */
const NOOP_REPLY =
  /^(?:\d\.\d{1,3}\.\d{1,3} )?(?:(?:ok|okay|noop)\b|$)|^(?!.*\w\.[a-z]).*\b(?:ok|okay|noop|done|nothing|completed?|accepted|success\w*)\b/i

export const MIDDLEBOX_HINT =
  "a firewall on the network path may hide ETRN and STARTTLS; if the firewall is yours, turn off its SMTP inspection (Cisco: 'no inspect esmtp' or 'no fixup protocol smtp'); otherwise ask your mail provider for another port"

/** The greetings of rblsmtpd (ucspi-tcp) and of OpenBSD's spamd, which answer those clients that may not reach the mail server. */
const FILTER_GREETING = /\brblsmtpd\b|\bspamd\b/

export const FILTER_HINT =
  'a filter answers in place of the mail server, as for addresses on a blocklist: ask your provider to let your public IP address through'

/** Returns true if a filter answers in place of the mail server, whose extensions it doesn't know. */
export function isFilter({ greeting }: Pick<GreetedDialogue, 'greeting'>): boolean {
  return FILTER_GREETING.test(greeting.text)
}

/** Returns true if a firewall or proxy seems to change what the server says, or to answer in its place. */
export function isBehindMiddlebox({ greeting, hello }: GreetedDialogue, extensions: Extensions): boolean {
  const keywords = [...extensions.keys()]
  // The reply to EHLO begins with the server's name (RFC 5321, 4.1.1.1), which the reply to NOOP lacks.
  const isNoop = hello.lines.every((line) => NOOP_REPLY.test(line))
  return isNoop || MASKED_GREETING.test(greeting.text) || keywords.some((word) => MASKED_KEYWORD.test(word))
}
