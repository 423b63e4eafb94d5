import { Resolver } from 'node:dns/promises'
import { execPath } from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf, EXIT, StepError } from '../errors.js'
import { type Family, familyOf } from './address.js'
import { startDeadline, type Limits, formatSeconds } from './deadline.js'
import { hostsEntries } from './hosts-file.js'

/** Addresses to try, best first. */
export type Addresses = {
  readonly first: readonly string[]
  /** Those whose answer came later. Never rejects. */
  readonly late: Promise<readonly string[]>
  /** Ends a query that is still under way; to be called when nobody waits for `late` any more. */
  readonly cancel: () => void
}

/** How long a found A waits for AAAA (RFC 8305, section 3). */
const RESOLUTION_DELAY_MS = 50

/**
 * The addresses of a host: a literal, those of /etc/hosts, else A and AAAA; getaddrinfo, which can't be cancelled, only where
 * its search list or mDNS may be meant, so not for a name that is absolute. Throws StepError: 68 where it is certain that there is none, else 75.
 */
export async function lookUpAddresses(
  host: string,
  family: Family,
  limits: Limits,
  { isAbsolute = false } = {},
): Promise<Addresses> {
  if (familyOf(host) !== 0) return knownAddresses(host, [host], family)
  const listed = hostsEntries(host.toLowerCase()).map(({ address }) => address)
  if (listed.some((address) => isOfFamily(family, address))) return knownAddresses(host, listed, family)
  if (!isAbsolute && (!host.includes('.') || /\.local$/i.test(host)))
    return knownAddresses(host, await callGetaddrinfo(host, limits), family)
  return queryAddresses(host, family, limits)
}

/** The MX records of a domain, names in small letters; `''` is a null MX (RFC 7505), an empty list: there is none. Throws StepError. */
export async function lookUpMx(domain: string, limits: Limits): Promise<{ host: string; preference: number }[]> {
  const { resolver, unlessEnded, cancel: callOff } = createResolver(limits)
  try {
    const found = await resolver.resolveMx(domain)
    return found.map(({ exchange, priority }) => ({ host: exchange.toLowerCase(), preference: priority }))
  } catch (error) {
    unlessEnded()
    if (codeOf(error) === 'ENODATA') return []
    throw resolutionError(domain, [error])
  } finally {
    callOff()
  }
}

function isOfFamily(family: Family, address: string): boolean {
  return family === undefined || familyOf(address) === family
}

function knownAddresses(host: string, addresses: readonly string[], family: Family): Addresses {
  const first = interleaveFamilies(addresses.filter((address) => isOfFamily(family, address)))
  if (first.length === 0) throw new StepError(noAddressMessage(host, family), { exitStatus: EXIT.NOHOST })
  return { first, late: Promise.resolve([]), cancel: () => undefined }
}

function noAddressMessage(host: string, family: Family): string {
  return family === undefined ? `${host} has no address` : `${host} has no IPv${family} address`
}

/** Ran by a process of its own: getaddrinfo can't be cancelled, and holds up even the end of the process that waits for it. */
const GETADDRINFO_PROGRAM = `require('node:dns').lookup(process.argv[1], { all: true }, (error, found) =>
  console.log(JSON.stringify(error ? { code: error.code } : { found: found.map(({ address }) => address) })))`

async function callGetaddrinfo(host: string, limits: Limits): Promise<string[]> {
  const { execFile } = await import('node:child_process')
  return new Promise((resolve, reject) => {
    const child = execFile(execPath, ['-e', GETADDRINFO_PROGRAM, host], { env: {} }, (error, output) => {
      callOff()
      // What LOOK_UP prints; nothing where the deadline ended it.
      const { code, found } = (error === null ? JSON.parse(output) : { code: 'unknown' }) as {
        code?: string
        found?: string[]
      }
      if (found === undefined)
        reject(resolutionError(host, [Object.assign(new Error(`getaddrinfo ${code ?? ''}`), { code })]))
      else resolve(found)
    })
    const callOff = startDeadline(limits, noAnswerMessage(limits), (reason) => {
      child.kill('SIGKILL')
      reject(reason)
    })
  })
}

