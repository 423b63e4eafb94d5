import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { PrefixIndex } from '../../src/smtp/prefix-index.js'

suite('PrefixIndex', () => {
  // Two characters only, so that texts begin alike and hold each other.
  const text = fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 12 })
  const index = fc.array(text, { maxLength: 30 }).map((texts) => {
    const filled = new PrefixIndex()
    for (const each of texts) filled.add(each)
    return { filled, texts }
  })

  test('finds the texts at a place', () => {
    fc.assert(
      fc.property(index, text, fc.nat(4), ({ filled, texts }, string, start) => {
        const here = [...new Set(texts)].filter((each) => string.startsWith(each, start))
        const lengths = [...filled.lengthsAt(string, start)]
        assert.deepEqual(lengths.toSorted(), here.map(({ length }) => length).toSorted())
        if (here.length > 0) assert.ok([...filled.placesIn(string)].includes(start))
      }),
    )
  })

  test('finds how much of a text stands at a place, from 4 characters on', () => {
    const lengths = Array.from({ length: 13 }, (_, length) => length)
    const commonLength = (one: string, other: string): number =>
      lengths.findLast((length) => length <= one.length && other.startsWith(one.slice(0, length))) ?? 0
    fc.assert(
      fc.property(index, text, fc.nat(4), ({ filled, texts }, string, start) => {
        const longest = Math.max(0, ...texts.map((each) => commonLength(each, string.slice(start))))
        assert.equal(filled.longestAt(string, start), longest >= 4 ? longest : 0)
      }),
    )
  })

  test('knows the beginnings of 4 characters and more', () => {
    fc.assert(
      fc.property(index, fc.tuple(fc.constantFrom('aaaa', 'abab', 'babb'), text), ({ filled, texts }, beginning) => {
        const part = beginning.join('')
        assert.equal(
          filled.hasBeginning(part, 0, part.length),
          texts.some((each) => each.startsWith(part)),
        )
      }),
    )
  })

  test('takes no empty text, which would stand everywhere', () => {
    const filled = new PrefixIndex()
    filled.add('')
    assert.deepEqual([...filled.lengthsAt('site.example', 0)], [])
  })
})
