import assert from 'node:assert/strict'
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import { suite, test } from 'node:test'
import { completeWords } from '../../src/command/completion.js'
import { StepError } from '../../src/errors.js'
import { authenticate } from '../../src/smtp/auth.js'
import { MECHANISMS } from '../../src/smtp/mechanisms.js'
import { ReplyParser } from '../../src/smtp/reply.js'
import { type AuthContext, scram } from '../../src/smtp/sasl.js'
import type { Credentials } from '../../src/smtp/session-settings.js'

const AROUND: AuthContext = { host: 'mx.example', port: 25, exporter: undefined, hasCertificate: false, offered: [] }
const SITE: Credentials = { user: 'site', password: 'secret', mechanism: undefined }
const b64 = (text: string): string => Buffer.from(text).toString('base64')

/** A server's half: what the client says must be this, and is answered so. A function makes the answer from what was said. */
type Turn = readonly [said: string | RegExp, reply: string | ((line: string) => string)]

async function talk(turns: readonly Turn[], c: Credentials, around: Partial<AuthContext> = {}): Promise<string[]> {
  const left = [...turns]
  const shown: string[] = []
  const say = async (line: string, transcript: string) => {
    const [said, reply] = left.shift() ?? assert.fail(`one line too many: ${line}`)
    if (typeof said === 'string') assert.equal(line, said)
    else assert.match(line, said)
    shown.push(transcript)
    const parser = new ReplyParser()
    parser.push(Buffer.from(`${typeof reply === 'string' ? reply : reply(line)}\r\n`))
    return Promise.resolve(parser.next() ?? assert.fail('no whole reply'))
  }
  try {
    await authenticate(say, c, { ...AROUND, offered: [c.mechanism ?? ''], ...around })
  } finally {
    assert.equal(left.length, 0, 'lines that were not said')
  }
  return shown
}

const works = (
  title: string,
  turns: readonly Turn[],
  c: Partial<Credentials>,
  around: Partial<AuthContext> = {},
): void =>
  void test(title, async () => {
    await talk(turns, { ...SITE, ...c }, around)
  })

const fails = (
  title: string,
  turns: readonly Turn[],
  c: Partial<Credentials>,
  status: number,
  message: RegExp,
  around: Partial<AuthContext> = {},
): void =>
  void test(title, async () => {
    await assert.rejects(talk(turns, { ...SITE, ...c }, around), (error) => {
      assert.ok(error instanceof StepError, String(error))
      assert.equal(error.exitStatus, status)
      assert.match(error.message, message)
      return true
    })
  })

suite('mechanisms', () => {
  works('PLAIN (RFC 4616)', [[`AUTH PLAIN ${b64('\0site\0secret')}`, '235 ok']], { mechanism: 'PLAIN' })
  works(
    'LOGIN',
    [
      ['AUTH LOGIN', '334 VXNlcm5hbWU6'],
      [b64('site'), '334 UGFzc3dvcmQ6'],
      [b64('secret'), '235 ok'],
    ],
    { mechanism: 'LOGIN' },
  )
  works(
    "CRAM-MD5 (RFC 2195's own example)",
    [
      ['AUTH CRAM-MD5', `334 ${b64('<1896.697170952@postoffice.reston.mci.net>')}`],
      ['dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw', '235 ok'],
    ],
    { mechanism: 'CRAM-MD5', user: 'tim', password: 'tanstaaftanstaaf' },
  )
  works(
    'EXTERNAL without a user: empty is not none (RFC 4954)',
    [['AUTH EXTERNAL =', '235 ok']],
    { mechanism: 'EXTERNAL', user: '' },
    { hasCertificate: true },
  )
  works(
    'EXTERNAL as a user',
    [[`AUTH EXTERNAL ${b64('site')}`, '235 ok']],
    { mechanism: 'EXTERNAL' },
    { hasCertificate: true },
  )
  works('XOAUTH2', [[`AUTH XOAUTH2 ${b64('user=site\x01auth=Bearer secret\x01\x01')}`, '235 ok']], {
    mechanism: 'XOAUTH2',
  })
  fails(
    'XOAUTH2 refused',
    [
      [/^AUTH XOAUTH2 /, `334 ${b64('{"status":"401"}')}`],
      ['', '535 5.7.8 no'],
    ],
    { mechanism: 'XOAUTH2' },
    77,
    /^535 5\.7\.8 no$/,
  )
  works(
    'OAUTHBEARER (RFC 7628)',
    [[`AUTH OAUTHBEARER ${b64('n,a=si=2Cte,\x01host=mx.example\x01port=25\x01auth=Bearer secret\x01\x01')}`, '235 ok']],
    { mechanism: 'OAUTHBEARER', user: 'si,te' },
  )
  fails(
    'OAUTHBEARER refused',
    [
      [/^AUTH OAUTHBEARER /, `334 ${b64('{}')}`],
      ['AQ==', '535 no'],
    ],
    { mechanism: 'OAUTHBEARER' },
    77,
    /^535 no$/,
  )
  const long = 'x'.repeat(400)
  works(
    'what is too long for the command comes after it',
    [
      ['AUTH PLAIN', '334 '],
      [b64(`\0site\0${long}`), '235 ok'],
    ],
    { mechanism: 'PLAIN', password: long },
  )

  test('the transcript has no secret', async () => {
    const shown = await talk(
      [
        ['AUTH LOGIN', '334 VXNlcm5hbWU6'],
        [b64('site'), '334 UGFzc3dvcmQ6'],
        [b64('secret'), '235 ok'],
      ],
      { ...SITE, mechanism: 'LOGIN' },
    )
    assert.deepEqual(shown, ['AUTH LOGIN', '****', '****'])
    assert.deepEqual(await talk([[/^AUTH PLAIN /, '235 ok']], { ...SITE, mechanism: 'PLAIN' }), ['AUTH PLAIN ****'])
  })
})

