import fc, { type Arbitrary } from 'fast-check'
import { LIMITS } from './reference.js'
import {
  type ConnectionScript,
  PASSWORD,
  SCRAM_PLACEHOLDER,
  type ServerAction,
  type SessionLimit,
  type TestCase,
  USER,
} from './test-case.js'

// Generators of test cases, and of octets for the parser.

/** Returns the octets of the text in UTF-8, as a Latin-1 string. */
export const encodeUtf8 = (text: string): string => Buffer.from(text).toString('latin1')
const encodeBase64 = (text: string): string => Buffer.from(text).toString('base64')
const arrayOf = <T>(arbitrary: Arbitrary<T>, minLength: number, maxLength: number): Arbitrary<T[]> =>
  fc.array(arbitrary, { minLength, maxLength, size: 'max' })
const weighted = <T>(...choices: readonly (readonly [weight: number, Arbitrary<T>])[]): Arbitrary<T> =>
  fc.oneof(...choices.map(([weight, arbitrary]) => ({ weight, arbitrary })))

const TEXTS = ['OK', 'queuing for node n1.example started', 'Already processing n1.example', '2.0.0 fine', '4.7.1 no']
const NUMBERS = ['OK, 14 pending messages for node n1.example started', '1 message', '1,234 pending messages', '5.7.1']
const CONTROLS = ['\x1b[2J', '\x1b]0;owned\x07', '\0', '\r', '\b', '\x7f', '\v', '\t', '  ']
const INVALID_UTF8 = ['\x9b31m', '\xff\xfe', '\xc3', '\xed\xa0\x80', '\xf4\x90\x80\x80', '\xc0\x80', '\xf0\x9f\x98']
const INVISIBLES = ['\u202egolf', '\u2066', '\u0085', '\u2028', '\ufeff', '\u{e0041}', '\u00ad', '\u200b'].map(
  encodeUtf8,
)
const SECRETS = [PASSWORD, PASSWORD.toUpperCase(), encodeBase64(PASSWORD), encodeBase64(`\0${USER}\0${PASSWORD}`)]

const fragment = fc.constantFrom(
  ...[...TEXTS, ...CONTROLS, ...INVALID_UTF8, ...INVISIBLES, ...SECRETS, ' / ', '...', encodeUtf8('é😀')],
)
const UNITS = ['x', '\0', '0 ', encodeUtf8('é'), encodeUtf8('😀'), encodeUtf8('\u202e'), PASSWORD]
const repeatedUnit = fc.constantFrom(...UNITS)
/** Lines just below and just above a limit */
const lineNearLimit = weighted(
  [3, fc.integer({ min: -3, max: 3 }).map((surplus) => 'x'.repeat(LIMITS.line - 6 + surplus))],
  [1, fc.integer({ min: -3, max: 3 }).map((surplus) => 'x'.repeat(LIMITS.challenge - 6 + surplus))],
)
const replyText = weighted(
  [12, fc.constantFrom('', ...TEXTS, ...NUMBERS)],
  [4, arrayOf(fragment, 1, 6).map((fragments) => fragments.join(''))],
  [
    1,
    fc
      .tuple(fc.constantFrom('', 'a'), repeatedUnit, fc.nat(500))
      .map(([prefix, unit, times]) => prefix + unit.repeat(times)),
  ],
  [1, fc.uint8Array({ maxLength: 40 }).map((octets) => Buffer.from(octets).toString('latin1'))],
)

const ODD_CODES = ['000', '099', '100', '150', '199', '300', '334', '354', '399', '600', '999', '25', '2500', 'abc']
const SYNTAX_FAULTS = [
  'mixed codes',
  'no last line',
  'tab after code',
  'space before code',
  'no text',
  'blank line',
  'no line end',
] as const
type SyntaxFault = (typeof SYNTAX_FAULTS)[number]

