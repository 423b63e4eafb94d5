/** The length of a key. A shorter text is a key as a whole. */
const KEY_CHARACTERS = 4

/**
 * Texts that can be found by their beginnings. A server can make hundreds of them begin alike, so each place in a reply costs no more
 * than the logarithm of their number.
 */
export class PrefixIndex {
  /** Texts in order, by their first characters */
  readonly #lists = new Map<string, string[]>()
  readonly #keyLengths = new Set<number>()
  #longest = 0

  add(text: string): void {
    if (text === '') return
    const key = text.slice(0, KEY_CHARACTERS)
    const list = this.#lists.get(key) ?? []
    const place = countUpTo(list, text)
    if (list[place - 1] === text) return
    list.splice(place, 0, text)
    this.#lists.set(key, list)
    this.#keyLengths.add(key.length)
    this.#longest = Math.max(this.#longest, text.length)
  }

  /** Yields the length of each text that stands at this place in a string. */
  *lengthsAt(string: string, start: number): Generator<number> {
    for (const keyLength of this.#keyLengths) {
      const list = this.#listAt(string, start, keyLength)
      let limit = string.slice(start, start + this.#longest)
      for (;;) {
        const text = list[countUpTo(list, limit) - 1]
        if (text === undefined) break
        const isHere = string.startsWith(text, start)
        if (isHere) yield text.length
        // What still can match begins this text, too.
        limit = isHere ? text.slice(0, -1) : text.slice(0, commonLength(text, limit))
      }
    }
  }

  /** Returns how many characters at this place in a string begin a text: 0, or 4 at least. */
  longestAt(string: string, start: number): number {
    const list = this.#listAt(string, start)
    const here = string.slice(start, start + this.#longest)
    const place = countUpTo(list, here)
    return Math.max(...list.slice(Math.max(0, place - 1), place + 1).map((text) => commonLength(text, here)), 0)
  }

  /** Returns true if a text begins with this string of 4 characters at least. */
  hasBeginning(string: string): boolean {
    const list = this.#listAt(string, 0)
    const place = countUpTo(list, string)
    return list[place - 1] === string || list[place]?.startsWith(string) === true
  }

  /** Returns the texts with the same first characters as this place in a string. */
  #listAt(string: string, start: number, keyLength = KEY_CHARACTERS): readonly string[] {
    const key = string.slice(start, start + keyLength)
    return (key.length === keyLength ? this.#lists.get(key) : undefined) ?? []
  }
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
