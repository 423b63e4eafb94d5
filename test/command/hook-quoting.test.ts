import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { hookText } from '../../src/command/hook.js'
import { quoteForShell, quoteForUnit } from '../../src/command/hook-quoting.js'
import { commandIn, inputOf, printHook, splitByShell } from '../helpers/hook.js'

suite('hook-quoting', () => {
  test('a shell makes the same words of any text', () => {
    const word = fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 20 })
    fc.assert(
      fc.property(fc.constantFrom('pppd', 'cron'), word, fc.array(word, { maxLength: 3 }), (kind, helo, names) => {
        const typed = { queue: [helo, ...names] }
        const expected = typed.queue.flatMap((queue) =>
          queue.startsWith('-') ? [`--queue=${queue}`] : ['--queue', queue],
        )
        const shown = splitByShell(
          commandIn(kind, hookText(kind, inputOf({ options: {}, words: ['mail.isp.example'], typed }))),
        )
        assert.deepEqual(shown.slice(kind === 'cron' ? 7 : 6, -1), expected)
      }),
      { numRuns: 50 },
    )
  })
  test('a unit escapes $, %, quotes and backslashes', async () => {
    const text = await printHook('systemd', '--queue', 'a$b%c"d\\e;f')
    assert.match(text, /^ExecStart=.* --queue "a\$\$b%%c\\"d\\\\e;f" mail/m)
  })
  test('leaves a word without special characters as it is', () => {
    const word = 'A_z09@+=:,./-'
    assert.deepEqual([quoteForShell(word), quoteForUnit(word)], [word, word])
    assert.deepEqual([quoteForShell(''), quoteForUnit('')], ["''", '""'])
  })
})
