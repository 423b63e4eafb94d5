import fc, { type Arbitrary } from 'fast-check'
import { LIMITS, say, stream } from './reference.js'

/** What a server does when it is its turn, or in its place. Octets are Latin-1 strings, so that a script can be printed. */
export type Act = {
  /** One write each */
  readonly writes: readonly string[]
  /** Between two writes, and between two pieces of a flood; 0: a turn of the event loop */
  readonly pauseMs: number
  /** Repeated behind the writes until the client goes; '' for nothing */
  readonly flood: string
  /** damage: octets that are no TLS, within TLS; in clear a reset */
  readonly then: 'wait' | 'close' | 'reset' | 'damage'
}

/** How one connection is met. Of each list the next one is used, and the last one again and again; ETRN goes round. */
export type Conversation = {
  readonly greeting: Act
  readonly hello: readonly Act[]
  readonly starttls: Act
  /** With a certificate of the fixtures the handshake is real, without one it is `handshake`. */
  readonly certificate: 'mx' | 'self' | null
  readonly handshake: Act
  readonly auth: readonly Act[]
  readonly etrn: readonly Act[]
  readonly quit: Act
}

/** One run: what is asked of a server, and how it meets each connection, one after another, going round. */
export type Script = {
  readonly names: readonly string[]
  readonly level: 'none' | 'may' | 'encrypt' | 'verify'
  readonly isImplicitTls: boolean
  /** null: no credentials; '': the strongest that there is */
  readonly mechanism: string | null
  readonly keepGoing: boolean
  readonly assumeEtrn: boolean
  /** The command at which the run is interrupted, counted over all connections; 0: never */
  readonly interruptedAt: number
  readonly conversations: readonly Conversation[]
}

export const USER = 'site'
export const PASSWORD = 'sesame-open-yourself'
/** Stands for a SCRAM challenge to what the client said last. */
export const SCRAM = '<scram>'

export const utf8 = (text: string): string => Buffer.from(text).toString('latin1')
const base64 = (text: string): string => Buffer.from(text).toString('base64')
const some = <T>(arbitrary: Arbitrary<T>, minLength: number, maxLength: number): Arbitrary<T[]> =>
  fc.array(arbitrary, { minLength, maxLength, size: 'max' })
const often = <T>(...choices: readonly (readonly [weight: number, Arbitrary<T>])[]): Arbitrary<T> =>
  fc.oneof(...choices.map(([weight, arbitrary]) => ({ weight, arbitrary })))

const WORDS = ['OK', 'queuing for node n1.example started', 'Already processing n1.example', '2.0.0 fine', '4.7.1 no']
const NUMBERS = ['OK, 14 pending messages for node n1.example started', '1 message', '1,234 pending messages', '5.7.1']
const ORDERS = ['\x1b[2J', '\x1b]0;owned\x07', '\0', '\r', '\b', '\x7f', '\v', '\t', '  ']
const INVALID = ['\x9b31m', '\xff\xfe', '\xc3', '\xed\xa0\x80', '\xf4\x90\x80\x80', '\xc0\x80', '\xf0\x9f\x98']
const INVISIBLE = ['\u202egolf', '\u2066', '\u0085', '\u2028', '\ufeff', '\u{e0041}', '\u00ad', '\u200b'].map(utf8)
const SECRET = [PASSWORD, PASSWORD.toUpperCase(), base64(PASSWORD), base64(`\0${USER}\0${PASSWORD}`)]

