import { codeOf, EXIT, StepError } from '../errors.js'
import type { Family } from './address.js'
import { NoDataError } from './name-server.js'
import { errorsOf } from './race.js'

const DNS_ERRORS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'no DNS server can be reached',
  ESERVFAIL: 'the DNS resolver reports a failure',
  EREFUSED: 'the DNS resolver refuses to answer',
  EBADRESP: 'the DNS resolver gives no definite answer',
  ETIMEOUT: 'no DNS server answers',
  EAI_AGAIN: 'the resolver reports a temporary failure',
}

/** Returns the failure of a lookup. It is definite only if every answer says that there is no record; otherwise it is temporary. */
export function resolutionError(
  kind: 'host' | 'domain',
  name: string,
  failures: readonly unknown[],
  family?: Family,
): StepError {
  const codes = failures.map(codeOf)
  const cause = failures[Math.max(0, codes.indexOf('ENOTFOUND'))]
  const code = codes.find((found) => found !== 'ENOTFOUND' && found !== 'ENODATA')
  if (code !== undefined) {
    const message = `${DNS_ERRORS[code] ?? 'the DNS lookup failed'} (${code || 'unknown'})`
    return new StepError(message, { exitStatus: EXIT.TEMPFAIL, hint: RESOLVER_HINT, cause })
  }
  // What is not proved for one family is not proved for the host.
  if (!codes.includes('ENOTFOUND'))
    return noAddressError(family, failures.find((failure) => !(failure instanceof NoDataError)) ?? cause)
  const hint =
    kind === 'domain' ? 'check the spelling of the domain' : name.includes('.') ? SPELLING_HINT : PROFILE_HINT
  return new StepError(`no such ${kind}`, { exitStatus: EXIT.NOHOST, hint, cause })
}

const SPELLING_HINT = 'check the spelling of the server name'
const PROFILE_HINT = `${SPELLING_HINT}; if you mean a profile, note that root reads only /etc/etrn/config.toml or the --config file`
export const RESOLVER_HINT =
  "if the link has just come up, DNS may not work yet: --retry-for 5m keeps trying; the name servers in /etc/resolv.conf, or those of the server's domain, may be down"
export const SHORT_TIMEOUT_HINT = 'give DNS more time: --timeout 60s; if the link has just come up: --retry-for 5m'

export function noAddressError(family: Family, cause?: unknown): StepError {
  const missing = family === undefined ? 'address' : `IPv${family} address`
  const hint = family === undefined ? SPELLING_HINT : `run without -${family} to use any address of the server`
  return new StepError(`no ${missing} found`, { exitStatus: EXIT.NOHOST, hint, cause })
}

export function isNoHost(error: unknown): error is StepError {
  return error instanceof StepError && error.exitStatus === EXIT.NOHOST
}

/** Returns the first error of a race that the test holds for, else the first one. */
export function firstError(error: unknown, isWanted: (error: StepError) => boolean = () => true): unknown {
  const errors = errorsOf(error)
  return errors.find((one) => one instanceof StepError && isWanted(one)) ?? errors[0]
}
