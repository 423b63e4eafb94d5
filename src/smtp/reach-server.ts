import { EXIT, StepError } from '../errors.js'
import { addressLiteral } from '../net/address.js'
import { connect, type Connected } from '../net/connect.js'
import { type Addresses, lookUpAddresses } from '../net/dns.js'
import { Connection } from './connection.js'
import { exitStatusOfReply, SessionError, sessionErrorOf, type Stage } from './errors.js'
import { formatReply, type Reply } from './reply.js'
import type { Server, SessionOptions } from './server.js'
import type { SecureConnection, TlsInfo } from './tls.js'

/** A connection that has replied to EHLO. */
type Greeted = {
  readonly smtp: Connection
  readonly address: string
  readonly secured: SecureConnection | undefined
  readonly greeting: Reply
  readonly hello: Reply
}

/**
 * Connects and reads the reply to EHLO. If a session fails temporarily before that reply, the next address is tried (RFC 5321, 5.1). If
 * none is left, the last such failure is the one that is reported.
 */
export async function reachServer(server: Server, options: SessionOptions): Promise<Greeted> {
  const addresses = await runStep('dns', options, async () => lookUpAddresses(server.host, options.family, options))
  options.trace({ type: 'resolved', addresses: addresses.first })
  const tried = new Set<string>()
  let failure: unknown
  try {
    for (;;) {
      const { socket, address } = await connectToNext(server, addresses, tried, options).catch((error: unknown) => {
        throw options.signal.aborted ? error : (failure ?? error)
      })
      tried.add(address)
      options.trace({ type: 'connected', address, localAddress: socket.localAddress ?? '' })
      try {
        return await greetServer(new Connection(socket, options), address, server, options)
      } catch (error) {
        const isTemporary = error instanceof SessionError && error.exitStatus === EXIT.TEMPFAIL
        if (!isTemporary || options.signal.aborted) throw error
        failure = error
      }
    }
  } finally {
    addresses.cancel()
  }
}

async function connectToNext(
  { port }: Server,
  { first, late }: Addresses,
  tried: ReadonlySet<string>,
  options: SessionOptions,
): Promise<Connected> {
  const untried = (list: readonly string[]): string[] => list.filter((address) => !tried.has(address))
  const onAttempt = (address: string): void => options.trace({ type: 'connecting', address })
  return runStep('connect', options, async () =>
    connect({ first: untried(first), late: late.then(untried) }, port, { ...options, onAttempt }),
  )
}

/** Reads the greeting and sends EHLO. */
async function greetServer(
  smtp: Connection,
  address: string,
  server: Server,
  options: SessionOptions,
): Promise<Greeted> {
  try {
    const secured = server.isImplicitTls
      ? await runHandshake(smtp, server, await import('./tls.js'), options)
      : undefined
    const greeting = await runStep('greeting', options, async () => {
      const reply = await smtp.readReply()
      options.trace({ type: 'greeting', text: reply.text })
      return expectCode('greeting', 220, reply)
    })
    rejectOwnServer('greeting', greeting, options)
    const hello = await sendEhlo(smtp, options)
    rejectOwnServer('ehlo', hello, options)
    return { smtp, address, secured, greeting, hello }
  } catch (error) {
    await smtp.quit()
    throw error
  }
}

export async function sendEhlo(smtp: Connection, options: SessionOptions): Promise<Reply> {
  const name = options.helo ?? addressLiteral(smtp.localAddress)
  return runStep('ehlo', options, async () => smtp.command(`EHLO ${name}`))
}

export async function runHandshake(
  smtp: Connection,
  { host, isImplicitTls, tls: policy }: Server,
  { handshake }: typeof import('./tls.js'),
  options: SessionOptions,
): Promise<SecureConnection> {
  const onTls = (tls: TlsInfo): void => options.trace({ type: 'tls', tls })
  return runStep(isImplicitTls ? 'tls' : 'starttls', options, async () =>
    smtp.startTls(async (socket) =>
      runStep('tls', options, async () => handshake(socket, host, policy, { ...options, onTls })),
    ),
  )
}

/** Reports a step and its time to the trace, and adds the stage to its failure. */
export async function runStep<T>(stage: Stage, { trace }: SessionOptions, work: () => Promise<T>): Promise<T> {
  trace({ type: 'step', stage })
  const startedAt = performance.now()
  try {
    const result = await work()
    trace({ type: 'done', stage, elapsedMs: Math.round(performance.now() - startedAt) })
    return result
  } catch (error) {
    if (error instanceof StepError && !(error instanceof SessionError)) throw sessionErrorOf(stage, error)
    throw error
  }
}

export function expectCode(stage: Stage, code: number, reply: Reply): Reply {
  if (reply.code === code) return reply
  throw new SessionError(stage, formatReply(reply), { exitStatus: exitStatusOfReply(stage, reply), reply })
}

/** Throws if the server is this host, which NAT can lead back to. Greeting and EHLO reply begin with the server's name. */
function rejectOwnServer(stage: Stage, { lines: [line = ''] }: Reply, { self }: SessionOptions): void {
  const name = line.replace(/ .*/, '').replace(/\.$/, '').toLowerCase()
  if (!self.includes(name)) return
  throw new SessionError(stage, `this is ${name}, this site itself`, { exitStatus: EXIT.NOHOST, kind: 'self' })
}
