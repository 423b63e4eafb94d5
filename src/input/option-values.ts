import { familyOf } from '../net/address.js'
import { MAX_TIMER_MS } from '../net/deadline.js'
import { DOMAIN_CHARACTERS, isAscii, isQualifiedDomain, toALabels, trimDot } from '../net/domain.js'

// Parsers for the values of options. Each throws a plain Error whose message is the rule that the value breaks, as a sentence without its
// subject: `must be a number from 1 to 9999`.

/** Returns `90`, `90s`, `2m` or `1h30m` in milliseconds. */
export function parseDuration(word: unknown): number {
  const [, bare, hours = 0, minutes = 0, seconds = 0] =
    /^(?:(\d{1,7})|(?=\d)(?:(\d{1,3})h)?(?:(\d{1,5})m)?(?:(\d{1,7})s)?)$/.exec(parseText(word)) ?? []
  const ms = 1000 * Number(bare ?? (Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds))
  if (ms === 0 || ms > MAX_TIMER_MS)
    throw new Error('must be a duration from 1s to 576h (for example 90, 90s, 2m or 1h30m)')
  return ms
}

export const PORT_RULE = 'must be a number from 1 to 65535'

export function parsePort(word: unknown): number {
  return parsePortDigits(parseText(word))
}

export function parsePortDigits(digits: string): number {
  const port = /^\d{1,5}$/.test(digits) ? Number(digits) : 0
  if (port < 1 || port > 65_535) throw new Error(PORT_RULE)
  return port
}

/** Returns a number from 1 to 9999. */
export function parseCount(word: unknown): number {
  const number = /^\d{1,4}$/.test(parseText(word)) ? Number(word) : 0
  if (number < 1) throw new Error('must be a number from 1 to 9999')
  return number
}

/** Returns a SHA-256 in capitals without colons. OpenSSL prints it with a prefix and colons. */
export function parseFingerprint(word: unknown): string {
  const digits = parseText(word)
    .replace(/^sha256(?: fingerprint)?[:=]/i, '')
    .replaceAll(':', '')
    .toUpperCase()
  if (!/^[0-9A-F]{64}$/.test(digits))
    throw new Error('must be a SHA-256 fingerprint: 64 hex digits, with or without colons')
  return digits
}

export function parseText(word: unknown): string {
  if (typeof word !== 'string') throw new Error('must be a string')
  if (word === '') throw new Error('is empty')
  // Octets that are not UTF-8 have become U+FFFD. Half of a surrogate pair would become that character when it is sent.
  if (/[\ufffd\p{Surrogate}]/u.test(word)) throw new Error('is not UTF-8')
  return word
}

/** Returns the name of a file to write. Standard output has the results. */
export function parseOutputFile(word: unknown): string {
  if (word === '-') throw new Error('must be a file, because the results go to standard output')
  return parseText(word)
}

/** Returns an argument of an SMTP command: ASCII, at most as long as a domain. */
export function parseCommandArgument(word: unknown): string {
  const argument = parseSendable(word)
  if (!isAscii(argument)) throw new Error('contains characters that are not ASCII')
  if (argument.length > DOMAIN_CHARACTERS) throw new Error(`has more than ${DOMAIN_CHARACTERS} characters`)
  return argument
}

/** Returns a text that has no character which could end a line or hide in it. */
export function parseSendable(word: unknown): string {
  const text = parseText(word)
  const rule = brokenSendableRule(text)
  if (rule !== undefined) throw new Error(rule)
  return text
}

/** Returns a node, to which an option adds `@`. It is checked with the other names. */
export function parseSubdomains(word: unknown): string {
  const node = parseText(word)
  if (node.startsWith('@')) throw new Error('must not start with @')
  if (/[,;]/.test(node)) throw new Error('contains several names')
  return node
}

/** Returns a queue, to which an option adds `#`. It is checked with the other names. */
export function parseQueue(word: unknown): string {
  const queue = parseText(word)
  if (queue.startsWith('#')) throw new Error('must not start with #')
  if (/^[ \t]/.test(queue)) throw new Error('must not start with a space')
  return queue
}

/** Returns a domain name in A-labels and lower case. */
export function parseDomain(word: unknown): string {
  const name = parseALabels(trimDot(parseText(word)))
  if (!isQualifiedDomain(name)) throw new Error('is not a fully qualified domain name')
  return name.toLowerCase()
}

/** Returns a host name in A-labels without a final dot, or an address. */
export function parseHost(word: unknown): string {
  const name = trimBrackets(parseALabels(trimDot(parseSendable(word))))
  if (familyOf(name) === 0 && !isQualifiedDomain(name) && name !== 'localhost')
    throw new Error('is neither a fully qualified host name nor an IP address')
  return name
}

/** Returns the local end of connections: the name of an interface, or an address. */
export function parseLocalEnd(word: unknown): string {
  return trimBrackets(parseCommandArgument(word))
}

/** Returns an IPv6 address without the brackets that SERVER needs around it; anything else as it is. */
function trimBrackets(word: string): string {
  const inner = word.slice(1, -1)
  return word === `[${inner}]` && familyOf(inner) === 6 ? inner : word
}

/** Returns the argument of EHLO: a name in A-labels, or an address literal. Some servers know their clients by other words. */
export function parseHelo(word: unknown): string {
  return parseCommandArgument(parseALabels(parseSendable(word)))
}

/** Returns a name with its internationalised labels as A-labels. Throws if that would be another name. */
export function parseALabels(name: string): string {
  const labels = toALabels(name)
  if (labels !== undefined) return labels
  throw new Error(isAscii(name) ? 'has a label that starts with xn-- but is not valid Punycode' : BAD_INTERNATIONALISED)
}

const BAD_INTERNATIONALISED = 'is not a valid internationalised name; check the characters, or write the xn-- form'

/** Returns a parser that accepts these words only. */
export function oneOf<T extends string>(...choices: readonly T[]): (word: unknown) => T {
  return (word) => {
    const choice = choices.find((c) => c === word)
    if (choice === undefined) throw new Error(`must be ${joinChoices(choices)}`)
    return choice
  }
}

/** Returns words as a sentence lists them: `none, may or verify`. */
export function joinChoices(choices: readonly string[]): string {
  const last = choices.at(-1) ?? ''
  return choices.length < 2 ? last : `${choices.slice(0, -1).join(', ')} or ${last}`
}

/** Returns the rule by which a text must not be sent, or undefined: a character in it could end the line, or hide. */
export function brokenSendableRule(word: string): string | undefined {
  if (/^[!-~]*$/.test(word)) return undefined
  const found = /[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}]/u.exec(word)?.[0]
  if (found === undefined) return undefined
  const code = (found.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')
  if (found === ' ') return 'contains a space'
  return found === '\t' ? 'contains a tab' : `contains a control or invisible character (U+${code})`
}
