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
    assert.deepEqual(bad, { line: 3, word: 'b c', reason: 'a space in it; a file has one name a line' })
  })
  test('returns a bad line in printable text', async () => {
    const [bad] = await parseNamesFile('a\x1bb\n', 'x', STRICT)
    assert.deepEqual(bad, { line: 1, word: 'a\\x1bb', reason: 'a control or invisible character in it (U+001B)' })
  })
  test('ends at a signal, and lets it arrive within a long file', async () => {
    const controller = new AbortController()
    setImmediate(() => controller.abort(new Error('interrupted')))
    await assert.rejects(
      parseNamesFile('a.example\n'.repeat(1_000_000), 'x', STRICT, controller.signal),
      /^Error: interrupted$/,
    )
  })
  test('skips comments: # alone, and # with a blank behind it', async () => {
    const text =
      '# names of d01\n#\n  # indented\n#\tafter a tab\n# \r\n#\r\na.example\n#uucp\n##\n#!bin\n# b.example\n'
    assert.deepEqual(await parseNamesFile(text, 'x', STRICT), ['a.example', '#uucp', '##', '#!bin'])
  })
  test('counts comments and blank lines in the number of a bad line', async () => {
    const [, bad] = await parseNamesFile('# c\r\n\r\na.example\r\nb c\r\n', 'x', STRICT)
    assert.deepEqual(bad, { line: 4, word: 'b c', reason: 'a space in it; a file has one name a line' })
  })
  for (const [line, reason] of [
    ['d05.example,d06.example', 'a comma or semicolon; a file has one name a line'],
    ['d05.example, d06.example', 'a comma or semicolon; a file has one name a line'],
    ['d05.example,', 'a comma or semicolon; a file has one name a line'],
    ['d05.example;d06.example', 'a comma or semicolon; a file has one name a line'],
    ['@d05.example,@d06.example', 'a comma or semicolon; a file has one name a line'],
    ['d05.example d06.example', 'a space in it; a file has one name a line'],
    ['d05.example\td06.example', 'a tab in it; a file has one name a line'],
    ['mail.isp.example site.example', 'a space in it; a file has one name a line'],
    ['site.example # ours', 'a comment needs a line of its own, and a blank after its #'],
    ['site.example\t#ours', 'a comment needs a line of its own, and a blank after its #'],
    ['; a comment', 'no name; a comment begins with # and a blank'],
    ['// a comment', 'no name; a comment begins with # and a blank'],
    ['"site.example"', 'quotes; write the name without them'],
    ["'site.example',", 'quotes; write the name without them'],
    ['192.0.2.1 site.example', 'an address in front of a name; a file has names alone, one a line'],
    ['2001:db8::1\tsite.example', 'an address in front of a name; a file has names alone, one a line'],
    ['smtp://mail.isp.example', 'a URL; write the name alone: the server is no part of a names file'],
    ['site.example:25', 'a port; write the name alone: the server is no part of a names file'],
    ['user@site.example', "no domain name; an address's domain is what stands behind its @"],
    ['*.site.example', 'no domain name; @site.example means it and its subdomains'],
    ['a.example\rb.example', 'a CR in it; lines end with LF or CRLF'],
    ['a\0.\0e\0', 'a NUL in it; save the file as UTF-8'],
    ['#a queue', 'a space in it; a file has one name a line'],
    ['é/evil.example', 'the label "é/evil" has other characters than letters, digits and hyphens'],
  ] as const)
    test(`gives advice for the line ${JSON.stringify(line)}`, async () => {
      const [, bad] = await parseNamesFile(`a.example\n${line}\n`, 'x', STRICT)
      assert.equal(typeof bad === 'object' && bad.reason, reason)
    })
  test('takes a single label only with allowWide', async () => {
    assert.deepEqual(await parseNamesFile('site\n', 'x', WIDE), ['site'])
    assert.equal(typeof (await parseNamesFile('site\n', 'x', STRICT))[0], 'object')
  })
  test('rejects a file without a name with exit status 66', async () => {
    for (const text of ['', '\n', ' \r\n\t\n', '\ufeff', '# a comment\n#\n']) {
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
