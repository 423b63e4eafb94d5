import type { Result } from '../../src/etrn/result.js'
import type { ServerReport } from '../../src/etrn/server-report.js'
import type { PoolContext } from '../../src/etrn/session-pool.js'
import { jsonReporter } from '../../src/report/json.js'
import { createOutput } from '../../src/report/reporter.js'
import { TextReporter } from '../../src/report/text.js'
import { checkReport, checkUnsentNames, exitStatusOf } from './check-report.js'
import { runAfterTurns } from './event-loop.js'
import { fail, type FuzzRun } from './fuzz-run.js'
import { PASSWORD } from './test-case.js'

// Checks what the client shows: its trace, its results as they come, and both forms of its report.

const UNPRINTABLE = /(?! )[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}]/u
const SECRETS = [PASSWORD, Buffer.from(PASSWORD).toString('base64')].map((secret) => secret.toLowerCase())
const SENT_LINE = /^(?:EHLO \S+|STARTTLS|AUTH [A-Z0-9-]+(?: \*{4})?|\*|\*{4}|ETRN \S+|QUIT)$/

export type OutputChecks = {
  readonly trace: PoolContext['trace']
  readonly onResult: PoolContext['onResult']
  readonly end: (report: ServerReport) => void
}

/** What the client has shown up to now */
type ShownEvents = { readonly names: string[]; readonly results: Result[]; isFinal: boolean }

/** Returns functions that take what the client shows, and check it. */
export function createOutputChecks(run: FuzzRun): OutputChecks {
  const shown: ShownEvents = { names: [], results: [], isFinal: false }
  const output = createOutput((text) => checkShownText(run, text), undefined)
  const text = new TextReporter({ out: output, err: output, quiet: 0, verbose: true, several: true })
  const document = createOutput((lines) => output.line(lines.replaceAll('\n', ' ')), undefined)
  const json = jsonReporter(document, text)
  return {
    trace: (server, event, session) => {
      for (const word of stringsIn(event)) output.line(word)
      if (event.type === 'sent') checkTracedLine(run, shown, event.line)
      text.trace(server, event, session)
    },
    onResult: (server, result) => {
      shown.results.push(result)
      const isFinal = result.outcome === 'failed' || ((result.code ?? 0) >= 500 && !run.testCase.keepGoing)
      // Another session may be about to send.
      if (isFinal) runAfterTurns(() => (shown.isFinal = true))
      text.result(server, result)
    },
    end: (report) => {
      const { names, error, greeting } = report
      run.outcomes.push(...names.map(({ outcome }) => outcome))
      checkReport(run, report, shown.results)
      checkUnsentNames(run, report, shown.names)
      checkTracedNames(run, shown.names)
      for (const word of stringsIn([names, error?.message, error?.hint, greeting])) output.line(word)
      text.report(report)
      void json.end({ servers: [report], excluded: [], error: null, exitStatus: exitStatusOf(report) })
    },
  }
}

/** Checks a line that the trace shows as sent. */
function checkTracedLine(run: FuzzRun, shown: ShownEvents, line: string): void {
  if (!SENT_LINE.test(line)) fail(run, `the trace shows as sent: ${line}`)
  if (line === 'QUIT') run.tracedQuits++
  if (!line.startsWith('ETRN ')) return
  shown.names.push(line.slice(5))
  if (shown.isFinal) fail(run, `sent after the result that ends the run: ${line}`)
}

/** Checks that the trace shows every ETRN that the server received. */
function checkTracedNames(run: FuzzRun, traced: readonly string[]): void {
  const rest = [...traced]
  for (const { name } of run.connections.flatMap(({ requests }) => requests)) {
    const index = rest.indexOf(name)
    if (index === -1) fail(run, `sent, but missing in the trace: ${name}`)
    else rest.splice(index, 1)
  }
}

/** Returns all strings within a value. */
function stringsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  if (value instanceof Map) return stringsIn([...(value as Map<unknown, unknown>)])
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(stringsIn) : []
}

function checkShownText(run: FuzzRun, text: string): void {
  const character = UNPRINTABLE.exec(text)?.[0]
  if (character !== undefined)
    fail(run, `the output has U+${(character.codePointAt(0) ?? 0).toString(16)}: ${JSON.stringify(text)}`)
  const lowerCase = text.toLowerCase()
  const hasSecret = run.testCase.mechanism !== null && SECRETS.some((secret) => lowerCase.includes(secret))
  if (hasSecret) fail(run, `the output has the password: ${text}`)
}
