import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
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
import type { TestContext } from 'node:test'
import { fixturePath } from '../helpers/files.js'
import { hasChildren, isRunning, waitForPort, waitUntil, writeChain } from './mta.js'
import { type MailQueue, type NameForm, NAMES, submitMessage } from './request-checks.js'

// A real Exim on 127.0.0.1:25, with GnuTLS. It holds mail for site.example, whose own server is on 127.0.0.2:25.

const EXIM_UID = 8803

const configurationWith = ({
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
tls_certificate = ${writeChain(certificate)}
tls_try_verify_hosts = *
tls_verify_certificates = ${fixturePath('ca.pem')}
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

/** Makes Exim run a command with the table's value for the name. Exim refuses a command with the name itself, which is tainted. */
export const ETRN_COMMAND_BY_TABLE = `smtp_etrn_command = /usr/sbin/exim4 -R \${lookup{$domain}lsearch{/etc/exim4/etrn}{$value}{nobody.invalid}}`

/** Maps a name to a part of the recipients' addresses. */
const ETRN_TABLE = `site.example: @site.example
@site.example: site.example
"#ships": @ship.site.example
xn--bcher-kva.site.example: @xn--bcher-kva.site.example
${NAMES.map((name) => `${name}: @${name}`).join('\n')}
`

export function install(): void {
  appendFileSync('/etc/passwd', `Debian-exim:x:${EXIM_UID}:${EXIM_UID}::/var/spool/exim4:/usr/sbin/nologin\n`)
  appendFileSync('/etc/group', `Debian-exim:x:${EXIM_UID}:\n`)
  mkdirSync('/etc/exim4', { recursive: true })
  writeFileSync('/etc/exim4/etrn', ETRN_TABLE)
}

/** Starts Exim with an empty queue. It stops when the test ends. */
export async function startExim(
  t: TestContext,
  settings: EximSettings = {},
): Promise<MailQueue & { readLog: () => string }> {
  for (const folder of ['/var/spool/exim4', '/var/log/exim4']) {
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
    chownSync(folder, EXIM_UID, EXIM_UID)
  }
  writeFileSync('/etc/exim4/exim4.conf', configurationWith(settings))
  const file = writeChain(settings.certificate ?? 'mx')
  chownSync(file, 0, EXIM_UID)
  chmodSync(file, 0o640)
  const daemon = spawn('exim4', ['-bdf'], { stdio: 'inherit' })
  t.after(async () => {
    daemon.kill()
    await once(daemon, 'exit')
    // Otherwise a late queue run would go on in the next test's queue.
    await waitUntil(() => !isRunning('exim4'))
  })
  await waitForPort(25)
  const waitForIdle = async (): Promise<void> => waitUntil(() => !hasChildren(daemon.pid))
  const hold: MailQueue['hold'] = async (...recipients) => {
    for (const to of recipients) {
      await waitForIdle()
      await submitMessage(to)
      await waitForDeferral(to)
    }
    await waitForIdle()
  }
  return { hold, waitingRecipients, waitForDelivery, namesBySession, waitForIdle, readLog }
}

type EximSettings = Partial<Parameters<typeof configurationWith>[0]>

/** Returns Exim's log since its start; each line has the id of a process. */
function readLog(): string {
  return readFileSync('/var/log/exim4/mainlog', 'utf8')
}

/** Waits until the first delivery attempt has failed and its process, which locks the message, has ended. */
async function waitForDeferral(to: string): Promise<void> {
  const line = new RegExp(`\\[(\\d+)\\] \\S+ == ${to} `)
  await waitUntil(() => line.test(readLog()))
  await waitUntil(() => !existsSync(`/proc/${line.exec(readLog())?.[1]}`))
}

/** Waits for the end of the queue run that an accepted name starts. */
async function waitForDelivery({ status = 0 }: Partial<NameForm>): Promise<void> {
  await waitUntil(() => status !== 0 || readLog().includes('] End queue run: '))
}

function waitingRecipients(): string[] {
  const listing = execFileSync('exim4', ['-bp'], { encoding: 'utf8' })
  return [...listing.matchAll(/^ {10}(\S+@\S+)$/gm)].map(([, to = '']) => to).sort()
}

function namesBySession(): string[][] {
  const names = new Map<string, string[]>()
  for (const [, pid = '', name = ''] of readLog().matchAll(/\[(\d+)\] ETRN (\S+) received from /g)) {
    names.set(pid, [...(names.get(pid) ?? []), name])
  }
  return [...names.values()]
}