/** Returns a reply with these lines, perhaps with a fault in its syntax. */
function formatReply(code: string, lines: readonly string[], lineEnd: string, fault: SyntaxFault | null): string {
  const formatted = lines.map((line, index) => `${code}${index < lines.length - 1 ? '-' : ' '}${line}${lineEnd}`)
  const [first = '', ...others] = formatted
  if (fault === 'mixed codes') return `${code}-a${lineEnd}459 b${lineEnd}`
  if (fault === 'no last line') return formatted.join('').replaceAll(`${code} `, `${code}-`)
  if (fault === 'tab after code') return first.replace(' ', '\t') + others.join('')
  if (fault === 'space before code') return ` ${formatted.join('')}`
  if (fault === 'no text') return `${code}${lineEnd}`
  if (fault === 'blank line') return formatted.join('') + lineEnd
  return fault === 'no line end' ? formatted.join('').slice(0, -lineEnd.length) : formatted.join('')
}

/** Generates a reply, mostly with one of these codes. */
function reply(usualCodes: readonly string[], line: Arbitrary<string> = replyText): Arbitrary<string> {
  const code = weighted(
    [24, fc.constantFrom(...usualCodes)],
    [2, fc.integer({ min: 200, max: 599 }).map(String)],
    [1, fc.constantFrom(...ODD_CODES)],
  )
  const lines = weighted(
    [40, line.map((text) => [text])],
    [12, arrayOf(line, 2, 5)],
    [1, lineNearLimit.map((text) => [text])],
    [
      1,
      fc
        .integer({ min: LIMITS.lines - 2, max: LIMITS.lines + 2 })
        .map((count) => Array.from({ length: count }, () => 'x')),
    ],
  )
  const lineEnd = weighted([9, fc.constant('\r\n')], [1, fc.constant('\n')])
  const fault = weighted<SyntaxFault | null>([30, fc.constant(null)], [1, fc.constantFrom(...SYNTAX_FAULTS)])
  return fc.tuple(code, lines, lineEnd, fault).map((parts) => formatReply(...parts))
}

/** Splits the octets at these places, each taken modulo the length. */
export function splitAt(octets: string, places: readonly number[]): string[] {
  const ends = [...places.map((place) => place % (octets.length + 1)), octets.length].sort((a, b) => a - b)
  return ends.map((end, index) => octets.slice(ends[index - 1] ?? 0, end))
}

const SILENCE: ServerAction = { writes: [], pauseMs: 0, flood: '', ending: 'wait' }
const REPLY_421 = '421 4.4.2 bye\r\n'
const SURPLUS_REPLIES = [REPLY_421, REPLY_421, '250 OK\r\n', '459 no\r\n', '250-ETRN\r\n']
const FLOODS = ['x', '\0', '\r\n', '250-x\r\n', '250 OK\r\n', '334 aaaa\r\n', '334 aaaa', '421-', '220 a']
const places = arrayOf(fc.nat(), 1, 8)
const pause = weighted([3, fc.constant(0)], [1, fc.nat(3)], [1, fc.constant(30)])
const ending = fc.constantFrom('wait', 'close', 'close', 'reset', 'damage')
const flood = fc.constantFrom(...FLOODS)
const surplus = fc.constantFrom(...SURPLUS_REPLIES, '554 no', '421', 'junk', '\n')

/** Replaces the plain action of sending a reply by another action. */
type Disturbance = (reply: string) => Partial<ServerAction>
const disturbance = weighted<Disturbance>(
  // Sends the reply in small pieces.
  [
    4,
    fc
      .tuple(places, pause)
      .map(([at, pauseMs]) => (octets) => ({ writes: splitAt(octets, at).filter(Boolean), pauseMs })),
  ],
  // Ends the connection inside the reply, after the reply, or instead of the reply; or sends 421 instead.
  [
    2,
    fc
      .tuple(fc.nat(), ending)
      .map(([place, how]) => (octets) => ({ writes: splitAt(octets, [place]).slice(0, 1), ending: how })),
  ],
  [2, ending.map((how) => (octets) => ({ writes: [octets], ending: how }))],
  [2, ending.map((how) => () => ({ ending: how }))],
  [2, ending.map((how) => () => ({ writes: [REPLY_421], ending: how }))],
  // Sends surplus octets together with the reply, or a little later.
  [3, surplus.map((extra) => (octets) => ({ writes: [octets + extra] }))],
  [2, fc.tuple(surplus, fc.nat(2)).map(([extra, pauseMs]) => (octets) => ({ writes: [octets, extra], pauseMs }))],
  [1, fc.constant((octets) => ({ writes: [octets + octets] }))],
  // Sends octets without end.
  [1, flood.map((piece) => (octets) => ({ writes: [octets.slice(0, 3)], flood: piece }))],
  [2, fc.tuple(flood, fc.constantFrom(0, 30)).map(([piece, pauseMs]) => () => ({ flood: piece, pauseMs }))],
)

