import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { suite, test } from 'node:test'
import type { PartialOptions } from '../../src/command/options.js'
import { checkPem } from '../../src/command/tls-files.js'
import { checkTlsOptions, readTlsPolicy } from '../../src/command/tls-options.js'
import { UsageError } from '../../src/errors.js'
import { assertRefused, etrn } from '../helpers/command.js'
import { fixture, fixturePath, makeFile } from '../helpers/files.js'
import { NO_SOURCES, targetOf } from '../helpers/options.js'
import { CA, certificateStep, secureSession, testAccepted, testFailed } from '../smtp/tls-server.js'

/** Returns the client's key, locked by a passphrase. */
function lockedKey(): string {
  const lock = { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'sesame' } as const
  return createPrivateKey(fixture('client.key')).export(lock).toString()
}

suite('checkTlsOptions: the level', () => {
  const settlesLevel = (title: string, server: string, options: PartialOptions, level: string): void =>
    void test(title, async () => assert.equal(await checkTlsOptions(targetOf(server, options)), level))
  settlesLevel('may is the default', 'mx.example', {}, 'may')
  settlesLevel('smtps:// is always verified', 'smtps://mx.example', { tls: 'none' }, 'verify')
  for (const [option, value] of [
    ['tls-fingerprint', 'A'],
    ['tls-ca', 'ca.pem'],
    ['tls-name', 'mx.example'],
  ])
    settlesLevel(`--${option ?? ''} alone means verify`, 'mx.example', { [option ?? '']: value }, 'verify')
  settlesLevel('--user means verify', 'mx.example', { user: 'u' }, 'verify')
  settlesLevel('a user of the URL means verify', 'smtp://u@mx.example', {}, 'verify')
  settlesLevel('EXTERNAL means verify', 'mx.example', { auth: 'EXTERNAL' }, 'verify')
  settlesLevel('--tls overrides what a login means', 'mx.example', { user: 'u', tls: 'may' }, 'may')
  for (const server of ['localhost', '127.0.0.1', '[::1]'])
    settlesLevel(`a login to ${server} means may`, server, { user: 'u' }, 'may')
  for (const tls of ['none', 'may'] as const)
    test(`--tls ${tls} contradicts a fingerprint`, async () =>
      assert.rejects(checkTlsOptions(targetOf('mx.example', { tls, 'tls-fingerprint': 'A' })), {
        exitStatus: 64,
        option: 'tls',
        message: new RegExp(`--tls ${tls}\\b.*--tls-fingerprint`),
      }))
  for (const [option, value] of [
    ['tls-ca', 'ca.pem'],
    ['tls-name', 'mx.example'],
  ] as const) {
    for (const tls of ['none', 'may', 'encrypt'] as const)
      test(`--tls ${tls} contradicts --${option}, which it would not check`, async () =>
        assert.rejects(checkTlsOptions(targetOf('mx.example', { tls, [option]: value })), {
          exitStatus: 64,
          option: 'tls',
          message: new RegExp(`--tls ${tls}\\b.*--${option}`),
        }))
    settlesLevel(`--tls verify agrees with --${option}`, 'mx.example', { tls: 'verify', [option]: value }, 'verify')
    settlesLevel(`smtps:// checks --${option}`, 'smtps://mx.example', { tls: 'may', [option]: value }, 'verify')
  }
  for (const [option, value] of [
    ['tls-min', 'TLSv1.3'],
    ['tls-cert', 'client.pem'],
  ] as const) {
    test(`--tls none contradicts --${option}`, async () =>
      assertRefused(
        ['mx.example', 'a.example', '--tls', 'none', `--${option}`, value],
        `etrn: --tls none contradicts --${option}; remove one of them\n`,
      ))
    settlesLevel(
      `smtps:// uses --${option}, whatever --tls is`,
      'smtps://mx.example',
      { tls: 'none', [option]: value },
      'verify',
    )
  }
  for (const [title, toml, args, status] of [
    [
      'a profile demands --tls-min',
      'tls = "none"\n[servers.isp]\nserver = "127.0.0.1:9"\ntls-min = "TLSv1.3"\n',
      [],
      78,
    ],
    [
      'a profile demands --tls-cert',
      'tls = "none"\n[servers.isp]\nserver = "127.0.0.1:9"\ntls-cert = "c.pem"\n',
      [],
      78,
    ],
    ['--tls-min is typed', '[servers.isp]\nserver = "127.0.0.1:9"\ntls = "none"\n', ['--tls-min', 'TLSv1.3'], 64],
    ['--tls-cert is typed', 'tls = "none"\n[servers.isp]\nserver = "127.0.0.1:9"\n', ['--tls-cert', 'c.pem'], 64],
  ] as const)
    test(`tls = "none" of a weaker source is refused if ${title}`, async (t) => {
      const argv = ['--config', makeFile(t, 'c.toml', toml), 'isp', 'a.example', ...args]
      await assertRefused(
        argv,
        /^etrn: (?:\S+: profile isp: )?--tls none contradicts --tls-(?:min|cert); remove one/,
        status,
      )
    })
  test('tls = "none" of a profile overrides the tls-min of all servers', async (t) => {
    const toml = 'tls-min = "TLSv1.3"\n[servers.isp]\nserver = "127.0.0.1:9"\ntls = "none"\n'
    const run = await etrn(['--config', makeFile(t, 'c.toml', toml), 'isp', 'a.example'])
    assert.equal(run.status, 75, run.stderr)
  })
  for (const tls of ['encrypt', 'verify'] as const)
    settlesLevel(`--tls ${tls} agrees with a fingerprint`, 'mx.example', { tls, 'tls-fingerprint': 'A' }, tls)
  test('--tls-key without --tls-cert is refused', async () => {
    const check = async (options: PartialOptions) => checkTlsOptions(targetOf('mx.example', options))
    await assert.rejects(check({ 'tls-key': 'k' }), {
      option: 'tls-key',
      message: '--tls-key needs --tls-cert; add --tls-cert FILE',
    })
    assert.equal(await check({ 'tls-cert': 'c', 'tls-key': 'k' }), 'may')
  })
})

