import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import {
  forOption,
  locateError,
  type OptionSource,
  type SettledOptions,
  settleOptions,
} from '../../src/command/option-sources.js'
import type { PartialOptions } from '../../src/command/options.js'
import { OptionError, UsageError } from '../../src/errors.js'
import { etrn } from '../helpers/command.js'
import { makeFile } from '../helpers/files.js'
import { BYE, etrnSteps, scripted } from '../helpers/scripted-server.js'

suite('settleOptions', () => {
  const settleAll = (...layers: PartialOptions[]): SettledOptions =>
    settleOptions(layers.map((options) => ({ options })))
  test('takes each option from the strongest source that sets it', () => {
    const { options } = settleAll({ port: 1 }, { port: 2, jobs: 3 }, { jobs: 4 })
    assert.deepEqual([options.port, options.jobs, options.timeout], [1, 3, 60_000])
  })
  test('takes a flag that is off from the stronger source', () =>
    assert.equal(settleAll({ json: false }, { json: true }).options.json, false))
  test('names the source that set an option, and none for a default', () => {
    const [strong, weak] = [{ options: { port: 1 } }, { options: { port: 2, jobs: 3 } }]
    const { sourceOf } = settleOptions([strong, weak])
    assert.deepEqual([sourceOf('port'), sourceOf('jobs'), sourceOf('timeout')], [strong, weak, undefined])
  })
  for (const [unit, stronger, weaker] of [
    ['names', { names: ['a'] }, { queue: ['q'], 'names-from': ['f'], subdomains: ['s'] }],
    ['names', { queue: ['q'] }, { names: ['a'] }],
    ['family', { ipv4: true }, { ipv6: true }],
    ['password', { 'password-file': 'f' }, { 'password-command': 'c' }],
  ] as readonly (readonly [unit: string, stronger: PartialOptions, weaker: PartialOptions])[])
    test(`${Object.keys(stronger).join()} overrides all ${unit} options of a weaker source`, () =>
      assert.deepEqual(
        settleAll(stronger, { ...weaker, port: 25 }).options,
        settleAll({ ...stronger, port: 25 }).options,
      ))

  const settlesHelo = (
    title: string,
    expected: string,
    toml: (port: number) => string,
    args: readonly string[],
  ): void =>
    void test(title, async (t) => {
      const server = await scripted(t, [
        'S: 220 mx.example ESMTP',
        `C: EHLO ${expected}.example`,
        'S: 250-mx.example',
        'S: 250 ETRN',
        ...etrnSteps('a.example', '250 OK'),
        ...BYE,
      ])
      const run = await etrn(['--config', makeFile(t, 'config.toml', toml(server.port)), ...args])
      await server.verify()
      assert.equal(run.status, 0, run.stderr)
    })
  const both = (port: number): string =>
    `helo = "top.example"\n[servers.isp]\nserver = "127.0.0.1:${port}"\nhelo = "profile.example"\nnames = ["a.example"]\n`
  settlesHelo('the command line overrides the profile', 'line', both, ['isp', '--helo', 'line.example'])
  settlesHelo('the profile overrides the top of the file', 'profile', both, ['isp'])
  settlesHelo('the top of the file overrides the default', 'top', (port) => `helo = "top.example"\nport = ${port}\n`, [
    '127.0.0.1',
    'a.example',
  ])
  settlesHelo(
    '-4 overrides ipv6 of the file, which excludes it',
    'top',
    (port) => `ipv6 = true\nhelo = "top.example"\nport = ${port}\n`,
    ['-4', '127.0.0.1', 'a.example'],
  )
  test('false in a profile overrides true at the top of the file', async (t) => {
    const run = async (flag: string) => {
      const toml = `helo = "gw.site.example"\nallow-wide = true\n[servers.isp]\nserver = "127.0.0.1:1"\n${flag}\nnames = ["single"]\n`
      return etrn(['--config', makeFile(t, 'config.toml', toml), 'isp'])
    }
    assert.equal((await run('')).status, 75)
    assert.equal((await run('allow-wide = false')).status, 78)
  })
})

suite('locateError', () => {
  const ERROR = new OptionError('port', 'wrong')
  const settleFrom = (source: Partial<OptionSource>): SettledOptions =>
    settleOptions([{ options: { port: 1 }, ...source }])
  test('returns the error of the command line, and of a default, unchanged', () => {
    assert.equal(locateError(ERROR, settleFrom({})), ERROR)
    assert.equal(locateError(ERROR, settleFrom({ options: { jobs: 1 }, locate: () => 'file' })), ERROR)
  })
  test('returns an error that is about no option unchanged', () => {
    const error = new UsageError('wrong')
    assert.equal(locateError(error, settleFrom({ locate: () => 'file' })), error)
  })
  test('names the place in a file and reports 78', () => {
    const { message, exitStatus, cause } = locateError(ERROR, settleFrom({ locate: (option) => `file:${option}` }))
    assert.deepEqual([message, exitStatus, cause], ['file:port: wrong', 78, ERROR])
  })
  test('keeps the hint, and an exit status other than 64', () => {
    const error = new OptionError('port', 'missing', { exitStatus: 66, hint: 'create the file' })
    const { exitStatus, hint } = locateError(error, settleFrom({ locate: () => 'file' }))
    assert.deepEqual([exitStatus, hint], [66, 'create the file'])
  })
})

suite('forOption', () => {
  test('names the option of a UsageError, and keeps its message, hint and exit status', async () => {
    const error = new UsageError('wrong', { exitStatus: 65, hint: 'type 25' })
    const work = async (): Promise<void> => Promise.reject(error)
    const kept = { message: 'wrong', hint: 'type 25', exitStatus: 65, cause: error }
    await assert.rejects(forOption('port', work), { option: 'port', ...kept })
  })
  test('returns the result, and throws any other error unchanged', async () => {
    assert.equal(await forOption('port', () => 1), 1)
    const error = new TypeError('bug')
    await assert.rejects(
      forOption('port', () => {
        throw error
      }),
      error,
    )
  })
})
