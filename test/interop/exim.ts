import { execFileSync, spawn } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { once } from 'node:events'
import type { TestContext } from 'node:test'
import { accepting, chain, fixture, hasChildren, isRunning, until } from './mta.js'
import { type Form, give, NAMES, type Queue } from './queue.js'

// A real Exim on 127.0.0.1:25, with GnuTLS, holds mail for site.example, whose own server is on 127.0.0.2:25.

const USER = 8803

const configuration = ({
  main = '',
  etrn = 'accept',
  certificate = 'mx',
  serialize = false,
  messages = 500,
}): string => `primary_hostname = mx.provider.example
spool_directory = /var/spool/exim4
log_file_path = /var/log/exim4/%slog
log_selector = +pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = 25
disable_ipv6 = true
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
domainlist relay_to = site.example : *.site.example
acl_smtp_rcpt = check_rcpt
${etrn === '' ? '' : 'acl_smtp_etrn = check_etrn'}
smtp_etrn_serialize = ${serialize}
tls_advertise_hosts = *
tls_certificate = ${chain(certificate)}
tls_try_verify_hosts = *
tls_verify_certificates = ${fixture('ca.pem')}
${main}
begin acl
check_rcpt:
  accept domains = +relay_to
  deny
check_etrn:
  ${etrn}
begin routers
site:
  driver = manualroute
  domains = +relay_to
  route_list = * 127.0.0.2
  self = send
  transport = site
begin transports
site:
  driver = smtp
  hosts_try_fastopen =
  connection_max_messages = ${messages}
begin retry
* * F,2h,15m
begin authenticators
external:
  driver = external
  public_name = EXTERNAL
  server_advertise_condition = $tls_in_certificate_verified
  server_param2 = \${certextract {subject,CN}{$tls_in_peercert}{$value}fail}
  server_condition = \${if eq{$auth2}{client.example}}
  server_set_id = $auth2
cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = \${if eq{$auth1}{site}{secret}fail}
  server_set_id = $auth1
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = \${if and{{eq{$auth2}{site}}{eq{$auth3}{secret}}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = User Name : Password
  server_condition = \${if and{{eq{$auth1}{site}}{eq{$auth2}{secret}}}}
  server_set_id = $auth1
`

/**
 * The command that Exim runs for a name: what the client says is tainted, and only what the table has for it may stand in a command.
 */
export const BY_TABLE = `smtp_etrn_command = /usr/sbin/exim4 -R \${lookup{$domain}lsearch{/etc/exim4/etrn}{$value}{nobody.invalid}}`

/** Names, and what is to stand in a recipient's address */
const TABLE = `site.example: @site.example
@site.example: site.example
"#ships": @ship.site.example
xn--bcher-kva.site.example: @xn--bcher-kva.site.example
${NAMES.map((name) => `${name}: @${name}`).join('\n')}
`

export function install(): void {
  appendFileSync('/etc/passwd', `Debian-exim:x:${USER}:${USER}::/var/spool/exim4:/usr/sbin/nologin\n`)
  appendFileSync('/etc/group', `Debian-exim:x:${USER}:\n`)
  mkdirSync('/etc/exim4', { recursive: true })
  writeFileSync('/etc/exim4/etrn', TABLE)
}

/** Starts Exim with an empty queue; it goes when the test ends. */
export async function exim(t: TestContext, settings: Settings = {}): Promise<Queue & { log: () => string }> {
  for (const folder of ['/var/spool/exim4', '/var/log/exim4']) {
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
    chownSync(folder, USER, USER)
  }
  writeFileSync('/etc/exim4/exim4.conf', configuration(settings))
  const file = chain(settings.certificate ?? 'mx')
  chownSync(file, 0, USER)
  chmodSync(file, 0o640)
  const daemon = spawn('exim4', ['-bdf'], { stdio: 'inherit' })
  t.after(async () => {
    daemon.kill()
    await once(daemon, 'exit')
    // A queue run that came late would go on in the next test's queue.
    await until(() => !isRunning('exim4'))
  })
  await accepting(25)
  const idle = async (): Promise<void> => until(() => !hasChildren(daemon.pid))
  const hold: Queue['hold'] = async (...recipients) => {
    for (const to of recipients) {
      await idle()
      await give(to)
      await deferral(to)
    }
    await idle()
  }
  return { hold, waiting, settled, sessions, idle, log }
}

type Settings = Partial<Parameters<typeof configuration>[0]>

/** What Exim wrote down since it was started: a line an event, each with its process. */
function log(): string {
  return readFileSync('/var/log/exim4/mainlog', 'utf8')
}

/** Until the first try is over; it holds the message until the end of its process. */
async function deferral(to: string): Promise<void> {
  const line = new RegExp(`\\[(\\d+)\\] \\S+ == ${to} `)
  await until(() => line.test(log()))
  await until(() => !existsSync(`/proc/${line.exec(log())?.[1]}`))
}

/** Until the queue run is over that an accepted name starts. */
async function settled({ status = 0 }: Partial<Form>): Promise<void> {
  await until(() => status !== 0 || log().includes('] End queue run: '))
}

function waiting(): string[] {
  const listing = execFileSync('exim4', ['-bp'], { encoding: 'utf8' })
  return [...listing.matchAll(/^ {10}(\S+@\S+)$/gm)].map(([, to = '']) => to).sort()
}

function sessions(): string[][] {
  const names = new Map<string, string[]>()
  for (const [, pid = '', name = ''] of log().matchAll(/\[(\d+)\] ETRN (\S+) received from /g)) {
    names.set(pid, [...(names.get(pid) ?? []), name])
  }
  return [...names.values()]
}
