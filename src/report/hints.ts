import { EXIT, type FailureKind } from '../errors.js'
import { SessionError, type Stage } from '../smtp/errors.js'

// Hints for servers' replies. A failure of our own code carries its hint, or has a kind that this table knows.

type Failure = {
  readonly stage: Stage
  readonly kind?: FailureKind | undefined
  /** The reply's code; null if there was none */
  readonly code: number | null
  readonly text: string
  /** The requested name; '' if the session failed as a whole */
  readonly name: string
  /** '' if there was none */
  readonly greeting: string
}

type HintRow = { readonly [K in 'text' | 'name' | 'greeting']?: RegExp } & {
  readonly kind?: FailureKind
  readonly codes?: readonly number[]
  readonly hint: string
}

const GREETING_OR_EHLO_HINTS: readonly HintRow[] = [
  { kind: 'malformed-reply', hint: 'what listens there is no mail server: is it the right port?' },
  {
    codes: [550, 554, 503],
    hint: 'the server takes nothing from this address or name; a dynamic one is often refused: ask the provider (or --helo)',
  },
]

/** The first row of a stage that matches counts, so special rows come first. */
const HINTS: Readonly<Partial<Record<Stage, readonly HintRow[]>>> = {
  greeting: [
    { kind: 'timeout', hint: 'is it the right port? One for TLS alone is silent too: smtps://' },
    ...GREETING_OR_EHLO_HINTS,
  ],
  ehlo: [
    ...GREETING_OR_EHLO_HINTS,
    { codes: [500, 502], hint: 'a server without EHLO has no ETRN' },
    { codes: [501, 504, 553], hint: '--helo gives another name' },
  ],
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
    { codes: [501, 553, 555], name: /^[@#]/, hint: 'the server may know plain domain names only; name each domain' },
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
  ],
}

/** Returns the next step for a failure, or undefined if none is known. */
export function hintFor({ stage, kind, code, text, name, greeting }: Failure): string | undefined {
  return HINTS[stage]?.find(
    (row) =>
      (row.kind === undefined || row.kind === kind) &&
      (row.codes?.includes(code ?? 0) ?? true) &&
      (row.text?.test(text) ?? true) &&
      (row.name?.test(name) ?? true) &&
      (row.greeting?.test(greeting) ?? true),
  )?.hint
}

/** Returns the next step for a failed session: its own hint, else one for the server's reply. */
export function hintForError(error: SessionError, greeting: string): string | undefined {
  const { stage, kind, message: text, reply } = error
  return error.hint ?? hintFor({ stage, kind, code: reply?.code ?? null, text, name: '', greeting })
}

/** Returns what can be tried after any failure; undefined if nothing failed. */
export function generalHint(exitStatus: number): string | undefined {
  if (exitStatus === EXIT.OK) return undefined
  return exitStatus === EXIT.TEMPFAIL
    ? 'it may pass by itself: --retry-for keeps trying, for as long as you say'
    : 'show your provider what -v prints'
}

/** Returns a hint; undefined if it suggests retries that were made already. */
export function hintAfterRetries(hint: string | undefined, isRetried = false): string | undefined {
  return isRetried && hint?.includes('--retry-for') ? undefined : hint
}
