import { EXIT } from '../errors.js'
import type { Result } from '../etrn/result.js'
import { exitStatusesOf, type ServerReport } from '../etrn/server-report.js'
import type { Run } from '../etrn/run.js'
import type { ServerAddress } from '../input/server-address.js'
import type { Failure, Progress, Reporter } from './reporter.js'

/** Returns which targets' temporary failures to print, and lines about them. An empty target stands for the whole run. */
export type FailureRecorder = (
  targets: readonly string[],
) => Promise<{ readonly targets: ReadonlySet<string>; readonly lines: readonly string[] }>

const RUN = ''

/** Prints permanent failures at once, temporary ones at the end if they are due, and nothing else. */
export class DelayedReporter implements Reporter {
  /** Prints permanent failures only. */
  readonly #permanent: Reporter
  /** Prints all failures. */
  readonly #all: Reporter
  readonly #record: FailureRecorder
  readonly #held: { readonly report: ServerReport; readonly target: string }[] = []

  constructor(permanent: Reporter, all: Reporter, record: FailureRecorder) {
    this.#permanent = permanent
    this.#all = all
    this.#record = record
  }

  warn(): void {
    // A run that succeeds is silent.
  }

  trace(...progress: Progress): void {
    this.#all.trace(...progress)
  }

  result(server: ServerAddress | null, result: Result, isRetried?: boolean): void {
    this.#permanent.result(server, result, isRetried)
  }

  report(report: ServerReport, target: string): void {
    if (exitStatusesOf(report).includes(EXIT.TEMPFAIL)) this.#held.push({ report, target })
    else this.#permanent.report(report, target)
  }

  async fail(failure: Failure): Promise<void> {
    if (failure.exitStatus !== EXIT.TEMPFAIL) return this.#permanent.fail(failure)
    const due = await this.#record([RUN])
    if (due.targets.has(RUN)) await this.#all.fail(failure)
    await this.#printLines(due.lines)
  }

  async end(run: Run): Promise<void> {
    const isTemporary = run.error?.exitStatus === EXIT.TEMPFAIL
    const targets = [...this.#held.map(({ target }) => target), ...(isTemporary ? [RUN] : [])]
    const due = await this.#record([...new Set(targets)])
    for (const { report, target } of this.#held) {
      if (due.targets.has(target)) this.#printAll(report, target)
      else this.#permanent.report(report, target)
    }
    await this.#printLines(due.lines)
    await this.#permanent.end(isTemporary ? { ...run, error: null } : run)
    await this.#all.end(due.targets.has(RUN) ? run : { ...run, error: null })
  }

  /** Prints a report, and the results of which `permanent` has printed nothing. */
  #printAll(report: ServerReport, target: string): void {
    for (const result of report.names)
      if (result.outcome === 'deferred' && result.code !== null)
        this.#all.result(report.server, result, report.isRetried)
    this.#all.report(report, target)
  }

  async #printLines(lines: readonly string[]): Promise<void> {
    for (const message of lines) await this.#all.fail({ message, exitStatus: EXIT.TEMPFAIL })
  }
}
