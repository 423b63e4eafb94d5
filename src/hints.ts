import type { Stage } from './outcome.js'

/** What is known where something didn't go as it was meant. */
export type Trouble = {
  readonly stage: Stage
  /** The reply's code; null: there was none */
  readonly code: number | null
  /** The server's own words, or what failed */
  readonly text: string
  /** The name asked for; '' where the session failed as a whole */
  readonly name: string
  /** '' where there was none */
  readonly greeting: string
}

type Row = { readonly [K in 'text' | 'name' | 'greeting']?: RegExp } & {
  readonly stage: readonly Stage[]
  readonly code?: readonly number[]
  readonly hint: string
}

/** What experience with these servers says to try next: the first row that fits. */
const HINTS: readonly Row[] = [
  {
    stage: ['etrn'],
    code: [250],
    name: /^[@#]/,
    greeting: /Postfix/,
    hint: 'Postfix drops @ and #: no subdomain and no queue is asked for; name each domain',
  },
  {
    stage: ['etrn'],
    code: [458],
    text: /^Unable to queue messages$/,
    hint: 'Postfix has no flush service there, or postscreen answers: have your address listed in postscreen_access_list',
  },
  {
    stage: ['etrn'],
    code: [458],
    text: /^Internal failure/,
    hint: "the provider's smtp_etrn_command fails; since Exim 4.94 it needs a lookup, not a bare $domain",
  },
  {
    stage: ['etrn'],
    code: [458],
    text: /authenticat|log ?in/i,
    hint: 'the provider wants a login before ETRN: --user',
  },
  {
    stage: ['etrn'],
    code: [458],
    text: /TLS/,
    hint: 'the provider wants TLS before ETRN: --tls encrypt, or verify',
  },
  {
    stage: ['etrn'],
    code: [458],
    text: /^(?!Already processing)/i,
    greeting: /Exim/,
    hint: 'in Exim this is no "later": acl_smtp_etrn refuses this host or name; ask the provider to allow it',
  },
  {
    stage: ['etrn'],
    code: [459],
    text: /^Queue .* unknown/,
    hint: 'Sendmail has no queue group of that name; ask for the domain itself',
  },
  {
    stage: ['etrn'],
    code: [459],
    text: /service unavailable/,
    hint: 'Postfix: ask the provider to put the domain into relay_domains or fast_flush_domains',
  },
  { stage: ['etrn'], code: [459], hint: 'the provider has to allow this name for your address' },
  {
    stage: ['etrn'],
    code: [501],
    text: /must begin with #/,
    hint: "this Exim takes '#' only: try --queue with the same name",
  },
  {
    stage: ['etrn'],
    code: [501, 553, 555],
    name: /^[@#]/,
    hint: 'the server may know plain domain names only; name each domain',
  },
  {
    stage: ['etrn'],
    code: [502],
    text: /do not allow/,
    hint: 'Sendmail: ETRN is off (PrivacyOptions noetrn), or this is the submission port; try port 25',
  },
  { stage: ['etrn'], code: [500, 502], hint: 'this server has no ETRN; only its administrator can flush the queue' },
  {
    stage: ['etrn'],
    code: [530],
    hint: 'the provider wants TLS (--tls encrypt, or verify) or a login (--user) before ETRN',
  },
  {
    stage: ['etrn'],
    code: [550, 554],
    hint: 'your address is not allowed: ask the provider to allow it (in Postfix: smtpd_etrn_restrictions), or for a login (--user)',
  },
  {
    stage: ['etrn'],
    text: /doesn't offer/,
    greeting: /Exim/,
    hint: "Exim's ETRN is off unless acl_smtp_etrn is set: ask the provider",
  },
  {
    stage: ['etrn'],
    text: /EHLO lists .*\bAUTH\b/,
    hint: 'it may come after a login (--user); else --assume-etrn asks all the same',
  },
  { stage: ['etrn'], text: /doesn't offer/, hint: 'it may be hidden, or off: --assume-etrn asks all the same' },
  { stage: ['starttls'], text: /doesn't offer/, hint: 'another port may have it: 587, or smtps:// for TLS at once' },
  {
    stage: ['dns'],
    text: /nobody is left/,
    hint: 'this site is known by its addresses, its name, --helo and --self; etrn --check --mx shows what the DNS has',
  },
  {
    stage: ['dns'],
    text: /no such host: [^.]+$/,
    hint: 'check the spelling of the server; if it is a profile: root reads /etc/etrn/config.toml alone, or --config',
  },
  { stage: ['dns'], text: /has no IPv/, hint: 'without -4 and -6 it is asked at whatever address it has' },
  { stage: ['dns'], text: /no such host|has no/, hint: 'check the spelling of the server' },
  {
    stage: ['dns'],
    hint: 'is the link up? In a hook the resolver may come a moment later: --retry-for 5m waits for it',
  },
  { stage: ['connect'], text: /refused/, hint: 'no mail server listens there: is it another port (--port)?' },
  {
    stage: ['connect'],
    text: /interface|connect from/,
    hint: 'ip addr shows the interfaces and addresses that are there',
  },
  { stage: ['connect'], hint: 'is the link up? Port 25 is often blocked on the way: ask the provider for another' },
  {
    stage: ['greeting'],
    text: /no whole reply/,
    hint: 'is it the right port? One for TLS alone is silent too: smtps://',
  },
  {
    stage: ['greeting', 'ehlo'],
    text: /not an SMTP reply/,
    hint: 'what listens there is no mail server: is it the right port?',
  },
  {
    stage: ['greeting', 'ehlo'],
    code: [550, 554, 503],
    hint: 'the server takes nothing from this address or name; a dynamic one is often refused: ask the provider (or --helo)',
  },
  { stage: ['ehlo'], code: [500, 502], hint: 'a server without EHLO has no ETRN' },
  { stage: ['ehlo'], code: [501, 504, 553], hint: '--helo gives another name' },
]

/** The next thing to try; undefined: nothing that is known. */
export function hintFor(trouble: Trouble): string | undefined {
  return HINTS.find(
    (row) =>
      (row.code?.includes(trouble.code ?? 0) ?? true) &&
      row.stage.includes(trouble.stage) &&
      (row.text?.test(trouble.text) ?? true) &&
      (row.name?.test(trouble.name) ?? true) &&
      (row.greeting?.test(trouble.greeting) ?? true),
  )?.hint
}
