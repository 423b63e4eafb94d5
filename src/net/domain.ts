import { domainToASCII, domainToUnicode } from 'node:url'

export const DOMAIN_CHARACTERS = 253
/** The full stop, and what internationalised names may have in its place (RFC 3490, section 3.1). */
const DOT = /[.\u3002\uff0e\uff61]/

/** Returns true if a label has letters, digits and inner hyphens only (RFC 1123, section 2.1). */
export function isLabel(label: string): boolean {
  return /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/i.test(label)
}

/** Returns true for a label of a host name. Some networks use underscores. */
export function isHostLabel(label: string): boolean {
  return /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/i.test(label)
}

export function isAscii(text: string): boolean {
  return Buffer.byteLength(text) === text.length
}

/** Returns true if a dot ends the name: it is whole, and no search list completes it. */
export function hasFinalDot(domain: string): boolean {
  return DOT.test(domain.slice(-1))
}

/** Returns the name without the dot that may end it. */
export function trimDot(domain: string): string {
  return hasFinalDot(domain) ? domain.slice(0, -1) : domain
}

export function splitLabels(domain: string): string[] {
  return domain.split(DOT)
}

/** Returns a domain name with its internationalised labels as A-labels; undefined if a label has no such form, or is a bad A-label. */
export function toALabels(domain: string): string | undefined {
  const labels = splitLabels(domain).map(toALabel)
  return labels.includes(undefined) ? undefined : labels.join('.')
}

/**
 * Returns an internationalised label as its A-label, and other labels unchanged. Returns undefined for a bad A-label, and for a label
 * that IDNA would make another name of: domainToASCII parses the host of a URL, so it decodes, drops and replaces characters.
 */
export function toALabel(label: string): string | undefined {
  // Punycode takes quadratic time.
  if (label.length > DOMAIN_CHARACTERS) return undefined
  if (isAscii(label)) return !/^xn--/i.test(label) || isALabel(label) ? label : undefined
  if (!isLabelLike(label)) return undefined
  const aLabel = domainToASCII(label)
  const isUnchanged = domainToUnicode(aLabel) === label.toLowerCase().normalize('NFC')
  return isUnchanged && aLabel.startsWith('xn--') ? aLabel : undefined
}

/** Returns true if the ASCII characters of a label are letters, digits and inner hyphens. */
export function isLabelLike(label: string): boolean {
  return /^(?!-)(?:[a-z0-9-]|\P{ASCII})+(?<!-)$/iu.test(label)
}

/** Returns true for the one A-label of an internationalised label. A decoder may return what it can't decode. */
function isALabel(label: string): boolean {
  const decoded = domainToUnicode(label)
  return !isAscii(decoded) && domainToASCII(decoded) === label.toLowerCase()
}

/** Returns true if an ASCII name can name a host. Node looks up no name with a bad A-label. */
export function isHostName(name: string): boolean {
  const isInForm = name.split('.').every(isHostLabel) && name.length <= DOMAIN_CHARACTERS && !endsInNumber(name)
  return isInForm && toALabels(name) !== undefined
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

/** Returns true for `localhost` and the names below it, which mean this host whatever DNS says (RFC 6761, 6.3). */
export function isLocalhost(name: string): boolean {
  return /(?:^|\.)localhost\.?$/i.test(name)
}