suite('tls-options: the level of a whole run', { concurrency: true }, () => {
  testAccepted('--tls-ca alone verifies the server', [secureSession('mx')], CA, true)
  testFailed(
    'smtps:// verifies the server in spite of --tls none',
    [{ ...certificateStep('self'), fails: true }],
    ['--tls', 'none'],
    'tls',
    /self[- ]signed|signed by itself/,
    76,
    'smtps',
  )
})

suite('tls-options: refused command lines', { concurrency: true }, () => {
  const refuses = (args: readonly string[], status: number, message: RegExp): void =>
    void test(`reports ${status} for ${args.join(' ').replaceAll(fixturePath(''), '')}`, async () =>
      assertRefused(['127.0.0.1:9', 'site.example', ...args], message, status))
  const [cert, key] = [fixturePath('client.pem'), fixturePath('client.key')]
  refuses(
    ['--tls', 'maybe'],
    64,
    /^etrn: --tls "maybe" must be none, may, encrypt or verify; write, for example, --tls verify\n$/,
  )
  refuses(['--tls-min', 'SSLv3'], 64, /^etrn: --tls-min "SSLv3" must be TLSv1, /)
  refuses(['--tls-fingerprint', 'AB:CD'], 64, /64 hex digits/)
  refuses(['--tls', 'may', '--tls-fingerprint', 'AB'.repeat(32)], 64, /--tls may\b.*--tls-fingerprint/)
  refuses(['--tls', 'may', '--tls-ca', cert], 64, /--tls may\b.*--tls-ca/)
  refuses(['--tls', 'encrypt', '--tls-name', 'mx.example'], 64, /--tls encrypt\b.*--tls-name/)
  refuses(['--tls-key', key], 64, /--tls-key needs --tls-cert/)
  refuses(['--tls-ca', '/nonexistent'], 66, /--tls-ca \/nonexistent: no such file/)
  refuses(['--tls-ca', fixturePath('make.sh')], 66, /--tls-ca .*make\.sh: /)
  refuses(['--tls-cert', cert], 66, /--tls-cert .*client\.pem: /)
  refuses(
    ['--tls-cert', cert, '--tls-key', fixturePath('mx.key')],
    66,
    /--tls-key .*mx\.key: the private key does not belong to the certificate$/m,
  )
  refuses(
    ['--tls-cert', cert, '--tls-key', fixturePath('make.sh')],
    66,
    /--tls-key .*make\.sh: no private key in PEM format found$/m,
  )
  refuses(['--tls-name', 'a b'], 64, /--tls-name "a b"/)
  test('reports 66 for --tls-cert with a key that has a passphrase', async (t) => {
    const file = makeFile(t, 'locked.pem', fixture('client.pem') + lockedKey())
    const message = `etrn: --tls-cert ${file}: the private key has a passphrase; remove the passphrase, for example with openssl pkey\n`
    await assertRefused(['127.0.0.1:9', 'site.example', '--tls-cert', file], message, 66)
  })
})

