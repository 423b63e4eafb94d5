import { EXIT, StepError } from '../errors.js'
import type { Limits } from '../net/deadline.js'
import { lookUpAddresses, lookUpMx } from '../net/dns.js'
import { isHostName } from '../net/domain.js'
import { isThisHost } from '../net/this-host.js'
import { printable } from '../printable.js'

/** Those of a domain's mail exchangers that may hold mail for this site, and those that don't, with the reason. */
export type ExchangerChoice = {
  readonly requested: readonly string[]
  readonly excluded: readonly Exclusion[]
  /** This site is one of them itself. */
  readonly includesSelf: boolean
}

export type Exclusion = { readonly host: string; readonly reason: string }

/** `mx1.example.com (this site)` */
export function formatExclusion({ host, reason }: Exclusion): string {
  return `${host} (${reason})`
}

/** Why a domain's mail exchangers can't be asked: each of them was left out. */
export function noExchangerError(leftOut: readonly Exclusion[]): StepError {
  return new StepError(`nobody is left to ask: ${leftOut.map(formatExclusion).join(', ')}`, { exitStatus: EXIT.NOHOST })
}

/** What is said where none of them is known for this site; `self` is what it is known as. */
export function notListedWarning(domain: string, self: readonly string[]): string {
  const known = self.length === 0 ? '' : ` (it is known as ${self.join(', ')})`
  return `no MX of ${domain} is this host; behind NAT say --self${known}`
}

/**
 * The mail exchangers of a domain that would relay to this site (RFC 5321, 5.1): not itself, known by an address of this machine or
 * a name in `self`, and only those behind it in preference where it is one of them. Throws StepError: 68 where the DNS is certain
 * that there is no such domain, else 75.
 */
export async function chooseExchangers(
  domain: string,
  self: readonly string[],
  limits: Limits,
): Promise<ExchangerChoice> {
  const found = await lookUpMx(domain, limits)
  // Without MX the domain itself is its mail exchanger.
  if (found.length === 0) return chooseFrom([{ host: domain, preference: 0 }], self, limits)
  const named = found.filter(({ host }) => host !== '')
  if (named.length > 0) return chooseFrom(named, self, limits)
  return {
    requested: [],
    excluded: [{ host: domain, reason: 'it takes no mail: null MX, RFC 7505' }],
    includesSelf: false,
  }
}

/** Of mail exchangers; the DNS says who they are, and anybody can answer for it. */
const MAX_EXCHANGERS = 100
const CONCURRENT_LOOKUPS = 8

type Exchanger = { readonly host: string; readonly preference: number }

async function chooseFrom(
  found: readonly Exchanger[],
  self: readonly string[],
  limits: Limits,
): Promise<ExchangerChoice> {
  const known = [...found]
    .sort((a, b) => a.preference - b.preference || (a.host < b.host ? -1 : 1))
    .filter(({ host }, at, all) => all.findIndex((other) => other.host === host) === at)
  const marked: (Exchanger & { readonly isSelf: boolean })[] = []
  while (marked.length < Math.min(known.length, MAX_EXCHANGERS)) {
    const some = known.slice(marked.length, Math.min(marked.length + CONCURRENT_LOOKUPS, MAX_EXCHANGERS))
    marked.push(
      ...(await Promise.all(
        some.map(async (mx) => ({ ...mx, isSelf: await isThisHostExchanger(mx.host, self, limits) })),
      )),
    )
  }
  const own = marked.find((mx) => mx.isSelf)
  const reasonFor = ({ host, preference, isSelf }: (typeof marked)[number]): string | undefined => {
    if (isSelf) return 'this site'
    if (!isHostName(host)) return 'no name of a host'
    if (own === undefined || preference > own.preference) return undefined
    return `its preference, ${preference}, is not behind this site's ${own.preference}`
  }
  const judged = marked.map((mx) => ({ host: printable(mx.host), reason: reasonFor(mx) }))
  if (known.length > MAX_EXCHANGERS)
    judged.push({ host: `${known.length - MAX_EXCHANGERS} more`, reason: `beyond the first ${MAX_EXCHANGERS}` })
  return {
    requested: judged.filter(({ reason }) => reason === undefined).map(({ host }) => host),
    excluded: judged.flatMap(({ host, reason }) => (reason === undefined ? [] : [{ host, reason }])),
    includesSelf: own !== undefined,
  }
}

/** By name, or by any address; `self` may have both. What can't be looked up now is taken for another: its session will tell. */
async function isThisHostExchanger(host: string, self: readonly string[], limits: Limits): Promise<boolean> {
  if (self.includes(host)) return true
  if (!isHostName(host)) return false
  try {
    const { first, late } = await lookUpAddresses(host, undefined, limits, { isAbsolute: true })
    const addresses = [...first, ...(await late)]
    const areOwn = await Promise.all(addresses.map(async (address) => self.includes(address) || isThisHost(address)))
    return areOwn.includes(true)
  } catch (error) {
    if (error instanceof StepError && !limits.signal.aborted) return false
    throw error
  }
}
