import { readFileSync } from 'node:fs'
import { canonicalAddress, familyOf } from './address.js'

const HOSTS_FILE = '/etc/hosts'

/** One line of /etc/hosts: an address and its names in lower case. */
export type HostsEntry = { readonly address: string; readonly names: readonly string[] }

/** Returns the entries of /etc/hosts that have this name, which must be in lower case. Without the file there are none. */
export function hostsEntries(name: string): HostsEntry[] {
  return readHostsFile().flatMap((line) => {
    const [address = '', ...words] = line.replace(/#.*/, '').trim().split(/\s+/)
    const names = words.map((word) => word.toLowerCase())
    if (!names.includes(name) || familyOf(address) === 0) return []
    // A link-local address can't be connected to without its interface.
    const scope = /%.*/.exec(address)?.[0] ?? ''
    return [{ address: canonicalAddress(address) + scope, names }]
  })
}

function readHostsFile(): string[] {
  try {
    return readFileSync(HOSTS_FILE, 'utf8').split('\n')
  } catch {
    return []
  }
}
