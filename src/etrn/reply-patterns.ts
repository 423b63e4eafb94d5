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

const HELO = String.raw`\b(?:helo|ehlo)\b`
const HELO_FAULT = anyOf(
  /\b(?:helo|ehlo) (?:command|name|argument|domain|host|string|identity|requires|must|should)\b|\bin (?:helo|ehlo)\b/,
  /\b(?:reject|refus|denied|block|invalid|valid\b|bad\b|bogus|mismatch|forged|fake|spoof|wrong|unknown|illegal|malformed)/,
  /\b(?:unresolvable|unresolved|unacceptable|suspicious|unqualified|qualified|fqdn|own)\b/,
  /(?:\bnot|n['\u2019]t) (?:\w+ )?(?:match|resolve|found|exist|accept|allow|permit)/,
)
/** "Send HELO first" is about the order of commands, not about the name. */
const HELO_ORDER = anyOf(
  /\bfirst\b|\bbefore\b|\bsequence\b|\bpolite\b|\bsay\b/,
  String.raw`\b(?:send|issue|use|needs?|requires?|expect(?:s|ed)?|no|without|after) (?:an? |the )?${HELO}`,
  String.raw`${HELO} (?:is |command )?(?:expected|needed|required|missing)\b`,
)
const FULL_NAME = /\bfqdn\b|\bqualified\b/
export const HELO_NAME = anyOf(
  allOf(`(?:${has(FULL_NAME)}|${lacks(HELO_ORDER)})`, has(HELO), has(HELO_FAULT)),
  /\bneed fully-qualified hostname|\bhost ?name (?:\w+ )?(?:not|is|be) (?:\w+ )?(?:fully|qualified|fqdn)\b/,
  // Another name than the requested one
  /^<\?>: (?:\w+ )?host ?name\b/,
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
  /\breverse (?:DNS|lookup|host|name)|\brDNS\b|\bPTR\b/,
)
export const CLIENT_CERTIFICATE = /\bclient certificate\b/i
/** Client host, sender address and ETRN restrictions of Postfix */
export const ADDRESS = anyOf(/\bclient host\b|\b(?:sender|recipient) address rejected|\betrn command rejected/)
export const ACCESS_DENIED = anyOf(/\baccess (?:is )?(?:denied|not allowed)/)
/** The server could not check the request. "Reverse lookup failure" is about the client. */
export const SERVER_FAULT = anyOf(
  /(?<!\b(?:reverse|DNS|PTR|name|helo|ehlo|host|hostname|IP|address|client) )\blookup (?:failure|failed|error)\b/,
  /\bconfiguration (?:error|failure|problem)\b/,
)
export const WRONG_ORDER = anyOf(/\bpipelining\b|\bsynchroni[sz]ation\b|\bprotocol error\b/)

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