const atom = fc.constantFrom(...WORDS, ...ORDERS, ...INVALID, ...INVISIBLE, ...SECRET, ' / ', '...', utf8('é😀'))
const unit = fc.constantFrom('x', '\0', '0 ', utf8('é'), utf8('😀'), utf8('\u202e'), PASSWORD)
/** Lines on both sides of a limit */
const edge = often(
  [3, fc.integer({ min: -3, max: 3 }).map((more) => 'x'.repeat(LIMITS.line - 6 + more))],
  [1, fc.integer({ min: -3, max: 3 }).map((more) => 'x'.repeat(LIMITS.challenge - 6 + more))],
)
const text = often(
  [12, fc.constantFrom('', ...WORDS, ...NUMBERS)],
  [4, some(atom, 1, 6).map((atoms) => atoms.join(''))],
  [1, fc.tuple(fc.constantFrom('', 'a'), unit, fc.nat(500)).map(([odd, u, times]) => odd + u.repeat(times))],
  [1, fc.uint8Array({ maxLength: 40 }).map((octets) => Buffer.from(octets).toString('latin1'))],
)

const ODD_CODES = ['000', '099', '100', '150', '199', '300', '334', '354', '399', '600', '999', '25', '2500', 'abc']
const FLAWS = ['other code', 'no end', 'tab', 'space in front', 'no text', 'blank line', 'half line'] as const

/** A reply with these lines, perhaps not quite as RFC 5321 has it. */
function octetsOf(code: string, lines: readonly string[], end: string, flaw: (typeof FLAWS)[number] | null): string {
  const formed = lines.map((line, index) => `${code}${index < lines.length - 1 ? '-' : ' '}${line}${end}`)
  const [first = '', ...others] = formed
  if (flaw === 'other code') return `${code}-a${end}459 b${end}`
  if (flaw === 'no end') return formed.join('').replaceAll(`${code} `, `${code}-`)
  if (flaw === 'tab') return first.replace(' ', '\t') + others.join('')
  if (flaw === 'space in front') return ` ${formed.join('')}`
  if (flaw === 'no text') return `${code}${end}`
  if (flaw === 'blank line') return formed.join('') + end
  return flaw === 'half line' ? formed.join('').slice(0, -end.length) : formed.join('')
}

/** A reply, most often with one of these codes. */
export function reply(usual: readonly string[], line: Arbitrary<string> = text): Arbitrary<string> {
  const code = often(
    [24, fc.constantFrom(...usual)],
    [2, fc.integer({ min: 200, max: 599 }).map(String)],
    [1, fc.constantFrom(...ODD_CODES)],
  )
  const lines = often(
    [40, line.map((one) => [one])],
    [12, some(line, 2, 5)],
    [1, edge.map((one) => [one])],
    [1, fc.integer({ min: LIMITS.lines - 2, max: LIMITS.lines + 2 }).map((n) => Array.from({ length: n }, () => 'x'))],
  )
  const end = often([9, fc.constant('\r\n')], [1, fc.constant('\n')])
  const flaw = often([30, fc.constant(null)], [1, fc.constantFrom(...FLAWS)])
  return fc.tuple(code, lines, end, flaw).map((parts) => octetsOf(...parts))
}

/** The octets in pieces, cut at these places. */
export function cut(octets: string, places: readonly number[]): string[] {
  const ends = [...places.map((place) => place % (octets.length + 1)), octets.length].sort((a, b) => a - b)
  return ends.map((end, index) => octets.slice(ends[index - 1] ?? 0, end))
}

const NOTHING: Act = { writes: [], pauseMs: 0, flood: '', then: 'wait' }
const GOODBYE = '421 4.4.2 bye\r\n'
const ANSWERS = [GOODBYE, GOODBYE, '250 OK\r\n', '459 no\r\n', '250-ETRN\r\n']
const FLOODS = ['x', '\0', '\r\n', '250-x\r\n', '250 OK\r\n', '334 aaaa\r\n', '334 aaaa', '421-', '220 a']
const places = some(fc.nat(), 1, 8)
const pause = often([3, fc.constant(0)], [1, fc.nat(3)], [1, fc.constant(30)])
const ending = fc.constantFrom('wait', 'close', 'close', 'reset', 'damage')
const flood = fc.constantFrom(...FLOODS)
const surprise = fc.constantFrom(...ANSWERS, '554 no', '421', 'junk', '\n')

