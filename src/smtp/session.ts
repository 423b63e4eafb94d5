import { EXIT, StepError } from '../errors.js'
import type { NodeName } from '../input/node-name.js'
import type { ServerAddress } from '../input/server-address.js'
import { addressLiteral, type Family, isLoopback } from '../net/address.js'
import { connect } from '../net/connect.js'
import type { Limits } from '../net/deadline.js'
import { lookUpAddresses } from '../net/dns.js'
import type { SendAuthLine } from './auth.js'
import { Connection } from './connection.js'
import { type Credentials, untrustedServerError } from './credentials-policy.js'
import { exitStatusOfReply, SessionError, sessionErrorOf, type Stage } from './errors.js'
import { type Extensions, parseExtensions, offeredMechanisms } from './extensions.js'
import { formatReply, type Reply } from './reply.js'
import type { TlsPolicy } from './tls-policy.js'
import type { SecureConnection, TlsInfo } from './tls.js'
import type { RawTraceEvent } from './trace.js'

/** A server to ask. */
export type Server = ServerAddress & {
  readonly tls: TlsPolicy
  readonly credentials: Credentials | undefined
}

export type SessionOptions = Limits & {
  /** The EHLO argument; undefined: the address literal of the local end (RFC 5321, 4.1.3) */
  readonly helo: string | undefined
  readonly family: Family
  /** The local end: an address or an interface */
  readonly local: string | undefined
  /** Names of this site, in small letters: a server that bears one of them is ourselves, and is asked nothing. */
  readonly self: readonly string[]
  /** ETRN is sent even where EHLO doesn't list it. */
  readonly assumeEtrn: boolean
  readonly trace: (event: RawTraceEvent) => void
}

/** A session in which ETRN can be sent. */
export type Session = {
  /** As it could be reached: without TLS where a handshake failed that wasn't demanded */
  readonly server: Server
  /**
   * Sends the name that is next when its turn has come, and reads the whole reply (RFC 1985, section 5); undefined: there was none.
   * Throws SessionError.
   */
  readonly etrn: (next: () => NodeName | undefined) => Promise<Reply | undefined>
  /** Never throws. */
  readonly quit: () => Promise<void>
}

/**
 * Everything up to the first ETRN. Where TLS isn't demanded and its handshake fails, one new connection goes without it. Throws
 * SessionError, after QUIT where the connection stands.
 */
export async function openSession(server: Server, o: SessionOptions): Promise<Session> {
  try {
    return await startSession(server, o)
  } catch (error) {
    if (!isHandshakeFailure(error) || !mayContinueUnencrypted(server) || o.signal.aborted) throw error
    o.trace({ type: 'warning', text: `TLS: ${error.message}; going on in clear (--tls encrypt forbids it)` })
    return startSession({ ...server, tls: { ...server.tls, level: 'none' } }, o)
  }
}

/** Whether it was the handshake that failed, and not because somebody spoke in clear where it had to begin. */
function isHandshakeFailure(error: unknown): error is SessionError {
  return error instanceof SessionError && error.stage === 'tls' && error.kind !== 'unencrypted-data'
}

function mayContinueUnencrypted({ tls, isImplicitTls, credentials }: Server): boolean {
  return tls.level === 'may' && !isImplicitTls && credentials === undefined
}

