import { isIPv4, isIPv6 } from 'node:net'

/**
 * 4, 6, or 0 for what is no address. Node's test for IPv6 takes 4 ms when it is first used: what has less than two colons, a host and
 * port for one, doesn't have to pay for it.
 */
export function familyOf(word: string): 0 | 4 | 6 {
  if (/:.*:/.test(word)) return isIPv6(word) ? 6 : 0
  return isIPv4(word) ? 4 : 0
}

/** `[192.0.2.1]`, `[IPv6:2001:db8::1]` (RFC 5321, 4.1.3) */
export function addressLiteral(address: string): string {
  return familyOf(address) === 6 ? `[IPv6:${address.replace(/%.*/, '')}]` : `[${address}]`
}

/** Whether an address is one of this host's own that never leave it. */
export function isLoopback(address: string): boolean {
  return address === '::1' || (familyOf(address) === 4 && address.startsWith('127.'))
}
