import { UsageError } from '../errors.js'
import { familyOf } from '../net/address.js'
import { isHostName, trimDot } from '../net/domain.js'
import { printable } from '../printable.js'
import { hidePassword } from './hide-password.js'
import { parseALabels, parsePortDigits } from './option-values.js'

export type ServerAddress = {
  /** The SERVER argument or the profile, as the user typed it */
  readonly word: string
  /** A host name in A-labels, or an address without brackets */
  readonly host: string
  readonly port: number
  /** True for smtps://, where TLS begins before the greeting (RFC 8314). */
  readonly isImplicitTls: boolean
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
    throw new UsageError(`server "${hidePassword(word)}": ${error.message}`)
  }
}

/** Throws a plain Error with the rule that the word breaks. */
function splitServer(word: string, defaultPort: number | undefined): ServerArgument {
  if (word === '') throw new Error('nothing there; write SERVER or SERVER,SERVER without blanks')
  if (/^[@#]/.test(word)) throw new Error('a name; the server comes first: etrn SERVER NAME')
  const [, typedScheme, rest = ''] = /^(?:([a-z][a-z0-9+.-]*):\/\/)?(.*)$/is.exec(word) ?? []
  const scheme = (typedScheme ?? 'smtp').toLowerCase()
  if (scheme !== 'smtp' && scheme !== 'smtps')
    throw new Error(`${scheme}:// is not supported; write smtp://host or smtps://host`)
  // A URL may end in the slash of an empty path.
  const authority = typedScheme === undefined ? rest : rest.replace(/\/$/, '')
  const at = authority.lastIndexOf('@')
  const login = at === -1 ? undefined : authority.slice(0, at)
  const place = authority.slice(at + 1)
  if (login?.includes(':'))
    throw new Error(
      'a password may not stand here, where everybody can read it; write smtp://user@host, and use --password-file',
    )
  if (typedScheme !== undefined && authority.includes('/'))
    throw new Error('a path has no meaning in it; write smtp://host[:port]')
  if (login !== undefined && typedScheme === undefined)
    throw new Error('a user stands in a URL only; write smtp://user@host, or --user')
  if (login === '') throw new Error('the user in front of the @ is missing')
  const user = login === undefined ? undefined : decodeUser(login)
  if (familyOf(place) === 6) throw new Error(`write an IPv6 address in brackets: [${place}]`)
  const [, literal, name = '', port] = /^(?:\[(?:IPv6:)?([^\]]*)\]|([^:]*))(?::([^:]*))?$/is.exec(place) ?? []
  const host = literal ?? name
  return {
    word: printable(word),
    host: familyOf(host) === 0 ? parseHostName(host) : host,
    port: parsePortDigits(port ?? String(defaultPort ?? DEFAULT_PORTS[scheme])),
    isImplicitTls: scheme === 'smtps',
    user,
  }
}

/** Decodes the user name in a URL, where %40 stands for @. */
function decodeUser(user: string): string {
  try {
    return decodeURIComponent(user)
  } catch {
    throw new Error('the user has a % that is no escape; write %25')
  }
}

function parseHostName(host: string): string {
  const domain = parseALabels(trimDot(host))
  if (!isHostName(domain))
    throw new Error('neither a host name nor an address; write host, host:port or [2001:db8::1]:port')
  return domain.toLowerCase()
}
