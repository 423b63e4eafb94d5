import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { suite, test } from 'node:test'
import { weaknessOf } from '../../src/smtp/certificate-strength.js'
import { fixture, fixturePath } from '../helpers/files.js'
import type { Conversation } from '../helpers/scripted-server.js'
import { AGREED, fingerprintOf, secureSession, testAccepted, testFailed } from './tls-server.js'

// OpenSSL shows and accepts these certificates at this level only.
const WEAK = { ciphers: 'DEFAULT@SECLEVEL=0', key: fixture('weak.key') }
const OLD_TLS = { ...WEAK, minVersion: 'TLSv1', maxVersion: 'TLSv1.1' } as const
const OLD_CA = ['--tls-ca', fixturePath('weak-ca.pem'), '--tls-min', 'TLSv1']
const SHORT_KEY = { key: fixture('short.key') }
const weakStep = (name: string, options = {}) => ({ tls: { ...WEAK, cert: fixture(`${name}.pem`), ...options } })
const rejected = (name: string, options = {}): Conversation => [...AGREED, { ...weakStep(name, options), fails: true }]
const accepted = (name: string, options = {}): Conversation =>
  secureSession('mx', { ...WEAK, cert: fixture(`${name}.pem`), ...options })

/** Returns certificates as a server sends them: its own, then each file's first one, or the one at the index. */
function listOf(...files: readonly string[]): string {
  return files
    .map((file) => {
      const [name, index] = file.split(':')
      const certificates = fixture(`${name ?? ''}.pem`).split(/(?<=-----END CERTIFICATE-----\n)/)
      return certificates[Number(index ?? 0)] ?? assert.fail(file)
    })
    .join('')
}

/** The octets of a tag and a length between 256 and 65,535 */
const HEADER_OCTETS = 4

function lengthOf(content: Buffer, octets: number): Buffer {
  const length = Buffer.alloc(octets)
  length.writeUIntBE(content.length, octets - 2, 2)
  return length
}

/** The OID of an EC key, in hex */
const EC_PUBLIC_KEY = '2a8648ce3d0201'

const WEAKNESSES: readonly (readonly [name: string, weakness: string | undefined])[] = [
  ['weak-md5', 'certificate is signed with MD5, whose signatures can be forged'],
  ['weak-sha1', 'certificate is signed with SHA-1, whose signatures can be forged'],
  ['weak-pss', 'certificate is signed with SHA-1, whose signatures can be forged'],
  ['weak-pss-mask', 'certificate is signed with SHA-1, whose signatures can be forged'],
  ['weak-ecdsa', 'certificate is signed with SHA-1, whose signatures can be forged'],
  ['weak-key', 'certificate has a key of only 768 bits'],
  ['weak-curve', 'certificate has a key on the weak curve secp112r1'],
  ['short-host', 'certificate has a key of only 1000 bits'],
  ['short-pss', 'certificate has a key of only 1000 bits'],
  ['short-explicit', 'certificate has a key on a curve without a name'],
  ['weak-not', undefined],
  ['weak-not-pss', undefined],
  // The signature of a root proves nothing.
  ['weak-ca', undefined],
  ['mx', undefined],
]

