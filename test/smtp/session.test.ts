import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Outcome } from '../../src/etrn/outcome.js'
import { ask } from '../../src/index.js'
import { openSession } from '../../src/smtp/session.js'
import type { TraceEvent } from '../../src/smtp/trace.js'
import { etrn, etrnJson, leap, LEAPING } from '../helpers/command.js'
import { list } from '../helpers/concurrent-server.js'
import { etrnSteps, sessionWith, testExchange } from '../helpers/exchange.js'
import { fixture } from '../helpers/files.js'
import { AUTH_PLAIN, ehloSteps, PASSWORD_ENVIRONMENT } from '../helpers/login.js'
import {
  BYE,
  close,
  type Conversation,
  HELLO,
  reset,
  scripted,
  silence,
  type Step,
} from '../helpers/scripted-server.js'
import { OPTIONS, serverAt } from './plain-session.js'

const names = list(3)

suite('session: greeting', { concurrency: true }, () => {
  const testGreeting = (reply: string, status: number, outcome: Outcome): void =>
    testExchange({
      title: `reports ${status} if the greeting is "${reply}"`,
      conversations: [[`S: ${reply}`, ...BYE]],
      outcomes: [outcome],
      status,
      error: { stage: 'greeting', code: Number(reply.slice(0, 3)), exitStatus: status },
    })
  testGreeting('554 no', 69, 'unsupported')
  testGreeting('421 later', 75, 'deferred')
  testGreeting('450 later', 75, 'deferred')
  testGreeting('250 hello', 76, 'failed')
  testGreeting('354 hello', 76, 'failed')
  testExchange({
    title: 'reports 75 if the connection closes before the greeting',
    conversations: [[close]],
    outcomes: ['deferred'],
    status: 75,
    error: { stage: 'greeting' },
  })
  testExchange({
    title: 'reports 75 if no greeting comes before the timeout',
    conversations: [[silence]],
    timeoutAfter: 'connected to',
    outcomes: ['deferred'],
    status: 75,
    error: { stage: 'greeting' },
  })
  testExchange({
    title: 'reads a greeting of several lines',
    conversations: [['S: 220-mx', ...sessionWith('C: ETRN site.example', 'S: 250 OK')]],
    outcomes: ['started'],
    status: 0,
  })
})

suite('session: EHLO', { concurrency: true }, () => {
  const testEhlo = (reply: string, status: number, outcome: Outcome): void =>
    testExchange({
      title: `reports ${status} if the reply to EHLO is "${reply}"`,
      conversations: [['S: 220 mx', 'C: EHLO gw.site.example', `S: ${reply}`, ...BYE]],
      outcomes: [outcome],
      status,
      error: { stage: 'ehlo', code: Number(reply.slice(0, 3)), exitStatus: status },
    })
  testEhlo('502 not known', 69, 'unsupported')
  testEhlo('550 go away', 69, 'unsupported')
  testEhlo('421 later', 75, 'deferred')
  testEhlo('220 mx', 76, 'failed')
  testExchange({
    title: 'reports 75 if the connection is reset at EHLO',
    conversations: [['S: 220 mx', 'C: EHLO gw.site.example', reset]],
    outcomes: ['deferred'],
    status: 75,
    error: { stage: 'ehlo' },
  })
  testExchange({
    title: 'reports 76 and sends no EHLO if a second reply comes with the greeting',
    conversations: [[Buffer.from('220 mx\r\n250-mx\r\n250 ETRN\r\n'), ...BYE]],
    outcomes: ['failed'],
    status: 76,
    error: { stage: 'ehlo', code: null, exitStatus: 76 },
  })
})

suite('session: ETRN in the list of extensions', { concurrency: true }, () => {
  for (const lines of [
    ['250 mx'],
    ['250 ETRN'],
    ['250-etrn.example', '250 HELP'],
    ['250-mx', '250 ETRNX'],
    ['250-mx', '250 XETRN'],
    ['250-mx', '250-SIZE ETRN', '250 X-ETRN'],
  ]) {
    testExchange({
      title: `sends no ETRN if the reply to EHLO is ${JSON.stringify(lines)}`,
      conversations: [['S: 220 mx', 'C: EHLO gw.site.example', ...lines.map((line): Step => `S: ${line}`), ...BYE]],
      names: ['a.example', 'b.example'],
      outcomes: ['unsupported', 'unsupported'],
      codes: [null, null],
      status: 69,
      error: { stage: 'etrn', code: null, exitStatus: 69 },
    })
  }
  testExchange({
    title: 'accepts the keyword in small letters and with a parameter',
    conversations: [
      [
        'S: 220 mx',
        'C: EHLO gw.site.example',
        'S: 250-mx',
        'S: 250 etrn now',
        'C: ETRN site.example',
        'S: 250 OK',
        ...BYE,
      ],
    ],
    outcomes: ['started'],
    status: 0,
  })
  testExchange({
    title: 'sends an unlisted ETRN with --assume-etrn',
    conversations: [['S: 220 mx', 'C: EHLO gw.site.example', 'S: 250 mx', 'C: ETRN site.example', 'S: 250 OK', ...BYE]],
    options: ['--assume-etrn'],
    outcomes: ['started'],
    status: 0,
  })
})

