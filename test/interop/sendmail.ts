import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import type { TestContext } from 'node:test'
import { isRunning, waitForPort, waitUntil } from './mta.js'
import { type MailQueue, submitMessage } from './request-checks.js'

// A real Sendmail on 127.0.0.1:25. It holds mail for site.example, whose own server is on 127.0.0.2:25.

const SENDMAIL = '/usr/libexec/sendmail/sendmail'

/** confQUEUE_LA and confREFUSE_LA are above any load: by default a busy Sendmail only queues mail, or refuses connections. */
const SENDMAIL_MC = `divert(0)dnl
include(\`/usr/share/sendmail/cf/m4/cf.m4')dnl
OSTYPE(\`linux')dnl
define(\`confDOMAIN_NAME', \`mx.provider.example')dnl
define(\`ALIAS_FILE', \`')dnl
define(\`confPID_FILE', \`/run/sendmail.pid')dnl
define(\`confSERVICE_SWITCH_FILE', \`/etc/mail/service.switch-nodns')dnl
define(\`confDONT_PROBE_INTERFACES', \`True')dnl
define(\`confTO_IDENT', \`0')dnl
define(\`confQUEUE_LA', \`10000')dnl
define(\`confREFUSE_LA', \`10000')dnl
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
  writeFileSync('/etc/mail/sendmail.mc', SENDMAIL_MC)
  writeFileSync('/etc/mail/mailertable', 'site.example\tesmtp:[127.0.0.2]\n.site.example\tesmtp:[127.0.0.2]\n')
}

/** Starts Sendmail with these extra lines in sendmail.cf and an empty queue. It stops when the test ends. */
export async function startSendmail(t: TestContext, extraLines = ''): Promise<MailQueue> {
  const folder = mkdtempSync('/var/spool/sendmail-')
  const queue = `${folder}/queue`
  mkdirSync(`${queue}/ships`, { recursive: true, mode: 0o700 })
  const base = execFileSync('m4', ['/etc/mail/sendmail.mc'], { encoding: 'utf8' })
  writeFileSync('/etc/mail/sendmail.cf', `${base}O QueueDirectory=${queue}\nQships, P=${queue}/ships\n${extraLines}`)
  const daemon = spawn(SENDMAIL, ['-bD', '-X', `${folder}/traffic`], { stdio: 'inherit' })
  t.after(async () => {
    daemon.kill()
    await once(daemon, 'exit')
  })
  await waitForPort(25)
  const readTraffic = (): string => readFileSync(`${folder}/traffic`, 'utf8')
  // A queue run outlives the session that started it, so it is no longer a child of the daemon.
  const waitForIdle = async (): Promise<void> => waitUntil(() => !isRunning('sendmail', daemon.pid))
  return {
    hold,
    waitForDelivery: waitForIdle,
    waitingRecipients,
    namesBySession: () => namesBySessionIn(readTraffic()),
    waitForIdle,
    maySkipMessages: true,
  }
}

async function hold(...recipients: readonly string[]): Promise<void> {
  for (const to of recipients) await submitMessage(to)
  await waitUntil(() => waitingRecipients().length === recipients.length)
}

/** Returns the recipients in the queue, without those of messages that are being sent: their lines have a star. */
function waitingRecipients(): string[] {
  const listing = execFileSync(SENDMAIL, ['-bp'], { encoding: 'utf8' })
  const messages = listing.matchAll(/^\w{14} .*\n\s+\(Deferred: .*\)\n\s+<(.*)>$/gm)
  return [...messages].map(([, to = '']) => to).sort()
}

function namesBySessionIn(traffic: string): string[][] {
  const names = new Map<string, string[]>()
  for (const [, pid = '', name = ''] of traffic.matchAll(/^(\d+) <<< ETRN (.*)$/gm)) {
    names.set(pid, [...(names.get(pid) ?? []), name])
  }
  return [...names.values()]
}
