import { domainToASCII } from 'node:url'
import { beginning, printable } from './printable.js'
import { EXIT, UsageError } from './outcome.js'

declare const checked: unique symbol
/** What follows ETRN on the wire, checked: nothing else can be sent. `node`, `@node` or `#queue` (RFC 1985, 5 and 5.3). */
export type NodeName = string & { readonly [checked]: true }

/** A line of --names-from that is no name. It holds up nobody else's mail. */
export type BadLine = { readonly line: number; readonly word: string; readonly reason: string }

/** A name of the run, in the order asked. */
export type Entry = NodeName | BadLine

export type NameOptions = {
  /** Lets `@com` and single labels through. */
  readonly allowWide: boolean
}

/** Octets of a command line, CRLF included (RFC 5321, 4.5.3.1.4). */
const COMMAND_OCTETS = 512
const QUEUE_OCTETS = COMMAND_OCTETS - 'ETRN #\r\n'.length
const NODE_CHARACTERS = 253
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/i

/** Checks one NAME. Throws UsageError, with the word and the rule that it breaks. */
export async function nodeName(word: string, o: NameOptions): Promise<NodeName> {
  const checked = await parse(word, o)
  if (typeof checked === 'string') return checked
  throw new UsageError(`name ${quoted(word)}: ${checked.message}`)
}

/**
 * The names of a file, one a line: CR, a BOM and outer blanks dropped, blank lines skipped, no comments. Throws UsageError (66)
 * where there is no name at all.
 */
export async function namesOf(text: string, source: string, o: NameOptions): Promise<Entry[]> {
  const entries: Entry[] = []
  for (const [index, raw] of text
    .replace(/^\ufeff/, '')
    .split('\n')
    .entries()) {
    const word = raw.replace(/^[ \t\r]+|[ \t\r]+$/g, '')
    if (word === '') continue
    const checked = await parse(word, o)
    const isName = typeof checked === 'string'
    entries.push(isName ? checked : { line: index + 1, word: printable(word), reason: checked.message })
  }
  if (entries.length === 0)
    throw new UsageError(`${source}: there is no name in it; give one name a line`, EXIT.NOINPUT)
  return entries
}

/** Those that are names. */
export function nodesIn(entries: readonly Entry[]): NodeName[] {
  return entries.filter((entry) => typeof entry === 'string')
}

/** Each name once, the first time that it stands: nodes in any case of letters, queues letter by letter. */
export function withoutDuplicates<T extends Entry>(entries: readonly T[]): T[] {
  const seen = new Set<string>()
  return entries.filter((entry) => {
    if (typeof entry !== 'string') return true
    const key = entry.startsWith('#') ? entry : entry.toLowerCase()
    return !seen.has(key) && seen.add(key)
  })
}

/** A domain name with its internationalised labels as A-labels; undefined where one has no such form. */
export function aLabels(domain: string): string | undefined {
  if (isAscii(domain)) return domain
  const labels = domain.split(/[.\u3002\uff0e\uff61]/).map((label) => {
    // domainToASCII parses a URL's host: it must not see what it would take for an address or an escape.
    return isAscii(label) ? label : domainToASCII(label)
  })
  return labels.every((label) => LABEL.test(label)) ? labels.join('.') : undefined
}

/** Whether a host's name can be the node that ETRN asks for (RFC 1985, section 5: fully qualified). */
export function isNode(domain: string): boolean {
  try {
    node(domain, { allowWide: false })
    return true
  } catch (error) {
    if (!(error instanceof BadName)) throw error
    return false
  }
}

/** The rule that an argument of a command breaks: it is ASCII, and no longer than a domain; undefined: none. */
export function argumentRule(word: string): string | undefined {
  const broken = sendableRule(word)
  if (broken !== undefined) return broken
  if (!isAscii(word)) return 'only ASCII can be sent; write a domain as A-labels (xn--...)'
  return word === '' || word.length > NODE_CHARACTERS ? `1 to ${NODE_CHARACTERS} characters` : undefined
}

/** The rule that a word breaks, without the word. */
class BadName extends Error {}

/** The one maker of NodeNames. */
async function parse(word: string, o: NameOptions): Promise<NodeName | BadName> {
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
  const domain = aLabels(word.replace(/[.\u3002\uff0e\uff61]$/, ''))
  if (domain === undefined) throw new BadName('no internationalised domain name')
  if (domain === '') throw new BadName('no domain name')
  const labels = domain.split('.')
  for (const label of labels) {
    if (!LABEL.test(label)) throw new BadName(slip(word) ?? labelRule(label))
  }
  if (domain.length > NODE_CHARACTERS)
    throw new BadName(`too long: a domain name has at most ${NODE_CHARACTERS} characters`)
  if (/^[0-9]+$/.test(labels.at(-1) ?? '')) throw new BadName('no domain name: its last label is a number')
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

/** Why a word can't stand in a command line at all: it could end the line, or hide in it; undefined: it can. */
export function sendableRule(word: string): string | undefined {
  const found = /[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}]/u.exec(word)?.[0]
  if (found === undefined) return undefined
  const code = (found.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')
  if (found === ' ')
    return word.startsWith('# ')
      ? "a space in it; # begins a queue's name, not a comment"
      : 'a space in it; one name is one word'
  return `a control or invisible character in it (U+${code})`
}

const SHOWN = 80

function quoted(word: string): string {
  const text = printable(word)
  return text.length > SHOWN ? `"${beginning(text, SHOWN)}"...` : `"${text}"`
}

function isAscii(text: string): boolean {
  return Buffer.byteLength(text) === text.length
}
