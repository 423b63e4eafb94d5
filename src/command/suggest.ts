import { closest } from 'fastest-levenshtein'
import { UsageError } from '../errors.js'
import { printable } from '../printable.js'
import { formatOption, OPTION_ROWS } from './options.js'

// A file of its own: only a run that fails needs it.

/** Returns the error for an unknown option, with the one that was probably meant. */
export function unknownOption(name: string, word: string): UsageError {
  if (name === 'no-color') return new UsageError('unknown option --no-color; did you mean --color never?')
  const known = [...OPTION_ROWS.keys()]
  // -version probably means --version.
  const long = name.length > 1 ? name : known.find((key) => `-${key}` === word)
  const isLetter = name.length === 1 && !word.startsWith('--')
  const isUnlike = long === undefined || /^\d+$|^no-/.test(long)
  const shown = printable(isUnlike && isLetter ? `-${name}` : word.replace(/=.*/s, ''))
  const advice = isUnlike ? '; etrn --help lists them all' : `; did you mean ${formatOption(nearest(long, known))}?`
  return new UsageError(`unknown option ${shown}${advice}`)
}

/** Returns the candidate that a mistyped word was probably meant for. */
export function nearest(word: string, candidates: readonly string[]): string {
  return candidates.find((candidate) => word.length > 2 && candidate.startsWith(word)) ?? closest(word, candidates)
}
