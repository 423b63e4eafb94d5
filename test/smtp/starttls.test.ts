import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { suite, test } from 'node:test'
import type { TlsOptions } from 'node:tls'
import { etrn, etrnJson, leap, LEAPING, spawnEtrn } from '../helpers/command.js'
import { fixture, fixturePath, makeFile } from '../helpers/files.js'
import { isInNamespace } from '../helpers/namespace.js'
import {
  BYE,
  close,
  type Conversation,
  loose,
  reset,
  silence,
  scripted,
  type Step,
} from '../helpers/scripted-server.js'
import {
  AGREED,
  CA,
  certificateStep,
  GREETING,
  HELLO_AGAIN,
  ignoreInput,
  LISTED,
  secureSession,
  UNENCRYPTED,
} from './tls-server.js'

if (isInNamespace(import.meta.url)) {
  mkdirSync('/etc/ssl/certs', { recursive: true })
  execFileSync('mount', ['-t', 'tmpfs', 'none', '/etc/ssl/certs'])
  mkdirSync('/etc/ssl/certs/ca-certificates.crt')
  for (const scheme of ['smtp', 'smtps'])
    test(`${scheme}:// fails with 66 if the system's certificate authorities can't be read`, async (t) => {
      const server = await loose(t, scheme === 'smtp' ? [...LISTED, ...BYE] : [silence])
      const args = [
        `${scheme}://127.0.0.1:${server.port}`,
        '--helo',
        'gw.site.example',
        '--tls',
        'verify',
        'site.example',
      ]
      const { status, stderr, stdout } = await etrn(args)
      assert.equal(status, 66, stderr)
      assert.match(
        stderr,
        /: this host's CA certificates can't be read \(EISDIR.*\).*\nhint: make \/etc\/ssl\/\S+ readable, or use another file: --tls-ca FILE\n/,
      )
      assert.equal(stdout, '')
    })
  test("nobody is trusted if the system's list of certificate authorities is empty", async (t) => {
    rmdirSync('/etc/ssl/certs/ca-certificates.crt')
    writeFileSync('/etc/ssl/certs/ca-certificates.crt', '')
    const server = await loose(t, [...AGREED, certificateStep('mx'), silence])
    const args = [
      `127.0.0.1:${server.port}`,
      '--helo',
      'gw.site.example',
      '--tls',
      'verify',
      '--tls-name',
      'mx.example',
    ]
    // Node adds this authority to its own list.
    const env = { NODE_EXTRA_CA_CERTS: fixturePath('ca.pem') }
    const { status, stderr } = await spawnEtrn([...args, 'site.example'], { env })
    assert.equal(status, 76, stderr)
    assert.match(stderr, /: certificate issued by an unknown CA /)
  })
} else testHandshakes()

