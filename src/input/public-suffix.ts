import { getPublicSuffix } from 'tldts'

/** Returns true for a suffix under which strangers register names: `com`, `co.uk`, `dyndns.org` (publicsuffix.org). */
export function isPublicSuffix(domain: string): boolean {
  return getPublicSuffix(domain, { allowPrivateDomains: true }) === domain.toLowerCase()
}
