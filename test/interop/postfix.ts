import { execFileSync } from 'node:child_process'
import { appendFileSync, chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { TestContext } from 'node:test'
import { waitForPort, waitUntil } from './mta.js'
import { type MailQueue, submitMessage } from './request-checks.js'

// A real Postfix on 127.0.0.1:25. It holds mail for site.example, whose own server is on 127.0.0.2:25.

const LOG_FILE = '/var/log/maillog'

const MAIN_CF = `compatibility_level = 3.6
queue_directory = /var/spool/postfix
data_directory = /var/lib/postfix
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = ${LOG_FILE}
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

export const MASTER_CF = `smtp inet n - n - - smtpd
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
  // The package's installation script does the same.
  for (const command of ['/usr/sbin/postdrop', '/usr/sbin/postqueue']) {
    execFileSync('chgrp', ['postdrop', command])
    chmodSync(command, 0o2755)
  }
}

/** Starts Postfix with these extra lines in main.cf and an empty queue. It stops when the test ends. */
export async function startPostfix(t: TestContext, extraLines = '', masterCf = MASTER_CF): Promise<MailQueue> {
  rmSync(LOG_FILE, { force: true })
  writeFileSync('/etc/postfix/main.cf', MAIN_CF + extraLines)
  writeFileSync('/etc/postfix/master.cf', masterCf)
  try {
    execFileSync('postfix', ['start'], { stdio: 'pipe' })
  } catch (error) {
    throw new Error(readLog(), { cause: error })
  }
  t.after(() => {
    execFileSync('postsuper', ['-d', 'ALL'], { stdio: 'pipe' })
    execFileSync('postfix', ['stop'], { stdio: 'pipe' })
  })
  await waitForPort(25)
  return { hold, waitForDelivery, waitingRecipients, namesBySession, waitForIdle }
}

/** Returns Postfix's log since its start. */
export function readLog(): string {
  return existsSync(LOG_FILE) ? readFileSync(LOG_FILE, 'utf8') : ''
}

async function hold(...recipients: readonly string[]): Promise<void> {
  for (const to of recipients) {
    await waitForIdle()
    await submitMessage(to)
  }
  await waitForIdle()
  await waitUntil(() => recipientsIn('deferred').length === recipients.length)
}

/** Waits until no delivery is in progress. Postfix replies after the messages have left the deferred queue (flush(8)). */
async function waitForDelivery(): Promise<void> {
  await waitUntil(() => recipientsIn().length === recipientsIn('deferred').length)
}

function waitingRecipients(): string[] {
  return recipientsIn().sort()
}

/** Returns the recipients of the messages in one queue, or in all (postqueue(1), JSON OBJECT FORMAT). */
function recipientsIn(name?: string): string[] {
  const lines = execFileSync('postqueue', ['-j'], { encoding: 'utf8' }).trim().split('\n').filter(Boolean)
  const messages = lines.map((line) => JSON.parse(line) as { queue_name: string; recipients: { address: string }[] })
  return messages
    .filter(({ queue_name }) => queue_name === (name ?? queue_name))
    .flatMap(({ recipients }) => recipients.map(({ address }) => address))
}

function namesBySession(): string[][] {
  const current = new Map<string, string[]>()
  const all: string[][] = []
  for (const [, pid = '', name] of readLog().matchAll(
    / postfix\/smtpd\[(\d+)\]: (?:connect from |< \S+: ETRN (\S+)$)/gm,
  )) {
    // One process serves several clients, one after another.
    if (name !== undefined) current.get(pid)?.push(name)
    else all.push(current.set(pid, []).get(pid) ?? [])
  }
  return all.filter(({ length }) => length > 0)
}

let markCount = 0

async function waitForIdle(): Promise<void> {
  // Lines that were logged before the mark are in the file before it.
  const mark = `mark ${++markCount}.`
  execFileSync('postlog', [mark])
  const countOf = (text: string): number => readLog().split(text).length
  await waitUntil(() => readLog().includes(mark) && countOf(': connect from ') === countOf(': disconnect from '))
}
