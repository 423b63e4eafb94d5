import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { suite, test } from 'node:test'
import { EXIT } from '../../src/errors.js'
import { packageFile, ROOT } from '../helpers/files.js'
import { optionNames } from '../helpers/option-names.js'
import { bundled, licence } from './licences.js'

suite('the manual', () => {
  const manual = packageFile('man/etrn.1').replaceAll('\\-', '-')
  const flags = [...manual.matchAll(/^\.It Fl (.*)$/gm)].flatMap(([, line = '']) =>
    [...line.matchAll(/(?:^|, )(-?[\w-]+)/g)].map(([, flag = '']) => `-${flag}`),
  )

  test('describes each option, and no other', () => assert.deepEqual([...flags].sort(), optionNames().sort()))
  test('describes each exit status', () => {
    const listed = [...manual.matchAll(/^\.It (\d+)$/gm)].map(([, status]) => Number(status))
    assert.deepEqual(listed, Object.values(EXIT))
  })
  test('describes the same exit statuses as the table of the README', () => {
    const listed = [...packageFile('README.md').matchAll(/^\| (\d+) \|/gm)].map(([, status]) => Number(status))
    assert.deepEqual(
      listed,
      [...manual.matchAll(/^\.It (\d+)$/gm)].map(([, status]) => Number(status)),
    )
  })
})

suite('the bundle', () => {
  const outputs = bundled()
  /** Returns the packages that are loaded together with an entry point. */
  const loadedBy = (entryPoint: string): Set<string> => {
    const packages = new Set<string>()
    const visit = (name: string): void => {
      const output = outputs[name]
      if (output === undefined) return
      for (const input of Object.keys(output.inputs))
        packages.add(/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input)?.[1] ?? input)
      for (const { path, kind } of output.imports) if (kind === 'import-statement') visit(path)
    }
    visit(Object.keys(outputs).find((name) => outputs[name]?.entryPoint === entryPoint) ?? assert.fail())
    return packages
  }
  test('the command loads yargs, ora, tldts and saslprep only when they are needed', () => {
    const loaded = loadedBy('src/cli.ts')
    assert.ok(loaded.has('yargs-parser'))
    for (const late of ['yargs', 'ora', 'tldts', '@mongodb-js/saslprep']) assert.ok(!loaded.has(late), late)
  })
  test('the library loads no yargs, chalk or ora', () => {
    for (const other of ['yargs', 'yargs-parser', 'chalk', 'ora', 'src/cli.ts'])
      assert.ok(!loadedBy('src/index.ts').has(other), other)
  })
  test('imports nothing but node and its own files', () => {
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
  test('LICENSE contains the licence of each bundled package', () => assert.equal(packageFile('LICENSE'), licence()))
})

test('eslint.config.js lists each folder of src', () => {
  const folders = readdirSync(new URL('src/', ROOT), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => `'${name}'`)
  const list = /^const FOLDERS = .*$/m.exec(packageFile('eslint.config.js'))?.[0] ?? ''
  assert.deepEqual(list.match(/'\w+'/g)?.sort(), folders.sort())
})

test('bin/etrn names the command to type in an unbuilt clone', (t) => {
  const folder = execFileSync('mktemp', ['-d'], { encoding: 'utf8' }).trim()
  t.after(() => execFileSync('rm', ['-r', folder]))
  execFileSync('cp', ['-r', 'bin', 'package.json', folder], { cwd: ROOT })
  assert.throws(
    () => execFileSync(`${folder}/bin/etrn`, ['mx'], { stdio: 'pipe' }),
    (error) => error instanceof Error && error.message.includes('npm ci && npm run bundle'),
  )
})
