import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { Outcome } from '../../src/etrn/outcome.js'
import { etrnJson } from '../helpers/command.js'
import { BYE, HELLO, scripted } from '../helpers/scripted-server.js'

/** SPEC in the table's own words; here by code, so that a slip in the source's table shows. */
function expected(code: number): readonly [Outcome, number] {
  if (code === 251) return ['empty', 0]
  if (code === 252 || code === 253) return ['pending', 0]
  if (code === 459) return ['refused', 77]
  if ([500, 502, 504].includes(code)) return ['unsupported', 69]
  if ([501, 553, 555].includes(code)) return ['rejected', 65]
  const byClass: Readonly<Record<number, readonly [Outcome, number]>> = {
    1: ['failed', 76],
    2: ['started', 0],
    3: ['failed', 76],
    4: ['deferred', 75],
    5: ['refused', 77],
  }
  return byClass[Math.floor(code / 100)] ?? assert.fail()
}

suite('each code from 100 to 599, through the whole command', { concurrency: 4 }, () => {
  for (let code = 100; code <= 599; code++) {
    test(String(code), async (t) => {
      const server = await scripted(t, [...HELLO, 'C: ETRN site.example', `S: ${code} text`, ...BYE])
      const run = await etrnJson([`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', 'site.example'])
      await server.verify()
      const [result] = run.document.servers[0]?.names ?? []
      assert.deepEqual([result?.outcome, run.status], expected(code))
      assert.deepEqual(
        [result?.code, result?.text, run.document.exitStatus, run.stderr],
        [code, 'text', run.status, ''],
      )
    })
  }
})
