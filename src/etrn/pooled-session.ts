import type { NodeName } from '../input/node-name.js'
import { Redactor } from '../smtp/redact.js'
import type { Session } from '../smtp/session.js'
import { addEvent, NO_FACTS, type TraceEvent } from '../smtp/trace.js'
import { NAMES_PER_SESSION, type SessionProgress } from './session-limits.js'

/** One session, as far as it has come. */
export class PooledSession implements SessionProgress {
  /** Counted from 1 */
  readonly number: number
  /** Others were under way when it began. */
  readonly isAdditional: boolean
  /** The password, and what this session makes of it */
  readonly redactor: Redactor
  /** Ends it, where it hasn't got as far as ETRN. */
  readonly cancellation = new AbortController()
  facts = NO_FACTS
  /** Since it has got as far as ETRN */
  session: Session | undefined
  delay: number
  namesLeft = NAMES_PER_SESSION
  /** Round trips of its connection */
  roundTrips = 0
  replies = 0
  /** Has gone out, and has no reply */
  pendingName: NodeName | undefined

  /** `delay`: round trips that it will take before it can ask */
  constructor(number: number, isBeside: boolean, delay: number, password: string | undefined) {
    this.number = number
    this.isAdditional = isBeside
    this.delay = delay
    this.redactor = new Redactor(password)
  }

  /** Takes down what happens. */
  addEvent(event: TraceEvent): void {
    this.facts = addEvent(this.facts, event)
    if (event.type === 'connected') {
      this.delay += this.roundTrips
      this.roundTrips = 0
    }
    if (event.type !== 'connected' && event.type !== 'tls' && event.type !== 'received') return
    this.roundTrips++
    this.delay = Math.max(0, this.delay - 1)
  }
}
