import { printable } from '../printable.js'
import { PrefixIndex } from './prefix-index.js'

/** A part of a line or of octets, from its first element to behind its last */
export type Range = { readonly start: number; readonly end: number }

/** A shorter secret counts only as a word of its own: inside other words it occurs by chance. */
const SECRET_CHARACTERS = 4
/** Without blanks ordinary words can look like a secret, unless it is as long as this or goes on in another line. */
const SQUEEZED_CHARACTERS = 8
/** The end of a text that was cut */
const ELLIPSIS = '...'
/** So many characters of base64 tell a part of the secret. Ordinary words hardly match them by chance. */
const BASE64_PART_CHARACTERS = 6

/**
 * Returns for each line the ranges that hold a secret of one of the finders, in whichever form a server repeats it. A secret may go on
 * from one line to the next.
 */
export function findSecrets(lines: readonly string[], finders: readonly SecretFinder[]): Range[][] {
  const found = lines.map((): Range[] => [])
  const filled = finders.filter(({ size }) => size > 0)
  if (filled.length === 0) return found
  for (const mode of READING_MODES) {
    if (/unescaped|squeezed/.test(mode) && !lines.some((line) => ESCAPE.test(line))) continue
    const reading = readLines(lines, mode)
    const ranges = filled.flatMap((finder) => [...mergeRanges(finder.findIn(reading)), ...finder.findEndsIn(reading)])
    for (const range of ranges)
      for (const { line, start, end } of placesOf(reading, range)) found[line]?.push({ start, end })
  }
  return found
}

/** Finds secrets in octets that were read from lines, in each form in which a server can repeat them. */
export class SecretFinder {
  readonly #forms = new PrefixIndex()
  /** Those in base64 */
  readonly #base64 = new PrefixIndex()
  /** The same from the end to the beginning */
  readonly #reversedBase64 = new PrefixIndex()
  readonly #secrets = new Set<string>()

  /** The number of secrets */
  get size(): number {
    return this.#secrets.size
  }

