import { EXIT, StepError } from '../errors.js'
import { ownGreeting } from '../etrn/local-server.js'
import { isPrivate } from '../net/address.js'
import type { Limits } from '../net/deadline.js'
import { mailExchangers, query } from '../net/dns.js'
import { isHostName } from '../net/domain.js'
import { isThisHost } from '../net/this-host.js'
import { type Step, Steps } from './steps.js'

/** Of a list, so that no resolver is asked thousands of times */
const NAMES_LOOKED_UP = 20

/** What is known of the sessions: this host's addresses as the servers see them, and their own. */
export type Ends = { readonly seenAs: readonly string[]; readonly servers: readonly string[] }

/**
 * Whether what a server releases would get here: it comes over a new connection, to where the DNS says that the site is (RFC 1985,
 * section 4).
 */
export async function checkWayBack(names: readonly string[], ends: Ends, limits: Limits, steps: Steps): Promise<void> {
  steps.begin()
  steps.add('own port 25', ...(await ownServer(limits)))
  const nodes = [...new Set(names.flatMap(nodeIn))]
  for (const node of nodes.slice(0, NAMES_LOOKED_UP)) {
    if (limits.signal.aborted) return
    steps.begin()
    steps.add(node, ...(await wayTo(node, ends, limits)))
  }
  const more = nodes.length - NAMES_LOOKED_UP
  if (more > 0) steps.note('names', null, `${more} more were not looked up`)
}

/** Whether it is as it should be, what was seen, and what to do about it. */
type Found = readonly [ok: Step['ok'], text: string, advice?: string]

async function ownServer(limits: Limits): Promise<Found> {
  try {
    return [true, await ownGreeting(limits)]
  } catch (error) {
    if (!(error instanceof StepError)) throw error
    return [false, error.message, 'start the mail server; --wait-local waits for it']
  }
}

/** The domain that mail for a name goes to; a queue's name says nothing of it. */
function nodeIn(name: string): string[] {
  return name.startsWith('#') ? [] : [name.replace(/^@/, '').toLowerCase()]
}

/** Where mail for a domain goes by the DNS, and whether that is here. */
async function wayTo(node: string, { seenAs, servers }: Ends, limits: Limits): Promise<Found> {
  try {
    const exchangers = await mailExchangers(node, limits)
    const hosts = exchangers.length === 0 ? [node] : exchangers.map(({ host }) => host).filter(isHostName)
    if (hosts.length === 0) return [false, 'a null MX: this domain takes no mail', DNS_ADVICE]
    const found = await Promise.all(hosts.map(async (host) => ({ host, addresses: await addressesIn(host, limits) })))
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
    return [false, `${text}: not ${seenAs.join(', ')}, where the server sees this site`, DNS_ADVICE]
  } catch (error) {
    if (!(error instanceof StepError)) throw error
    if (error.exitStatus === EXIT.NOHOST) return [false, error.message, DNS_ADVICE]
    return [null, error.message, 'look again when the resolver works']
  }
}

const DNS_ADVICE = 'let an MX lead here, unless the server has a route of its own: ask the provider'

/** Every address of a host as others see it, so not of /etc/hosts; none where it can't be looked up. */
async function addressesIn(host: string, limits: Limits): Promise<readonly string[]> {
  try {
    const { first, late } = await query(host, undefined, limits)
    return [...first, ...(await late)]
  } catch (error) {
    if (error instanceof StepError) return []
    throw error
  }
}
