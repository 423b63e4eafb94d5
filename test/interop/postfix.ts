import { execFileSync } from 'node:child_process'
import { appendFileSync, chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { TestContext } from 'node:test'
import { accepting, until } from './mta.js'
import { give, type Queue } from './queue.js'

// A real Postfix on 127.0.0.1:25 holds mail for site.example, whose own server is on 127.0.0.2:25.

const LOG = '/var/log/maillog'

const MAIN = `compatibility_level = 3.6
queue_directory = /var/spool/postfix
data_directory = /var/lib/postfix
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = ${LOG}
debug_peer_list = 127.0.0.0/8
myhostname = mx.provider.example
mydestination =
local_recipient_maps =
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relay_domains = site.example
transport_maps = inline:{ { site.example = smtp:[127.0.0.2]:25 }, { .site.example = smtp:[127.0.0.2]:25 } }
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtpd_peername_lookup = no
smtpd_recipient_restrictions = reject_unauth_destination
`

export const MASTER = `smtp inet n - n - - smtpd
postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
`

export function install(): void {
  appendFileSync('/etc/passwd', 'postfix:x:8801:8801::/var/spool/postfix:/usr/sbin/nologin\n')
  appendFileSync('/etc/group', 'postfix:x:8801:\npostdrop:x:8802:\n')
  mkdirSync('/etc/postfix', { recursive: true })
  mkdirSync('/var/spool/postfix', { recursive: true })
  mkdirSync('/var/lib/postfix', { recursive: true })
  mkdirSync('/var/log', { recursive: true })
  execFileSync('chown', ['postfix', '/var/lib/postfix'])
  // What the package's own installation does.
  for (const command of ['/usr/sbin/postdrop', '/usr/sbin/postqueue']) {
    execFileSync('chgrp', ['postdrop', command])
    chmodSync(command, 0o2755)
  }
}

/** Starts Postfix with these lines more and an empty queue; it goes when the test ends. */
export async function postfix(t: TestContext, more = '', master = MASTER): Promise<Queue> {
  rmSync(LOG, { force: true })
  writeFileSync('/etc/postfix/main.cf', MAIN + more)
  writeFileSync('/etc/postfix/master.cf', master)
  try {
    execFileSync('postfix', ['start'], { stdio: 'pipe' })
  } catch (error) {
    throw new Error(log(), { cause: error })
  }
  t.after(() => {
    execFileSync('postsuper', ['-d', 'ALL'], { stdio: 'pipe' })
    execFileSync('postfix', ['stop'], { stdio: 'pipe' })
  })
  await accepting(25)
  return { hold, settled, waiting, sessions, idle }
}

/** What it has logged since it was started */
export function log(): string {
  return existsSync(LOG) ? readFileSync(LOG, 'utf8') : ''
}

async function hold(...recipients: readonly string[]): Promise<void> {
  for (const to of recipients) {
    await idle()
    await give(to)
  }
  await idle()
  await until(() => queue('deferred').length === recipients.length)
}

/** Until nothing is on its way: the reply comes when what was asked for has left the deferred queue (flush(8)). */
async function settled(): Promise<void> {
  await until(() => queue().length === queue('deferred').length)
}

function waiting(): string[] {
  return queue().sort()
}

/** Recipients of what is in the queues, or in one of them (postqueue(1), JSON OBJECT FORMAT) */
function queue(name?: string): string[] {
  const lines = execFileSync('postqueue', ['-j'], { encoding: 'utf8' }).trim().split('\n').filter(Boolean)
  const messages = lines.map((line) => JSON.parse(line) as { queue_name: string; recipients: { address: string }[] })
  return messages
    .filter(({ queue_name }) => queue_name === (name ?? queue_name))
    .flatMap(({ recipients }) => recipients.map(({ address }) => address))
}

function sessions(): string[][] {
  const current = new Map<string, string[]>()
  const all: string[][] = []
  for (const [, pid = '', name] of log().matchAll(/ postfix\/smtpd\[(\d+)\]: (?:connect from |< \S+: ETRN (\S+)$)/gm)) {
    // A process serves one client after the other.
    if (name !== undefined) current.get(pid)?.push(name)
    else all.push(current.set(pid, []).get(pid) ?? [])
  }
  return all.filter(({ length }) => length > 0)
}

let marks = 0

async function idle(): Promise<void> {
  // What was logged before this line is written before it, too.
  const mark = `mark ${++marks}.`
  execFileSync('postlog', [mark])
  const count = (text: string): number => log().split(text).length
  await until(() => log().includes(mark) && count(': connect from ') === count(': disconnect from '))
}
