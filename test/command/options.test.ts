import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { parseArguments } from '../../src/command/arguments.js'
import { formatOption, OPTION_ROWS, type Options } from '../../src/command/options.js'
import { UsageError } from '../../src/errors.js'
import { assertRefused } from '../helpers/command.js'
import { optionNames } from '../helpers/option-names.js'
import { settle } from '../helpers/options.js'

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
  test('an option that is not given has its default, and there is no other key', async () => {
    const options = await settleArguments('mx')
    assert.deepEqual([options.timeout, options.port, options['retry-for']], [60_000, undefined, undefined])
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
  refuses(['--timeout='], /^--timeout "" is empty; write, for example, --timeout 60s$/)
  refuses(['--timeout', '5x'], /^--timeout "5x" must be a duration from 1s to 576h/)
  refuses(['--timeout', '1', '--timeout', '5x'], /^--timeout "5x" must be a duration from 1s to 576h/)
  refuses(['--port', '0'], /^--port "0" must be a number from 1 to 65535; write, for example, --port 25$/)
  refuses(['--jobs', '0'], /^--jobs "0" must be a number from 1 to 9999; write, for example, --jobs 8$/)
  refuses(['--color', 'blue'], /^--color "blue" must be auto, always or never; /)
  refuses(['--tls', 'must'], /^--tls "must" must be none, may, encrypt or verify; /)
  refuses(['--tls-min', 'SSLv3'], /^--tls-min "SSLv3" must be TLSv1, TLSv1\.1, TLSv1\.2 or TLSv1\.3; /)
  refuses(['--self', 'a b'], /^--self "a b" contains a space; write, for example, --self mx1\.site\.example$/)

  test('reports a space in --helo', async () =>
    assertRefused(
      ['mx', 'a.example', '--helo', 'a b'],
      'etrn: --helo "a b" contains a space; write, for example, --helo gw.site.example\n',
    ))
  for (const name of ['é/evil.example', 'é%41.example', 'é\u00ad.example', 'xn--a.example'])
    for (const [place, argv] of [
      ['NAME', ['127.0.0.1:1', name]],
      ['--subdomains', ['127.0.0.1:1', '--subdomains', name]],
      ['SERVER', [name, 'a.example']],
      ...['--helo', '--mx', '--self', '--tls-name'].map((option) => [option, ['127.0.0.1:1', option, name]] as const),
    ] as const)
      test(`refuses ${JSON.stringify(name)} as ${place}`, async () => assertRefused(argv, /^etrn: /))
})

suite('options: the table', () => {
  test('the defaults are those of the manual', () => {
    const { jobs, timeout, interval, color, 'tls-min': tlsMin } = settle()
    assert.deepEqual([jobs, timeout, interval, color, tlsMin], [8, 60_000, 60_000, 'auto', 'TLSv1.2'])
  })
  test('each value and list has a placeholder and an example that its parser accepts', () => {
    for (const [name, row] of OPTION_ROWS) {
      if (row.kind !== 'value' && row.kind !== 'list') continue
      assert.match(row.placeholder ?? '', /^[A-Z][A-Z0-9|]*$/, name)
      assert.ok(row.example !== undefined, name)
      if (name !== 'tls-fingerprint') assert.doesNotThrow(() => row.parse(row.example), name)
    }
  })
  test('each description is an imperative without a full stop, and the option starts no second sentence', () => {
    for (const [name, { describe }] of OPTION_ROWS) assert.match(describe, /^[A-Z][a-z]+ [^.]*(?:\.\.\.)?[^.]*$/, name)
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
