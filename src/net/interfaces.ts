import { networkInterfaces } from 'node:os'

/** An address of this host, and the name of its interface. */
export type InterfaceAddress = { readonly name: string; readonly address: string }

/** Returns the addresses of this host. Throws a system error where they can't be read: in a sandbox without AF_NETLINK, for example. */
export function interfaceAddresses(): InterfaceAddress[] {
  return Object.entries(networkInterfaces()).flatMap(([name, ends = []]) =>
    ends.map(({ address }) => ({ name, address })),
  )
}
