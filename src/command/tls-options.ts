import { EXIT, messageOf, UsageError } from '../errors.js'
import type { ServerArgument } from '../input/server-address.js'
import { brokenSendableRule } from '../input/values.js'
import { isLoopback } from '../net/address.js'
import type { TlsRequest } from '../smtp/credentials-policy.js'
import type { TlsLevel, TlsPolicy } from '../smtp/tls-policy.js'
import type { Options } from './options.js'
import { readText } from './read-file.js'

/** The rules of TLS and login, before any file is read; the level that holds. Throws UsageError. */
export function checkTlsOptions(target: ServerArgument, options: Options): TlsLevel {
  const { auth: mechanism, 'password-file': file, 'password-command': command } = options
  const user = options.user ?? target.user
  if (options['tls-cert'] === undefined && options['tls-key'] !== undefined)
    throw new UsageError('--tls-key belongs to --tls-cert: type both')
  if (user === undefined && mechanism !== undefined && mechanism !== 'EXTERNAL')
    throw new UsageError(`--auth ${mechanism} needs a user: type --user U`)
  if (user === undefined && mechanism === undefined && (file !== undefined || command !== undefined))
    throw new UsageError('a password needs a user: type --user U')
  const broken = brokenSendableRule(user ?? '')
  if (broken !== undefined) throw new UsageError(`the user of ${target.word}: ${broken}`)
  const { tls: level, 'tls-fingerprint': fingerprint, 'tls-ca': ca, 'tls-name': name } = options
  return tlsLevelFor(target, { level, fingerprint, ca, name }, user !== undefined || mechanism === 'EXTERNAL')
}

/**
 * The level that holds: what there is to check against is checked, smtps:// always, and a login goes to nobody unknown, but for
 * this host itself. Throws UsageError where a pin could be passed by.
 */
export function tlsLevelFor(target: ServerArgument, said: TlsRequest, hasLogin: boolean): TlsLevel {
  const { level, fingerprint, ca, name } = said
  if (fingerprint !== undefined && (level === 'none' || level === 'may')) {
    throw new UsageError(`--tls ${level} contradicts --tls-fingerprint: type --tls verify, or leave it out`)
  }
  if (target.isImplicitTls) return 'verify'
  const isChecked = fingerprint !== undefined || ca !== undefined || name !== undefined
  return (
    level ?? (isChecked || (hasLogin && target.host !== 'localhost' && !isLoopback(target.host)) ? 'verify' : 'may')
  )
}

/** How far a server is trusted, with the files read that say it. Throws UsageError. */
export async function readTlsPolicy(target: ServerArgument, options: Options, signal: AbortSignal): Promise<TlsPolicy> {
  const level = checkTlsOptions(target, options)
  const read = async (which: keyof Pem): Promise<string | undefined> => {
    const file = options[`tls-${which}`]
    return file === undefined ? undefined : readText(`--tls-${which}`, file, signal)
  }
  const pem = { ca: await read('ca'), cert: await read('cert'), key: await read('key') }
  await checkPem(pem, (which) => `--tls-${which} ${options[`tls-${which}`] ?? ''}`, EXIT.NOINPUT)
  const { 'tls-fingerprint': fingerprint, 'tls-name': name, 'tls-min': minVersion = 'TLSv1.2' } = options
  return { ...pem, fingerprint, name, minVersion, level }
}

type Pem = Pick<TlsPolicy, 'ca' | 'cert' | 'key'>

/**
 * Checks authorities, certificate and key, before anything is sent; a key that isn't given is in the certificate's text. Throws
 * UsageError, with the user's name for what is wrong.
 */
export async function checkPem(
  { ca, cert, key }: Pem,
  nameOf: (which: keyof Pem) => string,
  exitStatus: number,
): Promise<void> {
  if (ca === undefined && cert === undefined) return
  const { createPrivateKey, X509Certificate } = await import('node:crypto')
  const { createSecureContext } = await import('node:tls')
  const wrong = (which: keyof Pem, why: string, cause?: unknown): UsageError =>
    new UsageError(`${nameOf(which)}: ${why}`, exitStatus, cause)
  const tried = <T>(which: keyof Pem, what: string, work: () => T): T => {
    try {
      return work()
    } catch (error) {
      const message = messageOf(error)
      const isLocked = /passphrase|interrupted or cancelled/i.test(message)
      const isNone = /DECODER|no start line/i.test(message)
      const why = isLocked
        ? 'the key has a passphrase; take it off'
        : isNone
          ? `there is no ${what} in it, in PEM`
          : `it can't be used: ${message}`
      throw wrong(which, why, error)
    }
  }
  if (ca !== undefined) tried('ca', 'certificate', () => new X509Certificate(ca))
  if (cert === undefined) return
  const certificate = tried('cert', 'certificate', () => new X509Certificate(cert))
  const place = key === undefined ? 'cert' : 'key'
  const privateKey = tried(place, 'private key', () => createPrivateKey(key ?? cert))
  if (!certificate.checkPrivateKey(privateKey)) throw wrong(place, 'the key is not that of the certificate')
  tried(place, 'private key', () => createSecureContext({ cert, key: key ?? cert }))
}
