import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { resolveTargets } from '../../src/command/targets.js'
import { UsageError } from '../../src/errors.js'
import type { ServerArgument } from '../../src/input/server-address.js'

/** Returns the servers of a SERVER argument, without a configuration. */
function serversOf(word: string, port?: number): ServerArgument[] {
  const line = { options: port === undefined ? {} : { port }, words: [word], typed: {} }
  const config = { tops: [], profiles: new Map(), paths: new Map() }
  return resolveTargets(line, config, () => undefined).map(({ server }) => server)
}

suite('the SERVER argument', () => {
  test('may be several servers, joined by commas', () => {
    assert.deepEqual(
      serversOf('a.example,smtps://b.example').map(({ word, host }) => [word, host]),
      [
        ['a.example', 'a.example'],
        ['smtps://b.example', 'b.example'],
      ],
    )
  })
  test('takes the port of --port for the servers that name none', () => {
    assert.deepEqual(
      serversOf('a.example,b.example:26', 587).map(({ port }) => port),
      [587, 26],
    )
  })
  test('requests the same server once', () => assert.equal(serversOf('a.example,a.example:25,a.example:26').length, 2))
  for (const word of ['', 'a.example,', ',a.example', 'a.example, b.example']) {
    test(`${JSON.stringify(word)} is rejected with 64`, () => {
      assert.throws(
        () => serversOf(word),
        (error) =>
          error instanceof UsageError && error.exitStatus === 64 && /^server "[^\p{C}]*": /u.test(error.message),
      )
    })
  }
})
