import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { suite, test, type TestContext } from 'node:test'
import { isInNamespace } from '../helpers/namespace.js'
import {
  type Block,
  blocksOf,
  commandsOf,
  DOCUMENTS,
  isUpdate,
  replaceBlock,
  textOf,
  withoutVariables,
} from './blocks.js'
import { EXAMPLES, type Scene, startScene } from './scenes.js'
import { createSite, runAtSite } from './site.js'

// Runs the commands of README and of the documents in man/, and compares their output with what the documents show.

/** Separates the outputs of commands. */
const MARK = '\u001e'
const MARK_FUNCTION = `mark() { local status=$?; printf '%s' ${MARK}; return $status; }`

/** Returns the files that a block shows with cat. */
function filesShownIn(block: Block): Record<string, string> {
  return Object.fromEntries(
    commandsOf(block).flatMap(({ command, output }) => {
      const file = /^cat (\S+)$/.exec(command)?.[1]
      return file === undefined ? [] : [[file, output]]
    }),
  )
}

/** Runs a block that shows output, and compares it. */
async function compareOutput(t: TestContext, block: Block, scene: Scene): Promise<void> {
  const commands = commandsOf(block)
  const script = [MARK_FUNCTION, ...commands.map(({ command }) => `${command}\nmark`)].join('\n')
  const { output, status } = await runAtSite(t, script, { ...scene, files: { ...scene.files, ...filesShownIn(block) } })
  const outputs = output.split(MARK)
  const actual = textOf(commands.map((command, index) => ({ ...command, output: outputs[index] ?? '' })))
  if (withoutVariables(actual) !== withoutVariables(block.text)) {
    if (isUpdate) replaceBlock(block, actual)
    else assert.equal(actual, block.text, 'npm run documents updates the document')
  }
  assert.equal(status, scene.status ?? 0, output)
}

/** Runs a block of commands without output. */
async function runBlock(t: TestContext, { text }: Block, scene: Scene): Promise<void> {
  const isStrict = scene.prints === undefined
  const { output, status } = await runAtSite(t, `${isStrict ? 'set -e' : ''}\n${text}`, scene)
  assert.equal(status, scene.status ?? 0, output)
  assert.match(output, scene.prints ?? /^/)
}

if (isInNamespace(import.meta.url)) {
  createSite()
  for (const document of DOCUMENTS)
    suite(document, { concurrency: false, timeout: 120_000 }, () => {
      for (const block of blocksOf(document)) {
        const [start = '', scene = ''] =
          Object.entries(EXAMPLES[document]).find(([key]) => block.text.startsWith(key)) ?? []
        if (typeof scene === 'string') continue
        const isMissing = scene.needs !== undefined && spawnSync(scene.needs, ['--version']).error !== undefined
        const skip = isMissing && process.env['CI'] === undefined ? `no ${scene.needs} here` : false
        test(`${start} ... runs as shown`, { skip }, async (t) => {
          const verify = await startScene(t, scene)
          await (block.text.startsWith('$ ') ? compareOutput : runBlock)(t, block, scene)
          await verify()
        })
      }
    })
}
