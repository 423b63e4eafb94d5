/** Sendmail delays the 8th name of a session and later ones, Exim closes at the 11th, Postfix at the 121st. */
export const NAMES_PER_SESSION = 7
export const SESSIONS_PER_SERVER = 4

/** The number of names that one session with a server may request: fewer if the server has shown a lower limit. */
export type SessionLimit = { namesPerSession: number }

export type SessionProgress = {
  /** Round trips until it can send a name */
  readonly delay: number
  /** Names that it may still request, one a round trip */
  readonly namesLeft: number
}

/** Returns true if the last reply for so many names would arrive sooner with another session beside these. */
export function wouldFinishSooner(
  names: number,
  sessions: readonly SessionProgress[],
  another: SessionProgress,
): boolean {
  const more = [...sessions, another]
  // Names beyond the capacity of these sessions are left to later ones.
  const capacity = more.reduce((sum, { namesLeft }) => sum + namesLeft, 0)
  const requested = Math.min(names, capacity)
  return roundTripsFor(requested, more) < roundTripsFor(requested, sessions)
}

/** Returns the round trips until so many names have their replies; Infinity if the sessions can't request as many. */
function roundTripsFor(names: number, sessions: readonly SessionProgress[]): number {
  const most = Math.max(0, ...sessions.map(({ delay, namesLeft }) => delay + namesLeft))
  for (let trips = 0; trips <= most; trips++) {
    const replies = sessions.map(({ delay, namesLeft }) => Math.max(0, Math.min(trips - delay, namesLeft)))
    if (replies.reduce((sum, count) => sum + count, 0) >= names) return trips
  }
  return Infinity
}
