import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import type { Outcome } from '../../src/etrn/outcome.js'
import type { Result } from '../../src/etrn/result.js'
import type { ServerReport } from '../../src/etrn/server-report.js'
import type { Run } from '../../src/etrn/run.js'
import { colours } from '../../src/report/colours.js'
import { createOutput, type Progress } from '../../src/report/reporter.js'
import { TextReporter } from '../../src/report/text.js'
import { SessionError } from '../../src/smtp/errors.js'
import type { TlsInfo } from '../../src/smtp/trace.js'
import { NO_FACTS } from '../../src/smtp/trace.js'
import { etrn } from '../helpers/command.js'
import { close, etrnSteps, HELLO, loose, scripted, sessionWith, silence } from '../helpers/scripted-server.js'

const HELO = ['--helo', 'gw.site.example']
const ACCEPTING = sessionWith(...etrnSteps('site.example', '250 OK'))

suite('text: one line for each name', { concurrency: true }, () => {
  test('shows the outcome and the reply of each name', async (t) => {
    const server = await scripted(
      t,
      sessionWith(
        ...etrnSteps('a.example', '250 2.0.0 Queuing for node a.example started'),
        ...etrnSteps('b.example', '251 OK, no messages waiting for node b.example'),
        ...etrnSteps('c.example', '252 OK, pending messages for node c.example started'),
        ...etrnSteps('d.example', '253 OK, 14 pending messages for node d.example started'),
        ...etrnSteps('e.example', '458 Already processing e.example'),
        ...etrnSteps('f.example', '450 4.3.2 try again'),
        ...etrnSteps('g.example', '459 <g.example>: service unavailable'),
      ),
    )
    const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((letter) => `${letter}.example`)
    const run = await etrn([`127.0.0.1:${server.port}`, '--jobs', '1', ...HELO, ...names])
    assert.equal(
      run.stdout,
      `a.example: accepted (250 2.0.0 Queuing for node a.example started)
b.example: no mail waiting (251 OK, no messages waiting for node b.example)
c.example: accepted, mail is waiting (252 OK, pending messages for node c.example started)
d.example: accepted, 14 messages waiting (253 OK, 14 pending messages for node d.example started)
e.example: accepted, already in progress (458 Already processing e.example)
f.example: deferred (450 4.3.2 try again)
g.example: refused (459 <g.example>: service unavailable)
`,
    )
    assert.match(run.stderr, /^hint: f\.example: .*\nhint: g\.example: .*fast_flush_domains.*\n$/)
    assert.equal(run.status, 75)
  })
  test('says "1 message" in the singular', async (t) => {
    const server = await scripted(t, sessionWith(...etrnSteps('a.example', '253 OK, 1 pending message')))
    const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, 'a.example'])
    assert.equal(run.stdout, 'a.example: accepted, 1 message waiting (253 OK, 1 pending message)\n')
  })
  test('shows a name whose form the server rejects, and a bad line of a names file', async (t) => {
    const server = await scripted(t, sessionWith(...etrnSteps('a.example', '501 what?')))
    const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, '--names-from', '-'], { input: 'b c\na.example\n' })
    assert.match(run.stdout, /^b c: invalid, not sent \(line 1 .*\)\na\.example: rejected \(501 what\?\)\n$/)
  })
  test('puts the server in front of each line if there are several servers', async (t) => {
    const accepting = await scripted(t, ACCEPTING)
    const refusing = await scripted(t, sessionWith(...etrnSteps('site.example', '459 no')))
    const servers = `127.0.0.1:9,127.0.0.1:${accepting.port},localhost:${refusing.port}`
    const run = await etrn([servers, ...HELO, 'site.example'])
    assert.deepEqual(run.stdout.trim().split('\n').sort(), [
      `127.0.0.1:${accepting.port}: site.example: accepted (250 OK)`,
      `localhost:${refusing.port}: site.example: refused (459 no)`,
    ])
    assert.match(run.stderr, /^etrn: 127\.0\.0\.1:9: .*refused/m)
    assert.equal(run.status, 75)
  })
})

