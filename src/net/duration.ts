const SECOND_MS = 1000
const MINUTE_MS = 60 * SECOND_MS
const HOUR_MS = 60 * MINUTE_MS

/** Returns a duration as an option has it: `1.5s`, `40s`, `7m37s`, `1h30m`. */
export function formatDuration(ms: number): string {
  const parts = [
    [Math.floor(ms / HOUR_MS), 'h'],
    [Math.floor((ms % HOUR_MS) / MINUTE_MS), 'm'],
    [(ms % MINUTE_MS) / SECOND_MS, 's'],
  ] as const
  const text = parts.map(([count, unit]) => (count === 0 ? '' : `${count}${unit}`)).join('')
  return text === '' ? '0s' : text
}

/** Does the same for a measured time, rounded to seconds. */
export function formatElapsed(ms: number): string {
  return formatDuration(Math.round(ms / SECOND_MS) * SECOND_MS)
}
