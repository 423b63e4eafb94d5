import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { EXIT_STATUS_OF, type Outcome } from '../../src/etrn/outcome.js'
import { type Result, resultOf } from '../../src/etrn/result.js'
import { addHint, isSessionLimit } from '../../src/etrn/reply-meanings.js'
import { SessionError, type Stage } from '../../src/smtp/errors.js'
import { type Reply, ReplyParser } from '../../src/smtp/reply.js'
import { etrn, etrnJson } from '../helpers/command.js'
import { etrnSteps, sessionWith, testExchange } from '../helpers/exchange.js'
import { BYE, scripted } from '../helpers/scripted-server.js'

/** Returns the reply that these lines are. */
function parseReply(...lines: readonly string[]): Reply {
  const parser = new ReplyParser()
  parser.push(Buffer.from(lines.map((line) => `${line}\r\n`).join('')))
  return parser.next() ?? assert.fail('no whole reply')
}

type Row = readonly [line: string, hint?: RegExp | null | undefined, name?: string, banner?: string]

/** Registers one test for each reply: its outcome, and its hint; undefined: any hint, null: none. */
function replies(outcome: Outcome, rows: readonly Row[]): void {
  for (const [line, hint, name = 'site.example', banner = ''] of rows)
    test(`${outcome}: "${line}" for ${name}${banner === '' ? '' : ` from ${banner}`}`, () => {
      const result: Result = resultOf(name, parseReply(line), banner)
      assert.equal(result.outcome, outcome)
      if (hint === null) assert.equal(result.hint, null)
      else if (hint !== undefined) assert.match(result.hint ?? '', hint)
    })
}

const REFUSAL = /^ask your provider to allow requests for this name from your public IP address, or/
const EXIM = 'mx.example ESMTP Exim 4.96'
const POSTFIX = 'mx.example ESMTP Postfix'
const [ACL, NAME, ADDRESS, LOGIN, TLS, HELO, LATER, PLAIN, BAD_NAME, NO_ETRN, ELSEWHERE, FIREWALL] = [
  /acl_smtp_etrn/,
  /requests for this name from your public IP address$/,
  /from your public IP address/,
  /--user NAME --password-file FILE$/,
  /--tls encrypt/,
  /--helo HOST\.DOMAIN; if no name is accepted, /,
  /--retry-for 10m/,
  /plain name/,
  /^check the name, then ask your provider which name/,
  /^ask your provider to enable ETRN/,
  /^this server holds no mail for the name/,
  /^a firewall on the network path/,
] as const

suite('a 458 that means a policy is refused', () => {
  replies('refused', [
    ['458 Administrative prohibition', ACL],
    ['458 administrative prohibition', ACL],
    ['458 Administrative prohibition', ACL, 'site.example', EXIM],
    ['458 Node site.example does not store mail here', /holds no mail.*ask your provider which server holds the mail/],
    ["458 Node site.example doesn't store mail here", /which server holds the mail/],
    ['458 Sorry, only literal target domains accepted', NAME],
    ['458 5.7.1 Sorry, only literal target domains accepted', NAME],
    ['458 5.7.1 Unable to queue messages', undefined],
    ['458 5.3.2 come back never', NAME],
    ['458 4.7.1 not your queue', NAME],
    ['458 ETRN blocked by administrator', NAME],
    ['458 Request for site.example blocked by policy', NAME],
    ['458 Node site.example does not exist', NAME],
    ["458 That domain doesn't exist here", NAME],
    ['458 Not authorized', NAME],
    ['458 You are not authorised to do that', NAME],
    ['458 ETRN is not allowed from your host', NAME],
    ['458 not permitted', NAME],
    ['458 ETRN access for this host is not granted', NAME],
    ['458 Domain not in ETRN table', NAME],
    ['458 Access denied', ADDRESS],
    ['458 Access is denied', ADDRESS],
    ['458 Relay denied', NAME],
    ['458 Relaying denied', NAME],
    ['458 Permission denied', NAME],
    ['458 Unknown domain site.example', NAME],
    ['458 Domain site.example is unknown', NAME],
    ['458 site.example is not a local domain', NAME],
    ['458 Not local host', NAME],
    ['458 Invalid domain name', NAME],
    ['458 No such node', NAME],
    ['458 ETRN disabled', NAME],
    ['458 Request refused', NAME],
    ['458 You have no permission to do that', NAME],
    ['458 site.example is not in our list of customers', NAME],
    ['458 site.example is not our customer', NAME],
    ['458 Unable to queue messages for node site.example: not allowed', NAME],
    ['458 Authentication required', LOGIN],
    ['458 Please log in first', LOGIN],
    ['458 Must issue a STARTTLS command first', TLS],
    ['458 TLS required', TLS],
    ['458 whatever the ACL says', ACL, 'site.example', EXIM],
    ['458 ETRN is no longer supported', NAME],
    ['458 ETRN has been turned off', NAME],
    ['458 ETRN is switched off here', NAME],
    ['458 ETRN is off', NAME],
    ['458 ETRN not offered', NAME],
    ['458 ETRN not implemented', NAME],
    ['458 We do not provide ETRN', NAME],
    ['458 no ETRN here', NAME],
    ['458 no ETRN for you', NAME],
    ['458 no ETRN for site.example', NAME],
    ['458 Insufficient privileges', NAME],
    ['458 You may not request this domain', NAME],
    ["458 You can't use ETRN for site.example", NAME],
    ['458 Host gw.site.example is not on the ETRN list', NAME],
    ['458 site.example is not among our customers', NAME],
    ['458 restricted to known hosts', NAME],
    ['458 Only customers may use ETRN', NAME],
    ['458 ETRN is only for dial-up customers', NAME],
    ['458 literal domains only', NAME],
    ['458 ETRN for subscribers only', NAME],
    ['458 ETRN is reserved for customers', NAME],
    ['458 Sorry, currently only customers may use ETRN', NAME],
    ['458 ETRN has been discontinued', NAME],
    ['458 You have no access', NAME],
    ['458 You lack the rights', NAME],
    ['458 Not for you', NAME],
    ['458 Do not try again', NAME],
    ['458 ETRN is unavailable until you log in', LOGIN],
    ['458 Account closed', NAME],
    ['458 Domain suspended', NAME],
    ['458 site.example has been suspended', NAME],
    ["458 sorry, that domain isn't mine", NAME],
    ['458 Request declined', NAME],
    ['458 ETRN currently disabled by administrator', NAME],
    ['458 You are currently not allowed to use ETRN', NAME],
    ['458 ETRN is forbidden at this time', NAME],
    ['458 ETRN is not permitted right now', NAME],
    ['458 queue names are not implemented', PLAIN, '#queue'],
    ['458 named queues are unsupported', PLAIN, '#queue'],
    ["458 sorry, that domain isn't here (#5.7.1)", NAME],
    ['458 sorry (#5.7.1)', NAME],
    ['458 #5.7.1 sorry', NAME],
    ['458 try again later (#5.1.2)', NAME],
    ['458 sorry [5.7.1]', NAME],
    // A word that servers also use for failures of their own
    ['458 You are not authorized to use this resource', NAME],
    ['458 Access to this resource is forbidden', NAME],
    ['458 ETRN disabled; queue is flushed automatically every 30 minutes', NAME],
    ['458 your host is not in the list of hosts allowed to load mail', NAME],
    ['458 ETRN prohibited by local policy, see the administrator during office hours', NAME],
    ['458 Unknown domain, contact support within business hours', NAME],
    ['458 ETRN not permitted; wait for the next regular queue run', NAME],
    ['458 Connection refused by access list', NAME],
    ['458 Connection from your network refused by policy', NAME],
    ['458 denied: no maintenance contract', NAME],
    ['458 Node site.example has no mail storage on this server', ELSEWHERE],
    // The words of policy are the server's, the others those of its name.
    ['458 busy.isp.example does not serve site.example', NAME],
    ['458 later.isp.example: Administrative prohibition', ACL],
    ['458 disk.isp.example: Access denied', ADDRESS],
    ['458 try-again.isp.example says no ETRN for gw@busy.example, see https://isp.example/try?again=later', NAME],
    ['458 Not allowed for load-balancer[192.0.2.1]', NAME],
    ['458 <temporary>: ETRN denied', NAME],
  ])
})