/** What becomes of a reply that a server doesn't simply say */
type Trouble = (octets: string) => Partial<Act>
const trouble = often<Trouble>(
  // Drop by drop
  [
    4,
    fc.tuple(places, pause).map(([at, pauseMs]) => (octets) => ({ writes: cut(octets, at).filter(Boolean), pauseMs })),
  ],
  // Cut short; whole, and then the end; the end in its place; a goodbye in its place
  [2, fc.tuple(fc.nat(), ending).map(([at, then]) => (octets) => ({ writes: cut(octets, [at]).slice(0, 1), then }))],
  [2, ending.map((then) => (octets) => ({ writes: [octets], then }))],
  [2, ending.map((then) => () => ({ then }))],
  [2, ending.map((then) => () => ({ writes: [GOODBYE], then }))],
  // Octets that nobody asked for: with the reply, or a little later
  [3, surprise.map((more) => (octets) => ({ writes: [octets + more] }))],
  [2, fc.tuple(surprise, fc.nat(2)).map(([more, pauseMs]) => (octets) => ({ writes: [octets, more], pauseMs }))],
  [1, fc.constant((octets) => ({ writes: [octets + octets] }))],
  // Octets without end
  [1, flood.map((piece) => (octets) => ({ writes: [octets.slice(0, 3)], flood: piece }))],
  [2, fc.tuple(flood, fc.constantFrom(0, 30)).map(([piece, pauseMs]) => () => ({ flood: piece, pauseMs }))],
)

/** What a server does with a reply that it has: it says it, so many times more often than it makes trouble. */
function act(replies: Arbitrary<string>, plain = 6): Arbitrary<Act> {
  return often(
    [plain, replies.map((octets) => ({ ...NOTHING, writes: [octets] }))],
    [1, fc.tuple(replies, trouble).map(([octets, change]) => ({ ...NOTHING, ...change(octets) }))],
  )
}

const keyword = often(
  [4, fc.constantFrom('SIZE 10240000', 'PIPELINING', '8BITMIME', 'ETRNX', 'XETRN', 'HELP', 'ENHANCEDSTATUSCODES', '')],
  [1, text],
)
const MECHANISMS = ['PLAIN', 'LOGIN', 'CRAM-MD5', 'SCRAM-SHA-256', 'SCRAM-SHA-1', 'XOAUTH2', 'OAUTHBEARER', 'EXTERNAL']
const listed = <T>(weight: number, word: Arbitrary<T>): Arbitrary<T[]> =>
  often([weight, word.map((one) => [one])], [10 - weight, fc.constant([])])
const hello = fc
  .tuple(
    some(keyword, 0, 4),
    listed(9, fc.constantFrom('ETRN', 'etrn', 'Etrn now')),
    listed(7, fc.constantFrom('STARTTLS', 'starttls')),
    listed(
      6,
      some(fc.constantFrom(...MECHANISMS), 1, 4).map((known) => `AUTH ${known.join(' ')}`),
    ),
  )
  .map((parts) => octetsOf('250', ['mx.example', ...parts.flat()], '\r\n', null))

const challenge = often(
  [2, fc.constantFrom(SCRAM, base64('Username:'), base64('Password:'), base64('v=AAAA'), base64('e=other-error'))],
  [1, fc.uint8Array({ maxLength: 40 }).map((octets) => Buffer.from(octets).toString('base64'))],
  [1, text],
)
const auth = often(
  [5, fc.constant('235 2.7.0 welcome\r\n')],
  [4, challenge.map((line) => `334 ${line}\r\n`)],
  [1, reply(['334'], challenge)],
  [2, reply(['235', '535', '454', '504', '530'])],
)
const etrn = often(
  [14, reply(['250', '250', '251', '252', '253', '458'])],
  [1, reply(['250', '458', '459', '421', '450', '500', '501', '550', '554'])],
)

