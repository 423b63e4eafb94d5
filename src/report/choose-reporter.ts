import type { FailureRecorder } from './delayed.js'
import type { Output, Reporter } from './reporter.js'
import { TextReporter } from './text.js'

export type ReportOptions = {
  readonly out: Output
  readonly err: Output
  readonly quiet: number
  readonly verbose: number
  readonly json: boolean
  /** The run has several servers. */
  readonly several: boolean
  /** Delays the report of temporary failures; JSON has every failure. */
  readonly record?: FailureRecorder | undefined
}

/** Returns the form of output that the options ask for. */
export async function chooseReporter({ json, record, verbose, ...options }: ReportOptions): Promise<Reporter> {
  const text = (quiet: number): Reporter => new TextReporter({ ...options, quiet, verbose: verbose > 0 })
  if (json) {
    const { jsonReporter } = await import('./json.js')
    return jsonReporter(options.out, text(options.quiet))
  }
  if (record === undefined) return text(options.quiet)
  const { DelayedReporter } = await import('./delayed.js')
  return new DelayedReporter(text(2), text(1), record)
}
