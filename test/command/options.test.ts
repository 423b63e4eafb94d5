import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { parseArguments, splitWords } from '../../src/command/arguments.js'
import { completeWords } from '../../src/command/completion.js'
import { createParser, helpText } from '../../src/command/help.js'
import { settleOptions } from '../../src/command/option-sources.js'
import type { Options } from '../../src/command/options.js'
import { UsageError } from '../../src/errors.js'
import { parseDuration } from '../../src/input/values.js'
import { optionNames } from '../helpers/option-names.js'

const words = async (...argv: string[]): Promise<readonly string[]> => (await parseArguments(argv)).words
const options = async (...argv: string[]): Promise<Options> => settleOptions([await parseArguments(argv)]).options
const fails = (argv: readonly string[], message: RegExp): void =>
  void test(`${argv.join(' ')} is refused`, async () => {
    await assert.rejects(parseArguments(argv), (error) => {
      assert.ok(error instanceof UsageError)
      assert.equal(error.exitStatus, 64)
      assert.match(error.message, message)
      assert.doesNotMatch(error.message, /\n/)
      return true
    })
  })

suite("yargs' traps", () => {
  test('words stay words', async () => {
    const given = ['mx', '1e3', '0x10', '007', '1.0', '"q"', "'q'", '-', '@a.example', '#q', '__proto__']
    assert.deepEqual(await words(...given), given)
  })
  test('values stay text', async () => {
    assert.deepEqual((await options('--queue', '0x10', '--queue', '1e3', '--queue=007', 'mx')).queue, [
      '0x10',
      '1e3',
      '007',
    ])
  })
  test('after -- there are words only', async () => {
    assert.deepEqual(await words('mx', '--', '--json', '-q', '--'), ['mx', '--json', '-q', '--'])
    assert.equal((await options('mx', '--', '--json')).json, false)
  })
  test('a list takes one value a time', async () => {
    const { options: o, words: w } = await parseArguments([
      '--subdomains',
      'a.example',
      'mx',
      '--subdomains',
      'b.example',
      'n',
    ])
    assert.deepEqual(
      [o.subdomains, w],
      [
        ['a.example', 'b.example'],
        ['mx', 'n'],
      ],
    )
  })
  test('said twice, the last one holds', async () => {
    assert.equal((await options('--timeout', '1', '--timeout', '2')).timeout, 2000)
  })
  test('letters go together', async () => {
    const o = await options('-4kqqv', '-p26', 'mx')
    assert.deepEqual([o.ipv4, o['keep-going'], o.quiet, o.verbose, o.port], [true, true, 2, 1, 26])
  })
  test('what is not said is undefined, and nothing is invented', async () => {
    const o = await options('mx')
    assert.deepEqual([o.timeout, o.port, o['retry-for']], [60_000, undefined, undefined])
    assert.deepEqual([o.queue, o.quiet, o.json], [[], 0, false])
    assert.deepEqual(
      Object.keys(o).filter((key) => key !== 'names' && !optionNames().includes(`--${key}`)),
      [],
    )
  })
  test('- is a file', async () => assert.equal((await options('mx', '--names-from', '-'))['names-from'].join(), '-'))
  fails(['-k46', 'mx'], /^unknown option -k46/)
  fails(['-46', 'mx'], /^unknown option -46/)
  fails(['--no-json', 'mx'], /^unknown option --no-json/)
  fails(['--a.b', 'mx'], /^unknown option --a\.b/)
  fails(['--maxTime', '5', 'mx'], /^unknown option --maxTime; did you mean --max-time\?/)
  fails(['--__proto__', 'mx'], /^unknown option --__proto__/)
  fails(['--constructor=x', 'mx'], /^unknown option --constructor/)
  fails(['-_', 'mx'], /^unknown option -_/)
  fails(['--json=yes', 'mx'], /^--json takes no value/)
  fails(['-q=3', 'mx'], /takes no value/)
  fails(['--json', 'false', 'mx'], /^--json takes no value/)
  fails(['-k', 'true', 'mx'], /^-k takes no value/)
  fails(['--no-color'], /^unknown option --no-color; did you mean --color never\?$/)
  fails(['-version'], /^unknown option -version; did you mean --version\?$/)
})

suite('mistakes', () => {
  fails(['--hlep'], /^unknown option --hlep; did you mean --help\?$/)
  fails(['-x', 'mx'], /^unknown option -x; etrn --help/)
  fails(['--timeout'], /^--timeout needs a value, for example --timeout 60s$/)
  fails(['--timeout', '--json'], /^--timeout needs a value/)
  fails(['-p', '-4'], /^-p needs a value/)
  fails(['--timeout='], /^--timeout "": the value is empty/)
  fails(['--timeout', '5x'], /^--timeout "5x": a duration is/)
  fails(['--port', '0'], /^--port "0": a port is a number from 1 to 65535; for example --port 25$/)
  fails(['--jobs', '0'], /^--jobs "0": /)
  fails(['--color', 'blue'], /^--color "blue": the choice is auto, always, never/)
})

suite('durations', () => {
  for (const [word, ms] of [
    ['90', 90_000],
    ['90s', 90_000],
    ['2m', 120_000],
    ['1h30m', 5_400_000],
    ['1h1m1s', 3_661_000],
  ] as const) {
    test(word, () => assert.equal(parseDuration(word), ms))
  }
  for (const word of ['', '0', '0s', '1h30x', '1.5s', '-5', '5 s', '1m1h', 's', '1e3', '25000h', '10000000']) {
    test(`${JSON.stringify(word)} is refused`, () => assert.throws(() => parseDuration(word), Error))
  }
})

test('any words give a command line or a usage error', async () => {
  const piece = fc.oneof(
    fc.constantFrom(...optionNames(), '--', '-', '=', '-4k', '--queue=', '--color=never'),
    fc.string({ maxLength: 8 }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 6 }), async (argv) => {
      const parsed = await parseArguments(argv).catch((error: unknown) => {
        assert.ok(error instanceof UsageError, String(error))
        return undefined
      })
      for (const word of parsed?.words ?? []) assert.ok(argv.includes(word))
    }),
    { numRuns: 500 },
  )
})

suite('help and completion', () => {
  test('help has every option', async () => {
    const text = await helpText()
    for (const name of optionNames()) assert.match(text, new RegExp(`(?:^|[ ,])${name}(?:[ ,]|$)`, 'm'), name)
    assert.ok(text.split('\n').every((line) => line.length <= 80))
  })
  test('completion has every option, and choices', async () => {
    assert.deepEqual(
      new Set(await completeWords(['etrn', '--'])),
      new Set(optionNames().filter((name) => name.startsWith('--'))),
    )
    assert.deepEqual(await completeWords(['etrn', '--color', '']), ['auto', 'always', 'never'])
  })
})

test('yargs reads the words as its parser does alone', async () => {
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
      // What is refused is refused in words of our own, whatever yargs makes of it.
      const ours = await splitWords(argv).catch(() => undefined)
      if (ours === undefined) return
      compared++
      const { _: words, ...typed } = await createParser().parse([...argv])
      delete (typed as { $0?: string }).$0
      assert.deepEqual(ours, { words: words.map(String), typed })
    }),
    { numRuns: 2000, examples: [[['-p=', '--', '--mx']], [['-p=', 'mail.example']]] },
  )
  assert.ok(compared > 200, `${compared} compared`)
})