suite('connection: replies', { concurrency: true }, () => {
  testExchange({
    title: 'reads a reply whose lines end with LF alone',
    conversations: [sessionWith('C: ETRN site.example', 'S: 250-a\n250 b')],
    outcomes: ['started'],
    status: 0,
    error: null,
  })
})

suite('connection: octets before the next command', { concurrency: true }, () => {
  testExchange({
    title: 'reports 76 and sends nothing more if one ETRN gets two replies',
    conversations: [sessionWith('C: ETRN n1.example', Buffer.from('250 OK\r\n459 no\r\n'))],
    names,
    outcomes: ['started', 'failed', 'skipped'],
    status: 76,
    error: { stage: 'etrn', code: null },
  })
  for (const [title, piece] of [
    ['half a reply', '554-half'],
    ['a few octets', 'junk'],
    ['a code cut short', '25'],
  ] as const) {
    for (const end of [close, silence]) {
      testExchange({
        title: `reports 76 if the server sends ${title} before the next command, then ${end === close ? 'closes' : 'nothing more'}`,
        conversations: [[...HELLO, 'C: ETRN n1.example', Buffer.from(`250 OK\r\n${piece}`), end]],
        names,
        ...(end === silence ? { timeoutAfter: 'S: 250 OK' } : {}),
        outcomes: ['started', 'failed', 'skipped'],
        status: 76,
        error: { stage: 'etrn', code: null },
      })
    }
  }
  testExchange({
    title: 'accepts a 421 between two commands and requests the other names in a new session',
    conversations: [
      [...HELLO, 'C: ETRN n1.example', Buffer.from('250 OK\r\n421 4.4.2 bye\r\n'), ...BYE],
      sessionWith(...etrnSteps(['n2.example', 'n3.example'])),
    ],
    names,
    outcomes: ['started', 'started', 'started'],
    status: 0,
  })
})

