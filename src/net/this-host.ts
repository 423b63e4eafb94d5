import type { Socket } from 'node:dgram'
import { once } from 'node:events'
import { hostname } from 'node:os'
import { codeOf, EXIT, StepError } from '../errors.js'
import {
  canonicalAddress,
  embeddedAddress,
  familyOf,
  isLinkLocal,
  isLoopback,
  isUnspecified,
  unmapAddress,
} from './address.js'
import { isQualifiedDomain } from './domain.js'
import { hostsEntries } from './hosts-file.js'
import { interfaceAddresses } from './interfaces.js'
import { hasLocalRoute } from './local-route.js'
import { resourcesError } from './resources-error.js'

/**
 * Returns this host's own name as other hosts may know it: the host name if it has a dot, else the first such name that /etc/hosts
 * gives for it; undefined if there is none. DNS is not asked: the PTR of a dynamic address names the provider.
 */
export function ownHostName(): string | undefined {
  const name = hostname().toLowerCase()
  const names = name.includes('.') ? [name] : hostsEntries(name).flatMap((entry) => entry.names)
  return names.find(isPublicName)
}

/** Returns false for names that only their own network knows (RFC 6762 and 8375; `.lan` and `.localdomain` by habit). */
function isPublicName(name: string): boolean {
  return isQualifiedDomain(name) && !/\.(?:local|lan|localdomain|home\.arpa)$/.test(name)
}

/** Errors that mean that the system has no such address, or no route to it: a connection can't end anywhere. */
const NO_ROUTE = [
  'ENETUNREACH',
  'EHOSTUNREACH',
  'ENETDOWN',
  'EHOSTDOWN',
  'EADDRNOTAVAIL',
  'EAFNOSUPPORT',
  'EINVAL',
  'EACCES',
]

/**
 * Returns true if a connection to this address ends at this host. The list of interfaces lacks those without a carrier, and an address
 * that has just been added, so the kernel is asked: whether a socket can be bound to the address, and which local end a connection would
 * have. Nothing is sent. Throws StepError (75) if it can't be asked.
 */
export async function isThisHost(address: string): Promise<boolean> {
  if (isUnspecified(address) || isLoopback(address)) return true
  const canonical = canonicalAddress(address)
  if (!address.includes('%') && isOnInterface(canonical)) return true
  // The kernel needs the scope.
  const unmapped = unmapAddress(address)
  if ((await canBind(unmapped)) && !(await canBind(NOBODYS_ADDRESS[familyOf(unmapped) === 6 ? 6 : 4]))) return true
  if (isSameHost(await localEndTo(unmapped), canonical)) return true
  if (!address.includes('%') && familyOf(canonical) === 6 && (await hasLocalRoute(canonical))) return true
  const embedded = embeddedAddress(canonical)
  return embedded !== undefined && isThisHost(embedded)
}

/** Returns true if a connection with these ends stays within this host. */
export function isSameHost(local: string | undefined, remote: string): boolean {
  if (local === undefined) return false
  return isLoopback(remote) || isLoopback(local) || canonicalAddress(local) === canonicalAddress(remote)
}

/** Returns the failure of a session that would lead back to this host, which has the identity, a name or an address. */
export function selfError(identity: string): StepError {
  return new StepError(`the server is this host (${identity})`, {
    exitStatus: EXIT.NOHOST,
    kind: 'self',
    hint: 'check in DNS that the MX records, and the addresses of the hosts that they name, are right',
  })
}

function isOnInterface(canonical: string): boolean {
  try {
    return interfaceAddresses().some(({ address }) => canonicalAddress(address) === canonical)
  } catch {
    // The kernel may know.
    return false
  }
}

/** Returns false if this host has no address of a family that can stand in DNS. */
export function mayHaveFamily(family: 4 | 6): boolean {
  try {
    return interfaceAddresses().some(
      ({ address }) => familyOf(address) === family && !isLoopback(address) && !isLinkLocal(address),
    )
  } catch {
    return true
  }
}

/** Addresses that no host has (RFC 1112 and 6666). A system that binds to them binds to any address (ip_nonlocal_bind). */
const NOBODYS_ADDRESS = { 4: '240.0.0.1', 6: '100::1' } as const

/** Returns true if a socket can be bound to an address, as to those of this host. A multicast address belongs to nobody. */
async function canBind(address: string): Promise<boolean> {
  if (/^(?:22[4-9]|23\d|255)\.|^ff/i.test(address)) return false
  const bound = await askKernel(address, (socket) => {
    socket.bind({ address, port: 0, exclusive: true })
    return 'listening'
  })
  return bound !== undefined
}

/** Returns the local end that a connection to an address would have; undefined if there is no route to it. */
async function localEndTo(address: string): Promise<string | undefined> {
  return askKernel(address, (socket) => {
    // Any port will do.
    socket.connect(25, address)
    return 'connect'
  })
}

/** Returns the local end of a socket after the event that `act` waits for; undefined if the system has no such address. */
async function askKernel(address: string, act: (socket: Socket) => string): Promise<string | undefined> {
  const { createSocket } = await import('node:dgram')
  const socket = createSocket(familyOf(address) === 6 ? 'udp6' : 'udp4')
  try {
    await once(socket, act(socket))
    return socket.address().address
  } catch (error) {
    if (NO_ROUTE.includes(codeOf(error))) return undefined
    throw resourcesError(`can't tell whether ${address} is an address of this host`, error)
  } finally {
    socket.close()
  }
}