suite('a 458 that says that the mail is not stored here is refused', () => {
  replies('refused', [
    ['458 we do not queue mail for site.example', ELSEWHERE],
    ["458 We don't spool any mail for site.example", ELSEWHERE],
    ['458 we hold no mail for site.example', ELSEWHERE],
    ['458 This host keeps no messages for you', ELSEWHERE],
    ['458 we no longer hold mail for site.example', ELSEWHERE],
    ['458 never stores mail for site.example', ELSEWHERE],
    ['458 Node site.example has no mail stored here', ELSEWHERE],
    ['458 no mail for site.example is stored here', ELSEWHERE],
    ['458 Mail for site.example is not held on this server', ELSEWHERE],
    ['458 not MX for site.example', ELSEWHERE],
    ['458 I am not an MX for site.example', ELSEWHERE],
    ['458 not a backup MX for site.example', ELSEWHERE],
    ["458 This isn't your secondary MX", ELSEWHERE],
    ['458 Mail for site.example is held elsewhere', ELSEWHERE],
    ['458 Mail for site.example is queued on another host', ELSEWHERE],
    ['458 This machine does not spool for site.example', ELSEWHERE],
    ['458 we are not a secondary for site.example', ELSEWHERE],
    ['458 we hold no mail for site.example', PLAIN, '@site.example'],
  ])
  replies('deferred', [
    ['458 no mail waiting', null],
    ['458 No messages waiting for node site.example', null],
    ['458 no mail queued for site.example', null],
    ['458 no mail for site.example is queued here', null],
    ['458 There is no mail for site.example in the queue', null],
    ['458 could not store mail', null],
    ["458 Couldn't queue mail for site.example", null],
    ['458 cannot queue mail for site.example', null],
    ['458 Unable to hold messages for site.example', null],
    ['458 We hold no mail for site.example at this time', LATER],
    ['458 site.example does not have an MX record', null],
    ['458 not queued', null],
    ["458 can't store mail", null],
    ["458 can't accept the request", null],
  ])
})

suite('another 4xx is deferred, whatever its enhanced status code', () => {
  replies('deferred', [
    ['450 5.7.1 busy, try again later', null],
    ['451 5.3.0 local error in processing', null],
    ['452 5.3.1 no space', null],
    ['454 5.7.0 TLS not available', LATER],
    ['421 5.7.1 bye', null],
    ['451 5.7.1 ETRN not permitted for your host', REFUSAL],
    ['454 5.7.3 Client does not have permission to submit mail to this server.', REFUSAL],
  ])
})

