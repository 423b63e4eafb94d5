import { UsageError } from '../errors.js'
import { DOMAIN_CHARACTERS, endsInNumber, isAscii, isLabel, toALabels, trimDot } from '../net/domain.js'
import { beginning, printable } from '../printable.js'
import { sendableRule } from './values.js'

declare const checked: unique symbol
/** What follows ETRN on the wire, checked: nothing else can be sent. `node`, `@node` or `#queue` (RFC 1985, 5 and 5.3). */
export type NodeName = string & { readonly [checked]: true }

export type NameOptions = {
  /** Lets `@com` and single labels through. */
  readonly allowWide: boolean
}

/** Octets of a command line, CRLF included (RFC 5321, 4.5.3.1.4). */
const COMMAND_OCTETS = 512
const QUEUE_OCTETS = COMMAND_OCTETS - 'ETRN #\r\n'.length
/** Checks one NAME. Throws UsageError, with the word and the rule that it breaks. */
export async function nodeName(word: string, o: NameOptions): Promise<NodeName> {
  const checked = await parse(word, o)
  if (typeof checked === 'string') return checked
  throw new UsageError(`name ${quoted(word)}: ${checked.message}`)
}

/** The rule that a word breaks, without the word. */
class BadName extends Error {}

/** The one maker of NodeNames. */
export async function parse(word: string, o: NameOptions): Promise<NodeName | BadName> {
  try {
    return (await argument(word, o)) as NodeName
  } catch (error) {
    if (error instanceof BadName) return error
    throw error
  }
}

async function argument(word: string, o: NameOptions): Promise<string> {
  const bad = sendableRule(word)
  if (bad !== undefined) throw new BadName(bad)
  if (word.startsWith('#')) return `#${queue(word.slice(1))}`
  if (!word.startsWith('@')) return node(word, o)
  const domain = node(word.slice(1), o)
  if (!o.allowWide) {
    const { isPublicSuffix } = await import('./public-suffix.js')
    if (isPublicSuffix(domain)) {
      throw new BadName(
        `${domain} is a public suffix: this would ask for everybody's mail below it (--allow-wide does it anyway)`,
      )
    }
  }
  return `@${domain}`
}

function queue(name: string): string {
  if (name === '') throw new BadName("a queue's name is missing after #")
  if (!isAscii(name)) throw new BadName("a queue's name is printable ASCII")
  if (name.length > QUEUE_OCTETS) throw new BadName(`too long: a queue's name has at most ${QUEUE_OCTETS} characters`)
  return name
}

function node(word: string, { allowWide }: NameOptions): string {
  const domain = toALabels(trimDot(word))
  if (domain === undefined) throw new BadName('no internationalised domain name')
  if (domain === '') throw new BadName('no domain name')
  const labels = domain.split('.')
  for (const label of labels) {
    if (!isLabel(label)) throw new BadName(slip(word) ?? labelRule(label))
  }
  if (domain.length > DOMAIN_CHARACTERS)
    throw new BadName(`too long: a domain name has at most ${DOMAIN_CHARACTERS} characters`)
  if (endsInNumber(domain)) throw new BadName('no domain name: its last label is a number')
  if (labels.length < 2 && !allowWide) {
    throw new BadName(
      'not fully qualified: write it as host.domain (--allow-wide sends it as it is; a queue is written #name)',
    )
  }
  return domain
}

/** What a word was meant for that is no name; undefined: nothing known. */
function slip(word: string): string | undefined {
  if (word.includes(',')) return 'names are separated by blanks'
  if (word.includes(':')) return 'no domain name; the server comes first, several of them joined by commas'
  return /^[^@]+@/.test(word) ? `no domain name; an address's domain is what stands behind its @` : undefined
}

function labelRule(label: string): string {
  if (label === '') return 'an empty label: two dots, or one in front'
  if (label.length > 63) return `the label ${quoted(label)} has more than 63 characters`
  if (/^-|-$/.test(label)) return `the label ${quoted(label)} begins or ends with a hyphen`
  return `the label ${quoted(label)} has other characters than letters, digits and hyphens`
}

const SHOWN = 80

function quoted(word: string): string {
  const text = printable(word)
  return text.length > SHOWN ? `"${beginning(text, SHOWN)}"...` : `"${text}"`
}