suite('text: --quiet', { concurrency: true }, () => {
  const NAMES = ['a', 'b', 'c', 'd', 'e'].map((letter) => `${letter}.example`)
  const printsQuietly = (title: string, option: string, stdout: RegExp, stderr: RegExp): void =>
    void test(title, async (t) => {
      const server = await scripted(
        t,
        sessionWith(
          ...etrnSteps('a.example', '250 OK'),
          ...etrnSteps('b.example', '450 later'),
          ...etrnSteps('c.example', '550 no'),
        ),
      )
      const word = `127.0.0.1:${server.port}`
      const run = await etrn([word, ...HELO, option, ...NAMES])
      assert.equal(run.status, 75)
      assert.match(run.stdout.replaceAll(`${word}: `, '@ '), stdout)
      assert.match(run.stderr, stderr)
    })
  printsQuietly(
    '-q prints failures and skipped names only, with the server and with hints',
    '-q',
    /^@ b\.example: deferred \(450 later\)\n@ c\.example: refused \(550 no\)\n@ not requested: d\.example, e\.example\n$/,
    /^hint: b\.example: .*\nhint: c\.example: .*\nhint: stopped after c\.example .*\n$/,
  )
  printsQuietly(
    '-qq prints permanent failures only, with the server and with hints',
    '-qq',
    /^@ c\.example: refused \(550 no\)\n@ not requested: d\.example, e\.example\n$/,
    /^hint: c\.example: .*\nhint: stopped after c\.example .*\n$/,
  )
  test('-q prints the failure of a server with its hint', async () => {
    const run = await etrn(['127.0.0.1:9', ...HELO, '-q', 'site.example'])
    assert.deepEqual([run.stdout, run.status], ['', 75])
    assert.match(run.stderr, /^etrn: 127\.0\.0\.1:9: .*refused.*; site\.example not requested\nhint: .*\n$/)
  })
  test('-qq prints nothing about a temporary failure of a server', async () => {
    const run = await etrn(['127.0.0.1:9', ...HELO, '-qq', 'site.example'])
    assert.deepEqual([run.stdout, run.stderr, run.status], ['', '', 75])
  })
})

suite('text: failures of a server', { concurrency: true }, () => {
  const failsWith = (title: string, names: string[], listed: string): void =>
    void test(title, async () => {
      const run = await etrn(['127.0.0.1:9', ...HELO, ...names])
      assert.deepEqual([run.stdout, run.status], ['', 75])
      const [failure, hint, ...rest] = run.stderr.split('\n')
      assert.match(failure ?? '', /^etrn: 127\.0\.0\.1:9: .*refused/)
      assert.ok(failure?.endsWith(`; ${listed} not requested`))
      assert.match(hint ?? '', /^hint: \S/)
      assert.deepEqual(rest, [''])
    })
  failsWith('lists three names in full', ['a.example', 'b.example', 'c.example'], 'a.example, b.example, c.example')
  failsWith(
    'counts more than three names and lists the first three',
    ['a.example', 'b.example', 'c.example', 'd.example'],
    '4 names (a.example, b.example, c.example, ...)',
  )
  test('-v prints the message of the system below the failure', async () => {
    const { stderr } = await etrn(['127.0.0.1:9', ...HELO, '-v', 'a.example'])
    assert.match(stderr, /; a\.example not requested\n {2}connect ECONNREFUSED 127\.0\.0\.1:9\nhint: /)
  })
  const reportsLoss = (title: string, names: string[], suffix: string): void =>
    void test(title, async (t) => {
      const server = await scripted(t, [...HELLO, `C: ETRN ${names[0] ?? ''}`, close])
      const { stderr } = await etrn([`127.0.0.1:${server.port}`, ...HELO, ...names])
      assert.ok(stderr.split('\n')[0]?.endsWith(suffix), stderr)
    })
  reportsLoss(
    'says that a request without a reply may have been accepted',
    ['a.example'],
    '; the request may have been accepted',
  )
  reportsLoss(
    'tells a request without a reply from names that were not requested',
    ['a.example', 'b.example'],
    '; the request for a.example may have been accepted; b.example not requested',
  )
  test('prints accepted, unanswered and skipped names after a signal, without a hint', async (t) => {
    let interrupt = (): void => undefined
    const server = await loose(t, [
      ...HELLO,
      ...etrnSteps('a.example', '250 OK'),
      'C: ETRN b.example',
      () => interrupt(),
      silence,
    ])
    const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, 'a.example', 'b.example', 'c.example'], {
      during: (child) => (interrupt = () => void child.kill('SIGTERM')),
    })
    assert.equal(run.stdout, 'a.example: accepted (250 OK)\nnot requested: c.example\n')
    assert.equal(
      run.stderr,
      `etrn: 127.0.0.1:${server.port}: interrupted by SIGTERM; the request for b.example may have been accepted\n`,
    )
  })
})

