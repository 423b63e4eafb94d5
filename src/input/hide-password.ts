import { printable } from '../printable.js'

/**
 * Returns a word that may be a server's URL in printable text, without a password that was written into it. Errors quote words that
 * can't be parsed, so that what looks like a password counts, not what is one: `smtp:u:secret@host`, `//u:secret@host`, `u:secret`,
 * `u;secret@host`, `host?password=secret`.
 */
export function hidePassword(word: string): string {
  const [, scheme = '', rest = ''] = /^([a-z][a-z0-9+.-]*:\/\/)?(.*)$/is.exec(word) ?? []
  const [, login = ''] = /^(.*)@/s.exec(rest) ?? []
  // The password itself may have an @, and the host may be missing: nothing behind the scheme is safe.
  if (/[:\uff1a]|%3a|[;/][^;/]+$/i.test(login)) return `${printable(scheme)}****`
  const [, beforeQuery] = /^([^?]*)\?.*=/s.exec(rest) ?? []
  if (beforeQuery !== undefined) return `${hidePassword(scheme + beforeQuery)}?****`
  const isAddress = /^\[?(?:IPv6:)?[0-9a-f.]*:[0-9a-f.]*:[0-9a-f:.]*(?:%[\w.-]+)?(?:\](?::\d*)?)?$/i.test(rest)
  const [, host = '', port = ''] = /^([^:]*):(.*)$/s.exec(rest) ?? []
  const isHarmless = /^\d*\/*$/.test(port) || (/^smtps?$/i.test(host) && !port.includes(':'))
  return login !== '' || isAddress || isHarmless ? printable(word) : `${printable(scheme + host)}:****`
}
