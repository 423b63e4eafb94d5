import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { suite, test } from 'node:test'
import { StepError } from '../../src/errors.js'
import { MECHANISMS } from '../../src/smtp/mechanisms.js'
import type { AuthContext } from '../../src/smtp/sasl.js'
import type { Credentials } from '../../src/smtp/session-settings.js'
import { base64, CREDENTIALS, playExchange, testFailure, testSuccess, type Turn } from './sasl-dialogue.js'

const lose = (): string => {
  throw new StepError('the server closed the connection', { exitStatus: 75, kind: 'connection-lost' })
}

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
    /^login failed: the response is longer than 9000 octets$/,
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
  isChosen('is SCRAM-SHA-512-PLUS if the channel can be bound', 'SCRAM-SHA-512-PLUS', {
    offered: all,
    exporter: Buffer.alloc(32),
  })
  isChosen('is SCRAM-SHA-512 if the channel cannot be bound', 'SCRAM-SHA-512', { offered: all })
  isChosen('is SCRAM-SHA-256-PLUS rather than SCRAM-SHA-256 or SCRAM-SHA-1', 'SCRAM-SHA-256-PLUS', {
    offered: ['SCRAM-SHA-1', 'SCRAM-SHA-256', 'SCRAM-SHA-256-PLUS'],
    exporter: Buffer.alloc(32),
  })
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
    /^no AUTH mechanism in common \(AUTH lists XOAUTH2, OAUTHBEARER\)$/,
    { offered: ['XOAUTH2', 'OAUTHBEARER'] },
  )
  testFailure(
    'is none if the server has only unknown ones',
    [],
    {},
    77,
    /^no AUTH mechanism in common \(AUTH lists GSSAPI\)$/,
    { offered: ['GSSAPI'] },
  )
  testFailure('is none if the server lists none', [], {}, 77, /^AUTH not offered, but credentials were given$/, {
    offered: [],
  })
  testFailure(
    'is none if there is no password and no certificate',
    [],
    { password: undefined },
    77,
    /^no AUTH mechanism in common \(AUTH lists EXTERNAL, PLAIN\)$/,
    { offered: ['EXTERNAL', 'PLAIN'] },
  )
  testFailure(
    'is none if the server does not offer the one that --auth names',
    [],
    { mechanism: 'CRAM-MD5' },
    77,
    /^CRAM-MD5 not offered \(AUTH lists PLAIN\)$/,
    { offered: ['PLAIN'] },
  )
  testFailure(
    'is none if --auth names EXTERNAL without a certificate',
    [],
    { mechanism: 'EXTERNAL' },
    77,
    /^EXTERNAL is not possible without a client certificate$/,
  )
  for (const mechanism of ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-512-PLUS'] as const)
    testFailure(`is none if --auth names ${mechanism} without TLS 1.3`, [], { mechanism }, 77, /TLS 1\.3/)
})

