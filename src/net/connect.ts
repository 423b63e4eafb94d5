import { setMaxListeners } from 'node:events'
import { createConnection, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf, EXIT, messageOf, StepError } from '../errors.js'
import { familyOf } from './address.js'
import { startDeadline, type Limits, formatSeconds } from './deadline.js'
import type { Addresses } from './dns.js'

export type Connected = { readonly socket: Socket; readonly address: string }

export type ConnectOptions = Limits & {
  /** The local end: an address, or an interface that has one; undefined: the system's choice */
  readonly local: string | undefined
  readonly onAttempt: (address: string) => void
}

/** How long one attempt runs alone before the next address is tried beside it (RFC 8305, section 5). */
const ATTEMPT_DELAY_MS = 250

/**
 * Connects to the first address that accepts (RFC 8305). No attempt is dropped before the deadline, as Node's own race does
 * after 250 ms: a satellite link needs 600. Throws StepError (75).
 */
export async function connect(
  { first: addresses, late: more }: Omit<Addresses, 'cancel'>,
  port: number,
  o: ConnectOptions,
): Promise<Connected> {
  const race = new AbortController()
  // One listener an address, however many there are.
  setMaxListeners(0, race.signal)
  const sockets: Socket[] = []
  const failures: { readonly address: string; readonly error: unknown }[] = []
  let over: StepError | undefined
  const callOff = startDeadline(o, `no connection within ${formatSeconds(o.timeoutMs)}`, (reason) => {
    over = reason
    race.abort()
  })

  const dial = async (address: string): Promise<Connected> => {
    o.onAttempt(address)
    try {
      const socket = createConnection({ host: address, port, noDelay: true, ...localEndFor(o.local, address) })
      sockets.push(socket)
      await waitForConnect(socket, race.signal)
      return { socket, address }
    } catch (error) {
      if (!race.signal.aborted) failures.push({ address, error })
      throw error
    }
  }
  /** The first of these, and beside it the others: after the delay, or at once where it fails. */
  const attempt = async (list: readonly string[], late: Promise<readonly string[]>): Promise<Connected> => {
    const [address, ...others] = list
    race.signal.throwIfAborted()
    if (address === undefined) {
      const left = await late
      return left.length > 0 ? attempt(left, Promise.resolve([])) : Promise.reject(new Error('no address is left'))
    }
    const first = dial(address)
    const failed = new Promise<void>((resolve) => void first.catch(resolve))
    const pause = Promise.race([failed, sleep(ATTEMPT_DELAY_MS, undefined, { signal: race.signal })])
    return Promise.any([first, pause.then(() => attempt(others, late))])
  }

  let winner: Connected | undefined
  try {
    winner = await attempt(addresses, more)
    return winner
  } catch {
    const tried = failures
      .slice(0, FAILURES_SHOWN)
      .map(({ address, error }) => `${address} port ${port}: ${describeConnectError(error)}`)
    const message = [over?.message ?? [], tried].flat().join('; ')
    throw new StepError(message, {
      exitStatus: over?.exitStatus ?? EXIT.TEMPFAIL,
      kind: over?.kind,
      cause: failures[0]?.error ?? over?.cause,
    })
  } finally {
    callOff()
    race.abort()
    for (const socket of sockets) if (socket !== winner?.socket) socket.destroy()
  }
}

/** Failed addresses that one message names */
const FAILURES_SHOWN = 4

async function waitForConnect(socket: Socket, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('connect', resolve)
    // This one stays: a socket without a listener would end the process.
    socket.on('error', reject)
    signal.addEventListener('abort', () => reject(new Error('the race is over')), { once: true })
  })
}

function localEndFor(local: string | undefined, remote: string): { localAddress?: string } {
  if (local === undefined) return {}
  const family = familyOf(remote)
  if (familyOf(local) !== 0) {
    if (familyOf(local) !== family) throw new Error(`no IPv${family} address to connect from`)
    return { localAddress: local }
  }
  const ends = networkInterfaces()[local]
  if (ends === undefined) throw new Error(`there is no interface ${local} with an address, or not yet`)
  const isLinkLocal = (address: string): boolean => /^fe[89ab]/i.test(address)
  const end = ends.find(({ address }) => familyOf(address) === family && isLinkLocal(address) === isLinkLocal(remote))
  if (end === undefined) throw new Error(`the interface ${local} has no IPv${family} address`)
  return { localAddress: end.address }
}

const CONNECT_ERRORS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  ETIMEDOUT: 'timed out',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'network unreachable',
  EADDRNOTAVAIL: 'the address to connect from is not there, or not yet',
}

function describeConnectError(error: unknown): string {
  return CONNECT_ERRORS[codeOf(error)] ?? messageOf(error)
}
