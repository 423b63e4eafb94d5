import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { fullHelpText } from '../../src/command/full-help.js'
import { helpText } from '../../src/command/help.js'
import { OPTION_ROWS } from '../../src/command/options.js'
import { EXIT } from '../../src/errors.js'
import { etrn, spawnEtrn } from '../helpers/command.js'
import { makeFile } from '../helpers/files.js'
import { optionNames } from '../helpers/option-names.js'

const linesOf = (columns: number | undefined): string[] => helpText(columns).split('\n')
const longestOf = (lines: readonly string[]): number => Math.max(...lines.map((line) => line.length))

suite('help: the main options', () => {
  test('fit on a screen of 80 x 24, with the prompt below them', () => {
    const lines = linesOf(80)
    assert.ok(lines.length <= 23, `${lines.length} lines`)
    assert.ok(longestOf(lines) <= 79, `${longestOf(lines)} columns`)
  })
  test('have one line each, with the placeholder behind the option', () => {
    const lines = linesOf(80)
    for (const [name, placeholder] of [
      ['mx', ' DOMAIN'],
      ['retry-for', ' DUR'],
      ['password-file', ' FILE'],
      ['check', ''],
    ] as const) {
      const { describe = '' } = OPTION_ROWS.get(name) ?? {}
      assert.ok(
        lines.some((line) => line.trim().startsWith(`--${name}${placeholder}  `) && line.endsWith(describe)),
        name,
      )
    }
    assert.ok(lines.some((line) => /^ {2}-q, --quiet {2,}Print failures only/.test(line)))
  })
  test('stand between the usage and the examples, which name the rest', () => {
    const text = helpText(80)
    assert.match(text, /^Usage: etrn \[options\] SERVER/)
    assert.match(text, /^Examples: etrn /m)
    assert.match(text, /^More: +etrn --help --verbose .*man etrn$/m)
  })
})

const FULL_HELP = await fullHelpText(80)

suite('help --verbose: all options', () => {
  const words = FULL_HELP.replace(/\s+/g, ' ')
  test('lists every option', () => {
    for (const name of optionNames()) assert.match(FULL_HELP, new RegExp(`(?:^|[ ,])${name}(?:[ ,]|$)`, 'm'), name)
  })
  test('shows the group, placeholder, description and default of each option', () => {
    for (const [name, row] of OPTION_ROWS) {
      assert.ok(words.includes(` ${row.group}: `), row.group)
      const value = row.isOptional
        ? ` [${row.placeholder ?? ''}]`
        : row.placeholder === undefined
          ? ''
          : ` ${row.placeholder}`
      assert.ok(words.includes(` --${name}${value} ${row.describe}`), name)
      const defaultText = row.default ?? row.defaultText
      if (defaultText !== undefined) assert.ok(words.includes(`${row.describe} (default: ${defaultText})`), name)
    }
  })
  test('lists the mechanisms, the kinds of hooks and the levels of --tls', () => {
    for (const name of ['auth', 'hook', 'tls', 'completion'])
      for (const choice of OPTION_ROWS.get(name)?.choices ?? []) assert.ok(words.includes(choice), choice)
  })
  test('explains each exit status', () => {
    const [, statuses = ''] = words.split('Exit status:')
    for (const status of Object.values(EXIT)) assert.match(statuses, new RegExp(` ${status} [a-zE]`))
  })
})

suite('help: the width of the terminal', () => {
  for (const [columns, width] of [
    [undefined, 79],
    [0, 79],
    [80, 79],
    [60, 59],
    [40, 39],
    [20, 39],
    [100, 99],
    [200, 99],
  ] as const)
    test(`${columns ?? 'unknown'} columns give lines of at most ${width} characters`, async () => {
      assert.ok(longestOf(linesOf(columns)) <= width)
      const longest = longestOf((await fullHelpText(columns)).split('\n'))
      assert.ok(longest <= width && longest > width - 5, `${longest} characters`)
    })
  test('wrapped descriptions stay in their column', () => {
    const lines = FULL_HELP.split('\n')
    const index = lines.findIndex((line) => line.includes('--tls-name NAME'))
    const column = lines[index]?.search(/(?<= {2})\S+(?: \S+)*$/)
    assert.equal(lines[index + 1]?.search(/\S/), column)
  })
})

test('--help prints the main options, and --help --verbose all options', async () => {
  assert.deepEqual(await etrn(['--help']), {
    status: 0,
    signal: null,
    stdout: `${helpText(undefined)}\n`,
    stderr: '',
  })
  for (const args of [['--help', '--verbose'], ['-hv']])
    assert.equal((await etrn(args)).stdout, `${await fullHelpText(undefined)}\n`)
})

test('--help --verbose reads no file that the locale names', async (t) => {
  const file = makeFile(t, 'locale.json', '{')
  const run = await spawnEtrn(['--help', '--verbose'], { env: { LC_ALL: file.replace('.json', '') } })
  assert.deepEqual([run.status, run.stderr], [0, ''])
})