suite('a 458 that is temporary is deferred', () => {
  replies('deferred', [
    ['458 Unable to fork process', LATER],
    ['458 Too many concurrent queue runs', LATER, 'site.example', EXIM],
    ['458 Too many queue runs', LATER],
    ['458 Queue run limit reached', LATER],
    ['458 Only one queue run at a time is allowed', LATER],
    ['458 could not start the queue run', null, 'site.example', EXIM],
    ['458 ETRN denied, queue runner is active', LATER],
    ['458 ETRN not allowed more than once per 15 minutes', LATER],
    ['458 ETRN for site.example not allowed: last request was 20 seconds ago', LATER],
    ['458 Request denied: minimum interval between ETRNs is 10 minutes', LATER],
    ['458 You are not allowed to send ETRN so often', LATER],
    ['458 ETRN not permitted so soon; wait a minute', LATER],
    ['458 refused: queue already being processed', LATER],
    ['458 ETRN disabled during business hours', LATER],
    ['458 Refused: queue run already active', LATER],
    ['458 Queue manager refused connection', LATER],
    ['458 /var/spool/mqueue: Permission denied', LATER],
    ["458 Can't open queue directory: Permission denied", LATER],
    ['458 no such file or directory', LATER],
    ['458 LDAP server not found', LATER],
    ['458 not enough memory, ETRN not accepted', LATER],
    ['458 denied: system load too high', LATER],
    ['458 Access denied, try again later', LATER],
    ['458 ETRN disabled during maintenance', LATER],
    ['458 ETRN refused: load too high', LATER],
    ['458 Permission denied while writing to disk', LATER],
    ['458 insufficient system storage, not accepted', LATER],
    ['458 file system is read-only', LATER],
    ['458 Not accepting ETRN right now', LATER],
    ['458 Authentication service currently unavailable', LATER],
    ['458 policy server unavailable', LATER],
    ['458 Unknown error', null],
    ['458 invalid response from the queue manager', null],
    ['458 queue file not found', LATER],
    ['458 queue run is active on another host', null],
    ['458 Queue manager not responding', null],
    ['458 Not accepting ETRN during backup', LATER],
    ['458 ETRN is limited to once every 10 minutes', LATER],
    ['458 No queue runner available', null],
    ['458 ETRN suspended', null],
    ['458 ETRN not enabled yet', LATER],
    ['458 No ETRN for the time being', LATER],
    ['458 queue processing suspended', null],
    ['458 ETRN service is offline', null],
    ['458 sorry (#4.3.0)', LATER],
    ['458 not accepted (#4.3.2)', LATER],
    ['458 mx.example running 5.7.1 is not ready', null],
    ['458 only 3 of 7 messages moved', null],
    ['458 Already processing other.example', null],
    ['458 Already processing <other.example>', null],
    ['458 Unable to fork process', LATER, 'site.example', EXIM],
    ['458 Unable to queue messages', /postscreen_access_list/],
    ['458 Unable to queue messages for node site.example', null],
    ['458 Internal failure', /smtp_etrn_command/],
    ['458 Internal failure', /smtp_etrn_command/, 'site.example', EXIM],
    ['458 Already processing the maximum number of requests, try again later', LATER],
    ['458 Too busy, try later', LATER],
    ['458 load too high', LATER],
    ['458 4.3.2 Try again later', LATER],
    ['458 4.7.0 Temporarily not allowed', LATER],
    ['458 Authentication temporarily unavailable', LATER],
    ['458 Could not queue messages', null],
    ['458 Connection refused', LATER],
    ['458 Connection to queue manager refused', LATER],
    ['458 Unable to initialise TLS', LATER],
    ['458 4.7.1 Rate limit exceeded', LATER],
    ['458 Rate limit exceeded', LATER, 'site.example', EXIM],
    ['458 4.7.0 Greylisted, please retry in 5 min', LATER],
    ['458 4.7.1 Please wait 60 seconds between requests', LATER],
    ['458 4.3.2 System not accepting network messages', LATER],
    ['458 4.3.2 Not accepting ETRN while shutting down', LATER],
    ['458 4.3.5 Queue manager not enabled yet', LATER],
    ['458 4.2.1 mailbox queue disabled, not accepting', LATER],
    ['458 4.4.1 No connection', LATER, 'site.example', EXIM],
    ['458 Local configuration problem', LATER],
    ['458 4.7.0 no', /^ask your provider to allow requests for this name.*; --retry-for 10m tries again$/],
    ['458 Could not accept the request', null],
    ['458 Error getting info for site.example', null],
    ['458', null],
    ['421 5.7.1 go away', undefined],
    ['450 not allowed', null],
    ['451 4.7.1 Greylisted', null],
    ['450 4.2.0 <site.example>: Etrn command rejected: Greylisted, see http://postgrey.example/', LATER],
    ['450 4.7.1 <site.example>: Etrn command rejected: Service unavailable', LATER],
    ['450 4.7.1 Client host rejected: quota exceeded, try again later', LATER],
    ['500 5.5.0 ETRN out of memory', LATER],
    ['500 ETRN out of memory', LATER, '#queue'],
    // The words are those of the name.
    ['458 Unable to queue messages for node not-allowed.example', null, 'not-allowed.example'],
    ['458 Unable to queue messages for node tls.example', null, 'tls.example'],
    ['458 Unable to queue messages for queue tls', PLAIN, '#tls'],
    ['458 4.7.1 no', PLAIN, '#queue'],
  ])
})

suite('a 458 Already processing is started, without a hint', () => {
  replies('started', [
    ['458 Already processing site.example', null, 'site.example', EXIM],
    ['458 Already processing site.example', null, '#site.example', EXIM],
    ['458 Already processing not-allowed.example', null, 'not-allowed.example'],
  ])
})