/** Generates the action for a reply; `plainWeight` to one, the server just sends the reply. */
function actionWith(replies: Arbitrary<string>, plainWeight = 6): Arbitrary<ServerAction> {
  return weighted(
    [plainWeight, replies.map((octets) => ({ ...SILENCE, writes: [octets] }))],
    [1, fc.tuple(replies, disturbance).map(([octets, disturb]) => ({ ...SILENCE, ...disturb(octets) }))],
  )
}

const KEYWORDS = ['SIZE 10240000', 'PIPELINING', '8BITMIME', 'ETRNX', 'XETRN', 'HELP', 'ENHANCEDSTATUSCODES', '']
const keyword = weighted([4, fc.constantFrom(...KEYWORDS)], [1, replyText])
const MECHANISMS = ['PLAIN', 'LOGIN', 'CRAM-MD5', 'SCRAM-SHA-256', 'SCRAM-SHA-1', 'XOAUTH2', 'OAUTHBEARER', 'EXTERNAL']
const listedKeyword = <T>(weight: number, word: Arbitrary<T>): Arbitrary<T[]> =>
  weighted([weight, word.map((one) => [one])], [10 - weight, fc.constant([])])
const ehloReply = fc
  .tuple(
    arrayOf(keyword, 0, 4),
    listedKeyword(9, fc.constantFrom('ETRN', 'etrn', 'Etrn now')),
    listedKeyword(7, fc.constantFrom('STARTTLS', 'starttls')),
    listedKeyword(
      6,
      arrayOf(fc.constantFrom(...MECHANISMS), 1, 4).map((known) => `AUTH ${known.join(' ')}`),
    ),
  )
  .map((parts) => formatReply('250', ['mx.example', ...parts.flat()], '\r\n', null))

const KNOWN_CHALLENGES = ['Username:', 'Password:', 'v=AAAA', 'e=other-error'].map(encodeBase64)
const challenge = weighted(
  [2, fc.constantFrom(SCRAM_PLACEHOLDER, ...KNOWN_CHALLENGES)],
  [1, fc.uint8Array({ maxLength: 40 }).map((octets) => Buffer.from(octets).toString('base64'))],
  [1, replyText],
)
const authReply = weighted(
  [5, fc.constant('235 2.7.0 welcome\r\n')],
  [4, challenge.map((line) => `334 ${line}\r\n`)],
  [1, reply(['334'], challenge)],
  [2, reply(['235', '535', '454', '504', '530'])],
)
const etrnReply = weighted(
  [14, reply(['250', '250', '251', '252', '253', '458'])],
  [1, reply(['250', '458', '459', '421', '450', '500', '501', '550', '554'])],
)

const TLS_RECORD_HEAD = '\x16\x03\x03\x00\x7a\x02\x00\x00\x76'
const handshakeAction = weighted(
  [1, actionWith(reply(['250', '220']))],
  [1, ending.map((how) => ({ ...SILENCE, writes: [TLS_RECORD_HEAD], ending: how }))],
  [
    1,
    fc
      .uint8Array({ maxLength: 300 })
      .map((octets) => ({ ...SILENCE, writes: [Buffer.from(octets).toString('latin1')] })),
  ],
  [1, ending.map((how) => ({ ...SILENCE, ending: how }))],
)

