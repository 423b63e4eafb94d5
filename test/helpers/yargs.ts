import yargs, { type Argv } from 'yargs'
import { PARSER_CONFIGURATION, takesValue } from '../../src/command/arguments.js'
import { OPTION_ROWS } from '../../src/command/options.js'

/** Returns yargs with the table of options. The command runs the parser of yargs alone. */
export function createParser(): Argv {
  const options = [...OPTION_ROWS].map(([name, row]) => {
    const { alias, kind, isOptional } = row
    const value = { type: 'string', ...(isOptional ? {} : { nargs: 1 }) } as const
    return [
      name,
      { alias, ...(takesValue(row) ? value : ({ type: kind === 'flag' ? 'boolean' : 'count' } as const)) },
    ] as const
  })
  return yargs()
    .help(false)
    .version(false)
    .exitProcess(false)
    .options(Object.fromEntries(options))
    .parserConfiguration(PARSER_CONFIGURATION)
}
