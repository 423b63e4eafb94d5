import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { Outcome, Result, ServerReport } from '../../src/etrn/outcome.js'
import type { ServerAddress } from '../../src/input/server-address.js'
import { createOutput, type Progress } from '../../src/report/reporter.js'
import { TextReporter } from '../../src/report/text.js'
import { SessionError } from '../../src/smtp/errors.js'
import type { TlsInfo } from '../../src/smtp/tls.js'
import { NO_FACTS } from '../../src/smtp/trace.js'
import { etrn } from '../helpers/command.js'
import { etrnSteps, HELLO, loose, scripted, sessionWith, silence } from '../helpers/scripted-server.js'

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
      `a.example: asked; the server doesn't say what waits (250 2.0.0 Queuing for node a.example started)
b.example: nothing waits (251 OK, no messages waiting for node b.example)
c.example: what waits is on its way (252 OK, pending messages for node c.example started)
d.example: 14 messages are on their way (253 OK, 14 pending messages for node d.example started)
e.example: asked before; it is under way (458 Already processing e.example)
f.example: not now (450 4.3.2 try again)
g.example: refused (459 <g.example>: service unavailable)
`,
    )
    assert.equal(
      run.stderr,
      `  it may pass by itself: --retry-for keeps trying, for as long as you say
  ask your provider to add the domain to fast_flush_domains or relay_domains (Postfix)
`,
    )
    assert.equal(run.status, 75)
  })
  test('says "1 message is" in the singular', async (t) => {
    const server = await scripted(t, sessionWith(...etrnSteps('a.example', '253 OK, 1 pending message')))
    const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, 'a.example'])
    assert.equal(run.stdout, 'a.example: 1 message is on its way (253 OK, 1 pending message)\n')
  })
  test('shows a name that the server takes no form of, and a bad line of a names file', async (t) => {
    const server = await scripted(t, sessionWith(...etrnSteps('a.example', '501 what?')))
    const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, '--names-from', '-'], { input: 'b c\na.example\n' })
    assert.equal(
      run.stdout,
      `b c: not sent (line 1: a space in it; a file has one name a line)
a.example: the server takes no such name (501 what?)
`,
    )
  })
  test('puts the server in front of each line if there are several servers', async (t) => {
    const accepting = await scripted(t, ACCEPTING)
    const refusing = await scripted(t, sessionWith(...etrnSteps('site.example', '459 no')))
    const servers = `127.0.0.1:9,127.0.0.1:${accepting.port},localhost:${refusing.port}`
    const run = await etrn([servers, ...HELO, 'site.example'])
    assert.deepEqual(run.stdout.trim().split('\n').sort(), [
      `127.0.0.1:${accepting.port}: site.example: asked; the server doesn't say what waits (250 OK)`,
      `localhost:${refusing.port}: site.example: refused (459 no)`,
    ])
    assert.match(run.stderr, /^127\.0\.0\.1:9: connect: /m)
    assert.equal(run.status, 75)
  })
})

suite('text: --quiet', { concurrency: true }, () => {
  const NAMES = ['a', 'b', 'c', 'd', 'e'].map((letter) => `${letter}.example`)
  const printsQuietly = (title: string, option: string, stdout: string): void =>
    void test(title, async (t) => {
      const server = await scripted(
        t,
        sessionWith(
          ...etrnSteps('a.example', '250 OK'),
          ...etrnSteps('b.example', '450 later'),
          ...etrnSteps('c.example', '550 no'),
        ),
      )
      const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, option, ...NAMES])
      assert.deepEqual([run.stdout, run.stderr, run.status], [stdout, '', 75])
    })
  printsQuietly(
    '-q prints failures and skipped names only, without hints',
    '-q',
    'b.example: not now (450 later)\nc.example: refused (550 no)\nnot asked: d.example, e.example\n',
  )
  printsQuietly(
    '-qq prints permanent failures only, without hints',
    '-qq',
    'c.example: refused (550 no)\nnot asked: d.example, e.example\n',
  )
  test('-q prints the failure of a server without its hint', async () => {
    const run = await etrn(['127.0.0.1:9', ...HELO, '-q', 'site.example'])
    assert.deepEqual(
      [run.stdout, run.stderr, run.status],
      ['', '127.0.0.1:9: connect: 127.0.0.1 port 9: connection refused; no answer for site.example\n', 75],
    )
  })
  test('-qq prints nothing about a temporary failure of a server', async () => {
    const run = await etrn(['127.0.0.1:9', ...HELO, '-qq', 'site.example'])
    assert.deepEqual([run.stdout, run.stderr, run.status], ['', '', 75])
  })
})