const handshake = often(
  [1, act(reply(['250', '220']))],
  // The head of a record, and no more
  [1, ending.map((then) => ({ ...NOTHING, writes: ['\x16\x03\x03\x00\x7a\x02\x00\x00\x76'], then }))],
  [1, fc.uint8Array({ maxLength: 300 }).map((o) => ({ ...NOTHING, writes: [Buffer.from(o).toString('latin1')] }))],
  [1, ending.map((then) => ({ ...NOTHING, then }))],
)

/** `calm`: how much more often than else a server does what it should. The opening goes well most of the time. */
function conversation(calm: number): Arbitrary<Conversation> {
  const opening = 20 * calm
  const greetings = [
    [30 * calm, fc.constant('220 mx.example ESMTP\r\n')],
    [3, reply(['220', '220', '421', '554'])],
  ] as const
  const hellos = [
    [30 * calm, hello],
    [1, reply(['250', '421', '502', '550'])],
  ] as const
  const allowances = [
    [8 * calm, fc.constant('220 go ahead\r\n')],
    [1, reply(['220', '454', '501', '554'])],
  ] as const
  const certificates = [
    [6 * calm, fc.constant('mx' as const)],
    [2, fc.constantFrom('self', null)],
  ] as const
  return fc.record({
    greeting: act(often(...greetings), opening),
    hello: some(act(often(...hellos), opening), 1, 3),
    starttls: act(often(...allowances), 4 * calm),
    certificate: often<'mx' | 'self' | null>(...certificates),
    handshake,
    auth: some(act(auth), 1, 4),
    etrn: some(act(often([9 * (calm - 1), fc.constant('250 OK\r\n')], [1, etrn]), 6 * calm), 1, 9),
    quit: act(reply(['221'])),
  })
}

const KINDS = ['n', 'n', 'n', '@n', '#q', '#\\"', 'N']

/** A random server, and what it is asked. */
export const scripts: Arbitrary<Script> = fc.record({
  names: some(fc.constantFrom(...KINDS), 1, 20).map((kinds) => kinds.map((kind, i) => `${kind}${i}.example`)),
  level: fc.constantFrom('none', 'none', 'none', 'may', 'may', 'may', 'may', 'encrypt', 'verify'),
  isImplicitTls: often([15, fc.constant(false)], [1, fc.constant(true)]),
  mechanism: often([6, fc.constant(null)], [1, fc.constant('')], [1, fc.constantFrom(...MECHANISMS)]),
  keepGoing: often([3, fc.constant(false)], [1, fc.constant(true)]),
  assumeEtrn: often([9, fc.constant(false)], [1, fc.constant(true)]),
  interruptedAt: often([19, fc.constant(0)], [1, fc.integer({ min: 1, max: 12 })]),
  conversations: often([3, some(conversation(1), 1, 5)], [2, some(conversation(5), 1, 5)]),
})

/** Octets for the parser alone: some replies, perhaps something else behind them, and where they are cut. */
export const octetsAndCuts: Arbitrary<{ octets: string; at: number[] }> = fc
  .tuple(
    some(reply(['220', '250', '251', '253', '334', '421', '459', '500', '554']), 1, 8),
    often([4, fc.constant('')], [1, surprise], [1, text]),
    some(fc.nat(), 0, 12),
  )
  .map(([replies, rest, at]) => ({ octets: replies.join('') + rest, at }))

/** Whether the server is silent, or slow, somewhere in the script: then the client waits for less long. */
export function isSlow({ conversations }: Script): boolean {
  return conversations.some((c) =>
    [c.greeting, c.hello, c.starttls, c.handshake, c.auth, c.etrn, c.quit].flat().some(isLate),
  )
}

function isLate({ writes, pauseMs, flood: more, then }: Act): boolean {
  const s = stream()
  say(s, writes.join(''))
  const isEnough = s.whole.length > 0 || s.isBroken || more !== '' || then !== 'wait'
  return !isEnough || (more === '' ? writes.length * pauseMs > 50 : pauseMs > 0)
}