suite('a 501 that is no word on syntax is refused for a plain name', () => {
  replies('refused', [
    ['501 ETRN not supported for site.example', NAME],
    ['501 Command not accepted', /log in before ETRN: .*; otherwise ask your provider to enable ETRN/],
    ['501 Not authorised', NAME],
    ['501 No mail for site.example here', NAME],
    ['501 Access denied', ADDRESS],
    ['501 5.7.1 rejected', NAME],
    ['501 Unknown domain', NAME],
    ["501 We don't do that", NAME],
    ['501 Authentication required', LOGIN],
    ['501 Unable to queue messages for node site.example', NAME],
    ['501 Unable to comply', NAME],
    ['501 Insufficient privileges', NAME],
    ['501 ETRN restricted to customers', NAME],
    ['501 ETRN turned off', NAME],
    ['501 ETRN unavailable', NAME],
    ['501 Service unavailable', NAME],
    ['501 Domain is hosted elsewhere', ELSEWHERE],
    ['501 we do not queue mail for site.example', ELSEWHERE],
    ['501 denied', NAME],
    ['501 Refused', NAME],
    ['501 Prohibited.', NAME],
    ['501 Disabled', NAME],
    ['501 Unauthorized', NAME],
    ['501 rejected', NAME],
    ['501 Information: ETRN not permitted', NAME],
    ['501 Badge not recorded', NAME],
    ['501 Domain not allowed; usage restricted', NAME],
    ['501 Bad command for this host: not permitted', NAME],
    ['501 invalid domain: not hosted here', NAME],
    ['501 invalid request: site.example is not served', NAME],
    ['501 required permission missing', NAME],
    ['501 bad.isp.example: domain not served', NAME],
    ['501 syntax.isp.example: ETRN not accepted', NAME],
    ['501 <bad>: not accepted', NAME],
    ['501 site.example is not a domain that we know', NAME],
    ['501 site.example is not a local domain', NAME],
    ['501 domain given is not served here', NAME],
    ['501 ETRN is not valid for this host', NAME],
    ['501 Failed to start', NAME],
    ['501 sorry (#5.7.1)', NAME],
    ['501 invalid domain (#5.7.1)', NAME],
  ])
  replies('rejected', [
    ['501 5.5.4 Syntax error', BAD_NAME],
    ['501 5.5.4 not accepted', BAD_NAME],
    ['501 5.5.2 no', BAD_NAME],
    ['501 argument must begin with #', /write --queue site\.example in place of the name$/],
    ['501 Syntax: ETRN domain', BAD_NAME],
    ['501 Error: invalid parameter syntax', BAD_NAME],
    ['501 invalid domain name syntax', BAD_NAME],
    ['501 not a valid domain name', BAD_NAME],
    ['501 NUL characters are not allowed in SMTP commands', BAD_NAME],
    ['501 Domain name must not be missing', BAD_NAME],
    ['501 site.example does not look like a domain name', BAD_NAME],
    ['501 No domain given', BAD_NAME],
    ['501 no node name specified', BAD_NAME],
    ['501 domain names only', BAD_NAME],
    ['501 no domain name in ETRN command', BAD_NAME],
    ['501 single labels are not supported', BAD_NAME],
    ['501 Domain not specified', BAD_NAME],
    ['501 not a hostname', BAD_NAME],
    ['501 site.example is not a host name', BAD_NAME],
    ['501 not a FQDN', BAD_NAME],
    ["501 That isn't a fully qualified domain name", BAD_NAME],
    ['501 not a domain', BAD_NAME],
    ['501 cannot parse domain name', BAD_NAME],
    ['501 could not parse node', BAD_NAME],
    ['501 Unable to understand the domain', BAD_NAME],
    ['501 name too long', BAD_NAME],
    ['501 Underscores are not allowed', BAD_NAME],
    ['501 Invalid domain', BAD_NAME],
    ['501 no', BAD_NAME],
    ['501 not accepted (#5.5.4)', BAD_NAME],
    ['501', BAD_NAME],
    ['501 Command not accepted', PLAIN, '@site.example'],
    ['501 ETRN not supported for queue', PLAIN, '#queue'],
    ['501 5.7.1 no', PLAIN, '#queue'],
    ['553 not allowed', BAD_NAME],
    ['555 not allowed', BAD_NAME],
  ])
})

suite('another 5xx that refuses is no word on the name or the command', () => {
  replies('refused', [
    ['553 5.7.1 ETRN not allowed', REFUSAL],
    ["553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", REFUSAL],
    ['553 Domain not hosted here', REFUSAL],
    ['553 relaying denied', REFUSAL],
    ['555 ETRN not allowed', REFUSAL],
    ['502 5.7.0 ETRN not allowed from your address', REFUSAL],
    ['504 5.7.1 ETRN not allowed for this host', REFUSAL],
  ])
  replies('unsupported', [
    ['502 5.7.0 ETRN is disabled', undefined],
    ['502 5.7.1 Command not implemented', undefined],
    ['501 Unrecognized command', NO_ETRN],
    ['501 ETRN: command not supported', NO_ETRN],
    ['554 5.5.1 Error: no such command', NO_ETRN],
    ['503 ETRN not enabled', NO_ETRN],
    ['502 5.7.0 Sorry, we do not allow this operation', undefined],
  ])
  replies('rejected', [
    ['553 5.1.3 mailbox name not allowed', BAD_NAME],
    ['501 unrecognized command argument', BAD_NAME],
  ])
})

const ADDRESS_ALONE = /^the server does not accept requests from your public IP address/
const FAULT = /^the server could not check the request/

