import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { etrn } from '../helpers/command.js'
import { fixturePath } from '../helpers/files.js'
import { CA, certificateStep, fingerprintOf, secureSession, testAccepted, testFailed } from '../smtp/tls-server.js'

suite('the server is verified', { concurrency: true }, () => {
  testAccepted('with --tls-ca alone', [secureSession('mx')], CA, true)
  testFailed(
    'on smtps:// even with --tls none',
    [{ ...certificateStep('self'), fails: true }],
    ['--tls', 'none'],
    'tls',
    /signed by itself/,
    76,
    'smtps',
  )
})

suite('an option of TLS is rejected before anything is sent', { concurrency: true }, () => {
  const testRejected = (args: readonly string[], status: number, message: RegExp): void =>
    void test(`with ${status}: ${args.join(' ').replaceAll(fixturePath(''), '')}`, async () => {
      const run = await etrn(['127.0.0.1:9', 'site.example', ...args])
      assert.equal(run.status, status)
      assert.match(run.stderr, message)
      assert.equal(run.stderr.split('\n').length, 2)
    })
  testRejected(['--tls', 'maybe'], 64, /the choice is none, may, encrypt, verify/)
  testRejected(['--tls-min', 'SSLv3'], 64, /the choice is TLSv1, /)
  testRejected(['--tls-fingerprint', 'AB:CD'], 64, /64 hex digits/)
  testRejected(
    ['--tls', 'may', '--tls-fingerprint', fingerprintOf('mx')],
    64,
    /--tls may contradicts --tls-fingerprint/,
  )
  testRejected(['--tls-key', fixturePath('client.key')], 64, /--tls-key belongs to --tls-cert/)
  testRejected(['--tls-ca', '/nonexistent'], 66, /--tls-ca \/nonexistent: there is no such file/)
  testRejected(['--tls-ca', fixturePath('make.sh')], 66, /--tls-ca .*make\.sh: /)
  testRejected(['--tls-cert', fixturePath('client.pem')], 66, /--tls-cert .*client\.pem: /)
  testRejected(
    ['--tls-cert', fixturePath('client.pem'), '--tls-key', fixturePath('mx.key')],
    66,
    /--tls-key .*mx\.key: the key is not that of/,
  )
  testRejected(
    ['--tls-cert', fixturePath('client.pem'), '--tls-key', fixturePath('make.sh')],
    66,
    /--tls-key .*make\.sh: there is no private key in it/,
  )
  testRejected(['--tls-name', 'a b'], 64, /--tls-name "a b"/)
  test('with 66: --tls-cert with a key that has a passphrase', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'etrn-tls-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const file = join(folder, 'locked.pem')
    const lock = { format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'x' } as const
    const key = createPrivateKey(readFileSync(fixturePath('client.key'))).export(lock)
    writeFileSync(file, `${readFileSync(fixturePath('client.pem'), 'utf8')}${String(key)}`)
    const { status, stderr } = await etrn(['127.0.0.1:9', 'site.example', '--tls-cert', file])
    assert.deepEqual([status, stderr], [66, `etrn: --tls-cert ${file}: the key has a passphrase; take it off\n`])
  })
})
