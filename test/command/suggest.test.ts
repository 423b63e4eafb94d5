import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { parseArguments } from '../../src/command/arguments.js'
import { nearest, unknownOption } from '../../src/command/suggest.js'
import { UsageError } from '../../src/errors.js'
import { assertRefused } from '../helpers/command.js'

suite('suggest: an unknown option', () => {
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
  refuses(['--hlep'], /^unknown option --hlep; did you mean --help\?$/)
  refuses(['-x', 'mx'], /^unknown option -x; etrn --help/)
  refuses(['--no-color'], /^unknown option --no-color; did you mean --color never\?$/)
  refuses(['-version'], /^unknown option -version; did you mean --version\?$/)
  test('reports the nearest option', async () =>
    assertRefused(['--hlep'], 'etrn: unknown option --hlep; did you mean --help?\n'))

  for (const [name, word, message] of [
    ['tim', '--tim', 'unknown option --tim; did you mean --timeout?'],
    ['hlep', '--hlep=x\ny', 'unknown option --hlep; did you mean --help?'],
    ['hl\x1bep', '--hl\x1bep', 'unknown option --hl\\x1bep; did you mean --help?'],
    ['no-json', '--no-json', 'unknown option --no-json; etrn --help lists them all'],
    ['46', '-46', 'unknown option -46; etrn --help lists them all'],
    ['k', '--k', 'unknown option --k; etrn --help lists them all'],
    ['x', '-kx', 'unknown option -x; etrn --help lists them all'],
  ] as const)
    test(`unknownOption for ${JSON.stringify(word)}`, () => assert.equal(unknownOption(name, word).message, message))
})

suite('suggest: nearest', () => {
  test('finds the candidate that begins with the word', () =>
    assert.equal(nearest('tls', ['to', 'tl', 'tls-fingerprint', 'tls-ca']), 'tls-fingerprint'))
  test('finds the candidate with the fewest changes if the word has two letters or fits no beginning', () => {
    assert.equal(nearest('tl', ['tls-fingerprint', 'to']), 'to')
    assert.equal(nearest('prot', ['port', 'user']), 'port')
  })
})
