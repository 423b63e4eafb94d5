import { EXIT } from '../errors.js'
import { unansweredResult } from '../etrn/result.js'
import { resultOfBadLine } from '../etrn/run.js'
import { documentHead, documentsOf, printDocument, serverDocument, tlsDocument } from '../report/json.js'
import { generalHint } from '../report/hints.js'
import type { Output } from '../report/reporter.js'
import type { SessionError } from '../smtp/errors.js'
import type { Check } from './check.js'
import type { ServerCheck } from './session-checker.js'
import type { Step, StepListener } from './steps.js'

export type CheckReporter = StepListener & { readonly end: (check: Check) => void | Promise<void> }

const STEP_WIDTH = 12
const TIME_WIDTH = 8

/** Prints one step a line, with a tick or a cross, and each hint once. Quiet prints only failures, with their hints; 2 also omits temporary ones. */
export function textCheckReporter(
  { line }: Output,
  { quiet, isUtf8 }: { readonly quiet: number; readonly isUtf8: boolean },
): CheckReporter {
  const [tick, cross, dash] = isUtf8 ? (['✔', '✘', '–'] as const) : (['ok', 'NO', '--'] as const)
  const printed = new Set<string>()
  const printHint = (indent: string, hint: string): void => {
    if (!printed.has(hint)) line(`${indent}hint: ${hint}`)
    printed.add(hint)
  }
  const printFailure = (prefix: string, { message, hint, kind, exitStatus }: SessionError): void => {
    line(prefix + message)
    const next = hint ?? generalHint(exitStatus)
    if (next !== undefined && kind !== 'interrupted' && kind !== 'time-over') printHint('', next)
  }
  return {
    onPart: (title) => {
      if (quiet === 0) line(title)
    },
    onStep: ({ step, ok, elapsedMs, text, hint }) => {
      if (quiet > 0) return
      const mark =
        ok === null ? dash : ok ? ({ style: 'green', text: tick } as const) : ({ style: 'red', text: cross } as const)
      const time = elapsedMs === null ? '' : `${elapsedMs} ms`
      line('  ', mark, ` ${step.padEnd(STEP_WIDTH)} ${time.padStart(TIME_WIDTH)}  ${text}`)
      if (hint !== null) printHint(' '.repeat(4 + tick.length), hint)
    },
    end: ({ servers, error: ownError }) => {
      const isFailure = (error: SessionError | null): error is SessionError =>
        quiet > 0 && error !== null && (quiet === 1 || error.exitStatus !== EXIT.TEMPFAIL)
      for (const { server, greeting, error } of servers) {
        const software = serverSoftware(greeting)
        if (quiet === 0 && software !== null) line(`${server.word} runs ${software} (according to its greeting)`)
        if (isFailure(error)) printFailure(`etrn: ${server.word}: `, error)
      }
      if (isFailure(ownError)) printFailure('etrn: ', ownError)
      if (quiet === 0) line('ETRN was not sent: only a real run shows whether the server accepts a name')
    },
  }
}

/** Prints one JSON document at the end. Delivery belongs to no server. */
export function jsonCheckReporter(out: Output): CheckReporter {
  return {
    onPart: () => undefined,
    onStep: () => undefined,
    end: async (check) => {
      const servers = documentsOf(check.servers, serverCheckDocument)
      const wayBack = documentsOf(check.delivery, stepDocument)
      await printDocument(out, { ...documentHead(check), servers, wayBack })
    },
  }
}

function stepDocument({ step, ok, elapsedMs, text, hint }: Step): object {
  return { step, ok, elapsedMs, text, advice: hint }
}

/** Returns what a real run's document has, and what only a check finds. */
function serverCheckDocument({ entries, steps, seenAs, ...found }: ServerCheck): object {
  const { tls, greeting } = found
  const elapsedMs = steps.reduce((sum, step) => sum + (step.elapsedMs ?? 0), 0)
  return {
    ...serverDocument({ ...found, attempts: 0, elapsedMs, isQueueUnknown: false, names: [] }),
    tls: tls && { ...tlsDocument(tls), certificate: tls.certificate },
    seenAs,
    software: serverSoftware(greeting),
    steps: steps.map(stepDocument),
    // The outcome of a name is unknown, because ETRN was not sent.
    names: entries.map((entry) =>
      typeof entry === 'string' ? { ...unansweredResult(entry, 'skipped'), outcome: null } : resultOfBadLine(entry),
    ),
  }
}

function serverSoftware(greeting: string | null): string | null {
  if (greeting === null) return null
  if (/Microsoft ESMTP MAIL/.test(greeting)) return 'Microsoft Exchange'
  const [, name, version] =
    /\b(Postfix|Exim|Sendmail|OpenSMTPD|Courier|Haraka|Kerio Connect)\b(?:[ /]([\d.]*\d))?/i.exec(greeting) ?? []
  return name === undefined ? null : [name, version ?? []].flat().join(' ')
}
