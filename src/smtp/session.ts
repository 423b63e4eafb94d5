import { EXIT, StepError } from '../errors.js'
import type { NodeName } from '../input/node-name.js'
import type { ServerAddress } from '../input/server-address.js'
import { addressLiteral, type Family, isLoopback } from '../net/address.js'
import { connect } from '../net/connect.js'
import type { Limits } from '../net/deadline.js'
import { addressesOf } from '../net/dns.js'
import type { Say } from './auth.js'
import { Connection } from './connection.js'
import { type Credentials, unsafe } from './credentials-policy.js'
import { exitStatusOfReply, SessionError, sessionErrorOf, type Stage } from './errors.js'
import { type Extensions, extensionsIn, mechanismsIn } from './extensions.js'
import { formatReply, type Reply } from './reply.js'
import type { TlsPolicy } from './tls-policy.js'
import type { Secured, TlsInfo } from './tls.js'
import type { InnerEvent } from './trace.js'

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
  readonly trace: (event: InnerEvent) => void
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
export async function open(server: Server, o: SessionOptions): Promise<Session> {
  try {
    return await dialogue(server, o)
  } catch (error) {
    if (!isHandshake(error) || !mayGoInClear(server) || o.signal.aborted) throw error
    o.trace({ type: 'warning', text: `TLS: ${error.message}; going on in clear (--tls encrypt forbids it)` })
    return dialogue({ ...server, tls: { ...server.tls, level: 'none' } }, o)
  }
}

/** Whether it was the handshake that failed, and not because somebody spoke in clear where it had to begin. */
function isHandshake(error: unknown): error is SessionError {
  return error instanceof SessionError && error.stage === 'tls' && error.kind !== 'unencrypted-data'
}

function mayGoInClear({ tls, isImplicitTls, credentials }: Server): boolean {
  return tls.level === 'may' && !isImplicitTls && credentials === undefined
}

