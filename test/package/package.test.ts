import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync } from 'node:fs'
import { suite, test } from 'node:test'
import { OPTION_ROWS } from '../../src/command/options.js'
import { EXIT } from '../../src/errors.js'
import { makeFolder, packageFile, ROOT } from '../helpers/files.js'
import { manualSection } from '../helpers/manual.js'
import { type BundleFile, bundleFiles, packageOf } from './bundles.js'
import { licence } from './licences.js'

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
    const value = row.placeholder?.replace('|', ' Ns | Ns Ar ')
    const argument = value === undefined ? '' : row.isOptional ? ` Op Ar ${value}` : ` Ar ${value}`
    heads.push(`.It Fl ${row.alias === undefined ? '' : `${row.alias} , `}-${name}${argument}`)
  }
  return heads
}

suite('the bundle', () => {
  const built = bundleFiles()
  /** Returns the files that are loaded together with these. */
  const filesLoadedBy = async (...fileNames: readonly string[]): Promise<BundleFile[]> => {
    const files = await built
    const loaded = new Set<BundleFile>()
    const visit = (name: string): void => {
      const file = files.find((one) => one.fileName === name)
      if (file === undefined || loaded.has(file)) return
      loaded.add(file)
      for (const path of file.imports) visit(path)
    }
    for (const name of fileNames) visit(name)
    return [...loaded]
  }
  const hasModule = (files: readonly BundleFile[], name: string): boolean =>
    files.some(({ modules }) => modules.some((module) => module === name || packageOf(module) === name))
  const isLoadedBy = async (fileName: string, name: string): Promise<boolean> =>
    hasModule(await filesLoadedBy(fileName), name)
  /** The files of a run without options, in the order in which they are loaded */
  const PLAIN_RUN = ['cli.cjs', 'arguments.cjs', 'run.cjs']
  test('a run loads these modules and packages only when they are needed', async () => {
    const files = await filesLoadedBy(...PLAIN_RUN)
    for (const name of ['src/main.ts', 'src/command/options.ts', 'src/smtp/session.ts', 'p-limit'])
      assert.ok(hasModule(files, name), name)
    for (const name of ['yargs', 'yargs-parser', 'ora', 'tldts', '@mongodb-js/saslprep', 'toml-eslint-parser'])
      assert.ok(!hasModule(files, name), name)
    for (const name of ['command/config', 'report/json', 'etrn/mx', 'smtp/auth', 'smtp/tls', 'net/dns'])
      assert.ok(!hasModule(files, `src/${name}.ts`), name)
  })
  test('--version loads no options, and needs no other file', async () => {
    const files = await filesLoadedBy('cli.cjs')
    assert.deepEqual([files.length, hasModule(files, 'src/command/options.ts')], [1, false])
  })
  test('the library loads no yargs, chalk or ora', async () => {
    assert.ok(await isLoadedBy('index.js', 'src/index.ts'))
    for (const other of ['yargs', 'yargs-parser', 'chalk', 'ora', 'src/cli.ts'])
      assert.ok(!(await isLoadedBy('index.js', other)), other)
  })
  test('the command is ASCII: in memory another character doubles the size of its file', async () => {
    const files = await filesLoadedBy(...PLAIN_RUN, 'words.cjs')
    assert.deepEqual(
      files.map(({ fileName }) => fileName).filter((name) => /[^\0-\x7f]/.test(packageFile(`dist/${name}`))),
      [],
    )
  })
  test('holds each module once, in the command and in the library', async () => {
    for (const extension of ['.cjs', '.js']) {
      const modules = (await built).flatMap((file) => (file.fileName.endsWith(extension) ? file.modules : []))
      assert.equal(new Set(modules).size, modules.length)
    }
  })
  test('imports nothing but node and its own files', async () => {
    const files = await built
    const names = new Set(files.map(({ fileName }) => fileName))
    const imports = files.flatMap((file) => [...file.imports, ...file.dynamicImports])
    const outside = imports.filter((path) => !names.has(path))
    assert.deepEqual(
      outside.filter((path) => !/^(?:node:)?[a-z_][a-z0-9_]*(?:\/[a-z]+)?$/.test(path)),
      [],
    )
  })
  test('LICENSE contains the licence of each bundled package', async () =>
    assert.equal(packageFile('LICENSE'), await licence()))
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

test('--help --verbose opens no file of other users in the working directory, above it, or beside the package', (t) => {
  const shared = makeFolder(t)
  const folder = `${shared}/etrn`
  mkdirSync(`${shared}/locales/en_US.json`, { recursive: true })
  execFileSync('mkfifo', [`${shared}/package.json`])
  mkdirSync(folder)
  execFileSync('cp', ['-r', 'bin', 'dist', 'package.json', folder], { cwd: ROOT })
  mkdirSync(`${shared}/work`)
  const run = { cwd: `${shared}/work`, encoding: 'utf8', timeout: 20_000, killSignal: 'SIGKILL' } as const
  assert.match(execFileSync(`${folder}/bin/etrn`, ['--help', '--verbose'], run), /^Usage: etrn .*--password-file /s)
})
