import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { resolveTargets } from '../../src/command/targets.js'
import { UsageError } from '../../src/errors.js'
import type { ServerArgument } from '../../src/input/server-address.js'

/** The servers of a SERVER word, without a configuration. */
const serversOf = (word: string, port?: number): ServerArgument[] => {
  const line = { options: port === undefined ? {} : { port }, words: [word], typed: {} }
  const config = { tops: [], profiles: new Map(), paths: new Map() }
  return resolveTargets(line, config, () => undefined).map(({ server: target }) => target)
}

const FORMS: readonly (readonly [word: string, host: string, port: number])[] = [
  ['mail.isp.example', 'mail.isp.example', 25],
  ['mail.isp.example.', 'mail.isp.example', 25],
  ['mail.isp.example:2525', 'mail.isp.example', 2525],
  ['localhost', 'localhost', 25],
  ['mail_1.isp.example', 'mail_1.isp.example', 25],
  ['bücher.example', 'xn--bcher-kva.example', 25],
  ['192.0.2.1', '192.0.2.1', 25],
  ['192.0.2.1:26', '192.0.2.1', 26],
  ['[192.0.2.1]:26', '192.0.2.1', 26],
  ['[2001:db8::1]', '2001:db8::1', 25],
  ['[2001:db8::1]:26', '2001:db8::1', 26],
  ['[IPv6:2001:db8::1]:26', '2001:db8::1', 26],
  ['[fe80::1%eth0]:26', 'fe80::1%eth0', 26],
  ['[mail.isp.example]:26', 'mail.isp.example', 26],
  ['smtp://mail.isp.example', 'mail.isp.example', 25],
  ['MAIL.isp.example', 'mail.isp.example', 25],
  ['SMTP://mail.isp.example:26/', 'mail.isp.example', 26],
  ['smtp://[2001:db8::1]:26', '2001:db8::1', 26],
  ['smtps://mail.isp.example', 'mail.isp.example', 465],
  ['smtps://mail.isp.example:26', 'mail.isp.example', 26],
]

suite('SERVER', () => {
  for (const [word, host, port] of FORMS) {
    test(word, () =>
      assert.deepEqual(serversOf(word), [{ word, host, port, isImplicitTls: /^smtps:/i.test(word), user: undefined }]),
    )
  }
  test('--port is for those that name none', () => {
    assert.deepEqual(
      serversOf('a.example,b.example:26', 587).map(({ port }) => port),
      [587, 26],
    )
  })
  test('a user stands in a URL', () => {
    assert.equal(serversOf('smtp://site%40isp.example@mail.isp.example')[0]?.user, 'site@isp.example')
    assert.equal(serversOf('smtps://site@[2001:db8::1]:26')[0]?.host, '2001:db8::1')
  })
  test('a password may not, and is not shown again', () => {
    for (const user of ['site', 'site@isp.example'])
      assert.throws(
        () => serversOf(`smtp://${user}:s3cret@mail.isp.example`),
        (error) =>
          error instanceof UsageError && /--password-file/.test(error.message) && !/s3cret/.test(error.message),
      )
  })
  test('the same server twice is asked once', () =>
    assert.equal(serversOf('a.example,a.example:25,a.example:26').length, 2))

  for (const word of [
    '',
    'a.example,',
    ',a.example',
    'a.example, b.example',
    'mail.example.com:0',
    'mail.example.com:65536',
    'mail.example.com:x',
    'mail.example.com:',
    '2001:db8::1:x',
    '[2001:db8::1',
    '2001:db8::1',
    '::1:2630',
    '@site.example',
    'http://mail.example.com',
    'smtp://mail.example.com/x',
    'user@mail.example.com',
    'smtp://%@mail.example.com',
    '1.2.3',
    '256.1.1.1',
    'a..b',
    '-46',
    'a\r\nb',
    'a\u202eb',
    '%41.com',
  ]) {
    test(`${JSON.stringify(word)} is refused`, () => {
      assert.throws(
        () => serversOf(word),
        (error) =>
          error instanceof UsageError && error.exitStatus === 64 && /^server "[^\p{C}]*": /u.test(error.message),
      )
    })
  }
})
