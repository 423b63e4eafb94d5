import { EXIT, StepError } from '../errors.js'
import { canonicalAddress, isUnspecified } from '../net/address.js'
import type { Limits } from '../net/deadline.js'
import { lookUpMx, type MxRecord } from '../net/dns.js'
import { DOMAIN_CHARACTERS, isHostName } from '../net/domain.js'
import { judgeExchanger, type JudgedExchanger } from '../net/exchanger.js'
import { listSome, printable, shortenMessage } from '../printable.js'
import { isAccepted } from './outcome.js'
import { isSelfReport, type SelfFacts } from './server-report.js'
import type { Request, RequestSettings } from './request.js'

/** A mail exchanger of a domain that is not requested from, and the reason */
export type Exclusion = { readonly domain: string; readonly host: string; readonly reason: string }

/** Which mail exchangers of a domain may hold mail for this host, and which don't. */
export type ExchangerChoice = {
  readonly requests: readonly Request[]
  readonly excluded: readonly Exclusion[]
  /** This host's preference; undefined if this host is none of the domain's mail exchangers */
  readonly ownPreference: number | undefined
  /** Undefined if this host is one of them; otherwise the warning that it isn't. */
  readonly warning: string | undefined
  /** The preferences of the exchangers in `requests` */
  readonly preferences: ReadonlyMap<string, number>
}

/**
 * Returns the exclusions that only the sessions have shown: exchangers that are this host behind NAT, or could not be looked up before,
 * and those that don't relay to this host, which nobody knew. If one of these has accepted all names, that doesn't count; a failure
 * does, because any server can greet with the name of this host.
 */
export function lateExclusions(
  domain: string,
  { ownPreference = Infinity, preferences }: Pick<ExchangerChoice, 'ownPreference' | 'preferences'>,
  reports: readonly SelfFacts[],
): Exclusion[] {
  const preferenceOf = ({ server }: SelfFacts): number => preferences.get(server.host) ?? Infinity
  const own = Math.min(ownPreference, ...reports.filter(isSelfReport).map(preferenceOf))
  return reports.flatMap((report) => {
    const { host } = report.server
    if (isSelfReport(report)) return { domain, host, reason: 'this host' }
    const preference = preferenceOf(report)
    const hasFailed = report.error !== null || report.names?.some(({ outcome }) => !isAccepted(outcome)) === true
    if (preference > own || own === Infinity || hasFailed) return []
    return { domain, host, reason: `${preferenceReason(preference, own)}: the request does not count` }
  })
}

const EXCLUSIONS_SHOWN = 8

/** Returns the lines about a domain's excluded exchangers: one for each, but a few alone if there are many. */
export function exclusionLines(domain: string, excluded: readonly Exclusion[]): string[] {
  const more = excluded.length - EXCLUSIONS_SHOWN
  const shown = excluded.slice(0, EXCLUSIONS_SHOWN).map((exclusion) => `skipping MX ${formatExclusion(exclusion)}`)
  return (more > 0 ? [...shown, `skipping ${more} more MX${more === 1 ? '' : 's'}`] : shown).map(
    (text) => `etrn: ${domain}: ${text}`,
  )
}

/** Returns the first exclusions, and how many more there are. */
export function listExclusions(excluded: readonly Exclusion[]): string {
  return listSome(excluded.map(formatExclusion))
}

function formatExclusion({ host, reason }: Exclusion): string {
  return `${host} (${reason})`
}

/** The reason to skip an exchanger that only --self makes this host */
const BY_SELF_OPTION = 'this host, by --self'

/** Returns the failure (68) of a domain whose exchangers are all excluded. A run with --check has shown already what DNS says. */
export function noExchangerError(excluded: readonly Exclusion[], isCheck = false): StepError {
  const domain = excluded[0]?.domain ?? 'DOMAIN'
  const isBySelf = excluded.some(({ reason }) => reason === BY_SELF_OPTION)
  const selfStep = isBySelf ? 'remove the --self of each server that is not this host; ' : ''
  const checkStep = isCheck ? '' : `; to see what DNS says: etrn --check --mx ${domain}`
  return new StepError(`no MX to request mail from; skipped: ${listExclusions(excluded)}`, {
    exitStatus: EXIT.NOHOST,
    hint: `${selfStep}if another server holds the mail: etrn SERVER ${domain}${checkStep}`,
  })
}

