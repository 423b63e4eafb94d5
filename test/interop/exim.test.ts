import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { etrnJson, spawnEtrn } from '../helpers/command.js'
import { fixturePath } from '../helpers/files.js'
import { isInside } from '../helpers/namespace.js'
import { ETRN_COMMAND_BY_TABLE, install, startExim } from './exim.js'
import { enterCommand, startSiteServer } from './mta.js'
import { checkManyNames, NAMES, QUEUE_UNKNOWN } from './request-checks.js'

if (isInside(import.meta.url, enterCommand('exim'))) {
  install()
  const CA = ['--tls-ca', fixturePath('ca.pem')]

  suite('Exim', { timeout: 300_000 }, () => {
    test('a request with --queue moves held mail, and the bare domain is rejected with a hint', async (t) => {
      const { hold } = await startExim(t)
      await hold('a@site.example')
      const { nextMessage } = await startSiteServer(t)
      const refused = await spawnEtrn(['127.0.0.1', 'site.example'])
      assert.equal(refused.status, 65)
      assert.match(refused.stdout, /501 argument must begin with #/)
      assert.match(refused.stderr, /--queue/)
      const run = await spawnEtrn(['127.0.0.1', '--queue', 'site.example'])
      assert.deepEqual([run.status, run.stdout], [0, '#site.example: accepted (250 OK)\n'])
      assert.equal((await nextMessage()).to, 'a@site.example')
    })
    test('--wait ends with exit status 2 after the second reply, because Exim reports no counts', async (t) => {
      await startExim(t)
      const run = await spawnEtrn(['--wait', '30s', '--interval', '1s', '127.0.0.1', '#site.example'])
      assert.equal(run.status, 2)
      assert.match(run.stderr, QUEUE_UNKNOWN)
    })
    test('--check prints the software, the address that the server sees, and the certificate', async (t) => {
      await startExim(t)
      const { stdout, status } = await spawnEtrn(['--check', ...CA, '127.0.0.1', '#site.example'])
      assert.equal(status, 0)
      assert.match(
        stdout,
        /^ {2}ok certificate .* for mx\.example, localhost, 127\.0\.0\.1; issued by CN=Test authority; /m,
      )
      assert.match(stdout, /^ {2}ok address .* the server sees 127\.0\.0\.1, this host's own address$/m)
      assert.match(stdout, /^ {2}ok ETRN .* listed$/m)
      assert.match(stdout, /^127\.0\.0\.1 runs Exim 4\.96 \(according to its greeting\)$/m)
    })
    test('a name is refused with a hint if acl_smtp_etrn denies it', async (t) => {
      await startExim(t, { etrn: 'deny' })
      const run = await spawnEtrn(['127.0.0.1', '#site.example'])
      assert.equal(run.status, 77)
      assert.match(run.stdout, /458 Administrative prohibition/)
      assert.match(run.stderr, /acl_smtp_etrn/)
    })
    for (const [title, options] of [
      ['without TLS', ['--tls', 'none']],
      ['over TLS, where its 554 is unencrypted', CA],
      ['over TLS with -k', [...CA, '-k']],
      ['one session after another', ['--tls', 'none', '--jobs', '1']],
    ] as const)
      test(`20 names are accepted ${title} although Exim closes at the 5th in a session`, async (t) => {
        const server = await startExim(t, { main: `${ETRN_COMMAND_BY_TABLE}\nsmtp_accept_max_nonmail = 4` })
        await checkManyNames(t, server, '', options)
        assert.ok(Math.max(...server.namesBySession().map(({ length }) => length)) <= 4)
        const overruns = server.readLog().match(/too many nonmail commands/gi)?.length ?? 0
        // Sessions that were under way when the first one met the limit may meet it, too.
        assert.ok(overruns >= 1 && overruns <= 4, `${overruns} sessions were too long`)
      })
    test('refused names count for the limit of a session, and each name gets its own reply', async (t) => {
      const server = await startExim(t, { etrn: 'deny', main: 'smtp_accept_max_nonmail = 4' })
      const { document, status } = await etrnJson(['127.0.0.1', '-k', ...NAMES], {}, spawnEtrn)
      assert.equal(status, 77)
      assert.deepEqual(
        document.servers[0]?.names.map(({ outcome, code }) => [outcome, code]),
        NAMES.map(() => ['refused', 458]),
      )
      assert.deepEqual(server.namesBySession().flat().sort(), [...NAMES].sort())
    })
    test('a name is accepted over STARTTLS with a verified certificate', async (t) => {
      await startExim(t)
      const { status, document } = await etrnJson(['127.0.0.1', ...CA, '#site.example'], {}, spawnEtrn)
      assert.deepEqual([status, document.servers[0]?.tls?.verified], [0, true])
    })
    test('a name is accepted over smtps://', async (t) => {
      await startExim(t, { main: 'tls_on_connect_ports = 25' })
      assert.equal((await spawnEtrn(['smtps://127.0.0.1:25', ...CA, '#site.example'])).status, 0)
    })
    for (const [certificate, message] of [
      ['expired', /certificate expired on 2020-01-02; /],
      ['other', /certificate is for other\.example, \*\.other\.example, not for 127\.0\.0\.1; /],
      ['self', /self-signed certificate; /],
    ] as const) {
      test(`the ${certificate} certificate is rejected with its reason, exit status 76`, async (t) => {
        await startExim(t, { certificate })
        const run = await spawnEtrn(['127.0.0.1', ...CA, '#site.example'])
        assert.equal(run.status, 76)
        assert.match(run.stderr, message)
      })
    }
    test('CRAM-MD5, PLAIN and LOGIN accept the right password and refuse a wrong one', async (t) => {
      await startExim(t, { etrn: 'accept authenticated = *\n  deny message = Authentication required' })
      const without = await spawnEtrn(['127.0.0.1', '#site.example'])
      assert.equal(without.status, 77)
      assert.match(without.stdout, /458 Authentication required/)
      assert.match(without.stderr, /requires you to log in before ETRN/)
      for (const mechanism of ['CRAM-MD5', 'PLAIN', 'LOGIN']) {
        const args = ['127.0.0.1', ...CA, '--user', 'site', '--auth', mechanism, '#site.example']
        const run = await spawnEtrn(args, { env: { ETRN_PASSWORD: 'secret' } })
        assert.equal(run.status, 0, run.stderr)
        const wrong = await spawnEtrn(args, { env: { ETRN_PASSWORD: 'sesame' } })
        assert.equal(wrong.status, 77)
        assert.match(
          wrong.stderr,
          /login with \S+ rejected \(535 Incorrect authentication data\).*\nhint: check the user name and the password/,
        )
      }
    })
    test('AUTH EXTERNAL logs in with the client certificate', async (t) => {
      await startExim(t, { etrn: 'accept authenticated = external\n  deny message = Authentication required' })
      const identity = ['--tls-cert', fixturePath('client.pem'), '--tls-key', fixturePath('client.key')]
      const run = await spawnEtrn(['127.0.0.1', ...CA, ...identity, '--auth', 'EXTERNAL', '-v', '#site.example'])
      assert.equal(run.status, 0, run.stderr)
      assert.match(run.stderr, /C: AUTH EXTERNAL/)
    })
  })
}
