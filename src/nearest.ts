import { closest } from 'fastest-levenshtein'

/** The candidate that a mistyped word was meant for; a file of its own, since only a failed run needs it. */
export function nearest(word: string, candidates: readonly string[]): string {
  return candidates.find((candidate) => word.length > 2 && candidate.startsWith(word)) ?? closest(word, candidates)
}