suite('a reply about this host', () => {
  replies('refused', [
    ['504 5.5.2 <gw>: Helo command rejected: need fully-qualified hostname', HELO],
    ['501 5.5.2 <gw>: Helo command rejected: Invalid name', HELO],
    ['550 5.7.1 <gw.site.example>: Helo command rejected: Host not found', HELO],
    ['554 5.7.1 <gw.site.example>: Helo command rejected: Access denied', HELO],
    ['554 5.7.1 Service unavailable; Helo command [gw.site.example] blocked using dbl.example', HELO],
    ['550 Invalid HELO', HELO],
    ['504 5.7.1 Sorry, your HELO string is invalid', HELO],
    ['504 gw: need FQDN in EHLO', HELO],
    ['504 need FQDN HELO', HELO],
    ['504 5.5.2 hostname not fully qualified (gw)', HELO],
    ['504 Your host name must be fully qualified', HELO],
    ['553 5.7.1 Helo rejected', HELO],
    ['553 HELO gw is not acceptable: unknown host', HELO],
    ['501 5.5.2 <gw>: hostname invalid', HELO],
    ['501 <gw>: Invalid hostname', HELO],
    ['501 Syntactically invalid HELO argument(s)', HELO],
    ['550 HELO mismatch', HELO],
    ['550 HELO is my own name', HELO],
    ['550 HELO/EHLO gw does not match your IP', HELO],
    ['550 HELO should be a FQDN', HELO],
    ['550 Your EHLO is bogus', HELO],
    ['550 EHLO rejected', HELO],
    ['550 Fake HELO gw.site.example', HELO],
    ['501 HELO requires domain address', HELO],
    ['550 You must say HELO with a FQDN', HELO],
    ['550 Host name required in HELO', HELO],
    ['550 Access denied - Invalid HELO name', HELO],
    ['550 5.7.1 Relaying denied. IP name lookup failed [192.0.2.1]', /reverse DNS name \(PTR\)/],
    ['550 5.7.1 Relaying denied. IP name possibly forged [192.0.2.1]', /reverse DNS name \(PTR\)/],
    ["550 gw.site.example in EHLO doesn't resolve", HELO],
    ['554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied', ADDRESS],
    ['504 <unknown[192.0.2.1]>: Client host rejected: Access denied', ADDRESS],
    ['501 5.7.1 <a@b.example>: Sender address rejected: Access denied', ADDRESS],
    ['502 Access denied', ADDRESS],
    ['554 5.7.1 <site.example>: Etrn command rejected: Access denied', ADDRESS],
    ['554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org', /blocklist/],
    ['550 5.7.1 192.0.2.1 is on our blacklist', /blocklist/],
    ['550 5.7.1 192.0.2.1 blocked by lists.example', /blocklist/],
    ['550 5.7.1 Your IP address 192.0.2.1 has been blocked', /blocklist/],
    ['550 5.7.25 Client host rejected: cannot find your hostname, [192.0.2.1]', /reverse DNS/],
    ['554 5.7.1 <CN=x>: Client certificate rejected: Access denied', /--tls-cert/],
    ['550 Reverse DNS lookup failure', /reverse DNS/],
    // A list is known by its name, a client isn't.
    ['550 5.7.1 Listed in dnsbl.example', /blocklist/],
    ['550 5.7.1 rejected, see http://www.spamhaus.org/query/bl?ip=192.0.2.1', /blocklist/],
    ['550 5.7.1 Your address is in an RBL', /blocklist/],
    ['554 5.7.1 <host-1-2-3-4.ptr.isp.net[1.2.3.4]>: Client host rejected: Access denied', ADDRESS_ALONE],
    ['554 5.7.1 <1.rdns.isp.net[1.2.3.4]>: Client host rejected: Access denied', ADDRESS_ALONE],
    ['554 5.7.1 <x.dyn-rbl.isp.net[1.2.3.4]>: Client host rejected', ADDRESS_ALONE],
    ['554 5.7.1 <x.rbl.isp.net[1.2.3.4]>: Client host rejected', ADDRESS_ALONE],
    ['554 5.7.1 Client host x.rbl.isp.net[1.2.3.4] rejected', ADDRESS_ALONE],
    ['554 5.7.1 <helo-1.auth.isp.net[1.2.3.4]>: Client host rejected', ADDRESS_ALONE],
    ['503 5.7.0 Error: access denied for unknown[192.0.2.1]', ADDRESS_ALONE],
    // The order of commands is no matter of the name in HELO.
    ['503 send HELO first', null],
    ['503 5.5.1 Error: send HELO/EHLO first', null],
    ['503 Polite people say HELO', null],
    ['503 HELO not received', null],
    ['503 ETRN is invalid in this state: EHLO needed', null],
    ['503 ETRN rejected: no EHLO', null],
    ['503 Bad sequence of commands, EHLO expected', null],
    ['503 ETRN refused, HELO command required', null],
    // The server's configuration or lookups failed, or commands came in a group.
    ['503 5.5.0 <ETRN>: Etrn command rejected: Improper use of SMTP command pipelining', null],
    ['503 5.5.0 <gw>: Helo command rejected: Improper use of SMTP command pipelining', null],
    ['554 SMTP synchronization error', null],
    ['554 5.3.5 <gw>: Helo command rejected: Server configuration error', FAULT],
    // RFC 1985 has 459 for what the server never does.
    ['459 4.7.1 <gw>: Helo command rejected: Access denied', HELO],
  ])
  replies('deferred', [
    ['450 5.7.1 <gw>: Helo command rejected: Host not found', /--helo HOST\.DOMAIN; .*; --retry-for 10m tries again$/],
    ['450 4.7.1 <gw>: Helo command rejected: Host not found', /--helo HOST\.DOMAIN; .*; --retry-for 10m tries again$/],
    [
      '450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.1]',
      /reverse DNS.*; a DNS failure can also be the reason: --retry-for 10m tries again$/,
    ],
    [
      '450 4.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied',
      /from your public IP address.*; --retry-for 10m tries again$/,
    ],
    [
      '458 4.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied',
      /from your public IP address.*; --retry-for 10m tries again$/,
    ],
    [
      '450 4.1.8 <a@b.example>: Sender address rejected: Domain not found',
      /from your public IP address.*; --retry-for 10m tries again$/,
    ],
    ['450 4.7.1 Access denied', /from your public IP address.*; --retry-for 10m tries again$/],
    [
      '454 4.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org',
      /blocklist.*; --retry-for 10m tries again$/,
    ],
  ])
})

suite('a failure of the server while it checks this host', () => {
  replies('deferred', [
    ['451 4.3.5 <gw>: Etrn command rejected: Server configuration error', FAULT],
    ['451 4.3.5 Server configuration problem', FAULT],
    ['451 4.3.0 <gw>: Helo command rejected: Temporary lookup failure', /^the server could not.*; --retry-for 10m/],
    ['451 4.3.0 <x[192.0.2.1]>: Client host rejected: Temporary lookup failure', FAULT],
    ['450 4.3.2 <gw>: Helo command rejected: Try again later', HELO],
    ['450 4.3.2 <x[192.0.2.1]>: Client host rejected: Try again later', ADDRESS_ALONE],
    ['450 4.7.25 Temporary reverse lookup failure', /reverse DNS/],
  ])
})

suite('a reply that demands a login or TLS', () => {
  replies('refused', [
    ['530 5.7.0 Authentication required in this session', LOGIN],
    ['503 ETRN not permitted in this connection without AUTH', LOGIN],
    ['554 TLS needed in this session', TLS],
    ['550 smtp-auth.isp.example: ETRN not permitted', ADDRESS],
    ['550 login.isp.example: ETRN not permitted', /^(?!the server requires)/],
    ['459 tls.isp.example does not serve site.example', NAME],
    ['459 starttls.isp.example: no', NAME],
    ['550 not for you, ask auth@isp.example', /^(?!the server requires)/],
    ['530 5.7.0 Must issue a STARTTLS command first', TLS],
    ['530 5.7.0 Authentication required', LOGIN],
    ['530 no', /--tls encrypt.*--user/],
    ['550 5.7.1 Authentication required', LOGIN],
    ['503 5.5.1 Error: need AUTH command', LOGIN],
    ['502 5.5.1 please authenticate first', LOGIN],
    ['554 Encryption needed', TLS],
  ])
  replies('deferred', [
    ['454 4.7.0 TLS not available due to a local problem', LATER],
    ['454 4.7.0 TLS is currently unavailable', LATER],
    ['454 4.7.0 TLS required', TLS],
  ])
})

