import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { canonicalAddress, isLinkLocal } from './address.js'
import { isHostName, trimDot } from './domain.js'

/** Returns the names that the search list of this host makes of a name, in the list's order (resolv.conf(5)). */
export function completedNames(host: string): string[] {
  return searchList()
    .map((domain) => `${host}.${trimDot(domain)}`)
    .filter(isHostName)
}

/** Returns the domains of the last `search` or `domain` line; without such a line, the domain of the host name. */
function searchList(): string[] {
  const lines = readResolvConf().matchAll(/^(?:search|domain)[ \t]+(\S.*)/gm)
  const [, list] = [...lines].at(-1) ?? []
  return list === undefined ? [hostname().replace(/^[^.]*\.?/, '')] : list.split(/\s+/)
}

/** Returns the number of dots with which the system looks up a name as it is before it completes the name (`options ndots:1`). */
export function minimumDots(): number {
  const [, dots] = [...readResolvConf().matchAll(/^options[ \t].*?\bndots:(\d+)/gm)].at(-1) ?? []
  return Number(dots ?? 1)
}

/** Returns the address of a name server with its interface, which a link-local one needs, and which c-ares doesn't tell. */
export function scopedNameServer(address: string): string {
  if (!isLinkLocal(address)) return address
  const servers = [...readResolvConf().matchAll(/^nameserver[ \t]+(\S+)/gm)].map(([, server = '']) => server)
  return (
    servers.find((server) => isLinkLocal(server) && canonicalAddress(server) === canonicalAddress(address)) ?? address
  )
}

function readResolvConf(): string {
  try {
    return readFileSync('/etc/resolv.conf', 'latin1')
  } catch {
    return ''
  }
}
