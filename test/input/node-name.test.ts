import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { UsageError } from '../../src/errors.js'
import { parseNodeName } from '../../src/input/node-name.js'
import { anyText } from '../helpers/any-text.js'

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
  testRejected('é/evil.example', / contains "\/"; a name can contain only letters, digits, hyphens and dots$/)
  testRejected('é%41.example', /can contain only letters, digits, hyphens and dots/)
  testRejected('é_.example', /can contain only letters, digits, hyphens and dots/, WIDE)
  testRejected(
    'ａé.example',
    / has a label that is not valid in an internationalised name: "ａé"; check the characters, or write the xn-- form$/,
  )
  testRejected('-é.example', / has a label that begins or ends with a hyphen: "-é"$/)
  testRejected(
    'xn--a.example',
    / starts with xn-- but is not valid Punycode: "xn--a" \(--allow-wide sends the name unchanged\)$/,
  )
  testRejected('é。xn--abc', /starts with xn--/)
  testRejected('１９２。０。２。１', /not valid in an internationalised name/)
  testRejected('192。0。2。1', /is an IP address, not a name/, WIDE)
  testRejected(`${'é'.repeat(60)}.example`, / has a label of more than 63 characters: /)
  testRejected('', /^name "" is empty; write, for example, site\.example$/)
  testRejected('.', /is empty/)
  testRejected(
    'localname',
    /^name "localname" is not fully qualified; write, for example, localname\.example \(if your provider told you to send localname itself: --allow-wide; to send #localname: --queue localname\)$/,
  )
  testRejected(
    'bücher',
    /for example, bücher\.example \(if your provider told you to send bücher itself: --allow-wide\)$/,
  )
  testSent('localname', 'localname', WIDE)
  testRejected('1.2.3', / is not a domain name, because the last label is a number$/)
  testRejected('192.0.2.1', / is an IP address, not a name; the server comes first: etrn 192\.0\.2\.1 NAME$/)
  testRejected('[192.0.2.1]', / is an IP address, not a name; the server comes first: etrn 192\.0\.2\.1 NAME$/)
  testRejected('a..example', / has an empty label: two dots in a row, or a dot at the start$/)
  testRejected('.site.example', /empty label/)
  testRejected('site.example..', /empty label/)
  testRejected(`a${LABEL_63}.example`, /more than 63/)
  testRejected(`a${DOMAIN_253}`, /more than 63|at most 253/)
  testRejected(`b.${DOMAIN_253}`, /at most 253/)
  testRejected('-site.example', /hyphen/)
  testRejected('site-.example', /hyphen/)
  testRejected(
    'under_score.example',
    / has a label with an underscore: "under_score" \(--allow-wide sends the name unchanged\)$/,
  )
  testRejected('<site.example>', /can contain only letters, digits, hyphens and dots/)
  testRejected('%41.com', /can contain only letters, digits, hyphens and dots/)
  testRejected('１２７.example', /internationalised/)
  testRejected(
    'a.example,b.example',
    /^name "a\.example,b\.example" contains a comma; write each name separately: a\.example b\.example$/,
  )
  testRejected('a.example;b.example', / contains a semicolon; write each name separately: a\.example b\.example$/)
  testRejected('*.site.example', / contains a wildcard; write @site\.example for the domain and its subdomains$/)
  testRejected(
    'mail.example:25',
    / looks like a server; the server comes first: etrn mail\.example:25 NAME \(separate several servers with commas\)$/,
  )
  testRejected('u:s3cret', /^name "u:\*{4}" looks like a server; the server comes first: etrn SERVER NAME /)
  testRejected('x,u:s3cret@h', /^(?!.*s3cret)/)
  testRejected('*.u:s3cret', /^(?!.*s3cret)/)
  testRejected('user@site.example', / is an e-mail address; write only the domain: site\.example$/)
  testRejected('localname.', /not fully qualified/)
  testRejected('x_'.repeat(50), /^name "(x_){40}"\.\.\. has a label of more than 63 characters: "(x_){40}"\.\.\.$/)
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
    testRejected(`${bad}.example`, /contains a (?:space|tab|control or invisible character \(U\+)/)
    testRejected(`#${bad}`, /contains a (?:space|tab|control or invisible)/, WIDE)
    testRejected(`@${bad}.example`, /contains a (?:space|tab|control or invisible)/, WIDE)
  }
})

suite('a subdomains name', () => {
  testSent('@site.example', '@site.example')
  testSent('@bücher.example.', '@xn--bcher-kva.example')
  testRejected('@', / has no domain after @; write, for example, @site\.example$/)
  testRejected('@@site.example', /can contain only letters, digits, hyphens and dots/)
  testRejected(
    '@com',
    /^name "@com" is too wide: it means every domain under com; write, for example, @site\.example \(--allow-wide sends the name unchanged\)$/,
  )
  testRejected('@localname', /is too wide: it means every domain under localname/)
  testSent('@com', '@com', WIDE)
  testRejected('@co.uk', /is too wide: it means every domain under co\.uk/)
  testRejected('@CO.UK', /is too wide/)
  testRejected('@github.io', /is too wide/)
  testSent('@co.uk', '@co.uk', WIDE)
  testSent('@site.co.uk', '@site.co.uk')
})

suite('a queue name', () => {
  testSent('#uucp', '#uucp')
  testSent('#Q', '#Q')
  testSent('##', '##')
  testSent(`#${'q'.repeat(504)}`, `#${'q'.repeat(504)}`)
  testRejected(`#${'q'.repeat(505)}`, /at most 504/)
  testRejected('#', / has no queue name after #/)
  testRejected('#é', / contains characters that are not ASCII; a queue name consists of printable ASCII characters$/)
  testRejected('# a comment', / contains a space; # starts a queue name, not a comment$/)
})

test('any name that is accepted fits in one command line of ASCII', async () => {
  const word = fc.oneof(
    anyText({ maxLength: 600 }),
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
