import { EXIT, messageOf, StepError } from '../errors.js'
import { connect } from '../net/connect.js'
import { abortReason, type Limits } from '../net/deadline.js'
import { shortenMessage } from '../printable.js'
import { Connection } from '../smtp/connection.js'
import { RejectedError, type SessionError, sessionErrorOf } from '../smtp/errors.js'
import { type Pause, retryStep } from './backoff.js'

/** The local mail server listens here for the mail that ETRN releases. */
const LOCAL_ADDRESSES = ['127.0.0.1', '::1'] as const
const SMTP_PORT = 25
const POLL_INTERVAL_MS = 1000

/** Returns the greeting of the local mail server. Throws StepError if there is none, or if it is not 220. */
export async function readLocalGreeting(limits: Limits): Promise<string> {
  // The first greeting ends the wait for the other one.
  const found = new AbortController()
  const signal = AbortSignal.any([limits.signal, found.signal])
  try {
    return await Promise.any(LOCAL_ADDRESSES.map(async (address) => readGreetingAt(address, { ...limits, signal })))
  } catch (error) {
    if (limits.signal.aborted) throw abortReason(limits.signal)
    // Each address has its own failure. The first one, that of IPv4, is enough.
    const reason: unknown = error instanceof AggregateError ? error.errors[0] : error
    throw new StepError(shortenMessage(messageOf(reason)), { exitStatus: EXIT.TEMPFAIL, cause: error })
  } finally {
    found.abort()
  }
}

/** Waits until the local mail server greets. Returns why it has not, if the time is over or the signal aborts. */
export async function waitForLocalServer(
  waitMs: number,
  limits: Limits,
  onPause: (pause: Pause) => void,
): Promise<SessionError | undefined> {
  const { signal } = limits
  const endsAt = performance.now() + waitMs
  const step = async (): Promise<void> => {
    try {
      const timeoutMs = Math.max(1, Math.min(limits.timeoutMs, endsAt - performance.now()))
      await readLocalGreeting({ timeoutMs, signal })
    } catch (error) {
      if (signal.aborted || !(error instanceof StepError)) throw error
      const hint = 'what is asked for would come there: is it started, and does it greet with 220?'
      const message = `this host's own mail server: ${error.message}`
      throw new StepError(message, { exitStatus: EXIT.TEMPFAIL, hint, cause: error })
    }
  }
  try {
    await retryStep(step, { pauseMs: () => POLL_INTERVAL_MS, endsAt, onPause, signal })
    return undefined
  } catch (error) {
    if (error instanceof StepError) return sessionErrorOf('connect', error)
    throw error
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
