import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { suite, test } from 'node:test'
import { OPTION_ROWS } from '../../src/command/options.js'
import { EXIT } from '../../src/errors.js'
import { packageFile, ROOT } from '../helpers/files.js'
import { manualSection } from '../helpers/manual.js'
import { bundled, licence } from './licences.js'

suite('the manual', () => {
  const manual = packageFile('man/etrn.1').replaceAll('\\-', '-')
  const options = manualSection('OPTIONS')

  test('describes each option with its letter and its placeholder, in the groups and the order of --help', () => {
    const heads = [...options.matchAll(/^\.(?:Ss|It Fl) .*$/gm)].map(([head]) => head)
    assert.deepEqual(heads, headsOfOptions())
  })
  test('tells each default of the table', () => {
    for (const part of options.split(/^(?=\.It Fl )/m).slice(1)) {
      const name = /-([a-z][\w-]+)/.exec(part)?.[1] ?? ''
      const { default: value } = OPTION_ROWS.get(name) ?? {}
      if (value !== undefined) assert.match(part, new RegExp(`^The default is\\s(?:\\.Cm )?${value}\\b`, 'm'), name)
    }
  })
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

/** Returns the headings of the options' groups, and the head of each option, in mdoc. */
function headsOfOptions(): string[] {
  const heads: string[] = []
  let group = ''
  for (const [name, row] of OPTION_ROWS) {
    if (row.group !== group) heads.push(`.Ss ${row.group}`)
    group = row.group
    const value = row.placeholder?.replace('/', ' Ns | Ns Ar ')
    const argument = value === undefined ? '' : row.isOptional ? ` Op Ar ${value}` : ` Ar ${value}`
    heads.push(`.It Fl ${row.alias === undefined ? '' : `${row.alias} , `}-${name}${argument}`)
  }
  return heads
}

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
