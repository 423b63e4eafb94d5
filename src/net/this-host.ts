import { hostname, networkInterfaces } from 'node:os'
import { createSocket } from 'node:dgram'
import { familyOf } from './address.js'
import { isQualifiedDomain } from './domain.js'
import { hostsEntries } from './hosts-file.js'

/**
 * This host's own name, as others may know it: the host name if it has a dot, else the first dotted name that /etc/hosts gives
 * for it. Never from the DNS: a dynamic address's PTR is the provider's. undefined: it has none.
 */
export function ownHostName(): string | undefined {
  const own = hostname().toLowerCase()
  if (own.includes('.')) return isPublicName(own) ? own : undefined
  return hostsEntries(own)
    .flatMap(({ names }) => names)
    .find(isPublicName)
}
/** Not a name that means something inside one network only (RFC 6762, 8375, and habit). */
export function isPublicName(name: string): boolean {
  return isQualifiedDomain(name) && !/\.(?:local|lan|localdomain|home\.arpa)$/.test(name)
}
/** Any port will do: nothing is sent to it. */
const PROBE_PORT = 25

/**
 * Whether a connection to this address comes back to this machine. Where the list of interfaces lacks it, as it does one that has
 * just come up, the kernel is asked from which end the connection would be made; nothing is sent.
 */
export async function isThisHost(address: string): Promise<boolean> {
  const listed = Object.values(networkInterfaces()).flatMap((ends) => ends ?? [])
  if (listed.some((end) => end.address === address)) return true
  const socket = createSocket(familyOf(address) === 6 ? 'udp6' : 'udp4')
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject)
      socket.connect(PROBE_PORT, address, resolve)
    })
    const { address: end } = socket.address()
    return end === address || end.startsWith('127.') || end === '::1'
  } catch {
    // There is no way to it.
    return false
  } finally {
    socket.close()
  }
}
