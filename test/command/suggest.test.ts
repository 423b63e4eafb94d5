import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { parseArguments } from '../../src/command/arguments.js'
import { OPTION_ROWS } from '../../src/command/options.js'
import { FOREIGN_OPTIONS, foreignAdvice, nearest, nearestKey, unknownOption } from '../../src/command/suggest.js'
import { UsageError } from '../../src/errors.js'
import { assertRefused, etrn } from '../helpers/command.js'
import { makeFile } from '../helpers/files.js'

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
  refuses(['-x', 'mx'], /^unknown option -x; etrn --help --verbose lists all options$/)
  refuses(['--no-color'], /^unknown option --no-color; did you mean --color never\?$/)
  refuses(['-version'], /^unknown option -version; did you mean --version\?$/)
  test('reports the nearest option', async () =>
    assertRefused(['--hlep'], 'etrn: unknown option --hlep; did you mean --help?\n'))

  for (const [name, word, message] of [
    ['tim', '--tim', 'unknown option --tim; did you mean --timeout?'],
    ['hlep', '--hlep=x\ny', 'unknown option --hlep; did you mean --help?'],
    ['hl\x1bep', '--hl\x1bep', 'unknown option --hl\\x1bep; etrn --help --verbose lists all options'],
    ['no-json', '--no-json', 'unknown option --no-json; etrn --help --verbose lists all options'],
    ['46', '-46', 'unknown option -46; etrn --help --verbose lists all options'],
    ['k', '--k', 'unknown option --k; etrn --help --verbose lists all options'],
    ['x', '-kx', 'unknown option -x; etrn --help --verbose lists all options'],
  ] as const)
    test(`unknownOption for ${JSON.stringify(word)}`, () => assert.equal(unknownOption(name, word).message, message))
})

suite('suggest: the words of other tools', () => {
  for (const [typed, advice] of [
    ['--dry-run', '--check'],
    ['--debug', '--verbose'],
    ['-debug', '--verbose'],
    ['--host', 'SERVER, the first argument (etrn SERVER NAME)'],
    ['--host=mx.example', 'SERVER, the first argument (etrn SERVER NAME)'],
    ['--server', 'SERVER, the first argument (etrn SERVER NAME)'],
    ['--insecure', '--tls encrypt, or --tls-fingerprint SHA256'],
    ['-u', '--user NAME'],
    ['-usite', '--user NAME'],
    ['--username', '--user NAME'],
    ['--password', '--password-file FILE, or --password-command COMMAND'],
    ['--starttls', '--tls encrypt'],
    ['--domain', 'NAME, the second argument (etrn SERVER NAME), or --mx DOMAIN'],
    ['--rmqs', 'NAME, the second argument (etrn SERVER NAME)'],
    ['-X', 'NAME, the second argument (etrn SERVER NAME)'],
    ['--retry', '--retry-for'],
    ['--silent', '--quiet'],
    ['-s', '--quiet'],
    ['--cacert', '--tls-ca FILE'],
    ['--CAfile', '--tls-ca FILE'],
    ['--connect-timeout', '--timeout DUR'],
    ['--ehlo', '--helo NAME'],
    ['-P', '--port PORT'],
    ['-c', '--config FILE, or --check'],
    ['--hostname', 'SERVER, the first argument (etrn SERVER NAME), or --helo NAME'],
    ['--max-sessions', '--jobs N'],
    ['--retry-delay', '--retry-for'],
    ['--token', '--auth XOAUTH2, or --auth OAUTHBEARER'],
    ['--wait-time', '--wait'],
    ['--tls-cs', '--tls-ca'],
    ['--max-tiem', '--max-time'],
    ['--hepl', '--help'],
  ] as const)
    test(`${typed} suggests ${advice}`, async () => {
      const { status, stderr } = await etrn([typed, 'mx.example', 'a.example'])
      const shown = typed === '-usite' ? '-u' : typed.replace(/=.*/, '')
      assert.deepEqual([status, stderr], [64, `etrn: unknown option ${shown}; did you mean ${advice}?\n`])
    })

  test('an unknown word that nothing is near suggests nothing', async () => {
    for (const word of ['--xyzzy', '--proxy', '--to', '--cc', '-x', '--no-json', '--42', '--max-names', '--all-names'])
      await assertRefused([word, 'mx.example'], /; etrn --help --verbose lists all options\n$/)
  })
  test('each option that is suggested exists, and none of the words is an option', () => {
    for (const [advice, words] of FOREIGN_OPTIONS) {
      for (const [, name = ''] of advice.matchAll(/--([a-z0-9-]+)/g)) assert.ok(OPTION_ROWS.has(name), name)
      for (const word of words.split(' ')) {
        assert.ok(!OPTION_ROWS.has(word), word)
        assert.ok(
          [...OPTION_ROWS.values()].every(({ alias }) => alias !== word),
          word,
        )
        assert.equal(foreignAdvice(word), advice, word)
      }
    }
  })
})

