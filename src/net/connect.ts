import { once, setMaxListeners } from 'node:events'
import { createConnection, type Socket } from 'node:net'
import { codeOf, EXIT, messageOf, StepError } from '../errors.js'
import { canonicalAddress, familyOf, isLinkLocal, unmapAddress } from './address.js'
import { abortReason, isShortTimeout, type Limits, startDeadline, type Timeout } from './deadline.js'
import { type InterfaceAddress, interfaceAddresses } from './interfaces.js'
import { race } from './race.js'

/** The addresses to try, best first; the late ones follow when they are known. */
export type Candidates = { readonly first: readonly string[]; readonly late: Promise<readonly string[]> }

export type Connected = {
  readonly socket: Socket
  readonly address: string
  /** The addresses before this one that refused a connection, or could not be reached, and their failure (75) */
  readonly failed: { readonly addresses: readonly string[]; readonly error: StepError } | undefined
}

type ConnectOptions = Limits & {
  /** The local end: an address, or an interface that has one; undefined: the system's choice */
  readonly local: string | undefined
  readonly onAttempt: (address: string) => void
}

type FailedAttempt = { readonly address: string; readonly error: unknown }

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
  const pending = new Set<string>()
  const describe = (within: string): Timeout => ({
    message: withAddresses(`no connection ${within}`, [...pending], port),
    hint: timeoutHint(port, options.timeoutMs),
  })
  const cancel = startDeadline(options, describe, (reason) => end.abort(reason))
  const dial = async (address: string): Promise<Connected> => {
    options.onAttempt(address)
    pending.add(address)
    try {
      const socket = createSocket(options.local, address, port)
      sockets.add(socket)
      await once(socket, 'connect', { signal: end.signal })
      return { socket, address, failed: undefined }
    } catch (error) {
      pending.delete(address)
      if (!end.signal.aborted) failed.push({ address, error })
      throw error
    }
  }
  const raceAddresses = async (addresses: readonly string[], more: (() => Promise<Connected>)[]): Promise<Connected> =>
    race([...addresses.map((address) => async () => dial(address)), ...more], ATTEMPT_DELAY_MS, end.signal)
  try {
    const winner = await raceAddresses(first, [async () => raceAddresses(await late, [])])
    sockets.delete(winner.socket)
    return { ...winner, failed: countFailures(failed, port, options) }
  } catch {
    throw connectError(failed, port, options, end.signal.aborted ? abortReason(end.signal) : undefined)
  } finally {
    cancel()
    end.abort()
    for (const socket of sockets) socket.destroy()
  }
}

function createSocket(local: string | undefined, address: string, port: number): Socket {
  const socket = createConnection({ port, noDelay: true, ...endsFor(local, address) })
  // Stays on the socket: an error without a listener would end the process.
  socket.on('error', () => undefined)
  return socket
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
    if (familyOf(address) !== family) throw new LocalEndError(`can't connect from ${local} to an IPv${family} address`)
    if (!isLinkLocal(address)) return { name: '', address }
    const name = scopeOf(address) || readInterfaces().find((end) => end.address === canonicalAddress(address))?.name
    if (name === undefined) throw new LocalEndError(`no interface has the address ${address}`)
    return { name, address }
  }
  const ends = readInterfaces().filter(({ name }) => name === local)
  if (ends.length === 0) throw new LocalEndError(`the interface ${local} does not exist or has no address`)
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
    throw new LocalEndError(`this host's interfaces can't be read (${messageOf(error)})`, { cause: error })
  }
}

/** This host lacks the local end that --interface names. */
class LocalEndError extends Error {}

const CONNECT_ERRORS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  ETIMEDOUT: 'connection timed out',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'network unreachable',
  EINVAL: 'address not usable',
  EADDRNOTAVAIL: 'no local address to connect from',
  EAFNOSUPPORT: 'address family not supported by this host',
  EHOSTDOWN: 'host down',
  ENETDOWN: 'network down',
  EACCES: 'connection forbidden by this host',
  EPERM: 'connection forbidden by this host',
}

const FAILURES_SHOWN = 4

