import { EXIT, messageOf, StepError } from '../errors.js'
import { connect } from '../net/connect.js'
import { type Limits, abortReason } from '../net/deadline.js'
import { shortenMessage } from '../printable.js'
import { Connection } from '../smtp/connection.js'
import { RejectedError } from '../smtp/errors.js'
import { sleep, type Pause, describePause } from './backoff.js'

/** Where this host's own mail server listens for what ETRN releases */
const LOCAL_ADDRESSES = ['127.0.0.1', '::1'] as const
const SMTP_PORT = 25
const POLL_INTERVAL_MS = 1000

/** The greeting of this host's own mail server. Throws StepError where there is none, or another than 220. */
export async function readLocalGreeting(limits: Limits): Promise<string> {
  // The other one is not waited for.
  const found = new AbortController()
  const signal = AbortSignal.any([limits.signal, found.signal])
  try {
    return await Promise.any(LOCAL_ADDRESSES.map(async (address) => readGreetingAt(address, { ...limits, signal })))
  } catch (error) {
    if (limits.signal.aborted) throw abortReason(limits.signal)
    // Each has its reason; that of IPv4 is enough.
    const reason: unknown = error instanceof AggregateError ? error.errors[0] : error
    throw new StepError(shortenMessage(messageOf(reason)), { exitStatus: EXIT.TEMPFAIL, cause: error })
  } finally {
    found.abort()
  }
}

const facts = {
  exitStatus: EXIT.TEMPFAIL,
  hint: 'what is asked for would come there: is it started, and does it greet with 220?',
}

/** Waits until it greets. Throws StepError: 75 when the time is over. `onPause` is told why it has to wait. */
export async function waitForLocalServer(
  waitMs: number,
  limits: Limits,
  onPause: (pause: Pause) => void,
): Promise<void> {
  const until = performance.now() + waitMs
  for (;;) {
    const leftMs = until - performance.now()
    try {
      await readLocalGreeting({ ...limits, timeoutMs: Math.max(1, Math.min(limits.timeoutMs, leftMs)) })
      return
    } catch (error) {
      const isOver = performance.now() + POLL_INTERVAL_MS > until
      if (limits.signal.aborted || !(error instanceof StepError)) throw error
      const message = `this host's own mail server: ${error.message}`
      if (isOver) throw new StepError(message, { ...facts, cause: error })
      const left = until - performance.now()
      const pause = describePause(message, POLL_INTERVAL_MS, left)
      onPause(pause)
      await sleep(pause, limits.signal)
    }
  }
}

async function readGreetingAt(address: string, limits: Limits): Promise<string> {
  const found = { first: [address], late: Promise.resolve([]) }
  const { socket } = await connect(found, SMTP_PORT, { ...limits, local: undefined, onAttempt: () => undefined })
  const smtp = new Connection(socket, { ...limits, trace: () => undefined })
  try {
    const greeting = await smtp.readReply()
    if (greeting.code === 220) return greeting.text
    throw new RejectedError(greeting, { exitStatus: EXIT.TEMPFAIL })
  } finally {
    await smtp.quit()
  }
}
