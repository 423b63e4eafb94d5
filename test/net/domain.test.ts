import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import {
  endsInNumber,
  isAscii,
  isHostName,
  isLabel,
  isQualifiedDomain,
  toALabel,
  toALabels,
  trimDot,
} from '../../src/net/domain.js'

const LABEL_63 = 'a'.repeat(63)
const DOMAIN_253 = [LABEL_63, LABEL_63, LABEL_63, 'a'.repeat(61)].join('.')

function holds(
  name: string,
  predicate: (word: string) => boolean,
  words: { readonly yes: readonly string[]; readonly no: readonly string[] },
): void {
  suite(name, () => {
    for (const expected of [true, false]) {
      for (const word of expected ? words.yes : words.no)
        test(`is ${expected} for ${JSON.stringify(word.slice(0, 70))} (${word.length} characters)`, () =>
          assert.equal(predicate(word), expected))
    }
  })
}

holds('isLabel', isLabel, {
  yes: ['a', '1', 'a-1', 'a--b', 'A', 'xn--bcher-kva', LABEL_63],
  no: ['', '-', '-a', 'a-', 'a_b', 'a.b', 'bücher', 'a b', 'a\n', `a${LABEL_63}`],
})
holds('isHostName', isHostName, {
  yes: [
    'mail',
    'mail.example',
    'mail_1.example',
    'r3---sn.example',
    '_mail.example',
    'mail_.example',
    '1.example',
    'xn--bcher-kva.example',
    DOMAIN_253,
    LABEL_63,
  ],
  no: [
    '',
    '-mail',
    'mail-',
    'a..b',
    'mail.',
    '192.0.2.1',
    'mail.1',
    'bücher.example',
    'xn--a.example',
    `a${LABEL_63}.x`,
    `a.${DOMAIN_253}`,
  ],
})
holds('isQualifiedDomain', isQualifiedDomain, {
  yes: ['site.example', 'site.example.', 'bücher.example', 'bücher。example', 'a.b', DOMAIN_253],
  no: [
    '',
    'site',
    'site.',
    'site.1',
    '192.0.2.1',
    'a_b.example',
    'a..b',
    '.example',
    '１２７.example',
    'xn--a.example',
    `a.${DOMAIN_253}`,
  ],
})
holds('endsInNumber', endsInNumber, {
  yes: ['1', '192.0.2.1', 'a.123'],
  no: ['', 'a1', 'a.b1', '1.a', 'a.1.'],
})
holds('isAscii', isAscii, { yes: ['', 'a', '\x7f'], no: ['é', '\x80', '。'] })

suite('trimDot', () => {
  for (const [name, trimmed] of [
    ['site.example.', 'site.example'],
    ['site.example', 'site.example'],
    ['site.example..', 'site.example.'],
    ['site.example。', 'site.example'],
    ['site.example．', 'site.example'],
    ['site.example｡', 'site.example'],
    ['.', ''],
  ] as const) {
    test(`makes ${JSON.stringify(trimmed)} of ${name}`, () => assert.equal(trimDot(name), trimmed))
  }
})

suite('toALabels', () => {
  for (const [name, labels] of [
    ['site.example', 'site.example'],
    ['SITE_1..', 'SITE_1..'],
    ['Bücher.Example', 'xn--bcher-kva.Example'],
    ['bücher。example', 'xn--bcher-kva.example'],
    ['bücher．example', 'xn--bcher-kva.example'],
    ['bücher｡example', 'xn--bcher-kva.example'],
    ['bücher.a_b', 'xn--bcher-kva.a_b'],
    ['bücher..example', 'xn--bcher-kva..example'],
    ['é.xn--a', undefined],
    ['\ufffd.example', undefined],
    ['１２７.例', undefined],
  ] as const) {
    test(`is ${labels} for ${name}`, () => assert.equal(toALabels(name), labels))
  }
})

suite('toALabel', () => {
  for (const [label, sent] of [
    ['site', 'site'],
    ['under_score', 'under_score'],
    ['r3---sn', 'r3---sn'],
    ['É', 'xn--9ca'],
    ['e\u0301', 'xn--9ca'],
    ['faß', 'xn--fa-hia'],
    ['σας', 'xn--mxa8ab'],
    ['l·l', 'xn--ll-0ea'],
    ['نامه\u200cای', 'xn--mgba3gch31f060k'],
    ['日本語', 'xn--wgv71a119e'],
    ['xn--bcher-kva', 'xn--bcher-kva'],
    ['XN--Bcher-KVA', 'XN--Bcher-KVA'],
    ['xn--ls8h', 'xn--ls8h'],
    ['xn--zca', 'xn--zca'],
  ] as const)
    test(`is ${sent} for ${label}`, () => assert.equal(toALabel(label), sent))
  test('keeps its result', () => {
    for (const label of ['É', 'faß', '日本語', '💩', 'نامه\u200cای']) {
      const sent = toALabel(label) ?? assert.fail(label)
      assert.equal(toALabel(sent), sent)
    }
  })
  for (const label of [
    ...['é/evil', 'é?x', 'é\\x', 'é%41', 'é%2f', 'é#', 'é:25', 'é@b', 'u@é', '[é]', 'é<', 'é>', 'é^', 'é|', 'é_', 'é*'],
    ...['é\t', 'é\n', 'é\r', 'é ', 'é\0', 'é\u00ad', 'é\u200b', 'é\u2060', '❤\ufe0f', 'é\u200d', '\u00ad'],
    ...[
      'ａé',
      'é％41',
      'é／',
      'é？',
      '１２７',
      '①é',
      '℡é',
      'é․x',
      '\u212aelvin',
      'ſite',
      '𝐚é',
      'ΣΑΣ',
      '-é',
      'é-',
      'xn--é',
    ],
    ...['\u0301a', 'é\ufffd', 'é\ud800'],
    ...['xn--', 'xn--a', 'xn--abc', 'xn--abc-', 'xn--ASCII-', 'xn--0', 'xn--99999999', 'xn--u-ccb', 'xn--1ug'],
    ...['xn--xn--a--gua', 'XN--A', 'xn---'],
  ])
    test(`is undefined for ${JSON.stringify(label)}`, () => assert.equal(toALabel(label), undefined))
  for (const label of ['漢', '\u0301', 'xn--a'])
    test(`is undefined at once for a million of ${label}`, () =>
      assert.equal(toALabel(`a${label.repeat(1_000_000)}`), undefined))
})
