import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { StepError } from '../../src/errors.js'
import { secretsOfAuthLine } from '../../src/smtp/auth.js'
import { MECHANISMS } from '../../src/smtp/mechanisms.js'
import type { AuthContext } from '../../src/smtp/sasl.js'
import type { Credentials } from '../../src/smtp/session-settings.js'
import { base64, CREDENTIALS, playExchange, testFailure, testSuccess } from './sasl-dialogue.js'

suite('the AUTH command', () => {
  const long = 'x'.repeat(400)
  testSuccess(
    'is sent without a response that is too long for it, which follows as a line',
    [
      ['AUTH PLAIN', '334 '],
      [base64(`\0site\0${long}`), '235 ok'],
    ],
    { mechanism: 'PLAIN', password: long },
  )
  testSuccess(
    'carries a response that makes it 512 octets long, CRLF included',
    [[`AUTH EXTERNAL ${base64('x'.repeat(372))}`, '235 ok']],
    { mechanism: 'EXTERNAL', user: 'x'.repeat(372) },
    { hasCertificate: true },
  )
  testSuccess(
    'carries no response that would make it 513 octets long',
    [
      ['AUTH PLAIN', '334 '],
      [base64(`\0site\0${'x'.repeat(369)}`), '235 ok'],
    ],
    { mechanism: 'PLAIN', password: 'x'.repeat(369) },
  )
  testFailure(
    'is cancelled if the response has more than 9000 octets',
    [
      ['AUTH PLAIN', '334 '],
      ['*', '501 cancelled'],
    ],
    { mechanism: 'PLAIN', password: 'x'.repeat(9001 - '\0site\0'.length) },
    76,
    /longer than a line may be/,
  )
  testSuccess(
    'is followed by a response of 9000 octets',
    [
      ['AUTH PLAIN', '334 '],
      [base64(`\0site\0${'x'.repeat(9000 - '\0site\0'.length)}`), '235 ok'],
    ],
    { mechanism: 'PLAIN', password: 'x'.repeat(9000 - '\0site\0'.length) },
  )
  test('and its responses are masked in the transcript', async () => {
    const transcript = await playExchange(
      [
        ['AUTH LOGIN', '334 VXNlcm5hbWU6'],
        [base64('site'), '334 UGFzc3dvcmQ6'],
        [base64('secret'), '235 ok'],
      ],
      { ...CREDENTIALS, mechanism: 'LOGIN' },
    )
    assert.deepEqual(transcript, ['AUTH LOGIN', '****', '****'])
    assert.deepEqual(await playExchange([[/^AUTH PLAIN /, '235 ok']], { ...CREDENTIALS, mechanism: 'PLAIN' }), [
      'AUTH PLAIN ****',
    ])
  })
})

suite('the mechanism', () => {
  const all = [...MECHANISMS].reverse()
  const isChosen = (
    title: string,
    mechanism: string,
    context: Partial<AuthContext>,
    credentials: Partial<Credentials> = {},
  ): void =>
    testFailure(
      title,
      [[new RegExp(`^AUTH ${mechanism}(?: |$)`), '454 later']],
      credentials,
      75,
      /^454 later$/,
      context,
    )
  isChosen('is EXTERNAL if the client has a certificate', 'EXTERNAL', {
    offered: all,
    hasCertificate: true,
    exporter: Buffer.alloc(32),
  })
  isChosen('is SCRAM-SHA-256-PLUS if the channel can be bound', 'SCRAM-SHA-256-PLUS', {
    offered: all,
    exporter: Buffer.alloc(32),
  })
  isChosen('is SCRAM-SHA-256 if the channel cannot be bound', 'SCRAM-SHA-256', { offered: all })
  isChosen('is SCRAM-SHA-1 rather than CRAM-MD5, PLAIN or LOGIN', 'SCRAM-SHA-1', {
    offered: ['LOGIN', 'PLAIN', 'CRAM-MD5', 'SCRAM-SHA-1'],
  })
  isChosen('is CRAM-MD5 rather than PLAIN or LOGIN', 'CRAM-MD5', {
    offered: ['LOGIN', 'PLAIN', 'CRAM-MD5', 'DIGEST-MD5'],
  })
  isChosen('is PLAIN rather than LOGIN', 'PLAIN', { offered: ['LOGIN', 'PLAIN', 'XOAUTH2'] })
  isChosen('is LOGIN if the others need a token', 'LOGIN', { offered: ['XOAUTH2', 'LOGIN'] })
  isChosen('is the one that --auth names', 'PLAIN', { offered: all }, { mechanism: 'PLAIN' })
  testFailure(
    'is none if the server has only token mechanisms and --auth names none',
    [],
    {},
    77,
    /no mechanism in common; the server has XOAUTH2, OAUTHBEARER/,
    { offered: ['XOAUTH2', 'OAUTHBEARER'] },
  )
  testFailure(
    'is none if the server has only unknown ones',
    [],
    {},
    77,
    /no mechanism in common; the server has GSSAPI/,
    { offered: ['GSSAPI'] },
  )
  testFailure('is none if the server lists none', [], {}, 77, /offers no authentication/, { offered: [] })
  testFailure(
    'is none if there is no password and no certificate',
    [],
    { password: undefined },
    77,
    /no mechanism in common; the server has EXTERNAL, PLAIN/,
    { offered: ['EXTERNAL', 'PLAIN'] },
  )
  testFailure(
    'is none if the server does not offer the one that --auth names',
    [],
    { mechanism: 'CRAM-MD5' },
    77,
    /doesn't offer CRAM-MD5; it has PLAIN/,
    { offered: ['PLAIN'] },
  )
  testFailure(
    'is none if --auth names EXTERNAL without a certificate',
    [],
    { mechanism: 'EXTERNAL' },
    77,
    /needs --tls-cert/,
  )
  testFailure(
    'is none if --auth names a PLUS mechanism without TLS 1.3',
    [],
    { mechanism: 'SCRAM-SHA-256-PLUS' },
    77,
    /TLS 1\.3/,
  )
})

