import type { Stats } from 'node:fs'
import { EXIT, messageOf, OptionError, type UsageError } from '../errors.js'
import type { TlsPolicy } from '../smtp/tls-policy.js'
import { warnIfExposed } from './file-safety.js'
import { type InputSources, readText } from './read-file.js'
import type { Target } from './targets.js'

/** Several times the CA certificates of a system. OpenSSL's time grows with the square of their number, and nothing can end its work. */
const PEM_OCTETS = 1024 * 1024

/** Returns what is in the files of a server's TLS options. Throws OptionError. */
export async function readTlsFiles(
  { options }: Target,
  sources: Pick<InputSources, 'uid' | 'signal' | 'warn'>,
): Promise<Pem> {
  const warnings: string[] = []
  const warn = (message: string): unknown => warnings.push(message)
  const read = async (part: keyof Pem, content?: 'CA certificate' | 'private key'): Promise<string | undefined> => {
    const file = options[`tls-${part}`]
    if (file === undefined) return undefined
    const check = (stats: Stats): void => {
      if (content !== undefined) warnIfExposed(file, stats, content, { uid: sources.uid, warn })
    }
    return readText(`tls-${part}`, file, sources, check, { octets: PEM_OCTETS })
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
  return pem
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
