import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { UsageError } from '../../src/errors.js'
import { parseNodeName } from '../../src/input/node-name.js'

const STRICT = { allowWide: false }
const WIDE = { allowWide: true }

const testSent = (word: string, sent: string, rules = STRICT): void =>
  void test(`${JSON.stringify(word.slice(0, 60))} is sent as ${JSON.stringify(sent.slice(0, 60))}${rules.allowWide ? ' with --allow-wide' : ''}`, async () =>
    assert.equal(await parseNodeName(word, rules), sent))
const testRejected = (word: string, rule: RegExp, rules = STRICT): void =>
  void test(`${JSON.stringify(word.slice(0, 60))} is rejected${rules.allowWide ? ' with --allow-wide' : ''}`, async () => {
    await assert.rejects(parseNodeName(word, rules), (error) => {
      assert.ok(error instanceof UsageError)
      assert.equal(error.exitStatus, 64)
      assert.match(error.message, rule)
      assert.match(error.message, /^name "/)
      return true
    })
  })

const LABEL_63 = 'a'.repeat(63)
const DOMAIN_253 = [LABEL_63, LABEL_63, LABEL_63, 'a'.repeat(61)].join('.')

suite('a node name', () => {
  testSent('site.example', 'site.example')
  testSent('SITE.Example', 'SITE.Example')
  testSent('site.example.', 'site.example')
  testSent('a-1.b--2.example', 'a-1.b--2.example')
  testSent('4.site4.example', '4.site4.example')
  testSent(`${LABEL_63}.example`, `${LABEL_63}.example`)
  testSent(DOMAIN_253, DOMAIN_253)
  testSent('bücher.example', 'xn--bcher-kva.example')
  testSent('bücher。example', 'xn--bcher-kva.example')
  testSent('xn--bcher-kva.example', 'xn--bcher-kva.example')
  testSent('XN--Bcher-KVA.example', 'XN--Bcher-KVA.example')
  testSent('r3---sn.example', 'r3---sn.example')
  testSent('under_score.bücher.example', 'under_score.xn--bcher-kva.example', WIDE)
  testSent('xn--a.example', 'xn--a.example', WIDE)
  testRejected('é/evil.example', /the label "é\/evil" has other characters than letters, digits and hyphens$/)
  testRejected('é%41.example', /has other characters/)
  testRejected('é_.example', /has other characters/, WIDE)
  testRejected('ａé.example', /the label "ａé" is not valid in an internationalised name/)
  testRejected('-é.example', /begins or ends with a hyphen/)
  testRejected('xn--a.example', /the label "xn--a" starts with xn--, but is no A-label/)
  testRejected('é。xn--abc', /starts with xn--/)
  testRejected('１９２。０。２。１', /not valid in an internationalised name/)
  testRejected('192。0。2。1', /last label is a number/, WIDE)
  testRejected(`${'é'.repeat(60)}.example`, /has more than 63 characters/)
  testRejected('', /no domain name/)
  testRejected('.', /no domain name/)
  testRejected('localname', /not fully qualified/)
  testSent('localname', 'localname', WIDE)
  testRejected('1.2.3', /last label is a number$/)
  testRejected('192.0.2.1', /last label is a number; an address can be the server, which comes first$/)
  testRejected('[192.0.2.1]', /other characters/)
  testRejected('a..example', /empty label/)
  testRejected('.site.example', /empty label/)
  testRejected('site.example..', /empty label/)
  testRejected(`a${LABEL_63}.example`, /more than 63/)
  testRejected(`a${DOMAIN_253}`, /more than 63|at most 253/)
  testRejected(`b.${DOMAIN_253}`, /at most 253/)
  testRejected('-site.example', /hyphen/)
  testRejected('site-.example', /hyphen/)
  testRejected('under_score.example', /other characters/)
  testRejected('<site.example>', /other characters/)
  testRejected('%41.com', /other characters/)
  testRejected('１２７.example', /internationalised/)
  testRejected('a.example,b.example', /^name "a\.example,b\.example": names are separated by blanks$/)
  testRejected('a.example;b.example', /: names are separated by blanks$/)
  testRejected('*.site.example', /@site\.example means it and its subdomains$/)
  testRejected('mail.example:25', /the server comes first/)
  testRejected('user@site.example', /an address's domain is what stands behind its @$/)
  testRejected('localname.', /not fully qualified/)
  testRejected('x_'.repeat(50), /^name "(x_){40}"\.\.\.: the label "(x_){40}"\.\.\. has more than 63 characters$/)
  testRejected('\ufffd.example', /internationalised/)
})

suite('a name with an invisible or control character', () => {
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
    testRejected(`${bad}.example`, /a space in it|control or invisible character in it \(U\+/)
    testRejected(`#${bad}`, /a space in it|control or invisible/, WIDE)
    testRejected(`@${bad}.example`, /a space in it|control or invisible/, WIDE)
  }
})

suite('a subdomains name', () => {
  testSent('@site.example', '@site.example')
  testSent('@bücher.example.', '@xn--bcher-kva.example')
  testRejected('@', /no domain name/)
  testRejected('@@site.example', /other characters/)
  testRejected('@com', /not fully qualified/)
  testSent('@com', '@com', WIDE)
  testRejected('@co.uk', /public suffix/)
  testRejected('@CO.UK', /public suffix/)
  testRejected('@github.io', /public suffix/)
  testSent('@co.uk', '@co.uk', WIDE)
  testSent('@site.co.uk', '@site.co.uk')
})

suite('a queue name', () => {
  testSent('#uucp', '#uucp')
  testSent('#Q', '#Q')
  testSent('##', '##')
  testSent(`#${'q'.repeat(504)}`, `#${'q'.repeat(504)}`)
  testRejected(`#${'q'.repeat(505)}`, /at most 504/)
  testRejected('#', /name is missing/)
  testRejected('#é', /printable ASCII/)
  testRejected('# a comment', /a space in it; # begins a queue's name, not a comment$/)
})

test('any name that is accepted fits in one command line of ASCII', async () => {
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
