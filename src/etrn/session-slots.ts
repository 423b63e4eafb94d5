import pLimit, { type LimitFunction } from 'p-limit'
import type { Server } from '../smtp/session-settings.js'
import { SESSIONS_PER_SERVER } from './session-limits.js'

/** Runs the sessions of one server, each as soon as a slot is free. */
export type Limiter = {
  readonly run: <T>(work: () => Promise<T>) => Promise<T>
  /** Returns true if a server without a session waits for a slot. */
  readonly isContended: () => boolean
}

type Waiting = { readonly server: string; readonly start: () => Promise<void> }

/** The sessions that a run may have at once. A free slot goes to the server with the fewest, so that slow servers can't keep all slots. */
export class SessionSlots {
  readonly #limit: LimitFunction
  /** Limits by server: several profiles may name one. */
  readonly #serverLimits = new Map<string, LimitFunction>()
  /** In the order of their requests */
  readonly #waiting = new Set<Waiting>()
  readonly #running = new Map<string, number>()

  constructor(slots: number) {
    this.#limit = pLimit(slots)
  }

  limiterFor({ host, port, addresses }: Pick<Server, 'host' | 'port' | 'addresses'>): Limiter {
    // Several exchangers may have one address.
    const server = `${addresses?.[0] ?? host} ${port}`
    const limit = this.#serverLimits.get(server) ?? pLimit(SESSIONS_PER_SERVER)
    this.#serverLimits.set(server, limit)
    return {
      run: async (work) => limit(async () => this.run(server, work)),
      isContended: () => this.#next !== undefined && this.#countOf(this.#next) === 0,
    }
  }

  /** Does work for a server in a slot. */
  async run<T>(server: string, work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#waiting.add({ server, start: async () => work().then(resolve, reject) })
      void this.#limit(async () => this.#startNext())
    })
  }

  async #startNext(): Promise<void> {
    const next = this.#next
    if (next === undefined) return
    this.#waiting.delete(next)
    this.#running.set(next.server, this.#countOf(next) + 1)
    await next.start()
    this.#running.set(next.server, this.#countOf(next) - 1)
  }

  /** The first of those whose server has the fewest slots */
  get #next(): Waiting | undefined {
    let next: Waiting | undefined
    for (const waiting of this.#waiting) {
      if (next === undefined || this.#countOf(waiting) < this.#countOf(next)) next = waiting
      if (this.#countOf(next) === 0) break
    }
    return next
  }

  #countOf({ server }: Waiting): number {
    return this.#running.get(server) ?? 0
  }
}
