import assert from 'node:assert/strict'
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import { suite, test } from 'node:test'
import { StepError } from '../../src/errors.js'
import { scram } from '../../src/smtp/sasl.js'
import { base64, CREDENTIALS, testFailure, testSuccess, type Turn } from './sasl-dialogue.js'

function decodeLine(line: string): string {
  return Buffer.from(line.replace(/^AUTH \S+ /, ''), 'base64').toString()
}

type Hash = Parameters<typeof scram>[0]

/** Plays the server of SCRAM as the RFCs describe it, but for what a test changes. */
function serveScram(
  hash: Hash,
  changes: {
    readonly iterations?: string
    readonly nonce?: string
    readonly signature?: string
    readonly password?: string
    readonly binding?: Buffer
    readonly header?: string
    readonly user?: string
  } = {},
): Turn[] {
  const { iterations = '4096', password = 'secret', header = 'n,,', binding = Buffer.alloc(0) } = changes
  const salt = Buffer.from('salt of the test')
  const hmac = (key: Uint8Array, text: string): Buffer => createHmac(hash, key).update(text).digest()
  let first = ''
  let serverFirst = ''
  return [
    [
      /^AUTH SCRAM-/,
      (line) => {
        assert.ok(decodeLine(line).startsWith(header), decodeLine(line))
        first = decodeLine(line).slice(header.length)
        const [, user, nonce = ''] = /^n=([^,]*),r=(.*)$/.exec(first) ?? []
        assert.equal(user, changes.user ?? 'site')
        serverFirst = `r=${changes.nonce ?? `${nonce}server`},s=${salt.toString('base64')},i=${iterations}`
        return `334 ${base64(serverFirst)}`
      },
    ],
    [
      /^/,
      (line) => {
        if (line === '*') return '501 cancelled'
        const [unproven = '', proof = ''] = decodeLine(line).split(',p=')
        assert.ok(
          unproven.startsWith(`c=${Buffer.concat([Buffer.from(header), binding]).toString('base64')},r=`),
          unproven,
        )
        const transcript = `${first},${serverFirst},${unproven}`
        const salted = pbkdf2Sync(password, salt, Number(iterations), createHash(hash).digest().length, hash)
        const clientKey = hmac(salted, 'Client Key')
        const signature = hmac(createHash(hash).update(clientKey).digest(), transcript)
        const expected = Buffer.from(clientKey.map((octet, index) => octet ^ (signature[index] ?? 0)))
        assert.equal(proof, expected.toString('base64'))
        return `334 ${base64(changes.signature ?? `v=${hmac(hmac(salted, 'Server Key'), transcript).toString('base64')}`)}`
      },
    ],
  ]
}

/** Returns a challenge in which NONCE stands for the client's nonce with an addition. */
function challengeOf(text: string, addition = 'x'): (line: string) => string {
  return (line) => `334 ${base64(text.replace('NONCE', `${/r=(.*)$/.exec(decodeLine(line))?.[1] ?? ''}${addition}`))}`
}

async function startNonce(): Promise<string> {
  const exchange = scram('sha256', CREDENTIALS, { exporter: undefined, offered: [] })
  const { value } = await exchange.next()
  return /r=(.*)$/.exec(String(value?.octets))?.[1] ?? ''
}

