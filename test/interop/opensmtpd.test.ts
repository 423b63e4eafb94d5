import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, chmodSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { suite, test, type TestContext } from 'node:test'
import { spawnEtrn } from '../helpers/command.js'
import { isInside } from '../helpers/namespace.js'
import { enterCommand, startSiteServer, waitForPort } from './mta.js'
import { HELD, NAMES, submitMessage } from './request-checks.js'

// A real OpenSMTPD, which has no ETRN, on 127.0.0.1:25. It holds mail for site.example, whose own server is on 127.0.0.2:25.

const SMTPD_CONF = `listen on 127.0.0.1 port 25 hostname mx.provider.example
action site relay host smtp://127.0.0.2
match from any for domain { "site.example", "*.site.example" } action site
`

function install(): void {
  for (const [name, id] of [
    ['opensmtpd', 8807],
    ['opensmtpq', 8808],
  ] as const) {
    appendFileSync('/etc/passwd', `${name}:x:${id}:${id}::/var/lib/opensmtpd/empty:/usr/sbin/nologin\n`)
    appendFileSync('/etc/group', `${name}:x:${id}:\n`)
  }
  // The package's installation script does the same.
  execFileSync('chgrp', ['opensmtpq', '/usr/sbin/smtpctl'])
  chmodSync('/usr/sbin/smtpctl', 0o2755)
  writeFileSync('/etc/smtpd.conf', SMTPD_CONF)
}

type OpensmtpdProbe = {
  /** Returns the ETRN commands that OpenSMTPD has received. */
  readonly receivedCommands: () => string[]
}

/** Starts OpenSMTPD with an empty queue and paused deliveries. It stops when the test ends. */
async function startOpensmtpd(t: TestContext): Promise<OpensmtpdProbe> {
  const traceFile = '/var/log/smtpd'
  rmSync('/var/spool/smtpd', { recursive: true, force: true })
  const daemon = spawn('smtpd', ['-d', '-T', 'smtp'], { stdio: ['ignore', 'ignore', openSync(traceFile, 'w')] })
  t.after(async () => {
    daemon.kill()
    await once(daemon, 'exit')
  })
  await waitForPort(25)
  runSmtpctl('pause', 'mta')
  const receivedCommands = (): string[] =>
    [...readFileSync(traceFile, 'utf8').matchAll(/<<< (ETRN .*)$/gm)].map(([, line = '']) => line)
  return { receivedCommands }
}

function runSmtpctl(...args: readonly string[]): string {
  return execFileSync('smtpctl', args, { encoding: 'utf8' })
}

/** Returns the recipients of the messages in the queue, sorted. */
function waitingRecipients(): string[] {
  const lines = runSmtpctl('show', 'queue').trim().split('\n').filter(Boolean)
  return lines.map((line) => line.split('|')[6] ?? '').sort()
}

if (isInside(import.meta.url, enterCommand('opensmtpd'))) {
  install()
  suite('OpenSMTPD', { timeout: 300_000 }, () => {
    test('nothing is sent, because EHLO does not list ETRN, and --assume-etrn gets 500', async (t) => {
      const { receivedCommands } = await startOpensmtpd(t)
      await submitMessage('a@site.example')
      const { server: site, nextMessage } = await startSiteServer(t)
      const run = await spawnEtrn(['127.0.0.1', 'site.example'])
      assert.deepEqual([run.status, run.stdout], [69, ''])
      assert.match(run.stderr, /^etrn: 127\.0\.0\.1: ETRN not offered \(EHLO lists 8BITMIME, .*\nhint: .*--assume-etrn/)
      assert.deepEqual(receivedCommands(), [])
      const assumed = await spawnEtrn(['127.0.0.1', '--assume-etrn', 'site.example'])
      assert.equal(assumed.status, 69)
      assert.equal(
        assumed.stdout,
        'site.example: ETRN not supported (500 5.5.1 Invalid command: Command unrecognized)\n',
      )
      assert.match(
        assumed.stderr,
        /^hint: [^\n]*: ask your provider to enable ETRN on this server, or to start the delivery for you\n$/,
      )
      assert.deepEqual(receivedCommands(), ['ETRN site.example'])
      assert.deepEqual([waitingRecipients(), site.connections], [['a@site.example'], 0])
      runSmtpctl('resume', 'mta')
      assert.equal((await nextMessage()).to, 'a@site.example')
    })
    for (const [argument, name] of [
      ['site.example', 'site.example'],
      ['site.example.', 'site.example'],
      ['@site.example', '@site.example'],
      ['#ships', '#ships'],
      ['bücher.site.example', 'xn--bcher-kva.site.example'],
    ] as const) {
      test(`--assume-etrn ${argument} gets 500 and moves no mail`, async (t) => {
        const { receivedCommands } = await startOpensmtpd(t)
        for (const to of HELD) await submitMessage(to)
        const { server: site } = await startSiteServer(t)
        const run = await spawnEtrn(['127.0.0.1', '--assume-etrn', argument])
        assert.equal(run.status, 69)
        assert.equal(run.stdout, `${name}: ETRN not supported (500 5.5.1 Invalid command: Command unrecognized)\n`)
        assert.match(
          run.stderr,
          /^hint: [^\n]*: ask your provider to enable ETRN on this server, or to start the delivery for you\n$/,
        )
        assert.deepEqual(receivedCommands(), [`ETRN ${name}`])
        assert.deepEqual([waitingRecipients(), site.connections], [HELD, 0])
      })
    }
    test('the run stops after the first 500', async (t) => {
      const { receivedCommands } = await startOpensmtpd(t)
      const run = await spawnEtrn(['127.0.0.1', '--assume-etrn', ...NAMES])
      assert.equal(run.status, 69)
      assert.match(run.stdout, /^n0\.site\.example: .*\nnot requested: 19 names \(n1\.site\.example, .*\n$/)
      assert.deepEqual(receivedCommands(), ['ETRN n0.site.example'])
    })
    test('--check prints the software, exit status 69', async (t) => {
      const { receivedCommands } = await startOpensmtpd(t)
      const { stdout, status } = await spawnEtrn(['--check', '127.0.0.1', 'site.example'])
      assert.equal(status, 69)
      assert.match(stdout, /^ {2}\S+ ETRN .* ETRN not offered \(EHLO lists 8BITMIME, /m)
      assert.match(stdout, /^127\.0\.0\.1 runs OpenSMTPD \(according to its greeting\)$/m)
      assert.deepEqual(receivedCommands(), [])
    })
  })
}
