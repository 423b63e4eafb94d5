import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { UsageError } from '../../src/errors.js'
import { parseNamesFile, removeDuplicates } from '../../src/input/names-file.js'
import { parseNodeName } from '../../src/input/node-name.js'

const STRICT = { allowWide: false }
const WIDE = { allowWide: true }

const passes = (word: string, sent: string, rules = STRICT): void =>
  void test(`${JSON.stringify(word.slice(0, 60))} is sent`, async () =>
    assert.equal(await parseNodeName(word, rules), sent))
const fails = (word: string, rule: RegExp, rules = STRICT): void =>
  void test(`${JSON.stringify(word.slice(0, 60))} is refused`, async () => {
    await assert.rejects(parseNodeName(word, rules), (error) => {
      assert.ok(error instanceof UsageError)
      assert.equal(error.exitStatus, 64)
      assert.match(error.message, rule)
      assert.match(error.message, /^name "/)
      return true
    })
  })

const label63 = 'a'.repeat(63)
const name253 = [label63, label63, label63, 'a'.repeat(61)].join('.')

suite('nodes', () => {
  passes('site.example', 'site.example')
  passes('SITE.Example', 'SITE.Example')
  passes('site.example.', 'site.example')
  passes('a-1.b--2.example', 'a-1.b--2.example')
  passes('4.site4.example', '4.site4.example')
  passes(`${label63}.example`, `${label63}.example`)
  passes(name253, name253)
  passes('bücher.example', 'xn--bcher-kva.example')
  passes('bücher。example', 'xn--bcher-kva.example')
  passes('xn--bcher-kva.example', 'xn--bcher-kva.example')
  fails('', /no domain name/)
  fails('.', /no domain name/)
  fails('localname', /not fully qualified/)
  passes('localname', 'localname', WIDE)
  fails('1.2.3', /last label is a number/)
  fails('192.0.2.1', /last label is a number/)
  fails('[192.0.2.1]', /other characters/)
  fails('a..example', /empty label/)
  fails('.site.example', /empty label/)
  fails('site.example..', /empty label/)
  fails(`a${label63}.example`, /more than 63/)
  fails(`a${name253}`, /more than 63|at most 253/)
  fails(`b.${name253}`, /at most 253/)
  fails('-site.example', /hyphen/)
  fails('site-.example', /hyphen/)
  fails('under_score.example', /other characters/)
  fails('<site.example>', /other characters/)
  fails('%41.com', /other characters/)
  fails('１２７.example', /internationalised/)
  fails('\ufffd.example', /internationalised/)
})

suite('what could end the line or hide in it', () => {
  for (const bad of [
    'a b',
    'a\r\nQUIT',
    'a\nb',
    'a\0b',
    'a\tb',
    '\x1b[31m',
    'a\u200bb',
    'a\u202eb',
    'a\u00adb',
    'a\u00a0b',
    'a\x85b',
  ]) {
    fails(`${bad}.example`, /a space in it|control or invisible character in it \(U\+/)
    fails(`#${bad}`, /a space in it|control or invisible/, WIDE)
    fails(`@${bad}.example`, /a space in it|control or invisible/, WIDE)
  }
})

suite('subdomains', () => {
  passes('@site.example', '@site.example')
  passes('@bücher.example.', '@xn--bcher-kva.example')
  fails('@', /no domain name/)
  fails('@@site.example', /other characters/)
  fails('@com', /not fully qualified/)
  passes('@com', '@com', WIDE)
  fails('@co.uk', /public suffix/)
  fails('@CO.UK', /public suffix/)
  fails('@github.io', /public suffix/)
  passes('@co.uk', '@co.uk', WIDE)
  passes('@site.co.uk', '@site.co.uk')
})

suite('queues', () => {
  passes('#uucp', '#uucp')
  passes('#Q', '#Q')
  passes('##', '##')
  passes(`#${'q'.repeat(504)}`, `#${'q'.repeat(504)}`)
  fails(`#${'q'.repeat(505)}`, /at most 504/)
  fails('#', /name is missing/)
  fails('#é', /printable ASCII/)
})

suite('a list', () => {
  test('CR, a BOM and outer blanks are dropped, blank lines skipped; # begins a queue', async () => {
    assert.deepEqual(await parseNamesFile('\ufeffsite.example\r\n\r\n \t#uucp \n\n@a.example', 'x', STRICT), [
      'site.example',
      '#uucp',
      '@a.example',
    ])
  })
  test('a bad line keeps its place and its number', async () => {
    const [first, bad, last] = await parseNamesFile('a.example\n\nb c\nd.example\n', 'x', STRICT)
    assert.deepEqual([first, last], ['a.example', 'd.example'])
    assert.deepEqual(bad, { line: 3, word: 'b c', reason: 'a space in it; one name is one word' })
  })
  test('a list without a name is an error', async () => {
    for (const text of ['', '\n', ' \r\n\t\n', '\ufeff']) {
      await assert.rejects(
        parseNamesFile(text, 'list', STRICT),
        (e) => e instanceof UsageError && e.exitStatus === 66 && e.message.startsWith('list: '),
      )
    }
  })
  test('duplicates are sent once, the order is kept', async () => {
    const list = await parseNamesFile('b.example\na.example\nB.Example.\n#q\n#Q\n@a.example\n#q\n', 'x', STRICT)
    assert.deepEqual(removeDuplicates(list), ['b.example', 'a.example', '#q', '#Q', '@a.example'])
  })
})

test('whatever is let through fits in one command line of ASCII', async () => {
  const word = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 600 }),
    fc.domain(),
    fc.domain().map((d) => `@${d}`),
    fc.string({ maxLength: 600 }).map((s) => `#${s}`),
  )
  await fc.assert(
    fc.asyncProperty(word, fc.boolean(), async (w, allowWide) => {
      const name = await parseNodeName(w, { allowWide }).catch((error: unknown) => {
        assert.ok(error instanceof UsageError)
        return undefined
      })
      if (name === undefined) return
      assert.match(name, /^[\x21-\x7e]+$/)
      assert.ok(`ETRN ${name}\r\n`.length <= 512)
      assert.equal(await parseNodeName(name, { allowWide }), name)
    }),
    { numRuns: 1000 },
  )
})