suite('SCRAM', () => {
  const success: Turn = ['', '235 ok']
  const cancel: Turn = ['*', '501 cancelled']
  const EXPORTER = Buffer.from('0123456789abcdef0123456789abcdef')
  testSuccess('succeeds with SHA-1', [...serveScram('sha1'), success], { mechanism: 'SCRAM-SHA-1' })
  testSuccess('succeeds with SHA-256', [...serveScram('sha256'), success], { mechanism: 'SCRAM-SHA-256' })
  testSuccess('succeeds with SHA-512', [...serveScram('sha512'), success], { mechanism: 'SCRAM-SHA-512' })
  for (const [hash, mechanism] of [
    ['sha256', 'SCRAM-SHA-256-PLUS'],
    ['sha512', 'SCRAM-SHA-512-PLUS'],
  ] as const) {
    testSuccess(
      `binds ${mechanism} to the TLS channel`,
      [...serveScram(hash, { header: 'p=tls-exporter,,', binding: EXPORTER }), success],
      { mechanism },
      { exporter: EXPORTER },
    )
  }
  testSuccess(
    'tells the server with "y,," that the client could bind if no PLUS mechanism is offered',
    [...serveScram('sha256', { header: 'y,,' }), success],
    { mechanism: 'SCRAM-SHA-256' },
    { exporter: EXPORTER },
  )
  testSuccess(
    'sends "n,," if a PLUS mechanism is offered but --auth names another one',
    [...serveScram('sha256'), success],
    { mechanism: 'SCRAM-SHA-256' },
    { exporter: EXPORTER, offered: ['SCRAM-SHA-256', 'SCRAM-SHA-256-PLUS'] },
  )
  testSuccess('prepares a password that is not ASCII', [...serveScram('sha256', { password: 'IX é' }), success], {
    mechanism: 'SCRAM-SHA-256',
    password: '\u2168\u00a0e\u0301',
  })
  testSuccess('takes a million iterations', [...serveScram('sha256', { iterations: '1000000' }), success], {
    mechanism: 'SCRAM-SHA-256',
  })
  testSuccess('prepares a user that is not ASCII', [...serveScram('sha256', { user: 'IX' }), success], {
    mechanism: 'SCRAM-SHA-256',
    user: '\u2168',
  })
  testSuccess(
    'escapes a comma and an equals sign in the user',
    [...serveScram('sha256', { user: 'a=2Cb=3D' }), success],
    { mechanism: 'SCRAM-SHA-256', user: 'a,b=' },
  )
  testFailure(
    'fails with 77 if SASLprep prohibits a character of the user',
    [],
    { mechanism: 'SCRAM-SHA-256', user: 'site\u0007\u00e9' },
    77,
    /^login failed: the user name or the password has characters that SCRAM does not allow$/,
  )
  testFailure(
    'refuses a nonce to which the server added nothing',
    [[/^AUTH SCRAM/, challengeOf('r=NONCE,s=c2FsdA==,i=4096', '')], cancel],
    { mechanism: 'SCRAM-SHA-256' },
    76,
    /^login failed: the server sent an invalid SCRAM challenge$/,
  )
  test('uses another nonce for each exchange', async () => {
    const nonces = [await startNonce(), await startNonce()]
    assert.notEqual(nonces[0], nonces[1])
    for (const nonce of nonces) assert.match(nonce, /^[a-zA-Z0-9+/]{24}$/)
  })
  for (const iterations of ['4095', '0', '-1', '1000001', '1e5', '99999999999', '']) {
    testFailure(
      `refuses ${JSON.stringify(iterations)} iterations`,
      serveScram('sha256', { iterations }),
      { mechanism: 'SCRAM-SHA-256' },
      76,
      / SCRAM iterations \(etrn accepts 4096 to 1000000\)$|invalid SCRAM challenge$/,
    )
  }
  testFailure(
    'refuses a nonce that does not begin with its own',
    serveScram('sha256', { nonce: 'other' }),
    { mechanism: 'SCRAM-SHA-256' },
    76,
    /^login failed: the server sent an invalid SCRAM challenge$/,
  )
  testFailure(
    'refuses a wrong server signature',
    [...serveScram('sha256', { signature: `v=${base64('x'.repeat(32))}` }), cancel],
    { mechanism: 'SCRAM-SHA-256' },
    76,
    /^login failed: the server did not prove that it knows the password$/,
  )
  const lostConnection: Turn = [
    '*',
    () => {
      throw new StepError('the server closed the connection', { exitStatus: 75 })
    },
  ]
  testFailure(
    'reports a wrong signature even if the server closes the connection then',
    [...serveScram('sha256', { signature: `v=${base64('x'.repeat(32))}` }), lostConnection],
    { mechanism: 'SCRAM-SHA-256' },
    76,
    /^login failed: the server did not prove that it knows the password$/,
  )
  for (const text of [
    'r=evil,r=NONCE,s=c2FsdA==,i=4096',
    's=c2FsdA==,r=NONCE,i=4096',
    'r=NONCE,s=!!,i=4096',
    'm=x,r=NONCE,s=c2FsdA==,i=4096',
    'r=NONCE,s=,i=4096',
    `r=NONCE${'x'.repeat(8000)},s=c2FsdA==,i=4096`,
  ]) {
    const turns: Turn[] = [[/^AUTH SCRAM/, challengeOf(text)], cancel]
    testFailure(
      `refuses the attributes ${text.slice(0, 40)}`,
      turns,
      { mechanism: 'SCRAM-SHA-256' },
      76,
      /^login failed: the server sent an invalid SCRAM challenge$/,
    )
  }
  testFailure(
    'refuses a final message without a signature',
    [...serveScram('sha256', { signature: 'x=1' }), cancel],
    { mechanism: 'SCRAM-SHA-256' },
    76,
    /^login failed: the server did not prove that it knows the password$/,
  )
  testFailure(
    'fails with 77 and the error that the server names',
    [...serveScram('sha256', { signature: 'e=invalid-proof' }), cancel],
    { mechanism: 'SCRAM-SHA-256' },
    77,
    /invalid-proof/,
  )
  const [firstTurn] = serveScram('sha256')
  assert.ok(firstTurn)
  testFailure(
    'refuses a 235 before the server signature',
    [firstTurn, [/^/, '235 ok']],
    { mechanism: 'SCRAM-SHA-256' },
    76,
    /^login failed: the server did not prove that it knows the password$/,
  )
  testFailure(
    'refuses a 235 without a challenge',
    [[/^AUTH SCRAM/, '235 ok']],
    { mechanism: 'SCRAM-SHA-256' },
    76,
    /^login failed: the server sent an invalid SCRAM challenge$/,
  )

  const sendsMessages = (
    title: string,
    hash: Hash,
    nonce: string,
    messages: readonly [string, string, string, string],
  ): void =>
    void test(title, async () => {
      const exchange = scram(
        hash,
        { user: 'user', password: 'pencil', mechanism: undefined },
        { exporter: undefined, offered: [] },
        false,
        nonce,
      )
      const [clientFirst, serverFirst, clientFinal, serverFinal] = messages
      const [, salt = '', count = ''] = /,s=(.*),i=(.*)$/.exec(serverFirst) ?? []
      const size = createHash(hash).digest().length
      const salted = pbkdf2Sync('pencil', Buffer.from(salt, 'base64'), Number(count), size, hash)
      const keys = ['Client Key', 'Server Key'].map((text) => createHmac(hash, salted).update(text).digest())
      const proofs = [clientFinal.replace(/^.*,p=/, ''), serverFinal.replace('v=', '')]
      const secrets = [...proofs.map((proof) => Buffer.from(proof, 'base64')), salted, ...keys].flatMap((secret) => [
        secret.toString('base64'),
        secret.toString('base64url'),
        secret.toString('hex'),
      ])
      assert.deepEqual(await exchange.next(), { done: false, value: { octets: Buffer.from(clientFirst), secrets: [] } })
      assert.deepEqual(await exchange.next(Buffer.from(serverFirst)), {
        done: false,
        value: { octets: Buffer.from(clientFinal), secrets },
      })
      assert.deepEqual((await exchange.next(Buffer.from(serverFinal))).value, { octets: Buffer.from(''), secrets: [] })
      assert.equal((await exchange.next(Buffer.alloc(0))).done, true)
    })
  sendsMessages('sends the messages of the example in RFC 5802, section 5', 'sha1', 'fyko+d2lbbFgONRv9qkxdawL', [
    'n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL',
    'r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096',
    'c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=',
    'v=rmF9pqV8S7suAoZWja4dJRkFsKQ=',
  ])
  sendsMessages('sends the messages of the example in RFC 7677, section 3', 'sha256', 'rOprNGfwEbeRWgbNEkqO', [
    'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
    'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
    'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
    'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
  ])
  // The draft has no example. Python's hashlib and hmac gave proof and signature for RFC 7677's messages.
  sendsMessages(
    "sends what Python's hashlib makes of the same example with SHA-512",
    'sha512',
    'rOprNGfwEbeRWgbNEkqO',
    [
      'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
      'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
      'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==',
      'v=ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==',
    ],
  )
})

