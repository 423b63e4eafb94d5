import { setMaxListeners } from 'node:events'
import type { Resolver } from 'node:dns/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf, EXIT, StepError } from '../errors.js'
import { askServers, type Query, serverDelayMs } from './ask-servers.js'
import { type Family, familyOf, interleaveFamilies, isLoopback } from './address.js'
import { isShortTimeout, type Limits, startDeadline, type Timeout } from './deadline.js'
import { isLocalhost } from './domain.js'
import { hostsEntries } from './hosts-file.js'
import { rejectEmpty } from './name-server.js'
import { race } from './race.js'
import { completedNames, minimumDots } from './resolv-conf.js'
import {
  firstError,
  isNoHost,
  noAddressError,
  RESOLVER_HINT,
  resolutionError,
  SHORT_TIMEOUT_HINT,
} from './resolution-error.js'
import { SystemResolver } from './system-resolver.js'

/** The addresses of a host, best first. */
export type Addresses = {
  readonly first: readonly string[]
  /** Addresses that DNS returned later. Never rejects. */
  readonly late: Promise<readonly string[]>
  /** Cancels a query that is still running; to be called when `late` is no longer needed. */
  readonly cancel: () => void
}

type FoundAddresses = Omit<Addresses, 'cancel'>

export type MxRecord = { readonly host: string; readonly preference: number }

/** The time that a known A record waits for AAAA (RFC 8305, section 3). */
const RESOLUTION_DELAY_MS = 50
/** The time after the first answer in which another one is of use, if no connection stands: a query that is lost is repeated after 2 s, then after 4 s. */
const LATE_ANSWER_MS = 10_000
/** The name servers run alone for this time, or half of the timeout, before getaddrinfo is asked beside them. */
const SYSTEM_DELAY_MS = 5000

const systemResolver = new SystemResolver()

/**
 * Returns the addresses of a host: an address as it is, those in /etc/hosts, else A and AAAA records, else those that getaddrinfo finds,
 * which also knows the search list, mDNS and nsswitch.conf. An absolute name is never completed by the search list; localhost is never
 * looked up. Throws StepError, whose message doesn't name the host: 68 if DNS and getaddrinfo are certain that the host has no address,
 * else 75.
 */
export async function lookUpAddresses(
  host: string,
  family: Family,
  limits: Limits,
  { isAbsolute = false } = {},
): Promise<Addresses> {
  const listed = familyOf(host) === 0 ? listedAddresses(host, family) : [host]
  if (familyOf(host) !== 0 || interleaveFamilies(listed, family).length > 0)
    return { ...knownAddresses(listed, family), cancel: () => undefined }
  const labels = host.split('.').length
  // For these names the system's resolver begins with the search list or with mDNS.
  const isCompletedFirst =
    !isAbsolute && (labels === 1 || /\.local$/i.test(host) || (labels === 2 && minimumDots() > 1))
  return withinLimits(limits, async (end) => {
    let isDenied = false
    let verdict: Promise<unknown> | undefined
    const fromDns = async (name = host): Promise<FoundAddresses> => {
      const asking = askServers(queryHost(name, family, limits.timeoutMs), limits.timeoutMs, end.signal)
      verdict ??= asking.catch((error: unknown) => (isDenied ||= name === host && isDenial(error, labels, family)))
      return asking
    }
    // If DNS fails, a wildcard in the search list would answer in place of the name: often with the address of this host.
    const isWhole = (): boolean => isAbsolute || !(isCompletedFirst || isDenied)
    const fromBoth = async (): Promise<FoundAddresses> =>
      askSystem(host, family, isWhole(), end.signal).catch(async (error: unknown) => {
        if (!isNoHost(error)) throw error
        await verdict
        // getaddrinfo takes some failures of DNS for this answer, above all those for a completed name.
        const names = [...(isWhole() ? [] : completedNames(host)), ...(isCompletedFirst ? [host] : [])]
        return (await firstKnown(names, host, fromDns)) ?? Promise.reject(error)
      })
    const ways = isCompletedFirst ? [fromBoth] : [fromDns, fromBoth]
    const delayMs = Math.min(SYSTEM_DELAY_MS, limits.timeoutMs / 2)
    const found = await race(ways, delayMs, end.signal).catch((error: unknown) => {
      throw firstError(error, ({ exitStatus }) => exitStatus !== EXIT.NOHOST)
    })
    return { ...found, cancel: () => end.abort() }
  })
}

