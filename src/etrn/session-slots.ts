import pLimit, { type LimitFunction } from 'p-limit'
import type { Server } from '../smtp/session-settings.js'
import { SESSIONS_PER_SERVER } from './session-limits.js'

/** Runs the sessions of one server, each as soon as a slot is free. */
export type Limiter = {
  readonly run: <T>(work: () => Promise<T>) => Promise<T>
  /** Returns true if a target or server without a session waits for a slot. */
  readonly isContended: () => boolean
}

type Waiting = { readonly target: string; readonly server: string; readonly start: () => Promise<void> }

/**
 * The sessions that a run may have at once. A free slot goes to the target, a server or the domain of --mx, with the fewest, and there to
 * the server with the fewest, so that slow servers can't keep all slots. If there are several targets, each leaves a slot to the others.
 */
export class SessionSlots {
  readonly #limit: LimitFunction
  readonly #slotsOfTarget: number
  /** Limits by server: several profiles may name one. */
  readonly #serverLimits = new Map<string, LimitFunction>()
  /** In the order of their requests */
  readonly #waiting = new Set<Waiting>()
  /** The sessions of each target and of each server */
  readonly #running = new Map<string, number>()

  constructor(slots: number, targets = 1) {
    this.#limit = pLimit(slots)
    this.#slotsOfTarget = targets === 1 ? slots : Math.max(1, slots - 1)
  }

  /** Returns the limiter of a server; `domain` is that of --mx, if the server is one of its exchangers. */
  limiterFor({ host, port, addresses }: Pick<Server, 'host' | 'port' | 'addresses'>, domain?: string): Limiter {
    const target = domain ?? `${host} ${port}`
    // Several exchangers may have one address. Those of another domain don't count: anybody can name any address.
    const server = `${target} ${addresses?.[0] ?? host} ${port}`
    const limit = this.#serverLimits.get(server) ?? pLimit(SESSIONS_PER_SERVER)
    this.#serverLimits.set(server, limit)
    return {
      run: async (work) => limit(async () => this.run(target, work, server)),
      isContended: () => this.#next !== undefined && this.#countOf(this.#next.server) === 0,
    }
  }

  /** Does work for a target in a slot. */
  async run<T>(target: string, work: () => Promise<T>, server = target): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#waiting.add({ target, server, start: async () => work().then(resolve, reject) })
      void this.#limit(async () => this.#startNext())
    })
  }

  async #startNext(): Promise<void> {
    const next = this.#next
    if (next === undefined) return
    this.#waiting.delete(next)
    const keys = new Set([next.target, next.server])
    for (const key of keys) this.#running.set(key, this.#countOf(key) + 1)
    await next.start()
    for (const key of keys) this.#running.set(key, this.#countOf(key) - 1)
    // Those of a target that had no slot left have used up their own turn.
    void this.#limit(async () => this.#startNext())
  }

  /** The first of those whose target, and then server, has the fewest slots; undefined if all slots for them are taken */
  get #next(): Waiting | undefined {
    let next: Waiting | undefined
    for (const waiting of this.#waiting) {
      if (this.#countOf(waiting.target) >= this.#slotsOfTarget) continue
      if (next === undefined || this.#compare(waiting, next) < 0) next = waiting
      if (this.#countOf(next.target) === 0) break
    }
    return next
  }

  #compare(one: Waiting, other: Waiting): number {
    return (
      this.#countOf(one.target) - this.#countOf(other.target) || this.#countOf(one.server) - this.#countOf(other.server)
    )
  }

  #countOf(key: string): number {
    return this.#running.get(key) ?? 0
  }
}
