import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { appendOctets, createStream, hasPartialReply } from './reference.js'

type Rest = 'nothing' | 'partial reply' | 'malformed'

suite('the reference parser', () => {
  const rows: readonly (readonly [octets: string, replies: number, rest: Rest])[] = [
    ['250\r\n', 1, 'nothing'],
    ['250-a\n250 b\n', 1, 'nothing'],
    ['250 O', 0, 'partial reply'],
    ['250-a\r\n', 0, 'partial reply'],
    ['250 a\r\n250', 1, 'partial reply'],
    ['250-a\r\n251 b\r\n', 0, 'malformed'],
    ['600 a\r\n', 0, 'malformed'],
    ['2500\r\n', 0, 'malformed'],
    [`250 ${'x'.repeat(2042)}\r\n`, 1, 'nothing'],
    [`250 ${'x'.repeat(2043)}\r\n`, 0, 'malformed'],
    [`${'250-x\r\n'.repeat(127)}250 x\r\n`, 1, 'nothing'],
    [`${'250-x\r\n'.repeat(128)}250 x\r\n`, 0, 'malformed'],
  ]
  for (const [octets, replies, rest] of rows) {
    test(`${octets.length} octets ${JSON.stringify(octets.slice(0, 20))} are ${replies} replies and ${rest}`, () => {
      const stream = createStream()
      appendOctets(stream, octets)
      const actualRest = stream.isMalformed ? 'malformed' : hasPartialReply(stream) ? 'partial reply' : 'nothing'
      assert.deepEqual([stream.replies.length, actualRest], [replies, rest])
    })
  }
})
