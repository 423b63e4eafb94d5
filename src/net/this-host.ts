import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { hostname, networkInterfaces } from 'node:os'
import { familyOf, isLoopback } from './address.js'
import { isQualifiedDomain } from './domain.js'
import { hostsEntries } from './hosts-file.js'

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

/**
 * Returns true if a connection to this address ends at this host. The list of interfaces lacks an address that has just been added, so
 * the kernel is asked which local end a connection would have; nothing is sent.
 */
export async function isThisHost(address: string): Promise<boolean> {
  const interfaces = Object.values(networkInterfaces()).flatMap((ends) => ends ?? [])
  if (interfaces.some((end) => end.address === address)) return true
  const socket = createSocket(familyOf(address) === 6 ? 'udp6' : 'udp4')
  try {
    // Any port will do.
    socket.connect(25, address)
    await once(socket, 'connect')
    const { address: end } = socket.address()
    return end === address || isLoopback(end)
  } catch {
    // There is no route to the address.
    return false
  } finally {
    socket.close()
  }
}