suite('the hint after a 535', () => {
  const hintOf = async (offered: readonly string[], mechanism?: Credentials['mechanism']): Promise<string> => {
    const exchange = playExchange([[/^AUTH \S+/, '535 no']], { ...CREDENTIALS, mechanism }, { offered })
    const error = await exchange.catch((caught: unknown) => caught)
    assert.ok(error instanceof StepError, String(error))
    return error.hint ?? ''
  }
  test('names another mechanism that the server offers', async () => {
    assert.match(await hintOf(['CRAM-MD5', 'PLAIN']), /--auth PLAIN/)
  })
  test('names the strongest mechanism if --auth named a weaker one', async () => {
    assert.match(await hintOf(['LOGIN', 'CRAM-MD5', 'PLAIN'], 'PLAIN'), /--auth CRAM-MD5$/)
  })
  test('names no mechanism that the client cannot use', async () => {
    assert.doesNotMatch(await hintOf(['CRAM-MD5', 'XOAUTH2', 'EXTERNAL', 'SCRAM-SHA-256-PLUS']), /--auth/)
  })
  test('is missing after a reply that is not about the password', async () => {
    const exchange = playExchange([[/^AUTH \S+/, '504 no']], CREDENTIALS, { offered: ['CRAM-MD5', 'PLAIN'] })
    await assert.rejects(exchange, (error) => error instanceof StepError && error.hint === undefined)
  })
})

suite('a server that breaks the exchange', () => {
  const mechanism = 'LOGIN'
  for (const [title, challenge] of [
    ['is cancelled with 76 after a challenge that is not base64', '334 %%%'],
    ['is cancelled with 76 after a challenge of two lines', '334-VXNlcm5hbWU6\r\n334 VXNlcm5hbWU6'],
    ['is cancelled with 76 after a challenge without its padding', '334 VXNlcm5hbWU'],
    ['is cancelled with 76 after a challenge with a space in it', '334 VXNl cm5h'],
  ] as const) {
    testFailure(
      title,
      [
        ['AUTH LOGIN', challenge],
        ['*', '501 cancelled'],
      ],
      { mechanism },
      76,
      /not base64/,
    )
  }
  testFailure(
    'is cancelled with 76 after a third challenge of LOGIN',
    [
      ['AUTH LOGIN', '334 '],
      [base64('site'), '334 '],
      [base64('secret'), '334 '],
      ['*', '501 x'],
    ],
    { mechanism },
    76,
    /a challenge more/,
  )
  testFailure(
    'is cancelled with 76 after a challenge of PLAIN',
    [
      [/^AUTH PLAIN /, '334 '],
      ['*', '501 x'],
    ],
    { mechanism: 'PLAIN' },
    76,
    /a challenge more/,
  )
  testFailure(
    'fails with 75 after a 454',
    [['AUTH LOGIN', '454 4.7.0 later']],
    { mechanism },
    75,
    /^454 4\.7\.0 later$/,
  )
  testFailure('fails with 77 after a 535', [['AUTH LOGIN', '535 5.7.8 no']], { mechanism }, 77, /^535 5\.7\.8 no$/)
  testFailure(
    'fails with 76 after a 235 before the password was sent',
    [['AUTH LOGIN', '235 ok']],
    { mechanism },
    76,
    /235 before/,
  )
  testFailure(
    'fails with 76 after a 235 between user and password',
    [
      ['AUTH LOGIN', '334 '],
      [base64('site'), '235 ok'],
    ],
    { mechanism },
    76,
    /235 before/,
  )
  testFailure(
    'fails with 76 after a 250, which is no success of AUTH',
    [[/^AUTH PLAIN/, '250 ok']],
    { mechanism: 'PLAIN' },
    76,
    /^250 ok$/,
  )
})

suite('secretsOfAuthLine', () => {
  const response = base64('\0site\0secret')
  test('returns the response of an AUTH command and what it encodes', () => {
    assert.deepEqual(secretsOfAuthLine(`AUTH PLAIN ${response}`), [response, '\0site\0secret'])
  })
  test('returns a response that stands alone and what it encodes', () => {
    assert.deepEqual(secretsOfAuthLine(base64('secret')), [base64('secret'), 'secret'])
  })
})
