/** The parser of yargs, which is all that a run needs of yargs. */
export { default as parseWords } from 'yargs-parser'