/** From the address to the newest list of extensions (RFC 5321, 3207, 4954). */
async function startSession(server: Server, o: SessionOptions): Promise<Session> {
  const { smtp, address, hello, secured: implicit } = await reachServer(server, o)
  try {
    let extensions = readExtensions(hello, o)
    let secured = implicit
    if (secured === undefined && server.tls.level !== 'none') {
      secured = await startTls(smtp, server, extensions, o)
      // What was listed in clear is forgotten (RFC 3207, 4.2).
      if (secured !== undefined) extensions = readExtensions(await sendEhlo(smtp, o), o)
    }
    if (server.credentials !== undefined) {
      await logIn(smtp, server, server.credentials, { address, secured, extensions }, o)
      if (!extensions.has('ETRN')) extensions = readExtensions(await sendEhlo(smtp, o), o)
    }
    if (!extensions.has('ETRN') && !o.assumeEtrn) throw notOfferedError(extensions)
    return {
      server,
      etrn: async (next) =>
        runStep('etrn', o, async () =>
          smtp.commandIfAny(() => {
            const name = next()
            return name === undefined ? undefined : `ETRN ${name}`
          }),
        ),
      quit: async () => smtp.quit(),
    }
  } catch (error) {
    await smtp.quit()
    throw error
  }
}

type Greeted = { smtp: Connection; address: string; secured: SecureConnection | undefined; hello: Reply }

/**
 * A connection, and the reply to EHLO. Where a session fails temporarily before that reply is there, the next address is tried
 * (RFC 5321, 5.1); where none is left, its failure is the one told.
 */
async function reachServer(server: Server, o: SessionOptions): Promise<Greeted> {
  const addresses = await runStep('dns', o, async () => lookUpAddresses(server.host, o.family, o))
  o.trace({ type: 'resolved', addresses: addresses.first })
  const tried = new Set<string>()
  const left = (list: readonly string[]): string[] => list.filter((address) => !tried.has(address))
  let failure: unknown
  try {
    for (;;) {
      const candidates = { first: left(addresses.first), late: addresses.late.then(left) }
      const { socket, address } = await runStep('connect', o, async () => {
        const onAttempt = (candidate: string): void => o.trace({ type: 'connecting', address: candidate })
        return connect(candidates, server.port, { ...o, onAttempt })
      }).catch((error: unknown) => {
        throw o.signal.aborted ? error : (failure ?? error)
      })
      tried.add(address)
      o.trace({ type: 'connected', address, localAddress: socket.localAddress ?? '' })
      try {
        return await greetServer(new Connection(socket, o), address, server, o)
      } catch (error) {
        const mayPass = error instanceof SessionError && error.exitStatus === EXIT.TEMPFAIL && !o.signal.aborted
        if (!mayPass) throw error
        failure = error
      }
    }
  } finally {
    addresses.cancel()
  }
}

/** The beginning of a session, up to the reply to EHLO. */
async function greetServer(smtp: Connection, address: string, server: Server, o: SessionOptions): Promise<Greeted> {
  try {
    const secured = server.isImplicitTls ? await runHandshake(smtp, server, await import('./tls.js'), o) : undefined
    const greeting = await runStep('greeting', o, async () => {
      const reply = await smtp.readReply()
      o.trace({ type: 'greeting', text: reply.text })
      return expectCode('greeting', 220, reply)
    })
    rejectOwnServer('greeting', greeting, o)
    const hello = await sendEhlo(smtp, o)
    rejectOwnServer('ehlo', hello, o)
    return { smtp, address, secured, hello }
  } catch (error) {
    await smtp.quit()
    throw error
  }
}

async function sendEhlo(smtp: Connection, o: SessionOptions): Promise<Reply> {
  return runStep('ehlo', o, () => smtp.command(`EHLO ${o.helo ?? addressLiteral(smtp.localAddress)}`))
}

/** STARTTLS as the policy has it (RFC 3207); undefined: the session goes on in clear. */
async function startTls(
  smtp: Connection,
  server: Server,
  listed: Extensions,
  o: SessionOptions,
): Promise<SecureConnection | undefined> {
  const isDemanded = server.tls.level !== 'may'
  if (!listed.has('STARTTLS')) {
    if (!isDemanded) return undefined
    throw new SessionError('starttls', "the server doesn't offer TLS, and it is demanded", {
      exitStatus: EXIT.PROTOCOL,
    })
  }
  // Loaded and made ready before the command: nothing may come between its reply and the handshake.
  const tls = await import('./tls.js')
  tls.prepareTls(server.tls)
  const reply = await runStep('starttls', o, () => smtp.command('STARTTLS'))
  if (reply.code === 220) return runHandshake(smtp, server, tls, o)
  const isRefused = reply.code >= 400 && reply.code !== 421
  if (isDemanded || !isRefused) expectCode('starttls', 220, reply)
  o.trace({ type: 'warning', text: `STARTTLS: ${formatReply(reply)}; going on in clear (--tls encrypt forbids it)` })
  return undefined
}