  add(secret: string): void {
    if (secret === '' || this.#secrets.has(secret)) return
    this.#secrets.add(secret)
    for (const text of withoutPadding(secret).flatMap((one) => [...normalForms(one)])) {
      const plain = [...READING_MODES.map((mode) => readLines([text], mode).octets), Buffer.from(text).toString('hex')]
      const base64 = base64Forms(Buffer.from(text)).map((form) => form.toLowerCase())
      for (const form of [...plain, ...base64]) this.#forms.add(form)
      for (const form of base64) {
        this.#base64.add(form)
        this.#reversedBase64.add(reverse(form))
      }
    }
  }

  /** Yields the ranges that hold the end of a secret in base64, behind the mark of a cut. */
  *findEndsIn({ octets }: Reading): Generator<Range> {
    for (const { 0: word, index } of octets.matchAll(/(?<=\.\.\.)[\w+/-]+=*/g)) {
      if (word.length >= BASE64_PART_CHARACTERS && this.#reversedBase64.hasBeginning(reverse(word), 0, word.length))
        yield { start: index, end: index + word.length }
    }
  }

  /** Yields the ranges of octets that hold a secret, nearly in the order of their starts. */
  *findIn(reading: Reading): Generator<Range> {
    const { octets } = reading
    let cut = octets.indexOf(ELLIPSIS)
    let masked = 0
    for (const start of this.#forms.placesIn(octets)) {
      if (cut !== -1 && cut < start) cut = octets.indexOf(ELLIPSIS, start)
      if (cut >= start + SECRET_CHARACTERS && this.#forms.hasBeginning(octets, start, cut)) yield { start, end: cut }
      for (const length of this.#forms.lengthsAt(octets, start)) {
        const range = { start, end: start + length }
        if (countsAsSecret(reading, range)) yield range
      }
      for (const length of this.#base64.lengthsAt(octets, start)) {
        const range = { start, end: start + length }
        if (countsAsSecret(reading, range)) yield withNeighbours(reading, range)
      }
      // Within a part that is masked, another one is not looked for.
      const length = start < masked ? 0 : this.#base64.longestAt(octets, start)
      if (length < BASE64_PART_CHARACTERS) continue
      masked = start + length
      yield withNeighbours(reading, { start, end: masked })
    }
  }
}

/** Returns a secret, and the same without padding if it is in base64: servers print both. */
function withoutPadding(secret: string): string[] {
  return /^[\w+/-]{16,}={1,2}$/.test(secret) ? [secret, secret.slice(0, secret.indexOf('='))] : [secret]
}

function reverse(text: string): string {
  return Buffer.from(text, 'latin1').reverse().toString('latin1')
}

/** Returns false for a short text that ordinary words can hold by chance. */
function countsAsSecret(reading: Reading, range: Range): boolean {
  const length = range.end - range.start
  if (!JOINING_MODES.includes(reading.mode)) return length >= SECRET_CHARACTERS || isWord(reading.octets, range)
  return length >= SQUEEZED_CHARACTERS || (length >= SECRET_CHARACTERS && isSplit(reading, range))
}

/** Yields ranges that don't overlap. Those given must be in the order of their starts, or nearly so. */
function* mergeRanges(ranges: Iterable<Range>): Generator<Range> {
  let merged: Range | undefined
  for (const { start, end } of ranges) {
    if (merged !== undefined && start >= merged.end) {
      yield merged
      merged = undefined
    }
    merged = { start: Math.min(start, merged?.start ?? start), end: Math.max(end, merged?.end ?? end) }
  }
  if (merged !== undefined) yield merged
}

/** A piece of a line: ASCII, of which each character is one octet, or a single other character or escape. */
type Piece = Range & {
  readonly line: number
  /** The lines of the reply, counted; one text can hold several. */
  readonly segment: number
  /** The place of its octets in the reading, and their number */
  readonly offset: number
  readonly length: number
}

/** Lines as octets, with ASCII in small letters, and the pieces that they come from, in their order */
type Reading = { readonly mode: ReadingMode; readonly octets: string; readonly pieces: readonly Piece[] }

/**
 * `literal`: each character as it stands. `unescaped`: escapes stand for the octets that they mean. `squeezed`: the same without
 * blanks, commas, line ends, and the enhanced status codes of later lines. `joined`: `squeezed`, but with escapes as they stand.
 */
type ReadingMode = 'literal' | 'unescaped' | 'squeezed' | 'joined'
const READING_MODES: readonly ReadingMode[] = ['literal', 'unescaped', 'squeezed', 'joined']
const JOINING_MODES: readonly ReadingMode[] = ['squeezed', 'joined']

/**
 * `%41` of URLs, `=41` of MIME, `+41` of RFC 3461, `\x41` and `\u{202e}` of printable texts, `\u0041` of JSON, `&#65;`, `&#x41;` and
 * `&amp;` of HTML, and quoted strings: `\"`, `\ ` and `\303`.
 */
const ESCAPE = new RegExp(
  [
    /(?:[%=+]|\\x)(?<hex>[0-9a-f]{2})/,
    /(?:\\u\{|&#x)(?<code>[0-9a-f]{1,5}|10[0-9a-f]{4})[};]|\\u(?<unit>[0-9a-f]{4})/,
    /&#(?<decimal>\d{1,6});|&(?<entity>amp|lt|gt|quot|apos);|\\(?:(?<octal>[0-3][0-7]{2})|(?<quoted>[ -/:-@[-`{-~]))/,
  ]
    .map(({ source }) => source)
    .join('|'),
  'iu',
)
const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }
const ENHANCED_CODE = /^[245]\.\d{1,3}\.\d{1,3} [\s,]*/
/** A line's end within a text, with the codes that begin the next line; or blanks and commas, also those that printable texts escape */
const GAP =
  /(?<end> \/ (?:[1-5]\d\d[ -])?(?:[245]\.\d{1,3}\.\d{1,3} )?)|(?<blank>[\s,]+|\\x0[9a-d]|\\u\{(?:a0|1680|20[0-5][\da-f]|2800|3000)\})/u

const JOINED = new RegExp(`${GAP.source}|${ESCAPE.source}|\\P{ASCII}`, 'giu')
/** Everything in a line that is not read as plain ASCII */
const SPECIAL: Readonly<Record<ReadingMode, RegExp>> = {
  literal: /\P{ASCII}/gu,
  unescaped: new RegExp(`${ESCAPE.source}|\\P{ASCII}`, 'giu'),
  squeezed: JOINED,
  joined: JOINED,
}

function readLines(lines: readonly string[], mode: ReadingMode): Reading {
  const octets: string[] = []
  const pieces: Piece[] = []
  let [offset, segment] = [0, 0]
  const add = (read: string, line: number, start: number, end: number): void => {
    if (read === '') return
    octets.push(read)
    pieces.push({ line, segment, start, end, offset, length: read.length })
    offset += read.length
  }
  for (const [line, text] of lines.entries()) {
    // Keeps a secret within its line.
    if (!JOINING_MODES.includes(mode) && line > 0) add('\n', line, 0, 0)
    if (line > 0) segment++
    let done = JOINING_MODES.includes(mode) && line > 0 ? (ENHANCED_CODE.exec(text)?.[0].length ?? 0) : 0
    for (const { 0: word, index, groups = {} } of text.matchAll(SPECIAL[mode])) {
      if (index < done) continue
      add(text.slice(done, index).toLowerCase(), line, done, index)
      done = index + word.length
      if (groups['end'] !== undefined) segment++
      const isGap = groups['end'] !== undefined || groups['blank'] !== undefined
      add(isGap ? '' : readSpecial(word, mode === 'joined' ? {} : groups), line, index, done)
    }
    add(text.slice(done).toLowerCase(), line, done, text.length)
  }
  return { mode, octets: octets.join(''), pieces }
}

/** Returns the octets of a character, or those that an escape stands for. */
function readSpecial(word: string, groups: Readonly<Record<string, string | undefined>>): string {
  const { hex, octal, code, unit, decimal, entity, quoted } = groups
  const value = hex === undefined ? parseInt(octal ?? '', 8) : parseInt(hex, 16)
  const octet = value >= 0 ? String.fromCharCode(value) : undefined
  const point = code ?? unit
  const number = point === undefined ? Number(decimal) : parseInt(point, 16)
  const character =
    octet ?? ENTITIES[entity?.toLowerCase() ?? ''] ?? quoted ?? (number >= 0 ? String.fromCodePoint(number) : word)
  if (character.charCodeAt(0) < 0x80) return character.toLowerCase()
  return octet ?? Buffer.from(character).toString('latin1')
}

/** Returns the index of the piece that an octet comes from. */
function pieceIndexOf({ pieces }: Reading, octet: number): number {
  let [low, high] = [0, pieces.length - 1]
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if ((pieces[middle]?.offset ?? 0) <= octet) low = middle
    else high = middle - 1
  }
  return low
}

function isSplit(reading: Reading, { start, end }: Range): boolean {
  const [first, last] = [start, end - 1].map((octet) => reading.pieces[pieceIndexOf(reading, octet)]?.segment)
  return first !== last
}

/** Returns the place of a range of octets in each line that it touches. */
function placesOf(reading: Reading, { start, end }: Range): Pick<Piece, 'line' | 'start' | 'end'>[] {
  const places: Pick<Piece, 'line' | 'start' | 'end'>[] = []
  const pieces = reading.pieces.slice(pieceIndexOf(reading, start), pieceIndexOf(reading, end - 1) + 1)
  for (const piece of pieces) {
    const isPlain = piece.end - piece.start === piece.length
    const before = isPlain ? Math.max(0, start - piece.offset) : 0
    const behind = isPlain ? Math.max(0, piece.offset + piece.length - end) : 0
    const place = { line: piece.line, start: piece.start + before, end: piece.end - behind }
    const last = places.at(-1)
    if (last?.line === place.line) places[places.length - 1] = { ...last, end: place.end }
    else places.push(place)
  }
  return places
}

/** Returns the forms of a text that look the same, that differ in case, or that SASLprep (RFC 4013) takes for the same. */
function normalForms(text: string): Set<string> {
  const prepared = text.replace(/\p{Default_Ignorable_Code_Point}/gu, '').replace(/\p{Zs}/gu, ' ')
  const forms = [text, prepared].flatMap((form) => [form, form.toLowerCase(), form.toUpperCase()])
  const normalized = (['NFC', 'NFD', 'NFKC', 'NFKD'] as const).flatMap((name) =>
    forms.map((form) => form.normalize(name)),
  )
  // Characters in front of an escape can hide its beginning, so the whole escape is a form of its own.
  return new Set([...forms, ...normalized, printable(text), ...quotedForms(Buffer.from(text).toString())])
}

/** Returns a text as URLs, forms, SQL and shells write it. */
function quotedForms(text: string): string[] {
  const form = new URLSearchParams([['', text]]).toString().slice(1)
  return [
    encodeURIComponent(text),
    form,
    text.replaceAll(' ', '+'),
    ...["''", "'\\''"].map((quote) => text.replaceAll("'", quote)),
  ]
}

/**
 * Returns the base64 of octets, and what any base64 of a longer text has in common that holds them: there are three ways for them to
 * be cut into groups of three.
 */
function base64Forms(octets: Buffer): string[] {
  const forms = [octets.toString('base64'), octets.toString('base64url')]
  for (const before of [0, 1, 2]) {
    const all = Buffer.concat([Buffer.alloc(before), octets])
    // A character of base64 has 6 bits. Those that the neighbours share are not known.
    const [first, last] = [Math.ceil((before * 8) / 6), Math.floor((all.length * 8) / 6)]
    const common = [all.toString('base64').slice(first, last), all.toString('base64url').slice(first, last)]
    forms.push(...common.filter(({ length }) => length >= SECRET_CHARACTERS))
  }
  return forms
}

/** Returns the range with the characters beside it that can have some bits of the secret. Without blanks, other words stand there. */
function withNeighbours({ mode, octets }: Reading, { start, end }: Range): Range {
  if (JOINING_MODES.includes(mode)) return { start, end }
  const isBefore = /[\w+/-]/.test(octets.slice(Math.max(0, start - 1), start))
  const [after = ''] = /^[\w+/-]?=*/.exec(octets.slice(end, end + 3)) ?? []
  return { start: isBefore ? start - 1 : start, end: end + after.length }
}

/** Returns true if the range is a word between blanks, brackets, quotation marks and the like. */
function isWord(octets: string, { start, end }: Range): boolean {
  const before = octets.slice(Math.max(0, start - 1), start)
  return (
    /^(?:[^\w.+@%\x80-\xff-]|$)/.test(before) &&
    /^(?:[^\w.+@%\x80-\xff-]|[.]?(?:\s|$))/.test(octets.slice(end, end + 2))
  )
}
