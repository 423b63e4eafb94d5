import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { suite, test } from 'node:test'
import { etrnJson, spawnEtrn } from '../helpers/command.js'
import { nameServer } from '../helpers/name-server.js'
import { isInside } from '../helpers/namespace.js'
import { chain, entering, fixture, online } from './mta.js'
import { install, postfix } from './postfix.js'

if (isInside(import.meta.url, entering('postfix'))) {
  install()
  suite('Postfix', { timeout: 300_000 }, () => {
    test('held mail moves over a new connection', async (t) => {
      const { hold, settled, waiting } = await postfix(t)
      await hold('a@site.example', 'b@site.example')
      const { arrivals } = await online(t)
      const run = await spawnEtrn(['127.0.0.1', 'site.example'])
      assert.deepEqual(
        [run.status, run.stdout, run.stderr],
        [0, "site.example: asked; the server doesn't say what waits (250 Queuing started)\n", ''],
      )
      assert.deepEqual(await arrivals(2), ['a@site.example', 'b@site.example'])
      await settled({})
      assert.deepEqual(waiting(), [])
    })
    test("without a name, this host's own is asked for", async (t) => {
      await postfix(t)
      const run = await spawnEtrn(['127.0.0.1'])
      assert.deepEqual([run.status, run.stderr], [0, 'no name given: asking for gw.site.example\n'])
    })
    test('--wait: it can not tell', async (t) => {
      await postfix(t)
      assert.equal((await spawnEtrn(['--wait', '30s', '--interval', '1s', '127.0.0.1', 'site.example'])).status, 2)
    })
    test('--check, and what it would make of the names', async (t) => {
      await postfix(t)
      const { stdout, status } = await spawnEtrn(['--check', '127.0.0.1', '@site.example'])
      assert.equal(status, 0)
      assert.match(stdout, /^ {2}-- names .* Postfix drops @ and #/m)
      assert.match(stdout, /^127\.0\.0\.1 is Postfix$/m)
    })
    test('--wait-local sees it come up', async (t) => {
      const asked = spawnEtrn(['--wait-local', '60s', '127.0.0.1', 'site.example'])
      await postfix(t)
      assert.equal((await asked).status, 0)
    })
    test('100 names, 7 a session, none of them delayed or lost', async (t) => {
      await postfix(t)
      const names = Array.from({ length: 100 }, (_, i) => `n${i}.site.example`)
      const { document, status } = await etrnJson(['127.0.0.1', ...names], {}, spawnEtrn)
      assert.equal(status, 0)
      assert.deepEqual(
        document.servers[0]?.names.map(({ name }) => name),
        names,
      )
    })
    test('STARTTLS demanded', async (t) => {
      await postfix(t, 'smtpd_tls_security_level = encrypt\nsmtpd_tls_chain_files = /etc/postfix/none\n')
      const run = await spawnEtrn(['127.0.0.1', '--tls', 'none', 'site.example'])
      assert.equal(run.status, 77)
      assert.match(run.stdout, /530 5\.7\.0 Must issue a STARTTLS command first/)
    })
    test('too many connections', async (t) => {
      await postfix(t, 'smtpd_client_connection_rate_limit = 1\nsmtpd_client_event_limit_exceptions =\n')
      await spawnEtrn(['127.0.0.1', 'site.example'])
      const run = await spawnEtrn(['127.0.0.1', 'site.example'])
      assert.equal(run.status, 75)
      assert.match(run.stderr, /^127\.0\.0\.1: greeting: 421 4\.7\.0 .*too many connections/)
    })
    test('an unknown host', async (t) => {
      await nameServer(t, {})
      const run = await spawnEtrn(['mail.nowhere.example', 'site.example'])
      assert.equal(run.status, 68)
      assert.match(run.stderr, /^mail\.nowhere\.example: DNS: no such host/)
    })
    test('nobody there', async () => {
      const run = await spawnEtrn(['127.0.0.1', 'site.example'])
      assert.equal(run.status, 75)
      assert.match(run.stderr, /connection refused/)
    })
  })

  const tlsWith = (name: string): string => `smtpd_tls_security_level = may\nsmtpd_tls_chain_files = ${chain(name)}\n`
  const CA = ['--tls-ca', fixture('ca.pem')]

  suite('Postfix with TLS and SASL', { timeout: 300_000 }, () => {
    test('STARTTLS, verified', async (t) => {
      await postfix(t, tlsWith('mx'))
      const { status, document } = await etrnJson(['127.0.0.1', ...CA, 'site.example'], {}, spawnEtrn)
      assert.deepEqual(
        [status, document.servers[0]?.tls?.protocol, document.servers[0]?.tls?.verified],
        [0, 'TLSv1.3', true],
      )
    })
    test('STARTTLS by default, not verified', async (t) => {
      await postfix(t, tlsWith('other'))
      const { status, document } = await etrnJson(['127.0.0.1', 'site.example'], {}, spawnEtrn)
      assert.deepEqual([status, document.servers[0]?.tls?.verified], [0, false])
    })
    test('an expired certificate', async (t) => {
      await postfix(t, tlsWith('expired'))
      const run = await spawnEtrn(['127.0.0.1', ...CA, 'site.example'])
      assert.equal(run.status, 76)
      assert.match(
        run.stderr,
        /^127\.0\.0\.1: TLS: the certificate.* expired: it was valid to 2020-01-02; .*\n {2}.*--tls-fingerprint/,
      )
    })
    test('a certificate for another name', async (t) => {
      await postfix(t, tlsWith('other'))
      const run = await spawnEtrn(['127.0.0.1', ...CA, 'site.example'])
      assert.equal(run.status, 76)
      assert.match(
        run.stderr,
        /the certificate is for other\.example, .*, not 127\.0\.0\.1; .*\n {2}try --tls-name other\.example/,
      )
      assert.equal((await spawnEtrn(['127.0.0.1', ...CA, '--tls-name', 'other.example', 'site.example'])).status, 0)
    })
    test('TLS demanded by the server', async (t) => {
      await postfix(t, tlsWith('mx').replace('= may', '= encrypt'))
      assert.equal((await spawnEtrn(['127.0.0.1', 'site.example'])).status, 0)
      assert.equal((await spawnEtrn(['127.0.0.1', '--tls', 'none', 'site.example'])).status, 77)
    })
    test('100 names over TLS', async (t) => {
      await postfix(t, tlsWith('mx'))
      const names = Array.from({ length: 100 }, (_, i) => `n${i}.site.example`)
      assert.equal((await spawnEtrn(['127.0.0.1', ...CA, ...names])).status, 0)
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
      const without = await spawnEtrn(['127.0.0.1', 'site.example'])
      assert.equal(without.status, 77)
      assert.match(without.stderr, /smtpd_etrn_restrictions\), or for a login/)
      for (const mechanism of OFFERED) {
        const run = await spawnEtrn([...LOGIN, '--auth', mechanism, '-v'], { env })
        assert.equal(run.status, 0, run.stderr)
        assert.match(run.stderr, new RegExp(`C: AUTH ${mechanism}`))
        assert.doesNotMatch(run.stderr, /secret|c2VjcmV0/)
      }
      assert.match((await spawnEtrn([...LOGIN, '-v'], { env })).stderr, /C: AUTH SCRAM-SHA-256 /)
    })
    test('a wrong password', async (t) => {
      await postfix(t, sasl())
      for (const mechanism of OFFERED) {
        const run = await spawnEtrn([...LOGIN, '--auth', mechanism], { env: { ETRN_PASSWORD: 'sesame' } })
        assert.equal(run.status, 77, run.stderr)
        assert.match(run.stderr, /^127\.0\.0\.1: AUTH: 535 5\.7\.8 .*\n {2}check user and password/)
      }
    })
  })
}