suite('weaknessOf', () => {
  for (const [name, weakness] of WEAKNESSES)
    test(`is ${weakness ?? 'undefined'} for ${name}.pem`, () =>
      assert.equal(weaknessOf(new X509Certificate(fixture(`${name}.pem`))), weakness))
  for (const [title, encode] of [
    ['an indefinite length', (content: Buffer) => [Buffer.from([0x30, 0x80]), content, Buffer.alloc(2)]],
    ['a length of eight octets', (content: Buffer) => [Buffer.from([0x30, 0x88]), lengthOf(content, 8), content]],
  ] as const)
    test(`is a fault of the certificate if its content has ${title}, which OpenSSL accepts`, () => {
      const der = new X509Certificate(fixture('weak-sha1.pem')).raw
      const end = HEADER_OCTETS + HEADER_OCTETS + der.readUInt16BE(HEADER_OCTETS + 2)
      const content = der.subarray(2 * HEADER_OCTETS, end)
      const body = Buffer.concat([...encode(content), der.subarray(end)])
      const certificate = new X509Certificate(Buffer.concat([Buffer.from([0x30, 0x82]), lengthOf(body, 2), body]))
      assert.equal(weaknessOf(certificate), 'certificate is not DER-encoded')
    })
  test('is a fault of the certificate if its key is the point at infinity, whose details Node cannot tell', () => {
    const der = new X509Certificate(fixture('weak-not.pem')).raw
    const key = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'hex')
    const start = der.indexOf(key)
    assert.notEqual(start, -1)
    const infinity = Buffer.from('3019301306072a8648ce3d020106082a8648ce3d03010703020000', 'hex')
    const POINT_OCTETS = 65
    const changed = Buffer.concat([der.subarray(0, start), infinity, der.subarray(start + key.length + POINT_OCTETS)])
    for (const header of [0, HEADER_OCTETS])
      changed.writeUInt16BE(der.readUInt16BE(header + 2) - (der.length - changed.length), header + 2)
    assert.equal(weaknessOf(new X509Certificate(changed)), 'certificate has a public key that cannot be decoded')
  })
  for (const [count, weakness] of [
    [3, undefined],
    [4, "issuer's certificate is signed with SHA-1, whose signatures can be forged"],
  ] as const)
    test(`${weakness === undefined ? 'accepts' : 'rejects'} a chain with ${count} roots that are signed with SHA-1`, () => {
      const certificate = new X509Certificate(fixture('weak-not.pem'))
      const roots = Array.from({ length: count }, () => new X509Certificate(fixture('weak-ca.pem')))
      for (const [index, one] of [certificate, ...roots].entries())
        Object.defineProperty(one, 'issuerCertificate', { value: roots[index] })
      assert.equal(weaknessOf(certificate), weakness)
    })
  test('is undefined if the key of another certificate in the list has an algorithm that OpenSSL lacks', () => {
    const certificate = new X509Certificate(fixture('weak-not.pem'))
    const der = Buffer.from(certificate.raw)
    der[der.indexOf(EC_PUBLIC_KEY, 0, 'hex') + EC_PUBLIC_KEY.length / 2 - 1] = 0x7f
    Object.defineProperty(certificate, 'issuerCertificate', { value: new X509Certificate(der) })
    assert.equal(weaknessOf(certificate), undefined)
  })
})

suite('weaknessOf judges the authorities that this host trusts', () => {
  const certificateOf = (name: string): X509Certificate => new X509Certificate(fixture(`${name}.pem`))
  const trusted = ['short-ca', 'short-middle', 'weak-sha1'].map(certificateOf)
  for (const [title, name, weakness] of [
    ['if one has issued the certificate', 'short-issued', "issuer's certificate has a key of only 1000 bits"],
    ['if one has issued the issuer', 'short-issued-twice', "issuer's certificate has a key of only 1000 bits"],
    ['but not if they have issued neither', 'weak-not', undefined],
  ] as const)
    test(title, () => assert.equal(weaknessOf(certificateOf(name), trusted), weakness))
  test('but not their signatures', () => {
    const own = certificateOf('weak-sha1')
    assert.equal(weaknessOf(own, [own]), undefined)
  })
})

suite('a short key is rejected with 76', { concurrency: true }, () => {
  const NOT_SENT = "issuer's certificate has a key of only 1000 bits"
  for (const [title, name, ca, weakness, options] of [
    ["if it is the server's", 'short-host', 'short-root', 'certificate has a key of only 1000 bits', SHORT_KEY],
    ['if it is that of an authority in between', 'short-chain', 'short-root', NOT_SENT, {}],
    ['if it is that of a root, which the server does not send', 'short-issued', 'short-ca', NOT_SENT, {}],
    ['if the server sends no issuer at all', 'short-issued-twice', 'short-trusted', NOT_SENT, {}],
  ] as const)
    for (const version of ['TLSv1', 'TLSv1.2', 'TLSv1.3'])
      testFailed(
        `${title}, with --tls-min ${version}`,
        rejected(name, options),
        ['--tls-ca', fixturePath(`${ca}.pem`), '--tls-min', version],
        'tls',
        new RegExp(`^${weakness}$`),
      )
  testAccepted(
    'unless the certificate is pinned',
    [accepted('short-host', SHORT_KEY)],
    ['--tls-fingerprint', fingerprintOf('short-host')],
    true,
  )
  testAccepted('unless it is not verified', [accepted('short-host', SHORT_KEY)], ['--tls', 'encrypt'], false)
})