suite('text: hints', { concurrency: true }, () => {
  test('names --keep-going and the refused name if a refusal leaves names unsent', async (t) => {
    const server = await scripted(t, sessionWith(...etrnSteps('a.example', '550 no')))
    const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, 'a.example', 'b.example'])
    assert.match(run.stdout, /^not requested: b\.example$/m)
    assert.match(run.stderr, /^hint: stopped after a\.example was refused; --keep-going .*$/m)
  })
  test('names --keep-going if no name of the first session was accepted', async (t) => {
    const names = Array.from({ length: 8 }, (_, index) => `n${index}.example`)
    const steps = names.slice(0, 7).flatMap((name) => etrnSteps(name, '450 later'))
    const server = await scripted(t, sessionWith(...steps))
    const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, ...names])
    assert.match(run.stdout, /^not requested: n7\.example$/m)
    assert.match(run.stderr, /^hint: stopped because the server accepted none .*; --keep-going /m)
  })
  test('prints the --keep-going hint once if two servers refuse', async (t) => {
    const servers = await Promise.all(
      ['550 no', '550 no'].map(async (reply) => scripted(t, sessionWith(...etrnSteps('a.example', reply)))),
    )
    const words = servers.map(({ port }) => `127.0.0.1:${port}`)
    const { stdout, stderr } = await etrn([words.join(','), ...HELO, 'a.example', 'b.example'])
    assert.equal(stdout.match(/not requested: b\.example$/gm)?.length, 2)
    assert.deepEqual(stderr.split('\n').filter((line) => line.includes('--keep-going')).length, 1)
  })
  test('prints the hint of two names once, after the results, with their number', async (t) => {
    const server = await scripted(
      t,
      sessionWith(...etrnSteps('a.example', '459 no'), ...etrnSteps('b.example', '459 no')),
    )
    const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, 'a.example', 'b.example'])
    assert.match(run.stderr, /^hint: 2 names \(a\.example, b\.example\): .*\n$/)
  })
})

suite('text: -v', { concurrency: true }, () => {
  const readTranscript = (stderr: string): string[] =>
    stderr
      .trimEnd()
      .split('\n')
      .map((line) => line.replace(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z /, ''))
  test('prints the dialogue to standard error, each line with its time', async (t) => {
    const server = await scripted(t, sessionWith(...etrnSteps('site.example', '250 OK')))
    const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, '-v', 'site.example'])
    assert.deepEqual(readTranscript(run.stderr), [
      `connecting to 127.0.0.1 port ${server.port}`,
      'connected to 127.0.0.1',
      'S: 220 mx.example ESMTP',
      'C: EHLO gw.site.example',
      'S: 250-mx.example',
      'S: 250 ETRN',
      'C: ETRN site.example',
      'S: 250 OK',
      'C: QUIT',
      'S: 221 bye',
    ])
  })
})

