import type { Socket } from 'node:net'
import { EXIT, StepError } from '../errors.js'
import { addressLiteral, familyOf, unmapAddress } from '../net/address.js'
import { connect } from '../net/connect.js'
import type { Addresses } from '../net/dns.js'
import { isQualifiedDomain } from '../net/domain.js'
import { isSameHost, selfError } from '../net/this-host.js'
import { Connection } from './connection.js'
import { checkListener } from './credentials-policy.js'
import { type Dialogue, expectCode, type GreetedDialogue, runStep } from './dialogue.js'
import { SessionError, sessionErrorOf, type Stage } from './errors.js'
import type { Reply } from './reply.js'
import type { Server, SessionOptions } from './session-settings.js'
import { isVerificationRequired } from './tls-policy.js'
import { readFirstReply, runHandshake } from './starttls.js'

/** The most addresses of a server that are tried, as in Postfix (smtp_mx_address_limit). */
const ADDRESSES_TRIED = 5

/**
 * Connects and reads the reply to EHLO. If a session fails temporarily before that reply, the next address is tried (RFC 5321, 5.1),
 * unless twice the timeout has passed since the start; so is it if another user of this host listens in place of the mail server. If
 * none is left, the last such failure is the one that is reported.
 */
export async function reachServer(server: Server, options: SessionOptions): Promise<GreetedDialogue> {
  const { port } = server
  const mayTryUntil = performance.now() + 2 * options.timeoutMs
  const found = await runStep('dns', options, async () => lookUpServer(server, options))
  options.trace({ type: 'resolved', addresses: found.first })
  const { first, late } = limitAddresses(found)
  const onAttempt = (address: string): void => options.trace({ type: 'connecting', address })
  const tried = new Set<string>()
  const untried = (list: readonly string[]): string[] => list.filter((address) => !tried.has(address))
  let failure: unknown
  try {
    for (;;) {
      const left = { first: untried(first), late: late.then(untried) }
      const connecting = runStep('connect', options, () => connect(left, port, { ...options, onAttempt }))
      const { socket, address } = await connecting.catch((error: unknown) => {
        throw options.signal.aborted ? error : (failure ?? error)
      })
      tried.add(address)
      try {
        const reached = { ...server, addresses: [address, ...untried(found.first)] }
        return await greetServer(startDialogue(reached, socket, address, options))
      } catch (error) {
        const mayTryNext =
          error instanceof SessionError && (error.exitStatus === EXIT.TEMPFAIL || error.stage === 'auth')
        if (options.signal.aborted) throw error
        if (!mayTryNext) throw error instanceof SessionError ? noteUntried(error, untried(found.first)) : error
        if (performance.now() >= mayTryUntil) throw error
        failure = error
      }
    }
  } finally {
    found.cancel()
  }
}

/** Returns the addresses of a server. Those that are known, and an address in place of a host, need no DNS. */
async function lookUpServer(server: Server, options: SessionOptions): Promise<Addresses> {
  const { host, isExchanger } = server
  const literal = isExchanger || familyOf(host) === 0 ? [] : [unmapAddress(host)]
  const { addresses = literal } = server
  const { family } = options
  const known = addresses.filter((address) => family === undefined || familyOf(address) === family)
  if (known.length > 0) return { first: known, late: Promise.resolve([]), cancel: () => undefined }
  const { lookUpHost } = await import('./look-up-host.js')
  return lookUpHost(server, options)
}

/** Returns the addresses to try. The last place is kept for one of another family, which DNS may return later. */
function limitAddresses({ first, late }: Addresses): Pick<Addresses, 'first' | 'late'> {
  const early = first.slice(0, ADDRESSES_TRIED - 1)
  const rest = first.slice(early.length)
  return { first: early, late: late.then((more) => [...more, ...rest].slice(0, ADDRESSES_TRIED - early.length)) }
}

