import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import type { ServerReport } from '../../src/etrn/server-report.js'
import { documentHead, documentsOf, printDocument, serverDocument, tlsDocument } from '../../src/report/json.js'
import { printableJson } from '../../src/printable.js'
import { createOutput } from '../../src/report/reporter.js'
import { SessionError } from '../../src/smtp/errors.js'
import type { TlsInfo } from '../../src/smtp/trace.js'
import { etrnJson } from '../helpers/command.js'
import { BYE, etrnSteps, scripted, sessionWith } from '../helpers/scripted-server.js'

const HELO = ['--helo', 'gw.site.example']

suite('--json', { concurrency: true }, () => {
  test('suggests no retries after retries', async () => {
    const { document } = await etrnJson(['--retry-for', '1s', ...HELO, '127.0.0.1:9', 'site.example'])
    const [report] = document.servers
    assert.equal(report?.attempts, 2)
    assert.match(report.error?.hint ?? '', /^no mail server listens on port 9, (?!.*--retry-for)/)
  })
  test('prints every field, with null for what is not known', async (t) => {
    const server = await scripted(t, [
      'S: 220 mx ESMTP',
      'C: EHLO gw.site.example',
      'S: 250-mx',
      'S: 250-size 1000',
      'S: 250 ETRN',
      ...etrnSteps('site.example', '253 2.0.0 OK, 14 pending messages for node site.example started'),
      ...BYE,
    ])
    const word = `smtp://127.0.0.1:${server.port}`
    const run = await etrnJson([`${word},127.0.0.1:9`, ...HELO, 'site.example'])
    const [first, second] = run.document.servers
    assert.equal(typeof first?.elapsedMs, 'number')
    assert.deepEqual(run.document, {
      version: 1,
      exitStatus: 75,
      error: null,
      excluded: [],
      servers: [
        {
          server: word,
          host: '127.0.0.1',
          port: server.port,
          address: '127.0.0.1',
          tls: null,
          greeting: 'mx ESMTP',
          extensions: ['SIZE 1000', 'ETRN'],
          attempts: 1,
          elapsedMs: first?.elapsedMs,
          error: null,
          names: [
            {
              name: 'site.example',
              outcome: 'pending',
              code: 253,
              enhancedCode: '2.0.0',
              text: 'OK, 14 pending messages for node site.example started',
              pending: 14,
              hint: null,
            },
          ],
        },
        {
          server: '127.0.0.1:9',
          host: '127.0.0.1',
          port: 9,
          address: null,
          tls: null,
          greeting: null,
          extensions: null,
          attempts: 1,
          elapsedMs: second?.elapsedMs,
          error: second?.error,
          names: [
            {
              name: 'site.example',
              outcome: 'deferred',
              code: null,
              enhancedCode: null,
              text: null,
              pending: null,
              hint: null,
            },
          ],
        },
      ],
    })
    const { message, hint, ...facts } = second?.error ?? { message: undefined, hint: undefined }
    assert.match(String(message), /connection refused/)
    assert.match(String(hint), /check the host and the port/)
    assert.deepEqual(facts, { stage: 'connect', code: null, exitStatus: 75 })
    assert.equal(run.stderr, '')
  })
  test('gives the code of the reply that ended a session', async (t) => {
    const server = await scripted(t, ['S: 554 5.7.1 no', ...BYE])
    const { document, stderr } = await etrnJson([`127.0.0.1:${server.port}`, ...HELO, 'site.example'])
    const { stage, code, exitStatus, message } = document.servers[0]?.error ?? { message: undefined }
    assert.deepEqual([stage, code, exitStatus], ['greeting', 554, 69])
    assert.match(String(message), /554 5\.7\.1 no/)
    assert.equal(stderr, '')
  })
  for (const [title, status, ...args] of [
    ['an unknown option', 64, '--nope', '127.0.0.1', 'site.example'],
    ['a bad name', 64, '127.0.0.1', 'a b'],
    ['a file that is not there', 66, '--names-from', '/nonexistent', '127.0.0.1'],
    ['a configuration that is not there', 66, '--config', '/nonexistent', 'isp'],
  ] as const)
    test(`prints a document with an error of its own and no server for ${title}`, async () => {
      const { document, stderr, status: exitStatus } = await etrnJson([...args])
      const { message, ...error } = document.error ?? { message: undefined }
      assert.equal(stderr, `etrn: ${String(message)}\n`)
      assert.deepEqual([exitStatus, document.exitStatus, document.servers], [status, status, []])
      assert.deepEqual(error, { stage: 'input', code: null, exitStatus: status, hint: null })
    })
  test('-v leaves the dialogue on standard error', async (t) => {
    const server = await scripted(t, sessionWith(...etrnSteps('site.example', '250 OK')))
    const { document, stderr } = await etrnJson([`127.0.0.1:${server.port}`, ...HELO, '-v', 'site.example'])
    assert.equal(document.exitStatus, 0)
    assert.match(stderr, /Z C: ETRN site\.example$/m)
  })
})

