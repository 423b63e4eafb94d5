import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { createParser, helpText } from '../../src/command/help.js'
import { OPTION_ROWS } from '../../src/command/options.js'
import { EXIT } from '../../src/errors.js'
import { optionNames } from '../helpers/option-names.js'

suite('help', () => {
  test('lists every option, in lines of at most 80 characters', async () => {
    const text = await helpText()
    for (const name of optionNames()) assert.match(text, new RegExp(`(?:^|[ ,])${name}(?:[ ,]|$)`, 'm'), name)
    assert.ok(text.split('\n').every((line) => line.length <= 80))
  })
  test('shows the group, placeholder, default and choices of each option', async () => {
    const words = (await helpText()).replace(/\s+/g, ' ')
    const rows = [...OPTION_ROWS]
    for (const group of new Set(rows.map(([, row]) => row.group))) assert.ok(words.includes(`${group}: `), group)
    for (const [name, row] of rows) {
      assert.ok(words.includes(row.describe), name)
      const defaultText = row.default ?? row.defaultText
      if (defaultText !== undefined) assert.ok(words.includes(`[default: ${defaultText}]`), name)
      for (const choice of row.choices ?? []) assert.ok(words.includes(`"${choice}"`), `${name} ${choice}`)
    }
  })
  test('explains each exit status except those of broken output and of bugs', async () => {
    const [, statuses = ''] = (await helpText()).split('Exit status:')
    for (const status of Object.values(EXIT))
      if (status !== EXIT.SOFTWARE && status !== EXIT.IOERR) assert.match(statuses, new RegExp(`\\b${status} `))
  })
  test('is in English whatever the locale is', async () => {
    const { LC_ALL } = process.env
    process.env['LC_ALL'] = 'de_DE.UTF-8'
    try {
      assert.match(await helpText(), /\[choices: /)
    } finally {
      if (LC_ALL === undefined) delete process.env['LC_ALL']
      else process.env['LC_ALL'] = LC_ALL
    }
  })
  test('is printed by no parser by itself', async () => {
    const { help, version } = await createParser().parse(['--help', '--version'])
    assert.deepEqual([help, version], [true, true])
  })
})
