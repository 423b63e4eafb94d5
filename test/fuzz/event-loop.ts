// Time as the two ends of a loopback connection in one process have it: in turns of the event loop.

/** Calls `work` after some turns of the event loop, when the octets between the two ends have arrived. */
export function runAfterTurns(work: () => void, turns = 5): void {
  setImmediate(() => (turns > 1 ? runAfterTurns(work, turns - 1) : work()))
}

const HEARTBEAT_MS = 20
let stalledMs = -Infinity
let heartbeatMs = performance.now()
setInterval(() => {
  const now = performance.now()
  if (now - heartbeatMs > 2 * HEARTBEAT_MS) stalledMs = now
  heartbeatMs = now
}, HEARTBEAT_MS).unref()

/** Tells whether the event loop stalled after that time, so that a client may have been late through no fault of its own. */
export function hasStalledSince(timeMs: number): boolean {
  return stalledMs > timeMs
}