/** Throws StepError (64) for a NAME that is one of the exchangers to request mail from: the user probably means the server. */
export function checkNames({ server, doubtfulNames }: Request, exchangers: readonly Request[]): void {
  const domain = server.host
  const mistaken = exchangers.find(({ server: { host } }) => host !== domain && doubtfulNames.includes(host))
  if (mistaken === undefined) return
  const { host } = mistaken.server
  throw new StepError(`--mx finds the servers in DNS, so omit ${host}`, {
    exitStatus: EXIT.USAGE,
    hint: `if ${host} is a name to request, write it with a final dot: --mx ${domain} ${host}.`,
  })
}

function nullMxError(): StepError {
  return new StepError('null MX: the domain accepts no mail (RFC 7505)', {
    exitStatus: EXIT.NOHOST,
    hint: 'check the spelling of the domain; if the spelling is right, the owner of the domain must replace the null MX',
  })
}

/** Returns the warning for a domain that doesn't list this host, which is known by the names in `self`. */
export function notListedWarning(domain: string, self: readonly string[], hasMx: boolean): string {
  if (!hasMx) return `${domain} has no MX, so mail is requested from ${domain} itself`
  const names = self.length === 0 ? '' : ` (known as ${self.join(', ')})`
  return `none of the MXs of ${domain} is this host${names}, so mail is requested from all of them; if one is this host behind NAT: --self HOST`
}

/** The most exchangers of one domain: anybody can put any number into DNS. */
const MAX_EXCHANGERS = 100
/** The most exchangers of all domains of a run */
const RUN_EXCHANGERS = 1000
/** The most results of a run, one for each name and exchanger: all are kept. With many names, the first few exchangers must do. */
const RUN_RESULTS = 100_000
/** A domain has so many in any case. */
const MIN_EXCHANGERS = 2
/** Home routers forward only so many queries at once. */
const CONCURRENT_LOOKUPS = 25
/** The longest time for the lookups before the first request. After a failed one, the exchanger's session looks it up and judges it. */
const LOOKUPS_TIMEOUT_MS = 10_000

/** With more exchangers than these, each has less time, so that dead ones don't hold up the others for long. */
const UNHURRIED_EXCHANGERS = 16
const HURRIED_TIMEOUT_MS = 5000

/**
 * Returns the mail exchangers of a domain that would relay to this host (RFC 5321, 5.1). This host, known by its addresses and by
 * --self, is excluded; if it is listed, so is every exchanger whose preference number isn't larger. `domains` is the number of domains
 * in the run, which share its limits. Throws StepError: 68 if the domain doesn't exist, 75 if DNS gave no definite answer.
 */
export async function chooseExchangers(request: Request, signal: AbortSignal, domains = 1): Promise<ExchangerChoice> {
  const { server, settings } = request
  const domain = server.host
  const listed = await lookUpMx(domain, { timeoutMs: settings.timeoutMs, signal })
  // A domain without MX is its own mail exchanger.
  const records = listed.length === 0 ? [{ host: domain, preference: 0 }] : listed.filter(({ host }) => host !== '')
  const requests: Request[] = []
  const excluded: Exclusion[] = []
  if (records.length === 0) throw nullMxError()
  const sorted = records
    .toSorted((a, b) => a.preference - b.preference || (a.host < b.host ? -1 : 1))
    .filter(({ host }, index, all) => all.findIndex((other) => other.host === host) === index)
  const limit = exchangerLimit(request.entries.length, domains)
  const exchangers = sorted.slice(0, MAX_EXCHANGERS)
  const judged = await judgeExchangers(exchangers, settings, signal)
  const ownPreference = exchangers.find((exchanger) => judged.get(exchanger)?.isOwn)?.preference
  for (const exchanger of exchangers) {
    const host = printableHost(exchanger.host)
    const { isOwn, isUnknown, addresses } = judged.get(exchanger) ?? UNKNOWN
    const reason = isOwn
      ? selfReason([host, ...addresses], request.selfOption)
      : requests.length === limit
        ? limitReason(limit)
        : // An unknown one may be this host, with a lower preference. Its session fails, and so does the run.
          exclusionReason(exchanger, addresses, isUnknown ? undefined : ownPreference)
    if (reason === undefined)
      requests.push({ ...request, isMx: false, server: { ...server, word: host, host, isExchanger: true, addresses } })
    else excluded.push({ domain, host, reason })
  }
  for (const { host } of sorted.slice(MAX_EXCHANGERS))
    excluded.push({ domain, host: printableHost(host), reason: limitReason(limit) })
  const preferences = new Map(exchangers.map(({ host, preference }) => [printableHost(host), preference]))
  const isListed = ownPreference !== undefined
  const warning = isListed ? undefined : notListedWarning(domain, settings.self, listed.length > 0)
  return { requests: requests.map(limitTimeout), excluded, ownPreference, warning, preferences }
}