suite('a mechanism that the server refuses', () => {
  const offered = ['LOGIN', 'PLAIN', 'CRAM-MD5', 'XOAUTH2']
  const plain: Turn = [/^AUTH PLAIN /, '235 ok']
  for (const reply of ['500 what?', '501 5.5.4 no', '502 5.5.1 no', '504 5.5.4 no', '534 5.7.9 too weak']) {
    testSuccess(`is followed by the next one after ${reply}`, [['AUTH CRAM-MD5', reply], plain], {}, { offered })
    testSuccess(
      `is followed by the next one if its response gets ${reply}`,
      [['AUTH CRAM-MD5', `334 ${base64('<1@mx>')}`], [/^[a-z0-9+/=]+$/i, reply], plain],
      {},
      { offered },
    )
    testFailure(
      `is the only one if --auth names it, after ${reply}`,
      [['AUTH CRAM-MD5', reply]],
      { mechanism: 'CRAM-MD5' },
      77,
      new RegExp(`^login rejected: CRAM-MD5 \\(${reply.replaceAll(/[.?]/g, '\\$&')}\\)$`),
      { offered },
    )
  }
  testFailure(
    'is tried once: if all are refused, the message names each with its reply, and the exit status is 77',
    [
      ['AUTH CRAM-MD5', '504 5.5.4 not here'],
      [/^AUTH PLAIN /, '534 5.7.9 too weak'],
      ['AUTH LOGIN', '502 no'],
    ],
    {},
    77,
    /^login rejected: CRAM-MD5 \(504 5\.5\.4 not here\), PLAIN \(534 5\.7\.9 too weak\), LOGIN \(502 no\)$/,
    { offered },
  )
  for (const [reply, status] of [
    ['535 5.7.8 no', 77],
    ['530 5.7.0 no', 77],
    ['538 5.7.11 no', 77],
    ['550 no', 77],
    ['553 no', 77],
    ['554 5.7.0 no', 77],
    ['432 4.7.12 no', 75],
    ['454 4.7.0 no', 75],
    ['421 no', 75],
    ['250 no', 76],
    ['354 no', 76],
  ] as const) {
    testFailure(
      `is the last one after ${reply}`,
      [['AUTH CRAM-MD5', reply]],
      {},
      status,
      new RegExp(`^${reply.replaceAll('.', '\\.')}$`),
      { offered },
    )
  }
  testFailure(
    'is the last one after 535, although another one was refused before',
    [
      ['AUTH CRAM-MD5', '504 no'],
      [/^AUTH PLAIN /, '535 no'],
    ],
    {},
    77,
    /^535 no$/,
    { offered },
  )
  testFailure(
    'is a temporary failure if the connection is lost, although a mechanism was refused before',
    [
      ['AUTH CRAM-MD5', '502 no'],
      [/^AUTH PLAIN /, lose],
    ],
    {},
    75,
    /closed/,
    { offered },
  )
  testFailure('is no reason for a lost connection before', [['AUTH CRAM-MD5', lose]], {}, 75, /closed/, { offered })
  testFailure(
    'is the last one if the client cancels the exchange, whatever the server replies',
    [
      ['AUTH CRAM-MD5', '334 %'],
      ['*', '501 cancelled'],
    ],
    {},
    76,
    /not base64/,
    { offered },
  )
})

suite('a session after another one', () => {
  const offered = ['LOGIN', 'PLAIN', 'CRAM-MD5', 'SCRAM-SHA-1']
  testFailure(
    'uses no weaker mechanism than the earlier one',
    [],
    {},
    77,
    /^an earlier session of this run used SCRAM-SHA-1, but AUTH now lists only PLAIN, LOGIN$/,
    { offered: ['PLAIN', 'LOGIN'], protection: { mechanism: 'SCRAM-SHA-1' } },
  )
  testSuccess(
    'begins with the earlier mechanism',
    [[/^AUTH PLAIN /, '235 ok']],
    {},
    { offered, protection: { mechanism: 'PLAIN' } },
  )
  testFailure(
    'uses a stronger mechanism, but no weaker one, if the earlier one is refused now',
    [
      ['AUTH CRAM-MD5', '504 no'],
      [/^AUTH SCRAM-SHA-1 /, '504 no'],
    ],
    {},
    77,
    /^login rejected: CRAM-MD5 \(504 no\), SCRAM-SHA-1 \(504 no\)$/,
    { offered, protection: { mechanism: 'CRAM-MD5' } },
  )
  for (const [title, reply, mechanism] of [
    ['a login', '235 ok', 'SCRAM-SHA-1'],
    ['a temporary failure', '454 no', 'SCRAM-SHA-1'],
    ['a lost connection', lose, 'SCRAM-SHA-1'],
    ['the refusal of every mechanism', '504 no', undefined],
  ] as const)
    test(`is bound to ${mechanism ?? 'no mechanism'} after ${title}`, async () => {
      const protection = { mechanism: undefined }
      const exchange = playExchange([[/^AUTH SCRAM-SHA-1 /, reply]], CREDENTIALS, {
        offered: ['SCRAM-SHA-1'],
        protection,
      })
      await exchange.catch(() => undefined)
      assert.equal(protection.mechanism, mechanism)
    })
  test('is bound to the last mechanism that was not refused', async () => {
    const protection = { mechanism: undefined }
    const turns = [
      [/^AUTH SCRAM-SHA-1 /, '504 no'],
      ['AUTH CRAM-MD5', lose],
    ] as const
    await assert.rejects(playExchange(turns, CREDENTIALS, { offered, protection }))
    assert.equal(protection.mechanism, 'CRAM-MD5')
  })
  for (const [title, end] of [
    ['closes the connection', lose],
    ['says goodbye', '421 bye'],
  ] as const)
    test(`names the next mechanism if the server ${title} after it has refused one`, async () => {
      const turns = [
        [/^AUTH SCRAM-SHA-1 /, '504 no'],
        ['AUTH CRAM-MD5', end],
      ] as const
      await assert.rejects(playExchange(turns, CREDENTIALS, { offered }), {
        message: 'the server closed the connection after it had refused SCRAM-SHA-1 (504 no)',
        exitStatus: 75,
        hint: 'try --auth CRAM-MD5',
      })
    })
  testFailure('uses a stronger mechanism', [[/^AUTH SCRAM-SHA-1 /, '454 no']], {}, 75, /^454 no$/, {
    offered: ['SCRAM-SHA-1', 'LOGIN'],
    protection: { mechanism: 'PLAIN' },
  })
})

