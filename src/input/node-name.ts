import { UsageError } from '../errors.js'
import { familyOf } from '../net/address.js'
import {
  DOMAIN_CHARACTERS,
  endsInNumber,
  isAscii,
  isHostLabel,
  isLabel,
  isLabelLike,
  splitLabels,
  toALabel,
  trimDot,
} from '../net/domain.js'
import { truncate } from '../printable.js'
import { hidePassword } from './hide-password.js'
import { brokenSendableRule } from './option-values.js'

declare const checked: unique symbol

/** A checked argument of ETRN: `node`, `@node` or `#queue` (RFC 1985, 5 and 5.3). Only checkName makes one. */
export type NodeName = string & { readonly [checked]: true }

export type NameOptions = {
  /** Accept `@com`, names with a single label, underscores, and A-labels that are not valid. */
  readonly allowWide: boolean
}

/** The longest command line, CRLF included (RFC 5321, 4.5.3.1.4). */
export const COMMAND_LINE_OCTETS = 512
const QUEUE_OCTETS = COMMAND_LINE_OCTETS - 'ETRN #\r\n'.length

/**
 * Returns a NAME argument as a NodeName. Throws NameError, which quotes the word as it was typed, and names the rule that it breaks and
 * what to write.
 */
export async function parseNodeName(
  word: string,
  options: NameOptions,
  typed = `name ${quoteName(word)}`,
): Promise<NodeName> {
  const checked = await checkName(word, options)
  if (typeof checked === 'string') return checked
  throw new NameError(`${typed} ${checked.message}`, `${typed} ${checked.inFile}`)
}

/** The error for a word that is no name */
export class NameError extends UsageError {
  /** The message for a name in a file, where the advice for the command line is of no use */
  readonly inFile: string

  constructor(message: string, inFile: string) {
    super(message)
    this.inFile = inFile
  }
}

/** The message is the rule that a word breaks, as a sentence without its subject. */
class NameRuleError extends Error {
  readonly inFile: string

  constructor(message: string, inFile = message) {
    super(message)
    this.inFile = inFile
  }
}

/** Returns the name, or the rule that the word breaks. */
export async function checkName(word: string, options: NameOptions): Promise<NodeName | NameRuleError> {
  try {
    return (await parseArgument(word, options)) as NodeName
  } catch (error) {
    if (error instanceof NameRuleError) return error
    throw error
  }
}

async function parseArgument(word: string, { allowWide }: NameOptions): Promise<string> {
  checkSendable(word)
  if (word.startsWith('#')) return `#${parseQueue(word.slice(1))}`
  if (!word.startsWith('@')) {
    const domain = parseDomain(word, word, allowWide)
    if (allowWide || domain.includes('.')) return domain
    const typed = trimDot(word)
    const queue = isAscii(typed) ? `; to send #${typed}: --queue ${typed}` : ''
    const rule = `is not fully qualified; write, for example, ${typed}.example`
    throw new NameRuleError(
      `${rule} (if your provider told you to send ${typed} itself: --allow-wide${queue})`,
      queue === '' ? rule : `${rule}, or #${typed} for a queue`,
    )
  }
  const domain = parseDomain(word.slice(1), word, allowWide)
  if (allowWide) return `@${domain}`
  const { isPublicSuffix } = await import('./public-suffix.js')
  if (domain.includes('.') && !isPublicSuffix(domain)) return `@${domain}`
  throw new NameRuleError(
    `is too wide: it means every domain under ${domain}; write, for example, @site.example (--allow-wide sends the name unchanged)`,
  )
}

function checkSendable(word: string): void {
  const rule = brokenSendableRule(word)
  if (rule === undefined) return
  if (!/ a (?:space|tab)$/.test(rule)) throw new NameRuleError(rule)
  const advice = word.startsWith('# ')
    ? '# starts a queue name, not a comment'
    : word.startsWith('#')
      ? 'a queue name has no spaces'
      : 'write each name separately'
  throw new NameRuleError(`${rule}; ${advice}`)
}

function parseQueue(name: string): string {
  if (name === '') throw new NameRuleError('has no queue name after #; write, for example, #site.example')
  if (!isAscii(name))
    throw new NameRuleError(
      'contains characters that are not ASCII; a queue name consists of printable ASCII characters',
    )
  if (name.length > QUEUE_OCTETS)
    throw new NameRuleError(`is too long; a queue name has at most ${QUEUE_OCTETS} characters`)
  return name
}

