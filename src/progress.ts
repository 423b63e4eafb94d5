import type { NodeName } from './names.js'
import { NAMES_A_SESSION, type Pace } from './pace.js'
import type { Extensions, TraceEvent } from './smtp/session.js'
import type { TlsInfo } from './smtp/tls.js'

/** What is known of a server; null: not known. */
export type Facts = {
  readonly address: string | null
  readonly tls: TlsInfo | null
  readonly greeting: string | null
  readonly extensions: Extensions | null
}

export const NOTHING: Facts = { address: null, tls: null, greeting: null, extensions: null }

type Beginning = {
  /** Counted from 1 */
  readonly number: number
  /** Others were under way when it began. */
  readonly isBeside: boolean
  /** It follows a further session that failed. */
  readonly isLastTry: boolean
  /** Round trips that it will take before it can ask */
  readonly trips: number
}

/** One session, as far as it has come. */
export class Progress implements Pace {
  readonly number: number
  readonly isBeside: boolean
  readonly isLastTry: boolean
  /** Ends it, where it hasn't got as far as ETRN. */
  readonly calledOff = new AbortController()
  facts = NOTHING
  /** It has got as far as ETRN. */
  isOpen = false
  delay: number
  left = NAMES_A_SESSION
  /** Round trips of its connection */
  trips = 0
  replies = 0
  /** Has gone out, and has no reply */
  name: NodeName | undefined

  constructor({ number, isBeside, isLastTry, trips }: Beginning) {
    this.number = number
    this.isBeside = isBeside
    this.isLastTry = isLastTry
    this.delay = trips
  }

  /** Takes down what happens. */
  see(event: TraceEvent): void {
    if (event.type === 'connected') {
      this.delay += this.trips
      this.trips = 0
      this.facts = { ...this.facts, address: event.address, tls: null }
    }
    if (event.type === 'tls') this.facts = { ...this.facts, tls: event.tls }
    if (event.type === 'greeting') this.facts = { ...this.facts, greeting: event.text }
    if (event.type === 'extensions') this.facts = { ...this.facts, extensions: event.extensions }
    if (event.type !== 'connected' && event.type !== 'tls' && event.type !== 'received') return
    this.trips++
    this.delay = Math.max(0, this.delay - 1)
  }
}
