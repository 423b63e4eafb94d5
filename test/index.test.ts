import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { inspect } from 'node:util'
import { UsageError } from '../src/errors.js'
import { ask } from '../src/index.js'
import { SessionError } from '../src/smtp/errors.js'
import { fixture } from './helpers/files.js'
import { BYE, close, type Conversation, HELLO, scripted } from './helpers/scripted-server.js'

const OPTIONS = { helo: 'gw.site.example' }

suite('ask', () => {
  test('returns a report of the names, and calls onResult for each', async (t) => {
    const server = await scripted(t, [...HELLO, 'C: ETRN site.example', 'S: 251 nothing', ...BYE])
    const outcomes: string[] = []
    const report = await ask(`127.0.0.1:${server.port}`, ['site.example'], {
      ...OPTIONS,
      onResult: ({ outcome }) => void outcomes.push(outcome),
    })
    assert.equal(report.error, null)
    assert.deepEqual(report.names, [
      {
        name: 'site.example',
        outcome: 'empty',
        code: 251,
        enhancedCode: null,
        text: 'nothing',
        pending: 0,
        hint: null,
      },
    ])
    assert.deepEqual(outcomes, ['empty'])
  })
  test('returns an error with its stage, its exit status and its cause', async () => {
    const { error, names } = await ask('127.0.0.1:9', ['site.example'])
    assert.ok(error instanceof SessionError)
    assert.deepEqual([error.stage, error.exitStatus, names[0]?.outcome], ['connect', 75, 'deferred'])
    assert.ok(error.cause instanceof Error && 'code' in error.cause && error.cause.code === 'ECONNREFUSED')
  })
  test('an aborted signal ends the session with QUIT, and the name is deferred', async (t) => {
    const abort = new AbortController()
    const server = await scripted(t, [...HELLO, 'C: ETRN site.example', () => abort.abort(), 'C: QUIT'])
    const { names } = await ask(`127.0.0.1:${server.port}`, ['site.example'], { ...OPTIONS, signal: abort.signal })
    assert.equal(names[0]?.outcome, 'deferred')
  })
  test('rejects with the error of a callback, and still sends QUIT', async (t) => {
    const server = await scripted(t, [...HELLO, 'C: ETRN site.example', 'S: 250 OK', ...BYE])
    const thrown = new Error('mine')
    const onResult = (): never => {
      throw thrown
    }
    await assert.rejects(ask(`127.0.0.1:${server.port}`, ['site.example'], { ...OPTIONS, onResult }), thrown)
  })
  test('keepGoing requests the other names after a refusal', async (t) => {
    for (const keepGoing of [false, true]) {
      const second = keepGoing ? (['C: ETRN b.example', 'S: 250 OK'] as const) : []
      const server = await scripted(t, [...HELLO, 'C: ETRN a.example', 'S: 550 no', ...second, ...BYE])
      const names = ['a.example', 'b.example', 'A.example']
      const report = await ask(`127.0.0.1:${server.port}`, names, { ...OPTIONS, keepGoing })
      assert.deepEqual(
        report.names.map(({ outcome }) => outcome),
        ['refused', keepGoing ? 'started' : 'skipped'],
      )
    }
  })
  test('assumeEtrn sends ETRN even if EHLO does not list it', async (t) => {
    const hello = ['S: 220 mx', 'C: EHLO gw.site.example', 'S: 250 mx'] as const
    const server = await scripted(t, [...hello, 'C: ETRN a.example', 'S: 250 OK', ...BYE], [...hello, ...BYE])
    const request = async (assumeEtrn: boolean) =>
      ask(`127.0.0.1:${server.port}`, ['a.example'], { ...OPTIONS, assumeEtrn })
    assert.equal((await request(true)).names[0]?.outcome, 'started')
    assert.deepEqual((await request(false)).error?.exitStatus, 69)
  })
  test('trace receives the number of the session of each event', async (t) => {
    const lost = [...HELLO, 'C: ETRN a.example', 'S: 250 OK', 'C: ETRN b.example', close] as const
    const next = [...HELLO, 'C: ETRN b.example', 'S: 250 OK', ...BYE] as const
    const server = await scripted(t, lost, next)
    const sent: string[] = []
    await ask(`127.0.0.1:${server.port}`, ['a.example', 'b.example'], {
      ...OPTIONS,
      trace: (event, session) => event.type === 'sent' && sent.push(`${session} ${event.line}`),
    })
    assert.deepEqual(
      sent.filter((line) => line.includes('ETRN')),
      ['1 ETRN a.example', '1 ETRN b.example', '2 ETRN b.example'],
    )
  })
  test('a fingerprint, a CA or a name alone demands verified TLS', async (t) => {
    const fingerprint = 'AB:'.repeat(31) + 'CD'
    const ca = fixture('ca.pem')
    for (const tls of [{ fingerprint }, { ca }, { name: 'mx.example' }]) {
      const server = await scripted(t, [...HELLO, ...BYE])
      const { error } = await ask(`127.0.0.1:${server.port}`, ['site.example'], { ...OPTIONS, tls })
      assert.deepEqual([error?.stage, error?.exitStatus], ['starttls', 76])
    }
  })
  test('rejects wrong arguments with a UsageError before anything is sent', async () => {
    const wrong: readonly Parameters<typeof ask>[] = [
      ['', ['site.example']],
      ['mx', ['no name']],
      ['mx', ['site.example'], { port: 70_000 }],
      ['mx', ['site.example'], { timeoutMs: Infinity }],
      ['mx', ['site.example'], { timeoutMs: NaN }],
      ['mx', ['site.example'], { helo: 'a\r\nb' }],
      ['mx', ['site.example'], { local: 'a b' }],
      ['mx', ['site.example'], { tls: { level: 'may', fingerprint: 'AB'.repeat(32) } }],
      ['smtp://site@mx', ['site.example']],
      ['mx', ['site.example'], { tls: { fingerprint: 'xx' } }],
      ['mx', ['site.example'], { tls: { ca: 'no certificate' } }],
      ['mx', ['site.example'], { tls: { name: 'a b' } }],
      ['mx', ['site.example'], { tls: { cert: 'x', key: 'y' } }],
      ['mx', ['site.example'], { tls: { key: 'y' } }],
      ['mx', ['site.example'], { credentials: { user: 'site' } }],
      ['mx', ['site.example'], { credentials: { user: 'a\0b', password: 'x' } }],
      ['mx', ['site.example'], { credentials: { user: 'site', password: 'a\0b' } }],
      ['mx', ['site.example'], { credentials: { user: 'site', password: 'a\ud800b' } }],
      ['mx', ['a\udc00.example'], {}],
      ['mx', ['site.example'], { tls: { level: 'none', minVersion: 'TLSv1.3' } }],
    ]
    // Callers without TypeScript can write these.
    const untyped = [
      ['mx', 'site.example'],
      [new URL('smtp://mx'), ['site.example']],
      ['mx', [1]],
      ['mx', ['site.example', , 'b.example']],
      ['mx', null],
      ['mx', { 0: 'site.example', length: 1 }],
      ['mx', new Set(['site.example'])],
      [null, ['site.example']],
      ['mx', ['site.example'], 5],
      ['mx', ['site.example'], 'verify'],
      ['mx', ['site.example'], []],
      ['mx', ['site.example'], new Map([['tls', true]])],
      ['mx', ['é/evil.example']],
      ['é/evil.example', ['site.example']],
      ['mx', ['xn--a.example']],
      ['mx', ['site.example'], null],
      ['mx', ['site.example'], { timeout: 30 }],
      ['mx', ['site.example'], { family: 5 }],
      ['mx', ['site.example'], { tls: { level: 'always' } }],
      ['mx', ['site.example'], { tls: { levle: 'verify' } }],
      ['mx', ['site.example'], { tls: { minVersion: '1.2' } }],
      ['mx', ['site.example'], { credentials: { user: 'site', password: 'x', mechanism: 'FOO' } }],
    ] as unknown as typeof wrong
    for (const args of [...wrong, ...untyped]) await assert.rejects(ask(...args), UsageError)
  })
  test('names the option of a wrong type, and connects to no server', async (t) => {
    const server = await scripted(t)
    const wrong: Readonly<Record<string, readonly unknown[]>> = {
      port: ['25', 2531.5, NaN, 0, 70_000, null, [25], true],
      helo: [1, null, '', [], 'é/x.example', 'xn--a.example'],
      family: ['4', 5, null, [4]],
      local: [1, null, {}],
      timeoutMs: ['5', 0, -1, NaN, Infinity, null, [5]],
      keepGoing: ['yes', 1, 0, '', null],
      assumeEtrn: [null, 'true', 1],
      allowWide: [1, 'yes', null],
      tls: [true, [], 'verify', null, 5, new Map(), () => undefined],
      'tls.level': [true, 'VERIFY', null, ['verify'], {}],
      'tls.fingerprint': [5, null, ['AB'.repeat(32)]],
      'tls.name': [5, null, 'a b', 'é/x.example'],
      'tls.ca': [5, null, '', Buffer.from('x'), ['x']],
      'tls.cert': [5, null, true],
      'tls.key': [5, null, true],
      'tls.minVersion': [1.2, null, '1.2'],
      credentials: ['x', true, null, [], new Map()],
      'credentials.user': [5, null, '', undefined],
      'credentials.password': [5, null, '', Buffer.from('x')],
      'credentials.mechanism': [5, null, 'plain', ['PLAIN']],
      signal: [{}, true, null, new AbortController()],
      onResult: ['x', {}, null, true],
      trace: [1, 'x', null],
    }
    for (const [path, values] of Object.entries(wrong)) {
      for (const value of values) {
        const [key = '', inner] = path.split('.')
        const rest = key === 'credentials' ? { user: 'u', password: 'p' } : {}
        const option = inner === undefined ? value : { ...rest, [inner]: value }
        // Callers without TypeScript can write these.
        const options = { ...OPTIONS, [key]: option } as Parameters<typeof ask>[2]
        await assert.rejects(
          ask(`127.0.0.1:${server.port}`, ['site.example'], options),
          (error) => error instanceof UsageError && error.exitStatus === 64 && error.message.startsWith(`${path} `),
          `${path} ${inspect(value)}`,
        )
      }
    }
  })
  test('an undefined option is one that is not given', async (t) => {
    const server = await scripted(t, [...HELLO, 'C: ETRN site.example', 'S: 250 OK', ...BYE])
    const keys = ['port', 'family', 'local', 'timeoutMs', 'keepGoing', 'assumeEtrn', 'allowWide', 'tls', 'credentials']
    const none = Object.fromEntries([...keys, 'signal', 'onResult', 'trace'].map((key) => [key, undefined]))
    const report = await ask(`127.0.0.1:${server.port}`, ['site.example'], { ...none, ...OPTIONS })
    assert.equal(report.names[0]?.outcome, 'started')
  })
  test('names the text that has a wrong key, or none', async () => {
    const cert = fixture('client.pem')
    const message = /^tls\.key: the private key does not belong to the certificate$/
    await assert.rejects(ask('mx', ['site.example'], { tls: { cert, key: fixture('mx.key') } }), {
      exitStatus: 64,
      message,
    })
    await assert.rejects(ask('mx', ['site.example'], { tls: { cert } }), {
      message: /^tls\.cert: no private key in PEM format found$/,
    })
  })
  for (const [title, answers] of [
    [
      'the replies of a session that succeeds',
      ['S: 235 welcome sesame', 'C: ETRN site.example', 'S: 250 OK sesame', ...BYE],
    ],
    ['a refusal', ['S: 535 sesame is wrong', ...BYE]],
    ['a line that is no reply', ['S: sesame is wrong', ...BYE]],
    ['a reply that arrives too early', ['S: 235 welcome\r\n250 sesame', ...BYE]],
  ] as const) {
    test(`masks a password that the server repeats in ${title}`, async (t) => {
      const server = await scripted(t, [
        ...[HELLO[0], HELLO[1], 'S: 250-mx.example', 'S: 250-AUTH PLAIN', 'S: 250 ETRN'],
        ...[`C: AUTH PLAIN ${Buffer.from('\0site\0sesame').toString('base64')}`, ...answers],
      ] as Conversation)
      const report = await ask(`127.0.0.1:${server.port}`, ['site.example'], {
        ...OPTIONS,
        credentials: { user: 'site', password: 'sesame' },
      })
      assert.doesNotMatch(inspect(report, { depth: 9 }), /sesame/)
    })
  }
})
