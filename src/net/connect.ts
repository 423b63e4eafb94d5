import { once, setMaxListeners } from 'node:events'
import { createConnection, type Socket } from 'node:net'
import { codeOf, EXIT, messageOf, StepError } from '../errors.js'
import { canonicalAddress, familyOf, isLinkLocal, unmapAddress } from './address.js'
import { abortReason, type Limits, startDeadline } from './deadline.js'
import { type InterfaceAddress, interfaceAddresses } from './interfaces.js'
import { race } from './race.js'

/** The addresses to try, best first; the late ones follow when they are known. */
type Candidates = { readonly first: readonly string[]; readonly late: Promise<readonly string[]> }

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
export async function connect({ first, late }: Candidates, port: number, options: ConnectOptions): Promise<Connected> {
  const end = new AbortController()
  // There is one listener for each address.
  setMaxListeners(0, end.signal)
  const sockets = new Set<Socket>()
  const failed: FailedAttempt[] = []
  const cancel = startDeadline(options, 'no connection', (reason) => end.abort(reason))
  const dial = async (address: string): Promise<Connected> => {
    options.onAttempt(address)
    try {
      const socket = createConnection({ port, noDelay: true, ...endsFor(options.local, address) })
      sockets.add(socket)
      // Stays on the socket: an error without a listener would end the process.
      socket.on('error', () => undefined)
      await once(socket, 'connect', { signal: end.signal })
      return { socket, address }
    } catch (error) {
      const text = `${address} port ${port}: ${CONNECT_ERRORS[codeOf(error)] ?? messageOf(error)}`
      if (!end.signal.aborted) failed.push({ text, error })
      throw error
    }
  }
  const raceAddresses = async (addresses: readonly string[], more: (() => Promise<Connected>)[]): Promise<Connected> =>
    race([...addresses.map((address) => async () => dial(address)), ...more], ATTEMPT_DELAY_MS, end.signal)
  try {
    const winner = await raceAddresses(first, [async () => raceAddresses(await late, [])])
    sockets.delete(winner.socket)
    return winner
  } catch {
    throw connectError(failed, end.signal.aborted ? abortReason(end.signal) : undefined)
  } finally {
    cancel()
    end.abort()
    for (const socket of sockets) socket.destroy()
  }
}

/** Returns the two ends of a connection. A link-local address gets its scope, without which the system can't use it. */
function endsFor(local: string | undefined, remote: string): { host: string; localAddress?: string } {
  if (local === undefined) return { host: remote }
  const { name, address } = localEndFor(local, remote)
  const scope = scopeOf(remote) || name
  const withScope = (end: string): string => (isLinkLocal(end) && scopeOf(end) === '' ? `${end}%${scope}` : end)
  return { host: withScope(remote), localAddress: withScope(address) }
}

/** Returns the address to connect from, and the name of its interface if it is needed. */
function localEndFor(local: string, remote: string): InterfaceAddress {
  const family = familyOf(remote)
  const address = unmapAddress(local)
  if (familyOf(address) !== 0) {
    if (familyOf(address) !== family) throw new LocalEndError(`no IPv${family} address to connect from`)
    if (!isLinkLocal(address)) return { name: '', address }
    const name = scopeOf(address) || readInterfaces().find((end) => end.address === canonicalAddress(address))?.name
    if (name === undefined) throw new LocalEndError(`no interface has the address ${address}, or not yet`)
    return { name, address }
  }
  const ends = readInterfaces().filter(({ name }) => name === local)
  if (ends.length === 0) throw new LocalEndError(`there is no interface ${local} with an address, or not yet`)
  const end = ends.find((one) => familyOf(one.address) === family && isLinkLocal(one.address) === isLinkLocal(remote))
  if (end === undefined) throw new LocalEndError(`the interface ${local} has no IPv${family} address`)
  return end
}

function scopeOf(address: string): string {
  return address.split('%')[1] ?? ''
}

function readInterfaces(): InterfaceAddress[] {
  try {
    return interfaceAddresses()
  } catch (error) {
    throw new LocalEndError(`the interfaces of this host can't be read: ${messageOf(error)}`, { cause: error })
  }
}

/** This host lacks the local end that --interface names. */
class LocalEndError extends Error {}

const CONNECT_ERRORS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  ETIMEDOUT: 'timed out',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'network unreachable',
  EINVAL: 'not an address to connect to, or a link-local one without its interface (fe80::1%eth0)',
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
