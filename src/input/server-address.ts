import { UsageError } from '../errors.js'
import { familyOf } from '../net/address.js'
import { hasFinalDot, isHostName, splitLabels, trimDot } from '../net/domain.js'
import { printable } from '../printable.js'
import { hidePassword } from './hide-password.js'
import { parseALabels, parsePortDigits, PORT_RULE } from './option-values.js'

export type ServerAddress = {
  /** The SERVER argument or the profile, as the user typed it */
  readonly word: string
  /** A host name in A-labels, or an address without brackets */
  readonly host: string
  readonly port: number
  /** True for smtps://, where TLS begins before the greeting (RFC 8314). */
  readonly isImplicitTls: boolean
  /** True for a name of several labels with a final dot: the search list does not complete it. */
  readonly isAbsolute?: true
}

/** A parsed SERVER argument: the address, and the user name in its URL. */
export type ServerArgument = ServerAddress & { readonly user: string | undefined }

const DEFAULT_PORTS = { smtp: 25, smtps: 465 } as const

/**
 * Parses a SERVER argument: `host`, `host:port`, `192.0.2.1`, `[2001:db8::1]:port`, `smtp://host[:port]`, `smtps://host`. `port` is the
 * default for one that has none. Throws UsageError.
 */
export function parseServer(word: string, port?: number): ServerArgument {
  try {
    return splitServer(word, port)
  } catch (error) {
    if (!(error instanceof Error)) throw error
    throw new UsageError(`server "${hidePassword(word)}" ${error.message}`)
  }
}

/** Throws a plain Error with the rule that the word breaks, as a sentence without its subject. */
function splitServer(word: string, defaultPort: number | undefined): ServerArgument {
  if (word === '') throw new Error('is empty; write SERVER or SERVER,SERVER without spaces')
  if (/\s/.test(word)) throw new Error('contains a space; separate several servers with commas only')
  if (/^[@#]/.test(word))
    throw new Error(
      `is a name; the server comes first: etrn SERVER ${/^[@#][\w.-]+$/.test(word) ? `'${word}'` : 'NAME'}`,
    )
  const [, typedScheme, rest = ''] = /^(?:([a-z][a-z0-9+.-]*):\/\/)?(.*)$/is.exec(word) ?? []
  const scheme = (typedScheme ?? 'smtp').toLowerCase()
  if (scheme !== 'smtp' && scheme !== 'smtps') throw new Error('is not an SMTP URL; write smtp://HOST or smtps://HOST')
  // A URL may end in the slash of an empty path.
  const authority = typedScheme === undefined ? rest : rest.replace(/\/$/, '')
  const { user, place } = splitAuthority(authority, typedScheme !== undefined)
  if (familyOf(place) === 6) throw new Error(`is an IPv6 address; write the address in brackets: [${place}]`)
  const [, literal, name = '', port] = /^(?:\[(?:IPv6:)?([^\]]*)\]|([^:]*))(?::([^:]*))?$/is.exec(place) ?? []
  const host = literal ?? name
  return {
    word: printable(word),
    host: familyOf(host) === 0 ? parseHostName(host) : host,
    port: port === undefined ? (defaultPort ?? DEFAULT_PORTS[scheme]) : parsePortOf(port),
    isImplicitTls: scheme === 'smtps',
    ...(hasFinalDot(host) && splitLabels(trimDot(host)).length > 1 ? { isAbsolute: true } : {}),
    user,
  }
}

/** Splits `user@host:port`. Throws as splitServer does. */
function splitAuthority(authority: string, isUrl: boolean): { user: string | undefined; place: string } {
  const at = authority.lastIndexOf('@')
  const login = at === -1 ? undefined : authority.slice(0, at)
  const place = authority.slice(at + 1)
  if (login?.includes(':'))
    throw new Error('must not contain a password; write smtp://USER@HOST, and use --password-file FILE')
  if (isUrl && authority.includes('/')) throw new Error('contains a path; write smtp://HOST or smtp://HOST:PORT')
  if (login === undefined) return { user: undefined, place }
  if (!isUrl) {
    const url = hidePassword(authority) === authority ? `smtp://${authority}` : 'smtp://USER@HOST'
    throw new Error(`contains a user name; write ${url} to log in, or only the host`)
  }
  if (login === '') throw new Error('has no user name before @; write smtp://USER@HOST')
  return { user: decodeUser(login), place }
}

/** Decodes the user name in a URL, where %40 stands for @. */
function decodeUser(user: string): string {
  try {
    return decodeURIComponent(user)
  } catch {
    throw new Error('has a user name with a % that does not start an escape; write %25 for %')
  }
}

function parsePortOf(digits: string): number {
  try {
    return parsePortDigits(digits)
  } catch {
    throw new Error(`has an invalid port; a port ${PORT_RULE}`)
  }
}

function parseHostName(host: string): string {
  const domain = parseALabels(trimDot(host))
  if (!isHostName(domain))
    throw new Error(
      'is neither a host name nor an IP address; write, for example, mail.isp.example or [2001:db8::1]:25',
    )
  return domain.toLowerCase()
}
