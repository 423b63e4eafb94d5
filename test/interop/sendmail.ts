import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import type { TestContext } from 'node:test'
import { accepting, hasChildren, until } from './mta.js'
import { type Form, give, type Queue } from './queue.js'

// A real Sendmail on 127.0.0.1:25 holds mail for site.example, whose own server is on 127.0.0.2:25.

const SENDMAIL = '/usr/libexec/sendmail/sendmail'

const MC = `divert(0)dnl
include(\`/usr/share/sendmail/cf/m4/cf.m4')dnl
OSTYPE(\`linux')dnl
define(\`confDOMAIN_NAME', \`mx.provider.example')dnl
define(\`ALIAS_FILE', \`')dnl
define(\`confPID_FILE', \`/run/sendmail.pid')dnl
define(\`confSERVICE_SWITCH_FILE', \`/etc/mail/service.switch-nodns')dnl
define(\`confDONT_PROBE_INTERFACES', \`True')dnl
define(\`confTO_IDENT', \`0')dnl
FEATURE(\`nocanonify')dnl
FEATURE(\`no_default_msa')dnl
FEATURE(\`accept_unresolvable_domains')dnl
FEATURE(\`mailertable', \`text -o -k0 -v1 /etc/mail/mailertable')dnl
DAEMON_OPTIONS(\`Family=inet, Port=25, Addr=127.0.0.1, M=A')dnl
RELAY_DOMAIN(\`site.example')dnl
MAILER(\`smtp')dnl
LOCAL_RULESETS
Squeuegroup
R$* @ ship.site.example\t$# ships
`

export function install(): void {
  appendFileSync('/etc/passwd', 'smmsp:x:8805:8805::/var/lib/sendmail:/usr/sbin/nologin\n')
  appendFileSync('/etc/group', 'smmsp:x:8805:\n')
  writeFileSync('/etc/mail/sendmail.mc', MC)
  writeFileSync('/etc/mail/mailertable', 'site.example\tesmtp:[127.0.0.2]\n.site.example\tesmtp:[127.0.0.2]\n')
}

/** Starts Sendmail with these lines more and an empty queue; it goes when the test ends. */
export async function sendmail(t: TestContext, more = ''): Promise<Queue> {
  const folder = mkdtempSync('/var/spool/sendmail-')
  const queue = `${folder}/queue`
  mkdirSync(`${queue}/ships`, { recursive: true, mode: 0o700 })
  const base = execFileSync('m4', ['/etc/mail/sendmail.mc'], { encoding: 'utf8' })
  writeFileSync('/etc/mail/sendmail.cf', `${base}O QueueDirectory=${queue}\nQships, P=${queue}/ships\n${more}`)
  const daemon = spawn(SENDMAIL, ['-bD', '-X', `${folder}/traffic`], { stdio: 'inherit' })
  t.after(async () => {
    daemon.kill()
    await once(daemon, 'exit')
  })
  await accepting(25)
  const traffic = (): string => readFileSync(`${folder}/traffic`, 'utf8')
  const idle = async (): Promise<void> => until(() => !hasChildren(daemon.pid))
  const settled = async ({ moved = [] }: Partial<Form>): Promise<void> => {
    for (const to of moved) await runFor(to, traffic())
  }
  return { hold, settled, waiting, sessions: () => sessions(traffic()), idle }
}

async function hold(...recipients: readonly string[]): Promise<void> {
  for (const to of recipients) await give(to)
  await until(() => waiting().length === recipients.length)
}

/** Recipients whose mail waits; not one whose message is just being sent, which has a star. */
function waiting(): string[] {
  const listing = execFileSync(SENDMAIL, ['-bp'], { encoding: 'utf8' })
  const messages = listing.matchAll(/^\w{14} .*\n\s+\(Deferred: .*\)\n\s+<(.*)>$/gm)
  return [...messages].map(([, to = '']) => to).sort()
}

/** Until the queue run that sent this one its mail is over: what waits then was not asked for. */
async function runFor(to: string, traffic: string): Promise<void> {
  const [, pid] = new RegExp(`^0*(\\d+) >>> RCPT To:<${to}>`, 'm').exec(traffic) ?? assert.fail(traffic)
  await until(() => !existsSync(`/proc/${pid}`))
}

function sessions(traffic: string): string[][] {
  const names = new Map<string, string[]>()
  for (const [, pid = '', name = ''] of traffic.matchAll(/^(\d+) <<< ETRN (.*)$/gm)) {
    names.set(pid, [...(names.get(pid) ?? []), name])
  }
  return [...names.values()]
}
