import { readText } from './files.js'
import { isLoopback } from './ip.js'
import { sendableRule } from './names.js'
import type { Options } from './options.js'
import { EXIT, UsageError } from './outcome.js'
import type { Sources } from './password.js'
import type { Target } from './servers.js'
import type { Credentials } from './smtp/auth.js'
import type { Server } from './smtp/session.js'
import type { TlsLevel, TlsPolicy } from './smtp/tls.js'

/**
 * How far a server is trusted, and what it may be told: the options' TLS policy and login, with their files read. Throws
 * UsageError.
 */
export async function trusted(target: Target, options: Options, sources: PasswordSources): Promise<Server> {
  const level = checkTrust(target, options)
  const policy = await policyOf(options, sources.signal)
  const credentials = await credentialsOf(target, options, sources)
  return { ...target, tls: { ...policy, level }, credentials }
}

/** The rules of TLS and login, before any file is read; the level that holds. Throws UsageError. */
export function checkTrust(target: Target, options: Options): TlsLevel {
  const { auth: mechanism, 'password-file': file, 'password-command': command } = options
  const user = options.user ?? target.user
  if (options['tls-cert'] === undefined && options['tls-key'] !== undefined)
    throw new UsageError('--tls-key belongs to --tls-cert: type both')
  if (user === undefined && mechanism !== undefined && mechanism !== 'EXTERNAL')
    throw new UsageError(`--auth ${mechanism} needs a user: type --user U`)
  if (user === undefined && mechanism === undefined && (file !== undefined || command !== undefined))
    throw new UsageError('a password needs a user: type --user U')
  const broken = sendableRule(user ?? '')
  if (broken !== undefined) throw new UsageError(`the user of ${target.word}: ${broken}`)
  const { tls: level, 'tls-fingerprint': fingerprint, 'tls-ca': ca, 'tls-name': name } = options
  return levelOf(target, { level, fingerprint, ca, name }, user !== undefined || mechanism === 'EXTERNAL')
}

export type PasswordSources = Omit<Sources, 'file' | 'command' | 'whose'>

/** What is said of TLS for one server. */
export type Said = { readonly [K in 'level' | 'fingerprint' | 'ca' | 'name']?: TlsPolicy[K] | undefined }

/**
 * The level that holds: what there is to check against is checked, smtps:// always, and a login goes to nobody unknown, but for
 * this host itself. Throws UsageError where a pin could be passed by.
 */
export function levelOf(target: Target, said: Said, hasLogin: boolean): TlsLevel {
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

async function policyOf(options: Options, signal: AbortSignal): Promise<Omit<TlsPolicy, 'level'>> {
  const { 'tls-ca': ca, 'tls-cert': cert, 'tls-key': key, 'tls-name': name } = options
  return {
    fingerprint: options['tls-fingerprint'],
    name,
    ca: ca === undefined ? undefined : await certificate('--tls-ca', ca, signal),
    ...(cert === undefined ? { cert: undefined, key: undefined } : await identity(cert, key, signal)),
    minVersion: options['tls-min'] ?? 'TLSv1.2',
  }
}

async function certificate(option: string, file: string, signal: AbortSignal): Promise<string> {
  const { X509Certificate } = await import('node:crypto')
  return pem(option, file, signal, (text) => new X509Certificate(text))
}

/** The client's own certificate and its key, which fit together. */
async function identity(
  certFile: string,
  keyFile: string | undefined,
  signal: AbortSignal,
): Promise<{ cert: string; key: string }> {
  const { createPrivateKey, X509Certificate } = await import('node:crypto')
  const option = keyFile === undefined ? '--tls-cert' : '--tls-key'
  const cert = await certificate('--tls-cert', certFile, signal)
  const key = await pem(option, keyFile ?? certFile, signal, createPrivateKey)
  if (new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) {
    const { createSecureContext } = await import('node:tls')
    checkedPem(option, keyFile ?? certFile, () => createSecureContext({ cert, key }))
    return { cert, key }
  }
  throw new UsageError(`${option} ${keyFile ?? certFile}: the key is not that of the certificate`, EXIT.NOINPUT)
}

async function pem(
  option: string,
  file: string,
  signal: AbortSignal,
  check: (text: string) => unknown,
): Promise<string> {
  const text = await readText(option, file, signal)
  checkedPem(option, file, () => check(text))
  return text
}

function checkedPem(option: string, file: string, check: () => unknown): void {
  try {
    check()
  } catch (error) {
    const message = messageOf(error)
    const why = /passphrase|interrupted or cancelled/i.test(message)
      ? 'the key has a passphrase; take it off'
      : `it can't be used: ${message}`
    throw new UsageError(`${option} ${file}: ${why}`, EXIT.NOINPUT, error)
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

async function credentialsOf(
  target: Target,
  options: Options,
  sources: PasswordSources,
): Promise<Credentials | undefined> {
  const { auth: mechanism, 'password-file': file, 'password-command': command } = options
  const user = options.user ?? target.user
  if (user === undefined && mechanism !== 'EXTERNAL') return undefined
  // The certificate says it all.
  if (mechanism === 'EXTERNAL') return { user: user ?? '', password: undefined, mechanism }
  const { passwordOf } = await import('./password.js')
  const password = await passwordOf({ ...sources, file, command, whose: target.word })
  return { user: user ?? '', password, mechanism }
}
