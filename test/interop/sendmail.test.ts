import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { suite, test, type TestContext } from 'node:test'
import { etrn, etrnJson } from '../command.js'
import { isInside } from '../namespace.js'
import { send } from '../provider.js'
import { accepting, chain, entering, fixture, online, until } from './mta.js'

// A real Sendmail on 127.0.0.1:25 holds mail for site.example, whose own server is on 127.0.0.2:25.

const SENDMAIL = '/usr/libexec/sendmail/sendmail'

const MC = `divert(0)dnl
include(\`/usr/share/sendmail/cf/m4/cf.m4')dnl
OSTYPE(\`linux')dnl
define(\`confDOMAIN_NAME', \`mx.provider.example')dnl
define(\`ALIAS_FILE', \`')dnl
define(\`confPID_FILE', \`/run/sendmail.pid')dnl
define(\`confSERVICE_SWITCH_FILE', \`/etc/mail/service.switch-nodns')dnl
define(\`confDONT_PROBE_INTERFACES', \`True')dnl
define(\`confTO_IDENT', \`0')dnl
FEATURE(\`nocanonify')dnl
FEATURE(\`no_default_msa')dnl
FEATURE(\`accept_unresolvable_domains')dnl
FEATURE(\`mailertable', \`text -o -k0 -v1 /etc/mail/mailertable')dnl
DAEMON_OPTIONS(\`Family=inet, Port=25, Addr=127.0.0.1, M=A')dnl
RELAY_DOMAIN(\`site.example')dnl
MAILER(\`smtp')dnl
LOCAL_RULESETS
Squeuegroup
R$* @ ship.site.example\t$# ships
`

function install(): void {
  appendFileSync('/etc/passwd', 'smmsp:x:8805:8805::/var/lib/sendmail:/usr/sbin/nologin\n')
  appendFileSync('/etc/group', 'smmsp:x:8805:\n')
  writeFileSync('/etc/mail/sendmail.mc', MC)
  writeFileSync('/etc/mail/mailertable', 'site.example\tesmtp:[127.0.0.2]\n.site.example\tesmtp:[127.0.0.2]\n')
}

/** Starts Sendmail with these lines more and an empty queue; it goes when the test ends. Gives what it heard and said since. */
async function sendmail(t: TestContext, more = ''): Promise<{ traffic: () => string }> {
  const folder = mkdtempSync('/var/spool/sendmail-')
  const queue = `${folder}/queue`
  mkdirSync(`${queue}/ships`, { recursive: true, mode: 0o700 })
  const base = execFileSync('m4', ['/etc/mail/sendmail.mc'], { encoding: 'utf8' })
  writeFileSync('/etc/mail/sendmail.cf', `${base}O QueueDirectory=${queue}\nQships, P=${queue}/ships\n${more}`)
  const daemon = spawn(SENDMAIL, ['-bD', '-X', `${folder}/traffic`], { stdio: 'inherit' })
  t.after(async () => {
    daemon.kill()
    await once(daemon, 'exit')
  })
  await accepting(25)
  return { traffic: () => readFileSync(`${folder}/traffic`, 'utf8') }
}

/** Messages to these addresses, taken by Sendmail and deferred, since the site is not there. */
async function hold(...recipients: readonly string[]): Promise<void> {
  for (const to of recipients) {
    await send(25, 'elsewhere.example', { from: 'office@elsewhere.example', to, text: `Subject: for ${to}\n\nHello.` })
  }
  await until(() => deferred().length === recipients.length)
}

/** Recipients whose mail waits; not one whose message is just being sent, which has a star. */
function deferred(): string[] {
  const listing = execFileSync(SENDMAIL, ['-bp'], { encoding: 'utf8' })
  const messages = listing.matchAll(/^\w{14} .*\n\s+\(Deferred: .*\)\n\s+<(.*)>$/gm)
  return [...messages].map(([, to = '']) => to).sort()
}

/** Until the queue run that sent this one its mail is over: what waits then was not asked for. */
async function runFor(to: string, traffic: string): Promise<void> {
  const [, pid] = new RegExp(`^0*(\\d+) >>> RCPT To:<${to}>`, 'm').exec(traffic) ?? assert.fail(traffic)
  await until(() => !existsSync(`/proc/${pid}`))
}

/** How many names each session asked for */
function namesASession(traffic: string): number[] {
  const counts = new Map<string, number>()
  for (const [, pid = ''] of traffic.matchAll(/^(\d+) <<< ETRN /gm)) counts.set(pid, (counts.get(pid) ?? 0) + 1)
  return [...counts.values()]
}

