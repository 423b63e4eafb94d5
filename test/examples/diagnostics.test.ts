import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync } from 'node:fs'
import type { Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { etrn, type Finished } from '../helpers/command.js'
import { fixture, fixturePath, makeFile, makeFolder } from '../helpers/files.js'
import { encodeBase64 } from '../helpers/login.js'
import { manualDiagnostics } from '../helpers/manual.js'
import { nameServer } from '../helpers/name-server.js'
import { isInNamespace } from '../helpers/namespace.js'
import { close, type Conversation, etrnSteps, HELLO, loose, silence, type Step } from '../helpers/scripted-server.js'
import { resolver } from '../helpers/site.js'

// Makes the command print each message that the manual explains.

type Run = (t: TestContext) => Promise<Finished>

const HELO = ['--helo', 'gw.site.example']
const EHLO = 'C: EHLO gw.site.example'
const GREETING: Conversation = ['S: 220 mx.example ESMTP', EHLO]
const LISTED: Conversation = [...GREETING, 'S: 250-mx.example', 'S: 250-STARTTLS', 'S: 250 ETRN']
const ACCEPTED = etrnSteps('site.example', '250 OK')
/** A network to which packets are lost */
const BLACKHOLE = '203.0.113.1'
const PASSWORD = ['--user', 'site', '--password-file']

/** Ends the session whatever the client says next. */
const goodbye = async (socket: Socket): Promise<void> => {
  if (!socket.destroyed) await Promise.race([once(socket, 'data'), once(socket, 'close')])
  socket.end('221 bye\r\n')
}

const run =
  (...args: readonly string[]): Run =>
  async () =>
    etrn(args)
/** Requests site.example from a server that plays these steps, with these options. */
const at =
  (steps: readonly Step[], ...args: readonly string[]): Run =>
  async (t) => {
    const { port } = await loose(t, [...steps, goodbye])
    return etrn([`127.0.0.1:${port}`, 'site.example', ...HELO, ...args])
  }
const replying = (reply: string): Run => at([...HELLO, ...etrnSteps('site.example', reply)])

/** Requests over TLS from a server with a certificate of test/fixtures. */
const withCertificate = (name: string, ...args: readonly string[]): Run => {
  const tls = { key: fixture(`${name}.key`), cert: fixture(`${name}.pem`) }
  return at([...LISTED, 'C: STARTTLS', 'S: 220 go ahead', { tls, fails: true }], '--tls', 'verify', ...args)
}

const withPassword = async (t: TestContext, mode?: number): Promise<string[]> =>
  Promise.resolve([...PASSWORD, makeFile(t, 'password', 'secret\n', mode)])

/** Requests with a user name and a password, which go to loopback without TLS. */
const loggingIn =
  (steps: readonly Step[], mode: number, ...args: readonly string[]): Run =>
  async (t) =>
    at(steps, ...(await withPassword(t, mode)), ...args)(t)

const config =
  (text: string, mode: number, ...args: readonly string[]): Run =>
  async (t) => {
    const file = makeFile(t, 'config.toml', text)
    chmodSync(file, mode)
    return etrn(['--config', file, ...args])
  }

/** Looks up a server in DNS that has this zone; without a zone there is no name server. */
const lookingUp =
  (zone: Parameters<typeof nameServer>[1] | undefined, ...args: readonly string[]): Run =>
  async (t) => {
    resolver('127.0.0.1')
    if (zone !== undefined) await nameServer(t, zone)
    return etrn([...args, ...HELO])
  }

const FULL_DISK = '/run/full'
/** Runs with --report-after at an hour of the clock. */
const runDelayed = async (hour: number, home: string): Promise<Finished> =>
  etrn(['--report-after', '4h', '127.0.0.1:9', 'site.example'], {
    ...{ env: { HOME: home }, user: { uid: 1000 }, now: () => hour * 3_600_000 },
  })

const AUTH: Conversation = [...GREETING, 'S: 250-mx.example', 'S: 250-AUTH PLAIN', 'S: 250 ETRN']
const REFUSING_TLS: Conversation = [...LISTED, 'C: STARTTLS', 'S: 454 no TLS now', ...ACCEPTED]
const INJECTED: Conversation = [...LISTED, 'C: STARTTLS', Buffer.from('220 go ahead\r\n250 injected\r\n')]
const PROFILE = '[servers.isp]\nserver = "mail.isp.example"\n'
const WRONG_PIN = Array(32).fill('00').join(':')

const RUNS: Readonly<Record<string, Run>> = {
  'name "NAME" is not fully qualified': run('mail.isp.example', 'site'),
  'name "@DOMAIN" is too wide': run('mail.isp.example', '@com'),
  'no name given, and this host has no domain name that other hosts know': run('mail.isp.example'),
  'no profile WORD; did you mean PROFILE?': config(PROFILE, 0o600, 'ips'),
  'FILE is not safe to use': config(PROFILE, 0o666, 'isp'),
  '--password-file FILE: no such file': run(...PASSWORD, '/nowhere/password', 'mail.isp.example', 'site.example'),
  '--names-from FILE: is a FIFO or a device, and is not safe to use': async (t) => {
    const fifo = join(makeFolder(t), 'fifo')
    execFileSync('mkfifo', ['-m', '666', fifo])
    return etrn(['127.0.0.1:9', '--names-from', fifo])
  },
  '--failed-to FILE: is not safe to write': async (t) => {
    const file = join(makeFolder(t), 'later')
    chmodSync(dirname(file), 0o777)
    return etrn(['127.0.0.1:9', '--failed-to', file, 'a.example'])
  },
  '--failed-to FILE: no space left on the device': run('--failed-to', `${FULL_DISK}/later`, '127.0.0.1:9', 'a.example'),
  'SERVER: temporary failure in N runs since TIME': async (t) => {
    const home = makeFolder(t)
    await runDelayed(0, home)
    return runDelayed(4, home)
  },
  'the --report-after state is not usable': async () => runDelayed(0, FULL_DISK),
  'no such host': lookingUp({}, 'mail.isp.example', 'site.example'),
  'no DNS server can be reached': lookingUp(undefined, 'mail.isp.example', 'site.example'),
  'no answer from DNS within DUR': lookingUp(
    { '*': { silent: true } },
    ...['--timeout', '1s', 'mail.isp.example', 'site.example'],
  ),
  'no MX to request mail from': lookingUp(
    { 'MX site.example': { mx: [[10, 'gw.site.example']] }, 'A gw.site.example': { addresses: ['127.0.0.1'] } },
    ...['--mx', 'site.example'],
  ),
  'connection refused (ADDRESS port PORT)': run('127.0.0.1:9', 'site.example'),
  'no connection within DUR': run('--timeout', '1s', BLACKHOLE, 'site.example'),
  'network unreachable': run('198.51.100.1', 'site.example'),
  'no greeting within DUR (0 octets received)': at([silence], '--timeout', '1s'),
  'the server is temporarily unavailable (REPLY)': at(['S: 421 too many connections', close]),
  'the server rejected the connection (REPLY)': at(['S: 554 no SMTP service here']),
  'invalid greeting: not an SMTP reply': at(['S: SSH-2.0-OpenSSH_9.2']),
  'the server closed the connection before the greeting': at([close]),
  'EHLO NAME rejected (REPLY)': at([...GREETING, 'S: 501 invalid name']),
  'STARTTLS not offered, but --tls LEVEL requires it': at(HELLO, '--tls', 'encrypt'),
  'unencrypted data arrived after STARTTLS, before TLS began': at(INJECTED),
  'self-signed certificate': withCertificate('self'),
  'certificate issued by an unknown CA (ISSUER)': withCertificate('mx'),
  'certificate expired on DATE': withCertificate('expired', '--tls-ca', fixturePath('ca.pem')),
  'certificate is for NAMES, not for NAME': withCertificate('other', '--tls-ca', fixturePath('ca.pem')),
  'certificate does not match the pinned fingerprint': withCertificate('mx', '--tls-fingerprint', WRONG_PIN),
  'MESSAGE; continuing without TLS': at(REFUSING_TLS),
  'AUTH not offered, but credentials were given': loggingIn(HELLO, 0o600),
  'not logged in: credentials are not sent without TLS': async (t) =>
    lookingUp(
      { 'A mail.isp.example': { addresses: ['127.0.0.1'] } },
      ...['--tls', 'may', ...(await withPassword(t, 0o600))],
      ...[`mail.isp.example:${(await loose(t, [...AUTH, goodbye])).port}`, 'site.example'],
    )(t),
  'login with MECHANISM rejected (REPLY)': loggingIn(
    [...AUTH, `C: AUTH PLAIN ${encodeBase64('\0site\0secret')}`, 'S: 535 no'],
    0o600,
  ),
  'other users can read the password in FILE': loggingIn(AUTH, 0o644),
  'ETRN not offered (EHLO lists KEYWORDS)': at([...GREETING, 'S: 250-mx.example', 'S: 250 PIPELINING']),
  'no reply to ETRN within DUR': at([...HELLO, 'C: ETRN site.example', silence], '--timeout', '1s'),
  'deferred (REPLY)': replying('458 system busy'),
  'refused (REPLY)': replying('459 not allowed'),
  'rejected (REPLY)': replying('501 syntax error'),
  'ETRN not supported (REPLY)': replying('502 unknown command'),
  'MESSAGE; gave up after N attempts in DUR': run('--retry-for', '1s', '127.0.0.1:9', 'site.example'),
  'not requested: NAMES': async (t) => {
    const { port } = await loose(t, [...HELLO, ...etrnSteps('a.example', '550 unknown domain'), goodbye])
    return etrn([`127.0.0.1:${port}`, ...HELO, 'a.example', 'b.example'])
  },
}

if (isInNamespace(import.meta.url)) {
  execFileSync('sh', ['-ec', `ip route add ${BLACKHOLE} dev lo; hostname gw`])
  execFileSync('sh', [
    '-c',
    `mkdir ${FULL_DISK}; mount -t tmpfs -o size=4k none ${FULL_DISK}; yes 2>/run/yes >${FULL_DISK}/filler || true`,
  ])
  const diagnostics = manualDiagnostics()
  test('the manual explains 30 messages or more, each of which a run prints', () => {
    assert.ok(diagnostics.length >= 30)
    assert.deepEqual(
      diagnostics.map(({ text }) => text),
      Object.keys(RUNS),
    )
  })
  for (const { text, pattern } of diagnostics) {
    test(`a message that the manual explains is printed: ${text}`, async (t) => {
      const { stdout, stderr } = (await RUNS[text]?.(t)) ?? assert.fail()
      assert.match(stdout + stderr, pattern)
    })
  }
}