/** From the address to the newest list of extensions (RFC 5321, 3207, 4954). */
async function dialogue(server: Server, o: SessionOptions): Promise<Session> {
  const { smtp, address, hello, secured: implicit } = await reach(server, o)
  try {
    let extensions = extensionsOf(hello, o)
    let secured = implicit
    if (secured === undefined && server.tls.level !== 'none') {
      secured = await startTls(smtp, server, extensions, o)
      // What was listed in clear is forgotten (RFC 3207, 4.2).
      if (secured !== undefined) extensions = extensionsOf(await ehlo(smtp, o), o)
    }
    if (server.credentials !== undefined) {
      await logIn(smtp, server, server.credentials, { address, secured, extensions }, o)
      if (!extensions.has('ETRN')) extensions = extensionsOf(await ehlo(smtp, o), o)
    }
    if (!extensions.has('ETRN') && !o.assumeEtrn) throw notOffered(extensions)
    return {
      server,
      etrn: async (next) =>
        step('etrn', o, async () =>
          smtp.commandOf(() => {
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

type Reached = { smtp: Connection; address: string; secured: Secured | undefined; hello: Reply }

/**
 * A connection, and the reply to EHLO. Where a session fails temporarily before that reply is there, the next address is tried
 * (RFC 5321, 5.1); where none is left, its failure is the one told.
 */
async function reach(server: Server, o: SessionOptions): Promise<Reached> {
  const addresses = await step('dns', o, async () => addressesOf(server.host, o.family, o))
  o.trace({ type: 'resolved', addresses: addresses.first })
  const tried = new Set<string>()
  const left = (list: readonly string[]): string[] => list.filter((address) => !tried.has(address))
  let failure: unknown
  try {
    for (;;) {
      const candidates = { first: left(addresses.first), late: addresses.late.then(left) }
      const { socket, address } = await step('connect', o, async () => {
        const onAttempt = (candidate: string): void => o.trace({ type: 'connecting', address: candidate })
        return connect(candidates, server.port, { ...o, onAttempt })
      }).catch((error: unknown) => {
        throw o.signal.aborted ? error : (failure ?? error)
      })
      tried.add(address)
      o.trace({ type: 'connected', address, localAddress: socket.localAddress ?? '' })
      try {
        return await greeted(new Connection(socket, o), address, server, o)
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
async function greeted(smtp: Connection, address: string, server: Server, o: SessionOptions): Promise<Reached> {
  try {
    const secured = server.isImplicitTls ? await secure(smtp, server, await import('./tls.js'), o) : undefined
    const greeting = await step('greeting', o, async () => {
      const reply = await smtp.read()
      o.trace({ type: 'greeting', text: reply.text })
      return expected('greeting', 220, reply)
    })
    notOurselves('greeting', greeting, o)
    const hello = await ehlo(smtp, o)
    notOurselves('ehlo', hello, o)
    return { smtp, address, secured, hello }
  } catch (error) {
    await smtp.quit()
    throw error
  }
}

async function ehlo(smtp: Connection, o: SessionOptions): Promise<Reply> {
  return step('ehlo', o, () => smtp.command(`EHLO ${o.helo ?? addressLiteral(smtp.localAddress)}`))
}

/** STARTTLS as the policy has it (RFC 3207); undefined: the session goes on in clear. */
async function startTls(
  smtp: Connection,
  server: Server,
  listed: Extensions,
  o: SessionOptions,
): Promise<Secured | undefined> {
  const isDemanded = server.tls.level !== 'may'
  if (!listed.has('STARTTLS')) {
    if (!isDemanded) return undefined
    throw new SessionError('starttls', "the server doesn't offer TLS, and it is demanded", {
      exitStatus: EXIT.PROTOCOL,
    })
  }
  // Loaded and made ready before the command: nothing may come between its reply and the handshake.
  const tls = await import('./tls.js')
  tls.prepare(server.tls)
  const reply = await step('starttls', o, () => smtp.command('STARTTLS'))
  if (reply.code === 220) return secure(smtp, server, tls, o)
  const isRefused = reply.code >= 400 && reply.code !== 421
  if (isDemanded || !isRefused) expected('starttls', 220, reply)
  o.trace({ type: 'warning', text: `STARTTLS: ${formatReply(reply)}; going on in clear (--tls encrypt forbids it)` })
  return undefined
}

async function secure(
  smtp: Connection,
  { host, isImplicitTls, tls: policy }: Server,
  { handshake }: typeof import('./tls.js'),
  o: SessionOptions,
): Promise<Secured> {
  return step(isImplicitTls ? 'tls' : 'starttls', o, async () => {
    const onTls = (tls: TlsInfo): void => o.trace({ type: 'tls', tls })
    return smtp.startTls(async (socket) => step('tls', o, () => handshake(socket, host, policy, { ...o, onTls })))
  })
}

type Known = { readonly address: string; readonly secured: Secured | undefined; readonly extensions: Extensions }

/** AUTH, where the credentials can't be read on the way (RFC 4954). */
async function logIn(
  smtp: Connection,
  server: Server,
  credentials: Credentials,
  known: Known,
  o: SessionOptions,
): Promise<void> {
  const { address, secured, extensions } = known
  return step('auth', o, async () => {
    if (secured?.tls.verified !== true && !isLoopback(address)) throw unsafe(secured !== undefined)
    const { authenticate, secretsIn } = await import('./auth.js')
    const say: Say = async (line, shown) => {
      // What stands for the password: a server may say that back, too.
      if (shown !== line) for (const text of secretsIn(line)) o.trace({ type: 'secret', text })
      return smtp.command(line, shown)
    }
    return authenticate(say, credentials, {
      host: server.host,
      port: server.port,
      exporter: secured?.exporter,
      hasCertificate: secured !== undefined && server.tls.cert !== undefined,
      offered: mechanismsIn(extensions),
    })
  })
}

/** Tells the stage and its time to the trace, and puts it on what the work throws. */
async function step<T>(stage: Stage, o: SessionOptions, work: () => Promise<T>): Promise<T> {
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

function expected(stage: Stage, code: number, reply: Reply): Reply {
  if (reply.code === code) return reply
  throw new SessionError(stage, formatReply(reply), { exitStatus: exitStatusOfReply(stage, reply), reply })
}

/** Refuses this site's own server, to which a NAT may have led back; both replies begin with the server's name. */
function notOurselves(stage: Stage, { lines: [line = ''] }: Reply, { self }: SessionOptions): void {
  const name = line.replace(/ .*/, '').replace(/\.$/, '').toLowerCase()
  if (!self.includes(name)) return
  throw new SessionError(stage, `this is ${name}, this site itself`, { exitStatus: EXIT.NOHOST, kind: 'self' })
}

function extensionsOf(hello: Reply, o: SessionOptions): Extensions {
  const extensions = extensionsIn(expected('ehlo', 250, hello))
  o.trace({ type: 'extensions', extensions })
  return extensions
}

function notOffered(extensions: Extensions): SessionError {
  const listed = extensions.size === 0 ? 'nothing' : [...extensions.keys()].join(', ')
  return new SessionError('etrn', `the server doesn't offer it; EHLO lists ${listed}`, { exitStatus: EXIT.UNAVAILABLE })
}
