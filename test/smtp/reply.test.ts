import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import {
  CHALLENGE_LINE_OCTETS,
  formatReply,
  isPermanent,
  isTransient,
  MalformedReplyError,
  type Reply,
  REPLY_LINE_OCTETS,
  REPLY_LINES,
  REPLY_OCTETS,
  ReplyParser,
} from '../../src/smtp/reply.js'
import { anyText } from '../helpers/any-text.js'
import { BYE, HELLO, type Step } from '../helpers/scripted-server.js'
import { measurePeak } from './peak-memory.js'

/** Parses octets that arrive in these pieces. Returns the replies and the number of octets left over. */
function parse(...pieces: readonly (Uint8Array | string)[]): { replies: Reply[]; buffered: number } {
  const parser = new ReplyParser()
  const replies: Reply[] = []
  for (const piece of pieces) {
    parser.push(Buffer.from(piece))
    for (let reply = parser.next(); reply !== undefined; reply = parser.next()) replies.push(reply)
  }
  return { replies, buffered: parser.buffered }
}

function parseOne(octets: Uint8Array | string): Reply {
  const { replies, buffered } = parse(octets)
  assert.equal(replies.length, 1)
  assert.equal(buffered, 0)
  return replies[0] ?? assert.fail()
}

function cutAt(octets: Buffer, places: readonly number[]): Buffer[] {
  const ends = [...places.map((place) => place % (octets.length + 1)), octets.length].sort((a, b) => a - b)
  return ends.map((end, index) => octets.subarray(ends[index - 1] ?? 0, end))
}

const rejects = (octets: Uint8Array | string, message: RegExp): void =>
  assert.throws(
    () => parse(octets),
    (error) => error instanceof MalformedReplyError && message.test(error.message),
  )

const LONG_SESSIONS = 40

function longLine(code: string): Buffer {
  return Buffer.from(`${code}${'x'.repeat(2048 - 6)}\r\n`)
}

suite('a reply (RFC 5321, 4.2)', () => {
  test('of one line has code, lines and text', () => {
    assert.deepEqual(parseOne('250 OK\r\n'), { code: 250, enhancedCode: null, lines: ['OK'], text: 'OK' })
  })
  test('of several lines has their texts joined', () => {
    const reply = parseOne('250-mx.example\r\n250-ETRN\r\n250 HELP\r\n')
    assert.deepEqual(reply.lines, ['mx.example', 'ETRN', 'HELP'])
    assert.equal(reply.text, 'mx.example / ETRN / HELP')
  })
  test('may be a bare code', () => assert.deepEqual(parseOne('250\r\n').lines, ['']))
  test('may have lines that end in a bare LF', () => assert.equal(parseOne('250-a\n250 b\n').text, 'a / b'))
  test('may end in a line without text', () => assert.deepEqual(parseOne('250-a\r\n250 \r\n').lines, ['a', '']))
  test('needs the end of its line', () => assert.deepEqual(parse('250 O'), { replies: [], buffered: 5 }))
  test('needs its last line, and the octets before it stay counted', () => {
    assert.deepEqual(parse('250-one\r\n250-two\r\n'), { replies: [], buffered: 18 })
  })
  test('leaves the octets behind it counted', () => {
    const parser = new ReplyParser()
    parser.push(Buffer.from('250 OK\r\n459 no'))
    assert.equal(parser.next()?.code, 250)
    assert.equal(parser.buffered, 6)
  })
})

suite('an enhanced status code (RFC 2034)', () => {
  test('is taken off the text', () => {
    const reply = parseOne('253 2.0.0 OK, 14 pending messages\r\n')
    assert.equal(reply.enhancedCode, '2.0.0')
    assert.equal(reply.text, 'OK, 14 pending messages')
    assert.deepEqual(reply.lines, ['2.0.0 OK, 14 pending messages'])
  })
  test('is taken off each line', () => assert.equal(parseOne('550-5.7.1 a\r\n550 5.7.1 b\r\n').text, 'a / b'))
  test('may be the whole text', () => assert.equal(parseOne('250 2.0.0\r\n').enhancedCode, '2.0.0'))
  test('of another class than the reply is text', () =>
    assert.equal(parseOne('250 5.7.1 strange\r\n').enhancedCode, null))
  test('is not found in an address', () => assert.equal(parseOne('250 2.0.0.1 hello\r\n').enhancedCode, null))
})

