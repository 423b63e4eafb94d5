import { OptionError } from '../errors.js'
import { tlsLevelFor } from '../smtp/credentials-policy.js'
import type { TlsLevel, TlsPolicy } from '../smtp/tls-policy.js'
import { forOption } from './option-sources.js'
import type { InputSources } from './read-file.js'
import { type Target, userOf } from './targets.js'

/** Returns the TLS level that counts. Reads no file. Throws OptionError. */
export async function checkTlsOptions(target: Target): Promise<TlsLevel> {
  const { server, options, sourceOf, isAsStrong } = target
  if (options['tls-cert'] === undefined && options['tls-key'] !== undefined)
    throw new OptionError('tls-key', '--tls-key needs --tls-cert; add --tls-cert FILE')
  // A profile without TLS may stand below a --tls-min for all others.
  const unused = (['tls-min', 'tls-cert'] as const).find((option) => isAsStrong(option, 'tls'))
  if (options.tls === 'none' && !server.isImplicitTls && unused !== undefined) {
    const place = sourceOf(unused) === sourceOf('tls') ? 'tls' : unused
    throw new OptionError(place, `--tls none contradicts --${unused}; remove one of them`)
  }
  const { tls: level, 'tls-fingerprint': fingerprint, 'tls-ca': ca, 'tls-name': name } = options
  const hasCredentials = userOf(target) !== undefined || options.auth === 'EXTERNAL'
  return forOption('tls', () => tlsLevelFor(server, { level, fingerprint, ca, name }, hasCredentials))
}

/** Returns the TLS policy for a server, and reads its files. Throws OptionError. */
export async function readTlsPolicy(
  target: Target,
  sources: Pick<InputSources, 'uid' | 'signal' | 'warn'>,
): Promise<TlsPolicy> {
  const level = await checkTlsOptions(target)
  const { 'tls-ca': ca, 'tls-cert': cert, 'tls-fingerprint': fingerprint } = target.options
  const { 'tls-name': name, 'tls-min': minVersion } = target.options
  const policy = { ca: undefined, cert: undefined, key: undefined, fingerprint, name, minVersion, level }
  if (ca === undefined && cert === undefined) return policy
  const { readTlsFiles } = await import('./tls-files.js')
  return { ...policy, ...(await readTlsFiles(target, sources)) }
}
