import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { checkParser } from './check-parser.js'
import type { RunResult } from './fuzz-run.js'
import { encodeUtf8 } from './generators.js'
import { runSeed, runTestCase } from './run-client.js'
import { actionOf, testCaseOf } from './test-case.js'

// A short run of `npm run fuzz`, and the test cases of the faults that long runs found.

const FIRST_SEED = 1
const CLIENT_RUNS = 240
const CONCURRENT_RUNS = 8
const PARSER_RUNS = 3000

function assertNoFailures(result: RunResult): RunResult {
  if (result.failures.length > 0) assert.fail(result.describe())
  return result
}

suite('a short fuzz run', () => {
  test(`the client passes every check against ${CLIENT_RUNS} random servers`, async (t) => {
    let nextSeed = FIRST_SEED
    let replies = 0
    const work = async (): Promise<void> => {
      while (nextSeed < FIRST_SEED + CLIENT_RUNS) {
        const seed = nextSeed++
        replies += assertNoFailures(await runSeed(seed)).replies
      }
    }
    await Promise.all(Array.from({ length: CONCURRENT_RUNS }, work))
    t.diagnostic(`${replies} replies`)
  })
  test(`the parser agrees with the reference on ${PARSER_RUNS} random streams`, (t) => {
    let replies = 0
    for (let seed = FIRST_SEED; seed < FIRST_SEED + PARSER_RUNS; seed++)
      replies += assertNoFailures(checkParser(seed)).replies
    t.diagnostic(`${replies} replies`)
  })
})

suite('faults that a long fuzz run found', () => {
  const text = encodeUtf8(`a${'😀'.repeat(300)}`)
  test('an error message from a long greeting is not cut inside a character', async () => {
    assertNoFailures(await runTestCase(testCaseOf({ greeting: actionOf(`554 ${text}\r\n`) })))
  })
  test('the text of a long reply to ETRN is not cut inside a character', async () => {
    const reply = `250-${text}\r\n`.repeat(4) + `250 ${text}\r\n`
    assertNoFailures(await runTestCase(testCaseOf({ etrn: [actionOf(reply)] })))
  })
})