suite('firstThree', () => {
  for (const [title, octets, digits] of [
    ['is the code of the lines so far', '421-a\r\n250', '421'],
    ['is the beginning of a line so far', '421 b', '421'],
    ['is shorter if there are fewer octets', '42', '42'],
    ['is empty after a whole reply', '250 ok\r\n', ''],
  ] as const) {
    test(title, () => {
      const parser = new ReplyParser()
      parser.push(Buffer.from(octets))
      parser.next()
      assert.equal(parser.firstThree, digits)
    })
  }
})

suite('isTransient and isPermanent', () => {
  test('are true for 4xx and for 5xx', () => {
    const codes = [399, 400, 499, 500, 599]
    assert.deepEqual(
      codes.map((code) => isTransient({ code })),
      [false, true, true, false, false],
    )
    assert.deepEqual(
      codes.map((code) => isPermanent({ code })),
      [false, false, false, true, true],
    )
  })
})

suite('formatReply', () => {
  test('joins code, enhanced status code and text', () => {
    assert.equal(formatReply({ code: 459, enhancedCode: '4.7.1', text: 'not your queue' }), '459 4.7.1 not your queue')
    assert.equal(formatReply({ code: 250, enhancedCode: null, text: 'OK' }), '250 OK')
    assert.equal(formatReply({ code: 250, enhancedCode: '2.0.0', text: '' }), '250 2.0.0')
    assert.equal(formatReply({ code: 250, enhancedCode: null, text: '' }), '250')
  })
})

test("a refusal counts that follows the first lines of postscreen's greeting", () => {
  const reply = parseOne('220-mx.example ESMTP\r\n554-5.7.1 no\r\n554 5.7.1 ask\r\n')
  assert.deepEqual([reply.code, reply.enhancedCode, reply.text], [554, '5.7.1', 'no / ask'])
})

suite('a malformed reply is rejected', () => {
  for (const line of [
    '',
    'OK',
    '25 OK',
    '2500 OK',
    '250_OK',
    '250\tOK',
    '099 OK',
    '600 OK',
    '999 OK',
    ' 250 OK',
    '２５０ OK',
  ]) {
    test(`if its line is ${JSON.stringify(line)}`, () => rejects(`${line}\r\n`, /^not an SMTP reply/))
  }
  test('if its lines have different codes', () =>
    rejects('250-OK\r\n459 no\r\n', /^lines with different codes \(250 and 459\)$/))
  test('if a greeting becomes another reply, but no refusal', () => {
    rejects('220-mx\r\n250 OK\r\n', /^lines with different codes \(220 and 250\)$/)
    rejects('220-mx\r\n421-no\r\n521 no\r\n', /^lines with different codes \(421 and 521\)$/)
  })
  test('and quoted in printable text', () => {
    rejects(`\x1b[31mSSH-2.0${'x'.repeat(100)}\r\n`, /^not an SMTP reply \("\\x1b\[31mSSH-2\.0x+"\)$/)
  })
})

suite('the longest', () => {
  const line = (code: string, octets: number): string => `${code} ${'x'.repeat(octets - 6)}\r\n`
  test('line, challenge and reply have these limits', () => {
    const limits = [REPLY_LINE_OCTETS, CHALLENGE_LINE_OCTETS, REPLY_LINES, REPLY_OCTETS]
    assert.deepEqual(limits, [2048, 12_288, 128, 65_536])
  })
  test('line has 2048 octets', () => {
    assert.equal(parseOne(line('250', REPLY_LINE_OCTETS)).text.length, REPLY_LINE_OCTETS - 6)
    rejects(line('250', REPLY_LINE_OCTETS + 1), /more than 2048 octets/)
  })
  test('line without an end has 2048 octets', () => {
    assert.deepEqual(parse('x'.repeat(REPLY_LINE_OCTETS)).replies, [])
    rejects('x'.repeat(REPLY_LINE_OCTETS + 1), /more than 2048 octets/)
  })
  test('challenge has 12288 octets', () => {
    const parser = new ReplyParser()
    parser.push(Buffer.from(line('334', CHALLENGE_LINE_OCTETS) + line('334', CHALLENGE_LINE_OCTETS + 1)))
    assert.equal(parser.next(CHALLENGE_LINE_OCTETS)?.code, 334)
    assert.throws(() => parser.next(CHALLENGE_LINE_OCTETS), /more than 12288 octets/)
  })
  test('reply has 65536 octets', () => {
    const full = `250-${'x'.repeat(REPLY_LINE_OCTETS - 6)}\r\n`.repeat(REPLY_OCTETS / REPLY_LINE_OCTETS - 1)
    assert.equal(parseOne(full + line('250', REPLY_LINE_OCTETS)).code, 250)
    rejects(`${full}250-\r\n${line('250', REPLY_LINE_OCTETS)}`, /more than 65536 octets/)
  })
  test('reply has 128 lines', () => {
    assert.equal(parseOne(`${'250-x\r\n'.repeat(REPLY_LINES - 1)}250 x\r\n`).lines.length, REPLY_LINES)
    rejects(`${'250-x\r\n'.repeat(REPLY_LINES)}250 x\r\n`, /more than 128 lines/)
  })
})

