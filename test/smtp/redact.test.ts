import assert from 'node:assert/strict'
import { createHmac, pbkdf2Sync } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { suite, test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { inspect } from 'node:util'
import { codeOf } from '../../src/errors.js'
import { printable, shortenMessage } from '../../src/printable.js'
import { SessionError } from '../../src/smtp/errors.js'
import { formatExtensions, parseExtensions } from '../../src/smtp/extensions.js'
import { SecretFinder } from '../../src/smtp/find-secrets.js'
import { Redactor } from '../../src/smtp/redact.js'
import { formatReply, type Reply, ReplyParser, replyOf } from '../../src/smtp/reply.js'
import type { TlsInfo } from '../../src/smtp/trace.js'
import type { TraceEvent } from '../../src/smtp/trace.js'
import { ask } from '../../src/index.js'
import { etrn } from '../helpers/command.js'
import { ehloSteps, greetedSession } from '../helpers/login.js'
import { BYE, type Conversation, etrnSteps, scripted, type Step } from '../helpers/scripted-server.js'

const SECRET = 'hunter2.secret'
const hide = (text: string, secret = SECRET): string => new Redactor(secret).redact(text)
const base64 = (text: string): string => Buffer.from(text).toString('base64')

suite('redact', () => {
  test('masks a secret in any case of letters, as EHLO keywords are put into capitals', () =>
    assert.equal(hide('EHLO lists HUNTER2.SECRET, ETRN'), 'EHLO lists ****, ETRN'))
  test('masks the beginning of a secret where a text was cut', () => {
    assert.equal(hide('yyyhunter2.se...'), 'yyy****...')
    assert.equal(hide('yyyhunt...'), 'yyy****...')
    assert.equal(hide('yyyHUNT...'), 'yyy****...')
    assert.equal(hide('a hun...'), 'a hun...')
  })
  for (const [title, escapeOctet] of [
    ['percent-encoded', (octet: string) => `%${octet}`],
    ['in quoted-printable', (octet: string) => `=${octet}`],
    ['in xtext', (octet: string) => `+${octet}`],
    ['in escapes of octets', (octet: string) => `\\x${octet}`],
    ['in escapes of characters', (octet: string) => `\\u{0${octet}}`],
  ] as const)
    test(`masks the beginning of a secret ${title} wherever the text is cut`, () => {
      const beginning = `220 ${'y'.repeat(10)}`
      const secret = 'hunter2secret'
      const escaped = Buffer.from(secret).toString('hex').replace(/../g, escapeOctet)
      const text = beginning + escaped
      const size = escapeOctet('00').length
      for (let end = beginning.length + 4 * size; end < text.length; end++) {
        assert.equal(hide(shortenMessage(text, end), secret), `${beginning}****...`)
        const parser = new ReplyParser()
        parser.push(Buffer.from(text.slice(0, end)))
        assert.equal(hide(parser.bufferedText, secret), `${beginning}****...`)
      }
    })
  test('masks the beginning of an escaped secret in a quotation of a line that is too long', () => {
    for (const [start, rest] of [
      [2040, '%68%75%6E%74%65'],
      [2039, '%68%75%6E%74%65'],
      [2038, '\\x68\\x75\\x6E'],
    ] as const) {
      const parser = new ReplyParser()
      parser.push(Buffer.from(`${'y'.repeat(start)}${rest}`))
      assert.throws(
        () => parser.next(),
        (error: Error) => !/[%\\x][\da-f]?\.\.\./i.test(hide(error.message)),
      )
    }
  })
  test('masks no beginning of a secret where a text was not cut', () => assert.equal(hide('a hunt'), 'a hunt'))
  test('takes the characters of a secret literally', () => assert.equal(hide('hunter2-secret'), 'hunter2-secret'))
  test('masks a secret of any special characters', () => {
    const special = '\\^$.*+?()[]{}|/-'
    assert.equal(hide(`a ${special} b`, special), 'a **** b')
  })
  test('masks every occurrence', () => assert.equal(hide(`${SECRET} ${SECRET}`), '**** ****'))
  test('masks its base64, with and without padding', () => {
    assert.ok(base64(SECRET).endsWith('='))
    assert.equal(hide(`a ${base64(SECRET)} b`), 'a **** b')
    assert.equal(hide(`a ${base64(SECRET).replace(/=+$/, '')} b`), 'a **** b')
  })
  test('masks a secret in base64 without its padding', () => {
    for (const padding of ['=', '==']) {
      const secret = `og0zICdMFXDLh5z6vRnj${padding}`
      assert.equal(hide(`a ${secret} b`, secret), 'a **** b')
      assert.equal(hide('a og0zICdMFXDLh5z6vRnj b', secret), 'a **** b')
    }
  })
  test('masks a part of its base64: the beginning, and the end behind the mark of a cut', () => {
    const [plain, secret] = ['\0site\0Secr3t-Passw0rd!x9', 'Secr3t-Passw0rd!x9']
    const whole = base64(plain)
    for (let length = 18; length <= whole.length; length++)
      assert.doesNotMatch(hide(`501 syntax error: AUTH PLAIN ${whole.slice(0, length)}`, secret), /U2Vj|NyM3/)
    for (let length = 6; length < 20; length++) {
      assert.equal(hide(`501 "AUTH PLAIN AH...${whole.slice(-length)}"`, secret), '501 "AUTH PLAIN AH...****"')
      assert.equal(
        hide(`501 "AUTH PLAIN AH...${base64(secret).slice(-length)}" no`, secret),
        '501 "AUTH PLAIN AH...****" no',
      )
    }
    assert.equal(hide('no such thing...password', secret), 'no such thing...password')
  })
  test('masks its printable form', () => assert.equal(hide('a pass\\x07word b', 'pass\x07word'), 'a **** b'))
  test('masks a secret of four characters inside a word, a shorter one as a word of its own', () => {
    assert.equal(hide('apassb', 'pass'), 'a****b')
    for (const secret of ['pas', 'p4', '7', 'é'])
      for (const around of [
        'a * b',
        '*',
        '"*" is wrong',
        'no <*>',
        'user=*;',
        'it is *.',
        'it is *. So',
        '(*)',
        'a:*,b',
        'a\\x00*',
      ])
        assert.equal(hide(around.replace('*', secret), secret), around.replace('*', '****'))
    for (const text of ['compass', 'paste', 'pas-1', '1.pas.2', 'pasé', 'a@pas', 'x_pas'])
      assert.equal(hide(text, 'pas'), text)
  })
  test('leaves numbers and codes that contain a short password', () => {
    assert.equal(
      hide('5.7.1 host 192.0.2.5 sent 55 messages in 0.5s', '5'),
      '5.7.1 host 192.0.2.5 sent 55 messages in 0.5s',
    )
  })
  test('masks a secret that is percent-encoded, quoted-printable, xtext or escaped, in part or as a whole', () => {
    for (const text of [
      'hunter2%2esecret',
      '%68%75%6E%74%65%72%32%2E%73%65%63%72%65%74',
      'hunter=32.secret',
      'hunter2+2Esecret',
      'hunter2\\x2esecret',
      '\\u{68}unter2.secret',
      'hunter2\\u002Esecret',
      '&#104;unter2&#x2e;secret',
    ])
      assert.equal(hide(`a ${text} b`), 'a **** b')
    for (const text of ['p&"\\/w', 'p\\u0026\\"\\\\\\/w', 'p&amp;&quot;\\/w', 'p&#38;\\"\\\\/w'])
      assert.equal(hide(`a "${text}" b`, 'p&"\\/w'), 'a "****" b')
    for (const [text, secret] of [
      ['correct+horse+battery', 'correct horse battery'],
      ['correct\\ horse\\ battery', 'correct horse battery'],
      ['pass+word%261%272%2F3', "pass word&1'2/3"],
      ["O''Brien-secret", "O'Brien-secret"],
      ["O'\\''Brien-secret", "O'Brien-secret"],
      ['p\\303\\244ssword', 'pässword'],
    ] as const)
      assert.equal(hide(`a=${text}&b`, secret), 'a=****&b')
    assert.equal(hide('a p%C3%A9ss b', 'p\u00e9ss'), 'a **** b')
    assert.equal(hide('a 100%41b b', '100%41b'), 'a **** b')
    assert.equal(hide('a x%5100ab b', '100ab'), 'a x%5**** b')
  })
  test('masks its hex', () =>
    assert.equal(hide(`a ${Buffer.from(SECRET).toString('hex').toUpperCase()} b`), 'a **** b'))
  test('masks every base64 of a text that holds it', () => {
    for (const before of ['', 'a', 'ab', 'abc', '\0site\0', 'user=site\x01auth=Bearer '])
      for (const after of ['', 'x', 'xy', '\x01\x01']) {
        const shown = hide(`a ${base64(before + SECRET + after)} b`)
        const visible = Buffer.from(shown.replace(/^a | b$|[*]{4}.*$/g, ''), 'base64').toString()
        assert.ok(shown.includes('****') && before.startsWith(visible.slice(0, before.length)), shown)
        assert.ok(!Buffer.from(shown.slice(2), 'base64').toString().includes('ecre'), shown)
      }
  })
  test('masks forms that Unicode or SASLprep takes for the same', () => {
    for (const text of ['caf\u00e9 \u2168 x', 'cafe\u0301 \u2168 x', 'caf\u00e9 IX x'])
      assert.equal(hide(`a ${text} b`, 'caf\u00e9\u00a0\u2168 x'.replace('\u00a0', ' ')), 'a **** b')
    assert.equal(hide('a pass word b', 'pass\u00ad\u00a0word'), 'a **** b')
    assert.equal(hide('a CAF\u00c9-1 b', 'caf\u00e9-1'), 'a **** b')
  })
  test('masks a secret of several words in spite of other blanks and commas', () => {
    for (const text of [
      'open sesame now',
      'OPEN   sesame now',
      'opensesamenow',
      'OPEN, SESAME, NOW',
      'open / 5.7.8 sesame / now',
      'open / 535-5.7.8 sesame / 535 now',
      printable('open\u00a0sesame\u3000now'),
      printable('open\tsesame\u2003\u2800now'),
    ])
      assert.equal(hide(`a ${text} b`, 'open sesame now'), 'a **** b')
  })
  test('leaves words that are a short secret only without their blanks', () =>
    assert.equal(hide('this is an example', 'isan'), 'this is an example'))
  test('masks a percent-encoded capital letter beyond ASCII', () =>
    assert.equal(hide('a %C3%89t%C3%A9-1 b', '\u00c9t\u00e9-1'), 'a **** b'))
  test('masks an encoded secret whose beginning looks like the end of an escape', () => {
    assert.equal(hide('%1%35%00%00%00', '5\0\0\0'), '%1****')
    assert.equal(hide('%15\\x00\\x00\\x00', '5\0\0\0'), '%1****')
  })
  test('finds the last of hundreds of secrets', () => {
    const redactor = new Redactor(SECRET)
    for (let count = 0; count < 300; count++) redactor.addSecret(`digest${count}x`)
    const text = 'hunter2.se'.repeat(200)
    assert.equal(redactor.redact(`${text} digest299x ${SECRET}`), `${text} **** ****`)
  })
  test('keeps the newest hundreds of secrets, and always the password', () => {
    const redactor = new Redactor(SECRET)
    for (let count = 0; count < 1000; count++) redactor.addSecret(`digest${count}x`)
    assert.equal(redactor.redact(`digest0x digest800x digest999x ${SECRET}`), 'digest0x **** **** ****')
  })
  test('changes nothing without a secret', () => assert.equal(new Redactor().redact('a b'), 'a b'))
  test('takes no time to look for a password that does not exist', () => {
    const finder = new SecretFinder()
    finder.add('')
    assert.equal(finder.size, 0)
  })
  test('masks the beginning of a secret in a quotation that was cut', () =>
    assert.equal(
      hide('a line of more than 2048 octets: "xxhunter2.s..."'),
      'a line of more than 2048 octets: "xx****..."',
    ))
  test('leaves no secret in any text', () => {
    const secret = fc.string({ unit: fc.constantFrom('a', 'b', '.', '*', '=', ' '), minLength: 4, maxLength: 12 })
    const around = fc.string({ unit: fc.constantFrom('x', 'y', ' '), maxLength: 8 })
    fc.assert(
      fc.property(secret, around, around, (word, before, after) => {
        // The mask itself, with what stands beside it, may look like the secret.
        fc.pre(!`${before}****${after}`.includes(word))
        assert.ok(!hide(before + word + after, word).includes(word))
      }),
    )
  })
})

const reply = (code: number, ...lines: readonly string[]): Reply => replyOf(code, lines)

suite('redactReply', () => {
  const redactor = new Redactor('2.0.0 open sesame')
  test('masks lines before it takes an enhanced status code from them', () =>
    assert.deepEqual(redactor.redactReply(reply(250, '2.0.0 open sesame')), {
      code: 250,
      enhancedCode: null,
      lines: ['****'],
      text: '****',
    }))
  test('keeps the codes of a reply whose text is masked', () =>
    assert.deepEqual(redactor.redactReply(reply(250, '2.1.5 is 2.0.0 open sesame')), reply(250, '2.1.5 is ****')))
  test('keeps a code that is the password', () =>
    assert.deepEqual(
      new Redactor('535').redactReply(reply(535, '5.7.8 535 is wrong')),
      reply(535, '5.7.8 **** is wrong'),
    ))
  test('masks a secret that goes on in the next lines, behind their enhanced status codes', () => {
    const redact = (password: string, ...lines: readonly string[]): readonly string[] =>
      new Redactor(password).redactReply(reply(535, ...lines)).lines
    assert.deepEqual(redact(SECRET, '5.7.8 x hunter2.', '5.7.8 secret y', 'z'), ['5.7.8 x ****', '5.7.8 **** y', 'z'])
    assert.deepEqual(redact('open sesame', 'x open', 'sesame y'), ['x ****', '**** y'])
    assert.deepEqual(redact('decafbad-night', 'x=decafbad-', 'night y'), ['x=****', '**** y'])
    assert.deepEqual(redact('Go~winter-2026', 'x R29', '+d2ludGVyLTIwMjY= y'), ['x ****', '**** y'])
    for (const gap of ['  ', ' \t', ' , '])
      assert.match(
        redact(SECRET, '5.7.8 x hunter2.', `5.7.8${gap}secret y`).join(),
        /^5\.7\.8 x \*{4},5\.7\.8\s\W*\*{4} y$/,
      )
    assert.deepEqual(redact('open', 'x op', 'en y'), ['x ****', '**** y'])
    assert.deepEqual(redact(SECRET, 'hun', 'ter2', '.secret'), ['****', '****', '****'])
  })
  test('returns the same reply if there is nothing to mask', () => {
    const other = reply(250, 'ok')
    assert.equal(redactor.redactReply(other), other)
  })
})

test('addPassword masks the password from then on, beside the others, even in a reply that was redacted before', () => {
  const redactor = new Redactor(SECRET)
  const first = reply(250, `open sesame ${SECRET}`)
  assert.equal(redactor.redactReply(first).text, 'open sesame ****')
  redactor.addPassword('open sesame')
  assert.equal(redactor.redactReply(first).text, '**** ****')
})

suite('redactTrace', () => {
  const redactor = new Redactor(SECRET)
  const redactEvent = (event: TraceEvent): TraceEvent => {
    let shown: TraceEvent | undefined
    redactor.redactTrace((masked) => (shown = masked))(event)
    return shown ?? assert.fail()
  }
  test('masks a secret in every event that holds text of the server', () => {
    const text = `a ${SECRET}`
    const tls: TlsInfo = {
      protocol: 'TLSv1.3',
      cipher: 'X',
      verified: false,
      certificate: { names: [text, 'b'], issuer: text, validTo: '2026-11-24', fingerprint: 'AB', problem: text },
    }
    for (const [event, masked] of [
      [
        { type: 'greeting', text },
        { type: 'greeting', text: 'a ****' },
      ],
      [
        { type: 'warning', stage: 'etrn', text },
        { type: 'warning', stage: 'etrn', text: 'a ****' },
      ],
      [
        { type: 'sent', line: text },
        { type: 'sent', line: 'a ****' },
      ],
      [
        { type: 'received', reply: reply(250, text, text) },
        { type: 'received', reply: reply(250, 'a ****', 'a ****') },
      ],
      [
        { type: 'extensions', extensions: new Map([[`X${SECRET}`, `b ${SECRET}`]]) },
        { type: 'extensions', extensions: new Map([['X****', 'b ****']]) },
      ],
      [
        { type: 'tls', tls },
        {
          type: 'tls',
          tls: {
            ...tls,
            certificate: {
              names: ['a ****', 'b'],
              issuer: 'a ****',
              validTo: '2026-11-24',
              fingerprint: 'AB',
              problem: 'a ****',
            },
          },
        },
      ],
    ] as readonly (readonly [TraceEvent, TraceEvent])[])
      assert.deepEqual(redactEvent(event), masked)
  })
  test('masks a secret that the parameters of two masked keywords make', () => {
    const secret = 'correct horse battery'
    const lines = ['mx', `${base64(secret)} correct`, `${Buffer.from(secret).toString('hex')} horse battery`]
    const masked = new Redactor(secret).redactExtensions(parseExtensions({ lines }))
    assert.deepEqual(formatExtensions(masked), ['**** ****'])
  })
  test('masks a secret that a keyword of EHLO begins and its parameters end', () => {
    const trace: TraceEvent[] = []
    const extensions = parseExtensions({ lines: ['mx', 'ETRN', 'open sesame now', 'SIZE 1'] })
    new Redactor('open sesame').redactTrace((event) => trace.push(event))({ type: 'extensions', extensions })
    assert.deepEqual(trace, [
      {
        type: 'extensions',
        extensions: new Map([
          ['ETRN', ''],
          ['****', 'now'],
          ['SIZE', '1'],
        ]),
      },
    ])
  })
  test('passes other events on as they are', () => {
    const event: TraceEvent = { type: 'resolved', addresses: ['192.0.2.1'] }
    assert.equal(redactEvent(event), event)
  })
})

suite('redactError', () => {
  test('replaces by three dots what a reply has beyond 2,048 octets', () => {
    const lines = Array.from({ length: 128 }, () => 'x'.repeat(1000))
    const reply = { code: 550, enhancedCode: null, lines, text: 'x' }
    const error = new Redactor(SECRET).redactError(new SessionError('ehlo', 'no', { exitStatus: 69, reply }))
    assert.deepEqual([error.message, error.reply?.lines], ['no', [...lines.slice(0, 2), `${'x'.repeat(48)}...`]])
  })
  test('masks the part of a secret that the three dots leave of a long reply', () => {
    const lines = ['x'.repeat(2040), `y ${SECRET}`]
    const reply = { code: 550, enhancedCode: null, lines, text: 'x' }
    const error = new Redactor(SECRET).redactError(new SessionError('ehlo', 'no', { exitStatus: 69, reply }))
    assert.deepEqual(error.reply?.lines, [lines[0], 'y ****...'])
  })
  test('masks message, hint and reply, and keeps the rest', () => {
    const cause = new Error('x')
    const facts = { exitStatus: 77, kind: 'self', cause } as const
    const error = new SessionError('auth', `a ${SECRET}`, {
      ...facts,
      hint: `ask ${SECRET}`,
      reply: reply(535, `a ${SECRET}`),
    })
    const shown = new Redactor(SECRET).redactError(error)
    const { exitStatus, kind, cause: kept } = shown
    assert.deepEqual({ exitStatus, kind, cause: kept }, facts)
    assert.deepEqual(
      [shown.stage, shown.message, shown.hint, shown.reply],
      ['auth', 'a ****', 'ask ****', reply(535, 'a ****')],
    )
    assert.ok(!shown.stack?.includes(SECRET))
  })
  test('keeps the code of the reply in the message if the password is that number', () => {
    const own = reply(535, '5.7.8 535 is wrong')
    const error = new SessionError('auth', formatReply(own), { exitStatus: 77, reply: own })
    assert.equal(new Redactor('535').redactError(error).message, '535 5.7.8 **** is wrong')
  })
  test('masks a secret that holds the words of a bare reply', () => {
    const own = reply(501, '')
    const message = `the server refused PLAIN (501 not ${SECRET}501x), LOGIN (${formatReply(own)})`
    const error = new SessionError('auth', message, { exitStatus: 77, reply: own })
    const shown = new Redactor(`${SECRET}501x`).redactError(error).message
    assert.equal(shown, 'the server refused PLAIN (501 not ****), LOGIN (501)')
    const without = new SessionError('auth', `not ${SECRET}501x`, { exitStatus: 77, reply: own })
    assert.equal(new Redactor(`${SECRET}501x`).redactError(without).message, 'not ****')
  })
  test('masks the message of a cause at any depth, and keeps its code', () => {
    const inner = new Error(`inner ${SECRET}`)
    const cause = Object.assign(new Error(`outer ${SECRET}`, { cause: inner }), { code: 'ERR_SSL_X' })
    const shown = new Redactor(SECRET).redactError(new SessionError('tls', 'x', { exitStatus: 76, cause })).cause
    assert.ok(shown instanceof Error && shown.cause instanceof Error)
    assert.deepEqual([shown.message, codeOf(shown), shown.cause.message], ['outer ****', 'ERR_SSL_X', 'inner ****'])
    assert.ok(!inspect(shown).includes(SECRET))
  })
  test('shortens the message only after it has masked it', () => {
    const error = new SessionError('auth', `${'x'.repeat(395)}${SECRET}`, { exitStatus: 77 })
    assert.equal(new Redactor(SECRET).redactError(error).message, `${'x'.repeat(395)}****`)
    const long = new SessionError('auth', 'x'.repeat(500), { exitStatus: 77 })
    assert.equal(new Redactor(SECRET).redactError(long).message, `${'x'.repeat(400)}...`)
  })
})

suite('the output of a run', { concurrency: true }, () => {
  /** Runs the command against these conversations with -v, with --json -v, and with neither. Returns all outputs. */
  const outputsOf = async (
    t: TestContext,
    conversations: readonly Conversation[],
    password: string,
    args: readonly string[] = [],
    names: readonly string[] = ['site.example'],
  ): Promise<string[]> => {
    const outputs: string[] = []
    for (const form of [['-v'], ['--json', '-v'], []]) {
      const server = await scripted(t, ...conversations)
      const options = ['--helo', 'gw.site.example', '--user', 'site', ...args, ...form]
      const run = await etrn([`127.0.0.1:${server.port}`, ...options, ...names], { env: { ETRN_PASSWORD: password } })
      await server.verify()
      outputs.push(run.stdout + run.stderr)
    }
    return outputs
  }
  const assertHidden = (outputs: readonly string[], ...secrets: readonly (string | RegExp)[]): void => {
    for (const output of outputs)
      for (const secret of secrets)
        assert.ok(
          typeof secret === 'string' ? !output.includes(secret) : !secret.test(output),
          `${String(secret)} in ${output}`,
        )
  }
  const cram = (challenge: string): string =>
    base64(`site ${createHmac('md5', SECRET).update(challenge).digest('hex')}`)
  const cramSession = (greeting: string, challenge: string, ...steps: readonly Step[]): Conversation => [
    `S: 220 ${greeting}`,
    ...ehloSteps('AUTH CRAM-MD5', 'ETRN'),
    'C: AUTH CRAM-MD5',
    `S: 334 ${base64(challenge)}`,
    `C: ${cram(challenge)}`,
    'S: 235 ok',
    ...steps,
    ...BYE,
  ]
  const names = Array.from({ length: 8 }, (_, index) => `n${index}.example`)
  const requests = (some: readonly string[]): Step[] => some.flatMap((name) => etrnSteps(name, '250 OK'))
  test('has no AUTH response that a later session of the server repeats', async (t) => {
    const outputs = await outputsOf(
      t,
      [
        cramSession('mx', '<1@mx>', ...requests(names.slice(0, 7))),
        cramSession(`mx ${cram('<1@mx>')}`, '<2@mx>', ...requests(names.slice(7))),
      ],
      SECRET,
      ['--jobs', '1'],
      names,
    )
    assertHidden(outputs, cram('<1@mx>'), cram('<2@mx>'))
  })
  test('has no AUTH response that the server repeats in a later round', async (t) => {
    const outputs = await outputsOf(
      t,
      [
        cramSession('mx', '<1@mx>', ...etrnSteps('site.example', '253 1 pending message')),
        cramSession(`mx ${cram('<1@mx>')}`, '<2@mx>', ...etrnSteps('site.example', `251 ${cram('<1@mx>')}`)),
      ],
      SECRET,
      ['--wait', '20s', '--interval', '1s'],
    )
    assertHidden(outputs, cram('<1@mx>'), cram('<2@mx>'))
  })
  const plainSession = (password: string, keywords: readonly string[], ...steps: readonly Step[]): Conversation =>
    greetedSession(...ehloSteps('AUTH PLAIN', ...keywords), `C: AUTH PLAIN ${base64(`\0site\0${password}`)}`, ...steps)
  test('has no part of a passphrase that the server repeats as a line of EHLO', async (t) => {
    const secret = 'sesame opens mountains'
    const again = ehloSteps('Sesame opens mountains', 'SIZE 7')
    const outputs = await outputsOf(
      t,
      [plainSession(secret, ['sesame  opens mountains'], 'S: 235 ok', ...again)],
      secret,
    )
    assertHidden(outputs, /sesame/i, /opens/i, /mountains/i)
    assert.match(outputs[2] ?? '', /EHLO lists \*\*\*\*, SIZE, HELP/)
  })
  test('has no part of a passphrase that the server repeats as mechanisms of AUTH', async (t) => {
    const secret = 'sesame opens mountains'
    const steps = ehloSteps('AUTH sesame opens mountains', 'ETRN')
    const outputs = await outputsOf(t, [greetedSession(...steps)], secret)
    assertHidden(outputs, /sesame/i, /opens/i, /mountains/i)
  })
  test('has no part of a password that begins like an enhanced status code', async (t) => {
    const secret = '5.7.1 mountains'
    const outputs = await outputsOf(t, [plainSession(secret, ['ETRN'], `S: 535 ${secret}`)], secret)
    assertHidden(outputs, 'mountains', '5.7.1')
    const results = await outputsOf(
      t,
      [plainSession(secret, ['ETRN'], 'S: 235 ok', ...etrnSteps('site.example', `550-${secret}\r\n550 ${secret}`))],
      secret,
    )
    assertHidden(results, 'mountains', '5.7.1')
  })
  test('has no password of less than four characters, and keeps codes', async (t) => {
    const outputs = await outputsOf(t, [plainSession('k9', ['ETRN', 'X k9'], 'S: 535 5.7.9 "k9" is not k9.')], 'k9')
    assertHidden(outputs, 'k9', 'K9')
    assert.match(outputs[2] ?? '', /: login with PLAIN rejected \(535 5\.7\.9 "\*\*\*\*" is not \*\*\*\*\.\)/)
    const [, json = ''] = await outputsOf(t, [plainSession('535', ['ETRN'], 'S: 535 5.3.5 not 535')], '535')
    assert.match(json, /"message": "login with PLAIN rejected \(535 5\.3\.5 not \*\*\*\*\)",\n *"code": 535,/)
  })
  for (const mechanism of ['LOGIN', 'CRAM-MD5', 'PLAIN', 'SCRAM-SHA-256'] as const)
    test(`has the user name that the server repeats after ${mechanism}`, async (t) => {
      const secret = SECRET
      const steps: Record<typeof mechanism, Step[]> = {
        LOGIN: ['C: AUTH LOGIN', 'S: 334 ', `C: ${base64('site')}`, 'S: 334 ', `C: ${base64(secret)}`],
        'CRAM-MD5': ['C: AUTH CRAM-MD5', `S: 334 ${base64('<1@mx>')}`, `C: ${cram('<1@mx>')}`],
        PLAIN: [`C: AUTH PLAIN ${base64(`\0site\0${secret}`)}`],
        'SCRAM-SHA-256': [ignoreLine],
      }
      const outputs = await outputsOf(
        t,
        [
          greetedSession(
            ...ehloSteps(`AUTH ${mechanism}`, 'ETRN'),
            ...steps[mechanism],
            `S: 535 node site (${base64('site')}) not allowed`,
          ),
        ],
        secret,
      )
      for (const output of outputs) assert.match(output, /535 node site \(c2l0ZQ==\) not allowed/)
    })
  test('has no proof, signature or key of SCRAM', async (t) => {
    const sent: string[] = []
    const answer = (socket: Socket): Promise<void> => answerScram(socket, SECRET, sent)
    const steps = [...ehloSteps('AUTH SCRAM-SHA-1', 'ETRN'), answer, ...etrnSteps('site.example', '250 OK')]
    const outputs = await outputsOf(t, [greetedSession(...steps)], SECRET)
    assert.equal(sent.length, 15)
    for (const text of sent) assertHidden(outputs, text)
  })
  test('has no password in the events and the report of the library', async (t) => {
    const server = await scripted(
      t,
      plainSession(
        SECRET,
        ['ETRN', `X ${SECRET}`],
        'S: 235 ok',
        ...etrnSteps('site.example', `459 4.7.0 no, ${SECRET}`),
      ),
      greetedSession(...ehloSteps(`X ${SECRET}`)),
    )
    for (let session = 1; session <= 2; session++) {
      const events: TraceEvent[] = []
      const report = await ask(`127.0.0.1:${server.port}`, ['site.example'], {
        helo: 'gw.site.example',
        credentials: { user: 'site', password: SECRET },
        trace: (event) => events.push(event),
      })
      assert.doesNotMatch(inspect([report, events], { depth: null }), /hunter2|aHVudGVyMi5z/)
    }
    await server.verify()
  })
})

/** Takes any line. */
async function ignoreLine(socket: Socket): Promise<void> {
  await takeLine(socket)
}

/** Returns the client's next line, so that the script doesn't see it. */
async function takeLine(socket: Socket): Promise<string> {
  const [listener] = socket.listeners('data') as [(octets: Buffer) => void]
  socket.off('data', listener)
  const [octets] = (await once(socket, 'data')) as [Buffer]
  socket.on('data', listener)
  return octets.toString().trimEnd()
}

/** Plays SCRAM-SHA-1 as its server, and adds to `sent` the proof, the server's signature and the keys. */
async function answerScram(socket: Socket, password: string, sent: string[]): Promise<void> {
  const decode = (line: string): string => Buffer.from(line.replace(/^.* /, ''), 'base64').toString()
  const first = decode(await takeLine(socket)).replace('n,,', '')
  const serverFirst = `r=${/r=(.*)$/.exec(first)?.[1] ?? ''}server,s=${base64('salt')},i=4096`
  socket.write(`334 ${base64(serverFirst)}\r\n`)
  const [unproven = '', proof = ''] = decode(await takeLine(socket)).split(',p=')
  const key = pbkdf2Sync(password, 'salt', 4096, 20, 'sha1')
  const serverKey = createHmac('sha1', key).update('Server Key').digest()
  const signature = createHmac('sha1', serverKey).update(`${first},${serverFirst},${unproven}`).digest('base64')
  const clientKey = createHmac('sha1', key).update('Client Key').digest()
  const keys = [key, clientKey, serverKey].map((secret) => secret.toString('base64'))
  sent.push(proof, signature, ...keys)
  socket.write(`334 ${base64(`v=${signature}`)}\r\n`)
  await takeLine(socket)
  socket.write(`235 ${[proof, signature, ...keys].join(' ')} ${base64(`v=${signature}`)}\r\n`)
}
