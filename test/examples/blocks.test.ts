import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { packageFile, ROOT } from '../helpers/files.js'
import { blocksOf, commandsOf, DOCUMENTS, textOf } from './blocks.js'
import { EXAMPLES } from './scenes.js'

suite('documents', () => {
  for (const document of DOCUMENTS) {
    const blocks = blocksOf(document)
    const starts = Object.keys(EXAMPLES[document])

    test(`${document}: each block has one scene, or a reason not to run`, () => {
      for (const { text } of blocks)
        assert.equal(starts.filter((start) => text.startsWith(start)).length, 1, text.split('\n')[0])
      for (const start of starts) assert.equal(blocks.filter(({ text }) => text.startsWith(start)).length, 1, start)
    })
    test(`${document}: commands and outputs make up the block again`, () => {
      for (const block of blocks.filter(({ text }) => text.startsWith('$ ')))
        assert.equal(textOf(commandsOf(block)), block.text)
    })
  }
  test('a link leads to a file of the package', () => {
    const listing = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: fileURLToPath(ROOT),
      encoding: 'utf8',
    })
    const packed = [...listing.matchAll(/"path": "([^"]+)"/g)].map(([, path = '']) => path)
    const local = DOCUMENTS.filter((document) => packed.includes(document)).flatMap((document) => {
      const links = [...packageFile(document).matchAll(/\]\((?!https:)([^)#]+)/g)]
      return links.map(([, link = '']) => join(dirname(document), link))
    })
    assert.ok(local.length > 0)
    assert.deepEqual(
      local.filter((link) => !packed.includes(link)),
      [],
    )
  })
  test('README.md has at most 200 lines, and the commands for a clone within the first 20', () => {
    const lines = packageFile('README.md').trimEnd().split('\n')
    assert.ok(lines.length <= 200, `${lines.length} lines`)
    const start = lines.slice(0, 20).join('\n')
    for (const command of ['npm ci && npm run demo', 'npm ci && npm test']) assert.ok(start.includes(command), command)
  })
})
