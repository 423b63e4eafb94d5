import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { suite, test } from 'node:test'
import type { TLSSocket } from 'node:tls'
import { certificateInfoOf, verificationError } from '../../src/smtp/certificate.js'
import { protocolError } from '../../src/smtp/errors.js'
import type { TlsPolicy } from '../../src/smtp/tls-policy.js'
import { etrn } from '../helpers/command.js'
import { fixture, fixturePath } from '../helpers/files.js'
import { type Conversation, scripted, type Step } from '../helpers/scripted-server.js'
import { AGREED, CA, certificateStep, fingerprintOf, secureSession, testAccepted, testFailed } from './tls-server.js'

const NAME = ['--tls-name', 'mx.example']
const pinHint = (name: string): string =>
  `if your provider confirms this SHA-256 fingerprint, pin the certificate with it: --tls-fingerprint ${fingerprintOf(name)}`
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
    /^certificate is for other\.example, \*\.other\.example, not for b\.a\.other\.example$/,
  )
})

suite('a certificate is rejected with 76', { concurrency: true }, () => {
  testFailed(
    'if its subject and its issuer have no name',
    [...AGREED, { tls: { cert: fixture('nameless.pem'), key: fixture('weak.key') }, fails: true }],
    CA,
    'tls',
    /^self-signed certificate$/,
  )
  testFailed('if it is expired', rejected('expired'), CA, 'tls', /^certificate expired on 2020-01-02$/)
  testFailed(
    "if it does not have the server's address",
    rejected('other'),
    CA,
    'tls',
    /^certificate is for other\.example, \*\.other\.example, not for 127\.0\.0\.1$/,
  )
  testFailed(
    'if it does not have the name of --tls-name',
    rejected('mx'),
    [...CA, '--tls-name', 'smtp.isp.example'],
    'tls',
    /^certificate is for mx\.example, localhost, 127\.0\.0\.1, not for smtp\.isp\.example$/,
  )
  testFailed('if it is self-signed', rejected('self'), CA, 'tls', /^self-signed certificate$/)
  testFailed(
    'if its issuer is unknown',
    rejected('mx'),
    ['--tls', 'verify'],
    'tls',
    /^certificate issued by an unknown CA \(CN=Test authority\)$/,
  )
  testFailed(
    'if another one is pinned',
    rejected('mx'),
    ['--tls-fingerprint', fingerprintOf('self')],
    'tls',
    /^certificate does not match the pinned fingerprint$/,
  )
})

