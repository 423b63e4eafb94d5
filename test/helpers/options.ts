import assert from 'node:assert/strict'
import type { Config } from '../../src/command/config.js'
import { settleOptions } from '../../src/command/option-sources.js'
import type { Options, PartialOptions } from '../../src/command/options.js'
import type { InputSources } from '../../src/command/read-file.js'
import { resolveTargets, type Target } from '../../src/command/targets.js'

/** Returns the options that count if a command line sets these, and there is no configuration. */
export function settle(options: PartialOptions = {}): Options {
  return settleOptions([{ options }]).options
}

export const NO_CONFIG: Config = { tops: [], profiles: new Map(), paths: new Map() }

/** Returns the target of a command line with one server and these options, without a configuration. */
export function targetOf(server: string, options: PartialOptions = {}): Target {
  const [target] = resolveTargets({ options, words: [server], typed: {} }, NO_CONFIG, () => undefined)
  return target ?? assert.fail()
}

/** A signal that is never aborted */
export const NO_SIGNAL = new AbortController().signal

/** Sources that have nothing, for a run that must not warn. */
export const NO_SOURCES: InputSources = {
  uid: process.getuid?.(),
  signal: NO_SIGNAL,
  input: () => assert.fail('no standard input'),
  environment: {},
  warn: (message) => assert.fail(message),
  onSignal: () => () => undefined,
  raise: (signal) => assert.fail(signal),
  kill: () => undefined,
}
