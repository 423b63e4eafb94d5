// Words by which the table of meanings recognises replies. The texts have no host names, addresses or quoted arguments.

type Pattern = RegExp | string

function sourceOf(patterns: readonly Pattern[]): string {
  return patterns.map((pattern) => (typeof pattern === 'string' ? pattern : pattern.source)).join('|')
}

/** Returns a pattern that fits if one of these does, in capitals or not. */
function anyOf(...patterns: readonly Pattern[]): RegExp {
  return new RegExp(sourceOf(patterns), 'i')
}

/** Returns a condition on the whole text: it has one of these. */
function has(...patterns: readonly Pattern[]): string {
  return `(?=.*(?:${sourceOf(patterns)}))`
}

/** Returns a condition on the whole text: it has none of these. */
function lacks(...patterns: readonly Pattern[]): string {
  return `(?!.*(?:${sourceOf(patterns)}))`
}

/** Returns a pattern that fits if all these conditions hold for the whole text. */
function allOf(...conditions: readonly string[]): RegExp {
  return new RegExp(`^${conditions.join('')}`, 'is')
}

export const LOGIN = anyOf(/\bauthenticat|\blog ?[io]n\b|\bAUTH\b|\bSASL\b|\bauthori[sz]ation required/)
export const TLS_UNAVAILABLE = anyOf(/\bTLS (?:is )?(?:\w+ )?(?:not (?:\w+ )?|un)available\b/)
export const TLS = anyOf(/\b(?:START)?TLS\b|\bSSL\b|\bencrypt/)

const COMMANDS = '(?:ETRNs?|non-?mail|commands?)'
const NUMBER = String.raw`(?:one|two|three|single|\d+)`
/** Limits that a new session doesn't lift */
const RATE = anyOf(
  /\bat (?:a time|once)\b|\b(?:concurrent|simultaneous|parallel|rate)\b/,
  /\b(?:seconds|minutes|hours|days)\b|\b(?:per|every|each|an?) (?:second|minute|hour|day|domain|node|name|host|client|customer|IP)\b/,
)
const COUNTED = anyOf(
  String.raw`\b(?:session|ETRNs?|commands?) (?:\w+ ){0,2}(?:limit|quota|count|maximum|allowance)\b`,
  String.raw`\btoo many (?:\w+ ){0,2}${COMMANDS}\b`,
  String.raw`\b(?:maximum|max|limit)(?: number)?(?: of| on)? (?:\w+ ){0,4}(?:ETRNs?|commands)\b`,
  String.raw`\b(?:only|just|most|than|up to|limited to)(?: \w+){0,3} ${NUMBER} (?:\w+ )?${COMMANDS}\b`,
  String.raw`\b(?:only|just|most|than|up to|limited to) ${NUMBER} (?:\w+ )?${COMMANDS}\b`,
  String.raw`\b${NUMBER} (?:\w+ )?${COMMANDS} (?:\w+ )?(?:only|allowed|permitted|maximum|max)\b`,
  String.raw`\bno (?:more|further|additional) (?:\w+ )?${COMMANDS}\b(?! for\b)`,
  String.raw`\b(?:used up|exhausted)(?: \w+){0,3} ${COMMANDS}\b|\b${COMMANDS} (?:\w+ ){0,2}(?:used up|exhausted)\b`,
  /\b(?:already (?:used|issued) (?:\w+ )?ETRN|ETRN (?:\w+ ){0,4}(?:once|already (?:used|issued)))\W*$/,
)
const PER_SESSION = /\bper (?:session|connection)\b/
/** "In this session" alone tells where a login or TLS is missing. */
const IN_SESSION = /\b(?:in|for|of|during|within) (?:(?:this|one|a|a single|the same) )?(?:session|connection)\b/
const COUNT =
  /\b(?:more|only|once|many|already|limit|limited|maximum|enough|another|second|again|number|\d+)\b|\bone (?:ETRN|command)\b/
/** A limit on the commands of one session */
export const SESSION_LIMIT = allOf(
  `(?:${has(PER_SESSION)}|${lacks(RATE)}(?:${has(COUNTED)}|${lacks(LOGIN, TLS)}${has(IN_SESSION)}${has(COUNT)}))`,
)

/** A limit on the connections of one client */
export const CONNECTION_LIMIT = anyOf(/\btoo many (?:\w+ ){0,2}connections from\b/)