suite('connection: QUIT', { concurrency: true }, () => {
  testExchange({
    title: 'keeps the result if a second reply comes before QUIT',
    conversations: [sessionWith('C: ETRN n1.example', Buffer.from('250 OK\r\n554 surprise\r\n'))],
    names: ['n1.example'],
    outcomes: ['started'],
    status: 0,
  })
  for (const [title, ...steps] of [
    ['is refused', 'S: 500 what?'],
    ['gets no reply', silence],
    ['is answered by a reset', reset],
  ] as const) {
    testExchange({
      title: `keeps the result if QUIT ${title}`,
      conversations: [[...HELLO, ...etrnSteps('n1.example'), 'C: QUIT', ...steps]],
      names: ['n1.example'],
      ...(steps[0] === silence ? { timeoutAfter: 'C: QUIT' } : {}),
      outcomes: ['started'],
      status: 0,
    })
  }
  for (const [title, status, ...steps] of [
    ['221 bye', 0, 'S: 221 bye'],
    ['421 bye', 0, 'S: 421 bye'],
    ['250 bye', 0, 'S: 250 bye', close],
    ['502 what?', 0, 'S: 502 what?', close],
    ['502 what?, then 421', 0, 'S: 502 what?', 'S: 421 bye', close],
    ['502 what?, then a reset', 0, 'S: 502 what?', reset],
    ['459 no', 76, 'S: 459 no'],
    ['253 OK, 3 pending messages', 76, 'S: 253 OK, 3 pending messages'],
    ['550 no', 76, 'S: 550 no'],
    ['250 OK, then 221', 76, Buffer.from('250 OK\r\n221 bye\r\n'), close],
    ['502 no, then 221 in another segment', 76, 'S: 502 no', () => nextTurn(), 'S: 221 bye', close],
    ['250 OK, then 550', 76, 'S: 250 OK', 'S: 550 no'],
  ] as const)
    test(`ends with ${status} and keeps the result if QUIT is answered with ${title}`, async (t) => {
      const server = await scripted(t, [...HELLO, ...etrnSteps('n1.example'), 'C: QUIT', ...steps])
      const run = await etrnJson(['--helo', 'gw.site.example', `127.0.0.1:${server.port}`, 'n1.example'])
      const [report] = run.document.servers
      assert.deepEqual([run.status, report?.names[0]?.outcome], [status, 'started'])
      if (status === 0) assert.equal(report?.error, null)
      else
        assert.match(report?.error?.message ?? '', /one reply too many, so results may belong to other names \(QUIT: /)
    })
  for (const [title, octets, warning] of [
    [
      'a refusal',
      '550 refused',
      'the server sent one reply too many, so results may belong to other names (550 refused)',
    ],
    ['the same reply', '250 OK', 'the server sent one reply too many, so results may belong to other names (250 OK)'],
    [
      'a line that is no reply',
      'ERROR: not allowed',
      'the server sent one reply too many, so results may belong to other names (not an SMTP reply)',
    ],
    ['a 221', '221 bye', undefined],
    ['a 421', '421 bye', undefined],
  ] as const)
    test(`${warning === undefined ? 'does not warn' : 'warns, but not with -q,'} if ${title} comes before QUIT`, async (t) => {
      const end: Conversation = [...HELLO, 'C: ETRN n1.example', Buffer.from(`250 OK\r\n${octets}\r\n`), ...BYE]
      const server = await scripted(t, end, end, end)
      const args = ['--helo', 'gw.site.example', `127.0.0.1:${server.port}`, 'n1.example']
      const { status, stdout, stderr } = await etrn(args)
      const expected = warning === undefined ? '' : `etrn: warning: 127.0.0.1:${server.port}: ${warning}\n`
      assert.deepEqual([status, stdout, stderr], [0, 'n1.example: accepted (250 OK)\n', expected])
      const quiet = await etrn(['-q', ...args])
      assert.deepEqual([quiet.status, quiet.stdout, quiet.stderr], [0, '', ''])
      const events: unknown[] = []
      const trace = (event: TraceEvent): unknown => event.type === 'warning' && events.push([event.stage, event.text])
      const options = { helo: 'gw.site.example', trace }
      assert.equal((await ask(`127.0.0.1:${server.port}`, ['n1.example'], options)).error, null)
      assert.deepEqual(events, warning === undefined ? [] : [['etrn', warning]])
    })
  for (const [title, status, first, second, octets] of [
    ['the same replies', 0, '250 OK', '250 Ok', '250 OK'],
    ['replies that differ', 76, '251 no mail', '250 OK', '250 OK'],
    ['another code', 76, '250 OK', '250 OK', '459 no'],
    ['a line that is no reply', 76, '250 OK', '250 OK', 'ERROR: not allowed'],
    ['a 421', 75, '250 OK', '458 busy', '421 bye'],
  ] as const)
    test(`ends with ${status} if one reply too many comes before QUIT after two names: ${title}`, async (t) => {
      const last = ['C: ETRN n2.example', Buffer.from(`${second}\r\n${octets}\r\n`), ...BYE] as const
      const server = await scripted(t, [...HELLO, 'C: ETRN n1.example', `S: ${first}`, ...last])
      const args = ['--jobs', '1', '--helo', 'gw.site.example', `127.0.0.1:${server.port}`, 'n1.example', 'n2.example']
      const run = await etrnJson(args)
      const [report] = run.document.servers
      assert.deepEqual(
        [run.status, report?.names.map(({ code }) => code)],
        [status, [first, second].map((reply) => Number.parseInt(reply))],
      )
      assert.equal(/one reply too many/.test(report?.error?.message ?? ''), status === 76)
    })
  test('requests no further name in another session after a reply too many', async (t) => {
    const names = Array.from({ length: 8 }, (_, index) => `n${index}.example`)
    const steps = names.slice(0, 7).flatMap((name) => etrnSteps(name))
    const server = await scripted(t, [...HELLO, ...steps, 'C: QUIT', 'S: 459 no'])
    const args = ['--jobs', '1', '--helo', 'gw.site.example', `127.0.0.1:${server.port}`, ...names]
    const run = await etrnJson(args)
    assert.deepEqual([run.status, run.document.servers[0]?.names[7]?.outcome], [76, 'skipped'])
  })
  for (const [timeout, elapsedMs] of [
    ['60s', 5000],
    ['2s', 2000],
  ] as const)
    test(`waits ${elapsedMs / 1000} s for the reply to QUIT with --timeout ${timeout}`, async (t) => {
      const conversation: Conversation = [...HELLO, ...etrnSteps('n1.example'), 'C: QUIT', silence]
      const server = await scripted(t, conversation)
      const args = ['-v', '--timeout', timeout, '--helo', 'gw.site.example', `127.0.0.1:${server.port}`, 'n1.example']
      const { document, status } = await etrnJson(args, { env: LEAPING, once: { said: 'C: QUIT', act: leap } })
      assert.deepEqual([status, document.servers[0]?.elapsedMs], [0, elapsedMs])
    })
})

test('session: a rejected password is not sent again to the same address under another name', async (t) => {
  const hello = ['C: EHLO gw.site.example', 'S: 250-mx', 'S: 250-AUTH PLAIN', 'S: 250 ETRN'] as const
  const server = await scripted(
    t,
    ['S: 220 mx', ...hello, `C: ${AUTH_PLAIN}`, 'S: 535 no', ...BYE],
    ['S: 220 mx', ...hello, ...BYE],
  )
  const credentials = { user: 'site', password: PASSWORD_ENVIRONMENT.ETRN_PASSWORD, mechanism: undefined }
  for (const host of ['127.0.0.1', 'localhost']) {
    const opened = openSession({ ...serverAt(server.port), host, credentials, addresses: ['127.0.0.1'] }, OPTIONS)
    await assert.rejects(opened, /login with PLAIN rejected \(535 no\)/)
  }
  await server.verify()
})

suite('session: a second EHLO', { concurrency: true }, () => {
  const LOGIN = [...ehloSteps('AUTH PLAIN'), `C: ${AUTH_PLAIN}`, 'S: 235 welcome', 'C: EHLO gw.site.example'] as const
  /** Runs the command against a server that answers the EHLO after AUTH so. */
  const runAfterLogin = async (t: TestContext, options: readonly string[], ...steps: readonly Step[]) => {
    const server = await scripted(t, ['S: 220 mx.example', ...LOGIN, ...steps, ...BYE])
    const args = ['--user', 'site', '--helo', 'gw.site.example', ...options, `127.0.0.1:${server.port}`, 'site.example']
    return etrn(args, { env: PASSWORD_ENVIRONMENT })
  }
  for (const reply of ['503 5.5.1 EHLO already sent', '500 what?', '550 5.7.1 no', '554 no'] as const) {
    test(`leaves the first list in force if AUTH came before and its reply is ${reply}`, async (t) => {
      const run = await runAfterLogin(t, ['--assume-etrn'], `S: ${reply}`, ...etrnSteps('site.example', '250 OK'))
      assert.equal(run.status, 0)
    })
    test(`without ETRN in the first list means "not offered" if its reply is ${reply}`, async (t) => {
      const run = await runAfterLogin(t, [], `S: ${reply}`)
      assert.equal(run.status, 69)
      assert.match(run.stderr, /: ETRN not offered \(EHLO lists AUTH, HELP\)/)
      assert.doesNotMatch(run.stderr, /dynamic|address|login/)
    })
  }
  for (const [reply, problem] of [
    ['421 bye', 'the server closed the connection after EHLO'],
    ['451 later', 'EHLO temporarily rejected'],
  ] as const)
    test(`ends the session with 75 if AUTH came before and its reply is ${reply}`, async (t) => {
      const run = await runAfterLogin(t, ['--assume-etrn'], `S: ${reply}`)
      assert.equal(run.status, 75)
      assert.match(run.stderr, new RegExp(`: ${problem} \\(${reply}\\)`))
    })
  test('is not sent after AUTH if the first list has ETRN', async (t) => {
    const hello = [...ehloSteps('AUTH PLAIN', 'ETRN'), `C: ${AUTH_PLAIN}`, 'S: 235 welcome'] as const
    const server = await scripted(t, ['S: 220 mx', ...hello, ...etrnSteps('site.example', '250 OK'), ...BYE])
    const args = ['--user', 'site', '--helo', 'gw.site.example', `127.0.0.1:${server.port}`, 'site.example']
    assert.equal((await etrn(args, { env: PASSWORD_ENVIRONMENT })).status, 0)
  })
  test('ends the session with 69 if TLS came before and its reply is 503, because the first list does not hold', async (t) => {
    const tls = { cert: fixture('mx.pem'), key: fixture('mx.key') }
    const server = await scripted(t, [
      'S: 220 mx.example',
      ...ehloSteps('STARTTLS', 'ETRN'),
      'C: STARTTLS',
      'S: 220 go',
      { tls },
      'C: EHLO gw.site.example',
      'S: 503 5.5.1 EHLO already sent',
      ...BYE,
    ])
    const run = await etrn(['--helo', 'gw.site.example', `127.0.0.1:${server.port}`, 'site.example'])
    assert.equal(run.status, 69)
    assert.match(run.stderr, /: EHLO gw\.site\.example rejected \(503/)
    assert.doesNotMatch(run.stderr, /dynamic/)
  })
})