suite('hints for replies about the name or the command', () => {
  replies('refused', [
    ['459 <site.example>: service unavailable', /fast_flush_domains/],
    ['459 <site.example>: service unavailable', /fast_flush_domains/, '@site.example', POSTFIX],
    ['459 4.5.4 Queue siteq unknown', /queue group/, '#siteq'],
    ['459 named queues are not supported', PLAIN, '#queue'],
    ['459 no', PLAIN, '@site.example'],
    ['459 no', NAME],
    ['458 named queues are not supported', PLAIN, '#queue'],
    ['458 5.7.1 no', undefined, '#queue'],
    ['458 Queue load is not known', PLAIN, '#load'],
    ['458 No such queue: later', PLAIN, '#later'],
    ['459 4.5.4 Queue tls unknown', /queue group/, '#tls'],
    ['459 4.5.4 Queue queue unknown', /queue group/, '#queue'],
    ['459 no queue rbl', PLAIN, '#rbl'],
    ['459 <siteq>: service unavailable', /^if the server is Postfix: .*plain name$/, '#siteq'],
    ['459 <siteq>: service unavailable', /^if the server is Postfix: .*plain name$/, '#siteq', POSTFIX],
    ['459 <site.example>: service unavailable', /fast_flush_domains/, '#site.example', POSTFIX],
    [
      '458 5.7.1 nope',
      /^ask your provider to allow requests.*; the server may not support .*plain name$/,
      '@site.example',
    ],
    ['458 5.7.1 nope', /^ask your provider to allow requests.*; the server may not support .*plain name$/, '#queue'],
    ['458 Administrative prohibition', /acl_smtp_etrn.*plain name$/, '@site.example'],
    ['458 Administrative prohibition', /acl_smtp_etrn.*plain name$/, '#queue', EXIM],
    ['458 go away', /acl_smtp_etrn.*plain name$/, '@site.example', EXIM],
    ['458 5.7.1 nope', NAME],
    ['550 5.7.1 no such queue', PLAIN, '#siteq'],
    ['551 no queue', PLAIN, '#siteq'],
    ['552 no queue groups here', PLAIN, '#siteq'],
    ['550 unknown queue', PLAIN, '#siteq'],
    ['550 queues not known', PLAIN, '#siteq'],
    ['550 subdomain requests are not allowed', PLAIN, '@site.example'],
    ['550 5.7.1 not your queue', ADDRESS, '#site.example'],
    ['503 5.5.1 Command unrecognized: "XXXX site.example"', FIREWALL],
    ['550 5.7.1 @ not supported', PLAIN, '@site.example'],
    ['550 5.7.1 Named queues are not supported here', PLAIN, '#queue'],
    ['550 5.7.1 <@site.example>: no', ADDRESS, '@site.example'],
    ['550 5.7.1 ETRN for site.example blocked by administrator', ADDRESS],
    ['550 no', ADDRESS],
  ])
  replies('deferred', [
    ['458 no', PLAIN, '@site.example'],
    ['458 Unable to queue messages for node queue', PLAIN, '#queue'],
  ])
  replies('unsupported', [
    ['504 parameter not implemented', PLAIN, '#queue'],
    ['504 no', NO_ETRN],
    ['500 5.5.1 Invalid command: Command unrecognized', NO_ETRN],
    ['502 ESMTP command error', NO_ETRN],
    ['502 5.7.0 Sorry, we do not allow this operation', /--port 25, or ask your provider/],
    ['500 what?', /firewall/, 'site.example', '***************2******0*\nOK'],
    ['500 5.5.1 Command unrecognized: "XXXX site.example"', FIREWALL],
    ['502 5.5.2 Error: command not recognized: XXXX', FIREWALL],
    ['500 5.5.1 Command unrecognized: "ETRN site.example"', NO_ETRN],
    ['500 Unknown command', NO_ETRN, '#XXXX'],
    ["550 5.5.2 Unknown command 'ETRN site.example'", NO_ETRN],
    ['503 5.5.1 Invalid command: Command not supported', NO_ETRN],
    ['554 Command not recognized', NO_ETRN],
    ['550 unimplemented command', NO_ETRN],
  ])
  replies('started', [
    ['250 Queuing started', /subdomain/, '@site.example', POSTFIX],
    ['250 Queuing started', /subdomain/, '#site.example', POSTFIX],
    ['250 Queuing started', null, 'site.example', POSTFIX],
    ['250 OK', null, '@site.example'],
    ['200 fine', null],
  ])
  replies('failed', [
    ['220 mx.example ESMTP', /reply to another command/],
    ['221 Bye', /reply to another command/],
    ['235 2.7.0 Authentication successful', /reply to another command/],
    ['354 go ahead', null],
  ])
})

