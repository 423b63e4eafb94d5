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
  /\binterval\b|\b(?:so|too) (?:often|soon|frequent(?:ly)?)\b|\blast request\b/,
  /\b(?:seconds|minutes|hours|days)\b|\b(?:per|every|each|an?) (?:second(?! ETRN)|minute|hour|day|domain|node|name|host|client|customer|IP)\b/,
)
const COUNTED = anyOf(
  String.raw`\b(?:session|ETRNs?|commands?):? (?:\w+ ){0,2}(?:limit|quota|count|maximum|allowance)\b`,
  String.raw`\bexceeded (?:\w+ ){0,4}(?:number|maximum|limit|quota)(?: of| on)? (?:\w+ ){0,2}${COMMANDS}\b`,
  String.raw`\b(?:quota|limit|maximum) (?:exceeded|reached):? ${COMMANDS}\b`,
  String.raw`\b(?:further|additional) (?:\w+ )?${COMMANDS} (?:\w+ ){0,2}(?:refused|rejected|denied|ignored)\b`,
  String.raw`\btoo many (?!(?:un\w+|invalid|bad|illegal|wrong) )(?:\w+ ){0,2}${COMMANDS}\b`,
  String.raw`\b(?:maximum|max|limit|quota)(?: number)?(?: of| on)? (?:\w+ ){0,4}(?:ETRNs?|commands)\b`,
  String.raw`\b(?:only|just|most|than|up to|limited to)(?: \w+){0,3} ${NUMBER} (?:\w+ )?${COMMANDS}\b`,
  String.raw`\b(?:only|just|most|than|up to|limited to) ${NUMBER} (?:\w+ )?${COMMANDS}\b`,
  String.raw`\b${NUMBER} (?:\w+ )?${COMMANDS} (?:\w+ )?(?:only|allowed|permitted|maximum|max)\b`,
  String.raw`\bno (?:more|further|additional) (?:\w+ )?${COMMANDS}\b(?! (?:service )?for\b)`,
  String.raw`\b(?:second|multiple|repeated) (?:\w+ )?${COMMANDS} (?:\w+ ){0,2}(?:not|refused|rejected|denied|ignored)\b`,
  String.raw`\b(?:used up|exhausted)(?: \w+){0,3} ${COMMANDS}\b|\b${COMMANDS} (?:\w+ ){0,2}(?:used up|exhausted)\b`,
  /\b(?:already (?:used|issued|sent|given|received) (?:\w+ )?ETRN(?: command)?|ETRN (?:\w+ ){0,4}(?:once|already (?:used|issued|sent|given|received)))\W*$/,
  /\bnested ETRN\b|\b(?:number|maximum|max|limit) of (?:ETRNs?|ETRN commands|commands|requests) exceeded\b|\btoo many requests\b/,
)
const PER_SESSION = /\bper (?:session|connection)\b/
/** "In this session" alone tells where a login or TLS is missing. */
const IN_SESSION = /\b(?:in|for|of|during|within) (?:(?:this|one|a|a single|the same) )?(?:session|connection)\b/
const COUNT =
  /\b(?:more|only|once|many|already|limit|limited|maximum|enough|another|second|again|number|\d+)\b|\bone (?:ETRN|command)\b/
const NEXT_SESSION = anyOf(/\breconnect\b|\b(?:next|new|another|separate) (?:session|connection)\b/)
const ANOTHER = anyOf(String.raw`\b(?:another|more|further|next|each|every) (?:\w+ )?${COMMANDS}\b`)
/** A limit on the commands of one session */
export const SESSION_LIMIT = allOf(
  `(?:${has(PER_SESSION)}|${lacks(RATE)}(?:${has(COUNTED)}|${lacks(LOGIN, TLS)}(?:${has(IN_SESSION)}${has(COUNT)}|${has(NEXT_SESSION)}${has(ANOTHER)})))`,
)

/** A limit on the connections of one client */
export const CONNECTION_LIMIT = anyOf(
  /\btoo many (?:\w+ ){0,3}(?:connections|sessions)\b|\bconnection rate limit\b|\bconcurrent (?:\w+ )?connections\b/,
)

