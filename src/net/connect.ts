import { once, setMaxListeners } from 'node:events'
import { createConnection, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf, EXIT, messageOf, StepError } from '../errors.js'
import { familyOf } from './address.js'
import { abortReason, type Limits, startDeadline } from './deadline.js'
import type { Addresses } from './dns.js'

/** The addresses to try, best first; the late ones follow when they are known. */
type Candidates = Omit<Addresses, 'cancel'>

type Connected = { readonly socket: Socket; readonly address: string }

type ConnectOptions = Limits & {
  /** The local end: an address, or an interface that has one; undefined: the system's choice */
  readonly local: string | undefined
  readonly onAttempt: (address: string) => void
}

type FailedAttempt = { readonly text: string; readonly error: unknown }

/** The time that an attempt runs alone before the next address is tried beside it (RFC 8305, section 5). */
const ATTEMPT_DELAY_MS = 250

/**
 * Connects to the first address that accepts (RFC 8305). Each attempt runs until the deadline: a satellite link takes 600 ms, and
 * Node's own race ends attempts after 250. Throws StepError (75).
 */
export async function connect(addresses: Candidates, port: number, options: ConnectOptions): Promise<Connected> {
  const race = new AbortController()
  // There is one listener for each address.
  setMaxListeners(0, race.signal)
  const sockets = new Set<Socket>()
  const failed: FailedAttempt[] = []
  const cancel = startDeadline(options, 'no connection', (reason) => race.abort(reason))
  const dial = async (address: string): Promise<Connected> => {
    options.onAttempt(address)
    try {
      const socket = createConnection({ host: address, port, noDelay: true, ...localEndFor(options.local, address) })
      sockets.add(socket)
      // Stays on the socket: an error without a listener would end the process.
      socket.on('error', () => undefined)
      await once(socket, 'connect', { signal: race.signal })
      return { socket, address }
    } catch (error) {
      const text = `${address} port ${port}: ${CONNECT_ERRORS[codeOf(error)] ?? messageOf(error)}`
      if (!race.signal.aborted) failed.push({ text, error })
      throw error
    }
  }
  try {
    const winner = await raceAddresses(addresses, dial, race.signal)
    sockets.delete(winner.socket)
    return winner
  } catch {
    throw connectError(failed, race.signal.aborted ? abortReason(race.signal) : undefined)
  } finally {
    cancel()
    race.abort()
    for (const socket of sockets) socket.destroy()
  }
}

/** Dials the first address, and the others beside it: after the delay, or at once if the first one fails. */
async function raceAddresses(
  { first: [address, ...others], late }: Candidates,
  dial: (address: string) => Promise<Connected>,
  signal: AbortSignal,
): Promise<Connected> {
  signal.throwIfAborted()
  if (address === undefined) {
    const more = await late
    if (more.length === 0) throw new Error('no address is left')
    return raceAddresses({ first: more, late: Promise.resolve([]) }, dial, signal)
  }
  const first = dial(address)
  const failure = new Promise<void>((resolve) => void first.catch(resolve))
  const pause = Promise.race([failure, sleep(ATTEMPT_DELAY_MS, undefined, { signal })])
  return Promise.any([first, pause.then(async () => raceAddresses({ first: others, late }, dial, signal))])
}

function localEndFor(local: string | undefined, remote: string): { localAddress?: string } {
  if (local === undefined) return {}
  const family = familyOf(remote)
  if (familyOf(local) !== 0) {
    if (familyOf(local) !== family) throw new LocalEndError(`no IPv${family} address to connect from`)
    return { localAddress: local }
  }
  const ends = networkInterfaces()[local]
  if (ends === undefined) throw new LocalEndError(`there is no interface ${local} with an address, or not yet`)
  const isLinkLocal = (address: string): boolean => /^fe[89ab]/i.test(address)
  const end = ends.find(({ address }) => familyOf(address) === family && isLinkLocal(address) === isLinkLocal(remote))
  if (end === undefined) throw new LocalEndError(`the interface ${local} has no IPv${family} address`)
  return { localAddress: end.address }
}

/** This host lacks the local end that --interface names. */
class LocalEndError extends Error {}

const CONNECT_ERRORS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  ETIMEDOUT: 'timed out',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'network unreachable',
  EADDRNOTAVAIL: 'the address to connect from is not there, or not yet',
}

const FAILURES_SHOWN = 4

function connectError(failed: readonly FailedAttempt[], over: StepError | undefined): StepError {
  const shown = failed.slice(0, FAILURES_SHOWN)
  return new StepError([over?.message ?? [], shown.map(({ text }) => text)].flat().join('; '), {
    exitStatus: over?.exitStatus ?? EXIT.TEMPFAIL,
    kind: over?.kind,
    hint: connectHint(shown.map(({ error }) => error)),
    cause: failed[0]?.error ?? over?.cause,
  })
}

function connectHint(errors: readonly unknown[]): string {
  if (errors.some((error) => codeOf(error) === 'ECONNREFUSED'))
    return 'no mail server listens there: is it another port (--port)?'
  if (errors.some((error) => error instanceof LocalEndError || codeOf(error) === 'EADDRNOTAVAIL'))
    return 'ip addr shows the interfaces and addresses that are there'
  return 'is the link up? Port 25 is often blocked on the way: ask the provider for another'
}