if (isInside(import.meta.url, entering('sendmail'))) {
  install()
  const NAMES = Array.from({ length: 20 }, (_, i) => `n${i}.site.example`)

  suite('Sendmail', { timeout: 300_000 }, () => {
    test('held mail moves over a new connection, for the very domain', async (t) => {
      const { traffic } = await sendmail(t)
      await hold('a@site.example', 'b@sub.site.example')
      const { site, arrival } = await online(t)
      const { status, stderr, document } = await etrnJson(['127.0.0.1', 'site.example'])
      assert.deepEqual([status, stderr], [0, ''])
      assert.deepEqual(document.servers[0]?.names, [
        {
          name: 'site.example',
          outcome: 'started',
          code: 250,
          enhancedCode: '2.0.0',
          text: 'Queuing for node site.example started',
          pending: null,
        },
      ])
      assert.equal((await arrival()).to, 'a@site.example')
      await runFor('a@site.example', traffic())
      assert.deepEqual(deferred(), ['b@sub.site.example'])
      assert.equal(site.connections, 1)
    })
    test('@ asks for the subdomains too', async (t) => {
      await sendmail(t)
      await hold('a@site.example', 'b@sub.site.example', 'c@ship.site.example')
      const { arrival } = await online(t)
      const run = await etrn(['127.0.0.1', '@site.example'])
      assert.deepEqual(
        [run.status, run.stdout, run.stderr],
        [
          0,
          "@site.example: asked; the server doesn't say what waits (250 2.0.0 Queuing for node @site.example started)\n",
          '',
        ],
      )
      const arrived = [await arrival(), await arrival(), await arrival()]
      assert.deepEqual(arrived.map(({ to }) => to).sort(), [
        'a@site.example',
        'b@sub.site.example',
        'c@ship.site.example',
      ])
    })
    test('# asks for a queue group', async (t) => {
      const { traffic } = await sendmail(t)
      await hold('a@site.example', 'c@ship.site.example')
      const { site, arrival } = await online(t)
      const refused = await etrn(['127.0.0.1', '--queue', 'boats'])
      assert.equal(refused.status, 77)
      assert.equal(refused.stdout, '#boats: refused (459 4.5.4 Queue boats unknown)\n')
      assert.match(refused.stderr, /^ {2}Sendmail has no queue group of that name; .*\n$/)
      assert.equal(site.connections, 0)
      const run = await etrn(['127.0.0.1', '#ships'])
      assert.equal(run.status, 0)
      assert.match(run.stdout, /^#ships: asked; .* \(250 2\.0\.0 Queuing for queue group ships started\)\n$/)
      assert.equal((await arrival()).to, 'c@ship.site.example')
      await runFor('c@ship.site.example', traffic())
      assert.deepEqual(deferred(), ['a@site.example'])
    })
    test('ETRN switched off', async (t) => {
      const { traffic } = await sendmail(t, 'O PrivacyOptions=noetrn\n')
      await hold('a@site.example')
      const { site } = await online(t)
      const run = await etrn(['127.0.0.1', 'site.example'])
      assert.equal(run.status, 69)
      assert.match(run.stderr, /--assume-etrn/)
      assert.doesNotMatch(traffic(), /<<< ETRN/)
      const assumed = await etrn(['127.0.0.1', '--assume-etrn', 'site.example'])
      assert.equal(assumed.status, 69)
      assert.match(assumed.stdout, /\(502 5\.7\.0 Sorry, we do not allow this operation\)\n$/)
      assert.match(assumed.stderr, /^ {2}Sendmail: ETRN is off \(PrivacyOptions noetrn\), .*\n$/)
      assert.deepEqual([deferred(), site.connections], [['a@site.example'], 0])
    })
    test('20 names, 7 a session at most, since Sendmail delays the 8th', async (t) => {
      const { traffic } = await sendmail(t)
      await hold('a@n0.site.example', 'b@n10.site.example', 'c@n19.site.example')
      const { arrival } = await online(t)
      const { status, document } = await etrnJson(['127.0.0.1', ...NAMES])
      assert.equal(status, 0)
      assert.deepEqual(
        document.servers[0]?.names.map(({ name, text }) => [name, text]),
        NAMES.map((name) => [name, `Queuing for node ${name} started`]),
      )
      const counts = namesASession(traffic())
      assert.equal(
        counts.reduce((sum, count) => sum + count),
        20,
      )
      assert.ok(Math.max(...counts) <= 7, counts.join())
      const arrived = [await arrival(), await arrival(), await arrival()]
      assert.deepEqual(arrived.map(({ to }) => to).sort(), [
        'a@n0.site.example',
        'b@n10.site.example',
        'c@n19.site.example',
      ])
    })
    test('20 names over TLS, which a group of commands would break', async (t) => {
      const file = chain('mx')
      chmodSync(file, 0o600)
      // Sendmail takes none of a folder that others may write, as /tmp is.
      copyFileSync(fixture('ca.pem'), '/etc/mail/ca.pem')
      await sendmail(
        t,
        `O CACertPath=/etc/mail\nO CACertFile=/etc/mail/ca.pem\nO ServerCertFile=${file}\nO ServerKeyFile=${file}\n`,
      )
      const { status, document } = await etrnJson(['127.0.0.1', '--tls-ca', fixture('ca.pem'), ...NAMES])
      assert.deepEqual([status, document.servers[0]?.tls?.verified], [0, true])
    })
    test('--wait: it can not tell, says so after the second answer, and ends with 2', async (t) => {
      const { traffic } = await sendmail(t)
      const run = await etrn(['--wait', '30s', '--interval', '1s', '127.0.0.1', 'site.example'])
      assert.equal(run.status, 2)
      assert.equal(run.stderr, "127.0.0.1: says 250 each time: it can't tell whether anything is left\n")
      assert.deepEqual(namesASession(traffic()), [1, 1])
    })
    test('--check: what it is, and whom it sees', async (t) => {
      const { traffic } = await sendmail(t)
      const { stdout, status } = await etrn(['--check', '127.0.0.1', 'site.example'])
      assert.equal(status, 0)
      assert.match(stdout, /^ {2}ok address .* the server sees 127\.0\.0\.1, which is this host's own$/m)
      assert.match(stdout, /^ {2}ok ETRN .* listed$/m)
      assert.match(stdout, /^127\.0\.0\.1 is Sendmail 8\.17\.1\.9$/m)
      assert.doesNotMatch(traffic(), /<<< ETRN/)
    })
  })
}
