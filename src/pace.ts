/** How far one session of a server has come, in round trips; kept up by who runs it. */
export type Pace = {
  /** Until its next ETRN can go out */
  delay: number
  /** Names that it still asks for, one a round trip */
  left: number
}

/** Whether the last answer for so many names comes sooner where a session is opened beside these (SPEC: else it costs for nothing). */
export function isSooner(names: number, sessions: readonly Pace[], another: Pace): boolean {
  const more = [...sessions, another]
  // Sessions that follow these would change both sides alike.
  const asked = Math.min(
    names,
    more.reduce((sum, { left }) => sum + left, 0),
  )
  return roundTrips(asked, more) < roundTrips(asked, sessions)
}

/** Until so many names have their answers; without end where the sessions don't ask for as many. */
function roundTrips(names: number, sessions: readonly Pace[]): number {
  const most = Math.max(0, ...sessions.map(({ delay, left }) => delay + left))
  for (let trips = 0; trips <= most; trips++) {
    const answered = sessions.map(({ delay, left }) => Math.max(0, Math.min(trips - delay, left)))
    if (answered.reduce((sum, count) => sum + count, 0) >= names) return trips
  }
  return Infinity
}