suite('which mechanism', () => {
  const all = [...MECHANISMS].reverse()
  const chosen = (title: string, mechanism: string, around: Partial<AuthContext>, c: Partial<Credentials> = {}): void =>
    fails(title, [[new RegExp(`^AUTH ${mechanism}(?: |$)`), '454 later']], c, 75, /^454 later$/, around)
  chosen('the client certificate before all', 'EXTERNAL', {
    offered: all,
    hasCertificate: true,
    exporter: Buffer.alloc(32),
  })
  chosen('then what binds to the channel', 'SCRAM-SHA-256-PLUS', { offered: all, exporter: Buffer.alloc(32) })
  chosen('then the stronger hash', 'SCRAM-SHA-256', { offered: all })
  chosen('then SHA-1', 'SCRAM-SHA-1', { offered: ['LOGIN', 'PLAIN', 'CRAM-MD5', 'SCRAM-SHA-1'] })
  chosen('then CRAM-MD5', 'CRAM-MD5', { offered: ['LOGIN', 'PLAIN', 'CRAM-MD5', 'DIGEST-MD5'] })
  chosen('then PLAIN', 'PLAIN', { offered: ['LOGIN', 'PLAIN', 'XOAUTH2'] })
  chosen('then LOGIN', 'LOGIN', { offered: ['XOAUTH2', 'LOGIN'] })
  chosen('--auth', 'PLAIN', { offered: all }, { mechanism: 'PLAIN' })
  fails('tokens only where --auth says so', [], {}, 77, /no mechanism in common; the server has XOAUTH2, OAUTHBEARER/, {
    offered: ['XOAUTH2', 'OAUTHBEARER'],
  })
  fails('none in common', [], {}, 77, /no mechanism in common; the server has GSSAPI/, { offered: ['GSSAPI'] })
  fails('none at all', [], {}, 77, /offers no authentication/, { offered: [] })
  fails(
    '--auth of one that is not offered',
    [],
    { mechanism: 'CRAM-MD5' },
    77,
    /doesn't offer CRAM-MD5; it has PLAIN/,
    { offered: ['PLAIN'] },
  )
  fails('--auth EXTERNAL without a certificate', [], { mechanism: 'EXTERNAL' }, 77, /needs --tls-cert/)
  fails('--auth PLUS without TLS 1.3', [], { mechanism: 'SCRAM-SHA-256-PLUS' }, 77, /TLS 1\.3/)
  test('the options have the same names', async () =>
    assert.deepEqual(await completeWords(['etrn', '--auth', '']), MECHANISMS))
  test('a refusal names another one', async () => {
    await assert.rejects(
      talk([[/^AUTH CRAM-MD5/, '535 no']], SITE, { offered: ['CRAM-MD5', 'PLAIN'] }),
      (error) => error instanceof StepError && /--auth PLAIN/.test(error.hint ?? ''),
    )
  })
})

