/** A secret in one of the forms in which a server can repeat it: octets, with ASCII in small letters */
type Form = { readonly octets: string; readonly isBase64: boolean }

/** A character or an escape, and its place; octets that come from one part share it. */
type Part = { readonly line: number; readonly segment: number; readonly start: number; readonly end: number }

/** Lines as octets, with ASCII in small letters, and the part that each octet comes from */
type Reading = { readonly octets: string; readonly parts: readonly Part[] }

/** A part of a line, from its first character to behind its last */
export type Range = { readonly start: number; readonly end: number }

/** A shorter secret counts only as a word of its own: inside other words it occurs by chance. */
const SECRET_CHARACTERS = 4
/** Without blanks ordinary words can look like a secret, unless it is as long as this or goes on in another line. */
const SQUEEZED_CHARACTERS = 8
/** The end of a text that was cut */
const ELLIPSIS = '...'

/** Finds secrets in lines of text, in whichever form a server repeats them. */
export class SecretFinder {
  /** By their first octets. There can be thousands: with some mechanisms each session makes secrets of its own. */
  readonly #forms = new Map<string, Form[]>()
  readonly #keyLengths = new Set<number>()
  readonly #secrets = new Set<string>()

  add(secret: string): void {
    if (this.#secrets.has(secret)) return
    this.#secrets.add(secret)
    for (const text of normalForms(secret)) {
      for (const mode of READING_MODES) this.#addForm(readLines([text], mode).octets)
      this.#addForm(Buffer.from(text).toString('hex'))
      for (const form of base64Forms(Buffer.from(text))) this.#addForm(form.toLowerCase(), true)
    }
  }

  /** Returns for each line the ranges that hold a secret, also one that goes on from one line to the next. */
  find(lines: readonly string[]): Range[][] {
    const found = lines.map((): Range[] => [])
    if (this.#forms.size === 0) return found
    for (const mode of READING_MODES) {
      const reading = readLines(lines, mode)
      for (const range of this.#findIn(reading, mode === 'squeezed'))
        for (const { line, start, end } of placesOf(reading, range)) found[line]?.push({ start, end })
    }
    return found
  }

  #addForm(octets: string, isBase64 = false): void {
    const key = octets.slice(0, SECRET_CHARACTERS)
    const forms = this.#forms.get(key) ?? []
    if (octets === '' || forms.some((form) => form.octets === octets)) return
    this.#forms.set(key, [...forms, { octets, isBase64 }])
    this.#keyLengths.add(key.length)
  }

  *#findIn({ octets, parts }: Reading, isSqueezed: boolean): Generator<Range> {
    let cut = octets.indexOf(ELLIPSIS)
    for (let start = 0; start < octets.length; start++) {
      if (cut !== -1 && cut < start) cut = octets.indexOf(ELLIPSIS, start)
      for (const length of this.#keyLengths) {
        for (const form of this.#forms.get(octets.slice(start, start + length)) ?? []) {
          const range = { start, end: start + form.octets.length }
          const isCut = cut >= start + SECRET_CHARACTERS && form.octets.startsWith(octets.slice(start, cut))
          if (isCut) yield { start, end: cut }
          if (!octets.startsWith(form.octets, start)) continue
          const isSplit = parts[start]?.segment !== parts[range.end - 1]?.segment
          const isLong = form.octets.length >= (isSqueezed && !isSplit ? SQUEEZED_CHARACTERS : SECRET_CHARACTERS)
          if (isLong || (!isSqueezed && isWord(octets, range)))
            yield form.isBase64 && !isSqueezed ? withNeighbours(octets, range) : range
        }
      }
    }
  }
}

/** Returns the place of a range in each line that it touches. */
function placesOf({ parts }: Reading, { start, end }: Range): Part[] {
  const places: Part[] = []
  for (const part of parts.slice(start, end)) {
    const last = places.at(-1)
    if (last?.line === part.line) places[places.length - 1] = { ...last, end: part.end }
    else places.push(part)
  }
  return places
}

/**
 * `literal`: each character as it stands. `unescaped`: escapes stand for the octets that they mean. `squeezed`: the same without
 * blanks, commas, line ends, and the enhanced status codes that begin a reply's later lines.
 */
type ReadingMode = 'literal' | 'unescaped' | 'squeezed'
const READING_MODES: readonly ReadingMode[] = ['literal', 'unescaped', 'squeezed']

const CHARACTERS = /./gsu
/** Escapes: `%41` of URLs, `=41` of MIME, `+41` of RFC 3461, `\x41` and `\u{202e}` of printable texts */
const CHARACTERS_AND_ESCAPES = /(?:[%=+]|\\x)(?<hex>[0-9a-f]{2})|\\u\{(?<code>[0-9a-f]{1,5}|10[0-9a-f]{4})\}|./gisu
/** The beginning of a reply's line, which can stand inside one text */
const LINE_START = /(?: \/ |^)(?:[245]\.\d{1,3}\.\d{1,3} )?/g

function readLines(lines: readonly string[], mode: ReadingMode): Reading {
  const octets: string[] = []
  const parts: Part[] = []
  let segment = 0
  const add = (read: string, place: Omit<Part, 'segment'>): void => {
    octets.push(read)
    parts.push(...Array<Part>(read.length).fill({ ...place, segment }))
  }
  for (const [line, text] of lines.entries()) {
    // Keeps a secret within its line.
    if (mode !== 'squeezed' && line > 0) add('\n', { line, start: 0, end: 0 })
    const lineStarts = new Map(mode === 'squeezed' ? matchesByIndex(text, LINE_START) : [])
    let skippedTo = 0
    for (const { 0: word, index, groups } of text.matchAll(mode === 'literal' ? CHARACTERS : CHARACTERS_AND_ESCAPES)) {
      const lineStart = lineStarts.get(index)
      if (lineStart !== undefined && line + index > 0) {
        segment++
        skippedTo = index + lineStart.length
      }
      if (index < skippedTo || (mode === 'squeezed' && /^[\s,]$/.test(word))) continue
      add(readWord(word, groups), { line, start: index, end: index + word.length })
    }
  }
  return { octets: octets.join(''), parts }
}

function matchesByIndex(text: string, pattern: RegExp): [number, string][] {
  return [...text.matchAll(pattern)].map((match) => [match.index, match[0]])
}

/** Returns the octets of a character, or those that an escape stands for. */
function readWord(word: string, { hex, code }: Readonly<Record<string, string | undefined>> = {}): string {
  const octet = hex === undefined ? undefined : String.fromCharCode(parseInt(hex, 16))
  const character = octet ?? (code === undefined ? word : String.fromCodePoint(parseInt(code, 16)))
  if (character < '\x80') return character.toLowerCase()
  return octet ?? Buffer.from(character.toLowerCase()).toString('latin1')
}

/** Returns the forms of a text that look the same, or that SASLprep (RFC 4013) takes for the same. */
function normalForms(text: string): Set<string> {
  const prepared = text.replace(/\p{Default_Ignorable_Code_Point}/gu, '').replace(/\p{Zs}/gu, ' ')
  return new Set([
    text,
    ...(['NFC', 'NFD', 'NFKC', 'NFKD'] as const).flatMap((form) => [text.normalize(form), prepared.normalize(form)]),
  ])
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

/** Returns the range with the characters beside it that can have some bits of the secret. */
function withNeighbours(octets: string, { start, end }: Range): Range {
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
