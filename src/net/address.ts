import { BlockList, isIPv4, isIPv6, SocketAddress } from 'node:net'

/** An address family; undefined stands for both. */
export type Family = 4 | 6 | undefined

/** Returns the family of an address, or 0 for any other word. */
export function familyOf(word: string): 0 | 4 | 6 {
  // isIPv6 takes 4 ms when it is first called. A word with fewer than two colons doesn't need it.
  if (/:.*:/.test(word)) return isIPv6(word) ? 6 : 0
  return isIPv4(word) ? 4 : 0
}

/**
 * Returns an IPv4-mapped IPv6 address as the IPv4 address that the system connects to in its place (RFC 4291, 2.5.5.2); any other word
 * as it is.
 */
export function unmapAddress(address: string): string {
  if (familyOf(address) !== 6) return address
  return /^::ffff:([\d.]+)$/.exec(canonicalIpv6(address))?.[1] ?? address
}

/**
 * Returns an address in its one canonical form, to compare it: an IPv4-mapped one as IPv4, and without a scope, which only names an
 * interface of this host.
 */
export function canonicalAddress(address: string): string {
  const unmapped = unmapAddress(address)
  return familyOf(unmapped) === 6 ? canonicalIpv6(unmapped) : unmapped
}

function canonicalIpv6(address: string): string {
  return new SocketAddress({ address, family: 'ipv6' }).address
}

/**
 * Returns the IPv4 address that is embedded in an IPv6 address and that a translator or tunnel leads to: IPv4-compatible (RFC 4291), and
 * that of NAT64 (RFC 6052).
 */
export function embeddedAddress(address: string): string | undefined {
  const canonical = canonicalAddress(address)
  const [nat64, high = '0', low = '0'] = /^64:ff9b::(?:(?:([0-9a-f]+):)?([0-9a-f]+))?$/.exec(canonical) ?? []
  if (nat64 === undefined) return /^::(\d+\..*)$/.exec(canonical)?.[1]
  return [high, low].map((word) => Buffer.from(word.padStart(4, '0'), 'hex').join('.')).join('.')
}

/** Returns the address as EHLO takes it: `[192.0.2.1]`, `[IPv6:2001:db8::1]` (RFC 5321, 4.1.3). */
export function addressLiteral(address: string): string {
  const canonical = canonicalAddress(address)
  return familyOf(canonical) === 6 ? `[IPv6:${canonical}]` : `[${canonical}]`
}

export function isLoopback(address: string): boolean {
  const canonical = canonicalAddress(address)
  return canonical === '::1' || (familyOf(canonical) === 4 && canonical.startsWith('127.'))
}

/**
 * Returns true for the addresses that stand for no host (RFC 1122, 3.2.1.3), in whose place the system connects to itself, and for those
 * that NAT64 makes of them.
 */
export function isUnspecified(address: string): boolean {
  const canonical = embeddedAddress(address) ?? canonicalAddress(address)
  return canonical === '::' || (familyOf(canonical) === 4 && canonical.startsWith('0.'))
}

/** Returns true for an address that is valid on one link only (RFC 4291, 2.5.6), so that it needs the scope of an interface. */
export function isLinkLocal(address: string): boolean {
  return familyOf(address) === 6 && /^fe[89ab]/i.test(address)
}

function typeOf(address: string): 'ipv4' | 'ipv6' {
  return familyOf(address) === 6 ? 'ipv6' : 'ipv4'
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
  const canonical = canonicalAddress(address)
  return list.check(canonical, typeOf(canonical))
}

/** The most addresses of one host that count: a server needs no more, and anybody can put any number into DNS. */
const HOST_ADDRESSES = 50

/** Returns the addresses of a family, each once; of both families, they alternate, IPv6 first (RFC 8305, section 4). */
export function interleaveFamilies(addresses: readonly string[], family: Family): string[] {
  const unmapped = [...new Set(addresses.map(unmapAddress))]
  const ipv6 = family === 4 ? [] : unmapped.filter((address) => familyOf(address) === 6)
  const ipv4 = family === 6 ? [] : unmapped.filter((address) => familyOf(address) === 4)
  const alternating = unmapped.flatMap((_, index) => [...ipv6.slice(index, index + 1), ...ipv4.slice(index, index + 1)])
  return alternating.slice(0, HOST_ADDRESSES)
}