suite('TextReporter', () => {
  const createReporter = (options: Partial<ConstructorParameters<typeof TextReporter>[0]> = {}, isColoured = false) => {
    const lines: string[] = []
    const output = createOutput((line) => lines.push(line), isColoured ? colours : undefined)
    const reporter = new TextReporter({
      out: output,
      err: output,
      quiet: 0,
      verbose: false,
      several: false,
      ...options,
    })
    return { reporter, lines }
  }
  const SERVER = { word: 'mx.example', host: 'mx.example', port: 25, isImplicitTls: false } as const

  test('prints no line of more than 1,000 octets, which the system log would split', () => {
    const { reporter, lines } = createReporter({ verbose: true }, true)
    const text = 'é '.repeat(1000)
    reporter.result(SERVER, { ...resultOf('a.example', 'refused', 550), text })
    reporter.trace(SERVER, { type: 'received', reply: { code: 250, lines: [text], enhancedCode: null, text } })
    for (const line of lines) assert.ok(Buffer.byteLength(stripVTControlCharacters(line)) <= 1000, line)
    assert.equal(lines.length, 2)
  })
  for (const [word, host, label] of [
    ['isp', 'mx.isp.example', 'isp (mx.isp.example)'],
    ['smtps://MX.isp.example:465', 'mx.isp.example', 'smtps://MX.isp.example:465'],
    ['mx.bücher.example', 'mx.xn--bcher-kva.example', 'mx.bücher.example (mx.xn--bcher-kva.example)'],
  ] as const)
    test(`names the server of a failure as ${label}`, () => {
      const { reporter, lines } = createReporter()
      const error = new SessionError('connect', 'connection refused', { exitStatus: 75 })
      reporter.report({ ...reportOf(), server: { ...SERVER, word, host }, error })
      assert.deepEqual(lines, [`etrn: ${label}: connection refused`])
    })
  test('prints the same warning of two sessions once', () => {
    const { reporter, lines } = createReporter()
    for (const session of [1, 2]) reporter.trace(SERVER, { type: 'warning', stage: 'ehlo', text: 'beware' }, session)
    assert.deepEqual(lines, ['etrn: warning: mx.example: beware'])
  })
  const resultOf = (name: string, outcome: Outcome, code: number | null = null): Result => {
    return { name, outcome, code, enhancedCode: null, text: null, pending: null, hint: null }
  }
  const reportOf = (...names: Result[]): ServerReport => {
    return { ...NO_FACTS, server: SERVER, error: null, isQueueUnknown: false, attempts: 1, elapsedMs: 0, names }
  }
  test('leaves skipped names out under -qq if every failure is temporary', () => {
    const report = reportOf(resultOf('a.example', 'deferred', 450), resultOf('b.example', 'skipped'))
    for (const [quiet, expected] of [
      [1, ['mx.example: not requested: b.example']],
      [2, []],
    ] as const) {
      const { reporter, lines } = createReporter({ quiet })
      reporter.report(report)
      assert.deepEqual(lines, expected)
    }
  })
  test('prints no --keep-going hint if a reply was no SMTP reply', () => {
    const { reporter, lines } = createReporter()
    reporter.report(reportOf(resultOf('a.example', 'failed'), resultOf('b.example', 'skipped')))
    assert.deepEqual(lines, ['not requested: b.example'])
  })
  const runOf = (...servers: ServerReport[]): Run => ({ servers, excluded: [], error: null, exitStatus: 0 })
  for (const [kind, hint, hints] of [
    ['time-over', undefined, []],
    ['interrupted', undefined, []],
    ['time-over', 'wait longer', ['hint: wait longer']],
    ['timeout', 'wait longer', ['hint: wait longer']],
  ] as const)
    test(`prints ${hints.length === 0 ? 'no hint' : 'a hint'} if the kind of the failure is ${kind}, ${hint === undefined ? 'without' : 'with'} one of its own`, () => {
      const { reporter, lines } = createReporter()
      const error = new SessionError('etrn', 'over', { exitStatus: 75, kind, hint })
      reporter.report({ ...reportOf(), error })
      reporter.end(runOf())
      assert.deepEqual(lines, ['etrn: mx.example: over', ...hints])
    })
  test("warns that the server can't tell whether mail is waiting", () => {
    const { reporter, lines } = createReporter()
    reporter.report({ ...reportOf(resultOf('a.example', 'started', 250)), isQueueUnknown: true })
    assert.match(lines[0] ?? '', /^etrn: warning: mx\.example: .* omit --wait next time$/)
  })
  test('ends with the summary, but not under -q', () => {
    const names = Array.from({ length: 8 }, (_, index) => resultOf(`n${index}.example`, 'started', 250))
    for (const [quiet, expected] of [
      [0, ['8 names: 8 accepted']],
      [1, []],
    ] as const) {
      const { reporter, lines } = createReporter({ quiet })
      reporter.end(runOf(reportOf(...names)))
      assert.deepEqual(lines, expected)
    }
  })
  test('prints a failure without a server, with its hint', () => {
    const { reporter, lines } = createReporter()
    reporter.fail({ message: 'no server given', exitStatus: 64, hint: 'type one' })
    assert.deepEqual(lines, ['etrn: no server given', 'hint: type one'])
  })
  test('numbers the sessions after the first one', () => {
    const { reporter, lines } = createReporter({ verbose: true })
    for (const session of [1, 2]) reporter.trace(SERVER, { type: 'sent', line: 'QUIT' }, session)
    assert.deepEqual(
      lines.map((line) => line.replace(/^\S+Z /, '')),
      ['C: QUIT', '[2] C: QUIT'],
    )
  })
  const transcribes = (title: string, event: Progress[1], ...expected: string[]): void =>
    void test(`-v ${title}`, () => {
      const { reporter, lines } = createReporter({ verbose: true })
      reporter.trace(SERVER, event)
      assert.deepEqual(
        lines.map((line) => line.replace(/^\S+Z /, '')),
        expected,
      )
    })
  const tlsEvent = (verified: boolean): Progress[1] => ({
    type: 'tls',
    tls: { protocol: 'TLSv1.3', cipher: 'X', verified } as TlsInfo,
  })
  transcribes('says that a certificate is verified', tlsEvent(true), 'TLSv1.3 X, certificate verified')
  transcribes('says that a certificate is not verified', tlsEvent(false), 'TLSv1.3 X, certificate not verified')
  transcribes(
    'prints the text of a pause',
    { type: 'pause', reason: 'later', next: 'again at 1', pauseMs: 1 },
    'later; again at 1',
  )
  transcribes(
    'prints the address and the port of a connection',
    { type: 'connecting', address: '192.0.2.1' },
    'connecting to 192.0.2.1 port 25',
  )
  transcribes(
    'prints each line of a reply with its separator, without blanks at its end',
    { type: 'received', reply: { code: 250, lines: ['mx ', '', 'ETRN'], enhancedCode: null, text: '' } },
    'S: 250-mx',
    'S: 250-',
    'S: 250 ETRN',
  )
  transcribes('prints nothing for a step', { type: 'step', stage: 'greeting' })
  test('colours success green, a temporary failure yellow and a permanent one red', () => {
    const { reporter, lines } = createReporter({}, true)
    for (const [outcome, code] of [
      ['started', 250],
      ['deferred', 450],
      ['refused', 550],
    ] as const)
      reporter.result(null, resultOf('a.example', outcome, code))
    assert.deepEqual(
      lines
        .filter((line) => line.startsWith('a.example: '))
        .map((line) => line.slice('a.example: '.length, -1).split('m')[0]),
      ['\x1b[32', '\x1b[33', '\x1b[31'],
    )
  })
})
