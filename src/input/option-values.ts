import { familyOf } from '../net/address.js'
import { MAX_TIMER_MS } from '../net/deadline.js'
import { DOMAIN_CHARACTERS, isAscii, isQualifiedDomain, toALabels, trimDot } from '../net/domain.js'

// Parsers for the values of options. Each throws a plain Error whose message is the rule that the value breaks.

/** Returns `90`, `90s`, `2m` or `1h30m` in milliseconds. */
export function parseDuration(word: unknown): number {
  const [, bare, hours = 0, minutes = 0, seconds = 0] =
    /^(?:(\d{1,7})|(?=\d)(?:(\d{1,3})h)?(?:(\d{1,5})m)?(?:(\d{1,7})s)?)$/.exec(parseText(word)) ?? []
  const ms = 1000 * Number(bare ?? (Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds))
  if (ms === 0 || ms > MAX_TIMER_MS) throw new Error('a duration is 90, 90s, 2m or 1h30m, from 1s to 576h')
  return ms
}

export function parsePort(word: unknown): number {
  return parsePortDigits(parseText(word))
}

export function parsePortDigits(digits: string): number {
  const port = /^\d{1,5}$/.test(digits) ? Number(digits) : 0
  if (port < 1 || port > 65_535) throw new Error('a port is a number from 1 to 65535')
  return port
}

/** Returns a number from 1 to 9999. */
export function parseCount(word: unknown): number {
  const number = /^\d{1,4}$/.test(parseText(word)) ? Number(word) : 0
  if (number < 1) throw new Error('a number from 1 to 9999')
  return number
}

/** Returns a SHA-256 in capitals without colons. OpenSSL prints it with a prefix and colons. */
export function parseFingerprint(word: unknown): string {
  const digits = parseText(word)
    .replace(/^sha256(?: fingerprint)?[:=]/i, '')
    .replaceAll(':', '')
    .toUpperCase()
  if (!/^[0-9A-F]{64}$/.test(digits)) throw new Error('a SHA-256 has 64 hex digits, with or without colons')
  return digits
}

export function parseText(word: unknown): string {
  if (typeof word !== 'string') throw new Error('it has to be a text')
  if (word === '') throw new Error('the value is empty')
  // Octets that are not UTF-8 have become this character.
  if (word.includes('\ufffd')) throw new Error('it is not UTF-8')
  return word
}

/** Returns an argument of an SMTP command: ASCII, at most as long as a domain. */
export function parseCommandArgument(word: unknown): string {
  const argument = parseSendable(word)
  if (!isAscii(argument)) throw new Error('only ASCII can be sent')
  if (argument.length > DOMAIN_CHARACTERS) throw new Error(`1 to ${DOMAIN_CHARACTERS} characters`)
  return argument
}

/** Returns a text that has no character which could end a line or hide in it. */
export function parseSendable(word: unknown): string {
  const text = parseText(word)
  const rule = brokenSendableRule(text)
  if (rule !== undefined) throw new Error(rule)
  return text
}

/** Returns a domain name in A-labels and lower case. */
export function parseDomain(word: unknown): string {
  const name = parseALabels(trimDot(parseText(word)))
  if (!isQualifiedDomain(name)) throw new Error('no name of a domain')
  return name.toLowerCase()
}

/** Returns a host name in A-labels without a final dot, or an address. */
export function parseHost(word: unknown): string {
  const name = parseALabels(trimDot(parseSendable(word)))
  if (familyOf(name) === 0 && !isQualifiedDomain(name) && name !== 'localhost') throw new Error('no name of a host')
  return name
}

/** Returns the argument of EHLO: a name in A-labels, or an address literal. Some servers know their clients by other words. */
export function parseHelo(word: unknown): string {
  return parseCommandArgument(parseALabels(parseSendable(word)))
}

/** Returns a name with its internationalised labels as A-labels. Throws if that would be another name. */
export function parseALabels(name: string): string {
  const labels = toALabels(name)
  if (labels !== undefined) return labels
  throw new Error(isAscii(name) ? 'a label in it starts with xn--, but is no A-label' : BAD_INTERNATIONALISED)
}

const BAD_INTERNATIONALISED = 'not a valid internationalised name; check its characters, or write A-labels (xn--...)'

/** Returns a parser that accepts these words only. */
export function oneOf<T extends string>(...choices: readonly T[]): (word: unknown) => T {
  return (word) => {
    const choice = choices.find((c) => c === word)
    if (choice === undefined) throw new Error(`the choice is ${choices.join(', ')}`)
    return choice
  }
}

/** Returns why a text must not be sent, or undefined: it could end the line, or hide in it. */
export function brokenSendableRule(word: string): string | undefined {
  const found = /[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}]/u.exec(word)?.[0]
  if (found === undefined) return undefined
  const code = (found.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')
  if (found === ' ')
    return word.startsWith('# ')
      ? "a space in it; # begins a queue's name, not a comment"
      : 'a space in it; one name is one word'
  return `a control or invisible character in it (U+${code})`
}