suite('a server that breaks the exchange', () => {
  const mechanism = 'LOGIN'
  fails(
    'a challenge that is not base64',
    [
      ['AUTH LOGIN', '334 %%%'],
      ['*', '501 cancelled'],
    ],
    { mechanism },
    76,
    /not base64/,
  )
  fails(
    'a challenge of two lines',
    [
      ['AUTH LOGIN', '334-VXNlcm5hbWU6\r\n334 VXNlcm5hbWU6'],
      ['*', '501 cancelled'],
    ],
    { mechanism },
    76,
    /not base64/,
  )
  fails(
    'one challenge more',
    [
      ['AUTH LOGIN', '334 '],
      [b64('site'), '334 '],
      [b64('secret'), '334 '],
      ['*', '501 x'],
    ],
    { mechanism },
    76,
    /a challenge more/,
  )
  fails(
    'a challenge after PLAIN',
    [
      [/^AUTH PLAIN /, '334 '],
      ['*', '501 x'],
    ],
    { mechanism: 'PLAIN' },
    76,
    /a challenge more/,
  )
  fails('454', [['AUTH LOGIN', '454 4.7.0 later']], { mechanism }, 75, /^454 4\.7\.0 later$/)
  fails('535', [['AUTH LOGIN', '535 5.7.8 no']], { mechanism }, 77, /^535 5\.7\.8 no$/)
  fails('235 before the password was said', [['AUTH LOGIN', '235 ok']], { mechanism }, 76, /235 before/)
  fails('250 is no success of AUTH', [[/^AUTH PLAIN/, '250 ok']], { mechanism: 'PLAIN' }, 76, /^250 ok$/)
})

/** The server's half of SCRAM, by the RFCs' own words; changed where a test wants it. */
function scramServer(
  hash: 'sha1' | 'sha256',
  more: {
    readonly iterations?: string
    readonly nonce?: string
    readonly signature?: string
    readonly password?: string
    readonly binding?: Buffer
    readonly header?: string
  } = {},
): Turn[] {
  const { iterations = '4096', password = 'secret', header = 'n,,', binding = Buffer.alloc(0) } = more
  const salt = Buffer.from('salt of the test')
  const hmac = (key: Uint8Array, text: string): Buffer => createHmac(hash, key).update(text).digest()
  let first = ''
  let serverFirst = ''
  const decoded = (line: string): string => Buffer.from(line.replace(/^AUTH \S+ /, ''), 'base64').toString()
  return [
    [
      /^AUTH SCRAM-/,
      (line) => {
        assert.ok(decoded(line).startsWith(header), decoded(line))
        first = decoded(line).slice(header.length)
        const nonce = /r=(.*)$/.exec(first)?.[1] ?? ''
        serverFirst = `r=${more.nonce ?? `${nonce}server`},s=${salt.toString('base64')},i=${iterations}`
        return `334 ${b64(serverFirst)}`
      },
    ],
    [
      /^/,
      (line) => {
        if (line === '*') return '501 cancelled'
        const [unproven = '', proof = ''] = decoded(line).split(',p=')
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
        return `334 ${b64(more.signature ?? `v=${hmac(hmac(salted, 'Server Key'), transcript).toString('base64')}`)}`
      },
    ],
  ]
}

