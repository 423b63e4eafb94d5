import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ROOT } from '../helpers/files.js'
import { blocksOf, isUpdate, replaceBlock, withoutVariables } from '../examples/blocks.js'

test('the demo delivers the held mail to the site, and README.md shows its output', () => {
  const demo = fileURLToPath(new URL('test/demo/demo.ts', ROOT))
  const run = spawnSync(process.execPath, ['--import', 'tsx', demo], { encoding: 'utf8' })
  assert.deepEqual([run.status, run.stderr], [0, ''])
  assert.match(run.stdout, /\nThe mail arrived\.\n$/)

  const block = blocksOf('README.md').find(({ text }) => text.startsWith('$ etrn 127.0.0.1:')) ?? assert.fail()
  const actual = /^\$ etrn [^]*?(?=\n\n.* again)/m.exec(run.stdout)?.[0] ?? assert.fail(run.stdout)
  if (withoutVariables(actual) === withoutVariables(block.text)) return
  if (isUpdate) replaceBlock(block, actual)
  else assert.equal(actual, block.text, 'npm run documents updates the document')
})
