import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { optionsInWord, parseArguments, splitWords } from '../../src/command/arguments.js'
import { OPTION_ROWS } from '../../src/command/options.js'
import { UsageError } from '../../src/errors.js'
import { assertRefused } from '../helpers/command.js'
import { optionNames } from '../helpers/option-names.js'
import { createParser } from '../helpers/yargs.js'

const parseWords = async (...argv: string[]): Promise<readonly string[]> => (await parseArguments(argv)).words
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

suite('arguments: words', () => {
  test('keeps words that look like numbers, quotes or keys as they are', async () => {
    const given = ['mx', '1e3', '0x10', '007', '1.0', '"q"', "'q'", '-', '@a.example', '#q', '__proto__']
    assert.deepEqual(await parseWords(...given), given)
  })
  test('takes everything after -- for words', async () => {
    assert.deepEqual(await parseWords('mx', '--', '--json', '-q', '--'), ['mx', '--json', '-q', '--'])
    assert.equal((await parseArguments(['mx', '--', '--json'])).options.json, undefined)
  })
  test('gives an option that takes a list one value at a time', async () => {
    const { options, words } = await parseArguments([
      '--subdomains',
      'a.example',
      'mx',
      '--subdomains',
      'b.example',
      'n',
    ])
    assert.deepEqual(
      [options.subdomains, words],
      [
        ['a.example', 'b.example'],
        ['mx', 'n'],
      ],
    )
  })
  test('takes - for the value of an option', async () =>
    assert.deepEqual((await parseArguments(['mx', '--names-from', '-'])).options['names-from'], ['-']))
  test('takes true and false for words if no flag stands before them', async () =>
    assert.deepEqual(await parseWords('true', '--port', '25', 'false'), ['true', 'false']))
  test('reads several letters in one word, the last with its value', async () => {
    const { options } = await parseArguments(['-4kqqv', '-p26', 'mx'])
    assert.deepEqual(
      [options.ipv4, options['keep-going'], options.quiet, options.verbose, options.port],
      [true, true, 2, 1, 26],
    )
  })
  test('keeps the options as they were typed', async () => {
    const { typed } = await parseArguments(['-p25', '--timeout=1h30m', '--queue=q', '-kvv', 'mx'])
    assert.deepEqual(
      [typed['port'], typed['timeout'], typed['queue'], typed['keep-going'], typed['verbose']],
      ['25', '1h30m', 'q', true, 2],
    )
  })
})

suite('arguments: options that yargs would read otherwise', () => {
  refuses(['-k46', 'mx'], /^unknown option -k46/)
  refuses(['-46', 'mx'], /^unknown option -46/)
  refuses(['--no-json', 'mx'], /^unknown option --no-json/)
  refuses(['--a.b', 'mx'], /^unknown option --a\.b/)
  refuses(['--maxTime', '5', 'mx'], /^unknown option --maxTime; did you mean --max-time\?/)
  refuses(['--__proto__', 'mx'], /^unknown option --__proto__/)
  refuses(['--constructor=x', 'mx'], /^unknown option --constructor/)
  refuses(['-_', 'mx'], /^unknown option -_/)
  refuses(['--k', 'mx'], /^unknown option --k/)
  refuses(['--json=yes', 'mx'], /^--json takes no value; write only --json$/)
  refuses(['-q=3', 'mx'], /takes no value/)
  refuses(['--json', 'false', 'mx'], /^--json takes no value/)
  refuses(['-k', 'true', 'mx'], /^-k takes no value/)
})

suite('arguments: missing values', () => {
  refuses(['--timeout'], /^--timeout needs a value, for example --timeout 60s$/)
  refuses(['--timeout', '--json'], /^--timeout needs a value/)
  refuses(['-p', '-4'], /^-p needs a value/)
  refuses(['-p=', '25'], /^-p needs a value/)
  test('reports a missing value with an example', async () =>
    assertRefused(['--timeout'], 'etrn: --timeout needs a value, for example --timeout 60s\n'))
})

suite('optionsInWord', () => {
  const row = (name: string) => OPTION_ROWS.get(name)
  for (const [word, expected] of [
    ['--port', [['port', false]]],
    ['--port=25', [['port', true]]],
    ['--port=', [['port', true]]],
  ] as const)
    test(`finds one option in ${word}`, () =>
      assert.deepEqual(
        optionsInWord(word),
        expected.map(([name, hasValue]) => ({ name, row: row(name), hasValue })),
      ))
  test('finds each letter of -kqp25', () =>
    assert.deepEqual(optionsInWord('-kqp25'), [
      { name: 'k', row: row('keep-going'), hasValue: false },
      { name: 'q', row: row('quiet'), hasValue: false },
      { name: 'p', row: row('port'), hasValue: true },
    ]))
  test('finds no option in a word without a dash, nor in -', () => {
    for (const word of ['mx', '-', '']) assert.deepEqual(optionsInWord(word), [])
  })
})

test('arguments: any words give a command line or a usage error', async () => {
  const piece = fc.oneof(
    fc.constantFrom(...optionNames(), '--', '-', '=', '-4k', '--queue=', '--color=never'),
    fc.string({ maxLength: 8 }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 6 }), async (argv) => {
      const line = await parseArguments(argv).catch((error: unknown) => {
        assert.ok(error instanceof UsageError, String(error))
        return undefined
      })
      for (const word of line?.words ?? []) assert.ok(argv.includes(word))
    }),
    { numRuns: 500 },
  )
})

test('splitWords: yargs reads the same words as its parser alone', async () => {
  const values = ['7', '1e3', '-', 'a b', 'x.example', '--', 'true', '0', '']
  const option = fc.constantFrom(...optionNames())
  const word = fc.oneof(
    option,
    fc.constantFrom(...values),
    fc.tuple(option, fc.constantFrom(...values)).map(([name, value]) => `${name}=${value}`),
    fc.constantFrom('-kq', '-qq', '-p25', '-4k', '-vvp', 'mail.example', '@x.example', '#q', 'a.b.c', '1.20', '007'),
  )
  let compared = 0
  await fc.assert(
    fc.asyncProperty(fc.array(word, { maxLength: 6 }), async (argv) => {
      // splitWords refuses some words in a message of its own, whatever yargs would make of them.
      const split = await splitWords(argv).catch(() => undefined)
      if (split === undefined) return
      compared++
      const { _: words, $0: _, ...parsed } = await createParser().parse([...argv])
      // yargs counts the options that are not in the line, too.
      const typed = Object.fromEntries(Object.entries(parsed).filter(([, value]) => value !== 0))
      assert.deepEqual(split, { words: words.map(String), typed })
    }),
    { numRuns: 500, examples: [[['-p=', '--', '--mx']], [['-p=', 'mail.example']], [['-V']], [['--all']], [['-kk']]] },
  )
  assert.ok(compared > 50, `${compared} compared`)
})
