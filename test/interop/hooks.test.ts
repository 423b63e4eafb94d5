import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { suite, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { spawnEtrn } from '../helpers/command.js'
import { isInside } from '../helpers/namespace.js'
import { BYE, type Conversation, HELLO, type Scripted, scripted } from '../helpers/scripted-server.js'
import { entering, until } from './mta.js'

// The hooks that --hook prints, in the mechanisms of Debian 12 that they are for.

const ASKED: Conversation = [...HELLO, "C: ETRN #it's-$HOME-100%", 'S: 250 OK', ...BYE]
const NAME = "#it's-$HOME-100%"
const LOG = '/run/log'

async function hook(kind: string, port: number, ...args: string[]): Promise<string> {
  const run = await spawnEtrn(['--hook', kind, '--helo', 'gw.site.example', ...args, `127.0.0.1:${port}`, NAME])
  assert.equal(run.status, 0, run.stderr)
  return run.stdout
}

const install = (file: string, text: string): void => writeFileSync(file, text, { mode: 0o755 })
const sh = (script: string, env: Readonly<Record<string, string>> = {}): string =>
  execFileSync('/bin/sh', ['-ec', script], { encoding: 'utf8', env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...env } })

/** Waits for a run's line in the log. */
async function logged(): Promise<string> {
  const line = `${NAME}: asked; the server doesn't say what waits (250 OK)\n`
  await until(() => existsSync(LOG) && readFileSync(LOG, 'utf8').includes(line))
  return readFileSync(LOG, 'utf8')
}

async function asked(t: TestContext, ...conversations: Conversation[]): Promise<Scripted> {
  rmSync(LOG, { force: true })
  return scripted(t, ...(conversations.length === 0 ? [ASKED] : conversations))
}

if (isInside(import.meta.url, entering('hooks'))) {
  // What the hooks log: no system's log is here.
  install('/run/logger', `#!/bin/sh\nexec cat >>${LOG}\n`)
  execFileSync('mount', ['--bind', '/run/logger', '/usr/bin/logger'])

  // 2016: the $ in a name is meant as it is; the others are matters of taste.
  suite('shellcheck has nothing to say', () => {
    for (const kind of ['pppd', 'ifupdown', 'networkmanager', 'systemd'])
      test(kind, async () => {
        install('/run/hook', await hook(kind, 25, '--tls-ca', '/etc/a b.pem'))
        assert.equal(sh('shellcheck --enable=all --exclude=SC2250,SC2312,SC2016 /run/hook'), '')
      })
  })

  test("pppd: Debian's ip-up, with an empty environment", async (t) => {
    const server = await asked(t)
    install('/etc/ppp/ip-up.d/etrn', await hook('pppd', server.port, '-v'))
    const up = ['-i', '/etc/ppp/ip-up', 'ppp0', 'ttyS1', '115200', '10.0.0.2', '10.0.0.1', 'isp']
    assert.equal(execFileSync('env', up, { encoding: 'utf8' }), '')
    assert.match(await logged(), /C: ETRN/)
  })

  test('ifupdown: a real ifup, and not for lo', async (t) => {
    const server = await asked(t)
    mkdirSync('/etc/network/if-up.d', { recursive: true })
    mkdirSync('/run/network', { recursive: true })
    writeFileSync(
      '/etc/network/interfaces',
      'auto lo\niface lo inet loopback\niface d0 inet static\n  address 10.9.8.7/24\n',
    )
    sh('ip link add d0 type veth peer name d1')
    install('/etc/network/if-up.d/etrn', await hook('ifupdown', server.port))
    sh('ifup --force lo; ifup d0')
    await logged()
  })

  test("NetworkManager: its dispatcher's arguments, and up alone", async (t) => {
    const server = await asked(t)
    install('/run/50-etrn', await hook('networkmanager', server.port))
    for (const action of ['pre-up', 'dhcp4-change', 'connectivity-change', 'down'])
      sh(`/run/50-etrn eth0 ${action}`, { DEVICE_IFACE: 'eth0', NM_DISPATCHER_ACTION: action })
    sh('/run/50-etrn none hostname; /run/50-etrn eth0 up')
    await logged()
  })

  test('cron: a real crontab, a real cron', { timeout: 90_000 }, async (t) => {
    const server = await asked(t, [...HELLO, 'C: ETRN #b', 'S: 250 OK', 'C: ETRN #c', 'S: 459 no', ...BYE])
    const text = (await hook('cron', server.port, '-qq', '--queue', 'c')).replaceAll(`'#it'\\''s-$HOME-100\\%'`, "'#b'")
    appendFileSync('/etc/group', 'crontab:x:8901:\n')
    mkdirSync('/var/spool/cron/crontabs', { recursive: true })
    // As it is, crontab takes it; every minute, so that nobody waits for ten.
    writeFileSync('/run/crontab', text)
    sh('crontab /run/crontab', { HOME: '/root' })
    writeFileSync('/run/crontab', `MAILTO=root\n${text.replace('3-59/10 *', '* *')}`)
    sh('crontab /run/crontab', { HOME: '/root' })
    // What cron mails goes to this.
    install('/usr/sbin/sendmail', `#!/bin/sh\ncat >/run/mail.new; mv /run/mail.new /run/mail\n`)
    const daemon = spawn('cron', ['-f'], { stdio: 'ignore', env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } })
    t.after(() => daemon.kill('SIGKILL'))
    const signal = AbortSignal.timeout(80_000)
    while (!existsSync('/run/mail')) await sleep(100, undefined, { signal })
    await server.verify()
    assert.match(readFileSync('/run/mail', 'utf8'), /\n\n#c: refused \(459 no\)\n$/)
  })

  test('systemd: the units, verified', async () => {
    mkdirSync('/run/units', { recursive: true })
    install('/run/hook', await hook('systemd', 25, '--tls-ca', '/etc/a b.pem'))
    assert.match(
      sh('/run/hook /run/units'),
      /systemctl daemon-reload && systemctl enable --now etrn-127\.0\.0\.1-25-[0-9a-f]{8}\.timer/,
    )
    const [service = '', timer = ''] = readdirSync('/run/units').map((name) => `/run/units/${name}`)
    for (const unit of [service, timer]) assert.equal(sh(`systemd-analyze verify --man=no ${unit} 2>&1`), '')
    const exposure = sh(`systemd-analyze security --offline=true ${service} || true`)
    assert.match(exposure, /Overall exposure level for etrn-\S+\.service: [0-4]\.\d/)
  })
}
