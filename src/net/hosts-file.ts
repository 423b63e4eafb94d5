import { readFileSync } from 'node:fs'
import { canonicalAddress, familyOf } from './address.js'

export const HOSTS_FILE = '/etc/hosts'
/** The lines of /etc/hosts that have this name */
export function hostsEntries(name: string): { address: string; names: string[] }[] {
  return readHostsFile().flatMap((line) => {
    const [address = '', ...words] = line.replace(/#.*/, '').trim().split(/\s+/)
    const names = words.map((word) => word.toLowerCase())
    if (!names.includes(name) || familyOf(address) === 0) return []
    // Without its interface, in the very letters, a link-local address can't be connected to.
    const scope = /%.*/.exec(address)?.[0] ?? ''
    return [{ address: canonicalAddress(address) + scope, names }]
  })
}
export function readHostsFile(): string[] {
  try {
    return readFileSync(HOSTS_FILE, 'utf8').split('\n')
  } catch {
    // Without the file there is nothing in it.
    return []
  }
}