function connectError(
  failed: readonly FailedAttempt[],
  port: number,
  { local, timeoutMs }: Pick<ConnectOptions, 'local' | 'timeoutMs'>,
  over: StepError | undefined,
): StepError {
  const errors = failed.map(({ error }) => error)
  const [first] = errors
  return new StepError([over?.message ?? [], describeFailures(failed, port, local)].flat().join('; '), {
    exitStatus: over?.exitStatus ?? EXIT.TEMPFAIL,
    kind: over?.kind,
    hint: connectHint(failed, port) ?? over?.hint ?? unansweredHint(failed, port, timeoutMs),
    cause: first ?? over?.cause,
  })
}

/** Returns each problem once, with the addresses that have it: `connection refused (192.0.2.7 port 25)`. */
function describeFailures(failed: readonly FailedAttempt[], port: number, local: string | undefined): string[] {
  const addresses = new Map<string, string[]>()
  for (const { address, error } of failed.slice(0, FAILURES_SHOWN)) {
    const problem = describeError(error, local)
    addresses.set(problem, [...(addresses.get(problem) ?? []), ...(isLocalProblem(error) ? [] : [address])])
  }
  return [...addresses].map(([problem, list]) => withAddresses(problem, list, port))
}

function describeError(error: unknown, local: string | undefined): string {
  const code = codeOf(error)
  if (code === 'EADDRNOTAVAIL' && familyOf(local ?? '') !== 0) return `no interface has the address ${local}`
  return CONNECT_ERRORS[code] ?? messageOf(error)
}

function withAddresses(problem: string, addresses: readonly string[], port: number): string {
  return addresses.length === 0 ? problem : `${problem} (${addresses.join(', ')} port ${port})`
}

function isLocalProblem(error: unknown): boolean {
  return error instanceof LocalEndError || codeOf(error) === 'EADDRNOTAVAIL'
}

function countFailures(failed: readonly FailedAttempt[], port: number, options: ConnectOptions): Connected['failed'] {
  const counted = failed.filter(({ error }) => !isUnusable(error))
  if (counted.length === 0) return undefined
  return { addresses: counted.map(({ address }) => address), error: connectError(counted, port, options, undefined) }
}

/** Returns true if this host has no use for such an address, now or later: for one of IPv6 without a route, for example. */
function isUnusable(error: unknown): boolean {
  return isLocalProblem(error) || hasCode([error], 'ENETUNREACH', 'EAFNOSUPPORT', 'EINVAL', 'EACCES', 'EPERM')
}

function hasCode(errors: readonly unknown[], ...codes: readonly string[]): boolean {
  return errors.some((error) => codes.includes(codeOf(error)))
}

/** Returns the next step if the server or this host has refused a connection; else undefined. */
function connectHint(failed: readonly FailedAttempt[], port: number): string | undefined {
  const errors = failed.map(({ error }) => error)
  if (hasCode(errors, 'ECONNREFUSED'))
    return `no mail server listens on port ${port}, or a firewall rejects the connection: check the host and the port with your provider; --retry-for 10m waits for a server that is restarting`
  if (errors.some(isLocalProblem))
    return 'check the interface and its address (ip addr); --retry-for 10m waits for the interface'
  if (failed.some(({ address, error }) => isLinkLocal(address) && hasCode([error], 'EINVAL')))
    return 'a link-local address needs the interface name after it, for example fe80::1%eth0'
  return hasCode(errors, 'EACCES', 'EPERM', 'EINVAL') ? 'check the firewall and the routes of this host' : undefined
}

/** Returns the next step if nothing has answered; undefined for other failures. */
function unansweredHint(failed: readonly FailedAttempt[], port: number, timeoutMs: number): string | undefined {
  const errors = failed.map(({ error }) => error)
  if (hasCode(errors, 'ETIMEDOUT')) return timeoutHint(port, timeoutMs)
  const isUnreachable = hasCode(errors, 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN')
  if (!isUnreachable) return undefined
  const isIpv6 = failed.every(({ address }) => familyOf(address) === 6)
  return `check that the link (or VPN) that leads to the server is up${isIpv6 ? ' and has IPv6' : ''}; --retry-for 10m waits for the link`
}

function timeoutHint(port: number, timeoutMs: number): string {
  const next =
    port === 25 ? 'port 25 is often blocked: ask your provider for another port' : 'check the host and the port'
  const firewall = `a firewall may be dropping the connection; ${next}`
  return isShortTimeout(timeoutMs) ? `try --timeout 60s; ${firewall}` : firewall
}
