import { Chalk, type ChalkInstance } from 'chalk'
import type { Pause } from '../etrn/backoff.js'
import type { Result } from '../etrn/outcome.js'
import type { Run } from '../etrn/run.js'
import type { ServerReport } from '../etrn/server-report.js'
import type { Server } from '../smtp/session.js'
import type { TraceEvent } from '../smtp/trace.js'

/** One form of output. It is told what becomes known when it does; `end` comes last. */
export interface Reporter {
  /** What the user should know, though nothing failed */
  warn(message: string): void
  /** null: what happens concerns all */
  trace(server: Server | null, event: TraceEvent | Pause, session?: number): void
  /** A name's reply is there; a line that is no name belongs to no server. */
  result(server: Server | null, result: Result): void
  /** All is known of one server. */
  report(report: ServerReport): void
  end(run: Run): void
}
/** Where lines go, in the colours that fit there. */
export type Output = { readonly line: (text: string) => void; readonly colour: ChalkInstance }
export function createOutput(line: (text: string) => void, isColoured: boolean): Output {
  return { line, colour: new Chalk({ level: isColoured ? 1 : 0 }) }
}
