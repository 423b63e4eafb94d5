import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { inspect, promisify } from 'node:util'
import { UsageError } from '../src/errors.js'
import { ask } from '../src/index.js'
import { ownHostName } from '../src/net/this-host.js'
import { SessionError } from '../src/smtp/errors.js'
import { fixture, fixturePath, packageFile, ROOT } from './helpers/files.js'
import { BYE, type Conversation, HELLO, scripted } from './helpers/scripted-server.js'

const OPTIONS = { helo: 'gw.site.example' }

suite('as a library', () => {
  test('asks one server', async (t) => {
    const server = await scripted(t, [...HELLO, 'C: ETRN site.example', 'S: 251 nothing', ...BYE])
    const seen: string[] = []
    const report = await ask(`127.0.0.1:${server.port}`, ['site.example'], {
      ...OPTIONS,
      onResult: ({ outcome }) => void seen.push(outcome),
    })
    assert.equal(report.error, null)
    assert.deepEqual(report.names, [
      { name: 'site.example', outcome: 'empty', code: 251, enhancedCode: null, text: 'nothing', pending: 0 },
    ])
    assert.deepEqual(seen, ['empty'])
  })
  test('an error has its stage, its exit status and its cause', async () => {
    const { error, names } = await ask('127.0.0.1:9', ['site.example'])
    assert.ok(error instanceof SessionError)
    assert.deepEqual([error.stage, error.exitStatus, names[0]?.outcome], ['connect', 75, 'deferred'])
    assert.ok(error.cause instanceof Error && 'code' in error.cause && error.cause.code === 'ECONNREFUSED')
  })
  test('a signal ends it, with QUIT', async (t) => {
    const ending = new AbortController()
    const server = await scripted(t, [...HELLO, 'C: ETRN site.example', () => ending.abort(), 'C: QUIT'])
    const { names } = await ask(`127.0.0.1:${server.port}`, ['site.example'], { ...OPTIONS, signal: ending.signal })
    assert.equal(names[0]?.outcome, 'deferred')
  })
  test('what a callback throws comes out, and the session is left in good order', async (t) => {
    const server = await scripted(t, [...HELLO, 'C: ETRN site.example', 'S: 250 OK', ...BYE])
    const thrown = new Error('mine')
    const onResult = (): never => {
      throw thrown
    }
    await assert.rejects(ask(`127.0.0.1:${server.port}`, ['site.example'], { ...OPTIONS, onResult }), thrown)
  })
  test('what there is to check TLS against is checked', async (t) => {
    const fingerprint = 'AB:'.repeat(31) + 'CD'
    const ca = fixture('ca.pem')
    for (const tls of [{ fingerprint }, { ca }, { name: 'mx.example' }]) {
      const server = await scripted(t, [...HELLO, ...BYE])
      const { error } = await ask(`127.0.0.1:${server.port}`, ['site.example'], { ...OPTIONS, tls })
      assert.deepEqual([error?.stage, error?.exitStatus], ['starttls', 76])
    }
  })
  test('wrong arguments are usage errors, before anything is sent', async () => {
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
    ]
    // As those write who have no types
    const untyped = [
      ['mx', 'site.example'],
      [new URL('smtp://mx'), ['site.example']],
      ['mx', [1]],
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
  test('what is wrong with a key is said of the text that has it', async () => {
    const pem = fixture
    const cert = pem('client.pem')
    const message = /^tls\.key: the key is not that of the certificate$/
    await assert.rejects(ask('mx', ['site.example'], { tls: { cert, key: pem('mx.key') } }), {
      exitStatus: 64,
      message,
    })
    await assert.rejects(ask('mx', ['site.example'], { tls: { cert } }), {
      message: /^tls\.cert: there is no private key in it/,
    })
  })
  for (const [title, answers] of [
    ['from an exchange that went well', ['S: 235 welcome sesame', 'C: ETRN site.example', 'S: 250 OK sesame', ...BYE]],
    ['from a refusal', ['S: 535 sesame is wrong', ...BYE]],
    ['from what is no reply', ['S: sesame is wrong', ...BYE]],
    ['from what came before its turn', ['S: 235 welcome\r\n250 sesame', ...BYE]],
  ] as const) {
    test(`no password is in what it gives back ${title}`, async (t) => {
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

suite("the README's examples", () => {
  const read = packageFile
  const readme = read('README.md')

  /** Runs an example as it stands, but for the server, the files and where etrn is. */
  const run = async (
    t: TestContext,
    example: string,
    conversation: Conversation | undefined,
    { replace = {}, args = [] }: { replace?: Record<string, string>; args?: readonly string[] } = {},
  ): Promise<string> => {
    const code = read(`test/examples/${example}.ts`)
    const shown = code.replace(/^(?=.)/gm, '    ')
    assert.ok(readme.includes(`\n\n${shown}\n`), 'it is in the README, word for word')
    const { port } = await scripted(t, ...(conversation === undefined ? [] : [conversation]))
    const folder = mkdtempSync(join(tmpdir(), 'etrn-example-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const words = {
      "'etrn'": `'${new URL('dist/index.js', ROOT).href}'`,
      'mail.isp.example': `127.0.0.1:${port}`,
      ...replace,
    }
    const here = Object.entries(words).reduce((text, [from, to]) => text.replace(from, to), code)
    writeFileSync(join(folder, 'example.mjs'), here)
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [join(folder, 'example.mjs'), ...args])
    return stdout + stderr
  }

  const ehlo = `EHLO ${ownHostName() ?? '[127.0.0.1]'}`
  const hello: Conversation = [`C: ${ehlo}`, 'S: 250-mx.example', 'S: 250 ETRN']

  test('its table has the fields of a report, and no other', async (t) => {
    const { port } = await scripted(t, [...HELLO, 'C: ETRN site.example', 'S: 250 OK', ...BYE])
    const report = await ask(`127.0.0.1:${port}`, ['site.example'], OPTIONS)
    const [, table = ''] = /^\| report \|.*\n((?:\|.*\n)+)/m.exec(readme) ?? []
    const fields = [...table.matchAll(/^\|([^|]*)/gm)].flatMap(([, cell = '']) => cell.match(/\w+/g) ?? [])
    assert.deepEqual(Object.keys(report).sort(), fields.sort())
  })
  test('the first one', async (t) => {
    const asked: Conversation = [
      ...(['C: ETRN site.example', 'S: 253 OK, 2 pending messages for node site.example started'] as const),
      ...(['C: ETRN @sub.site.example', 'S: 458 later'] as const),
    ]
    assert.equal(
      await run(t, 'first', ['S: 220 mx.example', ...hello, ...asked, ...BYE]),
      `site.example pending 2 OK, 2 pending messages for node site.example started
@sub.site.example deferred null later
`,
    )
  })
  test('a login', async (t) => {
    const file = fixturePath
    const folder = mkdtempSync(join(tmpdir(), 'etrn-example-'))
    t.after(() => rmSync(folder, { recursive: true }))
    writeFileSync(join(folder, 'password'), 'secret\n')
    const listed = [`C: ${ehlo}`, 'S: 250-mx.example', 'S: 250-AUTH PLAIN', 'S: 250 ETRN'] as const
    const output = await run(
      t,
      'login',
      [
        ...['S: 220 mx.example', `C: ${ehlo}`, 'S: 250-mx.example', 'S: 250 STARTTLS'],
        ...['C: STARTTLS', 'S: 220 go ahead'],
        { tls: { key: readFileSync(file('mx.key')), cert: readFileSync(file('mx.pem')) } },
        ...listed,
        ...[`C: AUTH PLAIN ${Buffer.from('\0site\0secret').toString('base64')}`, 'S: 235 welcome'],
        ...['C: ETRN site.example', 'S: 250 OK'],
        ...BYE,
      ] as Conversation,
      { replace: { '/etc/ssl/isp.pem': file('ca.pem'), '/etc/etrn.password': join(folder, 'password') } },
    )
    assert.equal(output, 'TLSv1.3 true started\n')
  })
  test('one that watches and judges', async (t) => {
    const conversation: Conversation = ['S: 220 mx.example', ...hello, 'C: ETRN site.example', 'S: 458 later', ...BYE]
    assert.equal(
      await run(t, 'judge', conversation, { args: ['site.example'] }),
      `session 1: ${ehlo}
session 1: ETRN site.example
site.example deferred
session 1: QUIT
worth trying again
`,
    )
  })
  test('the same, refused', async (t) => {
    const conversation: Conversation = ['S: 220 mx.example', ...hello, 'C: ETRN site.example', 'S: 459 no', ...BYE]
    assert.match(await run(t, 'judge', conversation, { args: ['site.example'] }), /\nask the provider\n$/)
  })
  test('and one that nothing is sent for', async (t) => {
    const output = await run(t, 'judge', undefined, { args: ['no name'] })
    assert.match(output, /^nothing was sent: .*no name.*\n$/)
  })
})
