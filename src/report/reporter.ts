import type { StepError } from '../errors.js'
import type { Pause } from '../etrn/backoff.js'
import type { Result } from '../etrn/result.js'
import type { ServerReport } from '../etrn/server-report.js'
import type { Run } from '../etrn/run.js'
import type { ServerAddress } from '../input/server-address.js'
import { printable, printableJson, truncateOctets } from '../printable.js'
import type { TraceEvent } from '../smtp/trace.js'

/** An event of a run; the server is null if the event concerns the whole run. */
export type Progress = readonly [server: ServerAddress | null, event: TraceEvent | Pause, session?: number]

/** A failure of this host or of its user's input */
export type Failure = Pick<StepError, 'message' | 'exitStatus'> & { readonly hint?: string | undefined }

/** One form of output. Each method is called as soon as its fact is known. */
export interface Reporter {
  /** Reports what the user should know although nothing failed. */
  warn(message: string): void
  trace(...progress: Progress): void
  /** Reports the reply for one name. A bad line of a names file has no server. `isRetried`: temporary failures were retried. */
  result(server: ServerAddress | null, result: Result, isRetried?: boolean): void
  /** Reports one server, when everything about it is known. The target is the SERVER or the domain of --mx that led to the server. */
  report(report: ServerReport, target: string): void
  /** Reports a failure that belongs to no server. */
  fail(failure: Failure): void | Promise<void>
  /** Ends the report. */
  end(run: Run): void | Promise<void>
}

export type Style = 'green' | 'yellow' | 'red' | 'dim'

/** Returns a text in each style. */
export type Colours = Readonly<Record<Style, (text: string) => string>>

/** A part of a line, with a colour if the output can show it. */
export type Styled = { readonly style: Style; readonly text: string }

/** A destination of text, which it makes printable: nothing but its own colours and line ends can control a terminal. */
export type Output = {
  readonly line: (...parts: readonly (string | Styled)[]) => void
  /** Takes whole lines of JSON. */
  readonly json: (lines: string) => void
  /** Waits until the reader has taken most of the lines: a run that prints a lot must not fill the memory. */
  readonly drain: () => Promise<void>
}

/** The longest line: the system's log splits longer ones (logger(1)), and a server could forge the second part. */
const LINE_OCTETS = 1000

export function createOutput(
  write: (lines: string) => void,
  colours: Colours | undefined,
  drain = async (): Promise<void> => Promise.resolve(),
): Output {
  const line: Output['line'] = (...parts) => {
    let octets = LINE_OCTETS
    const render = (part: string | Styled): string => {
      const text = truncateOctets(printable(typeof part === 'string' ? part : part.text), octets)
      octets -= Buffer.byteLength(text)
      return typeof part === 'string' || text === '' ? text : (colours?.[part.style](text) ?? text)
    }
    write(parts.map(render).join(''))
  }
  return {
    line,
    json: (lines) => write(printableJson(lines)),
    drain,
  }
}
