import { startDeadline } from '../net/deadline.js'

/** Nothing happens for now; `text` says why, and until when. */
export type Pause = { readonly type: 'pause'; readonly text: string; readonly pauseMs: number }

/** A pause of so long, where patience ends after `leftMs`. */
export function describePause(reason: string, pauseMs: number, leftMs: number): Pause {
  const clock = (ms: number): string => new Date(Date.now() + ms).toTimeString().slice(0, 8)
  return { type: 'pause', text: `${reason}; again at ${clock(pauseMs)}, until ${clock(leftMs)}`, pauseMs }
}

/** Lasts as long as the pause, or until the signal aborts. Never throws. */
export async function sleep({ pauseMs }: Pause, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => startDeadline({ timeoutMs: pauseMs, signal }, '', () => resolve()))
}

/** Between which bounds the pauses after failures are, in milliseconds. A server that speaks is left in peace for longer. */
const BACKOFF_BOUNDS = {
  silence: { leastMs: 1000, mostMs: 30_000 },
  reply: { leastMs: 10_000, mostMs: 300_000 },
} as const

/** The pause after so many failures in a row, from 1 on: twice as long each time, and up to twice that by chance (`luck`: 0 to 1). */
export function backoffMs(failures: number, wasAnswered: boolean, luck: number): number {
  const { leastMs, mostMs } = wasAnswered ? BACKOFF_BOUNDS.reply : BACKOFF_BOUNDS.silence
  return Math.min(mostMs, leastMs * 2 ** (failures - 1) * (1 + luck))
}
