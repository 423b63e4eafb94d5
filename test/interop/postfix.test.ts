import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { suite, test } from 'node:test'
import { etrnJson, spawnEtrn } from '../helpers/command.js'
import { fixturePath } from '../helpers/files.js'
import { nameServer } from '../helpers/name-server.js'
import { isInside } from '../helpers/namespace.js'
import { enterCommand, startSiteServer, writeChain } from './mta.js'
import { install, startPostfix } from './postfix.js'

if (isInside(import.meta.url, enterCommand('postfix'))) {
  install()
  suite('Postfix', { timeout: 300_000 }, () => {
    test('a request moves held mail', async (t) => {
      const { hold, waitForDelivery, waitingRecipients } = await startPostfix(t)
      await hold('a@site.example', 'b@site.example')
      const { nextRecipients } = await startSiteServer(t)
      const run = await spawnEtrn(['127.0.0.1', 'site.example'])
      assert.deepEqual([run.status, run.stdout, run.stderr], [0, 'site.example: accepted (250 Queuing started)\n', ''])
      assert.deepEqual(await nextRecipients(2), ['a@site.example', 'b@site.example'])
      await waitForDelivery({})
      assert.deepEqual(waitingRecipients(), [])
    })
    test("this host's name is requested if no name is given", async (t) => {
      await startPostfix(t)
      const run = await spawnEtrn(['127.0.0.1'])
      assert.deepEqual(
        [run.status, run.stderr],
        [0, 'etrn: no NAME given; requesting gw.site.example, the name of this host, from the server 127.0.0.1\n'],
      )
    })
    test('--wait ends with exit status 2, because Postfix reports no counts', async (t) => {
      await startPostfix(t)
      assert.equal((await spawnEtrn(['--wait', '30s', '--interval', '1s', '127.0.0.1', 'site.example'])).status, 2)
    })
    test('--check prints the software and what Postfix makes of the names', async (t) => {
      await startPostfix(t)
      const { stdout, status } = await spawnEtrn(['--check', '127.0.0.1', '@site.example'])
      assert.equal(status, 0)
      assert.match(stdout, /^ {2}-- names .* Postfix ignores '@' and '#'/m)
      assert.match(stdout, /^127\.0\.0\.1 runs Postfix \(according to its greeting\)$/m)
    })
    test('--wait-local waits until Postfix is up', async (t) => {
      const run = spawnEtrn(['--wait-local', '60s', '127.0.0.1', 'site.example'])
      await startPostfix(t)
      assert.equal((await run).status, 0)
    })
    test('100 names are accepted', async (t) => {
      await startPostfix(t)
      const names = Array.from({ length: 100 }, (_, i) => `n${i}.site.example`)
      const { document, status } = await etrnJson(['127.0.0.1', ...names], {}, spawnEtrn)
      assert.equal(status, 0)
      assert.deepEqual(
        document.servers[0]?.names.map(({ name }) => name),
        names,
      )
    })
    test('a name is refused if Postfix requires STARTTLS and --tls is none', async (t) => {
      await startPostfix(t, 'smtpd_tls_security_level = encrypt\nsmtpd_tls_chain_files = /etc/postfix/none\n')
      const run = await spawnEtrn(['127.0.0.1', '--tls', 'none', 'site.example'])
      assert.equal(run.status, 77)
      assert.match(run.stdout, /530 5\.7\.0 Must issue a STARTTLS command first/)
    })
    for (const [restriction, helo, status, reply] of [
      ['reject_non_fqdn_helo_hostname', 'gw', 77, /504 5\.5\.2 <gw>: Helo command rejected: need fully-qualified/],
      ['reject_invalid_helo_hostname', 'gw..site.example', 77, /501 5\.5\.2 .*: Helo command rejected: Invalid name/],
      ['reject_unknown_helo_hostname', 'gw.site.example', 75, /450 4\.7\.1 .*: Helo command rejected: Host not found/],
      ['reject', 'gw.site.example', 77, /554 5\.7\.1 .*: Helo command rejected: Access denied/],
      ['defer', 'gw.site.example', 75, /450 4\.3\.2 .*: Helo command rejected: Try again later/],
    ] as const)
      test(`exit status ${status} and a hint on --helo follow ETRN if smtpd_helo_restrictions is ${restriction}`, async (t) => {
        await startPostfix(t, `smtpd_helo_restrictions = ${restriction}\n`)
        const run = await spawnEtrn(['127.0.0.1', '--helo', helo, 'site.example'])
        assert.equal(run.status, status)
        assert.match(run.stdout, reply)
        assert.match(run.stderr, /rejects this host's EHLO name, not the requested name; .* --helo HOST\.DOMAIN/)
      })
    for (const [restriction, status, reply] of [
      ['reject', 77, /554 5\.7\.1 .*: Client host rejected: Access denied/],
      ['defer', 75, /450 4\.3\.2 .*: Client host rejected: Try again later/],
    ] as const)
      test(`exit status ${status} and a hint on the address follow ETRN if smtpd_client_restrictions is ${restriction}`, async (t) => {
        await startPostfix(t, `smtpd_client_restrictions = ${restriction}\n`)
        const run = await spawnEtrn(['127.0.0.1', 'site.example'])
        assert.equal(run.status, status)
        assert.match(run.stdout, reply)
        assert.match(run.stderr, /does not accept requests from your public IP address; .*smtpd_client_restrictions/)
      })
    test('exit status 75 follows a greeting with 421 too many connections', async (t) => {
      await startPostfix(t, 'smtpd_client_connection_rate_limit = 1\nsmtpd_client_event_limit_exceptions =\n')
      await spawnEtrn(['127.0.0.1', 'site.example'])
      const run = await spawnEtrn(['127.0.0.1', 'site.example'])
      assert.equal(run.status, 75)
      assert.match(
        run.stderr,
        /^etrn: 127\.0\.0\.1: the server is temporarily unavailable \(421 4\.7\.0 .*too many connections/,
      )
    })
    test('exit status 68 follows an unknown host name', async (t) => {
      await nameServer(t, {})
      const run = await spawnEtrn(['mail.nowhere.example', 'site.example'])
      assert.equal(run.status, 68)
      assert.match(run.stderr, /^etrn: mail\.nowhere\.example: no such host; /)
    })
    test('exit status 75 follows a refused connection', async () => {
      const run = await spawnEtrn(['127.0.0.1', 'site.example'])
      assert.equal(run.status, 75)
      assert.match(run.stderr, /connection refused/)
    })
  })

  const tlsSettings = (name: string): string =>
    `smtpd_tls_security_level = may\nsmtpd_tls_chain_files = ${writeChain(name)}\n`
  const CA = ['--tls-ca', fixturePath('ca.pem')]

  suite('Postfix with TLS and SASL', { timeout: 300_000 }, () => {
    test('a name is accepted over TLSv1.3 with a verified certificate if --tls-ca is given', async (t) => {
      await startPostfix(t, tlsSettings('mx'))
      const { status, document } = await etrnJson(['127.0.0.1', ...CA, 'site.example'], {}, spawnEtrn)
      assert.deepEqual(
        [status, document.servers[0]?.tls?.protocol, document.servers[0]?.tls?.verified],
        [0, 'TLSv1.3', true],
      )
    })
    test('a name is accepted over STARTTLS with an unverified certificate by default', async (t) => {
      await startPostfix(t, tlsSettings('other'))
      const { status, document } = await etrnJson(['127.0.0.1', 'site.example'], {}, spawnEtrn)
      assert.deepEqual([status, document.servers[0]?.tls?.verified], [0, false])
    })
    test('an expired certificate is rejected with a hint, exit status 76', async (t) => {
      await startPostfix(t, tlsSettings('expired'))
      const run = await spawnEtrn(['127.0.0.1', ...CA, 'site.example'])
      assert.equal(run.status, 76)
      assert.match(
        run.stderr,
        /^etrn: 127\.0\.0\.1: certificate expired on 2020-01-02; .*\nhint: if the clock of this host is right/,
      )
    })
    test('a certificate for another name is rejected, and accepted with --tls-name', async (t) => {
      await startPostfix(t, tlsSettings('other'))
      const run = await spawnEtrn(['127.0.0.1', ...CA, 'site.example'])
      assert.equal(run.status, 76)
      assert.match(
        run.stderr,
        /certificate is for other\.example, \*\.other\.example, not for 127\.0\.0\.1; .*\nhint: .*--tls-name other\.example/,
      )
      assert.equal((await spawnEtrn(['127.0.0.1', ...CA, '--tls-name', 'other.example', 'site.example'])).status, 0)
    })
    test('a name is accepted if Postfix requires TLS, but refused with --tls none', async (t) => {
      await startPostfix(t, tlsSettings('mx').replace('= may', '= encrypt'))
      assert.equal((await spawnEtrn(['127.0.0.1', 'site.example'])).status, 0)
      assert.equal((await spawnEtrn(['127.0.0.1', '--tls', 'none', 'site.example'])).status, 77)
    })
    test('a client certificate that Postfix demands is given with --tls-cert; without it, a hint names the option', async (t) => {
      const demanding = `${tlsSettings('mx').replace('= may', '= encrypt')}smtpd_tls_req_ccert = yes\nsmtpd_tls_CAfile = ${fixturePath('ca.pem')}\n`
      await startPostfix(t, demanding)
      const run = await spawnEtrn(['127.0.0.1', '--tls', 'encrypt', 'site.example'])
      assert.equal(run.status, 76, run.stderr)
      assert.match(run.stderr, /client certificate[^\n]*\nhint: [^\n]*--tls-cert FILE --tls-key FILE/i)
      const identity = ['--tls-cert', fixturePath('client.pem'), '--tls-key', fixturePath('client.key')]
      assert.equal((await spawnEtrn(['127.0.0.1', '--tls', 'encrypt', ...identity, 'site.example'])).status, 0)
    })
    test('100 names are accepted over TLS', async (t) => {
      await startPostfix(t, tlsSettings('mx'))
      const names = Array.from({ length: 100 }, (_, i) => `n${i}.site.example`)
      assert.equal((await spawnEtrn(['127.0.0.1', ...CA, ...names])).status, 0)
    })

    const LOGIN_ARGUMENTS = ['127.0.0.1', ...CA, '--user', 'site@mx.provider.example', 'site.example']
    const env = { ETRN_PASSWORD: 'secret' }
    const writeSaslSettings = (): string => {
      mkdirSync('/etc/postfix/sasl', { recursive: true })
      writeFileSync(
        '/etc/postfix/sasl/smtpd.conf',
        `pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: /etc/postfix/sasldb\nmech_list: ${MECHANISMS.join(' ')}\n`,
      )
      execFileSync('saslpasswd2', ['-p', '-c', '-f', '/etc/postfix/sasldb', '-u', 'mx.provider.example', 'site'], {
        input: 'secret',
      })
      execFileSync('chown', ['postfix', '/etc/postfix/sasldb'])
      return `${tlsSettings('mx')}smtpd_sasl_auth_enable = yes\nsmtpd_sasl_local_domain = mx.provider.example\nsmtpd_etrn_restrictions = permit_sasl_authenticated, reject\n`
    }
    const MECHANISMS = ['SCRAM-SHA-512', 'SCRAM-SHA-256', 'SCRAM-SHA-1', 'CRAM-MD5', 'PLAIN', 'LOGIN']

    test('every mechanism accepts the password, and the strongest is used by default', async (t) => {
      await startPostfix(t, writeSaslSettings())
      const without = await spawnEtrn(['127.0.0.1', 'site.example'])
      assert.equal(without.status, 77)
      assert.match(without.stderr, /smtpd_etrn_restrictions .*login/)
      for (const mechanism of MECHANISMS) {
        const run = await spawnEtrn([...LOGIN_ARGUMENTS, '--auth', mechanism, '-v'], { env })
        assert.equal(run.status, 0, run.stderr)
        assert.match(run.stderr, new RegExp(`C: AUTH ${mechanism}`))
        assert.doesNotMatch(run.stderr, /secret|c2VjcmV0/)
      }
      assert.match((await spawnEtrn([...LOGIN_ARGUMENTS, '-v'], { env })).stderr, /C: AUTH SCRAM-SHA-512 /)
    })
    test('every mechanism refuses a wrong password with a hint, exit status 77', async (t) => {
      await startPostfix(t, writeSaslSettings())
      for (const mechanism of MECHANISMS) {
        const run = await spawnEtrn([...LOGIN_ARGUMENTS, '--auth', mechanism], { env: { ETRN_PASSWORD: 'sesame' } })
        assert.equal(run.status, 77, run.stderr)
        assert.match(
          run.stderr,
          /^etrn: 127\.0\.0\.1: login with \S+ rejected \(535 5\.7\.8 .*\nhint: check the user name and the password/,
        )
      }
    })
  })
}
