import { Resolver } from 'node:dns/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf, EXIT, StepError } from '../errors.js'
import { type Family, familyOf } from './address.js'
import { type Limits, startDeadline } from './deadline.js'
import { hostsEntries } from './hosts-file.js'

/** The addresses of a host, best first. */
export type Addresses = {
  readonly first: readonly string[]
  /** Addresses that DNS returned later. Never rejects. */
  readonly late: Promise<readonly string[]>
  /** Cancels a query that is still running; to be called when `late` is no longer needed. */
  readonly cancel: () => void
}

export type MxRecord = { readonly host: string; readonly preference: number }

/** The time that a known A record waits for AAAA (RFC 8305, section 3). */
const RESOLUTION_DELAY_MS = 50

/**
 * Returns the addresses of a host: an address as it is, those in /etc/hosts, else A and AAAA records. getaddrinfo is asked only for a
 * name that its search list or mDNS may complete, unless the name is absolute. Throws StepError: 68 if the host has no address, 75 if
 * DNS gave no definite answer.
 */
export async function lookUpAddresses(
  host: string,
  family: Family,
  limits: Limits,
  { isAbsolute = false } = {},
): Promise<Addresses> {
  if (familyOf(host) !== 0) return knownAddresses(host, [host], family)
  const listed = hostsEntries(host.toLowerCase()).map(({ address }) => address)
  if (interleaveFamilies(listed, family).length > 0) return knownAddresses(host, listed, family)
  const mayBeCompleted = !isAbsolute && (!host.includes('.') || /\.local$/i.test(host))
  if (mayBeCompleted) return knownAddresses(host, await askSystem(host, limits), family)
  return queryAddresses(host, family, limits)
}

/**
 * Returns the MX records of a domain, names in lower case: none if it has none, one with an empty name for a null MX (RFC 7505).
 * Throws StepError as lookUpAddresses does.
 */
export async function lookUpMx(domain: string, limits: Limits): Promise<MxRecord[]> {
  const { resolver, over, cancel } = createResolver(limits)
  try {
    const records = await resolver.resolveMx(domain)
    return records.map(({ exchange, priority }) => ({ host: exchange.toLowerCase(), preference: priority }))
  } catch (error) {
    over.throwIfAborted()
    if (codeOf(error) === 'ENODATA') return []
    throw resolutionError(domain, [error])
  } finally {
    cancel()
  }
}

/** Returns the A and AAAA records of a host, whatever /etc/hosts says. Throws StepError as lookUpAddresses does. */
export async function queryAddresses(host: string, family: Family, limits: Limits): Promise<Addresses> {
  const { resolver, over, cancel } = createResolver(limits)
  const found: string[] = []
  const failures: unknown[] = []
  const keep = async (records: Promise<string[]>): Promise<boolean> => {
    try {
      return found.push(...(await records)) > 0
    } catch (error) {
      failures.push(error)
      return false
    }
  }
  const ipv6 = family === 4 ? Promise.resolve(false) : keep(resolver.resolve6(host))
  const ipv4 = family === 6 ? Promise.resolve(false) : keep(resolver.resolve4(host))
  const both = Promise.all([ipv6, ipv4]).finally(cancel)
  await Promise.race([
    both,
    ipv6.then((isFound) => (isFound ? undefined : both)),
    ipv4.then((isFound) => (isFound ? sleep(RESOLUTION_DELAY_MS, undefined, { ref: false }) : both)),
  ])
  over.throwIfAborted()
  const first = interleaveFamilies(found, family)
  if (first.length === 0) throw resolutionError(host, failures, family)
  const late = both.then(() => found.filter((address) => !first.includes(address)))
  return { first, late, cancel: () => resolver.cancel() }
}

function knownAddresses(host: string, addresses: readonly string[], family: Family): Addresses {
  const first = interleaveFamilies(addresses, family)
  if (first.length === 0) throw noAddressError(host, family)
  return { first, late: Promise.resolve([]), cancel: () => undefined }
}

/** The child's program: it looks up its first argument and sends the addresses, or the code of the error, to its parent. */
const GETADDRINFO = `require('node:dns').lookup(process.argv[1], { all: true }, (error, found) =>
  process.send(error ? error.code : found.map(({ address }) => address)))`

