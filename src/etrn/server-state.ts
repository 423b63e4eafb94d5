import type { Protection } from '../smtp/session-settings.js'
import { NAMES_PER_SESSION, type SessionLimit } from './session-limits.js'

/** Facts that earlier rounds have learned about a server. */
export class ServerState implements SessionLimit {
  /** True once it has accepted a name: it knows this host. */
  hasAccepted = false
  /** True once an additional session has failed: from then on there is one session at a time. */
  isOneAtATime = false
  readonly protection: Protection = { hasTls: false, mechanism: undefined, rejection: undefined }
  namesPerSession = NAMES_PER_SESSION
  startedAt: number | undefined

  /** Remembers that a session could request no more than this number of names. */
  learnLimit(names: number): void {
    this.namesPerSession = Math.min(this.namesPerSession, names)
  }

  /** The time since the first session started, in milliseconds */
  get elapsedMs(): number {
    const now = performance.now()
    return Math.round(now - (this.startedAt ?? now))
  }
}