suite('SCRAM', () => {
  const end: Turn = ['', '235 ok']
  const cancelled: Turn = ['*', '501 cancelled']
  const BOUND = Buffer.from('0123456789abcdef0123456789abcdef')
  works('SHA-1', [...scramServer('sha1'), end], { mechanism: 'SCRAM-SHA-1' })
  works('SHA-256', [...scramServer('sha256'), end], { mechanism: 'SCRAM-SHA-256' })
  works(
    'SHA-256-PLUS is bound to the channel',
    [...scramServer('sha256', { header: 'p=tls-exporter,,', binding: BOUND }), end],
    { mechanism: 'SCRAM-SHA-256-PLUS' },
    { exporter: BOUND },
  )
  works(
    'a server that could bind would notice that its offer was cut out',
    [...scramServer('sha256', { header: 'y,,' }), end],
    { mechanism: 'SCRAM-SHA-256' },
    { exporter: BOUND },
  )
  works(
    'chosen by --auth, it says nothing of that',
    [...scramServer('sha256'), end],
    { mechanism: 'SCRAM-SHA-256' },
    { exporter: BOUND, offered: ['SCRAM-SHA-256', 'SCRAM-SHA-256-PLUS'] },
  )
  works('a password that is not ASCII is prepared', [...scramServer('sha256', { password: 'IX é' }), end], {
    mechanism: 'SCRAM-SHA-256',
    password: '\u2168\u00a0e\u0301',
  })
  works('as many iterations as the RFC allows us', [...scramServer('sha256', { iterations: '1000000' }), end], {
    mechanism: 'SCRAM-SHA-256',
  })
  for (const iterations of ['4095', '0', '-1', '1000001', '1e5', '99999999999', '']) {
    fails(
      `${iterations} iterations`,
      scramServer('sha256', { iterations }),
      { mechanism: 'SCRAM-SHA-256' },
      76,
      /iterations|not SCRAM/,
    )
  }
  fails(
    'a nonce that is not ours',
    scramServer('sha256', { nonce: 'other' }),
    { mechanism: 'SCRAM-SHA-256' },
    76,
    /not SCRAM/,
  )
  fails(
    "a signature that only the password's owner could make",
    [...scramServer('sha256', { signature: `v=${b64('x'.repeat(32))}` }), cancelled],
    { mechanism: 'SCRAM-SHA-256' },
    76,
    /doesn't prove/,
  )
  const hangUp: Turn = [
    '*',
    () => {
      throw new StepError('the server closed the connection', { exitStatus: 75 })
    },
  ]
  fails(
    'a forged signature stays one when the server hangs up',
    [...scramServer('sha256', { signature: `v=${b64('x'.repeat(32))}` }), hangUp],
    { mechanism: 'SCRAM-SHA-256' },
    76,
    /doesn't prove/,
  )
  const saying =
    (text: string) =>
    (line: string): string => {
      const nonce = /r=(.*)$/.exec(Buffer.from(line.replace(/^AUTH \S+ /, ''), 'base64').toString())?.[1] ?? ''
      return `334 ${b64(text.replace('NONCE', `${nonce}x`))}`
    }
  for (const text of [
    'r=evil,r=NONCE,s=c2FsdA==,i=4096',
    's=c2FsdA==,r=NONCE,i=4096',
    'r=NONCE,s=!!,i=4096',
    'm=x,r=NONCE,s=c2FsdA==,i=4096',
    'r=NONCE,s=,i=4096',
    `r=NONCE${'x'.repeat(8000)},s=c2FsdA==,i=4096`,
  ]) {
    const turns: Turn[] = [[/^AUTH SCRAM/, saying(text)], cancelled]
    fails(
      `attributes as they may not be: ${text.slice(0, 40)}`,
      turns,
      { mechanism: 'SCRAM-SHA-256' },
      76,
      /not SCRAM's/,
    )
  }
  fails(
    'no signature',
    [...scramServer('sha256', { signature: 'x=1' }), cancelled],
    { mechanism: 'SCRAM-SHA-256' },
    76,
    /doesn't prove/,
  )
  fails(
    'an error',
    [...scramServer('sha256', { signature: 'e=invalid-proof' }), cancelled],
    { mechanism: 'SCRAM-SHA-256' },
    77,
    /invalid-proof/,
  )
  const [hello] = scramServer('sha256')
  assert.ok(hello)
  fails('235 without a signature', [hello, [/^/, '235 ok']], { mechanism: 'SCRAM-SHA-256' }, 76, /doesn't prove/)
  fails('235 at once', [[/^AUTH SCRAM/, '235 ok']], { mechanism: 'SCRAM-SHA-256' }, 76, /not SCRAM/)

  const vector = (
    title: string,
    hash: 'sha1' | 'sha256',
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
      assert.equal(String((await exchange.next()).value), clientFirst)
      assert.equal(String((await exchange.next(Buffer.from(serverFirst))).value), clientFinal)
      assert.equal(String((await exchange.next(Buffer.from(serverFinal))).value), '')
      assert.equal((await exchange.next(Buffer.alloc(0))).done, true)
    })
  vector('RFC 5802, section 5', 'sha1', 'fyko+d2lbbFgONRv9qkxdawL', [
    'n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL',
    'r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096',
    'c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=',
    'v=rmF9pqV8S7suAoZWja4dJRkFsKQ=',
  ])
  vector('RFC 7677, section 3', 'sha256', 'rOprNGfwEbeRWgbNEkqO', [
    'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
    'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
    'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
    'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
  ])
})