suite('the text of a reply', () => {
  test('is whole at 2048 characters', () => {
    const lines = ['x'.repeat(2000), 'y'.repeat(45)]
    assert.equal(parseOne(`250-${lines[0]}\r\n250 ${lines[1]}\r\n`).text, lines.join(' / '))
  })
  test('is cut to 2048 characters and three dots, while the lines are whole', () => {
    const reply = parseOne(`250-${'x'.repeat(2000)}\r\n250 ${'y'.repeat(46)}\r\n`)
    assert.equal(reply.text, `${'x'.repeat(2000)} / ${'y'.repeat(45)}...`)
    assert.equal(reply.lines[1], 'y'.repeat(46))
  })
  test('of many long replies takes no memory but its own', async (t) => {
    const long = Buffer.concat([...Array.from({ length: 31 }, () => longLine('250-')), longLine('250 ')])
    const names = Array.from({ length: LONG_SESSIONS * 7 }, (_, i) => `n${i}.example`)
    const conversations = Array.from({ length: LONG_SESSIONS }, (_, s) => {
      return [...HELLO, ...names.slice(s * 7, s * 7 + 7).flatMap((name): Step[] => [`C: ETRN ${name}`, long]), ...BYE]
    })
    // The lines of all replies would not fit into the heap, which has 16 MiB.
    const { status, peak } = await measurePeak(t, conversations, ['--json', ...names])
    assert.equal(status, 0)
    t.diagnostic(`${names.length} replies of 65,536 octets: peak RSS ${peak} KiB`)
  })
  test('is printable', () => {
    const octets = Buffer.concat([
      Buffer.from('250 a\0\x1b[2Jb\x7f\r'),
      Buffer.from([0x9b, 0xff]),
      Buffer.from('é\u202e\u0085\r\n'),
    ])
    assert.equal(parseOne(octets).text, 'a\\x00\\x1b[2Jb\\x7f\\x0d\\x9b\\xffé\\u{202e}\\u{85}')
  })
})

suite('ReplyParser, for any octets', () => {
  const text = anyText({ maxLength: 40 }).map((s) => s.replace(/[\r\n]/g, ''))
  const reply = fc
    .record({
      code: fc.integer({ min: 100, max: 599 }),
      lines: fc.array(text, { minLength: 1, maxLength: 5 }),
      end: fc.constantFrom('\r\n', '\n'),
    })
    .map(({ code, lines, end }) => lines.map((l, i) => `${code}${i < lines.length - 1 ? '-' : ' '}${l}${end}`).join(''))
  const places = fc.array(fc.nat(), { maxLength: 12 })

  test('returns the same replies however the octets are cut', () => {
    fc.assert(
      fc.property(fc.array(reply, { maxLength: 4 }), fc.string(), places, (replies, rest, where) => {
        const octets = Buffer.from(replies.join('') + rest.replaceAll('\n', ''))
        const whole = parse(octets)
        assert.equal(whole.replies.length, replies.length)
        assert.deepEqual(parse(...cutAt(octets, where)), whole)
        assert.deepEqual(parse(...[...octets].map((octet) => Buffer.of(octet))), whole)
      }),
    )
  })
  test('returns replies or throws a MalformedReplyError, in printable text', () => {
    const octets = fc.oneof(
      fc.uint8Array({ maxLength: 400 }),
      anyText().map((s) => Buffer.from(`250 ${s}\r\n`)),
    )
    fc.assert(
      fc.property(octets, (raw) => {
        try {
          for (const { code, text: shown, lines } of parse(raw).replies) {
            assert.ok(code >= 100 && code <= 599 && lines.length <= REPLY_LINES)
            assert.match(shown, /^[^\p{C}\p{Zl}\p{Zp}]*$/u)
          }
        } catch (error) {
          assert.ok(error instanceof MalformedReplyError)
          assert.match(error.message, /^[^\p{C}\p{Zl}\p{Zp}]*$/u)
        }
      }),
    )
  })
})
