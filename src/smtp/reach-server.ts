import { EXIT, type StepError } from '../errors.js'
import { familyOf, unmapAddress } from '../net/address.js'
import { type Candidates, connect, type Connected } from '../net/connect.js'
import type { Addresses } from '../net/dns.js'
import { type GreetedDialogue, runStep } from './dialogue.js'
import { SessionError, sessionErrorOf } from './errors.js'
import { greetServer, startDialogue } from './greeting-and-ehlo.js'
import type { Server, SessionOptions } from './session-settings.js'

/** The most addresses of a server that are tried, as in Postfix (smtp_mx_address_limit). */
const ADDRESSES_TRIED = 5

/** A failure after which another address is tried; `problem` has the address. `isGreeted` means that the server had replied to EHLO. */
type Failure = { readonly error: SessionError; readonly problem: string; readonly isGreeted: boolean }

/**
 * Connects, reads the reply to EHLO, and returns what `prepare` makes of the session. After a failure that another address may not have,
 * the next one is tried (RFC 5321, 5.1), unless twice the timeout has passed since the start. Later sessions stay at the address that was
 * reached: that it has too many connections doesn't mean that another one knows this host.
 */
export async function reachServer<T>(
  server: Server,
  options: SessionOptions,
  prepare: (dialogue: GreetedDialogue) => Promise<T>,
): Promise<T> {
  const mayTryUntil = performance.now() + 2 * options.timeoutMs
  const found = await runStep('dns', options, async () => lookUpServer(server, options))
  options.trace({ type: 'resolved', addresses: found.first })
  const { first, late } = limitAddresses(found)
  const tried = new Set<string>()
  const untried = (list: readonly string[]): string[] => list.filter((address) => !tried.has(address))
  let failure: Failure | undefined
  try {
    for (;;) {
      const left = { first: untried(first), late: late.then(untried) }
      const { socket, address, failed } = await connectTo(left, server.port, failure, options)
      for (const one of [address, ...(failed?.addresses ?? [])]) tried.add(one)
      let isGreeted = false
      try {
        const dialogue = await greetServer(startDialogue({ ...server, addresses: [address] }, socket, address, options))
        isGreeted = true
        const session = await prepare(dialogue)
        if (failure?.isGreeted === true) warnAbout(failure, address, options)
        return session
      } catch (error) {
        if (!(error instanceof SessionError) || options.signal.aborted) throw error
        const mayTryNext = mayWorkElsewhere(error, isGreeted)
        const isOfHost = !mayTryNext && (!isGreeted || error.stage === 'ehlo')
        const noted = isOfHost ? noteOthers(error, failed, untried(found.first)) : error
        const problem = `${error.message} (${address})`
        failure ??= failureBefore(error, failed)
        failure = chooseFailure(failure, { error: noted, problem, isGreeted })
        if (!mayTryNext || performance.now() >= mayTryUntil) throw failure.error
      }
    }
  } finally {
    found.cancel()
  }
}

/** Connects to one of the addresses. If none accepts, a failure that may pass is the one to report, with what the other address said. */
async function connectTo(
  candidates: Candidates,
  port: number,
  before: Failure | undefined,
  options: SessionOptions,
): Promise<Connected> {
  const attempted = new Set<string>()
  const onAttempt = (address: string): void => {
    attempted.add(address)
    options.trace({ type: 'connecting', address })
  }
  try {
    return await runStep('connect', options, () => connect(candidates, port, { ...options, onAttempt }))
  } catch (error) {
    if (before === undefined || options.signal.aborted || !(error instanceof SessionError)) throw error
    if (attempted.size === 0) throw before.error
    throw isTemporary(before.error) ? mention(before.error, error) : mention(error, before.error)
  }
}

