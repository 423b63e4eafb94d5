import { BlockList, isIPv4, isIPv6, SocketAddress } from 'node:net'

/** An address family; undefined stands for both. */
export type Family = 4 | 6 | undefined

/** Returns the family of an address, or 0 for any other word. */
export function familyOf(word: string): 0 | 4 | 6 {
  // isIPv6 takes 4 ms when it is first called. A word with fewer than two colons doesn't need it.
  if (/:.*:/.test(word)) return isIPv6(word) ? 6 : 0
  return isIPv4(word) ? 4 : 0
}

/** Returns the address as EHLO takes it: `[192.0.2.1]`, `[IPv6:2001:db8::1]` (RFC 5321, 4.1.3). */
export function addressLiteral(address: string): string {
  return familyOf(address) === 6 ? `[IPv6:${address.replace(/%.*/, '')}]` : `[${address}]`
}

/** Returns an address in its one canonical form, to compare it. A scope, which only names an interface of this host, is removed. */
export function canonicalAddress(address: string): string {
  return familyOf(address) === 0 ? address : new SocketAddress({ address, family: typeOf(address) }).address
}

function typeOf(address: string): 'ipv4' | 'ipv6' {
  return familyOf(address) === 6 ? 'ipv6' : 'ipv4'
}

export function isLoopback(address: string): boolean {
  return address === '::1' || (familyOf(address) === 4 && address.startsWith('127.'))
}

/** RFC 1918, 6598, 3927, 1122, 4193, 4291 */
const PRIVATE_NETWORKS =
  '10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 169.254.0.0/16 127.0.0.0/8 fc00::/7 fe80::/10 ::1/128'

/** Returns true for an address that can't be reached from the Internet, as those behind a NAT. */
export function isPrivate(address: string): boolean {
  const list = new BlockList()
  for (const network of PRIVATE_NETWORKS.split(' ')) {
    const [base = '', prefix] = network.split('/')
    list.addSubnet(base, Number(prefix), typeOf(base))
  }
  return list.check(address.replace(/%.*/, ''), typeOf(address))
}
