/** The candidate that a mistyped word is nearest to; a file of its own, since only a failed run needs it. */
export { closest } from 'fastest-levenshtein'