suite('readTlsPolicy', () => {
  // Everybody may read the key of the tests.
  const sources = { ...NO_SOURCES, warn: () => undefined }
  const read = async (options: PartialOptions) => readTlsPolicy(targetOf('mx.example', options), sources)
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
      [{ 'tls-ca': '/nowhere' }, '--tls-ca /nowhere: no such file'],
      [{ 'tls-ca': fixturePath('make.sh') }, `--tls-ca ${fixturePath('make.sh')}: no certificate in PEM format found`],
      [
        { 'tls-cert': fixturePath('make.sh') },
        `--tls-cert ${fixturePath('make.sh')}: no certificate in PEM format found`,
      ],
    ] as const)
      await assert.rejects(read(options), { name: 'UsageError', exitStatus: 66, message })
  })
})

suite('checkPem', () => {
  const [ca, cert, key] = [fixture('ca.pem'), fixture('client.pem'), fixture('client.key')]
  const check = async (pem: { ca?: string; cert?: string; key?: string }) =>
    checkPem(
      { ca: undefined, cert: undefined, key: undefined, ...pem },
      (part, problem, cause) => new UsageError(`the ${part}: ${problem}`, { cause }),
    )
  test('accepts a CA, a certificate with its key, and both in one text', async () => {
    await check({})
    await check({ ca })
    await check({ ca, cert, key })
    await check({ cert: cert + key })
  })
  const refuses = (title: string, pem: Parameters<typeof check>[0], message: string | RegExp): void =>
    void test(title, async () => assert.rejects(check(pem), { name: 'UsageError', exitStatus: 64, message }))
  refuses('refuses a CA without a certificate', { ca: key }, 'the ca: no certificate in PEM format found')
  refuses(
    'refuses a certificate text without a certificate',
    { cert: key },
    'the cert: no certificate in PEM format found',
  )
  refuses('refuses a certificate without a key', { cert }, 'the cert: no private key in PEM format found')
  refuses('refuses a key text without a key', { cert, key: cert }, 'the key: no private key in PEM format found')
  refuses(
    'refuses the key of another certificate',
    { cert, key: fixture('mx.key') },
    'the key: the private key does not belong to the certificate',
  )
  refuses(
    'refuses the key of another certificate in one text',
    { cert: cert + fixture('mx.key') },
    'the cert: the private key does not belong to the certificate',
  )
  test('refuses a key with a passphrase', async () => {
    await assert.rejects(check({ cert, key: lockedKey() }), {
      message: 'the key: the private key has a passphrase; remove the passphrase, for example with openssl pkey',
    })
  })
})