suite('the lines of a mechanism', () => {
  testSuccess(
    'PLAIN sends user and password at once (RFC 4616)',
    [[`AUTH PLAIN ${base64('\0site\0secret')}`, '235 ok']],
    {
      mechanism: 'PLAIN',
    },
  )
  testSuccess(
    'LOGIN sends the user, then the password',
    [
      ['AUTH LOGIN', '334 VXNlcm5hbWU6'],
      [base64('site'), '334 UGFzc3dvcmQ6'],
      [base64('secret'), '235 ok'],
    ],
    { mechanism: 'LOGIN' },
  )
  testSuccess(
    'CRAM-MD5 sends the digest of the example in RFC 2195',
    [
      ['AUTH CRAM-MD5', `334 ${base64('<1896.697170952@postoffice.reston.mci.net>')}`],
      ['dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw', '235 ok'],
    ],
    { mechanism: 'CRAM-MD5', user: 'tim', password: 'tanstaaftanstaaf' },
  )
  testSuccess(
    'EXTERNAL without a user sends "=", an empty response (RFC 4954)',
    [['AUTH EXTERNAL =', '235 ok']],
    { mechanism: 'EXTERNAL', user: '' },
    { hasCertificate: true },
  )
  testSuccess(
    'EXTERNAL with a user sends the user',
    [[`AUTH EXTERNAL ${base64('site')}`, '235 ok']],
    { mechanism: 'EXTERNAL' },
    { hasCertificate: true },
  )
  testSuccess(
    'XOAUTH2 sends user and token',
    [[`AUTH XOAUTH2 ${base64('user=site\x01auth=Bearer secret\x01\x01')}`, '235 ok']],
    { mechanism: 'XOAUTH2' },
  )
  testFailure(
    'XOAUTH2 answers an error challenge with an empty line and fails with 77',
    [
      [/^AUTH XOAUTH2 /, `334 ${base64('{"status":"401"}')}`],
      ['', '535 5.7.8 no'],
    ],
    { mechanism: 'XOAUTH2' },
    77,
    /^535 5\.7\.8 no$/,
  )
  testSuccess(
    'OAUTHBEARER sends the escaped user, host, port and token (RFC 7628)',
    [
      [
        `AUTH OAUTHBEARER ${base64('n,a=si=2Cte,\x01host=mx.example\x01port=25\x01auth=Bearer secret\x01\x01')}`,
        '235 ok',
      ],
    ],
    { mechanism: 'OAUTHBEARER', user: 'si,te' },
  )
  testSuccess(
    'OAUTHBEARER escapes an equals sign and every comma of the user',
    [
      [
        `AUTH OAUTHBEARER ${base64('n,a=a=2Cb=3D=2Cc,\x01host=mx.example\x01port=25\x01auth=Bearer secret\x01\x01')}`,
        '235 ok',
      ],
    ],
    { mechanism: 'OAUTHBEARER', user: 'a,b=,c' },
  )
  testFailure(
    'OAUTHBEARER answers an error challenge with a separator and fails with 77',
    [
      [/^AUTH OAUTHBEARER /, `334 ${base64('{}')}`],
      ['AQ==', '535 no'],
    ],
    { mechanism: 'OAUTHBEARER' },
    77,
    /^535 no$/,
  )
})
