import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import {
  brokenSendableRule,
  joinChoices,
  oneOf,
  parseCommandArgument,
  parseCount,
  parseDomain,
  parseDuration,
  parseFingerprint,
  parseHelo,
  parseHost,
  parseLocalEnd,
  parsePort,
  parseQueue,
  parseSendable,
  parseSubdomains,
  parseText,
} from '../../src/input/option-values.js'

const LABEL_63 = 'a'.repeat(63)
const DOMAIN_253 = [LABEL_63, LABEL_63, LABEL_63, 'a'.repeat(61)].join('.')
const DIGITS = 'AB'.repeat(32)

function testValues<T>(
  parse: (word: unknown) => T,
  accepted: readonly (readonly [word: string, value: T])[],
  rejected: readonly unknown[],
  rule: RegExp,
): void {
  suite(parse.name, () => {
    for (const [word, value] of accepted)
      test(`returns ${JSON.stringify(value).slice(0, 70)} for ${JSON.stringify(word).slice(0, 70)}`, () =>
        assert.deepEqual(parse(word), value))
    for (const word of rejected)
      test(`throws for ${JSON.stringify(word).slice(0, 70)}`, () => assert.throws(() => parse(word), rule))
    test('throws for no text and for an empty one', () => {
      for (const word of [undefined, 1, true, null]) assert.throws(() => parse(word), /^Error: must be a string$/)
      assert.throws(() => parse(''), /^Error: is empty$/)
    })
  })
}

