import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { UsageError } from '../../src/errors.js'
import { parseServer } from '../../src/input/server-address.js'

const FORMS: readonly (readonly [word: string, host: string, port: number])[] = [
  ['mail.isp.example', 'mail.isp.example', 25],
  ['mail.isp.example.', 'mail.isp.example', 25],
  ['mail.isp.example:2525', 'mail.isp.example', 2525],
  ['localhost', 'localhost', 25],
  ['mail_1.isp.example', 'mail_1.isp.example', 25],
  ['bücher.example', 'xn--bcher-kva.example', 25],
  ['bücher。example。', 'xn--bcher-kva.example', 25],
  ['mail_1.bücher.example', 'mail_1.xn--bcher-kva.example', 25],
  ['192.0.2.1', '192.0.2.1', 25],
  ['192.0.2.1:26', '192.0.2.1', 26],
  ['[192.0.2.1]:26', '192.0.2.1', 26],
  ['[2001:db8::1]', '2001:db8::1', 25],
  ['[2001:db8::1]:26', '2001:db8::1', 26],
  ['[IPv6:2001:db8::1]:26', '2001:db8::1', 26],
  ['[fe80::1%eth0]:26', 'fe80::1%eth0', 26],
  ['[mail.isp.example]:26', 'mail.isp.example', 26],
  ['smtp://mail.isp.example', 'mail.isp.example', 25],
  ['smtp://mail.isp.example/', 'mail.isp.example', 25],
  ['smtps://mail.isp.example/', 'mail.isp.example', 465],
  ['smtp://192.0.2.1/', '192.0.2.1', 25],
  ['smtp://[2001:db8::1]/', '2001:db8::1', 25],
  ['MAIL.isp.example', 'mail.isp.example', 25],
  ['SMTP://mail.isp.example:26/', 'mail.isp.example', 26],
  ['smtp://[2001:db8::1]:26', '2001:db8::1', 26],
  ['smtps://mail.isp.example', 'mail.isp.example', 465],
  ['smtps://mail.isp.example:26', 'mail.isp.example', 26],
]

suite('parseServer', () => {
  for (const [word, host, port] of FORMS) {
    test(`returns host ${host} and port ${port} for ${word}`, () => {
      const { isAbsolute, ...server } = parseServer(word)
      assert.deepEqual(server, { word, host, port, isImplicitTls: /^smtps:/i.test(word), user: undefined })
      assert.equal(isAbsolute, /[.。]$/.test(word) ? true : undefined)
    })
  }
  for (const dot of ['.', '\u3002', '\uff0e', '\uff61'])
    test(`takes a name for whole if it ends with ${dot}`, () => {
      const { host, isAbsolute } = parseServer(`mail\u3002isp.example${dot}`)
      assert.deepEqual({ host, isAbsolute }, { host: 'mail.isp.example', isAbsolute: true })
      assert.equal(parseServer(`mail\u3002example${dot}`).isAbsolute, true)
    })
  test('takes a single label with a final dot for a name that the search list may complete', () =>
    assert.equal(parseServer('isp.').isAbsolute, undefined))
  test('takes the default port for a server that names none', () => {
    assert.deepEqual(
      ['a.example', 'b.example:26', 'smtps://c.example'].map((word) => parseServer(word, 587).port),
      [587, 26, 587],
    )
  })
  test('returns the user of a URL, unescaped', () => {
    assert.equal(parseServer('smtp://site%40isp.example@mail.isp.example').user, 'site@isp.example')
    assert.equal(parseServer('smtps://site@[2001:db8::1]:26').host, '2001:db8::1')
  })
  test('returns the word in printable text', () => {
    assert.equal(parseServer('smtp://a\u202eb@mail.example').word, 'smtp://a\\u{202e}b@mail.example')
  })
  test('throws for a password in a URL, without showing it', () => {
    for (const user of ['site', 'site@isp.example'])
      assert.throws(
        () => parseServer(`smtp://${user}:s3cret@mail.isp.example`),
        (error) =>
          error instanceof UsageError && /--password-file/.test(error.message) && !/s3cret/.test(error.message),
      )
  })
  for (const [word, rule] of [
    ['', 'is empty; write SERVER or SERVER,SERVER without spaces'],
    ['a b', 'contains a space; separate several servers with commas only'],
    ['#q', "is a name; the server comes first: etrn SERVER '#q'"],
    ['@site.example', "is a name; the server comes first: etrn SERVER '@site.example'"],
    ['http://mail.example', 'is not an SMTP URL; write smtp://HOST or smtps://HOST'],
    ['user@mail.example', 'contains a user name; write smtp://user@mail.example to log in, or only the host'],
    ['smtp://mail.example/x', 'contains a path; write smtp://HOST or smtp://HOST:PORT'],
    ['smtp://@mail.example', 'has no user name before @; write smtp://USER@HOST'],
    ['smtp://%@mail.example', 'has a user name with a % that does not start an escape; write %25 for %'],
    ['2001:db8::1', 'is an IPv6 address; write the address in brackets: [2001:db8::1]'],
    ['mail.example:0', 'has an invalid port; a port must be a number from 1 to 65535'],
    ['a..b', 'is neither a host name nor an IP address; write, for example, mail.isp.example or [2001:db8::1]:25'],
  ] as const) {
    test(`throws for ${JSON.stringify(word)} with the rule "${rule}"`, () =>
      assert.throws(() => parseServer(word), { name: 'UsageError', message: `server "${word}" ${rule}` }))
  }

  for (const word of [
    '',
    'a.example,b.example',
    'a.example ',
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
    'smtp://mail.example.com:25/x',
    'smtp://mail.example.com//',
    'smtp://mail.example.com?x',
    'mail.example.com/',
    'mail.example.com:25/',
    'smtp:///',
    'user@mail.example.com',
    'smtp://%@mail.example.com',
    '1.2.3',
    '256.1.1.1',
    'a..b',
    '-46',
    'a\r\nb',
    'a\u202eb',
    '%41.com',
    'é/evil.example',
    'smtp://é/evil.example',
    'é?x.example',
    'é\\x.example',
    'é%41.example',
    '１９２.０.２.１',
    '192。0。2。1',
    'xn--a.example',
  ]) {
    test(`throws with 64 and a printable message for ${JSON.stringify(word)}`, () => {
      assert.throws(
        () => parseServer(word),
        (error) =>
          error instanceof UsageError && error.exitStatus === 64 && /^server "[^\p{C}]*" /u.test(error.message),
      )
    })
  }
})
