import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { EXIT } from '../../src/errors.js'
import { DelayedReporter } from '../../src/report/delayed.js'
import { createOutput } from '../../src/report/reporter.js'
import { TextReporter } from '../../src/report/text.js'
import { SessionError } from '../../src/smtp/errors.js'

/** Returns a reporter that is told that these targets are due, and what it has printed and recorded. */
function delayed(...due: readonly string[]) {
  const printed: string[] = []
  const recorded: (readonly string[])[] = []
  const output = createOutput((line) => printed.push(line), undefined)
  const text = (quiet: number): TextReporter =>
    new TextReporter({ out: output, err: output, quiet, verbose: false, several: false })
  const reporter = new DelayedReporter(text(2), text(1), async (targets) => {
    recorded.push(targets)
    return Promise.resolve({ targets: new Set(due), lines: due.map((target) => `since ${target}`) })
  })
  return { reporter, printed, recorded }
}

const TEMPORARY = { message: 'the local mail server does not greet', exitStatus: EXIT.TEMPFAIL }
const PERMANENT = { message: 'no such file', exitStatus: EXIT.NOINPUT }
const runWith = (error: SessionError | null) => ({
  servers: [],
  excluded: [],
  error,
  exitStatus: error?.exitStatus ?? 0,
})

suite('DelayedReporter', () => {
  test('prints a permanent failure of the run at once, and records nothing', async () => {
    const { reporter, printed, recorded } = delayed()
    await reporter.fail(PERMANENT)
    assert.deepEqual([printed, recorded], [['etrn: no such file'], []])
  })
  test('prints a temporary failure of the run only if it is due', async () => {
    const silent = delayed()
    await silent.reporter.fail(TEMPORARY)
    assert.deepEqual([silent.printed, silent.recorded], [[], [['']]])
    const { reporter, printed } = delayed('')
    await reporter.fail(TEMPORARY)
    assert.deepEqual(printed, ['etrn: the local mail server does not greet', 'etrn: since '])
  })
  test('prints the failure that ended the run before any server only if it is due', async () => {
    const run = runWith(new SessionError('connect', TEMPORARY.message, TEMPORARY))
    const silent = delayed()
    await silent.reporter.end(run)
    assert.deepEqual([silent.printed, silent.recorded], [[], [['']]])
    const { reporter, printed } = delayed('')
    await reporter.end(run)
    assert.deepEqual(printed, [
      'etrn: since ',
      'etrn: the local mail server does not greet; the requests were not sent',
    ])
  })
  test('prints a permanent failure that ended the run once', async () => {
    const { reporter, printed, recorded } = delayed()
    await reporter.end(runWith(new SessionError('connect', 'no socket', { exitStatus: EXIT.PROTOCOL })))
    assert.deepEqual([printed, recorded], [['etrn: no socket; the requests were not sent'], [[]]])
  })
  test('records a success, and prints no warning', async () => {
    const { reporter, printed, recorded } = delayed()
    reporter.warn()
    await reporter.end(runWith(null))
    assert.deepEqual([printed, recorded], [[], [[]]])
  })
})