suite('the hint of a failed login', () => {
  const hintOf = async (
    reply: string,
    offered: readonly string[],
    credentials: Partial<Credentials> = {},
    context: Partial<AuthContext> = {},
  ): Promise<string | undefined> => {
    const exchange = playExchange([[/^AUTH \S+/, reply]], { ...CREDENTIALS, ...credentials }, { offered, ...context })
    const error = await exchange.catch((caught: unknown) => caught)
    assert.ok(error instanceof StepError, String(error))
    return error.hint
  }
  test('names another mechanism that the server offers', async () =>
    assert.equal(
      await hintOf('535 no', ['CRAM-MD5', 'PLAIN']),
      'check the user name and the password (some servers need the mechanism PLAIN: --auth PLAIN), then ask your provider whether this user may log in',
    ))
  test('names the strongest other mechanism if --auth named a weaker one', async () =>
    assert.match(
      (await hintOf('535 no', ['LOGIN', 'CRAM-MD5', 'PLAIN'], { mechanism: 'PLAIN' })) ?? '',
      /\(some servers need the mechanism CRAM-MD5: --auth CRAM-MD5\)/,
    ))
  for (const [reply, hint] of [
    [
      '501 5.7.0 Authentication failed',
      /^check the user name and the password, then ask your provider which mechanism/,
    ],
    ['501 no', /^ask your provider which mechanism this user must use$/],
    ['504 Authentication not enabled.', /^many servers offer AUTH only on port 587/],
  ] as const)
    test(`tells what ${reply} can mean if no mechanism is left`, async () =>
      assert.match((await hintOf(reply, ['PLAIN'])) ?? '', hint))
  test('names no mechanism that the client cannot use', async () =>
    assert.equal(
      await hintOf('535 no', ['CRAM-MD5', 'XOAUTH2', 'EXTERNAL', 'SCRAM-SHA-256-PLUS', 'SCRAM-SHA-512-PLUS']),
      'check the user name and the password, then ask your provider whether this user may log in',
    ))
  for (const mechanism of ['XOAUTH2', 'OAUTHBEARER'] as const) {
    const offered = ['EXTERNAL', 'CRAM-MD5', 'PLAIN', 'LOGIN', 'XOAUTH2', 'OAUTHBEARER']
    test(`names no mechanism after ${mechanism} that would send the token as a password`, async () => {
      assert.equal(
        await hintOf('535 no', offered, { mechanism }, { hasCertificate: true }),
        'check the user name and the token, then ask your provider whether this user may log in',
      )
      assert.equal(
        await hintOf('504 no', offered, { mechanism }),
        'ask your provider which mechanism this user must use',
      )
    })
  }
  test('is about the certificate after EXTERNAL', async () =>
    assert.equal(
      await hintOf('535 no', ['EXTERNAL', 'PLAIN'], {}, { hasCertificate: true }),
      'check the user name and the client certificate (some servers need the mechanism PLAIN: --auth PLAIN), then ask your provider whether this user may log in',
    ))
  test('names a mechanism that the server offers beside the refused one of --auth', async () =>
    assert.equal(
      await hintOf('504 no', ['CRAM-MD5', 'PLAIN'], { mechanism: 'CRAM-MD5' }),
      'the server also offers PLAIN: try --auth PLAIN',
    ))
  test('names PLAIN after 432, which asks for one login with it', async () =>
    assert.match((await hintOf('432 no', ['CRAM-MD5'])) ?? '', /once with --auth PLAIN/))
  const testNoLogin = (
    title: string,
    offered: readonly string[],
    credentials: Partial<Credentials>,
    hint: string,
    protection: AuthContext['protection'] = { mechanism: undefined },
  ): void =>
    void test(title, async () => {
      const exchange = playExchange([], { ...CREDENTIALS, ...credentials }, { offered, protection })
      const error = await exchange.catch((caught: unknown) => caught)
      assert.ok(error instanceof StepError, String(error))
      assert.equal(error.hint, hint)
    })
  testNoLogin(
    'names --password-file if every mechanism needs a password',
    ['PLAIN'],
    { password: undefined },
    'give a password: --password-file FILE',
  )
  testNoLogin(
    'names --auth if the server offers only token mechanisms',
    ['OAUTHBEARER'],
    {},
    'if the password is an OAuth token: --auth OAUTHBEARER',
  )
  testNoLogin(
    'asks the provider for a mechanism if none is known',
    ['GSSAPI'],
    {},
    'ask your provider to offer SCRAM-SHA-256 or PLAIN',
  )
  testNoLogin(
    'names the option to omit if the server lacks that mechanism',
    ['PLAIN'],
    { mechanism: 'CRAM-MD5' },
    'run without --auth CRAM-MD5',
  )
  testNoLogin(
    'names the other mechanism for tokens if the server lacks that one',
    ['PLAIN', 'XOAUTH2'],
    { mechanism: 'OAUTHBEARER' },
    'use the other mechanism for tokens: --auth XOAUTH2',
  )
  for (const mechanism of ['XOAUTH2', 'OAUTHBEARER'] as const)
    testNoLogin(
      `warns of a token as a password if the server lacks ${mechanism}`,
      ['PLAIN', 'LOGIN'],
      { mechanism },
      `ask your provider how to log in: the server does not accept tokens, and without --auth ${mechanism} the token would be sent as a password`,
    )
  test('does not advise a weaker mechanism if an earlier session used a stronger one', async () =>
    assert.equal(
      await hintOf('504 no', ['SCRAM-SHA-256', 'PLAIN'], {}, { protection: { mechanism: 'SCRAM-SHA-256' } }),
      'an earlier session of this run used SCRAM-SHA-256: the server may be faulty, or this may be an attack: tell your provider',
    ))
  for (const mechanism of [undefined, 'PLAIN'] as const)
    testNoLogin(
      `is about the server if an earlier session used AUTH, with --auth ${mechanism}`,
      [],
      { mechanism },
      'the server may be faulty, or this may be an attack: tell your provider',
      { mechanism: 'PLAIN' },
    )
  testNoLogin(
    'names --tls-cert for EXTERNAL without a certificate',
    ['EXTERNAL'],
    { mechanism: 'EXTERNAL' },
    '--tls-cert FILE --tls-key FILE',
  )
  testNoLogin(
    'names the mechanism without channel binding if there is no TLS 1.3',
    ['SCRAM-SHA-256-PLUS'],
    { mechanism: 'SCRAM-SHA-256-PLUS' },
    'use the mechanism without channel binding: --auth SCRAM-SHA-256',
  )
  testNoLogin(
    'asks for the port if AUTH is not listed',
    [],
    {},
    'many servers offer AUTH only on port 587 (--port 587) or with TLS from the start (smtps://mx.example in place of mx.example); if neither works, ask your provider which port offers AUTH and ETRN',
  )
  test('is missing after a reply of no certain meaning', async () =>
    assert.equal(await hintOf('554 no', ['CRAM-MD5', 'PLAIN']), undefined))
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
    /^login failed: the server sent one challenge too many$/,
  )
  testFailure(
    'is cancelled with 76 after a challenge of PLAIN',
    [
      [/^AUTH PLAIN /, '334 '],
      ['*', '501 x'],
    ],
    { mechanism: 'PLAIN' },
    76,
    /^login failed: the server sent one challenge too many$/,
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
    /^login failed: the server ended the LOGIN exchange too early \(235 ok\)$/,
  )
  testFailure(
    'fails with 76 after a 235 between user and password',
    [
      ['AUTH LOGIN', '334 '],
      [base64('site'), '235 ok'],
    ],
    { mechanism },
    76,
    /^login failed: the server ended the LOGIN exchange too early \(235 ok\)$/,
  )
  testFailure(
    'fails with 76 after a 250, which is no success of AUTH',
    [[/^AUTH PLAIN/, '250 ok']],
    { mechanism: 'PLAIN' },
    76,
    /^250 ok$/,
  )
})

