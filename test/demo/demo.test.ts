import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

test('the demo delivers the held mail to the site, and ends with 0', () => {
  const demo = fileURLToPath(new URL('demo.ts', import.meta.url))
  const run = spawnSync(process.execPath, ['--import', 'tsx', demo], { encoding: 'utf8' })
  assert.deepEqual([run.status, run.stderr], [0, ''])
  assert.match(run.stdout, /accepted, 3 messages waiting \(253 /)
  assert.match(run.stdout, /The mail arrived\.\n$/)
})