/** The server doesn't know the command, whatever the code says. */
export const UNKNOWN_COMMAND = anyOf(
  /\b(?:unknown|unrecogni[sz]ed|unimplemented|unsupported|no such) command\b(?! (?:argument|parameter|option)s?\b)/,
  /\bETRN (?:is )?not (?:implemented|enabled|available|supported)\W*$/,
  /\bcommand (?:is |was )?(?:un|not )(?:known|recogni[sz]ed|implemented|supported)\b(?! (?:for|from)\b)/,
)

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
  /\bIP name (?:lookup failed|possibly forged)/,
  /\bcannot find your (?:reverse )?hostname/,
  /\breverse (?:DNS|lookup|host|name)|\brDNS\b|\bPTR\b/,
)
export const CLIENT_CERTIFICATE = /\bclient certificate\b/i
/** Client host, sender address and ETRN restrictions of Postfix */
export const ADDRESS = anyOf(/\bclient host\b|\b(?:sender|recipient) address rejected|\betrn command rejected/)
/** A restriction that may fit no longer soon: greylisting, a quota, or a policy service that fails */
export const PASSING_RESTRICTION = allOf(has(ADDRESS), has(/\bgr[ae]y-?list|\bservice unavailable\b|\bquota\b/))
export const ACCESS_DENIED = anyOf(/\baccess (?:is )?(?:denied|not allowed)/)
/** The server could not check the request. "Reverse lookup failure" is about the client. */
export const SERVER_FAULT = anyOf(
  /(?<!\b(?:reverse|r?DNS|PTR|name|helo|ehlo|host|hostname|IP|address|client) )\blookup (?:failure|failed|error)\b/,
  /\bconfiguration (?:error|failure|problem)\b/,
)
export const WRONG_ORDER = anyOf(/\bpipelining\b|\bsynchroni[sz]ation\b|\bprotocol error\b/)