suite('isSessionLimit', () => {
  for (const [line, isLimit, name = 'site.example'] of [
    ['550 5.7.1 ETRN session limit reached.', true],
    ['458 4.7.1 ETRN session limit reached', true],
    ['554 Too many nonmail commands', true],
    ['554 too many non-mail commands', true],
    ['550 Too many ETRNs', true],
    ['450 Too many ETRN commands', true],
    ['421 Too many commands', true],
    ['550 Maximum number of ETRN commands exceeded', true],
    ['550 ETRN limit exceeded', true],
    ['550 only one ETRN per connection', true],
    ['550 no more in this session', true],
    ['458 4.7.1 session ETRN quota used up', true],
    ['550 session quota exceeded', true],
    ['500 5.5.1 ETRN quota exceeded', true],
    ['550 you may only issue 1 ETRN', true],
    ['458 One ETRN only', true],
    ['458 A second ETRN is not allowed', true],
    ['550 Multiple ETRN commands not permitted', true],
    ['458 Multiple ETRNs at once are not allowed', false],
    ['550 Single ETRN command only', true],
    ['458 No more ETRNs', true],
    ['550 no further commands accepted', true],
    ['550 command count exceeded', true],
    ['550 at most 5 commands', true],
    ['550 You are limited to 3 ETRN commands', true],
    ['458 You have used up your ETRNs', true],
    ['550 only once in this session', true],
    ['458 request limit for this session reached', true],
    ['550 too many node names in session', true],
    ['550 ETRN may only be used once', true],
    ['458 ETRN limit of 5 per session reached, wait 60 seconds', true],
    ['550 5.7.1 You have already issued an ETRN command', true],
    ['503 Error: ETRN already sent', true],
    ['503 5.5.1 Nested ETRN command', true],
    ['452 4.3.2 Number of ETRN commands exceeded', true],
    ['550 5.7.1 Maximum number of requests exceeded', true],
    ['550 Too many requests', true],
    ['550 5.7.1 You have exceeded the allowed number of ETRN commands', true],
    ['550 5.7.1 ETRN: maximum reached', true],
    ['550 5.7.1 further ETRN refused until reconnect', true],
    ['550 5.7.0 Please reconnect to send another ETRN', true],
    ['550 One ETRN only; open a new connection for the next ETRN', true],
    ['459 quota of ETRN commands for this session used up', true],
    ['503 5.5.0 ETRN already given', true],
    ['551 quota exceeded: ETRN', true],
    ['550 5.7.1 no more ETRN service for this domain', false],
    ['502 5.5.1 Too many unrecognized commands', false],
    ['550 ETRN denied too often', false],
    ['503 reconnect with TLS to send another ETRN', false],
    ['550 Too many requests per hour', false],
    ['503 ETRN already in progress', false],
    ['530 Authentication required again in this session', false],
    ['550 ETRN not allowed again in this connection', true],
    ['530 5.7.0 Authentication required in this session', false],
    ['503 ETRN not permitted in this connection without AUTH', false],
    ['554 TLS needed in this session', false],
    ['550 ETRN not allowed in this session', false],
    ['458 5.7.0 Encryption required in this session', false],
    ['458 only one ETRN at a time', false],
    ['458 Only 1 ETRN per minute', false],
    ['458 ETRN rate limit exceeded', false],
    ['458 Too many concurrent ETRN commands', false],
    ['458 Only customers may use ETRN', false],
    ['550 only one domain per ETRN', false],
    ['552 mailbox quota exceeded', false],
    ['458 no ETRN for site.example', false],
    ['550 session-limit.isp.example: no', false],
    ['250 session limit reached', false],
    ['421 Too many connections', false],
    ['421 Too many concurrent SMTP connections from this IP address', false],
    ['501 Too many syntax or protocol errors', false],
    ['550 5.7.1 not your queue', false],
    ['459 <limit.example>: service unavailable', false, 'limit.example'],
  ] as const)
    test(`returns ${isLimit} for "${line}"`, () => assert.equal(isSessionLimit(parseReply(line), name), isLimit))
  for (const [line, outcome, hint] of [
    ['550 5.7.1 ETRN session limit reached.', 'refused', /; ask your provider to raise the limit$/],
    ['502 Too many commands', 'refused', /; ask your provider to raise the limit$/],
    ['458 4.7.1 ETRN session limit reached', 'deferred', /raise the limit; --retry-for 1h keeps trying$/],
  ] as const)
    test(`"${line}" in a new session is ${outcome}, with a hint`, () => {
      const result = resultOf('site.example', parseReply(line))
      assert.equal(result.outcome, outcome)
      assert.match(result.hint ?? '', hint)
    })
})

test('texts of repeated words are read in a short time', () => {
  const words = [
    'only',
    'not',
    'mail',
    'no mail',
    'ETRN',
    'limit of',
    'helo',
    'in this session',
    'queue',
    'is',
    'IP address',
  ]
  const start = performance.now()
  for (const word of [...words, '1', 'x'.repeat(2000), '<', '[', 'a.', '@', 'https://'])
    for (const code of [458, 501, 550])
      resultOf('#queue', parseReply(`${code} ${`${word} `.repeat(2000).slice(0, 2000)}`))
  assert.ok(performance.now() - start < 2000)
})

