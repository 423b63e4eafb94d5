const SECOND_MS = 1000
const MINUTE_MS = 60 * SECOND_MS
const HOUR_MS = 60 * MINUTE_MS

/** Returns a duration as an option has it: `1.5s`, `60s`, `7m37s`, `1h30m`. Less than two minutes are seconds, as in the manual. */
export function formatDuration(ms: number): string {
  if (ms < 2 * MINUTE_MS) return `${Math.round(ms) / SECOND_MS}s`
  const parts = [
    [Math.floor(ms / HOUR_MS), 'h'],
    [Math.floor((ms % HOUR_MS) / MINUTE_MS), 'm'],
    [(ms % MINUTE_MS) / SECOND_MS, 's'],
  ] as const
  return parts.map(([count, unit]) => (count === 0 ? '' : `${count}${unit}`)).join('')
}

/** Returns a measured time, rounded to seconds: `60s`, `7m 37s`. */
export function formatElapsed(ms: number): string {
  return formatDuration(Math.round(ms / SECOND_MS) * SECOND_MS).replace(/(?<=[hm])(?=\d)/g, ' ')
}
