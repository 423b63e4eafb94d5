import type { Readable } from 'node:stream'
import type { InputSources } from './command/read-file.js'
import type { TerminalOptions } from './report/terminal.js'

/** The process as the command sees it */
export type Host = TerminalOptions &
  Pick<InputSources, 'kill' | 'onSignal' | 'raise'> & {
    readonly argv: readonly string[]
    /** The effective user; undefined on systems without user IDs. */
    readonly uid: number | undefined
    readonly stdin: () => Readable
    /** The absolute paths of node and etrn, for hooks. */
    readonly program: () => readonly string[]
    readonly version: () => string
    /** Returns the time in milliseconds since 1970. */
    readonly now: () => number
  }
