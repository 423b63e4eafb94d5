import { SocketAddress } from 'node:net'
import { BlockList, isIPv4, isIPv6 } from 'node:net'

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

/** Networks that nobody reaches from outside (RFC 1918, 6598, 3927, 1122, 4193, 4291) */
const PRIVATE_NETWORKS =
  '10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 169.254.0.0/16 127.0.0.0/8 fc00::/7 fe80::/10 ::1/128'

/** Whether an address is one of those that a NAT has behind it. */
export function isPrivate(address: string): boolean {
  const kindOf = (one: string): 'ipv4' | 'ipv6' => (familyOf(one) === 6 ? 'ipv6' : 'ipv4')
  const list = new BlockList()
  for (const network of PRIVATE_NETWORKS.split(' ')) {
    const [base = '', prefix] = network.split('/')
    list.addSubnet(base, Number(prefix), kindOf(base))
  }
  return list.check(address.replace(/%.*/, ''), kindOf(address))
}
/** An address in the one form in which it can be compared, without its scope: an interface of this host alone. */
export function canonicalAddress(address: string): string {
  const family = familyOf(address)
  return family === 0 ? address : new SocketAddress({ address, family: family === 6 ? 'ipv6' : 'ipv4' }).address
}
/** 4, 6, or undefined for both */
export type Family = 4 | 6 | undefined
