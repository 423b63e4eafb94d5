import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { completeWords } from '../../src/command/completion.js'
import { etrn, spawnEtrn } from '../helpers/command.js'
import { makeFolder, ROOT } from '../helpers/files.js'
import { optionNames } from '../helpers/option-names.js'

suite('completion of options', () => {
  test('offers every option in its long form', async () =>
    assert.deepEqual(
      new Set(await completeWords(['etrn', '--'])),
      new Set(optionNames().filter((name) => name.startsWith('--'))),
    ))
  test('offers the choices of an option', async () =>
    assert.deepEqual(await completeWords(['etrn', '--color', '']), ['auto', 'always', 'never']))
})

suite('completion of profiles', () => {
  test('offers the profiles of the configuration where a server can stand', async (t) => {
    const folder = makeFolder(t)
    mkdirSync(join(folder, '.config/etrn'), { recursive: true })
    const toml =
      '[servers.isp]\nserver = "127.0.0.1:1"\nnames = ["a.example"]\n[servers.backup]\nserver = "b.invalid"\n'
    writeFileSync(join(folder, '.config/etrn/config.toml'), toml)
    const uid = process.getuid?.() || 1000
    const complete = async (...words: string[]): Promise<string> =>
      (
        await etrn(['--get-yargs-completions', 'etrn', ...words], {
          env: { HOME: folder },
          user: { uid },
        })
      ).stdout
    assert.equal(await complete('i'), 'isp\n')
    assert.equal(await complete('isp,'), 'isp,backup\n')
    assert.equal(await complete('-k', 'i'), 'isp\n')
    for (const words of [
      ['isp', ''],
      ['--mx', ''],
      ['--mx', 'a.example', ''],
      ['--all', ''],
      ['--helo', 'i'],
    ])
      assert.doesNotMatch(await complete(...words), /^isp/m)
    assert.doesNotMatch(await complete('--tim'), /isp/)
  })

  const PROFILES = ['isp', 'backup', 'branch']
  const completes = (title: string, words: readonly string[], expected: readonly string[]): void =>
    void test(title, async () => {
      const found = await completeWords(['etrn', ...words], PROFILES)
      assert.deepEqual(
        found.filter((word) => PROFILES.some((profile) => word.endsWith(profile))),
        expected,
      )
    })
  completes('offers every profile for an empty word', [''], PROFILES)
  completes('offers the profiles that begin with the word', ['b'], ['backup', 'branch'])
  completes('offers the profiles that a list lacks', ['isp,b'], ['isp,backup', 'isp,branch'])
  completes('offers nothing for a word that no profile begins with', ['x'], [])
  completes('offers nothing after a server', ['isp', 'b'], [])
  completes('offers nothing for the value of an option', ['--helo', 'b'], [])
  completes('offers nothing for the value of a letter', ['-p', ''], [])
  completes(
    'offers profiles after an option with its value',
    ['--helo', 'x', '--port=25', '-p25', 'b'],
    ['backup', 'branch'],
  )
  completes('offers nothing with --mx=DOMAIN', ['--mx=a.example', 'b'], [])
  completes('offers nothing for an option', ['-'], [])
})

test('the completion script for bash is valid, and completes', async () => {
  const script = (await spawnEtrn(['--completion'], { env: { SHELL: '/bin/bash' } })).stdout
  const output = execFileSync(
    'bash',
    ['-c', `${script}\nCOMP_WORDS=(etrn --tim); COMP_CWORD=1; _etrn_yargs_completions; echo "\${COMPREPLY[@]}"`],
    {
      env: { PATH: `${new URL('bin', ROOT).pathname}:${process.env['PATH'] ?? ''}` },
      encoding: 'utf8',
    },
  )
  assert.equal(output, '--timeout\n')
})
