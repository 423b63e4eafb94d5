import { EXIT } from '../errors.js'
import type { Stage } from '../smtp/errors.js'

/** What is known where something didn't go as it was meant. */
export type Failure = {
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

type HintRow = { readonly [K in 'text' | 'name' | 'greeting']?: RegExp } & {
  readonly codes?: readonly number[]
  readonly hint: string
}

/** To the greeting and to EHLO alike */
const GREETING_OR_EHLO_HINTS: readonly HintRow[] = [
  { text: /not an SMTP reply/, hint: 'what listens there is no mail server: is it the right port?' },
  {
    codes: [550, 554, 503],
    hint: 'the server takes nothing from this address or name; a dynamic one is often refused: ask the provider (or --helo)',
  },
]

/** What experience with these servers says to try next: the first row that fits. */
const HINTS: Readonly<Partial<Record<Stage, readonly HintRow[]>>> = {
  dns: [
    {
      text: /nobody is left/,
      hint: 'this site is known by its addresses, its name, --helo and --self; etrn --check --mx shows what the DNS has',
    },
    {
      text: /no such host: [^.]+$/,
      hint: 'check the spelling of the server; if it is a profile: root reads /etc/etrn/config.toml alone, or --config',
    },
    { text: /has no IPv/, hint: 'without -4 and -6 it is asked at whatever address it has' },
    { text: /no such host|has no/, hint: 'check the spelling of the server' },
    { hint: 'is the link up? In a hook the resolver may come a moment later: --retry-for 5m waits for it' },
  ],
  connect: [
    { text: /refused/, hint: 'no mail server listens there: is it another port (--port)?' },
    { text: /interface|connect from/, hint: 'ip addr shows the interfaces and addresses that are there' },
    { hint: 'is the link up? Port 25 is often blocked on the way: ask the provider for another' },
  ],
  greeting: [
    { text: /no whole reply/, hint: 'is it the right port? One for TLS alone is silent too: smtps://' },
    ...GREETING_OR_EHLO_HINTS,
  ],
  ehlo: [
    ...GREETING_OR_EHLO_HINTS,
    { codes: [500, 502], hint: 'a server without EHLO has no ETRN' },
    { codes: [501, 504, 553], hint: '--helo gives another name' },
  ],
  starttls: [{ text: /doesn't offer/, hint: 'another port may have it: 587, or smtps:// for TLS at once' }],
  etrn: [
    {
      codes: [250],
      name: /^[@#]/,
      greeting: /Postfix/,
      hint: 'Postfix drops @ and #: no subdomain and no queue is asked for; name each domain',
    },
    {
      codes: [458],
      text: /^Unable to queue messages$/,
      hint: 'Postfix has no flush service there, or postscreen answers: have your address listed in postscreen_access_list',
    },
    {
      codes: [458],
      text: /^Internal failure/,
      hint: "the provider's smtp_etrn_command fails; since Exim 4.94 it needs a lookup, not a bare $domain",
    },
    { codes: [458, 530], text: /auth|log ?in/i, hint: 'the provider wants a login before ETRN: --user' },
    { codes: [458, 530], text: /TLS/, hint: 'the provider wants TLS before ETRN: --tls encrypt, or verify' },
    {
      codes: [458],
      text: /^(?!Already processing)/i,
      greeting: /Exim/,
      hint: 'in Exim this is no "later": acl_smtp_etrn refuses this host or name; ask the provider to allow it',
    },
    {
      codes: [459],
      text: /^Queue .* unknown/,
      hint: 'Sendmail has no queue group of that name; ask for the domain itself',
    },
    {
      codes: [459],
      text: /service unavailable/,
      hint: 'Postfix: ask the provider to put the domain into relay_domains or fast_flush_domains',
    },
    { codes: [459], hint: 'the provider has to allow this name for your address' },
    { codes: [501], text: /must begin with #/, hint: "this Exim takes '#' only: try --queue with the same name" },
    {
      codes: [501, 553, 555],
      name: /^[@#]/,
      hint: 'the server may know plain domain names only; name each domain',
    },
    {
      codes: [502],
      text: /do not allow/,
      hint: 'Sendmail: ETRN is off (PrivacyOptions noetrn), or this is the submission port; try port 25',
    },
    { codes: [500, 502], hint: 'this server has no ETRN; only its administrator can flush the queue' },
    { codes: [530], hint: 'the provider wants TLS (--tls encrypt, or verify) or a login (--user) before ETRN' },
    {
      codes: [550, 554],
      hint: 'your address is not allowed: ask the provider to allow it (in Postfix: smtpd_etrn_restrictions), or for a login (--user)',
    },
    {
      text: /doesn't offer/,
      greeting: /Exim/,
      hint: "Exim's ETRN is off unless acl_smtp_etrn is set: ask the provider",
    },
    { text: /EHLO lists .*\bAUTH\b/, hint: 'it may come after a login (--user); else --assume-etrn asks all the same' },
    { text: /doesn't offer/, hint: 'it may be hidden, or off: --assume-etrn asks all the same' },
  ],
}

/** The next thing to try; undefined: nothing that is known. */
export function hintFor({ stage, code, text, name, greeting }: Failure): string | undefined {
  return HINTS[stage]?.find(
    (row) =>
      (row.codes?.includes(code ?? 0) ?? true) &&
      (row.text?.test(text) ?? true) &&
      (row.name?.test(name) ?? true) &&
      (row.greeting?.test(greeting) ?? true),
  )?.hint
}

/** What can always be tried; undefined: nothing failed. */
export function generalHint(exitStatus: number): string | undefined {
  if (exitStatus === EXIT.OK) return undefined
  return exitStatus === EXIT.TEMPFAIL
    ? 'it may pass by itself: --retry-for keeps trying, for as long as you say'
    : 'show your provider what -v prints'
}
