/** The length of a key. A shorter text is a key as a whole. */
const KEY_OCTETS = 4

/**
 * Texts that can be found by their beginnings; each of their characters is an octet. A server can make hundreds of texts begin alike,
 * so each place in a reply costs no more than the logarithm of their number.
 */
export class PrefixIndex {
  /** Texts in order, by their keys */
  readonly #lists = new Map<number, string[]>()
  readonly #keyLengths = new Set<number>()
  #longest = 0

  add(text: string): void {
    if (text === '') return
    const keyLength = Math.min(text.length, KEY_OCTETS)
    const key = keyAt(text, 0, keyLength)
    const list = this.#lists.get(key) ?? []
    const place = countUpTo(list, text)
    if (list[place - 1] === text) return
    list.splice(place, 0, text)
    this.#lists.set(key, list)
    this.#keyLengths.add(keyLength)
    this.#longest = Math.max(this.#longest, text.length)
  }

  /** Yields the places in a string at which a text may begin: few, unless it holds many beginnings. */
  *placesIn(string: string): Generator<number> {
    const lists = this.#lists
    const octets = Buffer.from(string, 'latin1')
    const shifts = [...this.#keyLengths].map((length) => 8 * (KEY_OCTETS - length))
    let key = 0
    for (let end = 1; end < octets.length + KEY_OCTETS; end++) {
      // Behind the string, zeros complete the last keys.
      key = (key << 8) | (octets[end - 1] ?? 0)
      for (const shift of shifts) {
        if (!lists.has(shift === 0 ? key : key >>> shift)) continue
        if (end >= KEY_OCTETS) yield end - KEY_OCTETS
        break
      }
    }
  }

  /** Yields the length of each text that stands at this place in a string. */
  *lengthsAt(string: string, start: number): Generator<number> {
    for (const keyLength of this.#keyLengths) {
      const list = this.#listAt(string, start, keyLength) ?? []
      let limit = string.slice(start, start + this.#longest)
      for (;;) {
        const text = list[countUpTo(list, limit) - 1]
        if (text === undefined) break
        const isHere = string.startsWith(text, start)
        if (isHere) yield text.length
        // Any other match is a beginning of this text.
        limit = isHere ? text.slice(0, -1) : text.slice(0, commonLength(text, limit))
      }
    }
  }

  /** Returns how many characters at this place in a string begin a text: 0, or 4 at least. */
  longestAt(string: string, start: number): number {
    const list = this.#listAt(string, start)
    if (list === undefined) return 0
    const here = string.slice(start, start + this.#longest)
    const place = countUpTo(list, here)
    const longest = Math.max(...list.slice(Math.max(0, place - 1), place + 1).map((text) => commonLength(text, here)))
    return longest < KEY_OCTETS ? 0 : longest
  }

  /** Returns true if a text begins with this part of a string, which has 4 characters at least. */
  hasBeginning(string: string, start: number, end: number): boolean {
    const list = this.#listAt(string, start)
    if (list === undefined || end - start > this.#longest) return false
    const part = string.slice(start, end)
    const place = countUpTo(list, part)
    return list[place - 1] === part || list[place]?.startsWith(part) === true
  }

  /** Returns the texts with the key of this place in a string; most places have none. */
  #listAt(string: string, start: number, keyLength = KEY_OCTETS): readonly string[] | undefined {
    return start + keyLength <= string.length ? this.#lists.get(keyAt(string, start, keyLength)) : undefined
  }
}

/** Returns a number for these characters: to look it up costs a tenth of a string. Keys of different lengths may be the same number. */
function keyAt(string: string, start: number, length: number): number {
  let key = 0
  for (let place = start; place < start + length; place++) key = (key << 8) | string.charCodeAt(place)
  return key
}

/** Returns how many texts of an ordered list stand at or before a string. */
function countUpTo(list: readonly string[], string: string): number {
  let [low, high] = [0, list.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((list[middle] ?? '') <= string) low = middle + 1
    else high = middle
  }
  return low
}

/** Returns how many characters two strings have in common at their beginnings. */
function commonLength(one: string, other: string): number {
  let [low, high] = [0, Math.min(one.length, other.length)]
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if (one.startsWith(other.slice(0, middle))) low = middle
    else high = middle - 1
  }
  return low
}
