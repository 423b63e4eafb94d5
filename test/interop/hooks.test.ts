import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { suite, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { spawnEtrn } from '../helpers/command.js'
import { isInside } from '../helpers/namespace.js'
import { BYE, type Conversation, HELLO, type Scripted, scripted } from '../helpers/scripted-server.js'
import { enterCommand, waitUntil } from './mta.js'

// The scripts and units that --hook prints, run by the mechanisms of Debian 12 that they are for.

const ACCEPTING: Conversation = [...HELLO, "C: ETRN #it's-$HOME-100%", 'S: 250 OK', ...BYE]
const NAME = "#it's-$HOME-100%"
const LOG_FILE = '/run/log'

async function printHook(kind: string, port: number, ...args: string[]): Promise<string> {
  const run = await spawnEtrn(['--hook', kind, '--helo', 'gw.site.example', ...args, `127.0.0.1:${port}`, NAME])
  assert.equal(run.status, 0, run.stderr)
  return run.stdout
}

const writeExecutable = (file: string, text: string): void => writeFileSync(file, text, { mode: 0o755 })
const runShell = (script: string, env: Readonly<Record<string, string>> = {}): string =>
  execFileSync('/bin/sh', ['-ec', script], { encoding: 'utf8', env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...env } })

/** Waits for the result of a run in the log; returns the log. */
async function waitForLog(): Promise<string> {
  const line = `${NAME}: accepted (250 OK)\n`
  await waitUntil(() => existsSync(LOG_FILE) && readFileSync(LOG_FILE, 'utf8').includes(line))
  return readFileSync(LOG_FILE, 'utf8')
}

async function startServer(t: TestContext, ...conversations: Conversation[]): Promise<Scripted> {
  rmSync(LOG_FILE, { force: true })
  return scripted(t, ...(conversations.length === 0 ? [ACCEPTING] : conversations))
}

if (isInside(import.meta.url, enterCommand('hooks'))) {
  // The namespace has no system log.
  writeExecutable('/run/logger', `#!/bin/sh\nexec cat >>${LOG_FILE}\n`)
  execFileSync('mount', ['--bind', '/run/logger', '/usr/bin/logger'])

  // SC2016: the $ in the name is literal. The other two are matters of style.
  suite('shellcheck finds no fault in a hook', () => {
    for (const kind of ['pppd', 'ifupdown', 'networkmanager', 'systemd'])
      test(`shellcheck finds no fault in the ${kind} hook`, async () => {
        writeExecutable('/run/hook', await printHook(kind, 25, '--tls-ca', '/etc/a b.pem'))
        assert.equal(runShell('shellcheck --enable=all --exclude=SC2250,SC2312,SC2016 /run/hook'), '')
      })
  })

  test("the pppd hook works from Debian's ip-up in an empty environment", async (t) => {
    const server = await startServer(t)
    writeExecutable('/etc/ppp/ip-up.d/etrn', await printHook('pppd', server.port, '-v'))
    const up = ['-i', '/etc/ppp/ip-up', 'ppp0', 'ttyS1', '115200', '10.0.0.2', '10.0.0.1', 'isp']
    assert.equal(execFileSync('env', up, { encoding: 'utf8' }), '')
    assert.match(await waitForLog(), /C: ETRN/)
  })

  test('the ifupdown hook runs when ifup brings up a network interface, but not for lo', async (t) => {
    const server = await startServer(t)
    mkdirSync('/etc/network/if-up.d', { recursive: true })
    mkdirSync('/run/network', { recursive: true })
    writeFileSync(
      '/etc/network/interfaces',
      'auto lo\niface lo inet loopback\niface d0 inet static\n  address 10.9.8.7/24\n',
    )
    runShell('ip link add d0 type veth peer name d1')
    writeExecutable('/etc/network/if-up.d/etrn', await printHook('ifupdown', server.port))
    runShell('ifup --force lo; ifup d0')
    await waitForLog()
  })

  test('the NetworkManager hook runs for the up action, but not for other actions', async (t) => {
    const server = await startServer(t)
    writeExecutable('/run/50-etrn', await printHook('networkmanager', server.port))
    for (const action of ['pre-up', 'dhcp4-change', 'connectivity-change', 'down'])
      runShell(`/run/50-etrn eth0 ${action}`, { DEVICE_IFACE: 'eth0', NM_DISPATCHER_ACTION: action })
    runShell('/run/50-etrn none hostname; /run/50-etrn eth0 up')
    await waitForLog()
  })

  test('the cron hook passes crontab and runs, and cron mails what it prints', { timeout: 90_000 }, async (t) => {
    const queue = 'a\\\\b\\%c'
    const busy = ['C: ETRN #busy', 'S: 450 busy'] as const
    const replies = ['S: 250 OK', `C: ETRN #${queue}`, 'S: 459 no', ...busy] as const
    const server = await startServer(t, [...HELLO, `C: ETRN ${NAME}`, ...replies, ...BYE], [...HELLO, ...busy, ...BYE])
    const text = await printHook('cron', server.port, '--retry-for', '1s', '--queue', queue, '--queue', 'busy')
    assert.match(text, / --report-after 4h /)
    appendFileSync('/etc/group', 'crontab:x:8901:\n')
    mkdirSync('/var/spool/cron/crontabs', { recursive: true })
    // crontab checks the unchanged line; then a line for every minute makes the wait shorter.
    writeFileSync('/run/crontab', text)
    runShell('crontab /run/crontab', { HOME: '/root' })
    writeFileSync('/run/crontab', `MAILTO=root\n${text.replace('3-59/10 *', '* *')}`)
    runShell('crontab /run/crontab', { HOME: '/root' })
    // cron pipes its mail to this program.
    writeExecutable('/usr/sbin/sendmail', `#!/bin/sh\ncat >/run/mail.new; mv /run/mail.new /run/mail\n`)
    const daemon = spawn('cron', ['-f'], { stdio: 'ignore', env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } })
    t.after(() => daemon.kill('SIGKILL'))
    const signal = AbortSignal.timeout(80_000)
    while (!existsSync('/run/mail')) await sleep(100, undefined, { signal })
    await server.verify()
    const [, mail = ''] = readFileSync('/run/mail', 'utf8').split('\n\n')
    const [result, hint = '', ...rest] = mail.split('\n')
    assert.deepEqual([result, rest], [`127.0.0.1:${server.port}: #${queue}: refused (459 no)`, ['']])
    assert.ok(hint.startsWith(`hint: #${queue}: `), hint)
    // cron runs it as root.
    const [state = ''] = readdirSync('/var/lib/etrn')
    assert.match(readFileSync(`/var/lib/etrn/${state}`, 'utf8'), /"runs": 1,/)
  })

  test('systemd-analyze accepts the systemd units and rates their exposure below 5', async () => {
    mkdirSync('/run/units', { recursive: true })
    writeExecutable('/run/hook', await printHook('systemd', 25, '--tls-ca', '/etc/a b.pem'))
    assert.match(
      runShell('/run/hook /run/units'),
      /systemctl daemon-reload && systemctl enable --now etrn-127\.0\.0\.1-25-[0-9a-f]{8}\.timer/,
    )
    const [service = '', timer = ''] = readdirSync('/run/units').map((name) => `/run/units/${name}`)
    for (const unit of [service, timer]) assert.equal(runShell(`systemd-analyze verify --man=no ${unit} 2>&1`), '')
    const exposure = runShell(`systemd-analyze security --offline=true ${service} || true`)
    assert.match(exposure, /Overall exposure level for etrn-\S+\.service: [0-4]\.\d/)
  })
}
