import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { suite, test } from 'node:test'
import type { TLSSocket } from 'node:tls'
import { certificateInfoOf, verificationError } from '../../src/smtp/certificate.js'
import { protocolError } from '../../src/smtp/errors.js'
import type { TlsPolicy } from '../../src/smtp/session-settings.js'
import { etrn } from '../helpers/command.js'
import { fixture, fixturePath } from '../helpers/files.js'
import { type Conversation, scripted, type Step } from '../helpers/scripted-server.js'
import { AGREED, CA, certificateStep, fingerprintOf, secureSession, testAccepted, testFailed } from './tls-server.js'

const NAME = ['--tls-name', 'mx.example']
const rejected = (name: string): Conversation => [...AGREED, { ...certificateStep(name), fails: true }]

suite('a certificate is accepted', { concurrency: true }, () => {
  testAccepted('if it has the name of --tls-name', [secureSession('mx')], ['--tls', 'verify', ...CA, ...NAME], true)
  testAccepted('if it has the address of the server', [secureSession('mx')], ['--tls', 'verify', ...CA], true)
  testAccepted(
    'if it has the pinned fingerprint',
    [secureSession('self')],
    ['--tls-fingerprint', fingerprintOf('self')],
    true,
  )
  testAccepted(
    'if it is expired but pinned, in small letters without colons',
    [secureSession('expired')],
    ['--tls-fingerprint', fingerprintOf('expired').replaceAll(':', '').toLowerCase()],
    true,
  )
})

suite('a wildcard', { concurrency: true }, () => {
  testAccepted('covers one label', [secureSession('other')], [...CA, '--tls-name', 'a.other.example'], true)
  testFailed(
    'does not cover two labels',
    rejected('other'),
    [...CA, '--tls-name', 'b.a.other.example'],
    'tls',
    /^the certificate is for other\.example, \*\.other\.example, not b\.a\.other\.example$/,
  )
})

suite('a certificate is rejected with 76', { concurrency: true }, () => {
  testFailed('if it is expired', rejected('expired'), CA, 'tls', /expired: it was valid to 2020-01-02$/)
  testFailed(
    "if it does not have the server's address",
    rejected('other'),
    CA,
    'tls',
    /^the certificate is for other\.example, \*\.other\.example, not 127\.0\.0\.1$/,
  )
  testFailed(
    'if it does not have the name of --tls-name',
    rejected('mx'),
    [...CA, '--tls-name', 'smtp.isp.example'],
    'tls',
    /for mx\.example, localhost, 127\.0\.0\.1, not smtp\.isp\.example$/,
  )
  testFailed('if it is self-signed', rejected('self'), CA, 'tls', /signed by itself alone$/)
  testFailed(
    'if its issuer is unknown',
    rejected('mx'),
    ['--tls', 'verify'],
    'tls',
    /issuer is not known here: CN=Test authority$/,
  )
  testFailed(
    'if another one is pinned',
    rejected('mx'),
    ['--tls-fingerprint', fingerprintOf('self')],
    'tls',
    /is not the pinned one, but ([0-9A-F]{2}:){31}/,
  )
})

testFailed(
  'a certificate that is not the pinned one is rejected with 76 even with --tls encrypt',
  rejected('mx'),
  ['--tls', 'encrypt', '--tls-fingerprint', fingerprintOf('self')],
  'tls',
  /is not the pinned one/,
)

suite('a common name that is the host name', { concurrency: true }, () => {
  const options = ['--tls-ca', fixturePath('weak-ca.pem'), ...NAME]
  for (const [title, name] of [
    ['does not count beside an alternative name of another kind', 'weak-cn'],
    ['does not count without alternative names', 'weak-cn-alone'],
  ] as const) {
    const step: Step = { tls: { cert: fixture(`${name}.pem`), key: fixture('weak.key') }, fails: true }
    const message =
      name === 'weak-cn'
        ? /^the certificate is for 192\.0\.2\.1, not mx\.example$/
        : /^the certificate is for no host \(a common name alone does not count\), not mx\.example$/
    testFailed(title, [...AGREED, step], options, 'tls', message)
  }
})

suite('the hint after a rejected certificate', { concurrency: true }, () => {
  const testHint = (title: string, name: string, options: readonly string[], hint: RegExp): void =>
    void test(title, async (t) => {
      const server = await scripted(t, rejected(name))
      const { stderr } = await etrn([
        `127.0.0.1:${server.port}`,
        '--helo',
        'gw.site.example',
        ...options,
        'site.example',
      ])
      assert.match(stderr, /^127\.0\.0\.1:\d+: TLS: [^\n]+; no answer for site\.example\n {2}[^\n]+\n$/)
      assert.match(stderr.split('\n')[1] ?? '', hint)
    })
  testHint(
    'is the pin to paste if it is self-signed',
    'self',
    CA,
    new RegExp(`^ {2}--tls-fingerprint ${fingerprintOf('self')} takes this one, if you know that it is right$`),
  )
  testHint(
    'has the pin to paste if it is expired',
    'expired',
    CA,
    new RegExp(`--tls-fingerprint ${fingerprintOf('expired')}`),
  )
  testHint('names --tls-name if it has another name', 'other', CA, /^ {2}try --tls-name other\.example, /)
  testHint('names --tls-ca if its issuer is unknown', 'mx', ['--tls', 'verify'], /^ {2}--tls-ca FILE /)
  testHint(
    'says what to do if another one is pinned',
    'mx',
    ['--tls-fingerprint', fingerprintOf('self')],
    /^ {2}if the provider has renewed it, pin that one$/,
  )
})

