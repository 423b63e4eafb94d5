import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { ask, SessionError, UsageError } from '../src/index.js'
import { BYE, HELLO, scripted } from './server.js'

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
    for (const tls of [{ fingerprint }, { ca: '' }, { name: 'mx.example' }]) {
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
    ]
    for (const args of wrong) await assert.rejects(ask(...args), UsageError)
  })
})
