import { closest } from 'fastest-levenshtein'
import { UsageError } from '../errors.js'
import { printable } from '../printable.js'
import { formatOption, OPTION_ROWS } from './options.js'

export function unknownOption(name: string, word: string): UsageError {
  if (name === 'no-color') return new UsageError('unknown option --no-color; did you mean --color never?')
  const known = [...OPTION_ROWS.keys()]
  // -version is meant as --version.
  const long = name.length > 1 ? name : known.find((key) => `-${key}` === word)
  if (long === undefined || /^\d+$|^no-/.test(long)) {
    const isLetter = name.length === 1 && !word.startsWith('--')
    const shown = /^-\d+$/.test(word) || isLetter ? `-${name}` : word.replace(/=.*/s, '')
    return new UsageError(`unknown option ${printable(shown)}; etrn --help lists them all`)
  }
  return new UsageError(
    `unknown option ${printable(word.replace(/=.*/s, ''))}; did you mean ${formatOption(nearest(long, known))}?`,
  )
}

/** The candidate that a mistyped word was meant for; a file of its own, since only a failed run needs it. */
export function nearest(word: string, candidates: readonly string[]): string {
  return candidates.find((candidate) => word.length > 2 && candidate.startsWith(word)) ?? closest(word, candidates)
}
