import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import {
  CHALLENGE_LINE_OCTETS,
  MalformedReplyError,
  type Reply,
  REPLY_LINE_OCTETS,
  REPLY_LINES,
  ReplyParser,
} from '../../src/smtp/reply.js'

/** The replies that octets give, cut into these pieces, and what is left over. */
function parse(...pieces: readonly (Uint8Array | string)[]): { replies: Reply[]; buffered: number } {
  const parser = new ReplyParser()
  const replies: Reply[] = []
  for (const piece of pieces) {
    parser.push(Buffer.from(piece))
    for (let reply = parser.next(); reply !== undefined; reply = parser.next()) replies.push(reply)
  }
  return { replies, buffered: parser.buffered }
}

function one(octets: Uint8Array | string): Reply {
  const { replies, buffered } = parse(octets)
  assert.equal(replies.length, 1)
  assert.equal(buffered, 0)
  return replies[0] ?? assert.fail()
}

function cut(octets: Buffer, places: readonly number[]): Buffer[] {
  const ends = [...places.map((place) => place % (octets.length + 1)), octets.length].sort((a, b) => a - b)
  return ends.map((end, index) => octets.subarray(ends[index - 1] ?? 0, end))
}

const refused = (octets: Uint8Array | string, message: RegExp): void =>
  assert.throws(
    () => parse(octets),
    (error) => error instanceof MalformedReplyError && message.test(error.message),
  )

suite('the forms of a reply (RFC 5321, 4.2)', () => {
  test('one line', () => {
    assert.deepEqual(one('250 OK\r\n'), { code: 250, enhancedCode: null, lines: ['OK'], text: 'OK' })
  })
  test('several lines', () => {
    const reply = one('250-mx.example\r\n250-ETRN\r\n250 HELP\r\n')
    assert.deepEqual(reply.lines, ['mx.example', 'ETRN', 'HELP'])
    assert.equal(reply.text, 'mx.example / ETRN / HELP')
  })
  test('a bare code is a reply', () => assert.deepEqual(one('250\r\n').lines, ['']))
  test('a bare LF ends a line', () => assert.equal(one('250-a\n250 b\n').text, 'a / b'))
  test('a last line may have no text', () => assert.deepEqual(one('250-a\r\n250 \r\n').lines, ['a', '']))
  test('half a line is no reply', () => assert.deepEqual(parse('250 O'), { replies: [], buffered: 5 }))
  test('nor is half a reply, whose octets stay counted', () => {
    assert.deepEqual(parse('250-one\r\n250-two\r\n'), { replies: [], buffered: 18 })
  })
  test('what comes behind a reply is seen', () => {
    const parser = new ReplyParser()
    parser.push(Buffer.from('250 OK\r\n459 no'))
    assert.equal(parser.next()?.code, 250)
    assert.equal(parser.buffered, 6)
  })
})

suite('enhanced status codes (RFC 2034)', () => {
  test('are taken off the text', () => {
    const reply = one('253 2.0.0 OK, 14 pending messages\r\n')
    assert.equal(reply.enhancedCode, '2.0.0')
    assert.equal(reply.text, 'OK, 14 pending messages')
    assert.deepEqual(reply.lines, ['2.0.0 OK, 14 pending messages'])
  })
  test('of each line', () => assert.equal(one('550-5.7.1 a\r\n550 5.7.1 b\r\n').text, 'a / b'))
  test('may be all there is', () => assert.equal(one('250 2.0.0\r\n').enhancedCode, '2.0.0'))
  test('of another class are text', () => assert.equal(one('250 5.7.1 strange\r\n').enhancedCode, null))
  test('an address is none', () => assert.equal(one('250 2.0.0.1 hello\r\n').enhancedCode, null))
})

suite('what is no reply', () => {
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
    test(JSON.stringify(line), () => refused(`${line}\r\n`, /^not an SMTP reply/))
  }
  test('lines of different codes', () => refused('250-OK\r\n459 no\r\n', /different codes, 250 and 459/))
  test('is quoted printable', () => {
    refused(`\x1b[31mSSH-2.0${'x'.repeat(100)}\r\n`, /^not an SMTP reply: "\\x1b\[31mSSH-2\.0x+"$/)
  })
})

suite('limits, on both sides of the edge', () => {
  const line = (code: string, octets: number): string => `${code} ${'x'.repeat(octets - 6)}\r\n`
  test('a line', () => {
    assert.equal(one(line('250', REPLY_LINE_OCTETS)).text.length, REPLY_LINE_OCTETS - 6)
    refused(line('250', REPLY_LINE_OCTETS + 1), /more than 2048 octets/)
  })
  test('a line that never ends', () => {
    assert.deepEqual(parse('x'.repeat(REPLY_LINE_OCTETS)).replies, [])
    refused('x'.repeat(REPLY_LINE_OCTETS + 1), /more than 2048 octets/)
  })
  test('a challenge', () => {
    assert.equal(one(line('334', CHALLENGE_LINE_OCTETS)).code, 334)
    refused(line('334', CHALLENGE_LINE_OCTETS + 1), /more than 12288 octets/)
  })
  test('the lines of a reply', () => {
    assert.equal(one(`${'250-x\r\n'.repeat(REPLY_LINES - 1)}250 x\r\n`).lines.length, REPLY_LINES)
    refused(`${'250-x\r\n'.repeat(REPLY_LINES)}250 x\r\n`, /more than 128 lines/)
  })
})

suite('text', () => {
  test('is harmless', () => {
    const octets = Buffer.concat([
      Buffer.from('250 a\0\x1b[2Jb\x7f\r'),
      Buffer.from([0x9b, 0xff]),
      Buffer.from('é\u202e\u0085\r\n'),
    ])
    assert.equal(one(octets).text, 'a\\x00\\x1b[2Jb\\x7f\\x0d\\x9b\\xffé\\u{202e}\\u{85}')
  })
})

suite('properties', () => {
  const text = fc.string({ unit: 'binary', maxLength: 40 }).map((s) => s.replace(/[\r\n]/g, ''))
  const reply = fc
    .record({
      code: fc.integer({ min: 100, max: 599 }),
      lines: fc.array(text, { minLength: 1, maxLength: 5 }),
      end: fc.constantFrom('\r\n', '\n'),
    })
    .map(({ code, lines, end }) => lines.map((l, i) => `${code}${i < lines.length - 1 ? '-' : ' '}${l}${end}`).join(''))
  const places = fc.array(fc.nat(), { maxLength: 12 })

  test('any cut of any replies gives the same', () => {
    fc.assert(
      fc.property(fc.array(reply, { maxLength: 4 }), fc.string(), places, (replies, rest, where) => {
        const octets = Buffer.from(replies.join('') + rest.replaceAll('\n', ''))
        const whole = parse(octets)
        assert.equal(whole.replies.length, replies.length)
        assert.deepEqual(parse(...cut(octets, where)), whole)
        assert.deepEqual(parse(...[...octets].map((octet) => Buffer.of(octet))), whole)
      }),
    )
  })
  test('any octets give replies or a ReplyError, and nothing that a terminal obeys', () => {
    const octets = fc.oneof(
      fc.uint8Array({ maxLength: 400 }),
      fc.string({ unit: 'binary' }).map((s) => Buffer.from(`250 ${s}\r\n`)),
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
