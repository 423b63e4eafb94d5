import { EXIT, StepError } from '../errors.js'
import { readLocalGreeting } from '../etrn/local-server.js'
import { isPrivate } from '../net/address.js'
import type { Limits } from '../net/deadline.js'
import { lookUpMx, queryAddresses } from '../net/dns.js'
import { isHostName } from '../net/domain.js'
import { isThisHost } from '../net/this-host.js'
import { type Step, StepLog } from './steps.js'

/** Of a list, so that no resolver is asked thousands of times */
const NAMES_LOOKED_UP = 20

/** What is known of the sessions: this host's addresses as the servers see them, and their own. */
export type Endpoints = { readonly seenAs: readonly string[]; readonly servers: readonly string[] }

/**
 * Whether what a server releases would get here: it comes over a new connection, to where the DNS says that the site is (RFC 1985,
 * section 4).
 */
export async function checkDelivery(
  names: readonly string[],
  ends: Endpoints,
  limits: Limits,
  steps: StepLog,
): Promise<void> {
  steps.begin()
  steps.add('own port 25', ...(await checkLocalServer(limits)))
  const nodes = [...new Set(names.flatMap(domainOfName))]
  for (const node of nodes.slice(0, NAMES_LOOKED_UP)) {
    if (limits.signal.aborted) return
    steps.begin()
    steps.add(node, ...(await checkDomain(node, ends, limits)))
  }
  const more = nodes.length - NAMES_LOOKED_UP
  if (more > 0) steps.note('names', null, `${more} more were not looked up`)
}

/** Whether it is as it should be, what was seen, and what to do about it. */
type StepResult = readonly [ok: Step['ok'], text: string, advice?: string]

async function checkLocalServer(limits: Limits): Promise<StepResult> {
  try {
    return [true, await readLocalGreeting(limits)]
  } catch (error) {
    if (!(error instanceof StepError)) throw error
    return [false, error.message, 'start the mail server; --wait-local waits for it']
  }
}

/** The domain that mail for a name goes to; a queue's name says nothing of it. */
function domainOfName(name: string): string[] {
  return name.startsWith('#') ? [] : [name.replace(/^@/, '').toLowerCase()]
}

/** Where mail for a domain goes by the DNS, and whether that is here. */
async function checkDomain(node: string, { seenAs, servers }: Endpoints, limits: Limits): Promise<StepResult> {
  try {
    const exchangers = await lookUpMx(node, limits)
    const hosts = exchangers.length === 0 ? [node] : exchangers.map(({ host }) => host).filter(isHostName)
    if (hosts.length === 0) return [false, 'a null MX: this domain takes no mail', DNS_HINT]
    const found = await Promise.all(
      hosts.map(async (host) => ({ host, addresses: await publicAddresses(host, limits) })),
    )
    const text = found.map(({ host, addresses }) => `${host} (${addresses.join(', ') || 'no address'})`).join(', ')
    const all = found.flatMap(({ addresses }) => addresses)
    const areOwn = await Promise.all(all.map(async (address) => seenAs.includes(address) || isThisHost(address)))
    const own = all.find((_, index) => areOwn[index])
    if (own !== undefined) {
      if (!isPrivate(own) || servers.every(isPrivate)) return [true, `${text}: ${own} is this site`]
      const advice = 'the server reaches it only from within the same network'
      return [null, `${text}: ${own} is this site, but a private address`, advice]
    }
    if (all.length > 0 && all.every((address) => servers.includes(address)))
      return [null, `${text}: the server itself, which has to have a route of its own to this site`]
    if (seenAs.length === 0)
      return [null, `${text}: no address of this machine; behind NAT it may be right all the same`]
    return [false, `${text}: not ${seenAs.join(', ')}, where the server sees this site`, DNS_HINT]
  } catch (error) {
    if (!(error instanceof StepError)) throw error
    if (error.exitStatus === EXIT.NOHOST) return [false, error.message, DNS_HINT]
    return [null, error.message, 'look again when the resolver works']
  }
}

const DNS_HINT = 'let an MX lead here, unless the server has a route of its own: ask the provider'

/** Every address of a host as others see it, so not of /etc/hosts; none where it can't be looked up. */
async function publicAddresses(host: string, limits: Limits): Promise<readonly string[]> {
  try {
    const { first, late } = await queryAddresses(host, undefined, limits)
    return [...first, ...(await late)]
  } catch (error) {
    if (error instanceof StepError) return []
    throw error
  }
}