async function runHandshake(
  smtp: Connection,
  { host, isImplicitTls, tls: policy }: Server,
  { handshake }: typeof import('./tls.js'),
  o: SessionOptions,
): Promise<SecureConnection> {
  return runStep(isImplicitTls ? 'tls' : 'starttls', o, async () => {
    const onTls = (tls: TlsInfo): void => o.trace({ type: 'tls', tls })
    return smtp.startTls(async (socket) => runStep('tls', o, () => handshake(socket, host, policy, { ...o, onTls })))
  })
}

type SessionState = {
  readonly address: string
  readonly secured: SecureConnection | undefined
  readonly extensions: Extensions
}

/** AUTH, where the credentials can't be read on the way (RFC 4954). */
async function logIn(
  smtp: Connection,
  server: Server,
  credentials: Credentials,
  known: SessionState,
  o: SessionOptions,
): Promise<void> {
  const { address, secured, extensions } = known
  return runStep('auth', o, async () => {
    if (secured?.tls.verified !== true && !isLoopback(address)) throw untrustedServerError(secured !== undefined)
    const { authenticate, secretsOfAuthLine: secretsIn } = await import('./auth.js')
    const say: SendAuthLine = async (line, shown) => {
      // What stands for the password: a server may say that back, too.
      if (shown !== line) for (const text of secretsIn(line)) o.trace({ type: 'secret', text })
      return smtp.command(line, shown)
    }
    return authenticate(say, credentials, {
      host: server.host,
      port: server.port,
      exporter: secured?.exporter,
      hasCertificate: secured !== undefined && server.tls.cert !== undefined,
      offered: offeredMechanisms(extensions),
    })
  })
}

/** Tells the stage and its time to the trace, and puts it on what the work throws. */
async function runStep<T>(stage: Stage, o: SessionOptions, work: () => Promise<T>): Promise<T> {
  o.trace({ type: 'step', stage })
  const began = performance.now()
  try {
    const done = await work()
    o.trace({ type: 'done', stage, elapsedMs: Math.round(performance.now() - began) })
    return done
  } catch (error) {
    if (error instanceof StepError && !(error instanceof SessionError)) throw sessionErrorOf(stage, error)
    throw error
  }
}

function expectCode(stage: Stage, code: number, reply: Reply): Reply {
  if (reply.code === code) return reply
  throw new SessionError(stage, formatReply(reply), { exitStatus: exitStatusOfReply(stage, reply), reply })
}

/** Refuses this site's own server, to which a NAT may have led back; both replies begin with the server's name. */
function rejectOwnServer(stage: Stage, { lines: [line = ''] }: Reply, { self }: SessionOptions): void {
  const name = line.replace(/ .*/, '').replace(/\.$/, '').toLowerCase()
  if (!self.includes(name)) return
  throw new SessionError(stage, `this is ${name}, this site itself`, { exitStatus: EXIT.NOHOST, kind: 'self' })
}

function readExtensions(hello: Reply, o: SessionOptions): Extensions {
  const extensions = parseExtensions(expectCode('ehlo', 250, hello))
  o.trace({ type: 'extensions', extensions })
  return extensions
}

function notOfferedError(extensions: Extensions): SessionError {
  const listed = extensions.size === 0 ? 'nothing' : [...extensions.keys()].join(', ')
  return new SessionError('etrn', `the server doesn't offer it; EHLO lists ${listed}`, { exitStatus: EXIT.UNAVAILABLE })
}
