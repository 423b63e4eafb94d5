import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { spawnEtrn } from '../helpers/command.js'
import { BIN } from '../helpers/files.js'
import { isInside } from '../helpers/namespace.js'
import { BYE, type Conversation, HELLO, type Scripted, scripted } from '../helpers/scripted-server.js'
import { bootCommand, waitUntil } from './mta.js'

// The scripts and units that --hook prints, run by the mechanisms of Debian 12 that they are for, under a systemd of their own. The
// tests call NetworkManager's hook and cloud-init's runner themselves; the other mechanisms are the packages' own services and programs.

const NAME = "#it's-${HOME}-100%"
const ACCEPTING: Conversation = [...HELLO, `C: ETRN ${NAME}`, 'S: 250 OK', ...BYE]

async function printHook(kind: string, port: number, ...args: string[]): Promise<string> {
  const run = await spawnEtrn(['--hook', kind, '--helo', 'gw.site.example', ...args, `127.0.0.1:${port}`, NAME])
  assert.equal(run.status, 0, run.stderr)
  return run.stdout
}

const writeExecutable = (file: string, text: string): void => writeFileSync(file, text, { mode: 0o755 })
/** Runs a script. Meanwhile the server of the test can't answer, so a mechanism that waited for etrn would not return. */
const runShell = (script: string, env: Readonly<Record<string, string>> = {}, input = ''): string =>
  execFileSync('/bin/sh', ['-ec', script], {
    encoding: 'utf8',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...env },
    input,
  })

/** Returns what the hooks have written to the journal since the last call. */
const readLog = (): string => runShell('journalctl --quiet --cursor-file=/run/cursor -t etrn -o cat || true')

/** Waits for the result of a run in the log; returns the log. */
async function waitForLog(): Promise<string> {
  let log = ''
  await waitUntil(() => (log += readLog()).includes(`${NAME}: accepted (250 OK)\n`))
  return log
}

async function startServer(t: TestContext, ...conversations: Conversation[]): Promise<Scripted> {
  readLog()
  return scripted(t, ...(conversations.length === 0 ? [ACCEPTING] : conversations))
}

/** Connects an interface to a network of its own; returns a prefix for commands in that network. */
function connectInterface(t: TestContext, name: string): string {
  const peer = spawn('unshare', ['--net', 'sleep', 'infinity'], { stdio: 'ignore' })
  t.after(() => peer.kill())
  const inPeer = `nsenter --net=/proc/${peer.pid}/ns/net`
  runShell(`
    until [ "$(readlink /proc/${peer.pid}/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
    ip link add ${name} type veth peer name peer netns ${peer.pid}
    ${inPeer} ip link set peer up`)
  return inPeer
}

