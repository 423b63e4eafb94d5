import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { RecordScanner } from '../../src/smtp/tls-records.js'

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1')
const record = (type: number, length: number): Buffer =>
  Buffer.concat([Buffer.from([type, 3, 3, length >> 8, length & 0xff]), Buffer.alloc(length, '5')])
const plainText = (isFirst: boolean) => ({ type: 'plain-text', isFirst })
const INVALID = { type: 'invalid-record' }

const CASES: readonly (readonly [title: string, octets: Buffer, fault: object | undefined])[] = [
  ['nothing', Buffer.alloc(0), undefined],
  ['records of each type', Buffer.concat([0x14, 0x15, 0x16, 0x17, 0x18].map((type) => record(type, 300))), undefined],
  ['a record of the greatest length', record(0x17, 0x4800), undefined],
  ['an empty record', record(0x16, 0), undefined],
  ['the beginning of a record', latin1('\x16\x03\x03'), undefined],
  ['a warning', latin1('\x15\x03\x03\0\x02\x01\0'), undefined],
  ['a longer, encrypted alert', latin1('\x15\x03\x03\0\x03\x02\0\0'), undefined],
  ['a letter', latin1('2'), plainText(true)],
  ['a record type without its version', latin1('\x16x'), plainText(true)],
  ['text after a record', Buffer.concat([record(0x16, 300), latin1('2')]), plainText(false)],
  ['text after a warning', latin1('\x15\x03\x03\0\x02\x01\x0054'), plainText(false)],
  ['an over-long record', latin1('\x16\x03\x03\x48\x01'), INVALID],
  ['an over-long record before text', latin1('\x16\x03\x03\xff\xff250 OK'), INVALID],
  ['an alert before text', latin1('\x15\x03\x03\0\x02\x02\xff250 OK'), { type: 'alert', number: 255 }],
]

suite('the fault of RecordScanner', () => {
  for (const [title, octets, fault] of CASES)
    for (const size of [1, 2, 7, 100_000])
      test(`is ${fault === undefined ? 'undefined' : JSON.stringify(fault)} after ${title}, ${size} octets at a time`, () => {
        const scanner = new RecordScanner()
        for (let start = 0; start < octets.length; start += size) scanner.push(octets.subarray(start, start + size))
        assert.deepEqual(scanner.fault, fault)
      })
})
