import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { hidePassword } from '../../src/input/hide-password.js'
import { assertRefused, etrn } from '../helpers/command.js'
import { makeFile } from '../helpers/files.js'

const PASSWORD = 's3cret'
const WORDS: readonly (readonly [word: string, shown: string])[] = [
  ['smtp://u:s3cret@mail.example', 'smtp://****'],
  ['SMTPS://u:s3cret@mail.example:465', 'SMTPS://****'],
  ['http://u:s3cret@mail.example', 'http://****'],
  ['smtp://:s3cret@mail.example', 'smtp://****'],
  ['smtp://u:p@s3cret@mail.example', 'smtp://****'],
  ['smtp://u:p@s3cret', 'smtp://****'],
  ['smtp://u:p/s3cret@mail.example', 'smtp://****'],
  ['smtp://u%3As3cret@a..b', 'smtp://****'],
  ['smtp:u:s3cret@mail.example', '****'],
  ['smtps:/u:s3cret@mail.example', '****'],
  ['//u:s3cret@mail.example', '****'],
  ['u:s3cret@mail.example', '****'],
  ['u:s3cret\n@mail.example', '****'],
  ['u:s3cret@', '****'],
  ['u:s3cret', 'u:****'],
  ['smtp://u:s3cret', 'smtp://u:****'],
  ['smtp:u:s3cret', 'smtp:****'],
  ['mail.example:s3cret', 'mail.example:****'],
  ['smtp://h.example?pass=s3cret', 'smtp://h.example?****'],
  ['smtp://h.example/?user=u&password=s3cret', 'smtp://h.example/?****'],
  ['h.example?pass=s3cret', 'h.example?****'],
  ['smtp://h.example:25?pass=s3cret', 'smtp://h.example:25?****'],
  ['smtp://u@h.example?pass=s3cret', 'smtp://u@h.example?****'],
  ['smtp://h.example:s3cret?x=y', 'smtp://h.example:****?****'],
  ['u;s3cret@h.example', '****'],
  ['smtp://u;s3cret@h.example', 'smtp://****'],
  ['u/s3cret@h.example', '****'],
  ['u\uff1as3cret@h.example', '****'],
]

suite('hidePassword', () => {
  for (const [word, shown] of WORDS)
    test(`returns ${shown} for ${JSON.stringify(word)}`, () => assert.equal(hidePassword(word), shown))
  for (const word of [
    '',
    'mail.example',
    'mail.example:25',
    'mail.example:',
    'smtp://site@mail.example:25',
    'smtp://mail.example:26/',
    'smtp://127.0.0.1:2501//',
    'a.example?',
    '@a.example;@b.example',
    'a.example;@b.example',
    'smtp://@mail.example',
    'smtp://%@mail.example',
    'site@mail.example',
    '2001:db8::1',
    '[2001:db8::1]:25',
    '[IPv6:2001:db8::1]:26',
    '[fe80::1%eth0]:26',
    '::1:2630',
    'smtp:mail.example',
    '@site.example',
    '#queue',
  ])
    test(`returns ${JSON.stringify(word)} as it is`, () => assert.equal(hidePassword(word), word))
  test('returns printable text', () => assert.equal(hidePassword('a\u202eb'), 'a\\u{202e}b'))
})

suite('an error message has no password', { concurrency: true }, () => {
  for (const [word] of WORDS) {
    test(`of the argument ${JSON.stringify(word)}`, async () => {
      for (const args of [
        [word],
        ['mail.example', word],
        ['mail.example', '--tls-name', word],
        ['--mx', word],
        ['--all', word],
      ]) {
        const { stdout, stderr, status } = await etrn(args)
        assert.equal(status, 64, stderr)
        assert.ok(!(stdout + stderr).includes(PASSWORD), stderr)
      }
    })
    test(`of a profile whose server is ${JSON.stringify(word)}`, async (t) => {
      const file = makeFile(t, 'config.toml', `[servers.isp]\nserver = ${JSON.stringify(word)}\n`)
      const { stdout, stderr, status } = await etrn(['--config', file, 'isp', 'site.example'])
      assert.equal(status, 78, stderr)
      assert.ok(!(stdout + stderr).includes(PASSWORD), stderr)
    })
  }
  for (const name of ['u:s3cret@h.example', 'u;s3cret@h.example', 'smtp://h.example?pass=s3cret'])
    test(`of a profile named ${name}`, async (t) => {
      const file = makeFile(t, 'config.toml', `[servers."${name}"]\nserver = "h.example"\n`)
      const { stderr, status } = await etrn(['--config', file, 'isp', 'site.example'])
      assert.equal(status, 78, stderr)
      assert.ok(!stderr.includes(PASSWORD), stderr)
    })
  test('and names the option that takes one', async () =>
    assertRefused(
      ['smtp://u:s3cret@mail.example', 'site.example'],
      /^etrn: server "smtp:\/\/\*{4}" must not contain a password; write smtp:\/\/USER@HOST, and use --password-file FILE\n$/,
    ))
})