suite('with --tls-min TLSv1 a weak certificate is rejected with 76', { concurrency: true }, () => {
  for (const [name, weakness] of WEAKNESSES.slice(0, 5))
    testFailed(`${name}.pem`, rejected(name), OLD_CA, 'tls', new RegExp(`^${weakness ?? ''}$`))
  testFailed(
    'with a short key',
    rejected('weak-key', { key: fixture('weak-key.key') }),
    OLD_CA,
    'tls',
    /^certificate has a key of only 768 bits$/,
  )
  testFailed(
    'if the certificate of an authority in between is weak',
    rejected('weak-chain'),
    OLD_CA,
    'tls',
    /^issuer's certificate is signed with SHA-1, whose signatures can be forged$/,
  )
  testFailed(
    'if the weak authority is not the next in the list',
    rejected('weak-chain', { cert: listOf('weak-chain', 'mx', 'weak-chain:1') }),
    OLD_CA,
    'tls',
    /^issuer's certificate is signed with SHA-1, whose signatures can be forged$/,
  )
  testFailed(
    'if the server sends so many certificates that a weak one may be among them',
    [...AGREED, { ...weakStep('weak-not', { cert: fixture('weak-not.pem').repeat(17) }), fails: true }],
    OLD_CA,
    'tls',
    /^the server sent more than 16 certificates$/,
  )
  testFailed('over TLS 1.1', rejected('weak-sha1', OLD_TLS), OLD_CA, 'tls', /signed with SHA-1/)
  testFailed(
    'by default, too, with the same message',
    rejected('weak-sha1'),
    OLD_CA.slice(0, 2),
    'tls',
    /^certificate is signed with SHA-1, whose signatures can be forged$/,
  )
})

suite('with --tls-min TLSv1 a certificate is accepted', { concurrency: true }, () => {
  testAccepted('if its signature is not weak', [accepted('weak-not')], OLD_CA, true)
  testAccepted('if its RSASSA-PSS signature is not weak', [accepted('weak-not-pss')], OLD_CA, true)
  testAccepted('over TLS 1.1', [accepted('weak-not', OLD_TLS)], OLD_CA, true)
  for (const options of [OLD_CA, OLD_CA.slice(0, 2)])
    testAccepted(
      `if a weak certificate in the list is no issuer: ${options.includes('TLSv1') ? 'TLSv1' : 'TLS 1.2'} or newer`,
      [accepted('weak-not', { cert: listOf('weak-not', 'weak-sha1') })],
      options,
      true,
    )
  testAccepted(
    'if it is weak but pinned',
    [accepted('weak-sha1')],
    ['--tls-fingerprint', fingerprintOf('weak-sha1'), '--tls-min', 'TLSv1'],
    true,
  )
  testAccepted('if it is weak and not verified', [accepted('weak-sha1')], ['--tls-min', 'TLSv1'], false)
})

suite('an authority with an unusual key', { concurrency: true }, () => {
  const root = ['--tls', 'verify', '--tls-ca', fixturePath('kind-root.pem')]
  testAccepted('is accepted with a curve that NIST does not name', [accepted('kind-brainpool')], root, true)
  testFailed(
    'is rejected with 76 if the key is DSA',
    rejected('kind-dsa'),
    root,
    'tls',
    /^issuer's certificate has a key of the obsolete kind DSA$/,
  )
})