testFailed(
  'a certificate that is not the pinned one is rejected with 76 even with --tls encrypt',
  rejected('mx'),
  ['--tls', 'encrypt', '--tls-fingerprint', fingerprintOf('self')],
  'tls',
  /does not match the pinned fingerprint/,
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
        ? /^certificate is for 192\.0\.2\.1, not for mx\.example$/
        : /^certificate contains no host name \(a common name alone does not count\), so it is not valid for mx\.example$/
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
      assert.match(stderr, /^etrn: 127\.0\.0\.1:\d+: [^\n]+\nhint: [^\n]+\n$/)
      assert.match(stderr.split('\n')[1] ?? '', hint)
    })
  testHint('is the pin to paste if it is self-signed', 'self', CA, new RegExp(`^hint: ${pinHint('self')}$`))
  testHint(
    "has this host's date if it is expired",
    'expired',
    CA,
    new RegExp(
      `^hint: if the clock of this host is right \\(\\d{4}-\\d\\d-\\d\\d\\), ask your provider to renew the certificate$`,
    ),
  )
  testHint(
    'names --tls-name if it has another name',
    'other',
    CA,
    /^hint: ask your provider whether other\.example is .*: --tls-name other\.example$/,
  )
  testHint(
    'names --tls-ca if its issuer is unknown',
    'mx',
    ['--tls', 'verify'],
    new RegExp(`^hint: use your provider's CA certificate: --tls-ca FILE; or ${pinHint('mx')}$`),
  )
  testHint(
    'is the pin to compare and paste if another one is pinned',
    'mx',
    ['--tls-fingerprint', fingerprintOf('self')],
    new RegExp(
      `^hint: the server's certificate now has a different SHA-256 fingerprint; use it only if your provider confirms it: --tls-fingerprint ${fingerprintOf('mx')}$`,
    ),
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
      /^issuer's certificate has expired$/,
      /^if the clock of this host is right \(\d{4}-\d\d-\d\d\), ask your provider to renew the certificate$/,
    ],
    ['CERT_NOT_YET_VALID', /^issuer's certificate is not yet valid$/, /^if the clock of this host is right \(/],
    ['SELF_SIGNED_CERT_IN_CHAIN', /^certificate issued by an unknown CA \(CN=Test authority\)$/, / --tls-ca FILE; /],
    ['UNABLE_TO_GET_ISSUER_CERT', /issued by an unknown CA/, / --tls-ca FILE; /],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', /issued by an unknown CA/, / --tls-ca FILE; /],
    [
      'CERT_REVOKED',
      /^certificate verification failed \(CERT_REVOKED\)$/,
      /pin the certificate with it: --tls-fingerprint [0-9A-F:]{95}$/,
    ],
  ] as const) {
    test(`explains ${code}`, () => {
      const error = verificationError(socketWith(code), certificate, 'mx.example', POLICY)
      assert.equal(error?.exitStatus, 76)
      assert.match(error.message, message)
      assert.match(error.hint ?? '', hint)
    })
  }
  for (const [title, name, today, code, message] of [
    ['that has expired', 'expired', '2026-11-27', 'CERT_HAS_EXPIRED', 'certificate expired on 2020-01-02'],
    [
      'that is not yet valid',
      'expired',
      '2019-12-31',
      'CERT_NOT_YET_VALID',
      'certificate is not valid before 2020-01-01',
    ],
  ] as const)
    test(`names the day of a certificate ${title}, and this host's date`, (t) => {
      t.mock.timers.enable({ apis: ['Date'], now: new Date(`${today}T12:00:00Z`) })
      const error = verificationError(
        socketWith(code),
        new X509Certificate(fixture(`${name}.pem`)),
        'x.example',
        POLICY,
      )
      assert.equal(error?.message, message)
      assert.match(
        error.hint ?? '',
        new RegExp(`^if the clock of this host is right \\(${today}\\), ask your provider`),
      )
    })
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
      'certificate is for *.wild.example, m*.mail.example, wild.example, not for mx.mail.example',
    )
    assert.match(error.hint ?? '', /: --tls-name wild\.example$/)
  })
  test('says that an address among the DNS names is no IP address', () => {
    const listing = new X509Certificate(fixture('address-name.pem'))
    assert.equal(
      verificationError(socketWith(), listing, '192.0.2.1', POLICY)?.message,
      'certificate lists 192.0.2.1 as a DNS name, but not as an IP address',
    )
  })
  test('says that there is no certificate', () => {
    assert.equal(
      verificationError(socketWith(), undefined, 'mx.example', POLICY)?.message,
      'the server sent no certificate',
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
    const problem = protocolError('certificate expired', 'ask')
    const { problem: message, validTo } = certificateInfoOf(new X509Certificate(fixture('expired.pem')), problem)
    assert.deepEqual([message, validTo], ['certificate expired', '2020-01-02'])
  })
  test('returns no common name as a name', () => {
    assert.deepEqual(certificateInfoOf(new X509Certificate(fixture('client.pem')), undefined).names, [])
  })
  test('returns no common name that is no host name', () => {
    const { names, issuer } = certificateInfoOf(new X509Certificate(fixture('ca.pem')), undefined)
    assert.deepEqual([names, issuer], [[], 'CN=Test authority'])
  })
})
