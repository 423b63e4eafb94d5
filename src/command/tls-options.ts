import { EXIT, messageOf, OptionError, UsageError } from '../errors.js'
import { tlsLevelFor } from '../smtp/credentials-policy.js'
import type { TlsLevel, TlsPolicy } from '../smtp/session-settings.js'
import { forOption } from './option-sources.js'
import { warnIfExposed } from './file-safety.js'
import { type InputSources, readText } from './read-file.js'
import { type Target, userOf } from './targets.js'

/** Returns the TLS level that counts. Reads no file. Throws OptionError. */
export async function checkTlsOptions(target: Target): Promise<TlsLevel> {
  const { server, options } = target
  if (options['tls-cert'] === undefined && options['tls-key'] !== undefined)
    throw new OptionError('tls-key', '--tls-key needs --tls-cert; add --tls-cert FILE')
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
  const { options } = target
  const warnings: string[] = []
  const warn = (message: string): unknown => warnings.push(message)
  const read = async (part: keyof Pem, content?: 'CA certificate' | 'private key'): Promise<string | undefined> => {
    const file = options[`tls-${part}`]
    if (file === undefined) return undefined
    return readText(`tls-${part}`, file, sources.signal, (stats) => {
      if (content !== undefined) warnIfExposed(file, stats, content, { uid: sources.uid, warn })
    })
  }
  const pem = {
    // An authority decides who receives the password.
    ca: await read('ca', 'CA certificate'),
    cert: await read('cert', options['tls-key'] === undefined ? 'private key' : undefined),
    key: await read('key', 'private key'),
  }
  await checkPem(pem, (part, problem, cause) => {
    const option = `tls-${part}` as const
    return new OptionError(option, `--${option} ${options[option] ?? ''}: ${problem}`, {
      exitStatus: EXIT.NOINPUT,
      cause,
    })
  })
  // A certificate that has no key must not be called a private key.
  for (const warning of warnings) sources.warn(warning)
  const { 'tls-fingerprint': fingerprint, 'tls-name': name, 'tls-min': minVersion } = options
  return { ...pem, fingerprint, name, minVersion, level }
}

type Pem = Pick<TlsPolicy, 'ca' | 'cert' | 'key'>
type PemError = (part: keyof Pem, problem: string, cause?: unknown) => UsageError

/** Checks certificate authorities, certificate and key before anything is sent. Without a key, the certificate's text must have it. */
export async function checkPem({ ca, cert, key }: Pem, errorOf: PemError): Promise<void> {
  if (ca === undefined && cert === undefined) return
  const { createPrivateKey, X509Certificate } = await import('node:crypto')
  const { createSecureContext } = await import('node:tls')
  const parse = <T>(part: keyof Pem, content: string, work: () => T): T => {
    try {
      return work()
    } catch (error) {
      throw errorOf(part, describePemError(messageOf(error), content), error)
    }
  }
  if (ca !== undefined) parse('ca', 'certificate', () => new X509Certificate(ca))
  if (cert === undefined) return
  const certificate = parse('cert', 'certificate', () => new X509Certificate(cert))
  const keyPart = key === undefined ? 'cert' : 'key'
  const privateKey = parse(keyPart, 'private key', () => createPrivateKey(key ?? cert))
  if (!certificate.checkPrivateKey(privateKey))
    throw errorOf(keyPart, 'the private key does not belong to the certificate')
  parse(keyPart, 'private key', () => createSecureContext({ cert, key: key ?? cert }))
}

function describePemError(message: string, content: string): string {
  if (/passphrase|interrupted or cancelled/i.test(message))
    return 'the private key has a passphrase; remove the passphrase, for example with openssl pkey'
  if (/DECODER|no start line/i.test(message)) return `no ${content} in PEM format found`
  return `the ${content} can't be used: ${message}`
}
