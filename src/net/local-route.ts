import { createReadStream } from 'node:fs'
import { BlockList } from 'node:net'

/** The flags RTF_LOCAL and RTF_ANYCAST of linux/ipv6_route.h, in 8 hex digits: connections end at this host */
const LOCAL_FLAGS = /^(?=.{8}$)(?:[89a-f]|..[13579bdf])/
/** Some 7000 routes. The kernel needs seconds for tens of thousands. */
const TABLE_OCTETS = 1_048_576
/** DNS can return thousands of addresses, and each is judged. */
const TABLE_AGE_MS = 2000

/** The networks that are local, as they were read last */
let table = { networks: Promise.resolve(new BlockList()), readAt: -Infinity }

/**
 * Returns true if a route leads from this host to an IPv6 address of its own. If a whole network is local, sockets can't be bound to its
 * addresses, and a connection to one of them has another local end. Returns false if the kernel doesn't tell its routes.
 */
export async function hasLocalRoute(address: string): Promise<boolean> {
  const now = performance.now()
  if (now - table.readAt > TABLE_AGE_MS) table = { networks: readNetworks(), readAt: now }
  return (await table.networks).check(address, 'ipv6')
}

async function readNetworks(): Promise<BlockList> {
  const networks = new BlockList()
  let text = ''
  try {
    const stream = createReadStream('/proc/net/ipv6_route', { encoding: 'latin1', end: TABLE_OCTETS })
    for await (const chunk of stream) text += chunk as string
  } catch {
    return networks
  }
  // A line has the network, the length of its prefix, the same of the source, next hop, metric, two counters, flags, and interface.
  for (const line of text.split('\n')) {
    const [network = '', prefix = '', , , , , , , flags = ''] = line.split(' ')
    if (LOCAL_FLAGS.test(flags)) networks.addSubnet(network.replace(/.{4}(?!$)/g, '$&:'), parseInt(prefix, 16), 'ipv6')
  }
  return networks
}
