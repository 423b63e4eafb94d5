import { readFileSync } from 'node:fs'
import { BlockList } from 'node:net'

/** The flags RTF_LOCAL and RTF_ANYCAST of linux/ipv6_route.h, in 8 hex digits: connections end at this host */
const LOCAL_FLAGS = /^(?:[89a-f]|..[13579bdf])/

/**
 * Returns true if a route leads from this host to an IPv6 address of its own. If a whole network is local, sockets can't be bound to its
 * addresses, and a connection to one of them has another local end. Returns false if the kernel doesn't tell its routes.
 */
export function hasLocalRoute(address: string): boolean {
  try {
    const list = new BlockList()
    // A line has the network, the length of its prefix, the same of the source, next hop, metric, two counters, flags, and interface.
    for (const line of readFileSync('/proc/net/ipv6_route', 'latin1').split('\n')) {
      const [network = '', prefix = '', , , , , , , flags = ''] = line.split(' ')
      if (LOCAL_FLAGS.test(flags)) list.addSubnet(network.replace(/.{4}(?!$)/g, '$&:'), parseInt(prefix, 16), 'ipv6')
    }
    return list.check(address, 'ipv6')
  } catch {
    return false
  }
}
