import { getPublicSuffix } from 'tldts'

/** Whether a domain name is a suffix below which strangers register names: `com`, `co.uk`, `dyndns.org` (publicsuffix.org). */
export function isPublicSuffix(domain: string): boolean {
  return getPublicSuffix(domain, { allowPrivateDomains: true }) === domain.toLowerCase()
}
