import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { appendFileSync, chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { suite, test, type TestContext } from 'node:test'
import { etrn, etrnJson } from '../command.js'
import { isInside } from '../namespace.js'
import { send } from '../provider.js'
import { accepting, chain, entering, fixture, online } from './mta.js'

// A real Exim on 127.0.0.1:25, with GnuTLS, holds mail for site.example, whose own server is on 127.0.0.2:25.

const USER = 8803

const configuration = ({
  main = '',
  etrn: condition = 'accept',
  certificate = 'mx',
}): string => `primary_hostname = mx.provider.example
spool_directory = /var/spool/exim4
log_file_path = /var/log/exim4/%slog
local_interfaces = 127.0.0.1
daemon_smtp_ports = 25
disable_ipv6 = true
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
domainlist relay_to = site.example : *.site.example
acl_smtp_rcpt = check_rcpt
acl_smtp_etrn = check_etrn
smtp_etrn_serialize = false
tls_advertise_hosts = *
tls_certificate = ${chain(certificate)}
tls_try_verify_hosts = *
tls_verify_certificates = ${fixture('ca.pem')}
${main}
begin acl
check_rcpt:
  accept domains = +relay_to
  deny
check_etrn:
  ${condition}
begin routers
site:
  driver = manualroute
  domains = +relay_to
  route_list = * 127.0.0.2
  self = send
  transport = site
begin transports
site:
  driver = smtp
  hosts_try_fastopen =
begin retry
* * F,2h,15m
begin authenticators
external:
  driver = external
  public_name = EXTERNAL
  server_advertise_condition = $tls_in_certificate_verified
  server_param2 = \${certextract {subject,CN}{$tls_in_peercert}{$value}fail}
  server_condition = \${if eq{$auth2}{client.example}}
  server_set_id = $auth2
cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = \${if eq{$auth1}{site}{secret}fail}
  server_set_id = $auth1
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = \${if and{{eq{$auth2}{site}}{eq{$auth3}{secret}}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = User Name : Password
  server_condition = \${if and{{eq{$auth1}{site}}{eq{$auth2}{secret}}}}
  server_set_id = $auth1
`

function install(): void {
  appendFileSync('/etc/passwd', `Debian-exim:x:${USER}:${USER}::/var/spool/exim4:/usr/sbin/nologin\n`)
  appendFileSync('/etc/group', `Debian-exim:x:${USER}:\n`)
  for (const folder of ['/etc/exim4', '/var/spool/exim4', '/var/log/exim4']) mkdirSync(folder, { recursive: true })
  for (const folder of ['/var/spool/exim4', '/var/log/exim4']) chownSync(folder, USER, USER)
}

/** Starts Exim; it goes when the test ends. */
async function exim(t: TestContext, settings: Parameters<typeof configuration>[0] = {}): Promise<void> {
  writeFileSync('/etc/exim4/exim4.conf', configuration(settings))
  const file = chain(settings.certificate ?? 'mx')
  chownSync(file, 0, USER)
  chmodSync(file, 0o640)
  const daemon: ChildProcess = spawn('exim4', ['-bdf'], { stdio: 'inherit' })
  t.after(async () => {
    daemon.kill()
    await once(daemon, 'exit')
  })
  await accepting(25)
}

if (isInside(import.meta.url, entering('exim'))) {
  install()
  const CA = ['--tls-ca', fixture('ca.pem')]

  suite('Exim', { timeout: 300_000 }, () => {
    test("held mail moves over a new connection: '#' is the form that it takes", async (t) => {
      await exim(t)
      await send(25, 'elsewhere.example', {
        from: 'office@elsewhere.example',
        to: 'a@site.example',
        text: 'Subject: x\n\nHello.',
      })
      const { arrival } = await online(t)
      const refused = await etrn(['127.0.0.1', 'site.example'])
      assert.equal(refused.status, 65)
      assert.match(refused.stdout, /501 argument must begin with #/)
      assert.match(refused.stderr, /--queue/)
      const run = await etrn(['127.0.0.1', '--queue', 'site.example'])
      assert.deepEqual(
        [run.status, run.stdout],
        [0, "#site.example: asked; the server doesn't say what waits (250 OK)\n"],
      )
      assert.equal((await arrival()).to, 'a@site.example')
    })
    test('--wait: it can not tell, says so after the second answer, and ends with 2', async (t) => {
      await exim(t)
      const run = await etrn(['--wait', '30s', '--interval', '1s', '127.0.0.1', '#site.example'])
      assert.equal(run.status, 2)
      assert.equal(run.stderr, "127.0.0.1: says 250 each time: it can't tell whether anything is left\n")
    })
    test('--check: what it is, whom it sees, and whether the certificate would hold', async (t) => {
      await exim(t)
      const { stdout, status } = await etrn(['--check', ...CA, '127.0.0.1', '#site.example'])
      assert.equal(status, 0)
      assert.match(stdout, /^ {2}ok certificate .* for mx\.example, localhost, 127\.0\.0\.1; by CN=Test authority; /m)
      assert.match(stdout, /^ {2}ok address .* the server sees 127\.0\.0\.1, which is this host's own$/m)
      assert.match(stdout, /^ {2}ok ETRN .* listed$/m)
      assert.match(stdout, /^127\.0\.0\.1 is Exim 4\.96$/m)
    })
    test('the ACL refuses', async (t) => {
      await exim(t, { etrn: 'deny' })
      const run = await etrn(['127.0.0.1', '#site.example'])
      assert.equal(run.status, 75)
      assert.match(run.stdout, /458 Administrative prohibition/)
      assert.match(run.stderr, /acl_smtp_etrn/)
    })
    test('STARTTLS, verified', async (t) => {
      await exim(t)
      const { status, document } = await etrnJson(['127.0.0.1', ...CA, '#site.example'])
      assert.deepEqual([status, document.servers[0]?.tls?.verified], [0, true])
    })
    test('smtps://', async (t) => {
      await exim(t, { main: 'tls_on_connect_ports = 25' })
      assert.equal((await etrn(['smtps://127.0.0.1:25', ...CA, '#site.example'])).status, 0)
    })
    for (const [certificate, message] of [
      ['expired', /expired: it was valid to 2020-01-02/],
      ['other', /is for other\.example, .*, not 127\.0\.0\.1/],
      ['self', /signed by itself alone/],
    ] as const) {
      test(`a certificate that does not hold: ${certificate}`, async (t) => {
        await exim(t, { certificate })
        const run = await etrn(['127.0.0.1', ...CA, '#site.example'])
        assert.equal(run.status, 76)
        assert.match(run.stderr, message)
      })
    }
    test('each mechanism lets us in, and a wrong password does not', async (t) => {
      await exim(t, { etrn: 'accept authenticated = *\n  deny message = Authentication required' })
      const without = await etrn(['127.0.0.1', '#site.example'])
      assert.equal(without.status, 75)
      assert.match(without.stdout, /458 Authentication required/)
      assert.match(without.stderr, /login/)
      for (const mechanism of ['CRAM-MD5', 'PLAIN', 'LOGIN']) {
        const args = ['127.0.0.1', ...CA, '--user', 'site', '--auth', mechanism, '#site.example']
        const run = await etrn(args, { env: { ETRN_PASSWORD: 'secret' } })
        assert.equal(run.status, 0, run.stderr)
        const wrong = await etrn(args, { env: { ETRN_PASSWORD: 'sesame' } })
        assert.equal(wrong.status, 77)
        assert.match(wrong.stderr, /AUTH: 535 Incorrect authentication data; .*\n {2}check user and password/)
      }
    })
    test('EXTERNAL, by the certificate', async (t) => {
      await exim(t, { etrn: 'accept authenticated = external\n  deny message = Authentication required' })
      const identity = ['--tls-cert', fixture('client.pem'), '--tls-key', fixture('client.key')]
      const run = await etrn(['127.0.0.1', ...CA, ...identity, '--auth', 'EXTERNAL', '-v', '#site.example'])
      assert.equal(run.status, 0, run.stderr)
      assert.match(run.stderr, /C: AUTH EXTERNAL/)
    })
  })
}
