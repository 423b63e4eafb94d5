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
  /** Tells how several names are given; undefined: as on the command line. */
  readonly separation?: string
}

/** The longest command line, CRLF included (RFC 5321, 4.5.3.1.4). */
export const COMMAND_LINE_OCTETS = 512
const QUEUE_OCTETS = COMMAND_LINE_OCTETS - 'ETRN #\r\n'.length

/** Returns a NAME argument as a NodeName. Throws UsageError, which quotes the word and names the rule that it breaks. */
export async function parseNodeName(word: string, options: NameOptions): Promise<NodeName> {
  const checked = await checkName(word, options)
  if (typeof checked === 'string') return checked
  throw new UsageError(`name ${quoteName(word)}: ${checked.message}`)
}

/** The message is the rule that a word breaks, without the word. */
class NameRuleError extends Error {}

/** Returns the name, or the rule that the word breaks. */
export async function checkName(word: string, options: NameOptions): Promise<NodeName | NameRuleError> {
  try {
    return (await parseArgument(word, options)) as NodeName
  } catch (error) {
    if (error instanceof NameRuleError) return error
    throw error
  }
}

async function parseArgument(word: string, options: NameOptions): Promise<string> {
  const rule = brokenSendableRule(word)
  if (rule !== undefined) throw new NameRuleError(rule)
  if (word.startsWith('#')) return `#${parseQueue(word.slice(1))}`
  if (!word.startsWith('@')) return parseNode(word, options)
  const domain = parseNode(word.slice(1), options)
  if (options.allowWide) return `@${domain}`
  const { isPublicSuffix } = await import('./public-suffix.js')
  if (!isPublicSuffix(domain)) return `@${domain}`
  throw new NameRuleError(
    `${domain} is a public suffix: this would ask for everybody's mail below it (--allow-wide does it anyway)`,
  )
}

function parseQueue(name: string): string {
  if (name === '') throw new NameRuleError("a queue's name is missing after #")
  if (!isAscii(name)) throw new NameRuleError("a queue's name is printable ASCII")
  if (name.length > QUEUE_OCTETS)
    throw new NameRuleError(`too long: a queue's name has at most ${QUEUE_OCTETS} characters`)
  return name
}

function parseNode(word: string, { allowWide, separation = 'names are separated by blanks' }: NameOptions): string {
  const name = trimDot(word)
  if (name === '') throw new NameRuleError('no domain name')
  const labels = splitLabels(name).map((label) => {
    const sent = toALabel(label) ?? (allowWide && isAscii(label) ? label : undefined)
    if (sent !== undefined && (allowWide ? isHostLabel(sent) : isLabel(sent))) return sent
    throw new NameRuleError(likelySlip(word, separation) ?? brokenLabelRule(label, sent))
  })
  const domain = labels.join('.')
  if (domain.length > DOMAIN_CHARACTERS)
    throw new NameRuleError(`too long: a domain name has at most ${DOMAIN_CHARACTERS} characters`)
  if (endsInNumber(domain)) {
    const suffix = familyOf(domain) === 4 ? '; an address can be the server, which comes first' : ''
    throw new NameRuleError(`no domain name: its last label is a number${suffix}`)
  }
  if (labels.length < 2 && !allowWide) {
    throw new NameRuleError(
      'not fully qualified: write it as host.domain (--allow-wide sends it as it is; a queue is written #name)',
    )
  }
  return domain
}

/** Returns what the user probably meant by a word that is no name; undefined if that is unknown. */
function likelySlip(word: string, separation: string): string | undefined {
  if (/[,;]/.test(word)) return separation
  if (word.startsWith('*.')) return `no domain name; @${word.slice(2)} means it and its subdomains`
  if (word.includes(':')) return 'no domain name; the server comes first, several of them joined by commas'
  return /^[^@]+@/.test(word) ? `no domain name; an address's domain is what stands behind its @` : undefined
}

function brokenLabelRule(label: string, sent: string | undefined): string {
  const shown = `the label ${quoteName(label)}`
  if (label === '') return 'an empty label: two dots, or one in front'
  if ((sent ?? label).length > 63) return `${shown} has more than 63 characters`
  if (/^-|-$/.test(label)) return `${shown} begins or ends with a hyphen`
  if (!isLabelLike(label)) return `${shown} has other characters than letters, digits and hyphens`
  return isAscii(label)
    ? `${shown} starts with xn--, but is no A-label (--allow-wide sends it as it is)`
    : `${shown} is not valid in an internationalised name; check its characters, or write its A-label (xn--...)`
}

const NAME_CHARACTERS_SHOWN = 80

function quoteName(word: string): string {
  const text = hidePassword(word)
  return text.length > NAME_CHARACTERS_SHOWN ? `"${truncate(text, NAME_CHARACTERS_SHOWN)}"...` : `"${text}"`
}
