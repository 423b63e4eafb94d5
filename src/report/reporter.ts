import { Chalk, type ChalkInstance } from 'chalk'
import type { Pause } from '../etrn/backoff.js'
import type { Result, ServerReport } from '../etrn/outcome.js'
import type { Run } from '../etrn/run.js'
import type { ServerAddress } from '../input/server-address.js'
import type { TraceEvent } from '../smtp/trace.js'

/** An event of a run; the server is null if the event concerns the whole run. */
export type Progress = readonly [server: ServerAddress | null, event: TraceEvent | Pause, session?: number]

/** One form of output. Each method is called as soon as its fact is known. */
export interface Reporter {
  /** Reports what the user should know although nothing failed. */
  warn(message: string): void
  trace(...progress: Progress): void
  /** Reports the reply for one name. A bad line of a names file has no server. */
  result(server: ServerAddress | null, result: Result): void
  /** Reports one server, when everything about it is known. */
  report(report: ServerReport): void
  /** Reports the whole run, if that tells something new. */
  end?(run: Run): void
}

/** A destination of lines, with the colours that it can show. */
export type Output = { readonly line: (text: string) => void; readonly colour: ChalkInstance }

export function createOutput(line: (text: string) => void, isColoured: boolean): Output {
  return { line, colour: new Chalk({ level: isColoured ? 1 : 0 }) }
}