/** Returns the domain in A-labels. `word` is the whole argument, for advice. */
function parseDomain(typed: string, word: string, allowWide: boolean): string {
  const name = trimDot(typed)
  if (name === '')
    throw new NameRuleError(
      typed === word
        ? 'is empty; write, for example, site.example'
        : 'has no domain after @; write, for example, @site.example',
    )
  const labels = splitLabels(name).map((label) => {
    const sent = toALabel(label) ?? (allowWide && isAscii(label) ? label : undefined)
    if (sent !== undefined && (allowWide ? isHostLabel(sent) : isLabel(sent))) return sent
    throw likelySlip(word) ?? new NameRuleError(brokenLabelRule(label, sent))
  })
  const domain = labels.join('.')
  if (domain.length > DOMAIN_CHARACTERS)
    throw new NameRuleError(`is too long; a domain name has at most ${DOMAIN_CHARACTERS} characters`)
  if (familyOf(domain) === 4) throw addressError(domain)
  if (endsInNumber(domain)) throw new NameRuleError('is not a domain name, because the last label is a number')
  return domain
}

function addressError(address: string): NameRuleError {
  const rule = 'is an IP address, not a name'
  return new NameRuleError(
    `${rule}; the server comes first: etrn ${address} NAME`,
    `${rule}; write a name, for example site.example`,
  )
}

/** Returns the error for a word that is no name, if it is known what the user probably meant. */
function likelySlip(word: string): NameRuleError | undefined {
  const hasPassword = hidePassword(word) !== word
  const [, host] = /^https?:\/\/([^/:@]+)\/?$/i.exec(word) ?? []
  if (host !== undefined) return new NameRuleError(`is a URL; write only the name: ${host}`)
  if (word.includes(':') || hasPassword)
    return new NameRuleError(
      `looks like a server; the server comes first: etrn ${hasPassword ? 'SERVER' : word} NAME (separate several servers with commas)`,
      'looks like a server; write only the name, without server or port',
    )
  const separator = word.includes(',') ? 'comma' : word.includes(';') ? 'semicolon' : undefined
  if (separator !== undefined) {
    const names = word.split(/[,;]/).filter((name) => name !== '')
    return new NameRuleError(`contains a ${separator}; write each name separately: ${names.join(' ')}`)
  }
  const [, address] = /^@?\[([\d.]+)\]$/.exec(word) ?? []
  if (address !== undefined) return addressError(address)
  if (word.startsWith('*.'))
    return new NameRuleError(`contains a wildcard; write @${word.slice(2)} for the domain and its subdomains`)
  const [, domain] = /^[^@]+@([^@]+)$/.exec(word) ?? []
  return domain === undefined ? undefined : new NameRuleError(`is an e-mail address; write only the domain: ${domain}`)
}

function brokenLabelRule(label: string, sent: string | undefined): string {
  const shown = quoteName(label)
  if (label === '') return 'has an empty label: two dots in a row, or a dot at the start'
  if ((sent ?? label).length > 63) return `has a label of more than 63 characters: ${shown}`
  if (/^-|-$/.test(label)) return `has a label that begins or ends with a hyphen: ${shown}`
  if (isHostLabel(label) && label.includes('_'))
    return `has a label with an underscore: ${shown} (--allow-wide sends the name unchanged)`
  if (!isLabelLike(label))
    return `contains ${quoteName(foreignCharacter(label))}; a name can contain only letters, digits, hyphens and dots`
  return isAscii(label)
    ? `has a label that starts with xn-- but is not valid Punycode: ${shown} (--allow-wide sends the name unchanged)`
    : `has a label that is not valid in an internationalised name: ${shown}; check the characters, or write the xn-- form`
}

/** Returns the first character of a label that no name can have. */
function foreignCharacter(label: string): string {
  return Array.from(label).find((character) => !isLabelLike(character)) ?? label
}

const NAME_CHARACTERS_SHOWN = 80

export function quoteName(word: string): string {
  const text = hidePassword(word)
  return text.length > NAME_CHARACTERS_SHOWN ? `"${truncate(text, NAME_CHARACTERS_SHOWN)}"...` : `"${text}"`
}
