export const LOGIN_OPTIONS = '--user NAME --password-file FILE'
const LOGIN_STEP = `to give you a login (${LOGIN_OPTIONS})`
export const RETRY_STEP = '--retry-for 10m tries again'
/** The next steps that several replies share */
export const HINTS = {
  limit: 'the server limits the number of requests; ask your provider to raise the limit',
  helo: "the server rejects this host's EHLO name, not the requested name; send a full name of this host: --helo HOST.DOMAIN; if no name is accepted, ask your provider which name to send",
  blocklist: `your public IP address is on a blocklist, as dynamic addresses often are; ask your mail provider to allow the address, or to give you a login and the port for the login (${LOGIN_OPTIONS} --port N)`,
  reverseName: `the server finds no valid reverse DNS name (PTR) for your public IP address; ask your Internet provider to set one`,
  certificate: 'the server requires a client certificate that it trusts: --tls-cert FILE --tls-key FILE',
  address: `the server does not accept requests from your public IP address; ask your provider to allow it (if the server is Postfix: smtpd_etrn_restrictions) or ${LOGIN_STEP}`,
  postfixAddress: `the server does not accept requests from your public IP address; ask your provider to allow it (Postfix: smtpd_etrn_restrictions or smtpd_client_restrictions) or ${LOGIN_STEP}`,
  login: `the server requires you to log in before ETRN: ${LOGIN_OPTIONS}`,
  mayNeedLogin: `the server may require you to log in before ETRN: ${LOGIN_OPTIONS}; otherwise ask your provider to enable ETRN`,
  tls: 'the server requires TLS before ETRN: --tls encrypt',
  connections:
    'the server has too many connections, perhaps from other programs at your public IP address: try again later; --retry-for 10m keeps trying',
  temporary: `the server can't start the delivery now; ${RETRY_STEP}`,
  exim: "the server's policy forbids this request (Exim: acl_smtp_etrn); ask your provider to allow requests from your public IP address",
  refusal: `ask your provider to allow requests for this name from your public IP address, or ${LOGIN_STEP}`,
  name: 'ask your provider to allow requests for this name from your public IP address',
  otherCommand:
    'this is a reply to another command, so the request may have failed: run again with -v and show the output to your provider',
  elsewhere: 'this server holds no mail for the name; ask your provider which server holds the mail',
  flush: `${RETRY_STEP}; if retries fail too, show the reply to your provider (if the server is Postfix: the flush service may be off, or postscreen_access_list may lack your public IP address)`,
  badName: 'check the name, then ask your provider which name the server expects',
  ignoredSign:
    "Postfix ignores '@' and '#', so a request is for the plain domain alone; request each subdomain by its own name",
  plainName: "the server may not support names that start with '@' or '#'; request each domain by its plain name",
  noQueues:
    "if the server is Postfix: Postfix ignores '#' and has no queues with names; request each domain by its plain name",
  serverFault: 'the server could not check the request; tell your provider if the failure lasts',
  noEtrn: 'ask your provider to enable ETRN on this server, or to start the delivery for you',
  noEhlo: 'a server without EHLO has no ETRN: check the host and the port',
  noMail:
    'the server accepts no mail, or none from your public IP address (dynamic addresses are often blocked); check the host name, then ask your provider to allow your public IP address',
} as const
