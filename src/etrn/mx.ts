import { EXIT, StepError } from '../errors.js'
import type { Limits } from '../net/deadline.js'
import { lookUpMx, type MxRecord } from '../net/dns.js'
import { DOMAIN_CHARACTERS, isHostName } from '../net/domain.js'
import { isOwnExchanger } from '../net/exchanger.js'
import { listSome, printable, shortenMessage } from '../printable.js'
import type { ServerReport } from './outcome.js'
import type { Request, RequestSettings } from './request.js'

/** Which mail exchangers of a domain may hold mail for this host, and which don't. */
export type ExchangerChoice = {
  readonly requests: readonly Request[]
  /** With the reason: `mx1.example.com (this site)` */
  readonly excluded: readonly string[]
  /** True if this host is one of the domain's mail exchangers. */
  readonly includesSelf: boolean
}

type SelfFacts = Pick<ServerReport, 'server' | 'error'> & Partial<Pick<ServerReport, 'names'>>

/** Returns true if the session with an exchanger has led back to this host. One that has answered for a name stays another server. */
export function isSelfReport({ error, names = [] }: SelfFacts): boolean {
  return error?.kind === 'self' && names.every(({ code }) => code === null)
}

/** Returns the exclusions of exchangers whose sessions have led back to this host. */
export function selfExclusions(reports: readonly SelfFacts[]): string[] {
  return reports.filter(isSelfReport).map(({ server }) => `${server.host} (this site)`)
}

const EXCLUSIONS_SHOWN = 8

/** Returns the warnings about excluded exchangers: one for each, but a few alone if there are many. */
export function exclusionWarnings(excluded: readonly string[]): string[] {
  const more = excluded.length - EXCLUSIONS_SHOWN
  const shown = excluded.slice(0, EXCLUSIONS_SHOWN).map((exclusion) => `left out: ${exclusion}`)
  return more > 0 ? [...shown, `left out: ${more} more`] : shown
}

export function noExchangerError(excluded: readonly string[]): StepError {
  return new StepError(`nobody is left to ask: ${listSome(excluded)}`, {
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
/** Home routers forward only so many queries at once. */
const CONCURRENT_LOOKUPS = 25
/** The longest look-up of an exchanger before the first request. Its session looks it up again, and judges it again. */
const LOOKUP_TIMEOUT_MS = 10_000

/** With more exchangers than these, each has less time, so that dead ones don't hold up the others for long. */
const UNHURRIED_EXCHANGERS = 16
const HURRIED_TIMEOUT_MS = 5000

/**
 * Returns the mail exchangers of a domain that would relay to this host (RFC 5321, 5.1). This host, known by its addresses and by
 * --self, is excluded; if it is listed, so is every exchanger whose preference number isn't larger. Throws StepError: 68 if the domain
 * doesn't exist, 75 if DNS gave no definite answer.
 */
export async function chooseExchangers(request: Request, signal: AbortSignal): Promise<ExchangerChoice> {
  const { server, settings } = request
  const domain = server.host
  const listed = await lookUpMx(domain, { timeoutMs: settings.timeoutMs, signal })
  // A domain without MX is its own mail exchanger.
  const records = listed.length === 0 ? [{ host: domain, preference: 0 }] : listed.filter(({ host }) => host !== '')
  const requests: Request[] = []
  const excluded: string[] = []
  if (records.length === 0) excluded.push(`${domain} (it takes no mail: null MX, RFC 7505)`)
  const sorted = records
    .toSorted((a, b) => a.preference - b.preference || (a.host < b.host ? -1 : 1))
    .filter(({ host }, index, all) => all.findIndex((other) => other.host === host) === index)
  const exchangers = sorted.slice(0, MAX_EXCHANGERS)
  const own = await findOwn(exchangers, settings, signal)
  const [first] = exchangers.filter((exchanger) => own.has(exchanger))
  for (const exchanger of exchangers) {
    const host = shortenMessage(printable(exchanger.host), DOMAIN_CHARACTERS)
    const reason = own.has(exchanger) ? 'this site' : exclusionReason(exchanger, first?.preference)
    if (reason === undefined)
      requests.push({ ...request, isMx: false, server: { ...server, word: host, host, isExchanger: true } })
    else excluded.push(`${host} (${reason})`)
  }
  const more = sorted.length - exchangers.length
  if (more > 0) excluded.push(`${more} more (beyond the first ${MAX_EXCHANGERS})`)
  return { requests: requests.map(limitTimeout), excluded, includesSelf: first !== undefined }
}

function limitTimeout(request: Request, _: number, { length }: readonly Request[]): Request {
  const { timeoutMs } = request.settings
  const share = Math.max(HURRIED_TIMEOUT_MS, Math.round((timeoutMs * UNHURRIED_EXCHANGERS) / length))
  return { ...request, settings: { ...request.settings, timeoutMs: Math.min(timeoutMs, share) } }
}

function exclusionReason({ host, preference }: MxRecord, ownPreference = -1): string | undefined {
  if (!isHostName(host)) return 'no name of a host'
  if (preference > ownPreference) return undefined
  return `its preference, ${preference}, is not behind this site's ${ownPreference}`
}

/** Returns the exchangers that are this host. One that can't be looked up now counts as another host: its session will show why. */
async function findOwn(
  exchangers: readonly MxRecord[],
  { self, timeoutMs }: RequestSettings,
  signal: AbortSignal,
): Promise<ReadonlySet<MxRecord>> {
  const own = new Set<MxRecord>()
  const limits = { timeoutMs: Math.min(timeoutMs, LOOKUP_TIMEOUT_MS), signal }
  const remaining = exchangers.values()
  const work = async (): Promise<void> => {
    // All workers take from the same iterator.
    for (const exchanger of remaining) if (await isThisHost(exchanger.host, self, limits)) own.add(exchanger)
  }
  await Promise.all(Array.from({ length: CONCURRENT_LOOKUPS }, work))
  return own
}

async function isThisHost(host: string, self: readonly string[], limits: Limits): Promise<boolean> {
  if (!isHostName(host)) return self.includes(host)
  try {
    return await isOwnExchanger(host, self, limits)
  } catch (error) {
    if (!(error instanceof StepError) || limits.signal.aborted || error.kind === 'no-resources') throw error
    return false
  }
}
