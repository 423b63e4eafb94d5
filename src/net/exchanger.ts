import { canonicalAddress, type Family, familyOf, interleaveFamilies, isUnspecified } from './address.js'
import type { Limits } from './deadline.js'
import { type Addresses, knownWithin, lookUpAddresses } from './dns.js'
import { isThisHost, mayHaveFamily, selfError } from './this-host.js'

/**
 * Returns the addresses of a mail exchanger, whose name is absolute. `self` lists names and addresses of this host. Throws StepError:
 * one of the kind `self` if the exchanger is this host, 75 if that can't be told, else as lookUpAddresses does.
 */
export async function lookUpExchanger(
  host: string,
  family: Family,
  self: readonly string[],
  limits: Limits,
): Promise<Addresses> {
  if (self.includes(host)) throw selfError(host)
  const isOwn = ownAddressTest(self)
  const { first, late, cancel } = await lookUpAddresses(host, family, limits, { isAbsolute: true })
  try {
    for (const address of first) if (await isOwn(address)) throw selfError(address)
  } catch (error) {
    cancel()
    throw error
  }
  const areOwn = async (addresses: readonly string[]): Promise<boolean> =>
    (await Promise.all(addresses.map(isOwn))).includes(true)
  const foreign = late.then(async (addresses) => ((await areOwn(addresses)) ? [] : addresses)).catch(() => [])
  return { first, late: foreign, cancel }
}

/** The time that a judgement waits for the second family of addresses, if the first one may not be all that counts */
export const SECOND_FAMILY_MS = 3000

/** A mail exchanger: is it this host, and which addresses has it, best first? They are unspecified only if it has no others. */
export type JudgedExchanger = { readonly isOwn: boolean; readonly addresses: readonly string[] }

/** Judges a mail exchanger by its name and by all its addresses of both families. Throws as lookUpExchanger does. */
export async function judgeExchanger(host: string, self: readonly string[], limits: Limits): Promise<JudgedExchanger> {
  if (self.includes(host)) return { isOwn: true, addresses: [] }
  const { signal } = limits
  const isOwn = ownAddressTest(self)
  const { first, late, cancel } = await lookUpAddresses(host, undefined, limits, { isAbsolute: true })
  try {
    const second = await knownWithin(mayOwnSecondFamily(first, self) ? SECOND_FAMILY_MS : 0, late, signal)
    // A session tries only a few: of both families.
    const found = interleaveFamilies([...first, ...second], undefined)
    const ofHosts = found.filter((address) => !isUnspecified(address))
    const addresses = ofHosts.length > 0 ? ofHosts : found
    signal.throwIfAborted()
    for (const address of addresses) if (await isOwn(address)) return { isOwn: true, addresses }
    return { isOwn: false, addresses }
  } finally {
    cancel()
  }
}

/** Returns true if this host may have an address of the family that the first addresses lack: some name servers never answer AAAA. */
function mayOwnSecondFamily(first: readonly string[], self: readonly string[]): boolean {
  const includesFamily = (addresses: readonly string[], family: 4 | 6): boolean =>
    addresses.some((address) => familyOf(address) === family)
  return ([4, 6] as const).some(
    (family) => !includesFamily(first, family) && (mayHaveFamily(family) || includesFamily(self, family)),
  )
}

function ownAddressTest(self: readonly string[]): (address: string) => Promise<boolean> {
  const own = self.map(canonicalAddress)
  // A filter returns an unspecified address for any host.
  return async (address) =>
    !isUnspecified(address) && (own.includes(canonicalAddress(address)) || (await isThisHost(address)))
}