suite('printDocument', () => {
  const textOf = async (document: object): Promise<string> => {
    const pieces: string[] = []
    await printDocument(
      createOutput((text) => pieces.push(text), undefined),
      document,
    )
    return pieces.join('\n')
  }
  test('prints what JSON.stringify would print', () =>
    fc.assert(
      fc.asyncProperty(fc.jsonValue(), async (value) => {
        const document = { value, none: undefined }
        assert.equal(await textOf(document), printableJson(JSON.stringify(document, undefined, 2)))
      }),
    ))
  test('asks for a document when it is printed, and prints the list as a list', async () => {
    const asked: number[] = []
    const items = documentsOf([1, 2], (number) => ({ asked: asked.push(number) }))
    assert.deepEqual(asked, [])
    assert.equal(await textOf({ items }), JSON.stringify({ items: [{ asked: 1 }, { asked: 2 }] }, undefined, 2))
  })
  test('prints whole lines in pieces, and waits for the reader after each one', async () => {
    const pieces: string[] = []
    let waits = 0
    const drain = async (): Promise<void> => {
      waits++
      assert.equal(pieces.length, waits)
      return Promise.resolve()
    }
    const document = { names: Array.from({ length: 20_000 }, (_, index) => `n${index}.example`) }
    await printDocument(
      createOutput((text) => pieces.push(text), undefined, drain),
      document,
    )
    assert.equal(pieces.join('\n'), JSON.stringify(document, undefined, 2))
    assert.deepEqual([waits, pieces.every((piece) => piece.length < 100_000)], [pieces.length - 1, true])
  })
})

test('documentHead states the version of the document, the exit status, and that this host has not failed', () =>
  assert.deepEqual(documentHead({ exitStatus: 77, error: null, excluded: [] }), {
    version: 1,
    exitStatus: 77,
    error: null,
    excluded: [],
  }))
test('documentHead has the failure of this host with its hint', () => {
  const error = new SessionError('connect', 'no mail server', { exitStatus: 75, hint: 'start it' })
  assert.deepEqual(documentHead({ exitStatus: 75, error, excluded: [] }), {
    version: 1,
    exitStatus: 75,
    error: { stage: 'connect', message: 'no mail server', code: null, exitStatus: 75, hint: 'start it' },
    excluded: [],
  })
})
test('serverDocument has TLS without the certificate, and null for unknown extensions', () => {
  const tls = { protocol: 'TLSv1.3', cipher: 'X', verified: false, certificate: 'secret' }
  const server = { word: 'isp', host: 'mx.example', port: 587, credentials: 'secret' }
  const facts = { address: '192.0.2.1', greeting: 'mx', attempts: 2, elapsedMs: 3, error: null, names: [] }
  const report = { ...facts, server, tls, extensions: null, isQueueUnknown: true } as unknown as ServerReport
  assert.deepEqual(serverDocument(report), {
    ...facts,
    server: 'isp',
    host: 'mx.example',
    port: 587,
    tls: { protocol: 'TLSv1.3', cipher: 'X', verified: false },
    extensions: null,
  })
})
test('tlsDocument leaves the certificate out', () =>
  assert.deepEqual(
    tlsDocument({ protocol: 'TLSv1.3', cipher: 'X', verified: true, certificate: 'secret' } as unknown as TlsInfo),
    { protocol: 'TLSv1.3', cipher: 'X', verified: true },
  ))