suite('verificationError', () => {
  const certificate = new X509Certificate(fixture('mx.pem'))
  const POLICY: TlsPolicy = {
    level: 'verify',
    fingerprint: undefined,
    name: undefined,
    ca: undefined,
    cert: undefined,
    key: undefined,
    minVersion: 'TLSv1.2',
  }
  // Of a socket only OpenSSL's verdict counts.
  const socketWith = (code?: string): TLSSocket =>
    ({ authorized: code === undefined, authorizationError: code }) as unknown as TLSSocket
  for (const [code, message, hint] of [
    [
      'CERT_HAS_EXPIRED',
      /^the certificate of its issuer expired$/,
      /^ask the provider to renew it; --tls-fingerprint /,
    ],
    ['CERT_NOT_YET_VALID', /^the certificate is valid from 20\d\d-\d\d-\d\d only$/, /clock/],
    ['SELF_SIGNED_CERT_IN_CHAIN', /issuer is not known here: CN=Test authority$/, /^--tls-ca FILE /],
    ['UNABLE_TO_GET_ISSUER_CERT', /issuer is not known here/, /^--tls-ca FILE /],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', /issuer is not known here/, /^--tls-ca FILE /],
    ['CERT_REVOKED', /^the certificate does not hold: CERT_REVOKED$/, /^--tls-fingerprint [0-9A-F:]{95} takes/],
  ] as const) {
    test(`explains ${code}`, () => {
      const error = verificationError(socketWith(code), certificate, 'mx.example', POLICY)
      assert.equal(error?.exitStatus, 76)
      assert.match(error.message, message)
      assert.match(error.hint ?? '', hint)
    })
  }
  test('is undefined for a name and an address of the certificate', () => {
    for (const name of ['mx.example', 'MX.example', 'localhost', '127.0.0.1'])
      assert.equal(verificationError(socketWith(), certificate, name, POLICY), undefined)
  })
  test('takes no wildcard for a part of a label, and names no wildcard in its hint', () => {
    const wild = new X509Certificate(fixture('wild.pem'))
    assert.equal(verificationError(socketWith(), wild, 'mx.wild.example', POLICY), undefined)
    const error = verificationError(socketWith(), wild, 'mx.mail.example', POLICY)
    assert.equal(
      error?.message,
      'the certificate is for *.wild.example, m*.mail.example, wild.example, not mx.mail.example',
    )
    assert.match(error.hint ?? '', /^try --tls-name wild\.example, /)
  })
  test('says that there is no certificate', () => {
    assert.equal(
      verificationError(socketWith(), undefined, 'mx.example', POLICY)?.message,
      'the server has no certificate',
    )
  })
  test('ignores name and chain if the certificate is pinned', () => {
    const policy = { ...POLICY, fingerprint: certificate.fingerprint256.replaceAll(':', '') }
    assert.equal(verificationError(socketWith('CERT_HAS_EXPIRED'), certificate, 'x.example', policy), undefined)
  })
})

suite('certificateInfoOf', () => {
  test('returns names, issuer, last day and fingerprint of a certificate', () => {
    assert.deepEqual(certificateInfoOf(new X509Certificate(fixture('mx.pem')), undefined), {
      names: ['mx.example', 'localhost', '127.0.0.1'],
      issuer: 'CN=Test authority',
      validTo: new Date(new X509Certificate(fixture('mx.pem')).validTo).toISOString().slice(0, 10),
      fingerprint: fingerprintOf('mx'),
      problem: null,
    })
  })
  test('returns the message of the problem', () => {
    const problem = protocolError('the certificate expired', 'ask')
    const { problem: message, validTo } = certificateInfoOf(new X509Certificate(fixture('expired.pem')), problem)
    assert.deepEqual([message, validTo], ['the certificate expired', '2020-01-02'])
  })
  test('returns no common name as a name', () => {
    assert.deepEqual(certificateInfoOf(new X509Certificate(fixture('client.pem')), undefined).names, [])
  })
  test('returns no common name that is no host name', () => {
    const { names, issuer } = certificateInfoOf(new X509Certificate(fixture('ca.pem')), undefined)
    assert.deepEqual([names, issuer], [[], 'CN=Test authority'])
  })
})
