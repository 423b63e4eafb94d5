import { EXIT, StepError } from '../errors.js'
import type { Limits } from '../net/deadline.js'
import { lookUpAddresses, lookUpMx, type MxRecord } from '../net/dns.js'
import { isHostName } from '../net/domain.js'
import { isThisHost } from '../net/this-host.js'
import { printable } from '../printable.js'

/** Which mail exchangers of a domain may hold mail for this host, and which don't. */
export type ExchangerChoice = {
  readonly requested: readonly string[]
  readonly excluded: readonly Exclusion[]
  /** True if this host is one of the domain's mail exchangers. */
  readonly includesSelf: boolean
}

export type Exclusion = { readonly host: string; readonly reason: string }

/** Returns `mx1.example.com (this site)`. */
export function formatExclusion({ host, reason }: Exclusion): string {
  return `${host} (${reason})`
}

/** Returns the failure of a domain whose mail exchangers are all excluded. */
export function noExchangerError(excluded: readonly Exclusion[]): StepError {
  return new StepError(`nobody is left to ask: ${excluded.map(formatExclusion).join(', ')}`, {
    exitStatus: EXIT.NOHOST,
    hint: 'this site is known by its addresses, its name, --helo and --self; etrn --check --mx shows what the DNS has',
  })
}

/** Returns the warning for a domain that doesn't list this host, which is known by the names in `self`. */
export function notListedWarning(domain: string, self: readonly string[]): string {
  const names = self.length === 0 ? '' : ` (it is known as ${self.join(', ')})`
  return `no MX of ${domain} is this host; behind NAT say --self${names}`
}

/**
 * Returns the mail exchangers of a domain that would relay to this host (RFC 5321, 5.1). This host, known by its addresses and by
 * `self`, is excluded; if it is listed, so is every exchanger whose preference number isn't larger. Throws StepError: 68 if the domain
 * doesn't exist, 75 if DNS gave no definite answer.
 */
export async function chooseExchangers(
  domain: string,
  self: readonly string[],
  limits: Limits,
): Promise<ExchangerChoice> {
  const records = await lookUpMx(domain, limits)
  // A domain without MX is its own mail exchanger.
  if (records.length === 0) return chooseFrom([{ host: domain, preference: 0 }], self, limits)
  const named = records.filter(({ host }) => host !== '')
  if (named.length > 0) return chooseFrom(named, self, limits)
  const reason = 'it takes no mail: null MX, RFC 7505'
  return { requested: [], excluded: [{ host: domain, reason }], includesSelf: false }
}

/** The most exchangers of one domain: anybody can put any number into DNS. */
const MAX_EXCHANGERS = 100
const CONCURRENT_LOOKUPS = 8

type Exchanger = MxRecord & { readonly isSelf: boolean }

async function chooseFrom(
  records: readonly MxRecord[],
  self: readonly string[],
  limits: Limits,
): Promise<ExchangerChoice> {
  const sorted = [...records]
    .sort((a, b) => a.preference - b.preference || (a.host < b.host ? -1 : 1))
    .filter(({ host }, index, all) => all.findIndex((other) => other.host === host) === index)
  const identify = async (record: MxRecord): Promise<Exchanger> => {
    return { ...record, isSelf: await isThisHostExchanger(record.host, self, limits) }
  }
  const exchangers: Exchanger[] = []
  while (exchangers.length < Math.min(sorted.length, MAX_EXCHANGERS)) {
    const end = Math.min(exchangers.length + CONCURRENT_LOOKUPS, MAX_EXCHANGERS)
    exchangers.push(...(await Promise.all(sorted.slice(exchangers.length, end).map(identify))))
  }
  const own = exchangers.find(({ isSelf }) => isSelf)
  const judged = exchangers.map((exchanger) => {
    return { host: printable(exchanger.host), reason: exclusionReason(exchanger, own?.preference) }
  })
  const excluded = judged.flatMap(({ host, reason }) => (reason === undefined ? [] : [{ host, reason }]))
  const more = sorted.length - exchangers.length
  if (more > 0) excluded.push({ host: `${more} more`, reason: `beyond the first ${MAX_EXCHANGERS}` })
  const requested = judged.filter(({ reason }) => reason === undefined).map(({ host }) => host)
  return { requested, excluded, includesSelf: own !== undefined }
}

function exclusionReason({ host, preference, isSelf }: Exchanger, ownPreference?: number): string | undefined {
  if (isSelf) return 'this site'
  if (!isHostName(host)) return 'no name of a host'
  if (ownPreference === undefined || preference > ownPreference) return undefined
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
