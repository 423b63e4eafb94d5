import { EXIT, StepError } from '../errors.js'
import { type Addresses, lookUpAddresses } from '../net/dns.js'
import { lookUpExchanger } from '../net/exchanger.js'
import type { Server, SessionOptions } from './session-settings.js'

/** Returns the addresses that DNS and this host have for a server. Throws StepError. */
export async function lookUpHost(
  { host, isExchanger, isAbsolute }: Server,
  options: SessionOptions,
): Promise<Addresses> {
  const { family, self } = options
  try {
    if (isExchanger) return await lookUpExchanger(host, family, self, options)
    return await lookUpAddresses(host, family, options, { isAbsolute })
  } catch (error) {
    // The user has not typed the name of an exchanger.
    const isWrongRecord = isExchanger && error instanceof StepError && error.exitStatus === EXIT.NOHOST
    if (!isWrongRecord || error.kind !== undefined) throw error
    const { message, exitStatus, cause } = error
    const hint = 'correct the MX record, or add an address for the host that it names'
    throw new StepError(message, { exitStatus, hint, cause })
  }
}
