import type { Config } from '../../src/command/config.js'
import { settleOptions } from '../../src/command/option-sources.js'
import type { Options, PartialOptions } from '../../src/command/options.js'

/** Returns the options that count if a command line sets these, and there is no configuration. */
export function settle(options: PartialOptions = {}): Options {
  return settleOptions([{ options }]).options
}

export const NO_CONFIG: Config = { tops: [], profiles: new Map(), paths: new Map() }
