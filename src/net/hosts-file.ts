import { readFileSync } from 'node:fs'
import { canonicalAddress, familyOf } from './address.js'

/** Returns the lines of /etc/hosts that have this name. All names are in lower case. Without the file there are none. */
export function hostsEntries(name: string): { readonly address: string; readonly names: readonly string[] }[] {
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
    return readFileSync('/etc/hosts', 'utf8').split('\n')
  } catch {
    return []
  }
}