function testHandshakes(): void {
  // In TLS 1.3 the client has finished when the server rejects it: the alert comes in place of the next reply.
  const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const
  const identity = ['--tls-cert', fixturePath('client.pem'), '--tls-key', fixturePath('client.key')]

  suite('a server that requires a client certificate', { concurrency: true }, () => {
    const requires = (maxVersion: (typeof VERSIONS)[number]): TlsOptions => ({
      requestCert: true,
      rejectUnauthorized: true,
      ca: fixture('ca.pem'),
      maxVersion,
    })
    for (const maxVersion of VERSIONS) {
      const options = requires(maxVersion)
      const rejection: Conversation = [...AGREED, certificateStep('mx', options), silence]
      test(`is requested without TLS by a new session with --tls may over ${maxVersion}`, async (t) => {
        const server = await loose(t, rejection, UNENCRYPTED)
        const args = [`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', 'site.example']
        const { status, stderr, document } = await etrnJson(args)
        assert.equal(status, 0, stderr)
        assert.equal(document.servers[0]?.tls, null)
        assert.match(stderr, /: the server ended TLS with an alert \([a-z ]+\); continuing without TLS/)
      })
      for (const level of [['--tls', 'encrypt'], CA])
        test(`fails with 76 at the stage tls, and the hint --tls-cert, with ${level[0] ?? ''} over ${maxVersion}`, async (t) => {
          const server = await loose(t, rejection, rejection)
          const args = [`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', ...level, 'site.example']
          const { status, stderr, document } = await etrnJson(args)
          assert.deepEqual([status, document.servers[0]?.error?.stage], [76, 'tls'], stderr)
          assert.match(document.servers[0]?.error?.message ?? '', /^the server ended TLS with an alert \(/)
          const { stderr: text } = await etrn(args)
          assert.match(
            text,
            /: the server ended TLS with an alert [^\n]*\nhint: the server may require a client certificate, [^\n]*--tls-cert FILE --tls-key FILE\n/,
          )
        })
      test(`fails with 76 at the stage tls with smtps:// over ${maxVersion}`, async (t) => {
        const server = await loose(t, [certificateStep('mx', options), silence])
        const args = [`smtps://127.0.0.1:${server.port}`, '--helo', 'gw.site.example', ...CA, 'site.example']
        const { status, document } = await etrnJson(args)
        assert.deepEqual([status, document.servers[0]?.error?.stage], [76, 'tls'])
      })
      test(`accepts the certificate of --tls-cert with --tls may over ${maxVersion}`, async (t) => {
        const server = await scripted(t, secureSession('mx', options))
        const args = [`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', ...identity, 'site.example']
        const { status, document } = await etrnJson(args)
        assert.deepEqual([status, document.servers[0]?.tls?.protocol], [0, maxVersion])
      })
    }
  })

  suite('a server that rejects the lack of a client certificate by a reply within TLS', { concurrency: true }, () => {
    const helo = ['--helo', 'gw.site.example', 'site.example']
    for (const reply of [
      '421 4.7.1 mx.example Error: No client certificate presented',
      '454 4.7.0 client certificate not trusted',
      '554 5.7.1 certificate required',
    ] as const) {
      const rejection: Conversation = [
        ...AGREED,
        certificateStep('mx'),
        'C: EHLO gw.site.example',
        `S: ${reply}`,
        ...BYE,
      ]
      test(`${reply}: is requested without TLS with --tls may`, async (t) => {
        const server = await loose(t, rejection, UNENCRYPTED)
        const { status, stderr } = await etrnJson([`127.0.0.1:${server.port}`, ...helo])
        assert.equal(status, 0, stderr)
        assert.ok(stderr.includes(`: the server rejected TLS (${reply}); continuing without TLS`), stderr)
      })
      test(`${reply}: fails with 76 and the hint --tls-cert with --tls encrypt`, async (t) => {
        const server = await loose(t, rejection)
        const args = [`127.0.0.1:${server.port}`, '--tls', 'encrypt', '--retry-for', '9s', ...helo]
        const { status, document } = await etrnJson(args)
        const error = document.servers[0]?.error
        assert.deepEqual([status, error?.stage, error?.message], [76, 'tls', `the server rejected TLS (${reply})`])
        assert.match(error?.hint ?? '', /--tls-cert FILE --tls-key FILE$/)
      })
    }
    for (const reply of [
      '421 mail.certificate.example Service not available',
      '450 4.7.1 <gw.certificates.example>: Helo command rejected: Host not found',
    ] as const)
      test(`${reply}: is no word on a certificate`, async (t) => {
        const server = await loose(t, [
          ...AGREED,
          certificateStep('mx'),
          'C: EHLO gw.site.example',
          `S: ${reply}`,
          ...BYE,
        ])
        const { status, document } = await etrnJson([`127.0.0.1:${server.port}`, ...helo])
        assert.deepEqual([status, document.servers[0]?.error?.stage], [75, 'ehlo'])
      })
    test('a long reply leaves its place to the warning', async (t) => {
      const reply = `S: 454 4.7.0 certificate ${'A'.repeat(1500)}` as const
      const rejection = [...AGREED, certificateStep('mx'), 'C: EHLO gw.site.example', reply, ...BYE] as const
      const server = await loose(t, rejection, UNENCRYPTED)
      const { status, stderr } = await etrn([`127.0.0.1:${server.port}`, ...helo])
      assert.equal(status, 0)
      assert.match(stderr, /A\.\.\.; continuing without TLS/)
    })
    for (const steps of [
      ['S: 554 5.7.1 No client certificate presented'],
      ['S: 220 mx', 'C: EHLO gw.site.example', 'S: 421 4.7.1 mx Error: Client certificate not trusted'],
    ])
      test(`${steps.at(-1) ?? ''} with smtps:// fails with 76 and the hint`, async (t) => {
        const server = await loose(t, [certificateStep('mx'), ...(steps as Step[]), ...BYE])
        const { status, document } = await etrnJson([`smtps://127.0.0.1:${server.port}`, ...CA, ...helo])
        const error = document.servers[0]?.error
        assert.deepEqual([status, error?.stage], [76, 'tls'])
        assert.match(error?.hint ?? '', /--tls-cert FILE --tls-key FILE$/)
      })
  })

  suite('a server that closes the connection in place of its first reply within TLS', { concurrency: true }, () => {
    for (const [title, end] of [
      ['in good order', close],
      ['with a reset', reset],
    ] as const) {
      const lost = (maxVersion: (typeof VERSIONS)[number]): Conversation => [
        ...AGREED,
        certificateStep('mx', { maxVersion }),
        ignoreInput,
        end,
      ]
      for (const maxVersion of VERSIONS) {
        test(`${title} is requested without TLS with --tls may over ${maxVersion}`, async (t) => {
          const server = await loose(t, lost(maxVersion), UNENCRYPTED)
          const args = [`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', 'site.example']
          const { status, stderr } = await etrnJson(args)
          assert.equal(status, 0, stderr)
          assert.match(
            stderr,
            /: (?:the server closed the connection|the connection was reset) (?:during|directly after) the TLS handshake; continuing without TLS/,
          )
        })
        test(`${title} fails with 75 with --tls encrypt over ${maxVersion}`, async (t) => {
          const server = await loose(t, lost(maxVersion))
          const args = [`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', '--tls', 'encrypt', 'site.example']
          const { status, document } = await etrnJson(args)
          assert.deepEqual([status, document.servers[0]?.error?.stage], [75, 'tls'])
        })
      }
    }
    test('after a 421 within TLS the session is not requested without TLS', async (t) => {
      const steps: readonly Step[] = ['C: EHLO gw.site.example', 'S: 421 enough', ...BYE]
      const server = await scripted(t, [...AGREED, certificateStep('mx'), ...steps])
      const args = [`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', 'site.example']
      assert.equal((await etrnJson(args)).status, 75)
    })
  })

  suite('a session that follows one with TLS', { concurrency: true }, () => {
    const WARNING =
      /STARTTLS was offered in an earlier session of this run, but is not offered now; continuing without TLS/g
    const unlisted: readonly Step[] = [...GREETING, 'S: 250-mx.example', 'S: 250 ETRN']
    const names = Array.from({ length: 8 }, (_, index) => `n${index}.example`)
    const requests = (some: readonly string[]): Step[] =>
      some.flatMap((name): Step[] => [`C: ETRN ${name}`, 'S: 250 OK'])
    const first: Conversation = [
      ...AGREED,
      certificateStep('mx'),
      ...HELLO_AGAIN,
      ...requests(names.slice(0, 7)),
      ...BYE,
    ]
    const argsFor = (port: number): string[] => [`127.0.0.1:${port}`, '--jobs', '1', '--helo', 'gw.site.example']
    test('warns with --tls may that STARTTLS is no longer offered', async (t) => {
      const server = await scripted(t, first, [...unlisted, ...requests(names.slice(7)), ...BYE])
      const { status, stderr } = await etrnJson([...argsFor(server.port), ...names])
      await server.verify()
      assert.equal(status, 0)
      assert.equal(stderr.match(WARNING)?.length, 1, stderr)
    })
    test('warns if the session with TLS ended at EHLO', async (t) => {
      const ended: Conversation = [...AGREED, certificateStep('mx'), 'C: EHLO gw.site.example', 'S: 421 enough', ...BYE]
      const server = await scripted(t, ended, [...unlisted, ...requests(['site.example']), ...BYE])
      const args = [...argsFor(server.port), '--retry-for', '10m', '-v', 'site.example']
      const { status, stderr } = await etrnJson(args, { env: LEAPING, once: { said: 'retry at', act: leap } })
      await server.verify()
      assert.equal(status, 0)
      assert.equal(stderr.match(WARNING)?.length, 1, stderr)
    })
    test('warns in a later round', async (t) => {
      const step = (reply: string): readonly Step[] => ['C: ETRN site.example', `S: ${reply}`, ...BYE]
      const server = await scripted(
        t,
        [...AGREED, certificateStep('mx'), ...HELLO_AGAIN, ...step('253 1 pending message')],
        [...unlisted, ...step('251 none')],
      )
      const args = [...argsFor(server.port), '--wait', '10m', '-v', 'site.example']
      const { status, stderr } = await etrnJson(args, { env: LEAPING, once: { said: '1 message waiting', act: leap } })
      await server.verify()
      assert.equal(status, 0)
      assert.match(stderr, WARNING)
    })
    test('does not warn if no session had TLS', async (t) => {
      const server = await scripted(
        t,
        [...unlisted, ...requests(names.slice(0, 7)), ...BYE],
        [...unlisted, ...requests(names.slice(7)), ...BYE],
      )
      const { stderr } = await etrnJson([...argsFor(server.port), ...names])
      assert.doesNotMatch(stderr, /STARTTLS/)
    })
    test('fails with 76 with --tls encrypt', async (t) => {
      const server = await scripted(t, first, [...unlisted, ...BYE])
      const { status, document } = await etrnJson([...argsFor(server.port), '--tls', 'encrypt', ...names])
      assert.deepEqual([status, document.servers[0]?.error?.stage], [76, 'starttls'])
    })
  })

  suite('a login that follows another one', { concurrency: true }, () => {
    const PLAIN = `AUTH PLAIN ${Buffer.from('\0site\0secret').toString('base64')}`
    const CRAM: readonly Step[] = [
      'C: AUTH CRAM-MD5',
      'S: 334 PDFAbXg+',
      'C: c2l0ZSBlMTk5ZWYyMmQ2YmNjNzRlZmZjZjE5ZTQwN2IxZWE3ZQ==',
      'S: 235 ok',
    ]
    const hello = (mechanisms: string): readonly Step[] => [
      ...GREETING,
      'S: 250-mx.example',
      `S: 250-AUTH ${mechanisms}`,
      'S: 250 ETRN',
    ]
    const names = Array.from({ length: 8 }, (_, index) => `n${index}.example`)
    const requests = (some: readonly string[]): Step[] =>
      some.flatMap((name): Step[] => [`C: ETRN ${name}`, 'S: 250 OK'])
    const run = async (port: number) =>
      etrnJson([`127.0.0.1:${port}`, '--jobs', '1', '--helo', 'gw.site.example', '--user', 'site', ...names], {
        env: { ETRN_PASSWORD: 'secret' },
      })
    test('sends no password to a server that now offers only a weaker mechanism', async (t) => {
      const server = await scripted(
        t,
        [...hello('CRAM-MD5 PLAIN'), ...CRAM, ...requests(names.slice(0, 7)), ...BYE],
        [...hello('PLAIN LOGIN'), ...BYE],
      )
      const { status, document } = await run(server.port)
      await server.verify()
      const [report] = document.servers
      assert.deepEqual([status, report?.error?.stage, report?.names.at(-1)?.outcome], [77, 'auth', 'refused'])
      assert.match(
        report?.error?.message ?? '',
        /^an earlier session of this run used CRAM-MD5, but AUTH now lists only PLAIN, LOGIN$/,
      )
    })
    test('sends no password with a weaker mechanism after a temporary failure', async (t) => {
      const failed: readonly Step[] = [...CRAM.slice(0, -1), 'S: 454 later']
      const server = await scripted(t, [...hello('CRAM-MD5 PLAIN'), ...failed, ...BYE], [...hello('PLAIN'), ...BYE])
      const login = ['--user', 'site', '--password-file', makeFile(t, 'password', 'secret')]
      const args = [...login, '--helo', 'gw.site.example', '--retry-for', '10m', '-v', `127.0.0.1:${server.port}`]
      const options = { env: LEAPING, once: { said: 'retry at', act: leap } }
      const { status, document } = await etrnJson([...args, 'site.example'], options)
      await server.verify()
      assert.equal(status, 77)
      assert.match(document.servers[0]?.error?.message ?? '', /^an earlier session of this run used CRAM-MD5, but /)
    })
    test('begins with the mechanism that was accepted after others were refused', async (t) => {
      const server = await scripted(
        t,
        [
          ...hello('CRAM-MD5 PLAIN'),
          'C: AUTH CRAM-MD5',
          'S: 504 no',
          `C: ${PLAIN}`,
          'S: 235 ok',
          ...requests(names.slice(0, 7)),
          ...BYE,
        ],
        [...hello('CRAM-MD5 PLAIN'), `C: ${PLAIN}`, 'S: 235 ok', ...requests(names.slice(7)), ...BYE],
      )
      const { status } = await run(server.port)
      await server.verify()
      assert.equal(status, 0)
    })
  })
}