/** What the DNS alone says, A and AAAA side by side, whatever is in /etc/hosts. Throws StepError, as above. */
export async function queryAddresses(host: string, family: Family, limits: Limits): Promise<Addresses> {
  const { resolver, unlessEnded, cancel: callOff } = createResolver(limits)
  const found: string[] = []
  const failures: unknown[] = []
  const keep = async (answer: Promise<string[]>): Promise<boolean> => {
    try {
      return found.push(...(await answer)) > 0
    } catch (error) {
      failures.push(error)
      return false
    }
  }
  const six = family === 4 ? Promise.resolve(false) : keep(resolver.resolve6(host))
  const four = family === 6 ? Promise.resolve(false) : keep(resolver.resolve4(host))
  const both = Promise.all([six, four]).finally(callOff)
  await Promise.race([
    both,
    six.then((any) => (any ? undefined : both)),
    four.then((any) => (any ? sleep(RESOLUTION_DELAY_MS, undefined, { ref: false }) : both)),
  ])
  unlessEnded()
  const first = interleaveFamilies(found)
  if (first.length === 0) throw resolutionError(host, failures, family)
  const late = both.then(() => found.filter((address) => !first.includes(address)))
  return { first, late, cancel: () => resolver.cancel() }
}

type LimitedResolver = { readonly resolver: Resolver; readonly unlessEnded: () => void; readonly cancel: () => void }

/** A resolver that the limits end; throws where they are over already. `unlessEnded` throws why they did. */
function createResolver(limits: Limits): LimitedResolver {
  // A new one each time: it reads resolv.conf once, and in a hook that file may not have been there before.
  const resolver = new Resolver()
  let ended: StepError | undefined
  const callOff = startDeadline(limits, noAnswerMessage(limits), (reason) => {
    ended = reason
    resolver.cancel()
  })
  const unlessEnded = (): void => {
    if (ended !== undefined) throw ended
  }
  unlessEnded()
  return { resolver, unlessEnded, cancel: callOff }
}

/** By turns, IPv6 first (RFC 8305, section 4). */
function interleaveFamilies(addresses: readonly string[]): string[] {
  const six = addresses.filter((address) => familyOf(address) === 6)
  const four = addresses.filter((address) => familyOf(address) === 4)
  const turns = Math.max(six.length, four.length)
  return Array.from({ length: turns }, (_, turn) =>
    [six.slice(turn, turn + 1), four.slice(turn, turn + 1)].flat(),
  ).flat()
}

/** Certain only where every answer says so; a server that fails or is silent may know better later. */
function resolutionError(host: string, failures: readonly unknown[], family?: Family): StepError {
  const codes = failures.map(codeOf)
  const cause = failures[0]
  if (codes.every((code) => code === 'ENOTFOUND' || code === 'ENODATA')) {
    const what = codes.includes('ENOTFOUND') ? `no such host: ${host}` : noAddressMessage(host, family)
    return new StepError(what, { exitStatus: EXIT.NOHOST, cause })
  }
  const code = codes.find((c) => c !== 'ENOTFOUND' && c !== 'ENODATA') ?? ''
  return new StepError(`${host}: ${DNS_ERRORS[code] ?? 'the DNS gives no answer'} (${code || 'unknown'})`, {
    exitStatus: EXIT.TEMPFAIL,
    cause,
  })
}

const DNS_ERRORS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'no DNS server answers',
  ESERVFAIL: 'the DNS server fails',
  EREFUSED: 'the DNS server refuses to answer',
  ETIMEOUT: 'the DNS server is silent',
  EAI_AGAIN: 'the resolver fails for now',
}

function noAnswerMessage({ timeoutMs }: Limits): string {
  return `no answer from the DNS within ${formatSeconds(timeoutMs)}`
}