suite('the secrets of a line', () => {
  const cram = createHmac('md5', 'secret').update('<1@mx>').digest('hex')
  const keeps = (
    title: string,
    turns: readonly Turn[],
    secrets: readonly string[],
    credentials: Partial<Credentials>,
  ) =>
    void test(title, async () => {
      const kept: string[] = []
      await playExchange(turns, { ...CREDENTIALS, ...credentials }, { hasCertificate: true }, kept)
      assert.deepEqual(kept, secrets)
    })
  const plain = '\0site\0secret'
  keeps(
    'of PLAIN are the response and its base64',
    [[`AUTH PLAIN ${base64(plain)}`, '235 ok']],
    [plain, base64(plain)],
    { mechanism: 'PLAIN' },
  )
  keeps(
    'of LOGIN are the password, not the user',
    [
      ['AUTH LOGIN', '334 '],
      [base64('site'), '334 '],
      [base64('secret'), '235 ok'],
    ],
    ['secret', base64('secret')],
    { mechanism: 'LOGIN' },
  )
  keeps(
    'of CRAM-MD5 are the digest, not the user',
    [
      ['AUTH CRAM-MD5', `334 ${base64('<1@mx>')}`],
      [base64(`site ${cram}`), '235 ok'],
    ],
    [cram],
    { mechanism: 'CRAM-MD5' },
  )
  keeps('of EXTERNAL are none', [[`AUTH EXTERNAL ${base64('site')}`, '235 ok']], [], { mechanism: 'EXTERNAL' })
  const token = 'user=site\x01auth=Bearer secret\x01\x01'
  keeps(
    'of XOAUTH2 are the response and its base64',
    [[`AUTH XOAUTH2 ${base64(token)}`, '235 ok']],
    [token, base64(token)],
    { mechanism: 'XOAUTH2' },
  )
  test('of the first message of SCRAM are none', async () => {
    const kept: string[] = []
    const turns: Turn[] = [[/^AUTH SCRAM-SHA-1 /, '535 no']]
    await assert.rejects(playExchange(turns, { ...CREDENTIALS, mechanism: 'SCRAM-SHA-1' }, {}, kept))
    assert.deepEqual(kept, [])
  })
})
