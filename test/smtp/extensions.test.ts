import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { formatExtensions, offeredMechanisms, parseExtensions, shortenExtensions } from '../../src/smtp/extensions.js'
import { type Reply, ReplyParser } from '../../src/smtp/reply.js'

/** Returns an EHLO reply of these lines, the first of which is the server's name. */
function replyOf(...lines: readonly string[]): Reply {
  const parser = new ReplyParser()
  parser.push(Buffer.from(lines.map((line, i) => `250${i < lines.length - 1 ? '-' : ' '}${line}\r\n`).join('')))
  return parser.next() ?? assert.fail('the reply is incomplete')
}

const extensionsOf = (...lines: readonly string[]): [string, string][] => [...parseExtensions(replyOf('mx', ...lines))]

suite('parseExtensions', () => {
  test('returns keywords in capitals with their parameters', () => {
    assert.deepEqual(extensionsOf('etrn', 'Size 1000', 'AUTH PLAIN  LOGIN'), [
      ['ETRN', ''],
      ['SIZE', '1000'],
      ['AUTH', 'PLAIN  LOGIN'],
    ])
  })
  test('ignores the first line, though it looks like a keyword', () => {
    assert.deepEqual([...parseExtensions(replyOf('ETRN'))], [])
    assert.deepEqual([...parseExtensions(replyOf('ETRN', 'HELP'))], [['HELP', '']])
  })
  test('ignores empty lines', () => assert.deepEqual(extensionsOf('', 'ETRN', ''), [['ETRN', '']]))
  test('joins the parameters of a keyword that is listed twice', () => {
    assert.deepEqual(extensionsOf('AUTH PLAIN', 'ETRN', 'auth LOGIN'), [
      ['AUTH', 'PLAIN LOGIN'],
      ['ETRN', ''],
    ])
  })
  test('keeps the case of what is no keyword', () => {
    assert.deepEqual(extensionsOf('etrn! x', 'é'), [
      ['etrn!', 'x'],
      ['é', ''],
    ])
  })
  test('keeps dots, hyphens, underscores and equals signs in a keyword', () => {
    assert.deepEqual(extensionsOf('x-a.b_c=d e'), [['X-A.B_C=D', 'e']])
  })
  test('takes what formatExtensions returns, for any lines', () => {
    const line = fc.string({ maxLength: 20 }).filter((text) => !/[\r\n]/.test(text))
    fc.assert(
      fc.property(fc.array(line, { maxLength: 6 }), (lines) => {
        const extensions = parseExtensions(replyOf('mx', ...lines))
        const again = parseExtensions(replyOf('mx', ...formatExtensions(extensions)))
        assert.deepEqual(
          [...again],
          [...extensions].filter(([keyword, parameters]) => keyword + parameters !== ''),
        )
      }),
    )
  })
})

suite('shortenExtensions', () => {
  test('returns a copy of a list as real servers have it', () => {
    const extensions = parseExtensions(replyOf('mx', 'SIZE 1000', 'AUTH PLAIN LOGIN', 'ETRN'))
    assert.deepEqual(shortenExtensions(extensions), extensions)
    assert.notEqual(shortenExtensions(extensions), extensions)
  })
  test('replaces by three dots what is beyond 4,096 characters', () => {
    const long = (characters: number): Map<string, string> =>
      new Map([
        ['ETRN', ''],
        ['X', 'x'.repeat(characters)],
      ])
    assert.deepEqual(shortenExtensions(long(4091)), long(4091))
    assert.deepEqual(formatExtensions(shortenExtensions(long(4092))), ['ETRN', '...'])
  })
})

test('formatExtensions returns the lines of the list', () => {
  assert.deepEqual(formatExtensions(parseExtensions(replyOf('mx', 'size  1000', 'ETRN'))), ['SIZE 1000', 'ETRN'])
})

suite('offeredMechanisms', () => {
  for (const [title, lines, mechanisms] of [
    ['returns the mechanisms of AUTH in capitals', ['AUTH plain Login'], ['PLAIN', 'LOGIN']],
    ['returns those of the old form AUTH=', ['AUTH=LOGIN PLAIN'], ['LOGIN', 'PLAIN']],
    ['returns those of both forms', ['AUTH PLAIN', 'AUTH=LOGIN'], ['PLAIN', 'LOGIN']],
    ['returns none without AUTH', ['ETRN', 'XAUTH PLAIN'], []],
    ['returns none for AUTH without mechanisms', ['AUTH'], []],
    ['passes over repeated spaces', ['AUTH PLAIN  LOGIN'], ['PLAIN', 'LOGIN']],
  ] as const) {
    test(title, () => assert.deepEqual(offeredMechanisms(parseExtensions(replyOf('mx', ...lines))), mechanisms))
  }
})
