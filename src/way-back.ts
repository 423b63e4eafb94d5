import { BlockList } from 'node:net'
import type { Limits } from './deadline.js'
import { mailExchangers, query } from './dns.js'
import { familyOf } from './ip.js'
import { isThisHost, ownGreeting } from './local.js'
import { EXIT, StepError } from './outcome.js'
import { isHost } from './servers.js'

/** One thing that was looked at. */
export type Step = {
  readonly step: string
  /** true: as it should be; false: it isn't; null: nothing speaks for or against it */
  readonly ok: boolean | null
  readonly elapsedMs: number | null
  readonly text: string
  /** What to do about it */
  readonly advice: string | null
}

/** Of a list, so that no resolver is asked thousands of times */
const NAMES_LOOKED_UP = 20

/**
 * Whether what a server releases would get here: it comes over a new connection, to where the DNS says that the site is (RFC 1985,
 * section 4).
 */
export async function checkWayBack(
  names: readonly string[],
  ends: Ends,
  limits: Limits,
  onStep: (step: Step) => void,
): Promise<Step[]> {
  const steps: Step[] = []
  const timed = async (step: string, work: () => Promise<Found>): Promise<void> => {
    const began = performance.now()
    const { ok, text, advice = null } = await work()
    const made = { step, ok, elapsedMs: Math.round(performance.now() - began), text, advice }
    steps.push(made)
    onStep(made)
  }
  await timed('own port 25', async () => ownServer(limits))
  const nodes = [...new Set(names.flatMap(nodeIn))]
  for (const node of nodes.slice(0, NAMES_LOOKED_UP)) {
    if (limits.signal.aborted) return steps
    await timed(node, async () => wayTo(node, ends, limits))
  }
  const more = nodes.length - NAMES_LOOKED_UP
  if (more > 0) await timed('names', async () => Promise.resolve({ ok: null, text: `${more} more were not looked up` }))
  return steps
}

/** What is known of the sessions: this host's addresses as the servers see them, and their own. */
export type Ends = { readonly seenAs: readonly string[]; readonly servers: readonly string[] }

/** Of a greeting that people read */
const GREETING_CHARACTERS = 200

type Found = Pick<Step, 'ok' | 'text'> & { readonly advice?: string }

async function ownServer(limits: Limits): Promise<Found> {
  try {
    return { ok: true, text: (await ownGreeting(limits)).slice(0, GREETING_CHARACTERS) }
  } catch (error) {
    if (!(error instanceof StepError)) throw error
    return { ok: false, text: error.message, advice: 'start the mail server; --wait-local waits for it' }
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
    const hosts = exchangers.length === 0 ? [node] : exchangers.map(({ host }) => host).filter(isHost)
    if (hosts.length === 0) return { ok: false, text: 'a null MX: this domain takes no mail', advice: DNS_ADVICE }
    const found = await Promise.all(hosts.map(async (host) => ({ host, addresses: await addressesIn(host, limits) })))
    const text = found.map(({ host, addresses }) => `${host} (${addresses.join(', ') || 'no address'})`).join(', ')
    const all = found.flatMap(({ addresses }) => addresses)
    const areOwn = await Promise.all(all.map(async (address) => seenAs.includes(address) || isThisHost(address)))
    const own = all.find((_, index) => areOwn[index])
    if (own !== undefined) {
      const isHidden = isPrivate(own) && servers.some((address) => !isPrivate(address))
      if (!isHidden) return { ok: true, text: `${text}: ${own} is this site` }
      const found = `${text}: ${own} is this site, but a private address`
      return { ok: null, text: found, advice: 'the server reaches it only from within the same network' }
    }
    if (all.length > 0 && all.every((address) => servers.includes(address)))
      return { ok: null, text: `${text}: the server itself, which has to have a route of its own to this site` }
    if (seenAs.length === 0)
      return { ok: null, text: `${text}: no address of this machine; behind NAT it may be right all the same` }
    return { ok: false, text: `${text}: not ${seenAs.join(', ')}, where the server sees this site`, advice: DNS_ADVICE }
  } catch (error) {
    if (!(error instanceof StepError)) throw error
    const isCertain = error.exitStatus === EXIT.NOHOST
    return isCertain
      ? { ok: false, text: error.message, advice: DNS_ADVICE }
      : { ok: null, text: error.message, advice: 'look again when the resolver works' }
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

/** Networks that nobody reaches from outside (RFC 1918, 6598, 3927, 1122, 4193, 4291) */
const PRIVATE = new BlockList()
for (const [network, prefix] of [
  ['10.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['100.64.0.0', 10],
  ['169.254.0.0', 16],
  ['127.0.0.0', 8],
] as const)
  PRIVATE.addSubnet(network, prefix)
PRIVATE.addSubnet('fc00::', 7, 'ipv6')
PRIVATE.addSubnet('fe80::', 10, 'ipv6')
PRIVATE.addAddress('::1', 'ipv6')

/** Whether an address is one of those that a NAT has behind it. */
export function isPrivate(address: string): boolean {
  return PRIVATE.check(address.replace(/%.*/, ''), familyOf(address) === 6 ? 'ipv6' : 'ipv4')
}
