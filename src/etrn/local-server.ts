import { EXIT, messageOf, StepError } from '../errors.js'
import { connect } from '../net/connect.js'
import { abortReason, type Limits } from '../net/deadline.js'
import { shortenMessage } from '../printable.js'
import { Connection } from '../smtp/connection.js'
import { describeRejection, RejectedError, SessionError } from '../smtp/errors.js'
import { constantBackoff, type Pause, retryStep, RetryWindow } from './backoff.js'

/** The local mail server listens here for the mail that ETRN releases. */
const LOCAL_ADDRESSES = ['127.0.0.1', '::1'] as const
const SMTP_PORT = 25
const POLL_INTERVAL_MS = 1000
/** The least time that the server has for its greeting, also at the last attempt */
const LEAST_GREETING_MS = 2000

/** Returns the greeting of the local mail server. Throws StepError if there is none, or if it is not 220. */
export async function readLocalGreeting(limits: Limits): Promise<string> {
  // The first greeting ends the wait for the other one.
  const found = new AbortController()
  const signal = AbortSignal.any([limits.signal, found.signal])
  try {
    return await Promise.any(LOCAL_ADDRESSES.map(async (address) => readGreetingAt(address, { ...limits, signal })))
  } catch (error) {
    if (limits.signal.aborted) throw abortReason(limits.signal)
    // Each address has its own failure. A reply tells most; else the first failure, that of IPv4, is enough.
    const errors: readonly unknown[] = error instanceof AggregateError ? error.errors : [error]
    const reason = errors.find((one) => one instanceof RejectedError) ?? errors[0]
    if (reason instanceof RejectedError) throw reason
    throw new StepError(shortenMessage(messageOf(reason)), { exitStatus: EXIT.TEMPFAIL, cause: error })
  } finally {
    found.abort()
  }
}

/** Returns the failure of this host for an error that `readLocalGreeting` has thrown. */
export function localServerError(error: StepError): SessionError {
  const { exitStatus, kind, cause } = error
  const isRejected = error instanceof RejectedError
  const facts = {
    exitStatus,
    kind,
    hint: startHint('a longer --wait-local'),
    cause,
    reply: isRejected ? error.reply : null,
  }
  const message = `local mail server: ${describeLocalProblem(error)}`
  return new SessionError(isRejected ? 'greeting' : 'connect', message, facts)
}

function startHint(longer: string): string {
  return `start the local mail server, which receives the requested mail; ${longer} waits longer`
}

/** Returns the message of an error that `readLocalGreeting` has thrown, without the name of the server. */
export function describeLocalProblem(error: StepError): string {
  return error instanceof RejectedError ? describeRejection('greeting', error) : error.message
}

/** Waits until the local mail server greets. Returns why it has not, if the time is over or the signal aborts. */
export async function waitForLocalServer(
  waitMs: number,
  limits: Limits,
  onPause: (pause: Pause) => void,
): Promise<SessionError | undefined> {
  const { signal } = limits
  const window = new RetryWindow(performance.now(), waitMs)
  const step = async (): Promise<void> => {
    try {
      const leftMs = Math.max(LEAST_GREETING_MS, waitMs - window.elapsedMs)
      await readLocalGreeting({ timeoutMs: Math.min(limits.timeoutMs, leftMs), signal })
    } catch (error) {
      if (signal.aborted || !(error instanceof StepError)) throw error
      throw localServerError(error)
    }
  }
  try {
    const backoff = constantBackoff(POLL_INTERVAL_MS)
    await retryStep(step, { stage: 'connect', backoffAfter: () => backoff, window, onPause, signal })
    return undefined
  } catch (error) {
    if (!(error instanceof SessionError)) throw error
    const isCut = signal.aborted && abortReason(signal).kind === 'time-over'
    return isCut ? error.withMessage(error.message, startHint('a longer --max-time')) : error
  }
}

async function readGreetingAt(address: string, limits: Limits): Promise<string> {
  const addresses = { first: [address], late: Promise.resolve([]) }
  const { socket } = await connect(addresses, SMTP_PORT, { ...limits, local: undefined, onAttempt: () => undefined })
  const smtp = new Connection(socket, { ...limits, trace: () => undefined })
  try {
    const greeting = await smtp.readReply()
    if (greeting.code === 220) return greeting.text
    throw new RejectedError(greeting, { exitStatus: EXIT.TEMPFAIL })
  } finally {
    await smtp.quit()
  }
}
