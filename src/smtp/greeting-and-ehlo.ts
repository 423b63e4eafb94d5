import type { Socket } from 'node:net'
import { StepError } from '../errors.js'
import { addressLiteral, familyOf } from '../net/address.js'
import { isQualifiedDomain } from '../net/domain.js'
import type { SocketEnds } from '../net/peer-user.js'
import { isSameHost, selfError } from '../net/this-host.js'
import { Connection } from './connection.js'
import { checkListener, type JudgedEnds, noteListeners } from './credentials-policy.js'
import { type Dialogue, expectCode, type GreetedDialogue, runStep } from './dialogue.js'
import { sessionErrorOf, type Stage } from './errors.js'
import { isTransient, type Reply } from './reply.js'
import type { Server, SessionOptions } from './session-settings.js'
import { isVerificationRequired } from './tls-policy.js'
import { readFirstReply, rejectCertificateReply, runHandshake } from './starttls.js'

/** Throws if a mail exchanger turns out to be this host: its address may be one of this host since it was looked up. */
export function startDialogue(server: Server, socket: Socket, address: string, options: SessionOptions): Dialogue {
  // Node can't tell the port of an end that has reset the connection.
  const { localAddress = '', localPort, remoteAddress = address, remotePort = server.port } = socket
  if (server.isExchanger && isSameHost(localAddress, remoteAddress)) {
    socket.destroy()
    throw sessionErrorOf('connect', selfError(address))
  }
  options.trace({ type: 'connected', address, localAddress })
  const helo = options.helo ?? addressLiteral(localAddress)
  const smtp = new Connection(socket, { ...options, silenceHint: silenceHint(server) })
  const ends = endsOf(server, socket, { localAddress, localPort, remoteAddress, remotePort })
  return { smtp, address, ends, helo, server, options }
}

/** Returns the ends with those who listen at the other one. Throws SessionError, with the socket closed, if this host can't tell. */
function endsOf(server: Server, socket: Socket, ends: SocketEnds): JudgedEnds {
  try {
    return noteListeners(server, ends)
  } catch (error) {
    socket.destroy()
    throw error instanceof StepError ? sessionErrorOf('connect', error) : error
  }
}

/** Returns the hint for a server that may wait for TLS; undefined if it has TLS, or at port 25, where no server expects TLS from the start. */
function silenceHint({ host, port, isImplicitTls }: Server): string | undefined {
  if (isImplicitTls || port === 25) return undefined
  const name = familyOf(host) === 6 ? `[${host}]` : host
  return port === 465
    ? `port 465 expects TLS from the start: use smtps://${name}`
    : `if the port expects TLS from the start, use smtps://${name}:${port}`
}

/** Reads the greeting and the reply to EHLO. Throws SessionError, after QUIT if the connection stands. */
export async function greetServer(dialogue: Dialogue): Promise<GreetedDialogue> {
  const { smtp, server, options } = dialogue
  try {
    const secured = server.isImplicitTls ? await runHandshake(dialogue, await import('./tls.js')) : undefined
    const greeting = await (secured === undefined
      ? readGreeting(dialogue)
      : readFirstReply(() => readGreeting(dialogue)))
    // If the certificate must be verified, only what comes within TLS counts.
    const isTrusted = secured !== undefined || !isVerificationRequired(server.tls)
    if (isTrusted) rejectOwnServer('greeting', greeting, options)
    const hello = await sendEhlo(dialogue)
    if (secured !== undefined) rejectCertificateReply(hello)
    if (isTrusted) rejectOwnServer('ehlo', hello, options, greeting)
    return { ...dialogue, secured, greeting, hello }
  } catch (error) {
    await smtp.quit()
    throw error
  }
}

async function readGreeting(dialogue: Dialogue): Promise<Reply> {
  const { smtp, options } = dialogue
  return runStep('greeting', options, async () => {
    const reply = await smtp.readReply().catch((error: unknown) => {
      if (error instanceof StepError && error.kind === 'malformed-reply') rejectListener(dialogue, false)
      throw error
    })
    options.trace({ type: 'greeting', text: reply.text })
    // Not before: until the other end has accepted the connection, the kernel calls it root's.
    rejectListener(dialogue, isTransient(reply))
    return expectCode('greeting', 220, reply)
  })
}

/** Throws if the listener is another user's and must not receive the credentials, whatever it says. */
function rejectListener({ server, ends }: Dialogue, mayBeUnknown: boolean): void {
  try {
    checkListener(server, ends, { mayBeUnknown })
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
 * says nothing in a rejection, or if the greeting has that of another host.
 */
export function rejectOwnServer(
  stage: Stage,
  reply: Reply,
  { self, helo }: Pick<SessionOptions, 'self' | 'helo'>,
  greeting?: Reply,
): void {
  const name = nameIn(reply)
  if (!self.includes(name)) return
  if (reply.code >= 400) return
  const greeted = greeting === undefined ? name : nameIn(greeting)
  if (name === helo?.toLowerCase() && isQualifiedDomain(greeted) && !self.includes(greeted)) return
  const source = stage === 'greeting' ? 'greeting' : 'EHLO reply'
  throw sessionErrorOf(stage, selfError(`its ${source} names ${name}`))
}
