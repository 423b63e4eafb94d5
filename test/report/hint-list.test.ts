import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { ServerAddress } from '../../src/input/server-address.js'
import { HintList } from '../../src/report/hint-list.js'

const server = (word: string): ServerAddress => ({ word, host: word, port: 25, isImplicitTls: false })
const MX1 = server('mx1.example')
const MX2 = server('mx2.example')

suite('HintList', () => {
  const lists = (
    title: string,
    several: boolean,
    hints: readonly (readonly [hint: string, server: ServerAddress, name: string | null])[],
    ...lines: string[]
  ): void =>
    void test(title, () => {
      const list = new HintList()
      for (const [hint, one, name] of hints) list.add(hint, { server: one, name })
      assert.deepEqual(list.lines(several), lines)
    })
  lists('starts a hint about a name with the name', false, [['ask', MX1, '@a.example']], 'hint: @a.example: ask')
  lists('starts a hint about the only server with nothing', false, [['check', MX1, null]], 'hint: check')
  lists(
    'starts a hint about one of several servers with the server',
    true,
    [['check', MX1, null]],
    'hint: mx1.example: check',
  )
  lists(
    'takes hints that differ in the name alone for one, and counts the names',
    false,
    ['a', 'b', 'c', 'd'].map((name) => [`try --queue ${name}.example`, MX1, `${name}.example`] as const),
    'hint: 4 names (a.example, b.example, c.example, ...): try --queue a.example',
  )
  lists(
    'counts the servers of a hint',
    true,
    [
      ['check', MX1, null],
      ['check', MX2, null],
    ],
    'hint: 2 servers (mx1.example, mx2.example): check',
  )
  lists(
    'counts a name once that two servers refuse',
    true,
    [
      ['ask', MX1, 'a.example'],
      ['ask', MX2, 'a.example'],
    ],
    'hint: 2 servers (mx1.example, mx2.example): a.example: ask',
  )
  lists(
    'keeps the order of different hints',
    false,
    [
      ['ask', MX1, 'b.example'],
      ['wait', MX1, null],
      ['ask', MX1, 'a.example'],
    ],
    'hint: 2 names (b.example, a.example): ask',
    'hint: wait',
  )
})
