import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { suite, test } from 'node:test'
import { EXIT } from '../../src/errors.js'
import { spawnEtrn } from '../helpers/command.js'
import { packageFile, ROOT } from '../helpers/files.js'
import { optionNames } from '../helpers/option-names.js'
import { bundled, licence } from './licences.js'

const file = packageFile

suite('the manual', () => {
  const manual = file('man/etrn.1').replaceAll('\\-', '-')
  const flags = [...manual.matchAll(/^\.It Fl (.*)$/gm)].flatMap(([, line = '']) =>
    [...line.matchAll(/(?:^|, )(-?[\w-]+)/g)].map(([, flag = '']) => `-${flag}`),
  )

  test('has each option, and no other', () => assert.deepEqual([...flags].sort(), optionNames().sort()))
  test('has each exit status', () => {
    const listed = [...manual.matchAll(/^\.It (\d+)$/gm)].map(([, status]) => Number(status))
    assert.deepEqual(listed, Object.values(EXIT))
  })
  test("has the README's table of exit statuses", () => {
    const listed = [...file('README.md').matchAll(/^\| (\d+) \|/gm)].map(([, status]) => Number(status))
    assert.deepEqual(
      listed,
      [...manual.matchAll(/^\.It (\d+)$/gm)].map(([, status]) => Number(status)),
    )
  })
})

suite('the bundle', () => {
  const outputs = bundled()
  /** Packages that are loaded at once when an entry point is. */
  const loadedBy = (entryPoint: string): Set<string> => {
    const found = new Set<string>()
    const visit = (name: string): void => {
      const output = outputs[name]
      if (output === undefined) return
      for (const input of Object.keys(output.inputs))
        found.add(/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input)?.[1] ?? input)
      for (const { path, kind } of output.imports) if (kind === 'import-statement') visit(path)
    }
    visit(Object.keys(outputs).find((name) => outputs[name]?.entryPoint === entryPoint) ?? assert.fail())
    return found
  }
  test('the command leaves in other files what only some runs need', () => {
    const loaded = loadedBy('src/cli.ts')
    assert.ok(loaded.has('yargs-parser'))
    for (const late of ['yargs', 'ora', 'tldts', '@mongodb-js/saslprep']) assert.ok(!loaded.has(late), late)
  })
  test('the library loads no yargs, chalk or ora', () => {
    for (const other of ['yargs', 'yargs-parser', 'chalk', 'ora', 'src/cli.ts'])
      assert.ok(!loadedBy('src/index.ts').has(other), other)
  })
  test('nothing but node itself is left outside', () => {
    const outside = Object.values(outputs).flatMap(({ imports }) =>
      imports.map(({ path }) => path).filter((path) => !path.startsWith('dist/')),
    )
    const late = outside.filter((path) => path.startsWith('./'))
    assert.ok(late.length > 0 && late.every((path) => `dist${path.slice(1)}` in outputs), late.join())
    assert.deepEqual(
      outside.filter((path) => !late.includes(path) && !/^(?:node:)?[a-z_]+(?:\/[a-z]+)?$/.test(path)),
      [],
    )
  })
  test('LICENSE has the licence of each package in it', () => assert.equal(file('LICENSE'), licence()))
})

test('the linter knows each folder of src', () => {
  const folders = readdirSync(new URL('src/', ROOT), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => `'${name}'`)
  const list = /^const FOLDERS = .*$/m.exec(file('eslint.config.js'))?.[0] ?? ''
  assert.deepEqual(list.match(/'\w+'/g)?.sort(), folders.sort())
})

test('--version is that of package.json', async () => {
  const { version } = JSON.parse(file('package.json')) as { version: string }
  assert.equal((await spawnEtrn(['--version'])).stdout, `etrn ${version}\n`)
})

test('an unbuilt clone says what to type', (t) => {
  const folder = execFileSync('mktemp', ['-d'], { encoding: 'utf8' }).trim()
  t.after(() => execFileSync('rm', ['-r', folder]))
  execFileSync('cp', ['-r', 'bin', 'package.json', folder], { cwd: ROOT })
  assert.throws(
    () => execFileSync(`${folder}/bin/etrn`, ['mx'], { stdio: 'pipe' }),
    (error) => error instanceof Error && error.message.includes('npm ci && npm run bundle'),
  )
})

test('the completion script is valid, and completes', async () => {
  const script = (await spawnEtrn(['--completion'], { env: { SHELL: '/bin/bash' } })).stdout
  const completed = execFileSync(
    'bash',
    ['-c', `${script}\nCOMP_WORDS=(etrn --tim); COMP_CWORD=1; _etrn_yargs_completions; echo "\${COMPREPLY[@]}"`],
    {
      env: { PATH: `${new URL('bin', ROOT).pathname}:${process.env['PATH'] ?? ''}` },
      encoding: 'utf8',
    },
  )
  assert.equal(completed, '--timeout\n')
})
