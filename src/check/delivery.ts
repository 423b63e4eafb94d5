import { EXIT, StepError } from '../errors.js'
import { describeLocalProblem, readLocalGreeting } from '../etrn/local-server.js'
import { validNames } from '../input/names-file.js'
import { canonicalAddress, isPrivate, isUnspecified } from '../net/address.js'
import type { Limits } from '../net/deadline.js'
import { lookUpMx, queryAddresses } from '../net/dns.js'
import { isHostName } from '../net/domain.js'
import { isThisHost } from '../net/this-host.js'
import { listSome } from '../printable.js'
import type { ServerCheck } from './session-checker.js'
import type { Step, StepLog } from './steps.js'

const NAMES_LOOKED_UP = 20
/** Mail goes to the exchangers with the lowest preference numbers. */
const EXCHANGERS_LOOKED_UP = 10
const LOOKUP_TIMEOUT_MS = 10_000

/**
 * Checks whether mail would be delivered to this host: a server delivers over a new connection, to the address that DNS has for the
 * name (RFC 1985, section 4). Returns the failure of the local mail server, or undefined if it greets.
 */
export async function checkDelivery(
  checks: readonly ServerCheck[],
  limits: Limits,
  steps: StepLog,
): Promise<StepError | undefined> {
  steps.start()
  const localFailure = await checkLocalServer(limits, steps)
  const names = checks.flatMap(({ entries }) => validNames(entries))
  const domains = [...new Set(names.flatMap(domainOfName))]
  for (const domain of domains.slice(0, NAMES_LOOKED_UP)) {
    if (limits.signal.aborted) return localFailure
    steps.start()
    steps.add(domain, ...(await checkDomain(domain, checks, limits)))
  }
  const more = domains.length - NAMES_LOOKED_UP
  if (more > 0) steps.note('names', null, `not looked up: ${more} more`)
  return localFailure
}

async function checkLocalServer(limits: Limits, steps: StepLog): Promise<StepError | undefined> {
  try {
    steps.add(LOCAL_STEP, true, await readLocalGreeting(limits))
    return undefined
  } catch (error) {
    if (!(error instanceof StepError)) throw error
    steps.add(LOCAL_STEP, false, describeLocalProblem(error), LOCAL_HINT)
    return error
  }
}

const LOCAL_STEP = 'local server'
const LOCAL_HINT =
  'start the local mail server, which receives the requested mail; --wait-local 2m waits for the server'

/** Returns the domain that mail for a name goes to. The name of a queue says nothing about it. */
function domainOfName(name: string): string[] {
  return name.startsWith('#') ? [] : [name.replace(/^@/, '').toLowerCase()]
}

type StepResult = readonly [ok: Step['ok'], text: string, hint?: string]

const DNS_HINT =
  'point an MX record to this host, or ask your provider whether the server has its own route to this host'

const RESOLVER_HINT = 'check again when DNS works'

/** Checks whether DNS sends mail for a domain to this host. */
async function checkDomain(domain: string, checks: readonly ServerCheck[], limits: Limits): Promise<StepResult> {
  const { signal, timeoutMs } = limits
  const lookup = { signal, timeoutMs: Math.min(timeoutMs, LOOKUP_TIMEOUT_MS) }
  try {
    const records = (await lookUpMx(domain, lookup)).sort((a, b) => a.preference - b.preference)
    const all = records.length === 0 ? [domain] : records.map(({ host }) => host).filter(isHostName)
    if (all.length === 0) return [false, 'null MX: this domain accepts no mail (RFC 7505)', DNS_HINT]
    const hosts = all.slice(0, EXCHANGERS_LOOKED_UP)
    const found = await Promise.all(hosts.map(async (host) => publicAddresses(host, lookup)))
    const texts = found.map(({ host, addresses }) => `${host} (${listSome(addresses) || 'no address'})`)
    const text = `mail goes to ${listSome([...texts, ...all.slice(hosts.length)])}`
    const route = await judgeRoute(
      found.flatMap(({ addresses }) => addresses),
      text,
      checks,
    )
    const failed = found.find(({ error }) => error !== undefined)
    if (failed === undefined || route[0] === true) return route
    return [null, `${text}; ${failed.host}: ${failed.error?.message ?? ''}`, RESOLVER_HINT]
  } catch (error) {
    if (!(error instanceof StepError)) throw error
    if (error.exitStatus === EXIT.NOHOST) return [false, error.message, DNS_HINT]
    return [null, error.message, (error.kind === 'no-resources' ? error.hint : undefined) ?? RESOLVER_HINT]
  }
}

async function judgeRoute(
  addresses: readonly string[],
  text: string,
  checks: readonly ServerCheck[],
): Promise<StepResult> {
  // This host's addresses as the servers see them
  const seenAs = checks.flatMap((facts) => facts.seenAs ?? [])
  const servers = checks.flatMap(({ address }) => (address === null ? [] : canonicalAddress(address)))
  const own = await findOwn(addresses, seenAs)
  if (own !== undefined) {
    if (!isPrivate(own) || servers.every(isPrivate)) return [true, `${text}: ${own} is this host`]
    const hint = 'only servers on the same network can deliver to a private address'
    return [null, `${text}: ${own} is this host, but the address is private`, hint]
  }
  if (addresses.length > 0 && addresses.every((address) => servers.includes(canonicalAddress(address))))
    return [null, `${text}: this is the server itself, which needs its own route to this host`]
  if (seenAs.length === 0)
    return [null, `${text}: this is not an address of this host; behind NAT, it can still be right`]
  return [false, `${text}: not ${listSome(seenAs)}, the address that the server sees`, DNS_HINT]
}

/** Returns the first address that is this host's, or that a server sees in its place. */
async function findOwn(addresses: readonly string[], seenAs: readonly string[]): Promise<string | undefined> {
  // Each server takes 0.0.0.0 for itself.
  for (const address of addresses.filter((each) => !isUnspecified(each)))
    if (seenAs.includes(canonicalAddress(address)) || (await isThisHost(address))) return address
  return undefined
}

type PublicAddresses = { readonly host: string; readonly addresses: readonly string[]; readonly error?: StepError }

/** Returns the addresses of a host as other hosts see it, so not those in /etc/hosts, and the error if DNS doesn't tell. */
async function publicAddresses(host: string, limits: Limits): Promise<PublicAddresses> {
  try {
    const { first, cancel } = await queryAddresses(host, undefined, limits)
    cancel()
    return { host, addresses: first }
  } catch (error) {
    if (!(error instanceof StepError)) throw error
    return error.exitStatus === EXIT.NOHOST ? { host, addresses: [] } : { host, addresses: [], error }
  }
}