if (isInside(import.meta.url, bootCommand('hooks'))) {
  // SC2016: the $ in the name is literal. The other two are matters of style.
  suite('shellcheck finds no fault in a hook', () => {
    for (const kind of ['pppd', 'ifupdown', 'networkmanager', 'networkd', 'dhcpcd', 'script', 'systemd'])
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

  test('the networkd hook runs when systemd-networkd has configured an interface', async (t) => {
    const server = await startServer(t)
    connectInterface(t, 'n0')
    runShell('systemctl start dbus systemd-networkd')
    writeExecutable('/etc/networkd-dispatcher/routable.d/50-etrn', await printHook('networkd', server.port))
    runShell('systemctl start networkd-dispatcher')
    writeFileSync('/etc/systemd/network/n0.network', '[Match]\nName=n0\n[Network]\nAddress=10.9.7.2/24\n')
    runShell('networkctl reload')
    await waitForLog()
  })

  test('the dhcpcd hook runs when dhcpcd has a lease, outside of the sandbox of dhcpcd.service', async (t) => {
    const server = await startServer(t)
    const inPeer = connectInterface(t, 'c0')
    runShell(`${inPeer} ip address add 10.9.6.1/24 dev peer`)
    writeFileSync('/run/udhcpd.conf', 'start 10.9.6.2\nend 10.9.6.9\ninterface peer\nlease_file /run/leases\n')
    writeFileSync('/run/leases', '')
    runShell(`${inPeer} busybox udhcpd /run/udhcpd.conf`)
    // Without udev, and without the wait for other hosts with the same address.
    appendFileSync('/etc/dhcpcd.conf', 'nodev\nnoarp\nnoipv6\nallowinterfaces c0\n')
    // The service demands these two.
    mkdirSync('/etc/wpa_supplicant', { recursive: true })
    mkdirSync('/var/lib/dhcpcd', { recursive: true })
    writeFileSync('/etc/dhcpcd.exit-hook', await printHook('dhcpcd', server.port, '--interface', 'c0'))
    runShell('systemctl start dhcpcd')
    await waitForLog()
    // The end of the link would cut the session off before the reply to QUIT.
    await server.verify()
    runShell('systemctl stop dhcpcd')
  })

  test("the dhcpcd hook lets dhcpcd's script go on unchanged, and runs once per lease, without systemd too", async (t) => {
    const server = await startServer(t)
    const hook = await printHook('dhcpcd', server.port)
    writeFileSync('/etc/dhcpcd.exit-hook', `${hook}echo "$reason: $# $PATH $(umask)"\n`)
    const run = (reason: string, local = 'c0'): string =>
      runShell(`unshare --mount sh -ec 'mount -t tmpfs none /run/systemd
        exec env -i PATH=/usr/bin:/bin interface=${local} reason=${reason} /usr/lib/dhcpcd/dhcpcd-run-hooks'`)
    for (const [reason, local] of [['RENEW'], ['STOP'], ['BOUND', 'lo'], ['BOUND']] as const)
      assert.equal(run(reason, local), `${reason}: 0 /usr/bin:/bin 0022\n`)
    await waitUntil(() => server.received.length > 0)
    await server.verify()
  })

  test('the script hook runs as the up command of OpenVPN', async (t) => {
    const server = await startServer(t)
    writeExecutable('/usr/local/sbin/etrn-up', await printHook('script', server.port, '--interface', 'tun7'))
    const lines = ['dev tun7', 'ifconfig 10.9.5.1 10.9.5.2', 'remote 127.0.0.1', 'user nobody', 'persist-tun']
    const script = ['script-security 2', 'up /usr/local/sbin/etrn-up']
    writeFileSync('/etc/openvpn/site.conf', [...lines, ...script, ''].join('\n'))
    mkdirSync('/run/openvpn')
    // Nobody answers, so the service never reports that it is ready.
    runShell('systemctl start --no-block openvpn@site')
    await waitForLog()
    // The end of the link would cut the session off before the reply to QUIT.
    await server.verify()
    runShell('systemctl stop openvpn@site')
  })

  test('the script hook runs as PostUp of wg-quick', async (t) => {
    const server = await startServer(t)
    writeExecutable('/usr/local/sbin/etrn-up', await printHook('script', server.port, '--interface', 'wg7'))
    mkdirSync('/etc/wireguard', { recursive: true })
    const lines = [`PrivateKey = ${runShell('wg genkey').trim()}`, 'Address = 10.9.4.1/24']
    writeFileSync(
      '/etc/wireguard/wg7.conf',
      ['[Interface]', ...lines, 'PostUp = /usr/local/sbin/etrn-up %i', ''].join('\n'),
    )
    // Without the kernel's module, wg-quick starts wireguard-go.
    runShell('systemctl start wg-quick@wg7')
    await waitForLog()
    // The end of the link would cut the session off before the reply to QUIT.
    await server.verify()
    runShell('systemctl stop wg-quick@wg7')
  })

  test('the script hook runs at boot by cloud-init, which names no interface', async (t) => {
    const server = await startServer(t)
    writeExecutable('/usr/local/sbin/etrn-up', await printHook('script', server.port, '--interface', 'lo'))
    runShell(`
      mkdir -p /var/lib/cloud/scripts/per-boot
      ln -s /usr/local/sbin/etrn-up /var/lib/cloud/scripts/per-boot/etrn
      /usr/bin/python3 -c 'from cloudinit.subp import runparts; runparts("/var/lib/cloud/scripts/per-boot")'`)
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
    writeFileSync('/run/crontab', `MAILTO=root\nHOME=/run\n${text.replace('3-59/10 *', '* *')}`)
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
    const state = readdirSync('/var/lib/etrn').find((name) => name.includes(String(server.port))) ?? ''
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

  test('the systemd service requests the mail, and OnFailure= starts a unit after a refusal', async (t) => {
    const refusing = [...HELLO, `C: ETRN ${NAME}`, 'S: 459 no', ...BYE] as const
    const server = await startServer(t, ACCEPTING, refusing)
    // The service has a /tmp of its own, and the work tree may be there.
    const root = '/usr/local/lib/etrn'
    runShell(`mkdir ${root}; cd ${dirname(dirname(BIN))}; cp -r bin dist package.json ${root}`)
    const hook = (await printHook('systemd', server.port)).replace(BIN, `${root}/bin/etrn`)
    runShell('sh -s', {}, hook.replace('# OnFailure=', 'OnFailure='))
    const report = '[Service]\nType=oneshot\nExecStart=/usr/bin/touch /run/failure-of-%i\n'
    writeFileSync('/etc/systemd/system/report-failure@.service', report)
    const [service = ''] = readdirSync('/etc/systemd/system').filter((name) => /^etrn-.*service$/.test(name))
    const readServiceLog = (): string => runShell(`journalctl -o cat -u ${service}`)
    // systemctl waits for the end of the service, but the server is in this process.
    runShell(`systemctl daemon-reload; systemctl start --no-block ${service}`)
    await waitUntil(() => readServiceLog().includes(`${NAME}: accepted (250 OK)\n`))
    await waitUntil(() => runShell(`systemctl is-active ${service} || true`) === 'inactive\n')
    assert.ok(!existsSync(`/run/failure-of-${service}`))
    runShell(`systemctl start --no-block ${service}`)
    await waitUntil(() => existsSync(`/run/failure-of-${service}`))
    assert.ok(readServiceLog().includes(`${NAME}: refused (459 no)\n`))
  })
}
