import { isIPv6 } from 'node:net'
import type { Limits } from '../deadline.js'
import { addressesOf, type Family } from '../dns.js'
import type { NodeName } from '../names.js'
import { EXIT, exitStatusOf, said, SessionError, type Stage, StepError } from '../outcome.js'
import { connect } from './connect.js'
import { Connection, type Line } from './connection.js'
import type { Reply } from './reply.js'

/** A server to ask. */
export type Server = {
  /** As the user wrote it */
  readonly word: string
  readonly host: string
  readonly port: number
}

/** Keywords in capitals and their parameters, as EHLO lists them (RFC 5321, 4.1.1.1). */
export type Extensions = ReadonlyMap<string, string>

/** What happens, when it happens. */
export type TraceEvent =
  | { readonly type: 'step'; readonly stage: Stage }
  | { readonly type: 'connecting'; readonly address: string }
  | { readonly type: 'connected'; readonly address: string }
  | { readonly type: 'greeting'; readonly text: string }
  | { readonly type: 'extensions'; readonly extensions: Extensions }
  | Line

export type SessionOptions = Limits & {
  /** The EHLO argument; undefined: the address literal of the local end (RFC 5321, 4.1.3) */
  readonly helo: string | undefined
  readonly family: Family
  /** The local end: an address or an interface */
  readonly local: string | undefined
  /** ETRN is sent even where EHLO doesn't list it. */
  readonly assumeEtrn: boolean
  readonly trace: (event: TraceEvent) => void
}

/** A session in which ETRN can be sent. */
export type Session = {
  /** Sends one name and reads the whole reply (RFC 1985, section 5). Throws SessionError. */
  readonly etrn: (name: NodeName) => Promise<Reply>
  /** Never throws. */
  readonly quit: () => Promise<void>
}

/** Everything up to the first ETRN. Throws SessionError, after QUIT where the connection stands. */
export async function open(server: Server, o: SessionOptions): Promise<Session> {
  const { smtp, hello } = await reach(server, o)
  try {
    const extensions = extensionsOf(expected('ehlo', 250, hello))
    o.trace({ type: 'extensions', extensions })
    if (!extensions.has('ETRN') && !o.assumeEtrn) throw notOffered(extensions)
    return {
      etrn: async (name) => step('etrn', o, () => smtp.command(`ETRN ${name}`)),
      quit: async () => smtp.quit(),
    }
  } catch (error) {
    await smtp.quit()
    throw error
  }
}

/**
 * A connection, and the reply to EHLO. Where a session fails temporarily before that reply is there, the next address is tried
 * (RFC 5321, 5.1); the first failure is the one told.
 */
async function reach(server: Server, o: SessionOptions): Promise<{ smtp: Connection; hello: Reply }> {
  let addresses = await step('dns', o, async () => addressesOf(server.host, o.family, o))
  let failure: unknown
  for (;;) {
    const { socket, address } = await step('connect', o, async () => {
      const onAttempt = (tried: string): void => o.trace({ type: 'connecting', address: tried })
      return connect(addresses, server.port, { ...o, onAttempt })
    }).catch((error: unknown) => {
      throw failure ?? error
    })
    o.trace({ type: 'connected', address })
    const smtp = new Connection(socket, o)
    try {
      const greeting = expected('greeting', 220, await step('greeting', o, () => smtp.read()))
      o.trace({ type: 'greeting', text: greeting.text })
      const hello = await step('ehlo', o, () => smtp.command(`EHLO ${o.helo ?? addressLiteral(smtp.localAddress)}`))
      return { smtp, hello }
    } catch (error) {
      await smtp.quit()
      failure ??= error
      addresses = { ...addresses, first: addresses.first.filter((tried) => tried !== address) }
      const mayPass = error instanceof SessionError && error.exitStatus === EXIT.TEMPFAIL && !o.signal.aborted
      if (!mayPass || addresses.first.length === 0) throw failure
    }
  }
}

/** Tells the stage to the trace and puts it on what the work throws. */
async function step<T>(stage: Stage, o: SessionOptions, work: () => Promise<T>): Promise<T> {
  o.trace({ type: 'step', stage })
  try {
    return await work()
  } catch (error) {
    if (error instanceof StepError) throw new SessionError(stage, error.message, error)
    throw error
  }
}

function expected(stage: Stage, code: number, reply: Reply): Reply {
  if (reply.code === code) return reply
  throw new SessionError(stage, said(reply), { exitStatus: exitStatusOf(stage, reply), reply })
}

/** The first line is the server's name, whatever it looks like. */
function extensionsOf(hello: Reply): Extensions {
  return new Map(
    hello.lines.slice(1).map((line) => {
      const [, keyword = '', parameters = ''] = /^(\S*)\s*(.*)$/.exec(line) ?? []
      return [keyword.toUpperCase(), parameters]
    }),
  )
}

function notOffered(extensions: Extensions): SessionError {
  const listed = extensions.size === 0 ? 'nothing' : [...extensions.keys()].join(', ')
  return new SessionError('etrn', `the server doesn't offer it; EHLO lists ${listed}`, { exitStatus: EXIT.UNAVAILABLE })
}

function addressLiteral(address: string): string {
  return isIPv6(address) ? `[IPv6:${address.replace(/%.*/, '')}]` : `[${address}]`
}
