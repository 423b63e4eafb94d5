import { EXIT, StepError } from '../errors.js'
import { isUnspecified } from '../net/address.js'
import { abortReason, type Limits } from '../net/deadline.js'
import { type Addresses, knownWithin, lookUpAddresses } from '../net/dns.js'
import { lookUpExchanger, SECOND_FAMILY_MS } from '../net/exchanger.js'
import type { Server, SessionOptions } from './session-settings.js'

/**
 * Returns addresses without 0.0.0.0 and the like, with which resolvers block a name: the system would connect to itself. Throws StepError
 * (75) if none is left.
 */
async function withoutUnspecified(
  { first, late, cancel }: Addresses,
  { timeoutMs, signal }: Limits,
): Promise<Addresses> {
  const keep = (addresses: readonly string[]): string[] => addresses.filter((address) => !isUnspecified(address))
  if (keep(first).length > 0) return { first: keep(first), late: late.then(keep), cancel }
  const all = [...first, ...(await knownWithin(Math.min(SECOND_FAMILY_MS, timeoutMs), late, signal))]
  if (keep(all).length > 0) return { first: keep(all), late: Promise.resolve([]), cancel }
  cancel()
  if (signal.aborted) throw abortReason(signal)
  throw new StepError(`the resolver returns ${all.join(', ')}, which is not the address of a host`, {
    exitStatus: EXIT.TEMPFAIL,
    hint: "a filter in the resolver or in /etc/hosts may block the server's name: allow the name there",
  })
}

/** Returns the addresses that DNS and this host have for a server. Throws StepError. */
export async function lookUpHost(
  { host, isExchanger, isAbsolute }: Server,
  options: SessionOptions,
): Promise<Addresses> {
  const { family, self } = options
  try {
    const found = isExchanger
      ? await lookUpExchanger(host, family, self, options)
      : await lookUpAddresses(host, family, options, { isAbsolute })
    return await withoutUnspecified(found, options)
  } catch (error) {
    // The user has not typed the name of an exchanger.
    const isWrongRecord = isExchanger && error instanceof StepError && error.exitStatus === EXIT.NOHOST
    if (!isWrongRecord || error.kind !== undefined) throw error
    const { message, exitStatus, cause } = error
    const hint = 'correct the MX record, or add an address for the host that it names'
    throw new StepError(message, { exitStatus, hint, cause })
  }
}