/** Generates a script; a greater `regularity` makes the server more regular. The opening mostly succeeds, so that runs reach ETRN. */
function connectionScript(regularity: number): Arbitrary<ConnectionScript> {
  const openingWeight = 20 * regularity
  const greetings = [
    [30 * regularity, fc.constant('220 mx.example ESMTP\r\n')],
    [3, reply(['220', '220', '421', '554'])],
  ] as const
  const ehloReplies = [
    [30 * regularity, ehloReply],
    [1, reply(['250', '421', '502', '550'])],
  ] as const
  const starttlsReplies = [
    [8 * regularity, fc.constant('220 go ahead\r\n')],
    [1, reply(['220', '454', '501', '554'])],
  ] as const
  const certificates = [
    [6 * regularity, fc.constant('mx' as const)],
    [2, fc.constantFrom('self', null)],
  ] as const
  return fc.record({
    greeting: actionWith(weighted(...greetings), openingWeight),
    ehlo: arrayOf(actionWith(weighted(...ehloReplies), openingWeight), 1, 3),
    starttls: actionWith(weighted(...starttlsReplies), 4 * regularity),
    certificate: weighted<'mx' | 'self' | null>(...certificates),
    handshake: handshakeAction,
    auth: arrayOf(actionWith(authReply), 1, 4),
    etrn: arrayOf(
      actionWith(weighted([9 * (regularity - 1), fc.constant('250 OK\r\n')], [1, etrnReply]), 6 * regularity),
      1,
      9,
    ),
    quit: actionWith(reply(['221'])),
  })
}

const LIMIT_REPLIES = [
  '550 5.7.1 ETRN session limit reached.\r\n',
  '458 4.7.1 ETRN session limit reached\r\n',
  '421 4.7.0 Too many nonmail commands\r\n',
  '554 Too many nonmail commands\r\n',
  '554 enough\r\n',
  '500-enough\r\n500 for now\r\n',
]
const sessionLimit: Arbitrary<SessionLimit> = fc.record({
  names: fc.constantFrom(0, 1, 1, 1, 2, 3, 4, 5, 6),
  action: fc
    .tuple(fc.constantFrom(...LIMIT_REPLIES), fc.constantFrom('wait', 'close', 'close', 'reset'))
    .map(([octets, how]) => ({ ...SILENCE, writes: [octets], ending: how }) as const),
  isUnencrypted: weighted([3, fc.constant(false)], [1, fc.constant(true)]),
})

const NAME_PREFIXES = ['n', 'n', 'n', '@n', '#q', '#\\"', 'N']

export const testCases: Arbitrary<TestCase> = fc.record({
  names: arrayOf(fc.constantFrom(...NAME_PREFIXES), 1, 20).map((prefixes) =>
    prefixes.map((prefix, index) => `${prefix}${index}.example`),
  ),
  tlsLevel: fc.constantFrom('none', 'none', 'none', 'may', 'may', 'may', 'may', 'encrypt', 'verify'),
  isImplicitTls: weighted([15, fc.constant(false)], [1, fc.constant(true)]),
  mechanism: weighted([6, fc.constant(null)], [1, fc.constant('')], [1, fc.constantFrom(...MECHANISMS)]),
  keepGoing: weighted([3, fc.constant(false)], [1, fc.constant(true)]),
  assumeEtrn: weighted([9, fc.constant(false)], [1, fc.constant(true)]),
  interruptedAt: weighted([19, fc.constant(0)], [1, fc.integer({ min: 1, max: 12 })]),
  sessionLimit: weighted<SessionLimit | null>([3, fc.constant(null)], [1, sessionLimit]),
  connections: weighted([3, arrayOf(connectionScript(1), 1, 5)], [2, arrayOf(connectionScript(5), 1, 5)]),
})

/** Octets for the parser: some replies, perhaps surplus octets after them, and the places where they are split. */
export const replyOctets: Arbitrary<{ octets: string; places: number[] }> = fc
  .tuple(
    arrayOf(reply(['220', '250', '251', '253', '334', '421', '459', '500', '554']), 1, 8),
    weighted([4, fc.constant('')], [1, surplus], [1, replyText]),
    arrayOf(fc.nat(), 0, 12),
  )
  .map(([replies, rest, at]) => ({ octets: replies.join('') + rest, places: at }))
