import { EXIT, OptionError, UsageError } from '../errors.js'
import { NameError } from '../input/node-name.js'
import { OPTION_ROWS, type Options, type PartialOptions } from './options.js'

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
  /** Returns true if an option is set by the source that sets the other one, or by a stronger one. */
  readonly isAsStrong: (option: string, other: string) => boolean
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
      const unit = name === 'names' ? 'names' : (OPTION_ROWS.get(name)?.unit ?? name)
      if ((sourceByUnit.get(unit) ?? source) !== source) continue
      sourceByUnit.set(unit, source)
      sourceByOption.set(name, source)
      settled[name] = value
    }
  }
  const sourceOf = (option: string): OptionSource | undefined => sourceByOption.get(option)
  const isAsStrong = (...pair: readonly [string, string]): boolean => {
    const [rank = -1, other = -1] = pair.map((option) => sources.findIndex((source) => source === sourceOf(option)))
    return rank >= 0 && rank <= other
  }
  // The row of each option has made its value.
  return { options: settled as Options, sourceOf, isAsStrong }
}

/** Runs work; its UsageError becomes one about an option. */
export async function forOption<T>(option: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof UsageError) {
      const { message, exitStatus, hint } = error
      throw new OptionError(option, message, { exitStatus, hint, cause: error })
    }
    throw error
  }
}

/** Returns an error about an option with the place where that is set. In a file such an error is 78. Returns other errors as they are. */
export function locateError<E>(error: E, { sourceOf }: SettledOptions): E | UsageError {
  if (!(error instanceof OptionError)) return error
  const source = sourceOf(error.option)
  if (source?.locate === undefined) return error
  const exitStatus = error.exitStatus === EXIT.USAGE ? EXIT.CONFIG : error.exitStatus
  const { hint, cause } = error
  const message = cause instanceof NameError ? cause.inFile : error.message
  return new UsageError(`${source.locate(error.option)}: ${message}`, { exitStatus, hint, cause: error })
}
