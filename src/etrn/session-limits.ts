/** Sendmail slows down from the 8th name of a session, Exim closes at the 11th, Postfix at the 121st. */
export const NAMES_PER_SESSION = 7
export const SESSIONS_PER_SERVER = 4

/** How far one session of a server has come, in round trips. */
export type SessionProgress = {
  /** Until it can ask for a name */
  readonly delay: number
  /** Names that it may still ask for, one a round trip */
  readonly namesLeft: number
}

/** Whether the last answer for so many names comes sooner where another session is opened beside these. */
export function wouldFinishSooner(
  names: number,
  sessions: readonly SessionProgress[],
  another: SessionProgress,
): boolean {
  const more = [...sessions, another]
  // What is beyond these is for sessions that follow.
  const asked = Math.min(
    names,
    more.reduce((sum, { namesLeft: left }) => sum + left, 0),
  )
  return roundTripsFor(asked, more) < roundTripsFor(asked, sessions)
}

/** Until so many names have their answers; without end where the sessions don't ask for as many. */
function roundTripsFor(names: number, sessions: readonly SessionProgress[]): number {
  const most = Math.max(0, ...sessions.map(({ delay: delay, namesLeft: left }) => delay + left))
  for (let trips = 0; trips <= most; trips++) {
    const answered = sessions.map(({ delay: delay, namesLeft: left }) => Math.max(0, Math.min(trips - delay, left)))
    if (answered.reduce((sum, count) => sum + count, 0) >= names) return trips
  }
  return Infinity
}
