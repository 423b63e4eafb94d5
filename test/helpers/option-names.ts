import { formatOption, OPTION_ROWS } from '../../src/command/options.js'

/** Returns all options as they are typed, letters too. */
export function optionNames(): string[] {
  return [...OPTION_ROWS].flatMap(([name, { alias }]) => [name, alias ?? []].flat().map(formatOption))
}
