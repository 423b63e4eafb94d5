import { EXIT, StepError } from '../errors.js'
import type { Limits } from '../net/deadline.js'
import { lookUpAddresses, lookUpMx, type MxRecord } from '../net/dns.js'
import { isHostName } from '../net/domain.js'
import { isThisHost } from '../net/this-host.js'
import { printable } from '../printable.js'
import type { ServerReport } from './outcome.js'
import type { Request } from './request.js'

/** Which mail exchangers of a domain may hold mail for this host, and which don't. */
export type ExchangerChoice = {
  readonly requests: readonly Request[]
  /** With the reason: `mx1.example.com (this site)` */
  readonly excluded: readonly string[]
  /** True if this host is one of the domain's mail exchangers. */
  readonly includesSelf: boolean
}

/** Returns the exclusions of exchangers whose sessions have led back to this host. */
export function selfExclusions(reports: readonly Pick<ServerReport, 'server' | 'error'>[]): string[] {
  return reports.flatMap(({ server, error }) => (error?.kind === 'self' ? [`${server.host} (this site)`] : []))
}

export function noExchangerError(excluded: readonly string[]): StepError {
  return new StepError(`nobody is left to ask: ${excluded.join(', ')}`, {
    exitStatus: EXIT.NOHOST,
    hint: 'this site is known by its addresses, its name, --helo and --self; etrn --check --mx shows what the DNS has',
  })
}

/** Returns the warning for a domain that doesn't list this host, which is known by the names in `self`. */
export function notListedWarning(domain: string, self: readonly string[]): string {
  const names = self.length === 0 ? '' : ` (it is known as ${self.join(', ')})`
  return `no MX of ${domain} is this host; behind NAT say --self${names}`
}

/** The most exchangers of one domain: anybody can put any number into DNS. */
const MAX_EXCHANGERS = 100
const CONCURRENT_LOOKUPS = 8

/**
 * Returns the mail exchangers of a domain that would relay to this host (RFC 5321, 5.1). This host, known by its addresses and by
 * --self, is excluded; if it is listed, so is every exchanger whose preference number isn't larger. Throws StepError: 68 if the domain
 * doesn't exist, 75 if DNS gave no definite answer.
 */
export async function chooseExchangers(request: Request, signal: AbortSignal): Promise<ExchangerChoice> {
  const { server, settings } = request
  const domain = server.host
  const limits = { timeoutMs: settings.timeoutMs, signal }
  const listed = await lookUpMx(domain, limits)
  // A domain without MX is its own mail exchanger.
  const records = listed.length === 0 ? [{ host: domain, preference: 0 }] : listed.filter(({ host }) => host !== '')
  const requests: Request[] = []
  const excluded: string[] = []
  if (records.length === 0) excluded.push(`${domain} (it takes no mail: null MX, RFC 7505)`)
  const sorted = records
    .toSorted((a, b) => a.preference - b.preference || (a.host < b.host ? -1 : 1))
    .filter(({ host }, index, all) => all.findIndex((other) => other.host === host) === index)
  const exchangers = sorted.slice(0, MAX_EXCHANGERS)
  const areSelf: boolean[] = []
  while (areSelf.length < exchangers.length) {
    const next = exchangers.slice(areSelf.length, areSelf.length + CONCURRENT_LOOKUPS)
    areSelf.push(...(await Promise.all(next.map(async ({ host }) => isThisHostExchanger(host, settings.self, limits)))))
  }
  const own = exchangers.find((_, index) => areSelf[index])
  for (const [index, exchanger] of exchangers.entries()) {
    const host = printable(exchanger.host)
    const reason = areSelf[index] === true ? 'this site' : exclusionReason(exchanger, own?.preference)
    if (reason === undefined) requests.push({ ...request, isMx: false, server: { ...server, word: host, host } })
    else excluded.push(`${host} (${reason})`)
  }
  const more = sorted.length - exchangers.length
  if (more > 0) excluded.push(`${more} more (beyond the first ${MAX_EXCHANGERS})`)
  return { requests, excluded, includesSelf: own !== undefined }
}

function exclusionReason({ host, preference }: MxRecord, ownPreference = -1): string | undefined {
  if (!isHostName(host)) return 'no name of a host'
  if (preference > ownPreference) return undefined
  return `its preference, ${preference}, is not behind this site's ${ownPreference}`
}

/** A host that can't be looked up now counts as another one: its session will show why. */
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
