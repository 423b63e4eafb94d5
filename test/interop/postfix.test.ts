import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { appendFileSync, chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { suite, test, type TestContext } from 'node:test'
import { etrn, etrnJson } from '../command.js'
import { nameServer } from '../name-server.js'
import { isInside } from '../namespace.js'
import { send } from '../provider.js'
import { accepting, chain, entering, fixture, online, until } from './mta.js'

// A real Postfix on 127.0.0.1:25 holds mail for site.example, whose own server is on 127.0.0.2:25.

const MAIN = `compatibility_level = 3.6
queue_directory = /var/spool/postfix
data_directory = /var/lib/postfix
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = /var/log/maillog
myhostname = mx.provider.example
mydestination =
local_recipient_maps =
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relay_domains = site.example
transport_maps = inline:{ { site.example = smtp:[127.0.0.2]:25 }, { .site.example = smtp:[127.0.0.2]:25 } }
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtpd_peername_lookup = no
smtpd_recipient_restrictions = reject_unauth_destination
`

const MASTER = `smtp inet n - n - - smtpd
postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
`

function install(): void {
  appendFileSync('/etc/passwd', 'postfix:x:8801:8801::/var/spool/postfix:/usr/sbin/nologin\n')
  appendFileSync('/etc/group', 'postfix:x:8801:\npostdrop:x:8802:\n')
  mkdirSync('/etc/postfix', { recursive: true })
  mkdirSync('/var/spool/postfix', { recursive: true })
  mkdirSync('/var/lib/postfix', { recursive: true })
  mkdirSync('/var/log', { recursive: true })
  writeFileSync('/etc/postfix/master.cf', MASTER)
  execFileSync('chown', ['postfix', '/var/lib/postfix'])
  // What the package's own installation does.
  for (const command of ['/usr/sbin/postdrop', '/usr/sbin/postqueue']) {
    execFileSync('chgrp', ['postdrop', command])
    chmodSync(command, 0o2755)
  }
}

/** Starts Postfix with these lines more; it goes when the test ends. */
async function postfix(t: TestContext, more = ''): Promise<void> {
  writeFileSync('/etc/postfix/main.cf', MAIN + more)
  try {
    execFileSync('postfix', ['start'], { stdio: 'pipe' })
  } catch (error) {
    throw new Error(readFileSync('/var/log/maillog', 'utf8'), { cause: error })
  }
  t.after(() => {
    execFileSync('postsuper', ['-d', 'ALL'], { stdio: 'pipe' })
    execFileSync('postfix', ['stop'], { stdio: 'pipe' })
  })
  await accepting(25)
}

/** Messages to these addresses, taken by Postfix and deferred, since the site is not there. */
async function hold(...recipients: readonly string[]): Promise<void> {
  for (const to of recipients) {
    await send(25, 'elsewhere.example', { from: 'office@elsewhere.example', to, text: `Subject: for ${to}\n\nHello.` })
  }
  await until(() => deferred().length === recipients.length)
}

/** Recipients whose mail waits */
function deferred(): string[] {
  const lines = execFileSync('postqueue', ['-j'], { encoding: 'utf8' }).trim().split('\n').filter(Boolean)
  // postqueue(1), JSON OBJECT FORMAT
  const messages = lines.map((line) => JSON.parse(line) as { queue_name: string; recipients: { address: string }[] })
  return messages.filter((m) => m.queue_name === 'deferred').flatMap((m) => m.recipients.map(({ address }) => address))
}

if (isInside(import.meta.url, entering('postfix'))) {
  install()
  suite('Postfix', { timeout: 300_000 }, () => {
    test('held mail moves over a new connection', async (t) => {
      await postfix(t)
      await hold('a@site.example', 'b@site.example')
      const { arrival } = await online(t)
      const run = await etrn(['127.0.0.1', 'site.example'])
      assert.deepEqual(
        [run.status, run.stdout, run.stderr],
        [0, "site.example: asked; the server doesn't say what waits (250 Queuing started)\n", ''],
      )
      const arrived = [await arrival(), await arrival()]
      assert.deepEqual(arrived.map(({ to }) => to).sort(), ['a@site.example', 'b@site.example'])
      await until(() => deferred().length === 0)
    })
    test("without a name, this host's own is asked for", async (t) => {
      await postfix(t)
      const run = await etrn(['127.0.0.1'])
      assert.deepEqual([run.status, run.stderr], [0, 'no name given: asking for gw.site.example\n'])
    })
    test('@ asks for no subdomain, and the hint says so', async (t) => {
      await postfix(t)
      await hold('a@site.example', 'b@sub.site.example')
      const { arrival } = await online(t)
      const run = await etrn(['127.0.0.1', '@site.example'])
      assert.equal(run.status, 0)
      assert.match(run.stderr, /no subdomain/)
      assert.equal((await arrival()).to, 'a@site.example')
      assert.deepEqual(deferred(), ['b@sub.site.example'])
      assert.equal((await etrn(['127.0.0.1', 'sub.site.example'])).status, 0)
      assert.equal((await arrival()).to, 'b@sub.site.example')
    })
    test('--wait: it can not tell', async (t) => {
      await postfix(t)
      assert.equal((await etrn(['--wait', '30s', '--interval', '1s', '127.0.0.1', 'site.example'])).status, 2)
    })
    test('--check, and what it would make of the names', async (t) => {
      await postfix(t)
      const { stdout, status } = await etrn(['--check', '127.0.0.1', '@site.example'])
      assert.equal(status, 0)
      assert.match(stdout, /^ {2}-- names .* Postfix drops @ and #/m)
      assert.match(stdout, /^127\.0\.0\.1 is Postfix$/m)
    })
    test('--wait-local sees it come up', async (t) => {
      const asked = etrn(['--wait-local', '60s', '127.0.0.1', 'site.example'])
      await postfix(t)
      assert.equal((await asked).status, 0)
    })
    test('a domain that is not served', async (t) => {
      await postfix(t)
      const run = await etrn(['127.0.0.1', 'other.example', 'site.example'])
      assert.equal(run.status, 77)
      assert.match(
        run.stdout,
        /^other\.example: refused \(459 <other\.example>: service unavailable\)\nsite\.example: asked/,
      )
      assert.match(run.stderr, /^ {2}Postfix: .*fast_flush_domains\n$/)
    })
    test('100 names, 7 a session, none of them delayed or lost', async (t) => {
      await postfix(t)
      const names = Array.from({ length: 100 }, (_, i) => `n${i}.site.example`)
      const { document, status } = await etrnJson(['127.0.0.1', ...names])
      assert.equal(status, 0)
      assert.deepEqual(
        document.servers[0]?.names.map(({ name }) => name),
        names,
      )
    })
    test('ETRN switched off', async (t) => {
      await postfix(t, 'smtpd_discard_ehlo_keywords = etrn\nsmtpd_etrn_restrictions = reject\n')
      const run = await etrn(['127.0.0.1', 'site.example'])
      assert.equal(run.status, 69)
      assert.match(
        run.stderr,
        /^127\.0\.0\.1: ETRN: the server doesn't offer it; EHLO lists PIPELINING, .*\n {2}.*--assume-etrn/,
      )
      const assumed = await etrn(['127.0.0.1', '--assume-etrn', 'site.example'])
      assert.equal(assumed.status, 77)
      assert.match(assumed.stdout, /554 5\.7\.1 .*Access denied/)
    })
    test('only the keyword hidden: --assume-etrn moves the mail', async (t) => {
      await postfix(t, 'smtpd_discard_ehlo_keywords = etrn\n')
      await hold('a@site.example')
      const { arrival } = await online(t)
      assert.equal((await etrn(['127.0.0.1', '--assume-etrn', 'site.example'])).status, 0)
      assert.equal((await arrival()).to, 'a@site.example')
    })
    test('STARTTLS demanded', async (t) => {
      await postfix(t, 'smtpd_tls_security_level = encrypt\nsmtpd_tls_chain_files = /etc/postfix/none\n')
      const run = await etrn(['127.0.0.1', '--tls', 'none', 'site.example'])
      assert.equal(run.status, 77)
      assert.match(run.stdout, /530 5\.7\.0 Must issue a STARTTLS command first/)
    })
    test('too many connections', async (t) => {
      await postfix(t, 'smtpd_client_connection_rate_limit = 1\nsmtpd_client_event_limit_exceptions =\n')
      await etrn(['127.0.0.1', 'site.example'])
      const run = await etrn(['127.0.0.1', 'site.example'])
      assert.equal(run.status, 75)
      assert.match(run.stderr, /^127\.0\.0\.1: greeting: 421 4\.7\.0 .*too many connections/)
    })
    test('an unknown host', async (t) => {
      await nameServer(t, {})
      const run = await etrn(['mail.nowhere.example', 'site.example'])
      assert.equal(run.status, 68)
      assert.match(run.stderr, /^mail\.nowhere\.example: DNS: no such host/)
    })
    test('nobody there', async () => {
      const run = await etrn(['127.0.0.1', 'site.example'])
      assert.equal(run.status, 75)
      assert.match(run.stderr, /connection refused/)
    })
  })

  const tlsWith = (name: string): string => `smtpd_tls_security_level = may\nsmtpd_tls_chain_files = ${chain(name)}\n`
  const CA = ['--tls-ca', fixture('ca.pem')]

  suite('Postfix with TLS and SASL', { timeout: 300_000 }, () => {
    test('STARTTLS, verified', async (t) => {
      await postfix(t, tlsWith('mx'))
      const { status, document } = await etrnJson(['127.0.0.1', ...CA, 'site.example'])
      assert.deepEqual(
        [status, document.servers[0]?.tls?.protocol, document.servers[0]?.tls?.verified],
        [0, 'TLSv1.3', true],
      )
    })
    test('STARTTLS by default, not verified', async (t) => {
      await postfix(t, tlsWith('other'))
      const { status, document } = await etrnJson(['127.0.0.1', 'site.example'])
      assert.deepEqual([status, document.servers[0]?.tls?.verified], [0, false])
    })
    test('an expired certificate', async (t) => {
      await postfix(t, tlsWith('expired'))
      const run = await etrn(['127.0.0.1', ...CA, 'site.example'])
      assert.equal(run.status, 76)
      assert.match(
        run.stderr,
        /^127\.0\.0\.1: TLS: the certificate.* expired: it was valid to 2020-01-02; .*\n {2}.*--tls-fingerprint/,
      )
    })
    test('a certificate for another name', async (t) => {
      await postfix(t, tlsWith('other'))
      const run = await etrn(['127.0.0.1', ...CA, 'site.example'])
      assert.equal(run.status, 76)
      assert.match(
        run.stderr,
        /the certificate is for other\.example, .*, not 127\.0\.0\.1; .*\n {2}try --tls-name other\.example/,
      )
      assert.equal((await etrn(['127.0.0.1', ...CA, '--tls-name', 'other.example', 'site.example'])).status, 0)
    })
    test('TLS demanded by the server', async (t) => {
      await postfix(t, tlsWith('mx').replace('= may', '= encrypt'))
      assert.equal((await etrn(['127.0.0.1', 'site.example'])).status, 0)
      assert.equal((await etrn(['127.0.0.1', '--tls', 'none', 'site.example'])).status, 77)
    })
    test('100 names over TLS', async (t) => {
      await postfix(t, tlsWith('mx'))
      const names = Array.from({ length: 100 }, (_, i) => `n${i}.site.example`)
      assert.equal((await etrn(['127.0.0.1', ...CA, ...names])).status, 0)
    })

    const LOGIN = ['127.0.0.1', ...CA, '--user', 'site@mx.provider.example', 'site.example']
    const env = { ETRN_PASSWORD: 'secret' }
    const sasl = (): string => {
      mkdirSync('/etc/postfix/sasl', { recursive: true })
      writeFileSync(
        '/etc/postfix/sasl/smtpd.conf',
        `pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: /etc/postfix/sasldb\nmech_list: ${OFFERED.join(' ')}\n`,
      )
      execFileSync('saslpasswd2', ['-p', '-c', '-f', '/etc/postfix/sasldb', '-u', 'mx.provider.example', 'site'], {
        input: 'secret',
      })
      execFileSync('chown', ['postfix', '/etc/postfix/sasldb'])
      return `${tlsWith('mx')}smtpd_sasl_auth_enable = yes\nsmtpd_sasl_local_domain = mx.provider.example\nsmtpd_etrn_restrictions = permit_sasl_authenticated, reject\n`
    }
    const OFFERED = ['SCRAM-SHA-256', 'SCRAM-SHA-1', 'CRAM-MD5', 'PLAIN', 'LOGIN']

    test('each mechanism lets us in, and the strongest is taken', async (t) => {
      await postfix(t, sasl())
      const without = await etrn(['127.0.0.1', 'site.example'])
      assert.equal(without.status, 77)
      assert.match(without.stderr, /smtpd_etrn_restrictions\), or for a login/)
      for (const mechanism of OFFERED) {
        const run = await etrn([...LOGIN, '--auth', mechanism, '-v'], { env })
        assert.equal(run.status, 0, run.stderr)
        assert.match(run.stderr, new RegExp(`C: AUTH ${mechanism}`))
        assert.doesNotMatch(run.stderr, /secret|c2VjcmV0/)
      }
      assert.match((await etrn([...LOGIN, '-v'], { env })).stderr, /C: AUTH SCRAM-SHA-256 /)
    })
    test('a wrong password', async (t) => {
      await postfix(t, sasl())
      for (const mechanism of OFFERED) {
        const run = await etrn([...LOGIN, '--auth', mechanism], { env: { ETRN_PASSWORD: 'sesame' } })
        assert.equal(run.status, 77, run.stderr)
        assert.match(run.stderr, /^127\.0\.0\.1: AUTH: 535 5\.7\.8 .*\n {2}check user and password/)
      }
    })
  })
}