export const HELO_NAME = anyOf(
  /\b(?:helo|ehlo) (?:command|name|argument|domain|host)/,
  /\b(?:invalid|bad|unknown|forged) (?:helo|ehlo)\b/,
  /\bneed fully-qualified hostname/,
)
/** These are matched on the text with host names, because a list is known by its own: "blocked using zen.spamhaus.org". */
export const BLOCKLIST = anyOf(
  // "Blocked by policy" is no word on an address.
  /\bblocked using\b|\b(?:blocked|listed|listing) (?:by|at|in|on) \w[\w-]*\.\w/,
  /\bIP(?: address)?\b[^,;]*\bblocked\b/,
  /(?<![\w-])(?:dns|r)bls?(?![\w-])|\b(?:block|black)[ -]?list/,
  /(?<![\w-])(?:spamhaus|spamcop)\b/,
)
export const REVERSE_NAME = anyOf(
  /\bcannot find your (?:reverse )?hostname/,
  /\breverse (?:DNS|lookup|host)|\brDNS\b|\bPTR\b/,
)
export const CLIENT_CERTIFICATE = /\bclient certificate\b/i
/** Client host, sender address and ETRN restrictions of Postfix */
export const ADDRESS = anyOf(/\bclient host\b|\b(?:sender|recipient) address rejected|\betrn command rejected/)
export const ACCESS_DENIED = anyOf(/\baccess (?:is )?(?:denied|not allowed)/)

/** The server, not its policy, is the reason. */
export const TEMPORARY = anyOf(
  /\btemporar|\blater\b|\bagain\b|\bmoment\b|\bat this time\b|\bcurrently\b|\bright now\b/,
  /\bbusy\b|\b(?:over)?load(?:ed)?\b|\bfork\b|\bresources?\b|\bmemory\b|\bdisk\b|\bspace\b/,
  /\btime-?out\b|\btimed out\b|\bin progress\b|\bunavailable\b|\bshut(?:ting)? ?down\b|\bmaintenance\b/,
  /\brate limit|\bthrottl|\bgr[ae]y-?list|\bwait\b|\b(?:seconds|minutes|hours)\b/,
  /\b(?:internal|system|local|server) (?:\w+ )?(?:error|failure|problem)/,
  /\bconnection (?:\w+ ){0,4}refused\b|\bunable to (?:init|start|connect|open|read|write|creat|exec|run)/,
)

// "Could not" is a failure, not a policy.
const NOT = String.raw`(?<!\bcould )(?<!\bcould)(?:\bnot|\bnever|n['\u2019]t)(?: \w+){0,2} `
const SERVED = '(?:allow|permit|authori[sz]|accept|serv|support|configur|stor|hold|keep|host|handl|relay)'
/** The server won't do that for this name, or for anybody. */
export const POLICY = anyOf(
  /\b(?:prohibit|forbid|denied|disabled|rejected|unauthori[sz]ed|blocked|policy\b)/,
  `${NOT}${SERVED}`,
  `${NOT}(?:a )?(?:known?|recogni[sz]ed|local|valid|enabled|found|exists?|listed|registered|ours?|yours?)\\b`,
  `${NOT}in (?:our|the|my|any) `,
  /\b(?:unknown|invalid|illegal|unrecogni[sz]ed|non-?local|no (?:such|queue|permission|rights?))\b/,
  /\brefused\b/,
  String.raw`\bonly\b.*\b${SERVED}|\b${SERVED}\w* only\b`,
)

/** Of a name with `@` or `#`: its form, not its domain, is the reason. */
export const FORM = anyOf(/\b(?:support|implement)/, /(?<!\S)[@#](?!\S)/)

const SYNTAX = anyOf(
  /syntax|parameter|argument|valid\b|malformed|illegal|format|\bbad\b|\bmust (?:begin|start)|\bcharacter/,
  /qualified|usage|unrecogni[sz]ed|missing|required/,
)
const REFUSAL_WORDS = anyOf(POLICY, /\b(?:no|not|never|cannot|only|sorry)\b|n['\u2019]t\b/)
/** A refusal without a word on syntax. A single word tells nothing. */
export const REFUSAL = new RegExp(`^(?=.*\\S \\S)(?!.*(?:${SYNTAX.source})).*(?:${REFUSAL_WORDS.source})`, 'is')