suite('addHint', () => {
  const finds = (stage: Stage, facts: Partial<SessionError>, message: string, hint: RegExp | null, banner = ''): void =>
    void test(`${stage}: ${facts.kind ?? facts.reply?.code ?? ''} "${message}"`, () => {
      const error = new SessionError(stage, message, { exitStatus: 69, ...facts })
      const found = addHint(error, banner)
      if (hint === null) assert.equal(found.hint, undefined)
      else assert.match(found.hint ?? '', hint)
      assert.deepEqual(
        [found.stage, found.message, found.kind, found.reply, found.exitStatus],
        [stage, message, error.kind, error.reply, 69],
      )
    })
  const failsWith = (stage: Stage, line: string, hint: RegExp | null, banner = ''): void =>
    finds(stage, { reply: parseReply(line) }, line, hint, banner)
  const DYNAMIC = /dynamic addresses/
  finds('greeting', { kind: 'connection-lost' }, 'closed', /^--retry-for 10m tries again; .*blocked$/)
  finds(
    'greeting',
    { kind: 'malformed-reply' },
    'invalid greeting: not an SMTP reply ("HTTP/1.1 400")',
    /not be a mail server/,
  )
  finds('greeting', { kind: 'malformed-reply' }, 'invalid greeting: not an SMTP reply ("220*******2*")', /firewall/)
  failsWith('greeting', '554 no', DYNAMIC)
  failsWith('greeting', '554 5.7.1 Client host [192.0.2.1] blocked using zen.spamhaus.org', /blocklist/)
  failsWith('greeting', '521 never', DYNAMIC)
  failsWith('greeting', '450 4.7.25 Client host rejected: cannot find your hostname', /reverse DNS.*--retry-for 10m/)
  failsWith('greeting', '550 5.7.25 Client host rejected: cannot find your hostname', /reverse DNS/)
  failsWith('greeting', '554 No PTR record for 192.0.2.1', /reverse DNS/)
  failsWith('greeting', '554 x.ptr.isp.net: Client host rejected', DYNAMIC)
  failsWith('greeting', '554 5.7.1 <x.rbl.isp.net[192.0.2.1]>: Client host rejected', DYNAMIC)
  failsWith('greeting', '451 4.3.0 Temporary lookup failure', FAULT)
  failsWith('greeting', '421 4.7.0 mx Error: too many connections from 192.0.2.1', /too many connections, perhaps/)
  failsWith(
    'greeting',
    '421 Too many concurrent SMTP connections from this IP address',
    /too many connections, perhaps/,
  )
  failsWith(
    'greeting',
    '421 Too many concurrent SMTP connections; please try again later.',
    /too many connections, perhaps/,
  )
  failsWith(
    'greeting',
    '421 4.3.2 The maximum number of concurrent server connections has exceeded a limit',
    /too many/,
  )
  failsWith('greeting', '421 4.3.2 Connection rate limit exceeded.', /too many connections, perhaps/)
  failsWith('greeting', '421 4.3.2 Service not available', null)
  failsWith('greeting', '554 rDNS Lookup Failed', /reverse DNS/)
  failsWith('greeting', '354 go on', null)
  finds('ehlo', { kind: 'malformed-reply' }, 'invalid reply to EHLO: not an SMTP reply', /not be a mail server/)
  failsWith('ehlo', '502 no', /without EHLO has no ETRN/)
  failsWith('ehlo', '500 what?', /firewall/, '********0*****2****')
  failsWith('ehlo', '501 no', /--helo/)
  failsWith('ehlo', '550 5.7.1 <gw>: Helo command rejected: Host not found', /--helo/)
  failsWith('ehlo', '550 no', DYNAMIC)
  failsWith('ehlo', '550 HELO mismatch', HELO)
  failsWith('ehlo', '554 Your EHLO is bogus', HELO)
  failsWith('ehlo', '450 4.7.1 <gw>: Helo command rejected: Host not found', /--helo HOST\.DOMAIN.*--retry-for 10m/)
  failsWith('ehlo', '550 5.7.25 Client host rejected: cannot find your hostname', /reverse DNS/)
  failsWith('ehlo', '450 4.7.25 Client host rejected: cannot find your hostname', /reverse DNS/)
  failsWith('ehlo', '451 4.3.0 <gw>: Helo command rejected: Temporary lookup failure', FAULT)
  failsWith('ehlo', '500 5.5.1 Command unrecognized: "XXXX gw"', FIREWALL)
  failsWith('ehlo', '500 5.3.3 Unrecognized command "XXXX"', FIREWALL)
  failsWith('ehlo', '502 XXXX not implemented', FIREWALL)
  failsWith('ehlo', '500 5.3.3 Unrecognized command "EHLO"', /without EHLO has no ETRN/)
  failsWith('ehlo', '503 5.7.0 Error: access denied for unknown[192.0.2.1]', DYNAMIC)
  failsWith('ehlo', '503 bad sequence of commands', null)
  failsWith('ehlo', '503 Unrecognized command', /without EHLO has no ETRN/)
  failsWith('ehlo', "550 5.5.2 Unknown command 'EHLO gw.site.example'", /without EHLO has no ETRN/)
  failsWith('starttls', '454 not now', /--retry-for/)
  failsWith('starttls', '501 no', /port/)
  failsWith('auth', '454 not now', /--retry-for/)
  failsWith('auth', '538 encryption required', /--tls/)
  finds(
    'etrn',
    { kind: 'connection-lost' },
    'closed',
    /^a repeated request does no harm: try again with --retry-for 10m/,
  )
  finds('dns', {}, 'anything', null)
  test('keeps the hint that the error has', () => {
    const error = new SessionError('ehlo', '502 no', { exitStatus: 69, hint: 'own', reply: parseReply('502 no') })
    assert.equal(addHint(error, '').hint, 'own')
  })
})

suite('replies in a run of the command', { concurrency: true }, () => {
  for (const [line, outcome] of [
    ['504 5.5.2 <gw>: Helo command rejected: need fully-qualified hostname', 'refused'],
    ['501 Command not accepted', 'refused'],
    ['458 Administrative prohibition', 'refused'],
    ['458 5.7.1 Sorry, only literal target domains accepted', 'refused'],
    ['450 4.7.1 <gw>: Helo command rejected: Host not found', 'deferred'],
    ['458 Unable to fork process', 'deferred'],
  ] as const)
    testExchange({
      title: `${outcome} after ${line}`,
      conversations: [sessionWith(...etrnSteps('site.example', line))],
      outcomes: [outcome],
      status: EXIT_STATUS_OF[outcome],
      error: null,
    })
  test('-qq prints a permanent 458 with its hint, and no temporary one', async (t) => {
    const replies = [
      ...etrnSteps('a.example', '458 Node a.example does not store mail here'),
      ...etrnSteps('b.example', '458 Unable to fork process'),
    ]
    const server = await scripted(t, sessionWith(...replies))
    const args = ['-qq', '--helo', 'gw.site.example', `127.0.0.1:${server.port}`, 'a.example', 'b.example']
    const { stdout, status } = await etrn(args)
    assert.match(stdout, /^127\.0\.0\.1:\d+: a\.example: refused \(458 Node a\.example does not store mail here\)\n$/)
    assert.equal(status, 75)
  })
  test('the software that the EHLO reply names counts, too', async (t) => {
    const server = await scripted(t, [
      'S: 220 mx.example',
      'C: EHLO gw.site.example',
      'S: 250-mx.example Exim at your service',
      'S: 250 ETRN',
      ...etrnSteps('site.example', '458 no'),
      ...BYE,
    ])
    const { document } = await etrnJson(['--helo', 'gw.site.example', `127.0.0.1:${server.port}`, 'site.example'])
    const { names } = document.servers[0] ?? assert.fail()
    assert.equal(names[0]?.outcome, 'refused')
    assert.match(names[0].hint ?? '', ACL)
  })
  test('prints a hint once for many names, even if it contains the name', async (t) => {
    const names = ['a.example', 'b.example']
    const server = await scripted(
      t,
      sessionWith(...names.flatMap((name) => etrnSteps(name, '501 argument must begin with #'))),
    )
    const { stderr } = await etrn(['-k', '--helo', 'gw.site.example', `127.0.0.1:${server.port}`, ...names])
    assert.match(stderr, /^hint: [^\n]*write --queue a\.example in place of the name\n$/)
  })
})