/** Returns the addresses of the first of these names that DNS knows; undefined if it denies all. Throws the failure of a name before. */
async function firstKnown(
  names: readonly string[],
  host: string,
  query: (name: string) => Promise<FoundAddresses>,
): Promise<FoundAddresses | undefined> {
  for (const name of names) {
    const found = await query(name).catch((failure: unknown) => {
      if (!isNoHost(failure))
        throw name !== host && failure instanceof StepError
          ? new StepError(`${name}: ${failure.message}`, failure)
          : failure
    })
    if (found !== undefined) return found
  }
  return undefined
}

/** Returns true if DNS says that a name has no address of any family. Some servers refuse foreign names of two labels. */
function isDenial(error: unknown, labels: number, family: Family): boolean {
  const code = error instanceof StepError ? codeOf(error.cause) : ''
  if (!isNoHost(error)) return code === 'EREFUSED' && labels === 2
  return code === 'ENOTFOUND' || (code === 'ENODATA' && family === undefined)
}

/** Returns the addresses that /etc/hosts has for a host. Localhost always has some, and they never leave this host. */
function listedAddresses(host: string, family: Family): readonly string[] {
  const listed = hostsEntries(host.toLowerCase()).map(({ address }) => address)
  if (!isLocalhost(host)) return listed
  const own = listed.filter(isLoopback)
  return interleaveFamilies(own, family).length > 0 ? own : ['::1', '127.0.0.1']
}

/**
 * Returns the MX records of a domain, names in lower case: none if it has none, as localhost, one with an empty name for a null MX (RFC 7505).
 * Throws StepError: 68 if the domain doesn't exist, 75 if DNS gave no definite answer.
 */
export async function lookUpMx(domain: string, limits: Limits): Promise<MxRecord[]> {
  if (isLocalhost(domain)) return []
  const records = await withinLimits(limits, async (end) => {
    const found = await askServers(queryMx(domain), limits.timeoutMs, end.signal)
    end.abort()
    return found
  }).catch((error: unknown) => {
    // A server without a record may be lame, so all servers must agree.
    if (isNoHost(error) && codeOf(error.cause) === 'ENODATA') return []
    throw error
  })
  return records.map(({ exchange, priority }) => ({ host: exchange.toLowerCase(), preference: priority }))
}

/** Returns the A and AAAA records of a host, whatever /etc/hosts says, but for localhost. Throws StepError as lookUpMx does. */
export async function queryAddresses(host: string, family: Family, limits: Limits): Promise<Addresses> {
  if (isLocalhost(host)) return { ...knownAddresses(listedAddresses(host, family), family), cancel: () => undefined }
  return withinLimits(limits, async (end) => {
    const found = await askServers(queryHost(host, family, limits.timeoutMs), limits.timeoutMs, end.signal)
    return { ...found, cancel: () => end.abort() }
  })
}

/** Calls `work` with a controller that the limits abort. Throws the limits' reason if they are over. */
async function withinLimits<T>(limits: Limits, work: (end: AbortController) => Promise<T>): Promise<T> {
  const end = new AbortController()
  // There is a listener for each name server.
  setMaxListeners(0, end.signal)
  const describe = (within: string): Timeout => ({
    message: `no answer from DNS ${within}`,
    hint: isShortTimeout(limits.timeoutMs) ? SHORT_TIMEOUT_HINT : RESOLVER_HINT,
  })
  const cancel = startDeadline(limits, describe, (reason) => end.abort(reason))
  try {
    end.signal.throwIfAborted()
    return await work(end)
  } catch (error) {
    end.signal.throwIfAborted()
    end.abort()
    throw error
  } finally {
    cancel()
  }
}

