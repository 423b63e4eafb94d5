import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { parseArguments } from '../../src/command/arguments.js'
import {
  formatOption,
  mergeOptions,
  OPTION_ROWS,
  optionNames,
  type Options,
  type PartialOptions,
  settle,
} from '../../src/command/options.js'
import { UsageError } from '../../src/errors.js'
import { assertRefused, etrn } from '../helpers/command.js'
import { makeFile } from '../helpers/files.js'
import { BYE, etrnSteps, scripted } from '../helpers/scripted-server.js'

const settleArguments = async (...argv: string[]): Promise<Options> => settle((await parseArguments(argv)).options)

suite('options: values from the command line', () => {
  test('stay text', async () =>
    assert.deepEqual((await settleArguments('--queue', '0x10', '--queue', '1e3', '--queue=007', 'mx')).queue, [
      '0x10',
      '1e3',
      '007',
    ]))
  test('the last one counts if an option is given twice', async () =>
    assert.equal((await settleArguments('--timeout', '1', '--timeout', '2')).timeout, 2000))
  test('an option that is not given has its initial value, and there is no other key', async () => {
    const options = await settleArguments('mx')
    assert.equal(options.timeout, undefined)
    assert.deepEqual([options.queue, options.quiet, options.json, options.names], [[], 0, false, []])
    assert.deepEqual(
      Object.keys(options).filter((key) => key !== 'names' && !optionNames().includes(`--${key}`)),
      [],
    )
  })
  test('the options given are the only ones of the layer', async () =>
    assert.deepEqual((await parseArguments(['-kvv', '--auth', 'plain', 'mx'])).options, {
      'keep-going': true,
      verbose: 2,
      auth: 'PLAIN',
    }))

  const refuses = (argv: readonly string[], message: RegExp): void =>
    void test(`refuses ${argv.join(' ')}`, async () => {
      await assert.rejects(parseArguments(argv), (error) => {
        assert.ok(error instanceof UsageError)
        assert.equal(error.exitStatus, 64)
        assert.match(error.message, message)
        assert.doesNotMatch(error.message, /\n/)
        return true
      })
    })
  refuses(['--timeout='], /^--timeout "": the value is empty/)
  refuses(['--timeout', '5x'], /^--timeout "5x": a duration is/)
  refuses(['--timeout', '1', '--timeout', '5x'], /^--timeout "5x": a duration is/)
  refuses(['--port', '0'], /^--port "0": a port is a number from 1 to 65535; for example --port 25$/)
  refuses(['--jobs', '0'], /^--jobs "0": /)
  refuses(['--color', 'blue'], /^--color "blue": the choice is auto, always, never/)
  refuses(['--tls', 'must'], /^--tls "must": the choice is none, may, encrypt, verify/)
  refuses(['--tls-min', 'SSLv3'], /^--tls-min "SSLv3": the choice is TLSv1, TLSv1\.1, TLSv1\.2, TLSv1\.3/)
  refuses(['--self', 'a b'], /^--self "a b": /)

  test('reports a space in --helo', async () =>
    assertRefused(
      ['mx', 'a.example', '--helo', 'a b'],
      'etrn: --helo "a b": a space in it; one name is one word; for example --helo gw.site.example\n',
    ))
  test('reports --helo that is not ASCII', async () =>
    assertRefused(
      ['mx', 'a.example', '--helo', 'bücher'],
      'etrn: --helo "bücher": only ASCII can be sent; write a domain as A-labels (xn--...); for example --helo gw.site.example\n',
    ))
})

suite('options: the table', () => {
  test('each value and list has a placeholder and an example that its parser accepts', () => {
    for (const [name, row] of OPTION_ROWS) {
      if (row.kind !== 'value' && row.kind !== 'list') continue
      assert.ok(row.placeholder !== undefined && row.example !== undefined, name)
      if (name !== 'tls-fingerprint') assert.doesNotThrow(() => row.parse(row.example), name)
    }
  })
  test('each choice is one that the parser accepts', () => {
    for (const [name, row] of OPTION_ROWS)
      for (const choice of row.choices ?? []) assert.equal(row.parse(choice), choice, name)
  })
  test('no two options share a letter', () => {
    const letters = [...OPTION_ROWS.values()].flatMap(({ alias }) => alias ?? [])
    assert.deepEqual(letters, [...new Set(letters)])
  })
  test('formatOption writes one dash before a letter and two before a name', () =>
    assert.deepEqual([formatOption('k'), formatOption('keep-going')], ['-k', '--keep-going']))
})

suite('options: layers', () => {
  test('the stronger layer counts', () =>
    assert.deepEqual(mergeOptions({ port: 1 }, { port: 2, jobs: 3 }, { jobs: 4 }), { port: 1, jobs: 3 }))
  test('a flag that is off in the stronger layer counts', () =>
    assert.equal(settle({ json: false }, { json: true }).json, false))
  for (const [unit, stronger, weaker] of [
    ['names', { names: ['a'] }, { queue: ['q'], 'names-from': ['f'], subdomains: ['s'] }],
    ['names', { queue: ['q'] }, { names: ['a'] }],
    ['family', { ipv4: true }, { ipv6: true }],
    ['password', { 'password-file': 'f' }, { 'password-command': 'c' }],
  ] as readonly (readonly [unit: string, stronger: PartialOptions, weaker: PartialOptions])[])
    test(`${Object.keys(stronger).join()} replaces all ${unit} options of a weaker layer`, () =>
      assert.deepEqual(mergeOptions(stronger, { ...weaker, port: 25 }), { ...stronger, port: 25 }))

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
