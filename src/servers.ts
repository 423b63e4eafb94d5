import { familyOf } from './ip.js'
import type { Server } from './smtp/session.js'
import { aLabels } from './names.js'
import { UsageError } from './outcome.js'
import { printable } from './printable.js'

/** A server as the command line names it. */
export type Target = Pick<Server, 'word' | 'host' | 'port' | 'isImplicitTls'> & {
  /** The user that its URL names */
  readonly user: string | undefined
}

const PORTS = { smtp: 25, smtps: 465 } as const

/**
 * The server of a word: `host`, `host:port`, `192.0.2.1`, `[2001:db8::1]:port`, `smtp://host[:port]`, `smtps://host`; `port` is for
 * one that names none. Throws UsageError.
 */
export function serverOf(word: string, port?: number): Target {
  try {
    const { scheme, user, host, port: own } = parts(word)
    return {
      word: printable(word),
      host,
      port: portOf(own ?? String(port ?? PORTS[scheme])),
      isImplicitTls: scheme === 'smtps',
      user,
    }
  } catch (error) {
    if (!(error instanceof Error)) throw error
    const shown = printable(word.replace(/(\/\/[^:]*):.*@/s, '$1:****@'))
    throw new UsageError(`server "${shown}": ${error.message}`)
  }
}

/** A TCP port in digits. Throws a plain Error with the rule. */
export function portOf(digits: string): number {
  const port = /^\d{1,5}$/.test(digits) ? Number(digits) : 0
  if (port < 1 || port > 65_535) throw new Error('a port is a number from 1 to 65535')
  return port
}

type Parts = { scheme: keyof typeof PORTS; user: string | undefined; host: string; port: string | undefined }

/** Host, without brackets, as it is looked up, and the port's digits if there are any. Throws a plain Error with the rule. */
function parts(word: string): Parts {
  if (word === '') throw new Error('nothing there; write SERVER or SERVER,SERVER without blanks')
  if (/^[@#]/.test(word)) throw new Error('a name; the server comes first: etrn SERVER NAME')
  const [, given, rest = ''] = /^(?:([a-z][a-z0-9+.-]*):\/\/)?(.*)$/is.exec(word) ?? []
  const scheme = (given ?? 'smtp').toLowerCase()
  if (scheme !== 'smtp' && scheme !== 'smtps')
    throw new Error(`${scheme}:// is not supported; write smtp://host or smtps://host`)
  const [, login, place = ''] = /^(?:(.*)@)?(.*)$/s.exec(rest) ?? []
  if (login !== undefined && given === undefined)
    throw new Error('a user stands in a URL only; write smtp://user@host, or --user')
  if (login?.includes(':'))
    throw new Error('a password may not stand here, where everybody can read it; use --password-file')
  if (login === '') throw new Error('the user in front of the @ is missing')
  const user = login === undefined ? undefined : decoded(login)
  if (familyOf(place) === 6) throw new Error(`write an IPv6 address in brackets: [${place}]`)
  const [, literal, name = '', port] = /^(?:\[(?:IPv6:)?([^\]]*)\]|([^:]*))(?::([^:/]*))?\/?$/is.exec(place) ?? []
  const host = literal ?? name
  return { scheme, user, host: familyOf(host) === 0 ? lookedUp(host) : host, port }
}

/** A URL's user may be written with %40 for @. */
function decoded(user: string): string {
  try {
    return decodeURIComponent(user)
  } catch {
    throw new Error('the user has a % that is no escape; write %25')
  }
}

/** A name that can be looked up. Underscores are found inside some networks. */
function lookedUp(host: string): string {
  const domain = aLabels(host.replace(/\.$/, ''))
  if (domain === undefined || !isHost(domain)) {
    throw new Error('neither a host name nor an address; write host, host:port or [2001:db8::1]:port')
  }
  return domain.toLowerCase()
}

/** Whether an ASCII name can be a host's. */
export function isHost(name: string): boolean {
  const labels = name.split('.')
  const areValid = labels.every((label) => /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/i.test(label))
  return areValid && name.length <= 253 && !/^\d+$/.test(labels.at(-1) ?? '')
}
