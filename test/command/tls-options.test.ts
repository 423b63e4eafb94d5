import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { suite, test } from 'node:test'
import { type PartialOptions, settle } from '../../src/command/options.js'
import { checkPem, checkTlsOptions, readTlsPolicy, tlsLevelFor } from '../../src/command/tls-options.js'
import { UsageError } from '../../src/errors.js'
import { parseServer } from '../../src/input/server-address.js'
import { fixture, fixturePath } from '../helpers/files.js'

const NOTHING = { level: undefined, fingerprint: undefined, ca: undefined, name: undefined }

suite('tlsLevelFor', () => {
  const settles = (
    title: string,
    server: string,
    request: Partial<typeof NOTHING> | object,
    hasLogin: boolean,
    level: string,
  ): void =>
    void test(title, () => assert.equal(tlsLevelFor(parseServer(server), { ...NOTHING, ...request }, hasLogin), level))
  settles('may is the default', 'mx.example', {}, false, 'may')
  settles('smtps:// is always verified', 'smtps://mx.example', { level: 'none' }, false, 'verify')
  for (const request of [{ fingerprint: 'A' }, { ca: 'ca.pem' }, { name: 'mx.example' }])
    settles(`${Object.keys(request).join()} alone means verify`, 'mx.example', request, false, 'verify')
  settles('--tls overrides what a CA alone means', 'mx.example', { ca: 'ca.pem', level: 'encrypt' }, false, 'encrypt')
  settles('a login means verify', 'mx.example', {}, true, 'verify')
  settles('--tls overrides what a login means', 'mx.example', { level: 'may' }, true, 'may')
  for (const server of ['localhost', '127.0.0.1', '[::1]'])
    settles(`a login to ${server} means may`, server, {}, true, 'may')
  for (const level of ['none', 'may'] as const)
    test(`--tls ${level} contradicts a fingerprint`, () =>
      assert.throws(
        () => tlsLevelFor(parseServer('mx.example'), { ...NOTHING, level, fingerprint: 'A' }, false),
        (error) =>
          error instanceof UsageError &&
          error.exitStatus === 64 &&
          error.message === `--tls ${level} contradicts --tls-fingerprint: type --tls verify, or leave it out`,
      ))
  for (const level of ['encrypt', 'verify'] as const)
    settles(`--tls ${level} agrees with a fingerprint`, 'mx.example', { level, fingerprint: 'A' }, false, level)
})

suite('checkTlsOptions', () => {
  const check = (options: PartialOptions, server = 'mx.example') =>
    checkTlsOptions(parseServer(server), settle(options))
  const refuses = (title: string, options: PartialOptions, message: RegExp, server?: string): void =>
    void test(title, () => assert.throws(() => check(options, server), message))
  refuses('--tls-key needs --tls-cert', { 'tls-key': 'k' }, /^UsageError: --tls-key belongs to --tls-cert: type both$/)
  refuses('--auth PLAIN needs a user', { auth: 'PLAIN' }, /^UsageError: --auth PLAIN needs a user: type --user U$/)
  refuses(
    '--password-file needs a user',
    { 'password-file': 'f' },
    /^UsageError: a password needs a user: type --user U$/,
  )
  refuses('--password-command needs a user', { 'password-command': 'c' }, /a password needs a user/)
  refuses(
    'a user of the URL has no control character',
    {},
    /^UsageError: the user of .*: a control or invisible/,
    'smtp://a%07b@mx.example',
  )
  test('a login with a certificate, a user of the URL and a key with its certificate are accepted', () => {
    assert.equal(check({ auth: 'EXTERNAL' }), 'verify')
    assert.equal(check({ auth: 'PLAIN', 'password-file': 'f' }, 'smtp://u@mx.example'), 'verify')
    assert.equal(check({ 'tls-cert': 'c', 'tls-key': 'k' }), 'may')
  })
})

suite('readTlsPolicy', () => {
  const SIGNAL = new AbortController().signal
  const read = async (options: PartialOptions) => readTlsPolicy(parseServer('mx.example'), settle(options), SIGNAL)
  test('has the defaults of every option', async () =>
    assert.deepEqual(await read({}), {
      level: 'may',
      minVersion: 'TLSv1.2',
      fingerprint: undefined,
      name: undefined,
      ca: undefined,
      cert: undefined,
      key: undefined,
    }))
  test('has the text of each file and the value of each option', async () =>
    assert.deepEqual(
      await read({
        'tls-ca': fixturePath('ca.pem'),
        'tls-cert': fixturePath('client.pem'),
        'tls-key': fixturePath('client.key'),
        'tls-fingerprint': 'A',
        'tls-name': 'other.example',
        'tls-min': 'TLSv1.3',
      }),
      {
        level: 'verify',
        minVersion: 'TLSv1.3',
        fingerprint: 'A',
        name: 'other.example',
        ca: fixture('ca.pem'),
        cert: fixture('client.pem'),
        key: fixture('client.key'),
      },
    ))
  test('reports 66 and the option for a file that is missing or no PEM', async () => {
    for (const [options, message] of [
      [{ 'tls-ca': '/nowhere' }, '--tls-ca /nowhere: there is no such file'],
      [
        { 'tls-ca': fixturePath('make.sh') },
        `--tls-ca ${fixturePath('make.sh')}: there is no certificate in it, in PEM`,
      ],
      [
        { 'tls-cert': fixturePath('make.sh') },
        `--tls-cert ${fixturePath('make.sh')}: there is no certificate in it, in PEM`,
      ],
    ] as const)
      await assert.rejects(read(options), { name: 'UsageError', exitStatus: 66, message })
  })
})

suite('checkPem', () => {
  const [ca, cert, key] = [fixture('ca.pem'), fixture('client.pem'), fixture('client.key')]
  const check = async (pem: { ca?: string; cert?: string; key?: string }) =>
    checkPem({ ca: undefined, cert: undefined, key: undefined, ...pem }, (which) => `the ${which}`, 64)
  test('accepts a CA, a certificate with its key, and both in one text', async () => {
    await check({})
    await check({ ca })
    await check({ ca, cert, key })
    await check({ cert: cert + key })
  })
  const refuses = (title: string, pem: Parameters<typeof check>[0], message: string | RegExp): void =>
    void test(title, async () => assert.rejects(check(pem), { name: 'UsageError', exitStatus: 64, message }))
  refuses('refuses a CA without a certificate', { ca: key }, 'the ca: there is no certificate in it, in PEM')
  refuses(
    'refuses a certificate text without a certificate',
    { cert: key },
    'the cert: there is no certificate in it, in PEM',
  )
  refuses('refuses a certificate without a key', { cert }, 'the cert: there is no private key in it, in PEM')
  refuses('refuses a key text without a key', { cert, key: cert }, 'the key: there is no private key in it, in PEM')
  refuses(
    'refuses the key of another certificate',
    { cert, key: fixture('mx.key') },
    'the key: the key is not that of the certificate',
  )
  refuses(
    'refuses the key of another certificate in one text',
    { cert: cert + fixture('mx.key') },
    'the cert: the key is not that of the certificate',
  )
  test('refuses a key with a passphrase', async () => {
    const { createPrivateKey } = await import('node:crypto')
    const locked = createPrivateKey(readFileSync(fixturePath('client.key'))).export({
      type: 'pkcs8',
      format: 'pem',
      cipher: 'aes-256-cbc',
      passphrase: 'sesame',
    })
    await assert.rejects(check({ cert, key: locked.toString() }), {
      message: 'the key: the key has a passphrase; take it off',
    })
  })
})
