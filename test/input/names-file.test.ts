import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { UsageError } from '../../src/errors.js'
import { parseNamesFile, removeDuplicates, validNames } from '../../src/input/names-file.js'

const STRICT = { allowWide: false }
const WIDE = { allowWide: true }

suite('parseNamesFile', () => {
  test('drops CR, a BOM and outer blanks, skips blank lines, and takes # for a queue', async () => {
    assert.deepEqual(await parseNamesFile('\ufeffsite.example\r\n\r\n \t#uucp \n\n@a.example', 'x', STRICT), [
      'site.example',
      '#uucp',
      '@a.example',
    ])
  })
  test('returns a bad line at its place, with its number and the rule', async () => {
    const [first, bad, last] = await parseNamesFile('a.example\n\nb c\nd.example\n', 'x', STRICT)
    assert.deepEqual([first, last], ['a.example', 'd.example'])
    assert.deepEqual(bad, { line: 3, word: 'b c', reason: 'a space in it; one name is one word' })
  })
  test('returns a bad line in printable text', async () => {
    const [bad] = await parseNamesFile('a\x1bb\n', 'x', STRICT)
    assert.deepEqual(bad, { line: 1, word: 'a\\x1bb', reason: 'a control or invisible character in it (U+001B)' })
  })
  test('takes a single label only with allowWide', async () => {
    assert.deepEqual(await parseNamesFile('site\n', 'x', WIDE), ['site'])
    assert.equal(typeof (await parseNamesFile('site\n', 'x', STRICT))[0], 'object')
  })
  test('rejects a file without a name with exit status 66', async () => {
    for (const text of ['', '\n', ' \r\n\t\n', '\ufeff']) {
      await assert.rejects(
        parseNamesFile(text, 'list', STRICT),
        (error) => error instanceof UsageError && error.exitStatus === 66 && error.message.startsWith('list: '),
      )
    }
  })
})

suite('removeDuplicates', () => {
  test('keeps the first of equal names in their order: nodes in any case, queues letter by letter', async () => {
    const list = await parseNamesFile('b.example\na.example\nB.Example.\n#q\n#Q\n@a.example\n#q\n', 'x', STRICT)
    assert.deepEqual(removeDuplicates(list), ['b.example', 'a.example', '#q', '#Q', '@a.example'])
  })
  test('keeps every bad line', async () => {
    const list = await parseNamesFile('b c\na.example\nb c\n', 'x', STRICT)
    assert.equal(removeDuplicates(list).length, 3)
  })
})

test('validNames returns the names without the bad lines', async () => {
  assert.deepEqual(validNames(await parseNamesFile('a.example\nb c\n#q\n', 'x', STRICT)), ['a.example', '#q'])
})