suite('suggest: nearest', () => {
  test('finds the candidate that begins with the word', () =>
    assert.equal(nearest('tls', ['to', 'tl', 'tls-fingerprint', 'tls-ca']), 'tls-fingerprint'))
  for (const [word, candidates, found] of [
    ['prot', ['port', 'user'], 'port'],
    ['ips', ['isp', 'backup'], 'isp'],
    ['ISP', ['isp'], 'isp'],
    ['isp', ['ISP'], 'ISP'],
    ['ISP', ['isp-backup', 'isp'], 'isp'],
    ['TLS', ['tls-ca', 'tls'], 'tls'],
    ['tls-cafile', ['tls', 'tls-ca'], 'tls-ca'],
    ['keepgoing', ['keep-going', 'interface'], 'keep-going'],
    ['mail', ['isp', 'backup'], undefined],
    ['host', ['port', 'helo'], undefined],
    ['dry-run', ['tls-min', 'user'], undefined],
    ['x', ['y'], undefined],
    ['x', [], undefined],
  ] as const)
    test(`is ${found} for ${word} among ${candidates.join(', ')}`, () => assert.equal(nearest(word, candidates), found))
})

suite('suggest: nearestKey', () => {
  const KEYS = ['server', 'names-from', 'names', 'user', 'tls', 'tls-ca', 'timeout']
  for (const [key, found] of [
    ['host', 'server'],
    ['domain', 'names'],
    ['username', 'user'],
    ['cacert', 'tls-ca'],
    ['starttls', 'tls'],
    ['timeuot', 'timeout'],
    ['NAMES', 'names'],
    ['Names', 'names'],
    ['Names-From', 'names-from'],
    ['TLS', 'tls'],
    ['User', 'user'],
    ['retry', undefined],
    ['xyzzy', undefined],
  ] as const)
    test(`is ${found} for ${key}`, () => assert.equal(nearestKey(key, KEYS), found))
})

suite('suggest: a SERVER that is none', { concurrency: true }, () => {
  const TOML = 'retry-for = "10m"\n[servers.isp]\nserver = "127.0.0.1:1"\nnames = ["a.example"]\n'
  const refuses = (title: string, words: readonly string[], unknown: string, meant: string): void =>
    void test(title, async (t) => {
      const message = `no profile "${unknown}"; did you mean ${meant}?`
      const hint = `if ${unknown} is a host name, write smtp://${unknown}`
      const config = makeFile(t, 'config.toml', TOML)
      await assertRefused(['--config', config, ...words], `etrn: ${message}\nhint: ${hint}\n`)
    })
  refuses('a word like a profile suggests it', ['ips'], 'ips', 'isp')
  refuses('a word like a profile in a list, with a name', ['isp,ips', 'a.example'], 'ips', 'isp')
  for (const word of ['help', 'version', 'all', 'check', 'hook', 'completion'])
    refuses(`${word} alone suggests the option`, [word], word, `etrn --${word}`)
  refuses('check with a server suggests --check', ['check', 'isp'], 'check', 'etrn --check')
  test('a host that is like a profile is accepted as it is advised', async (t) => {
    const config = makeFile(t, 'config.toml', TOML.replace('retry-for = "10m"', ''))
    for (const word of ['ips.', 'smtp://ips', 'help.', 'localhost', 'isp'])
      assert.equal((await etrn(['--config', config, '--hook', 'cron', word, 'a.example'])).status, 0, word)
  })
  test('a profile may have the name of an option', async (t) => {
    const config = makeFile(t, 'config.toml', TOML.replace('servers.isp', 'servers.check'))
    assert.equal((await etrn(['--config', config, '--hook', 'cron', 'check'])).status, 0)
  })
  test('a word that is like no profile is taken for a host, with a warning', async (t) => {
    const run = await etrn(['--config', makeFile(t, 'config.toml', TOML), '--hook', 'cron', 'mail', 'a.example'])
    assert.match(run.stderr, /^etrn: warning: no profile "mail" \(known profiles: isp\); using mail as a host name$/m)
  })
})