testValues(
  parseDuration,
  [
    ['1', 1000],
    ['90', 90_000],
    ['90s', 90_000],
    ['2m', 120_000],
    ['1h30m', 5_400_000],
    ['1h1m1s', 3_661_000],
    ['576h', 2_073_600_000],
    ['2073600', 2_073_600_000],
  ],
  [
    '0',
    '0s',
    '0h0m',
    '577h',
    '2073601',
    '-1',
    '1.5',
    '1d',
    '1s1m',
    's',
    '1 m',
    '1000h',
    '12345678',
    '1h30x',
    '1.5s',
    '-5',
    '5 s',
    '1m1h',
    '1e3',
    '25000h',
    '10000000',
  ],
  /^Error: must be a duration from 1s to 576h \(for example 90, 90s, 2m or 1h30m\)$/,
)
testValues(
  parsePort,
  [
    ['1', 1],
    ['65535', 65_535],
    ['00025', 25],
  ],
  ['0', '65536', '-1', '2.5', 'smtp', '000025', ' 25'],
  /^Error: must be a number from 1 to 65535$/,
)
testValues(
  parseCount,
  [
    ['1', 1],
    ['9999', 9999],
  ],
  ['0', '10000', '-1', '1e3', 'x'],
  /^Error: must be a number from 1 to 9999$/,
)
testValues(
  parseFingerprint,
  [
    [DIGITS, DIGITS],
    [DIGITS.toLowerCase(), DIGITS],
    [DIGITS.replace(/..(?!$)/g, '$&:'), DIGITS],
    [`sha256 Fingerprint=${DIGITS}`, DIGITS],
    [`SHA256:${DIGITS}`, DIGITS],
  ],
  [DIGITS.slice(1), `${DIGITS}A`, `${DIGITS.slice(1)}G`, `md5:${DIGITS}`],
  /^Error: must be a SHA-256 fingerprint: 64 hex digits, with or without colons$/,
)
testValues(parseText, [['x', 'x']], ['a\ufffdb', 'a\ud800b', '\udc00'], /^Error: is not UTF-8$/)
testValues(
  parseCommandArgument,
  [
    ['gw.site.example', 'gw.site.example'],
    ['x'.repeat(253), 'x'.repeat(253)],
  ],
  ['a b', 'a\0b', 'bücher.example', 'x'.repeat(254)],
  /^Error: (contains a space|contains a control or invisible|contains characters that are not ASCII|has more than 253)/,
)
testValues(parseSendable, [['bücher', 'bücher']], ['a b', 'a\r\nb', 'a\u200bb'], /^Error: contains a (space|control)/)
testValues(
  parseDomain,
  [
    ['Site.Example.', 'site.example'],
    ['bücher.example', 'xn--bcher-kva.example'],
    [DOMAIN_253, DOMAIN_253],
  ],
  ['site', '192.0.2.1', 'a..b', 'a_b.example', '１２７.example', '192。0。2。1', 'é/x.example', 'xn--a.example'],
  /^Error: (is not a fully qualified domain|is not a valid internationalised name|has a label that starts with xn--)/,
)
testValues(
  parseHost,
  [
    ['Mail.Example.', 'Mail.Example'],
    ['localhost', 'localhost'],
    ['192.0.2.1', '192.0.2.1'],
    ['2001:db8::1', '2001:db8::1'],
    ['[2001:db8::1]', '2001:db8::1'],
    ['bücher.example', 'xn--bcher-kva.example'],
  ],
  ['mail', 'a..b', '192.0.2.256', '[192.0.2.1]', 'é%41.example', 'xn--a.example', 'a b.example', 'é\u00adx.example'],
  /^Error: (is neither a fully|is not a valid internationalised|has a label that starts with xn--|contains a space|contains a control)/,
)
testValues(
  parseLocalEnd,
  [
    ['ppp0', 'ppp0'],
    ['192.0.2.1', '192.0.2.1'],
    ['[2001:db8::1]', '2001:db8::1'],
    ['[x]', '[x]'],
  ],
  ['a b', 'é'],
  /^Error: contains (?:a space|characters that are not ASCII)/,
)
testValues(
  parseHelo,
  [
    ['gw.site.example', 'gw.site.example'],
    ['bücher.example', 'xn--bcher-kva.example'],
    ['[192.0.2.1]', '[192.0.2.1]'],
    ['[IPv6:2001:db8::1]', '[IPv6:2001:db8::1]'],
    ['under_score', 'under_score'],
  ],
  ['a b', 'é/x.example', 'xn--a.example', 'x'.repeat(254)],
  /^Error: (contains a space|is not a valid internationalised|has a label that starts with xn--|has more than 253)/,
)
testValues(
  parseSubdomains,
  [
    ['site.example', 'site.example'],
    ['com', 'com'],
  ],
  ['@site.example', 'a.example,b.example', 'a.example;b.example'],
  /^Error: (must not start with @|contains several names)$/,
)
testValues(
  parseQueue,
  [
    ['uucp', 'uucp'],
    ['a,b', 'a,b'],
  ],
  ['#uucp', ' x', '\tx'],
  /^Error: must not start with (?:#|a space)$/,
)
test('oneOf returns a word of the choice and throws for any other', () => {
  assert.equal(oneOf('none', 'may')('may'), 'may')
  assert.throws(() => oneOf('none', 'may', 'verify')('MAY'), /^Error: must be none, may or verify$/)
})
test('joinChoices lists words as a sentence does', () =>
  assert.deepEqual(
    [[], ['a'], ['a', 'b'], ['a', 'b', 'c']].map((words) => joinChoices(words)),
    ['', 'a', 'a or b', 'a, b or c'],
  ))

suite('brokenSendableRule', () => {
  for (const [word, rule] of [
    ['site.example', undefined],
    ['', undefined],
    ['é', undefined],
    ['a b', 'contains a space'],
    ['a\u00a0b', 'contains a control or invisible character (U+00A0)'],
    ['a\tb', 'contains a tab'],
    ['a\u00adb', 'contains a control or invisible character (U+00AD)'],
    ['a\u{e0041}b', 'contains a control or invisible character (U+E0041)'],
    ['a\u3164b', 'contains a control or invisible character (U+3164)'],
  ] as const) {
    test(`is ${rule ?? 'undefined'} for ${JSON.stringify(word)}`, () => assert.equal(brokenSendableRule(word), rule))
  }
})