suite('text: failures of a server', { concurrency: true }, () => {
  test('prints one line with three of the names and their number', async () => {
    const run = await etrn(['127.0.0.1:9', ...HELO, 'a.example', 'b.example', 'c.example', 'd.example'])
    assert.deepEqual([run.stdout, run.status], ['', 75])
    assert.equal(
      run.stderr,
      `127.0.0.1:9: connect: 127.0.0.1 port 9: connection refused; no answer for 4 names (a.example, b.example, c.example, ...)
  no mail server listens there: is it another port (--port)?
`,
    )
  })
  test('prints three names in full', async () => {
    const { stderr } = await etrn(['127.0.0.1:9', ...HELO, 'a.example', 'b.example', 'c.example'])
    assert.match(stderr, /refused; no answer for a\.example, b\.example, c\.example\n/)
  })
  test('-v prints the message of the system below the failure', async () => {
    const { stderr } = await etrn(['127.0.0.1:9', ...HELO, '-v', 'a.example'])
    assert.match(
      stderr,
      /refused; no answer for a\.example\n {2}connect ECONNREFUSED 127\.0\.0\.1:9\n {2}no mail server/,
    )
  })
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
    assert.equal(run.stdout, "a.example: asked; the server doesn't say what waits (250 OK)\nnot asked: c.example\n")
    assert.equal(run.stderr, `127.0.0.1:${server.port}: ETRN: interrupted by SIGTERM; no answer for b.example\n`)
  })
})

suite('text: hints are printed once', { concurrency: true }, () => {
  test('prints the -k hint if a refusal leaves names unsent', async (t) => {
    const server = await scripted(t, sessionWith(...etrnSteps('a.example', '550 no')))
    const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, 'a.example', 'b.example'])
    assert.match(run.stdout, /^not asked: b\.example$/m)
    assert.match(run.stderr, /^ {2}a refusal ends it, .*; -k goes on$/m)
  })
  test('prints the -k hint once if two servers refuse', async (t) => {
    const servers = await Promise.all(
      ['550 no', '550 no'].map(async (reply) => scripted(t, sessionWith(...etrnSteps('a.example', reply)))),
    )
    const words = servers.map(({ port }) => `127.0.0.1:${port}`).join(',')
    const { stdout, stderr } = await etrn([words, ...HELO, 'a.example', 'b.example'])
    assert.equal(stdout.match(/not asked: b\.example$/gm)?.length, 2)
    assert.equal(stderr.match(/-k goes on$/gm)?.length, 1)
  })
  test('prints the hint of two names once', async (t) => {
    const server = await scripted(
      t,
      sessionWith(...etrnSteps('a.example', '459 no'), ...etrnSteps('b.example', '459 no')),
    )
    const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, 'a.example', 'b.example'])
    assert.equal(run.stderr.split('\n').length, 2)
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
    const output = createOutput((line) => lines.push(line), isColoured)
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
  const SERVER = { word: 'mx.example', port: 25 } as ServerAddress

  test('prints the same warning of two sessions once', () => {
    const { reporter, lines } = createReporter()
    for (const session of [1, 2]) reporter.trace(SERVER, { type: 'warning', text: 'beware' }, session)
    assert.deepEqual(lines, ['mx.example: beware'])
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
      [1, ['not asked: b.example']],
      [2, []],
    ] as const) {
      const { reporter, lines } = createReporter({ quiet })
      reporter.report(report)
      assert.deepEqual(lines, expected)
    }
  })
  test('prints no -k hint if a reply was no proper one', () => {
    const { reporter, lines } = createReporter()
    reporter.report(reportOf(resultOf('a.example', 'failed'), resultOf('b.example', 'skipped')))
    assert.deepEqual(lines, ['not asked: b.example'])
  })
  for (const [kind, lines] of [
    ['time-over', ['mx.example: ETRN: over']],
    ['interrupted', ['mx.example: ETRN: over']],
    [
      'timeout',
      ['mx.example: ETRN: over', '  it may pass by itself: --retry-for keeps trying, for as long as you say'],
    ],
  ] as const)
    test(`prints ${lines.length === 1 ? 'no hint' : 'a hint'} if the kind of the failure is ${kind}`, () => {
      const { reporter, lines: printed } = createReporter()
      const error = new SessionError('etrn', 'over', { exitStatus: 75, kind })
      reporter.report({ ...reportOf(), error })
      assert.deepEqual(printed, lines)
    })
  test('warns that the server cannot tell whether mail is left', () => {
    const { reporter, lines } = createReporter()
    reporter.report({ ...reportOf(resultOf('a.example', 'started', 250)), isQueueUnknown: true })
    assert.deepEqual(lines, ["mx.example: says 250 each time: it can't tell whether anything is left"])
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
  transcribes('says that the server of a TLS session is verified', tlsEvent(true), 'TLSv1.3 X, the server is verified')
  transcribes(
    'says that the server of a TLS session is not verified',
    tlsEvent(false),
    'TLSv1.3 X, the server is not verified',
  )
  transcribes('prints the text of a pause', { type: 'pause', text: 'later', pauseMs: 1 }, 'later')
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
