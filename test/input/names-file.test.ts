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
    assert.deepEqual(bad, { line: 3, word: 'b c', reason: 'contains a space; write one name per line' })
  })
  test('returns a bad line in printable text', async () => {
    const [bad] = await parseNamesFile('a\x1bb\n', 'x', STRICT)
    assert.deepEqual(bad, { line: 1, word: 'a\\x1bb', reason: 'contains a control or invisible character (U+001B)' })
  })
  test('shows nothing of a bad line in a file that others can change', async () => {
    const options = { allowWide: false, isHidden: true }
    const entries = await parseNamesFile('a.example\nroot:$y$j9T$secret:20000::::::\nsecret\n', 'x', options)
    assert.doesNotMatch(JSON.stringify(entries), /secret|root/)
    const reason = 'is not a valid name; the line is not shown, because other users can change the file'
    assert.deepEqual(entries.slice(1), [
      { line: 2, word: '****', reason },
      { line: 3, word: '****', reason },
    ])
  })
  test('accepts 200,000 lines beside comments, and rejects one more with exit status 66', async () => {
    // A bad line takes ten times as long as a name.
    const text = '# comment\n' + '#a\n'.repeat(190_000) + '-\n'.repeat(10_000)
    assert.equal((await parseNamesFile(text, 'list', STRICT)).length, 200_000)
    await assert.rejects(parseNamesFile(`${text}b.example`, 'list', STRICT), {
      exitStatus: 66,
      message: 'list contains more than 200000 names; split the file',
    })
  })
  test('ends at a signal, and lets it arrive within a long file', async () => {
    const controller = new AbortController()
    setImmediate(() => controller.abort(new Error('interrupted')))
    await assert.rejects(
      parseNamesFile('# comment\n'.repeat(1_000_000), 'x', STRICT, controller.signal),
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
    assert.deepEqual(bad, { line: 4, word: 'b c', reason: 'contains a space; write one name per line' })
  })
  for (const [line, reason] of [
    ['d05.example,d06.example', 'contains a comma; write one name per line'],
    ['d05.example, d06.example', 'contains a comma; write one name per line'],
    ['d05.example,', 'contains a comma; write one name per line'],
    ['d05.example;d06.example', 'contains a semicolon; write one name per line'],
    ['@d05.example,@d06.example', 'contains a comma; write one name per line'],
    ['d05.example d06.example', 'contains a space; write one name per line'],
    ['d05.example\td06.example', 'contains a tab; write one name per line'],
    ['mail.isp.example site.example', 'contains a space; write one name per line'],
    ['site.example # ours', 'contains a comment; write the comment on its own line, after # and a space'],
    ['site.example\t#ours', 'contains a comment; write the comment on its own line, after # and a space'],
    ['; a comment', 'looks like a comment; start comments with # and a space'],
    ['// a comment', 'looks like a comment; start comments with # and a space'],
    ['"site.example"', 'contains quotes; write the name without quotes'],
    ["'site.example',", 'contains quotes; write the name without quotes'],
    ['192.0.2.1 site.example', 'starts with an IP address; write only the name'],
    ['2001:db8::1\tsite.example', 'starts with an IP address; write only the name'],
    ...[
      '192.0.2.1',
      '[192.0.2.1]',
      '192.0.2.1.',
      '@192.0.2.1',
      '@[192.0.2.1]',
      '2001:db8::1',
      '[IPv6:2001:db8::1]',
    ].map((line) => [line, 'is an IP address, not a name; write a name, for example site.example'] as const),
    ['@site.example:25', 'looks like a server; write only the name, without server or port'],
    ['site.', 'is not fully qualified; write, for example, site.example, or #site for a queue'],
    ['bücher', 'is not fully qualified; write, for example, bücher.example'],
    ['smtp://mail.isp.example', 'is a URL; write only the name, without the server'],
    ['site.example:25', 'contains a colon; write only the name, without server or port'],
    ['a.example:b', 'contains a colon; write only the name, without server or port'],
    ['site', 'is not fully qualified; write, for example, site.example, or #site for a queue'],
    ['user@site.example', 'is an e-mail address; write only the domain: site.example'],
    ['*.site.example', 'contains a wildcard; write @site.example for the domain and its subdomains'],
    ['a.example\rb.example', 'contains a CR character; end lines with LF or CRLF'],
    ['a\0.\0e\0', 'contains a NUL character; save the file as UTF-8'],
    ['#a queue', 'contains a space; write one name per line'],
    ['é/evil.example', 'contains "/"; a name can contain only letters, digits, hyphens and dots'],
  ] as const)
    test(`gives advice for the line ${JSON.stringify(line)}`, async () => {
      const [, bad] = await parseNamesFile(`a.example\n${line}\n`, 'x', STRICT)
      assert.equal(typeof bad === 'object' && bad.reason, reason)
    })
  for (const [unit, reason] of [
    ['.', 'is too long; a line has at most 4096 characters'],
    ['\0', 'contains a NUL character; save the file as UTF-8'],
    ['a,', 'contains a comma; write one name per line'],
  ] as const)
    test(`shows the beginning of a line of 16 MiB of ${JSON.stringify(unit)}, and does not split the line`, async () => {
      const [bad, last] = await parseNamesFile(`${unit.repeat(2 ** 24 / unit.length)}\na.example`, 'x', WIDE)
      assert.ok(typeof bad === 'object')
      assert.deepEqual([bad.line, bad.reason, last], [1, reason, 'a.example'])
      assert.match(bad.word, /^.{400,2000}\.\.\.$/)
    })
  test('accepts the longest name however it is written', async () => {
    const label = 'a'.repeat(61)
    const name = Array(4).fill(label).join('.')
    assert.deepEqual(await parseNamesFile(`${name}\n#${'q'.repeat(504)}`, 'x', STRICT), [name, `#${'q'.repeat(504)}`])
    const composed = Array(3).fill('각'.repeat(20)).join('.')
    const [plain, decomposed] = await parseNamesFile(`${composed}\n${composed.normalize('NFD')}`, 'x', STRICT)
    assert.ok(typeof plain === 'string' && plain.startsWith('xn--'))
    assert.equal(decomposed, plain)
  })
  test('takes a single label only with allowWide', async () => {
    assert.deepEqual(await parseNamesFile('site\n', 'x', WIDE), ['site'])
    assert.equal(typeof (await parseNamesFile('site\n', 'x', STRICT))[0], 'object')
  })
  test('rejects a file without a name with exit status 66', async () => {
    for (const text of ['', '\n', ' \r\n\t\n', '\ufeff', '# a comment\n#\n']) {
      await assert.rejects(
        parseNamesFile(text, 'list', STRICT),
        (error) =>
          error instanceof UsageError &&
          error.exitStatus === 66 &&
          error.message === 'list contains no name; write one name per line',
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
