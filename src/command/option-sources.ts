import { EXIT, type OptionError, UsageError } from '../errors.js'
import { OPTION_ROWS, type OptionRow, type Options, type PartialOptions } from './options.js'

/** The options that one source sets: the command line, a profile, or the top of a file. */
export type OptionSource = {
  readonly options: PartialOptions
  /** Returns where the source sets an option, for messages: file, line and profile. The command line needs no place. */
  readonly locate?: (option: string) => string
}

export type SettledOptions = {
  readonly options: Options
  /** Returns the source that set an option; undefined if its default counts. */
  readonly sourceOf: (option: string) => OptionSource | undefined
}

/**
 * Returns the options that count; the strongest source comes first. Options of one unit belong together: a source that sets one of
 * them overrides what weaker sources set of the others.
 */
export function settleOptions(sources: readonly OptionSource[]): SettledOptions {
  const settled: Record<string, unknown> = { names: [] }
  for (const [name, { initial }] of OPTION_ROWS) settled[name] = initial
  const sourceByOption = new Map<string, OptionSource>()
  const sourceByUnit = new Map<string, OptionSource>()
  for (const source of sources) {
    for (const [name, value] of Object.entries(source.options)) {
      const unit = unitOf(name) ?? name
      const owner = sourceByUnit.get(unit) ?? source
      if (owner !== source) continue
      sourceByUnit.set(unit, source)
      sourceByOption.set(name, source)
      settled[name] = value
    }
  }
  // The row of each option has made its value.
  return { options: settled as Options, sourceOf: (option) => sourceByOption.get(option) }
}

function unitOf(name: string): OptionRow['unit'] {
  return name === 'names' ? 'names' : OPTION_ROWS.get(name)?.unit
}

/** Returns the error with the place where its option is set. Such an error in a file is 78. */
export function locateError(error: OptionError, source: OptionSource | undefined): UsageError {
  if (source?.locate === undefined) return error
  const exitStatus = error.exitStatus === EXIT.USAGE ? EXIT.CONFIG : error.exitStatus
  return new UsageError(`${source.locate(error.option)}: ${error.message}`, exitStatus, error)
}
