import { EXIT } from '../errors.js'
import { addressLiteral } from '../net/address.js'
import { connect } from '../net/connect.js'
import { lookUpAddresses } from '../net/dns.js'
import { Connection } from './connection.js'
import { type Dialogue, expectCode, type GreetedDialogue, runStep } from './dialogue.js'
import { SessionError, type Stage } from './errors.js'
import type { Reply } from './reply.js'
import type { Server, SessionOptions } from './session-settings.js'
import { readFirstReply, runHandshake } from './starttls.js'

/**
 * Connects and reads the reply to EHLO. If a session fails temporarily before that reply, the next address is tried (RFC 5321, 5.1). If
 * none is left, the last such failure is the one that is reported.
 */
export async function reachServer(server: Server, options: SessionOptions): Promise<GreetedDialogue> {
  const { host, port } = server
  const { first, late, cancel } = await runStep('dns', options, () => lookUpAddresses(host, options.family, options))
  options.trace({ type: 'resolved', addresses: first })
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
      const { localAddress = '' } = socket
      options.trace({ type: 'connected', address, localAddress })
      const helo = options.helo ?? addressLiteral(localAddress)
      try {
        return await greetServer({ smtp: new Connection(socket, options), address, helo, server, options })
      } catch (error) {
        const isTemporary = error instanceof SessionError && error.exitStatus === EXIT.TEMPFAIL
        if (!isTemporary || options.signal.aborted) throw error
        failure = error
      }
    }
  } finally {
    cancel()
  }
}

async function greetServer(dialogue: Dialogue): Promise<GreetedDialogue> {
  const { smtp, server, options } = dialogue
  try {
    const secured = server.isImplicitTls ? await runHandshake(dialogue, await import('./tls.js')) : undefined
    const readGreeting = async (): Promise<Reply> =>
      runStep('greeting', options, async () => {
        const reply = await smtp.readReply()
        options.trace({ type: 'greeting', text: reply.text })
        return expectCode('greeting', 220, reply)
      })
    const greeting = await (secured === undefined ? readGreeting() : readFirstReply(readGreeting))
    rejectOwnServer('greeting', greeting, options)
    const hello = await sendEhlo(dialogue)
    rejectOwnServer('ehlo', hello, options)
    return { ...dialogue, secured, greeting, hello }
  } catch (error) {
    await smtp.quit()
    throw error
  }
}

export async function sendEhlo({ smtp, helo, options }: Dialogue): Promise<Reply> {
  return runStep('ehlo', options, () => smtp.command(`EHLO ${helo}`))
}

/** Throws if the server is this host, which NAT can lead back to. Greeting and EHLO reply begin with the server's name. */
function rejectOwnServer(stage: Stage, { lines: [line = ''] }: Reply, { self }: SessionOptions): void {
  const name = line.replace(/ .*/, '').replace(/\.$/, '').toLowerCase()
  if (!self.includes(name)) return
  throw new SessionError(stage, `this is ${name}, this site itself`, { exitStatus: EXIT.NOHOST, kind: 'self' })
}
