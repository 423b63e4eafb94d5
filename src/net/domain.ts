import { domainToASCII } from 'node:url'

export const DOMAIN_CHARACTERS = 253
/** The full stop, and what internationalised names may have in its place (RFC 3490, section 3.1). */
const DOT = '[.\\u3002\\uff0e\\uff61]'

/** Returns true if a label has letters, digits and inner hyphens only (RFC 1123, section 2.1). */
export function isLabel(label: string): boolean {
  return /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/i.test(label)
}

export function isAscii(text: string): boolean {
  return Buffer.byteLength(text) === text.length
}

/** Returns the name without the dot that may end it. */
export function trimDot(domain: string): string {
  return domain.replace(new RegExp(`${DOT}$`), '')
}

/** Returns a domain name with its internationalised labels as A-labels; undefined if a label has no such form. */
export function toALabels(domain: string): string | undefined {
  if (isAscii(domain)) return domain
  // domainToASCII parses the host of a URL: it must not see what it would take for an address or an escape.
  const labels = domain.split(new RegExp(DOT)).map((label) => (isAscii(label) ? label : domainToASCII(label)))
  return labels.every(isLabel) ? labels.join('.') : undefined
}

/** Returns true if an ASCII name can name a host. Some networks use underscores. */
export function isHostName(name: string): boolean {
  const labels = name.split('.')
  const areValid = labels.every((label) => /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/i.test(label))
  return areValid && name.length <= DOMAIN_CHARACTERS && !endsInNumber(name)
}

/** Returns true for a fully qualified domain name, internationalised or not. */
export function isQualifiedDomain(name: string): boolean {
  const domain = toALabels(trimDot(name)) ?? ''
  const labels = domain.split('.')
  return labels.length > 1 && labels.every(isLabel) && domain.length <= DOMAIN_CHARACTERS && !endsInNumber(domain)
}

/** Returns true if the last label is all digits, as in an IPv4 address. */
export function endsInNumber(domain: string): boolean {
  return /(?:^|\.)[0-9]+$/.test(domain)
}