/** Returns the failure to connect that counts beside a greeting: a server that refuses this host may accept it at the other address. */
function failureBefore({ stage, reply }: SessionError, failed: Connected['failed']): Failure | undefined {
  if (failed === undefined || stage !== 'greeting' || reply === null) return undefined
  return { error: sessionErrorOf('connect', failed.error), problem: failed.error.message, isGreeted: false }
}

function isTemporary({ exitStatus }: SessionError): boolean {
  return exitStatus === EXIT.TEMPFAIL
}

/**
 * Returns true after a failure that another address may not have: a temporary one before the reply to EHLO, another user of this host who
 * listens in place of the mail server, or a server that falls silent before TLS stands, as behind a path that loses large packets. A login
 * is not repeated, because the server may have counted it.
 */
function mayWorkElsewhere(error: SessionError, isGreeted: boolean): boolean {
  const { stage, reply } = error
  if (!isGreeted) return isTemporary(error) || stage === 'auth'
  return isTemporary(error) && reply === null && (stage === 'starttls' || stage === 'tls')
}

/** That of this host, and what may be an attack */
const GRAVE_KINDS: readonly unknown[] = ['self', 'unencrypted-data', 'invalid-record']

/** Returns true if a failure counts whatever another address said: a rejected login must not be repeated, nor a forged identity pass unseen. */
function isGrave({ error, isGreeted }: Failure): boolean {
  const { stage, kind } = error
  const isOfSecurity = stage === 'starttls' || stage === 'tls' || (stage === 'auth' && isGreeted)
  return (isOfSecurity && !isTemporary(error)) || GRAVE_KINDS.includes(kind)
}

/** Returns the failure to report: one that may pass, rather than a refusal; else the one whose session came further, or the newer one. */
function chooseFailure(before: Failure | undefined, next: Failure): Failure {
  if (before === undefined || !isTemporary(before.error) || isGrave(next)) return next
  const isNext = isTemporary(next.error) && (next.isGreeted || !before.isGreeted)
  return isNext ? next : { ...before, error: mention(before.error, next.error) }
}

function mention(error: SessionError, other: StepError): SessionError {
  return error.withMessage(`${error.message}; at another address: ${other.message}`)
}

/** Says that an address works only in part: each run would lose time there. */
function warnAbout({ error: { stage }, problem }: Failure, next: string, { trace }: SessionOptions): void {
  trace({ type: 'warning', stage, text: `${problem}; continuing at another address (${next})` })
}

/** Returns the addresses of a server. Those that are known, and an address in place of a host, need no DNS. */
async function lookUpServer(server: Server, options: SessionOptions): Promise<Addresses> {
  const { host, isExchanger } = server
  const literal = isExchanger || familyOf(host) === 0 ? [] : [unmapAddress(host)]
  const { addresses = literal } = server
  const { family } = options
  const known = addresses.filter((address) => family === undefined || familyOf(address) === family)
  if (known.length > 0) return { first: known, late: Promise.resolve([]), cancel: () => undefined }
  const { lookUpHost } = await import('./look-up-host.js')
  return lookUpHost(server, options)
}

/** Returns the addresses to try. The last place is kept for one of another family, which DNS may return later. */
function limitAddresses({ first, late }: Addresses): Candidates {
  const early = first.slice(0, ADDRESSES_TRIED - 1)
  const rest = first.slice(early.length)
  return { first: early, late: late.then((more) => [...more, ...rest].slice(0, ADDRESSES_TRIED - early.length)) }
}

/** Returns an error that is taken for the word of the host, with what became of its other addresses. */
function noteOthers(error: SessionError, failed: Connected['failed'], untried: readonly string[]): SessionError {
  const { length } = untried
  if (error.reply === null && error.kind !== 'malformed-reply') return error
  const isTold = failed === undefined || failureBefore(error, failed) !== undefined
  const { message } = isTold ? error : mention(error, failed.error)
  const note = length === 0 ? '' : `; ${length} other address${length === 1 ? '' : 'es'} not tried`
  return error.withMessage(`${message}${note}`)
}