function queryMx(domain: string): Query<Awaited<ReturnType<Resolver['resolveMx']>>> {
  return async (server) =>
    server.resolver
      .resolveMx(domain)
      .then(rejectEmpty)
      .catch(async (error: unknown) => {
        throw resolutionError('domain', domain, [await server.confirm(error, domain, 'MX')])
      })
}

function queryHost(host: string, family: Family, timeoutMs: number): Query<FoundAddresses> {
  return async (server, signal) => {
    const found: string[] = []
    const failures: (() => Promise<unknown>)[] = []
    let isWhole = true
    const keep = async (type: 'A' | 'AAAA', records: Promise<string[]>): Promise<boolean> => {
      try {
        return found.push(...rejectEmpty(await records)) > 0
      } catch (error) {
        isWhole &&= ['ENODATA', 'ENOTFOUND'].includes(codeOf(error))
        failures.push(async () => server.confirm(error, host, type))
        return false
      }
    }
    const ipv6 = family === 4 ? Promise.resolve(false) : keep('AAAA', server.resolver.resolve6(host))
    const ipv4 = family === 6 ? Promise.resolve(false) : keep('A', server.resolver.resolve4(host))
    const both = Promise.all([ipv6, ipv4])
    await Promise.race([
      both,
      ipv6.then((isFound) => (isFound ? undefined : both)),
      ipv4.then((isFound) => (isFound ? sleep(RESOLUTION_DELAY_MS, undefined, { ref: false }) : both)),
    ])
    const first = interleaveFamilies(found, family)
    // Most hosts lack one family, which needs no proof.
    if (first.length === 0)
      throw resolutionError('host', host, await Promise.all(failures.map(async (confirm) => confirm())), family)
    const rest = async (): Promise<readonly string[]> => {
      await both
      return isWhole ? found : Promise.reject(new Error('one family is unknown'))
    }
    const other = first.some((address) => familyOf(address) === 4) ? 6 : 4
    // A server, or what is on the path to it, may lose the queries for one family.
    const others = async (): Promise<readonly string[]> =>
      (await askServers(queryHost(host, other, timeoutMs), timeoutMs, signal, server.address)).first
    const known = race([rest, others], serverDelayMs(timeoutMs), signal).catch(() => found)
    return { first, late: newOnes(knownWithin(LATE_ANSWER_MS, known, signal), first, family) }
  }
}

/** Returns the addresses that are known within a time; none otherwise, or once the signal aborts. Never rejects if the promise doesn't. */
export async function knownWithin(
  timeMs: number,
  addresses: Promise<readonly string[]>,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const wait = sleep(timeMs, [], { ref: false, signal }).catch(() => [])
  return Promise.race([addresses, wait])
}

async function newOnes(
  addresses: Promise<readonly string[]>,
  first: readonly string[],
  family: Family,
): Promise<readonly string[]> {
  return interleaveFamilies(await addresses, family).filter((address) => !first.includes(address))
}

async function askSystem(
  host: string,
  family: Family,
  isAbsolute: boolean,
  signal: AbortSignal,
): Promise<FoundAddresses> {
  const name = isAbsolute ? `${host}.` : host
  const found = await systemResolver.lookUp(name, signal).catch((error: unknown) => {
    throw resolutionError('host', host, [error])
  })
  return knownAddresses(found, family)
}

function knownAddresses(addresses: readonly string[], family: Family): FoundAddresses {
  const first = interleaveFamilies(addresses, family)
  if (first.length === 0) throw noAddressError(family)
  return { first, late: Promise.resolve([]) }
}
