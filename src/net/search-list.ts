import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
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

function readResolvConf(): string {
  try {
    return readFileSync('/etc/resolv.conf', 'latin1')
  } catch {
    return ''
  }
}