/**
 * Returns the addresses that getaddrinfo finds. It works in a child process, because it can't be cancelled and delays even the end of a
 * process that waits for it.
 */
async function askSystem(host: string, limits: Limits): Promise<readonly string[]> {
  const { fork } = await import('node:child_process')
  return new Promise((resolve, reject) => {
    // The first argument of -e stands where fork puts its module.
    const child = fork(host, [], { execArgv: ['-e', GETADDRINFO], env: {}, stdio: 'ignore' })
    const end = (reason: Error): void => {
      child.kill('SIGKILL')
      reject(reason)
    }
    const cancel = startDeadline(limits, NO_ANSWER, end, RESOLVER_HINT)
    const fail = (code: string): void =>
      reject(resolutionError(host, [Object.assign(new Error(`getaddrinfo ${code}`), { code })]))
    // GETADDRINFO sends nothing else.
    child.once('message', (found) => (typeof found === 'string' ? fail(found) : resolve(found as string[])))
    child.once('error', () => fail('unknown'))
    // Follows the message, unlike the exit.
    child.once('disconnect', () => {
      cancel()
      fail('unknown')
    })
  })
}

/** Returns a resolver that the limits end, and the signal that then aborts. Throws if they are over already. */
function createResolver(limits: Limits): { resolver: Resolver; over: AbortSignal; cancel: () => void } {
  // A resolver reads resolv.conf once. In a hook that file may appear later, so each look-up has a new one.
  const resolver = new Resolver()
  const end = new AbortController()
  const stop = (reason: Error): void => {
    end.abort(reason)
    resolver.cancel()
  }
  const cancel = startDeadline(limits, NO_ANSWER, stop, RESOLVER_HINT)
  end.signal.throwIfAborted()
  return { resolver, over: end.signal, cancel }
}

/** Returns the addresses of a family; of both, they alternate, IPv6 first (RFC 8305, section 4). */
function interleaveFamilies(addresses: readonly string[], family: Family): string[] {
  const ipv6 = family === 4 ? [] : addresses.filter((address) => familyOf(address) === 6)
  const ipv4 = family === 6 ? [] : addresses.filter((address) => familyOf(address) === 4)
  return addresses.flatMap((_, index) => [...ipv6.slice(index, index + 1), ...ipv4.slice(index, index + 1)])
}

const DNS_ERRORS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'no DNS server answers',
  ESERVFAIL: 'the DNS server fails',
  EREFUSED: 'the DNS server refuses to answer',
  ETIMEOUT: 'the DNS server is silent',
  EAI_AGAIN: 'the resolver fails for now',
}

/** Returns the failure of a look-up. It is definite only if every answer says that there is no record; otherwise it is temporary. */
function resolutionError(host: string, failures: readonly unknown[], family?: Family): StepError {
  const codes = failures.map(codeOf)
  const cause = failures[0]
  const code = codes.find((found) => found !== 'ENOTFOUND' && found !== 'ENODATA')
  if (code !== undefined) {
    const message = `${host}: ${DNS_ERRORS[code] ?? 'the DNS gives no answer'} (${code || 'unknown'})`
    return new StepError(message, { exitStatus: EXIT.TEMPFAIL, hint: RESOLVER_HINT, cause })
  }
  if (!codes.includes('ENOTFOUND')) return noAddressError(host, family, cause)
  const hint = host.includes('.') ? SPELLING_HINT : PROFILE_HINT
  return new StepError(`no such host: ${host}`, { exitStatus: EXIT.NOHOST, hint, cause })
}

const SPELLING_HINT = 'check the spelling of the server'
const PROFILE_HINT = `${SPELLING_HINT}; if it is a profile: root reads /etc/etrn/config.toml alone, or --config`
const NO_ANSWER = 'no answer from the DNS'
const RESOLVER_HINT = 'is the link up? In a hook the resolver may come a moment later: --retry-for 5m waits for it'

function noAddressError(host: string, family: Family, cause?: unknown): StepError {
  const missing = family === undefined ? 'address' : `IPv${family} address`
  const hint = family === undefined ? SPELLING_HINT : 'without -4 and -6 it is asked at whatever address it has'
  return new StepError(`${host} has no ${missing}`, { exitStatus: EXIT.NOHOST, hint, cause })
}
