import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, chmodSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { suite, test, type TestContext } from 'node:test'
import { spawnEtrn } from '../helpers/command.js'
import { isInside } from '../helpers/namespace.js'
import { accepting, entering, online } from './mta.js'
import { give, HELD, NAMES } from './queue.js'

// A real OpenSMTPD, which has no ETRN, on 127.0.0.1:25 holds mail for site.example, whose own server is on 127.0.0.2:25.

const CONFIGURATION = `listen on 127.0.0.1 port 25 hostname mx.provider.example
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
  // What the package's own installation does.
  execFileSync('chgrp', ['opensmtpq', '/usr/sbin/smtpctl'])
  chmodSync('/usr/sbin/smtpctl', 0o2755)
  writeFileSync('/etc/smtpd.conf', CONFIGURATION)
}

/** Starts OpenSMTPD with an empty queue; it holds all mail, and goes when the test ends. Gives the ETRNs that it heard. */
async function opensmtpd(t: TestContext): Promise<{ heard: () => string[] }> {
  const trace = '/var/log/smtpd'
  rmSync('/var/spool/smtpd', { recursive: true, force: true })
  const daemon = spawn('smtpd', ['-d', '-T', 'smtp'], { stdio: ['ignore', 'ignore', openSync(trace, 'w')] })
  t.after(async () => {
    daemon.kill()
    await once(daemon, 'exit')
  })
  await accepting(25)
  smtpctl('pause', 'mta')
  const heard = (): string[] =>
    [...readFileSync(trace, 'utf8').matchAll(/<<< (ETRN .*)$/gm)].map(([, line = '']) => line)
  return { heard }
}

function smtpctl(...words: readonly string[]): string {
  return execFileSync('smtpctl', words, { encoding: 'utf8' })
}

/** Recipients whose mail waits */
function waiting(): string[] {
  const lines = smtpctl('show', 'queue').trim().split('\n').filter(Boolean)
  return lines.map((line) => line.split('|')[6] ?? '').sort()
}

if (isInside(import.meta.url, entering('opensmtpd'))) {
  install()
  suite('OpenSMTPD', { timeout: 300_000 }, () => {
    test('EHLO lists no ETRN: nothing is sent, and --assume-etrn gets its 500', async (t) => {
      const { heard } = await opensmtpd(t)
      await give('a@site.example')
      const { site, arrival } = await online(t)
      const run = await spawnEtrn(['127.0.0.1', 'site.example'])
      assert.deepEqual([run.status, run.stdout], [69, ''])
      assert.match(
        run.stderr,
        /^127\.0\.0\.1: ETRN: the server doesn't offer it; EHLO lists 8BITMIME, .*\n {2}.*--assume-etrn/,
      )
      assert.deepEqual(heard(), [])
      const assumed = await spawnEtrn(['127.0.0.1', '--assume-etrn', 'site.example'])
      assert.equal(assumed.status, 69)
      assert.equal(
        assumed.stdout,
        'site.example: ETRN is not supported (500 5.5.1 Invalid command: Command unrecognized)\n',
      )
      assert.match(assumed.stderr, /^ {2}this server has no ETRN; only its administrator can flush the queue\n$/)
      assert.deepEqual(heard(), ['ETRN site.example'])
      assert.deepEqual([waiting(), site.connections], [['a@site.example'], 0])
      smtpctl('resume', 'mta')
      assert.equal((await arrival()).to, 'a@site.example')
    })
    for (const [word, sent] of [
      ['site.example', 'site.example'],
      ['site.example.', 'site.example'],
      ['@site.example', '@site.example'],
      ['#ships', '#ships'],
      ['bücher.site.example', 'xn--bcher-kva.site.example'],
    ] as const) {
      test(`--assume-etrn ${word}: 500, and nothing moves`, async (t) => {
        const { heard } = await opensmtpd(t)
        for (const to of HELD) await give(to)
        const { site } = await online(t)
        const run = await spawnEtrn(['127.0.0.1', '--assume-etrn', word])
        assert.equal(run.status, 69)
        assert.equal(run.stdout, `${sent}: ETRN is not supported (500 5.5.1 Invalid command: Command unrecognized)\n`)
        assert.match(run.stderr, /^ {2}this server has no ETRN; only its administrator can flush the queue\n$/)
        assert.deepEqual(heard(), [`ETRN ${sent}`])
        assert.deepEqual([waiting(), site.connections], [HELD, 0])
      })
    }
    test('20 names: the first 500 ends it', async (t) => {
      const { heard } = await opensmtpd(t)
      const run = await spawnEtrn(['127.0.0.1', '--assume-etrn', ...NAMES])
      assert.equal(run.status, 69)
      assert.match(run.stdout, /^n0\.site\.example: .*\nnot asked: 19 names \(n1\.site\.example, .*\n$/)
      assert.deepEqual(heard(), ['ETRN n0.site.example'])
    })
    test('--check: what it is', async (t) => {
      const { heard } = await opensmtpd(t)
      const { stdout, status } = await spawnEtrn(['--check', '127.0.0.1', 'site.example'])
      assert.equal(status, 69)
      assert.match(stdout, /^ {2}\S+ ETRN .* the server doesn't offer it; EHLO lists 8BITMIME, /m)
      assert.match(stdout, /^127\.0\.0\.1 is OpenSMTPD$/m)
      assert.deepEqual(heard(), [])
    })
  })
}
