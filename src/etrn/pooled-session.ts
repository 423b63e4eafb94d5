import type { NodeName } from '../input/node-name.js'
import { Secrets } from '../smtp/redact.js'
import type { Session } from '../smtp/session.js'
import { after, NOTHING, type TraceEvent } from '../smtp/trace.js'
import { NAMES_A_SESSION, type Pace } from './session-limits.js'

/** One session, as far as it has come. */
export class Progress implements Pace {
  /** Counted from 1 */
  readonly number: number
  /** Others were under way when it began. */
  readonly isBeside: boolean
  /** The password, and what this session makes of it */
  readonly secrets: Secrets
  /** Ends it, where it hasn't got as far as ETRN. */
  readonly calledOff = new AbortController()
  facts = NOTHING
  /** Since it has got as far as ETRN */
  opened: Session | undefined
  delay: number
  left = NAMES_A_SESSION
  /** Round trips of its connection */
  trips = 0
  replies = 0
  /** Has gone out, and has no reply */
  name: NodeName | undefined

  /** `delay`: round trips that it will take before it can ask */
  constructor(number: number, isBeside: boolean, delay: number, password: string | undefined) {
    this.number = number
    this.isBeside = isBeside
    this.delay = delay
    this.secrets = new Secrets(password)
  }

  /** Takes down what happens. */
  see(event: TraceEvent): void {
    this.facts = after(this.facts, event)
    if (event.type === 'connected') {
      this.delay += this.trips
      this.trips = 0
    }
    if (event.type !== 'connected' && event.type !== 'tls' && event.type !== 'received') return
    this.trips++
    this.delay = Math.max(0, this.delay - 1)
  }
}