const RESOURCE = '(?:resources?|memory|disk|space|storage|file ?system)'
/** The server, not its policy, is the reason, whatever else the text says. */
const CLEARLY_TEMPORARY = anyOf(
  /\btemporar|\blater\b|(?<!(?:\bnot|\bnever|n['\u2019]t) (?:\w+ ){0,2})\bagain\b|\bin progress\b|\bbusy\b|\bfork\b/,
  /\boverload|\b(?:system|server|high|heavy|cpu) load\b|\bload (?:\w+ ){0,2}(?:high|limit)\b/,
  String.raw`\b(?:out of|not enough|insufficient|lack(?:s|ing)? of|low on|short of|no (?:more|free|left)) (?:\w+ ){0,2}${RESOURCE}\b`,
  String.raw`\b${RESOURCE} (?:is |was )?(?:full|low|exhausted|exceeded|allocation|error|failure)\b`,
  /\btime-?out\b|\btimed out\b|\bshut(?:ting)? ?down\b|(?<!\bno )\bmaintenance\b|\bduring (?:the |a )?backup\b/,
  /\b(?:so|too) (?:often|soon|frequent(?:ly)?)\b|\binterval\b|\blast request\b|\b(?:per|each|once every) (?:\d+ )?(?:second|minute|hour|day)s?\b/,
  /\balready (?:being processed|running)\b|\b(?:disabled|off|denied|blocked|unavailable|not \w+) during\b/,
  /\brate limit|\bthrottl|\bgr[ae]y-?list|\btoo many\b|\bat a time\b/,
  /\b(?:limit|quota|maximum) (?:\w+ ){0,2}(?:reached|exceeded)\b/,
  /\b(?:internal|system|local|server|lookup) (?:\w+ )?(?:error|failure|problem)/,
  /\b(?:file|directory|socket|process|daemon|program|server|mailer|map|table|database) (?:is |was )?not found\b/,
  /\bno such (?:file|directory|process|device)\b/,
  /\bconnection refused\b(?! by\b)|\b(?:manager|daemon|service|runner) refused\b/,
  /\bunable to (?:init|start|connect|open|read|write|creat|exec|run)/,
  // The server itself may not read its files.
  /(?:\/[\w.-]{0,64}|\b(?:file|directory|queue|spool)): permission denied\b|\bpermission denied (?:while )?(?:opening|reading|writing|creating)\b/,
)
/** Words that also stand in texts about a policy: "not authorized to use this resource" */
const PERHAPS_TEMPORARY = anyOf(
  /\bwait\b|(?<!\b(?:business|office|opening|working) )\b(?:seconds|minutes|hours)\b|\bload(?:ed)?\b(?! (?:mail|messages)\b)/,
  String.raw`\b${RESOURCE}\b`,
  /\bconnection (?:\w+ ){0,4}refused\b(?! by\b)/,
)
// "Could not" is a failure, not a policy.
const NEGATION = String.raw`(?<!\b(?:could|can?|did) ?)(?:\bnot|\bnever|\bno longer|n['\u2019]t)`
const NOT = String.raw`${NEGATION}(?: \w+){0,2} `
const KEPT = '(?:stored|held|kept|spooled|queued|hosted|handled|served)'
const MAIL = String.raw`(?:e-?mail|mail|messages?)\b`

/** This server is not the one that holds the mail. A server that merely has no mail now says "waiting" or "queued". */
export const ELSEWHERE = anyOf(
  String.raw`${NEGATION} (?:queu|stor|hold|keep|spool|collect)(?:e?s?|e?ing) (?:(?:\w+ ){0,2}${MAIL}|for\b)`,
  String.raw`\b(?:queue|store|hold|keep|spool)s? no (?:\w+ ){0,2}${MAIL}`,
  String.raw`\bno (?:\w+ )?${MAIL}[^.;]*\b(?!queued)${KEPT} (?:here|on|by)\b`,
  String.raw`\b${MAIL}[^.;]*${NEGATION} (?:\w+ )?${KEPT} (?:here|on|by)\b`,
  String.raw`${NEGATION} (?:(?:an?|the|your|our|any|valid|primary|backup|secondary) ){0,3}(?:MX|mail exchanger)\b(?! record)`,
  String.raw`${NEGATION} an? (?:backup|secondary)\b`,
  /\bno (?:mail )?(?:storage|spool)\b(?! (?:left|space|available))/,
  String.raw`\b${KEPT} (?:elsewhere|(?:on|at|by) (?:another|a different) (?:host|server|machine|MX|system))\b`,
)

const ONLY = String.raw`(?<!\bread[ -])\bonly\b(?! (?:one|two|three|an? |\d))`
const PEOPLE = '(?:domains?|customers?|hosts?|clients?|users?|subscribers?|members?|networks?|nodes?)'

/** Words that no server uses for a failure of its own */
const CLEAR_POLICY = anyOf(
  /\b(?:prohibit|forbid|forbidden|denied|disabled|unauthori[sz]ed|blocked|banned|restricted|privileges?\b)/,
  // A policy server can fail.
  /\b(?:policy|permission)\b(?! (?:server|service|daemon|check|lookup)\b)/,
  /\b(?:turned|switched) off\b|\b(?:ETRN|is|are) off\b(?!-| ?line)|\bby (?:the |our |an? )?admin/,
  `${NOT}(?:allow|permit|authori[sz]|entitl|eligib|grant)`,
  String.raw`${ONLY} (?:for|to|from|by)\b(?! now)|${ONLY} (?:[\w-]+ ){1,4}(?:may|can)\b|\b${PEOPLE} only\b`,
)

/** The server, not its policy, is the reason. */
export const TEMPORARY = anyOf(
  CLEARLY_TEMPORARY,
  allOf(lacks(CLEAR_POLICY, ELSEWHERE), has(PERHAPS_TEMPORARY)),
  allOf(
    has(CLEAR_POLICY, /\brefused\b/),
    has(/\b(?:run|runner|flush|delivery) (?:is |was )?(?:already |still )?(?:active|running|under way)\b/),
  ),
)

const SERVED = String.raw`(?:allow|permit|authori[sz]|accept|serv(?:e|ed|es|ing|iced)\b|support|configur|stor(?:e|ed|es|ing)\b|hold|held\b|keep(?:s|ing)?\b(?! up)|kept\b|hosted|hosting|handl|relay|offer|implement|provid|responsible)`
/** The server won't do that for this name, or for anybody. */
export const POLICY = anyOf(
  CLEAR_POLICY,
  ELSEWHERE,
  `${NOT}${SERVED}`,
  String.raw`${NOT}(?:an? )?(?:known?|recogni[sz]ed|local|valid|enabled|found|exists?|listed|registered|ours?|yours?|mine|for you|customer|member|subscriber)\b`,
  String.raw`${NOT}(?:in|on|among) (?:our|the|my|any|your|ETRN) (?!queue\b)`,
  /(?:\bnot|\bnever|n['\u2019]t) (?:\w+ )?(?:try|retry|ask)\b/,
  /\byou (?:may not|must ?n[o'\u2019]t|can ?not|can['\u2019]t)\b/,
  /\b(?:unknown|invalid|illegal|unrecogni[sz]ed|unsupported|non-?local|discontinued|retired|deprecated|obsolete)\b(?! (?:error|failure|problem|reason|response|reply|state)\b)/,
  /\bno (?:such|permission|account|relay(?:ing)?)\b|\bno access(?: (?:for|from)\b|\W*$)|\b(?:no|lacks?|insufficient) (?:\w+ )?(?:rights?|authority)\b|\binsufficient (?:\w+ )?access\b/,
  /\bno queue\b(?! (?:run|manager|process|slot))/,
  /\bno ETRN(?: (?:here|for|from|on|access|support|service)\b|\W*$)/,
  /\b(?:rejected|refuse[sd]?|decline[sd]?)\b/,
  /(?:^|\b(?:account|contract|customer|domain|host|node|subscription|user) )(?:is |was |has |been )*(?:suspended|expired|closed|terminated|deactivated|cancell?ed)\b/,
  String.raw`${ONLY}.*\b${SERVED}|\b${SERVED}\w* ${ONLY}|${ONLY} valid\b|\b(?:names?|queues?) only\b`,
  /\b(?:limited|reserved) (?:to|for)\b(?! (?:once|one|an?|\d+)\b)/,
)

/** Words on time that tell little: beside a clear word of policy they don't count. */
export const PASSING = allOf(
  lacks(CLEAR_POLICY, /\b(?:until|unless) (?:you|log|auth)/),
  has(
    /\bat this time\b|\bcurrently\b|\bmoment\b|\b(?:right|just|for) now\b|\bnow\W*$/,
    /\bunavailable\b|\byet\b|\bsoon\b|\bshortly\b|\btime being\b|\bduring\b|\bwhile\b|\buntil\b/,
  ),
)

/** An attempt that failed */
export const FAILED_ATTEMPT = allOf(
  lacks(CLEAR_POLICY),
  has(/\bcould(?: not|n['\u2019]t)\b|\bunable to\b|\bfailed to\b/),
)

/** Of a name with `@` or `#`: its form, not its domain, is the reason. */
export const FORM = anyOf(
  /\b(?:un)?support|\bimplement|(?<!\S)[@#](?!\S)|\bsub-?domains?\b/,
  /\b(?:no|unknown|invalid|bad) (?:such )?queues?\b|\bqueues? (?:\w+ ){0,2}(?:unknown|not|invalid)\b/,
)

/** The text is about the form of the name, although it may say "not allowed": "NUL characters are not allowed". */
const CLEAR_SYNTAX = anyOf(
  /\bsynta(?:x|ctic)|\bparameters?\b|\barguments?\b|\bmalformed\b|\bcharacters?\b|\bunderscores?\b|\blabels?\b|\btoo (?:long|short)\b/,
  /\bpars(?:e|ed|ing|able)\b|\bunpars|\blooks? like\b|\b(?:domain|host|ascii) ?names? only\b/,
  /\bno (?:\w+ ){0,2}(?:given|specified|supplied|provided)\b|\bnot (?:given|specified|supplied)\b/,
  /\bno (?:name|(?:domain|host|node)(?: ?name)?)(?: in (?:the )?(?:ETRN )?command)?\W*$/,
  /(?:\bnot|n['\u2019]t) an? (?:fully[- ]qualified |proper |legal |correct |real )?(?:host ?name|domain|domain name|FQDN|node|node name)\b(?! \w)/,
)
const SYNTAX = anyOf(
  /\b(?:in)?valid\b(?! (?:for|here|from)\b)|\billegal\b|\bformat(?:ted)?\b|\bill-?formed\b|\bbad(?:ly)?\b|\bmust (?:begin|start)\b/,
  /\bqualified\b|\busage\b|\bunrecogni[sz]ed\b|\bmissing\b|\brequired\b|\bunderst(?:and|ood)\b|\brecogni[sz]e\b/,
)
const CLEAR_REFUSAL = anyOf(
  CLEAR_POLICY,
  ELSEWHERE,
  String.raw`${NOT}(?:serv(?:e|ed|es|ing)\b|hosted|stored|held|handled|relayed)`,
)
const REFUSAL_WORDS = anyOf(POLICY, /\b(?:no|not|never|cannot|only|sorry|unable|unavailable|failed)\b|n['\u2019]t\b/)
/** A refusal without a word on syntax. Most single words tell nothing. */
export const REFUSAL = allOf(
  lacks(CLEAR_SYNTAX),
  `(?:${has(CLEAR_REFUSAL)}|${lacks(SYNTAX)}(?:${has(/\b(?:refused|rejected|declined|unavailable|unsupported)\b/)}|${has(/\S \S/)}${has(REFUSAL_WORDS)}))`,
)
/** A clear refusal, where the code alone would mean the form of the name. 553 has "mailbox name not allowed" in RFC 5321. */
export const CLEARLY_REFUSED = allOf(
  lacks(CLEAR_SYNTAX, /\bmailbox name\b/),
  has(CLEAR_REFUSAL),
  has(/\bETRN\b|\brelay|\byour?\b|\bauthori[sz]|\bhosted\b|\bdenied\b|\bprohibit|\bpolic|\bpermission\b/),
)
/** ETRN is off for everybody, whatever the enhanced status code says. */
export const SWITCHED_OFF = anyOf(
  /\bdisabled\b|\bturned off\b|\bnot (?:implemented|supported|available|enabled|active)\b/,
)