/** Returns the most exchangers of one domain that are requested from. */
function exchangerLimit(names: number, domains: number): number {
  const most = Math.min(MAX_EXCHANGERS, RUN_EXCHANGERS / domains, RUN_RESULTS / domains / names)
  return Math.max(MIN_EXCHANGERS, Math.floor(most))
}

/** DNS can have anything as a name. */
function printableHost(host: string): string {
  return shortenMessage(printable(host), DOMAIN_CHARACTERS)
}

function limitTimeout(request: Request, _: number, { length }: readonly Request[]): Request {
  const { timeoutMs } = request.settings
  const share = Math.max(HURRIED_TIMEOUT_MS, Math.round((timeoutMs * UNHURRIED_EXCHANGERS) / length))
  return { ...request, settings: { ...request.settings, timeoutMs: Math.min(timeoutMs, share) } }
}

function selfReason(identities: readonly string[], selfOption: readonly string[]): string {
  const given = selfOption.map((word) => canonicalAddress(word.toLowerCase()))
  return identities.some((identity) => given.includes(canonicalAddress(identity))) ? BY_SELF_OPTION : 'this host'
}

function limitReason(limit: number): string {
  return `mail is requested from only ${limit} MXs`
}

function exclusionReason(
  { host, preference }: MxRecord,
  addresses: readonly string[],
  ownPreference = -1,
): string | undefined {
  if (!isHostName(host)) return 'not a host name'
  const unspecified = addresses.find(isUnspecified)
  if (unspecified !== undefined) return `the resolver returns ${unspecified}, which would lead back to this host`
  if (preference > ownPreference) return undefined
  return preferenceReason(preference, ownPreference)
}

function preferenceReason(preference: number, ownPreference: number): string {
  return `preference ${preference} is not larger than this host's ${ownPreference}`
}

/** An exchanger is unknown if DNS has failed for now. */
type Judgement = JudgedExchanger & { readonly isUnknown?: true }

const UNKNOWN: Judgement = { isOwn: false, isUnknown: true, addresses: [] }

/** Judges the exchangers. One that can't be looked up now counts as another host: its session will show why. */
async function judgeExchangers(
  exchangers: readonly MxRecord[],
  { self, timeoutMs }: RequestSettings,
  signal: AbortSignal,
): Promise<ReadonlyMap<MxRecord, Judgement>> {
  const judged = new Map<MxRecord, Judgement>()
  const rounds = Math.ceil(exchangers.length / CONCURRENT_LOOKUPS)
  const limits = { timeoutMs: Math.min(timeoutMs, LOOKUPS_TIMEOUT_MS) / rounds, signal }
  const remaining = exchangers.values()
  const work = async (): Promise<void> => {
    // All workers take from the same iterator.
    for (const exchanger of remaining) judged.set(exchanger, await judgeHost(exchanger.host, self, limits))
  }
  await Promise.all(Array.from({ length: CONCURRENT_LOOKUPS }, work))
  return judged
}

async function judgeHost(host: string, self: readonly string[], limits: Limits): Promise<Judgement> {
  if (!isHostName(host)) return { isOwn: self.includes(host), addresses: [] }
  try {
    return await judgeExchanger(host, self, limits)
  } catch (error) {
    if (!(error instanceof StepError) || limits.signal.aborted || error.kind === 'no-resources') throw error
    return error.exitStatus === EXIT.TEMPFAIL ? UNKNOWN : { isOwn: false, addresses: [] }
  }
}
