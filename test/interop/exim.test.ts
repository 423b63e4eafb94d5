import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { etrnJson, spawnEtrn } from '../helpers/command.js'
import { isInside } from '../helpers/namespace.js'
import { exim, install } from './exim.js'
import { entering, fixture, online } from './mta.js'

if (isInside(import.meta.url, entering('exim'))) {
  install()
  const CA = ['--tls-ca', fixture('ca.pem')]

  suite('Exim', { timeout: 300_000 }, () => {
    test("held mail moves over a new connection: '#' is the form that it takes", async (t) => {
      const { hold } = await exim(t)
      await hold('a@site.example')
      const { arrival } = await online(t)
      const refused = await spawnEtrn(['127.0.0.1', 'site.example'])
      assert.equal(refused.status, 65)
      assert.match(refused.stdout, /501 argument must begin with #/)
      assert.match(refused.stderr, /--queue/)
      const run = await spawnEtrn(['127.0.0.1', '--queue', 'site.example'])
      assert.deepEqual(
        [run.status, run.stdout],
        [0, "#site.example: asked; the server doesn't say what waits (250 OK)\n"],
      )
      assert.equal((await arrival()).to, 'a@site.example')
    })
    test('--wait: it can not tell, says so after the second answer, and ends with 2', async (t) => {
      await exim(t)
      const run = await spawnEtrn(['--wait', '30s', '--interval', '1s', '127.0.0.1', '#site.example'])
      assert.equal(run.status, 2)
      assert.equal(run.stderr, "127.0.0.1: says 250 each time: it can't tell whether anything is left\n")
    })
    test('--check: what it is, whom it sees, and whether the certificate would hold', async (t) => {
      await exim(t)
      const { stdout, status } = await spawnEtrn(['--check', ...CA, '127.0.0.1', '#site.example'])
      assert.equal(status, 0)
      assert.match(stdout, /^ {2}ok certificate .* for mx\.example, localhost, 127\.0\.0\.1; by CN=Test authority; /m)
      assert.match(stdout, /^ {2}ok address .* the server sees 127\.0\.0\.1, which is this host's own$/m)
      assert.match(stdout, /^ {2}ok ETRN .* listed$/m)
      assert.match(stdout, /^127\.0\.0\.1 is Exim 4\.96$/m)
    })
    test('the ACL refuses', async (t) => {
      await exim(t, { etrn: 'deny' })
      const run = await spawnEtrn(['127.0.0.1', '#site.example'])
      assert.equal(run.status, 75)
      assert.match(run.stdout, /458 Administrative prohibition/)
      assert.match(run.stderr, /acl_smtp_etrn/)
    })
    test('STARTTLS, verified', async (t) => {
      await exim(t)
      const { status, document } = await etrnJson(['127.0.0.1', ...CA, '#site.example'], {}, spawnEtrn)
      assert.deepEqual([status, document.servers[0]?.tls?.verified], [0, true])
    })
    test('smtps://', async (t) => {
      await exim(t, { main: 'tls_on_connect_ports = 25' })
      assert.equal((await spawnEtrn(['smtps://127.0.0.1:25', ...CA, '#site.example'])).status, 0)
    })
    for (const [certificate, message] of [
      ['expired', /expired: it was valid to 2020-01-02/],
      ['other', /is for other\.example, .*, not 127\.0\.0\.1/],
      ['self', /signed by itself alone/],
    ] as const) {
      test(`a certificate that does not hold: ${certificate}`, async (t) => {
        await exim(t, { certificate })
        const run = await spawnEtrn(['127.0.0.1', ...CA, '#site.example'])
        assert.equal(run.status, 76)
        assert.match(run.stderr, message)
      })
    }
    test('each mechanism lets us in, and a wrong password does not', async (t) => {
      await exim(t, { etrn: 'accept authenticated = *\n  deny message = Authentication required' })
      const without = await spawnEtrn(['127.0.0.1', '#site.example'])
      assert.equal(without.status, 75)
      assert.match(without.stdout, /458 Authentication required/)
      assert.match(without.stderr, /login/)
      for (const mechanism of ['CRAM-MD5', 'PLAIN', 'LOGIN']) {
        const args = ['127.0.0.1', ...CA, '--user', 'site', '--auth', mechanism, '#site.example']
        const run = await spawnEtrn(args, { env: { ETRN_PASSWORD: 'secret' } })
        assert.equal(run.status, 0, run.stderr)
        const wrong = await spawnEtrn(args, { env: { ETRN_PASSWORD: 'sesame' } })
        assert.equal(wrong.status, 77)
        assert.match(wrong.stderr, /AUTH: 535 Incorrect authentication data; .*\n {2}check user and password/)
      }
    })
    test('EXTERNAL, by the certificate', async (t) => {
      await exim(t, { etrn: 'accept authenticated = external\n  deny message = Authentication required' })
      const identity = ['--tls-cert', fixture('client.pem'), '--tls-key', fixture('client.key')]
      const run = await spawnEtrn(['127.0.0.1', ...CA, ...identity, '--auth', 'EXTERNAL', '-v', '#site.example'])
      assert.equal(run.status, 0, run.stderr)
      assert.match(run.stderr, /C: AUTH EXTERNAL/)
    })
  })
}
