import { isIP } from 'node:net'
import type { Server } from './smtp/session.js'
import { aLabels } from './names.js'
import { UsageError } from './outcome.js'
import { printable } from './printable.js'

const DEFAULT_PORT = 25

/**
 * The servers of a SERVER word: `host`, `host:port`, `192.0.2.1`, `[2001:db8::1]:port`, `smtp://host[:port]`, several with
 * commas; `port` is for those that name none. Throws UsageError.
 */
export function serversOf(words: string, port: number = DEFAULT_PORT): Server[] {
  const servers = words.split(',').map((word) => serverOf(word, port))
  return servers.filter((s, index) => servers.findIndex((t) => t.host === s.host && t.port === s.port) === index)
}

/** A TCP port in digits. Throws a plain Error with the rule. */
export function portOf(digits: string): number {
  const port = /^\d{1,5}$/.test(digits) ? Number(digits) : 0
  if (port < 1 || port > 65_535) throw new Error('a port is a number from 1 to 65535')
  return port
}

/** One server. Throws UsageError. */
export function serverOf(word: string, port: number = DEFAULT_PORT): Server {
  try {
    const { host, port: own } = parts(word)
    return { word: printable(word), host, port: own === undefined ? port : portOf(own) }
  } catch (error) {
    if (!(error instanceof Error)) throw error
    throw new UsageError(`server "${printable(word)}": ${error.message}`)
  }
}

/** Host, without brackets, as it is looked up, and the port's digits if there are any. Throws a plain Error with the rule. */
function parts(word: string): { host: string; port?: string | undefined } {
  if (word === '') throw new Error('nothing there; write SERVER or SERVER,SERVER without blanks')
  const [, scheme = 'smtp', place = ''] = /^(?:([a-z][a-z0-9+.-]*):\/\/)?(.*)$/is.exec(word) ?? []
  if (scheme.toLowerCase() !== 'smtp') throw new Error(`${scheme}:// is not supported; write smtp://host`)
  if (place.includes('@')) throw new Error('logging in is not supported; write the host alone')
  if (isIP(place) === 6) return { host: place }
  const [, literal, name = '', port] = /^(?:\[(?:IPv6:)?([^\]]*)\]|([^:]*))(?::([^:/]*))?\/?$/is.exec(place) ?? []
  const host = literal ?? name
  return { host: isIP(host) === 0 ? lookedUp(host) : host, port }
}

/** A name that can be looked up. Underscores are found inside some networks. */
function lookedUp(host: string): string {
  const domain = aLabels(host.replace(/\.$/, ''))
  const labels = domain?.split('.') ?? []
  const valid = labels.every((label) => /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/i.test(label))
  if (domain === undefined || !valid || domain.length > 253 || /^\d+$/.test(labels.at(-1) ?? '')) {
    throw new Error('neither a host name nor an address; write host, host:port or [2001:db8::1]:port')
  }
  return domain
}