/** Throws if a mail exchanger turns out to be this host: its address may be one of this host since it was looked up. */
function startDialogue(server: Server, socket: Socket, address: string, options: SessionOptions): Dialogue {
  const { localAddress = '', localPort, remoteAddress = address, remotePort } = socket
  if (server.isExchanger && isSameHost(localAddress, remoteAddress)) {
    socket.destroy()
    throw sessionErrorOf('connect', selfError(address))
  }
  options.trace({ type: 'connected', address, localAddress })
  const helo = options.helo ?? addressLiteral(localAddress)
  const smtp = new Connection(socket, { ...options, silenceHint: silenceHint(server) })
  return { smtp, address, ends: { localAddress, localPort, remoteAddress, remotePort }, helo, server, options }
}

/** Returns the hint for a server that may wait for TLS; undefined if it has TLS, or at port 25, where no server expects TLS from the start. */
function silenceHint({ host, port, isImplicitTls }: Server): string | undefined {
  if (isImplicitTls || port === 25) return undefined
  const name = familyOf(host) === 6 ? `[${host}]` : host
  return port === 465
    ? `port 465 expects TLS from the start: use smtps://${name}`
    : `if the port expects TLS from the start, use smtps://${name}:${port}`
}

/** Returns an error that mentions the addresses that are not tried after it: a permanent failure is taken for that of the host. */
function noteUntried(error: SessionError, addresses: readonly string[]): SessionError {
  const { length } = addresses
  if (length === 0 || (error.reply === null && error.kind !== 'malformed-reply')) return error
  const message = `${error.message}; ${length} other address${length === 1 ? '' : 'es'} not tried`
  return new SessionError(error.stage, message, error)
}

async function greetServer(dialogue: Dialogue): Promise<GreetedDialogue> {
  const { smtp, server, options } = dialogue
  try {
    const secured = server.isImplicitTls ? await runHandshake(dialogue, await import('./tls.js')) : undefined
    const readGreeting = async (): Promise<Reply> =>
      runStep('greeting', options, async () => {
        const reply = await smtp.readReply()
        options.trace({ type: 'greeting', text: reply.text })
        // Not before: until the other end has accepted the connection, the kernel calls it root's.
        rejectListener(dialogue)
        return expectCode('greeting', 220, reply)
      })
    const greeting = await (secured === undefined ? readGreeting() : readFirstReply(readGreeting))
    // If the certificate must be verified, only what comes within TLS counts.
    const isTrusted = secured !== undefined || !isVerificationRequired(server.tls)
    if (isTrusted) rejectOwnServer('greeting', greeting, options)
    const hello = await sendEhlo(dialogue)
    if (isTrusted) rejectOwnServer('ehlo', hello, options, greeting)
    return { ...dialogue, secured, greeting, hello }
  } catch (error) {
    await smtp.quit()
    throw error
  }
}

/** Throws if the listener is another user's and must not receive the credentials, whatever it says. */
function rejectListener({ server, ends }: Dialogue): void {
  try {
    checkListener(server, ends)
  } catch (error) {
    throw error instanceof StepError ? sessionErrorOf('auth', error) : error
  }
}

export async function sendEhlo({ smtp, helo, options }: Dialogue): Promise<Reply> {
  return runStep('ehlo', options, () => smtp.command(`EHLO ${helo}`))
}

/** Greeting and EHLO reply begin with the server's name. */
function nameIn({ lines: [line = ''] }: Reply): string {
  return line.replace(/ .*/, '').replace(/\.$/, '').toLowerCase()
}

/**
 * Throws if the server is this host, which NAT can lead back to. Some servers repeat the client's name in the reply to EHLO: the name
 * says nothing there if the greeting has that of another host.
 */
export function rejectOwnServer(
  stage: Stage,
  reply: Reply,
  { self, helo }: Pick<SessionOptions, 'self' | 'helo'>,
  greeting?: Reply,
): void {
  const name = nameIn(reply)
  if (!self.includes(name)) return
  const greeted = greeting === undefined ? name : nameIn(greeting)
  if (name === helo?.toLowerCase() && isQualifiedDomain(greeted) && !self.includes(greeted)) return
  const source = stage === 'greeting' ? 'greeting' : 'EHLO reply'
  throw sessionErrorOf(stage, selfError(`its ${source} names ${name}`))
}
