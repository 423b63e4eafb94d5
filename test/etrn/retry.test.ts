import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { mock, suite, test, type TestContext } from 'node:test'
import type { Pause } from '../../src/etrn/backoff.js'
import type { Result } from '../../src/etrn/result.js'
import type { ServerReport } from '../../src/etrn/server-report.js'
import type { Request, RetryPolicy } from '../../src/etrn/request.js'
import { requestInRounds } from '../../src/etrn/retry.js'
import { SessionSlots } from '../../src/etrn/session-slots.js'
import { run, type Run } from '../../src/etrn/run.js'
import { parseNodeName } from '../../src/input/node-name.js'
import { parseServer } from '../../src/input/server-address.js'
import { formatExtensions } from '../../src/smtp/extensions.js'
import { Redactor } from '../../src/smtp/redact.js'
import type { Server } from '../../src/smtp/session-settings.js'
import type { TraceEvent } from '../../src/smtp/trace.js'
import { type CommandOptions, etrn, etrnJson, leap, LEAPING, type Running } from '../helpers/command.js'
import { crowd, list } from '../helpers/concurrent-server.js'
import { etrnSteps, sessionWith } from '../helpers/exchange.js'
import { BYE, close, type Conversation, HELLO, scripted, silence } from '../helpers/scripted-server.js'

const HELO = ['--helo', 'gw.site.example']
/** A connection that the server closes before its greeting. */
const GONE: Conversation = [close]

/** A request for these names to a server on loopback. */
async function requestOf(
  port: number,
  words: readonly string[],
  settings: Partial<Pick<Request['settings'], 'keepGoing' | 'family'>>,
  retryPolicy: Partial<RetryPolicy>,
): Promise<Request> {
  const { keepGoing = false, family } = settings
  const tls = { level: 'may', fingerprint: undefined, name: undefined, ca: undefined } as const
  const server = {
    ...parseServer(`127.0.0.1:${port}`),
    tls: { ...tls, cert: undefined, key: undefined, minVersion: 'TLSv1.2' as const },
    credentials: undefined,
    redactor: new Redactor(),
  }
  const sessionSettings = { helo: 'gw.site.example', self: [], local: undefined, family, timeoutMs: 600_000 }
  return {
    server,
    isMx: false,
    entries: await Promise.all(words.map(async (word) => parseNodeName(word, { allowWide: false }))),
    settings: { ...sessionSettings, assumeEtrn: false, keepGoing },
    retryPolicy: { retryForMs: 3_600_000, waitMs: 0, intervalMs: 60_000, ...retryPolicy },
    selfOption: [],
    doubtfulNames: [],
  }
}

function mockTimers(t: TestContext): void {
  mock.timers.reset()
  mock.timers.enable({ apis: ['setTimeout'] })
  t.after(() => mock.timers.reset())
}

/** Requests these names in this process. Each pause passes at once; the time of --retry-for is real and hardly passes. */
async function runWithoutPauses(
  t: TestContext,
  port: number,
  words: readonly string[],
  settings: Partial<Request['retryPolicy']> & {
    readonly keepGoing?: boolean
    readonly jobs?: number
    readonly family?: 4 | 6
    readonly maxPauses?: number
  } = {},
): Promise<Run & { readonly reported: Result[]; readonly pauses: number[] }> {
  const { keepGoing = false, jobs = 1, family, maxPauses = Infinity, ...retryPolicy } = settings
  const request = await requestOf(port, words, { keepGoing, family }, retryPolicy)
  const reported: Result[] = []
  const pauses: number[] = []
  const ending = new AbortController()
  mockTimers(t)
  const done = await run([request], {
    jobs,
    waitLocalMs: 0,
    signal: ending.signal,
    trace: (_, event) => {
      if (event.type !== 'pause') return
      pauses.push(event.pauseMs)
      if (pauses.length > maxPauses) ending.abort()
      else setImmediate(() => mock.timers.tick(event.pauseMs))
    },
    onResult: (_, result) => reported.push(result),
    onReport: () => undefined,
    warn: () => undefined,
  })
  return { ...done, reported, pauses }
}

function countAccepted({ servers: [report] }: Run): number | undefined {
  return report?.names.filter(({ outcome }) => outcome === 'started').length
}

function resultsOf({ servers: [report] }: Run): unknown {
  return report?.names.map(({ name, outcome, code }) => [name, outcome, code])
}

type Rounds = {
  readonly report: ServerReport
  /** The names whose results are reported, in this order */
  readonly reported: readonly string[]
  /** Why each pause is made */
  readonly reasons: readonly string[]
}

/** Requests these names from one server, in the order of its rounds. Each pause passes at once. */
async function requestWithoutPauses(
  t: TestContext,
  port: number,
  words: readonly string[],
  retryPolicy: Partial<RetryPolicy>,
  { family, elapsedMs = 0 }: { readonly family?: 4 | 6; readonly elapsedMs?: number } = {},
): Promise<Rounds> {
  const request = await requestOf(port, words, { family }, retryPolicy)
  const reported: string[] = []
  const reasons: string[] = []
  mockTimers(t)
  const report = await requestInRounds(request, {
    signal: new AbortController().signal,
    // One session at a time
    limiter: new SessionSlots(1).limiterFor(request.server),
    startedAt: performance.now() - elapsedMs,
    trace: (_: Server, event: TraceEvent | Pause) => {
      if (event.type !== 'pause') return
      reasons.push(event.reason)
      setImmediate(() => mock.timers.tick(event.pauseMs))
    },
    onResult: (_, { name }) => reported.push(name),
  })
  return { report, reported, reasons }
}

const ONCE = { retryForMs: 0, waitMs: 0 }
const RETRY = { retryForMs: 3_600_000, waitMs: 0 }
const WAIT = { retryForMs: 0, waitMs: 3_600_000 }

suite('requestInRounds: final results', { concurrency: false }, () => {
  for (const [title, policy, reply, isFinal] of [
    ['deferred without a policy', ONCE, '450 busy', true],
    ['deferred with --retry-for', RETRY, '450 busy', false],
    ['deferred with --wait', WAIT, '450 busy', false],
    ['refused with --retry-for', RETRY, '459 no', true],
    ['started with --retry-for', RETRY, '250 OK', true],
    ['started with --wait', WAIT, '250 OK', false],
    ['pending with --wait', WAIT, '252 pending', false],
    ['empty with --wait', WAIT, '251 none', true],
    ['refused with --wait', WAIT, '459 no', true],
  ] as const)
    test(`${isFinal ? 'include' : 'do not include'} ${title}`, async (t) => {
      const first = sessionWith(...etrnSteps('a.example', reply), ...etrnSteps('b.example', '251 none'))
      const more = isFinal ? [] : [sessionWith(...etrnSteps('a.example', '251 none'))]
      const server = await scripted(t, first, ...more)
      const { report, reported } = await requestWithoutPauses(t, server.port, ['a.example', 'b.example'], policy)
      await server.verify()
      assert.equal(report.attempts, isFinal ? 1 : 2)
      // A result is reported as soon as it is final.
      assert.deepEqual(reported, isFinal ? ['a.example', 'b.example'] : ['b.example', 'a.example'])
    })
  test('include a second 250 with --wait, but not one after a count', async (t) => {
    const server = await scripted(
      t,
      sessionWith(...etrnSteps('a.example', '250 OK'), ...etrnSteps('b.example', '253 1 pending message')),
      sessionWith(...etrnSteps(['a.example', 'b.example'], '250 OK')),
      sessionWith(...etrnSteps('b.example', '250 OK')),
      sessionWith(...etrnSteps('b.example', '251 none')),
    )
    const { reported } = await requestWithoutPauses(t, server.port, ['a.example', 'b.example'], WAIT)
    await server.verify()
    assert.deepEqual(reported, ['a.example', 'b.example'])
  })
})

suite('requestInRounds: failed names', { concurrency: false }, () => {
  test('are the skipped ones too after a lost session, without those that were refused', async (t) => {
    // The 421 comes before the next ETRN.
    const lost = Buffer.from('459 no\r\n421 too busy\r\n')
    const server = await scripted(
      t,
      [...HELLO, 'C: ETRN a.example', lost, ...BYE],
      sessionWith(...etrnSteps('z.example', '250 OK')),
    )
    const { report } = await requestWithoutPauses(t, server.port, ['a.example', 'z.example'], RETRY)
    await server.verify()
    assert.deepEqual(
      report.names.map(({ code }) => code),
      [459, 250],
    )
  })
  test('are those without a session too after a 4xx and a 5xx with --keep-going', async (t) => {
    const server = await scripted(
      t,
      [
        ...HELLO,
        ...etrnSteps('a.example', '450 busy'),
        ...etrnSteps('b.example', '550 no'),
        'C: ETRN c.example',
        close,
      ],
      GONE,
      GONE,
      sessionWith(...etrnSteps(['a.example', 'c.example', 'z.example'], '250 OK')),
    )
    const names = ['a.example', 'b.example', 'c.example', 'z.example']
    const done = await runWithoutPauses(t, server.port, names, { keepGoing: true })
    await server.verify()
    assert.deepEqual([done.servers[0]?.attempts, done.pauses.length], [2, 1])
    assert.deepEqual(resultsOf(done), [
      ['a.example', 'started', 250],
      ['b.example', 'refused', 550],
      ['c.example', 'started', 250],
      ['z.example', 'started', 250],
    ])
  })
  for (const [title, waitMs] of [
    ['', 0],
    [', although that of --wait is not', 7_200_000],
  ] as const)
    test(`are none of a failed lookup when the time of --retry-for is over${title}`, async (t) => {
      const policy = { ...RETRY, waitMs }
      const options = { family: 6, elapsedMs: 3_600_000 } as const
      const { report, reasons } = await requestWithoutPauses(t, 25, ['a.example'], policy, options)
      assert.deepEqual([reasons, report.attempts, report.error?.stage], [[], 1, 'dns'])
    })
})

suite('requestInRounds: waiting names', { concurrency: false }, () => {
  test('are those that were accepted and may have mail', async (t) => {
    const server = await scripted(
      t,
      sessionWith(
        ...etrnSteps('a.example', '253 1 pending message'),
        ...etrnSteps('b.example', '251 none'),
        ...etrnSteps('c.example', '250 OK'),
        ...etrnSteps('d.example', '459 no'),
      ),
      sessionWith(...etrnSteps(['a.example', 'c.example'], '251 none')),
    )
    const names = ['a.example', 'b.example', 'c.example', 'd.example']
    const { reasons } = await requestWithoutPauses(t, server.port, names, WAIT)
    await server.verify()
    assert.deepEqual(reasons, ['2 names: at least 1 message waiting'])
  })
  for (const [title, conversation, reason] of [
    ['without a reply', GONE, 'a.example: 1 message waiting'],
    ['that defers the name', sessionWith(...etrnSteps('a.example', '450 busy')), 'a.example: mail may be waiting'],
  ] as const)
    test(`stay so after a round ${title}`, async (t) => {
      const server = await scripted(
        t,
        sessionWith(...etrnSteps('a.example', '253 1 pending message')),
        conversation,
        sessionWith(...etrnSteps('a.example', '251 none')),
      )
      const { reasons } = await requestWithoutPauses(t, server.port, ['a.example'], WAIT)
      await server.verify()
      assert.deepEqual(reasons, ['a.example: 1 message waiting', reason])
    })
  test('stay so after a round that skips the names', async (t) => {
    const names = ['a.example', 'b.example', 'z.example']
    const server = await scripted(
      t,
      sessionWith(...etrnSteps(names, '253 1 pending message')),
      sessionWith(...etrnSteps('a.example', '550 no')),
      sessionWith(...etrnSteps(['b.example', 'z.example'], '251 none')),
    )
    const { reasons } = await requestWithoutPauses(t, server.port, names, WAIT)
    await server.verify()
    assert.deepEqual(reasons, ['3 names: 3 messages waiting', '2 names: 2 messages waiting'])
  })
  test('do not begin with a round without a reply', async (t) => {
    const server = await scripted(t, GONE, sessionWith(...etrnSteps('a.example', '251 none')))
    const { reasons } = await requestWithoutPauses(t, server.port, ['a.example'], WAIT)
    assert.deepEqual(reasons, ['the server closed the connection before the greeting'])
  })
  test('end with a 251 or a refusal', async (t) => {
    const names = ['a.example', 'b.example']
    const server = await scripted(
      t,
      sessionWith(...etrnSteps(names, '252 pending')),
      sessionWith(...etrnSteps('a.example', '251 none'), ...etrnSteps('b.example', '550 no')),
    )
    const { report } = await requestWithoutPauses(t, server.port, names, WAIT)
    await server.verify()
    assert.deepEqual([report.attempts, report.error], [2, null])
  })
})

suite('requestInRounds: results', { concurrency: false }, () => {
  /** A session that fails for good before it reaches ETRN */
  const failing: Conversation = ['S: 220 mx', 'C: EHLO gw.site.example', 'S: hello', ...BYE]
  const sessionOf = (reply: string): Conversation => sessionWith(...etrnSteps('z.example', reply))
  for (const [title, policy, names, conversations, expected] of [
    [
      'are replaced by a reply that follows',
      RETRY,
      ['z.example'],
      [sessionOf('450 busy'), sessionOf('459 no')],
      ['refused', 459],
    ],
    [
      'are replaced by a skip after a 4xx: it is not the last word on a name that was not requested again',
      RETRY,
      ['a.example', 'z.example'],
      [
        sessionWith(...etrnSteps(['a.example', 'z.example'], '450 busy')),
        sessionWith(...etrnSteps('a.example', '550 no')),
      ],
      ['skipped', null],
    ],
    ['are replaced by a failure after a 4xx', RETRY, ['z.example'], [sessionOf('450 busy'), failing], ['failed', null]],
    [
      'are not replaced by a failure after a 250',
      WAIT,
      ['z.example'],
      [sessionOf('250 OK'), failing],
      ['started', 250],
    ],
    ['are replaced by a failure after a failure', RETRY, ['z.example'], [GONE, failing], ['failed', null]],
  ] as const)
    test(title, async (t) => {
      const server = await scripted(t, ...conversations)
      const { report } = await requestWithoutPauses(t, server.port, names, policy)
      await server.verify()
      const { outcome, code } = report.names.at(-1) ?? {}
      assert.deepEqual([outcome, code], expected)
    })
})

suite('requestInRounds: facts about the server', { concurrency: false }, () => {
  const busy = sessionWith(...etrnSteps('a.example', '450 busy'))
  const refused: Conversation = ['S: 421 too many', ...BYE]
  /** A server whose EHLO reply never comes */
  const greeting: Conversation = ['S: 220 other', 'C: EHLO gw.site.example', close]
  const KNOWN = { address: '127.0.0.1', greeting: 'mx.example ESMTP', extensions: ['ETRN'] }
  for (const [title, policy, conversations, expected] of [
    ['stay if the last round gets no greeting', RETRY, [busy, GONE], KNOWN],
    ['stay with --wait, too', WAIT, [sessionWith(...etrnSteps('a.example', '252 pending')), GONE], KNOWN],
    ['stay over several rounds', RETRY, [busy, GONE, GONE], KNOWN],
    [
      'are those of an earlier round where the last one gets no further than a 421',
      RETRY,
      [busy, refused],
      { ...KNOWN, greeting: 'too many' },
    ],
    [
      'are those of an earlier round where the last one gets no reply to EHLO',
      RETRY,
      [busy, greeting],
      { ...KNOWN, greeting: 'other' },
    ],
    ['are those of the last round that gets a list of extensions', RETRY, [greeting, busy], KNOWN],
    [
      'are the address alone if no round gets a greeting',
      RETRY,
      [GONE, GONE],
      { address: '127.0.0.1', greeting: null, extensions: null },
    ],
  ] as const)
    test(title, async (t) => {
      const server = await scripted(t, ...conversations)
      const maxPauses = conversations.length - 1
      const options = { ...policy, maxPauses }
      const { servers } = await runWithoutPauses(t, server.port, ['a.example'], options)
      await server.verify()
      const [report] = servers
      const { address, greeting, extensions } = report ?? {}
      assert.deepEqual({ address, greeting, extensions: extensions && formatExtensions(extensions) }, expected)
    })
  test('stay if nothing listens in the last round, in --json', async (t) => {
    const { options, endPause } = createPauses()
    let stop = (): void => undefined
    const last = async (socket: Socket): Promise<void> => {
      stop()
      await endPause(socket)
    }
    const server = await scripted(t, [...busy, last])
    stop = server.stop
    const { document } = await etrnJson(
      [...HELO, '--retry-for', '9s', `127.0.0.1:${server.port}`, 'a.example'],
      options,
    )
    const [report] = document.servers
    const { address, greeting, extensions, error, names } = report ?? {}
    assert.deepEqual({ address, greeting, extensions }, KNOWN)
    assert.match(error?.message ?? '', /^connection refused \(127\.0\.0\.1 port \d+\); gave up after 2 attempts in 9s$/)
    assert.deepEqual(
      names?.map(({ outcome, code }) => [outcome, code]),
      [['deferred', null]],
    )
  })
})

test('requestInRounds: pauses grow, too, if failures with and without a greeting alternate', async (t) => {
  const busy: Conversation = ['S: 421 busy', ...BYE]
  const server = await scripted(t, GONE, busy, GONE, busy, GONE, busy, sessionWith(...etrnSteps('a.example', '250 OK')))
  const { pauses, exitStatus } = await runWithoutPauses(t, server.port, ['a.example'])
  assert.equal(exitStatus, 0)
  const leastMs = [1000, 10_000, 2000, 20_000, 4000, 40_000]
  assert.ok(
    pauses.length === leastMs.length && pauses.every((ms, index) => ms >= (leastMs[index] ?? 0)),
    pauses.join(' '),
  )
})

suite('requestInRounds: names that a later round skips', { concurrency: false }, () => {
  const names = ['a.example', 'z.example']
  test('are reported as skipped, with the exit status of the refusal', async (t) => {
    const server = await scripted(
      t,
      sessionWith(...etrnSteps(names, '450 busy')),
      sessionWith(...etrnSteps('a.example', '550 no')),
    )
    const done = await runWithoutPauses(t, server.port, names)
    assert.deepEqual(resultsOf(done), [
      ['a.example', 'refused', 550],
      ['z.example', 'skipped', null],
    ])
    assert.deepEqual([done.exitStatus, done.reported.map(({ name }) => name)], [77, ['a.example']])
  })
  for (const reply of ['500 5.5.0 ETRN out of memory', '554 Out of memory'])
    test(`are requested again if the reason is a failure that passes: ${reply}`, async (t) => {
      const server = await scripted(
        t,
        sessionWith(...etrnSteps('a.example', reply)),
        sessionWith(...etrnSteps(names, '250 OK')),
      )
      const done = await runWithoutPauses(t, server.port, names)
      assert.deepEqual(resultsOf(done), [
        ['a.example', 'started', 250],
        ['z.example', 'started', 250],
      ])
      assert.equal(done.exitStatus, 0)
    })
  test('keep an accepted result', async (t) => {
    const server = await scripted(
      t,
      sessionWith(...etrnSteps('a.example', '450 busy'), ...etrnSteps('z.example', '252 pending')),
      sessionWith(...etrnSteps('a.example', '550 no')),
      GONE,
    )
    const done = await runWithoutPauses(t, server.port, names, { ...WAIT, maxPauses: 2 })
    assert.deepEqual(resultsOf(done), [
      ['a.example', 'refused', 550],
      ['z.example', 'pending', 252],
    ])
  })
  test('keep the reply of the last round that requested them if a signal ends the pause after it', async (t) => {
    const server = await scripted(t, sessionWith(...etrnSteps(names, '450 busy')))
    const done = await runWithoutPauses(t, server.port, names, { maxPauses: 0 })
    assert.deepEqual(resultsOf(done), [
      ['a.example', 'deferred', 450],
      ['z.example', 'deferred', 450],
    ])
  })
})

suite('requestInRounds: unknown queue', { concurrency: false }, () => {
  for (const [title, policy, rounds, isQueueUnknown] of [
    ['is true with --wait after two 250s', WAIT, 2, true],
    ['is false with --wait after one 250', { retryForMs: 0, waitMs: Number.MIN_VALUE }, 1, false],
    ['is false without --wait', RETRY, 1, false],
  ] as const)
    test(title, async (t) => {
      const server = await scripted(t, ...Array<Conversation>(rounds).fill(sessionWith(...etrnSteps('a.example'))))
      const { report } = await requestWithoutPauses(t, server.port, ['a.example'], policy)
      assert.equal(report.isQueueUnknown, isQueueUnknown)
    })
})

suite('requestInRounds: order of the next round', { concurrency: false }, () => {
  for (const [count, isReordered] of [
    [6, false],
    [7, true],
  ] as const)
    test(`${isReordered ? 'begins' : 'does not begin'} with names without a reply if ${count} others have one`, async (t) => {
      const names = list(count + 1)
      const [last = '', others] = [names.at(-1), names.slice(0, -1)]
      const deferred = etrnSteps(others, '450 busy')
      // A session takes seven names.
      const first = isReordered ? sessionWith(...deferred) : [...HELLO, ...deferred, `C: ETRN ${last}` as const, close]
      const next = isReordered ? [last, ...others] : names
      const sessions = [next.slice(0, 7), next.slice(7)].filter((some) => some.length > 0)
      const server = await scripted(t, first, ...sessions.map((some) => sessionWith(...etrnSteps(some))))
      const { report, reported } = await requestWithoutPauses(t, server.port, names, RETRY)
      await server.verify()
      assert.deepEqual(reported, next)
      // The results stand in the order of the first round.
      assert.deepEqual(
        report.names.map(({ name }) => name),
        names,
      )
    })
})

suite('requestInRounds: names that hold up others', { concurrency: false }, () => {
  type Behaviour = 'good' | 'deferred' | 'dropped' | 'closed'
  /**
   * Starts a server that does the same with a name in each round, and another thing with the second one of a session. Returns its port,
   * and the names in the order in which they arrive.
   */
  const serve = async (t: TestContext, behaviours: Readonly<Record<string, Behaviour>>, second?: Behaviour) => {
    const requested: string[] = []
    const server = createServer((socket) => {
      let count = 0
      socket.write('220 mx.example\r\n')
      createInterface(socket).on('line', (line) => {
        const name = /^ETRN (.*)$/.exec(line)?.[1]
        const isSurplus = name !== undefined && second !== undefined && ++count > 1
        const behaviour = isSurplus ? second : behaviours[name ?? '']
        if (name !== undefined && !isSurplus) requested.push(name)
        if (line.startsWith('EHLO')) socket.write('250-mx.example\r\n250 ETRN\r\n')
        else if (line === 'QUIT' || !socket.writable) socket.end()
        else if (behaviour === 'dropped') socket.destroy()
        else if (behaviour === 'closed') socket.end('421 too many errors\r\n')
        else socket.write(behaviour === 'good' ? '250 OK\r\n' : '450 busy\r\n')
      })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => server.close())
    return { port: (server.address() as AddressInfo).port, requested }
  }
  const ALL: Readonly<Record<string, Readonly<Record<string, Behaviour>>>> = {
    'two at which the server drops the connection': { a: 'dropped', b: 'dropped', c: 'good', d: 'good' },
    'one that is deferred, and one at which the connection is lost': {
      a: 'deferred',
      b: 'dropped',
      c: 'good',
      d: 'good',
    },
    'each second one, which gets a 421': { a: 'good', b: 'closed', c: 'good', d: 'closed', e: 'good' },
    'fourteen that are deferred': { ...Object.fromEntries(list(14).map((name) => [name, 'deferred'])), z: 'good' },
  }
  for (const [title, behaviours] of Object.entries(ALL))
    test(`do so only for some rounds: ${title}`, async (t) => {
      const byName = Object.fromEntries(
        Object.entries(behaviours).map(([name, one]) => [name.padEnd(9, '.example'), one]),
      )
      const names = Object.keys(byName)
      const { port, requested } = await serve(t, byName)
      const good = names.filter((name) => byName[name] === 'good')
      await runWithoutPauses(t, port, names, { maxPauses: 8 })
      assert.deepEqual([...new Set(requested)].filter((name) => good.includes(name)).sort(), good)
    })
  for (const second of ['dropped', 'closed'] as const)
    test(`do so only for some rounds: one that is deferred, after which the session is ${second}`, async (t) => {
      const { port, requested } = await serve(t, { 'a.example': 'deferred', 'b.example': 'good' }, second)
      await runWithoutPauses(t, port, ['a.example', 'b.example'], { maxPauses: 8 })
      assert.ok(requested.includes('b.example'))
    })
  test('stay deferred if they were not answered, and another name is refused', async (t) => {
    const lost: Conversation = [...HELLO, 'C: ETRN a.example', close]
    const server = await scripted(t, lost, lost, sessionWith(...etrnSteps('b.example', '550 no')), lost)
    const done = await runWithoutPauses(t, server.port, ['a.example', 'b.example'], { maxPauses: 3 })
    assert.deepEqual(resultsOf(done), [
      ['a.example', 'deferred', null],
      ['b.example', 'refused', 550],
    ])
    assert.equal(done.exitStatus, 75)
    assert.match(done.servers[0]?.error?.message ?? '', /closed the connection/)
    assert.deepEqual(done.servers[0]?.unconfirmed, ['a.example'])
  })
  test('are named with the reason if another name that was deferred is refused', async (t) => {
    const lost: Conversation = [...HELLO, ...etrnSteps('a.example', '450 busy'), 'C: ETRN b.example', close]
    const server = await scripted(t, lost, sessionWith(...etrnSteps('a.example', '550 no')))
    const done = await runWithoutPauses(t, server.port, ['a.example', 'b.example'])
    const report = done.servers[0]
    assert.deepEqual([done.exitStatus, report?.error?.exitStatus, report?.unconfirmed], [75, 75, ['b.example']])
  })
  test('are requested again although a name that was never sent before is refused', async (t) => {
    const names = list(8)
    const [last = '', others] = [names.at(-1), names.slice(0, -1)]
    const server = await scripted(
      t,
      sessionWith(...etrnSteps(others, '450 busy')),
      sessionWith(...etrnSteps(last, '550 no')),
      sessionWith(...etrnSteps(others, '250 OK')),
    )
    const done = await runWithoutPauses(t, server.port, names)
    assert.deepEqual([countAccepted(done), done.exitStatus], [7, 77])
  })
})

suite('--retry-for', { concurrency: false }, () => {
  test('requests only the deferred names again, each time over a new connection', async (t) => {
    const server = await scripted(
      t,
      sessionWith(
        ...etrnSteps('a.example', '250 OK'),
        ...etrnSteps('b.example', '450 busy'),
        ...etrnSteps('c.example', '459 no'),
      ),
      sessionWith(...etrnSteps('b.example', '450 busy')),
      sessionWith(...etrnSteps('b.example', '253 2 pending messages')),
    )
    const done = await runWithoutPauses(t, server.port, ['a.example', 'b.example', 'c.example'])
    await server.verify()
    assert.deepEqual(resultsOf(done), [
      ['a.example', 'started', 250],
      ['b.example', 'pending', 253],
      ['c.example', 'refused', 459],
    ])
    assert.deepEqual(
      done.reported.map(({ name }) => name),
      ['a.example', 'c.example', 'b.example'],
    )
    assert.deepEqual([done.exitStatus, done.servers[0]?.attempts], [77, 3])
    assert.ok(done.pauses.every((ms) => ms >= 10_000))
  })
  test('requests the names again that were skipped behind a 421', async (t) => {
    const names = ['a.example', 'b.example']
    const server = await scripted(
      t,
      [...HELLO, 'C: ETRN a.example', 'S: 421 too busy', ...BYE],
      sessionWith(...etrnSteps('a.example', '250 OK'), ...etrnSteps('b.example', '250 OK')),
    )
    assert.equal((await runWithoutPauses(t, server.port, names)).exitStatus, 0)
  })
  test('does not request the names that were skipped behind a 5xx', async (t) => {
    const server = await scripted(
      t,
      sessionWith(...etrnSteps('a.example', '450 busy'), ...etrnSteps('b.example', '550 no')),
      sessionWith(...etrnSteps('a.example', '250 OK')),
    )
    const done = await runWithoutPauses(t, server.port, ['a.example', 'b.example', 'c.example'])
    assert.deepEqual(resultsOf(done), [
      ['a.example', 'started', 250],
      ['b.example', 'refused', 550],
      ['c.example', 'skipped', null],
    ])
  })
  test('pauses for 10 s or more after a reply, and for 1 s or more if no server replied', async (t) => {
    const server = await scripted(
      t,
      ['S: 421 later', ...BYE],
      GONE,
      GONE,
      sessionWith(...etrnSteps('a.example', '250 OK')),
    )
    const { pauses, servers } = await runWithoutPauses(t, server.port, ['a.example'])
    const [first = 0, second = 0, third = 0] = pauses
    assert.ok(first >= 10_000 && second <= 2000 && third >= 2000 && third <= 4000, pauses.join())
    assert.equal(servers[0]?.attempts, 4)
  })
  for (const [title, conversation, status] of [
    ['459', sessionWith(...etrnSteps('a.example', '459 no')), 77],
    ['an EHLO without ETRN', ['S: 220 mx', 'C: EHLO gw.site.example', 'S: 250 mx', ...BYE], 69],
    ['a reply that is not SMTP', ['S: 220 mx', 'C: EHLO gw.site.example', 'S: hello', ...BYE], 76],
  ] as const)
    test(`does not retry after ${title}`, async (t) => {
      const server = await scripted(t, conversation)
      const done = await runWithoutPauses(t, server.port, ['a.example'])
      assert.deepEqual([done.exitStatus, done.pauses, done.servers[0]?.attempts], [status, [], 1])
    })
  test('retries a failed lookup although the DNS is certain, until it is aborted', async (t) => {
    // A server at an IPv4 address has no IPv6 address.
    const done = await runWithoutPauses(t, 25, ['a.example'], { family: 6, maxPauses: 2 })
    assert.equal(done.pauses.length, 3)
    assert.ok(done.pauses.every((ms) => ms >= 1000 && ms <= 8000))
    assert.deepEqual([done.servers[0]?.error?.stage, done.servers[0]?.attempts], ['dns', 3])
  })
  test('does not retry a failed lookup without --retry-for', async (t) => {
    const done = await runWithoutPauses(t, 25, ['a.example'], { family: 6, retryForMs: 0 })
    assert.deepEqual([done.pauses, done.servers[0]?.error?.stage, done.exitStatus], [[], 'dns', 68])
    assert.deepEqual(resultsOf(done), [['a.example', 'failed', null]])
  })
  test('replaces a deferred result if a later round fails without a reply', async (t) => {
    const server = await scripted(t, sessionWith(...etrnSteps('a.example', '458 busy')), ['S: 554 go away', ...BYE])
    const done = await runWithoutPauses(t, server.port, ['a.example'])
    assert.deepEqual(resultsOf(done), [['a.example', 'unsupported', null]])
  })
  test('pauses for the time of --retry-for, not for the interval of --wait, if no mail is waiting', async (t) => {
    const replies = ['450 busy', '251 none']
    const server = await scripted(t, ...replies.map((reply) => sessionWith(...etrnSteps('a.example', reply))))
    const done = await runWithoutPauses(t, server.port, ['a.example'], { waitMs: 3_600_000, intervalMs: 60_000 })
    const [pause = 0] = done.pauses
    assert.deepEqual([done.exitStatus, done.pauses.length], [0, 1])
    assert.ok(pause >= 10_000 && pause <= 20_000, `${pause} ms`)
  })
})

suite('--retry-for: more names than one session takes', { concurrency: false }, () => {
  const names = Array.from({ length: 9 }, (_, n) => `n${n + 1}.example`)
  const sessionOf = (reply: string, ...some: string[]): Conversation => sessionWith(...etrnSteps(some, reply))
  test('requests every deferred name again if the server accepted one name', async (t) => {
    const [first = '', ...rest] = names
    const server = await scripted(
      t,
      sessionWith(...etrnSteps(first, '250 OK'), ...etrnSteps(rest.slice(0, 6), '458 busy')),
      sessionOf('458 busy', ...rest.slice(6)),
      sessionOf('458 busy', ...rest.slice(0, 7)),
      sessionOf('250 OK', ...rest.slice(7)),
      sessionOf('250 OK', ...rest.slice(0, 7)),
    )
    const done = await runWithoutPauses(t, server.port, names, { retryForMs: 3_600_000 })
    await server.verify()
    assert.deepEqual([done.exitStatus, done.servers[0]?.attempts], [0, 3])
  })
  for (const [option, retryPolicy] of [
    ['--retry-for', {}],
    ['--wait', { retryForMs: 0, waitMs: 3_600_000 }],
  ] as const)
    test(`requests no other name with ${option} after seven refusals`, async (t) => {
      const server = await scripted(t, sessionOf('459 no', ...names.slice(0, 7)))
      const done = await runWithoutPauses(t, server.port, names, retryPolicy)
      assert.deepEqual([done.exitStatus, done.pauses, done.servers[0]?.error], [77, [], null])
    })
  test('opens one session at a time in later rounds if the server rejected additional sessions', async (t) => {
    const requests = new Map<string, number>()
    const rejectedSessions: number[] = []
    const { server, port } = await crowd(t, {
      greeting: (session) => {
        if (server.open === 1) return '220 mx.example'
        rejectedSessions.push(session)
        return '421 one at a time'
      },
      etrn: async (name) => {
        if (name === 'n2.example' && !requests.has(name)) await server.until(/^QUIT/, 3)
        const count = 1 + (requests.get(name) ?? 0)
        requests.set(name, count)
        return count < 4 ? '252 OK' : '251 nothing'
      },
    })
    const done = await runWithoutPauses(t, port, list(20), { waitMs: 3_600_000, jobs: 8 })
    assert.deepEqual([done.exitStatus, done.pauses.length], [0, 3])
    assert.deepEqual(rejectedSessions, [2, 3, 4])
  })
  for (const [title, end] of [
    ['closes the connection', (socket: Socket) => socket.end()],
    ['says 421', '421 bye'],
  ] as const)
    test(`requests a name last at which the server ${title} before any reply, in round after round`, async (t) => {
      const { server, port } = await crowd(t, { etrn: (name) => (name === 'n1.example' ? end : '250 OK') })
      const done = await runWithoutPauses(t, port, list(3), { maxPauses: 3 })
      assert.deepEqual(server.asked, [
        ['n1.example'],
        ['n1.example'],
        ['n2.example', 'n3.example', 'n1.example'],
        ['n1.example'],
        ['n1.example'],
      ])
      assert.deepEqual([done.exitStatus, countAccepted(done)], [75, 2])
    })
  test('requests the names first that no session reached if none was accepted', async (t) => {
    const server = await scripted(
      t,
      sessionOf('458 busy', ...names.slice(0, 7)),
      sessionOf('250 OK', ...names.slice(7), ...names.slice(0, 5)),
      sessionOf('250 OK', ...names.slice(5, 7)),
    )
    assert.equal((await runWithoutPauses(t, server.port, names)).exitStatus, 0)
  })
})

suite('--retry-for and --wait: a permanent failure', { concurrency: false }, () => {
  test('reports the error and does not retry after a reply that is not SMTP, even if another name is deferred', async (t) => {
    const server = await scripted(t, [
      ...HELLO,
      'C: ETRN a.example',
      'S: 458 busy',
      'C: ETRN b.example',
      'S: garbage',
      ...BYE,
    ])
    const done = await runWithoutPauses(t, server.port, ['a.example', 'b.example', 'c.example'], { keepGoing: true })
    assert.deepEqual(done.pauses, [])
    assert.match(done.servers[0]?.error?.message ?? '', /not an SMTP reply/)
    assert.deepEqual(resultsOf(done), [
      ['a.example', 'deferred', 458],
      ['b.example', 'failed', null],
      ['c.example', 'skipped', null],
    ])
  })
  test('keeps the results of earlier rounds and exits with 76 if a reply of --wait is not SMTP', async (t) => {
    const server = await scripted(
      t,
      sessionWith(
        ...etrnSteps('a.example', '253 1 pending message'),
        ...etrnSteps('b.example', '253 1 pending message'),
      ),
      [...HELLO, 'C: ETRN a.example', 'S: 253 1 pending message', 'C: ETRN b.example', 'S: garbage', ...BYE],
    )
    const done = await runWithoutPauses(t, server.port, ['a.example', 'b.example'], {
      retryForMs: 0,
      waitMs: 3_600_000,
    })
    assert.deepEqual([done.exitStatus, done.servers[0]?.error?.exitStatus], [76, 76])
    assert.deepEqual(resultsOf(done), [
      ['a.example', 'pending', 253],
      ['b.example', 'pending', 253],
    ])
  })
  test('does not retry a deferred name after a 354', async (t) => {
    const server = await scripted(
      t,
      sessionWith(...etrnSteps('a.example', '458 busy'), ...etrnSteps('b.example', '354 go on')),
    )
    const done = await runWithoutPauses(t, server.port, ['a.example', 'b.example', 'c.example'])
    assert.deepEqual([done.pauses, done.exitStatus], [[], 75])
  })
})

suite('--wait', { concurrency: false }, () => {
  const wait = { retryForMs: 0, waitMs: 3_600_000 }
  test('requests each name every interval until it gets a 251, through a 458 and a lost session', async (t) => {
    const server = await scripted(
      t,
      sessionWith(...etrnSteps('a.example', '253 14 pending messages'), ...etrnSteps('b.example', '251 none')),
      sessionWith(...etrnSteps('a.example', '458 queue locked')),
      GONE,
      sessionWith(...etrnSteps('a.example', '250 OK')),
      sessionWith(...etrnSteps('a.example', '251 none')),
    )
    const done = await runWithoutPauses(t, server.port, ['a.example', 'b.example'], wait)
    await server.verify()
    assert.deepEqual(resultsOf(done), [
      ['a.example', 'empty', 251],
      ['b.example', 'empty', 251],
    ])
    assert.deepEqual([done.exitStatus, done.servers[0]?.attempts, done.servers[0]?.error], [0, 5, null])
    assert.deepEqual(done.pauses, [60_000, 60_000, 60_000, 60_000])
    assert.deepEqual(
      done.reported.map(({ name }) => name),
      ['b.example', 'a.example'],
    )
  })
  test('waits for a 251 through repeated 250s if the server has counted messages once', async (t) => {
    const server = await scripted(
      t,
      ...['250 OK', '253 1 pending message', '250 OK', '250 OK', '251 none'].map((reply) =>
        sessionWith(...etrnSteps('a.example', reply)),
      ),
    )
    const done = await runWithoutPauses(t, server.port, ['a.example'], wait)
    assert.deepEqual([done.exitStatus, done.servers[0]?.attempts, done.servers[0]?.isQueueUnknown], [0, 5, false])
  })
  test('exits with 75 if mail is waiting for a name that the last round did not request', async (t) => {
    const server = await scripted(
      t,
      sessionWith(...etrnSteps('a.example', '253 5 pending messages'), ...etrnSteps('b.example', '450 busy')),
      sessionWith(...etrnSteps('b.example', '251 none')),
    )
    const done = await runWithoutPauses(t, server.port, ['a.example', 'b.example'], { waitMs: 1 })
    assert.equal(done.exitStatus, 75)
    assert.match(
      done.servers[0]?.error?.message ?? '',
      /^a\.example: 5 messages waiting; stopped waiting after 2 attempts in \d+s$/,
    )
  })
  for (const [replies, waiting] of [
    [['252 pending'], 'n1.example: mail may be waiting'],
    [['250 OK'], 'n1.example: mail may be waiting'],
    [['253 1 pending message'], 'n1.example: 1 message waiting'],
    [['253 1 pending message', '253 2 pending messages'], '2 names: 3 messages waiting'],
    [['253 3 pending messages', '252 pending'], '2 names: at least 3 messages waiting'],
    [['252 pending', '253 1 pending message'], '2 names: at least 1 message waiting'],
  ] as const)
    test(`reports "${waiting}" after ${replies.join(' and ')} when the time is over`, async (t) => {
      const names = list(replies.length)
      const steps = names.flatMap((name, index) => etrnSteps(name, replies[index]))
      const server = await scripted(t, sessionWith(...steps))
      const done = await runWithoutPauses(t, server.port, names, { retryForMs: 0, waitMs: Number.MIN_VALUE })
      const message = `${waiting}; stopped waiting after 1 attempt in 0s`
      assert.deepEqual([done.servers[0]?.error?.message, done.exitStatus], [message, 75])
    })
  test('requests waiting names again that a round skipped behind a 5xx', async (t) => {
    const names = ['a.example', 'b.example', 'c.example']
    const server = await scripted(
      t,
      sessionWith(...names.flatMap((name) => etrnSteps(name, '253 1 pending message'))),
      sessionWith(...etrnSteps('a.example', '550 no')),
      sessionWith(...etrnSteps('b.example', '251 none'), ...etrnSteps('c.example', '251 none')),
    )
    const done = await runWithoutPauses(t, server.port, names, wait)
    await server.verify()
    assert.deepEqual(resultsOf(done), [
      ['a.example', 'refused', 550],
      ['b.example', 'empty', 251],
      ['c.example', 'empty', 251],
    ])
  })
  test('ends at once after a 354, without the error that the time of --wait is over', async (t) => {
    const server = await scripted(
      t,
      sessionWith(...etrnSteps('a.example', '253 1 pending message'), ...etrnSteps('b.example', '354 go on')),
    )
    const done = await runWithoutPauses(t, server.port, ['a.example', 'b.example'], wait)
    assert.deepEqual([done.exitStatus, done.servers[0]?.error], [76, null])
  })
  test('requests the last time when the time is over if the interval is longer', async (t) => {
    const replies = ['253 1 pending message', '251 none']
    const server = await scripted(t, ...replies.map((reply) => sessionWith(...etrnSteps('a.example', reply))))
    const done = await runWithoutPauses(t, server.port, ['a.example'], { retryForMs: 0, waitMs: 30_000 })
    const [pause = Infinity] = done.pauses
    assert.ok(pause <= 30_000)
  })
  test("exits with 2 after two 250s: the server can't tell whether mail is waiting", async (t) => {
    const server = await scripted(
      t,
      sessionWith(...etrnSteps('a.example', '250 OK')),
      sessionWith(...etrnSteps('a.example', '250 OK')),
    )
    const done = await runWithoutPauses(t, server.port, ['a.example'], wait)
    assert.deepEqual([done.exitStatus, done.servers[0]?.error, done.servers[0]?.isQueueUnknown], [2, null, true])
    assert.deepEqual(resultsOf(done), [['a.example', 'started', 250]])
  })
  test('exits with the status of a refused name rather than with 2', async (t) => {
    const server = await scripted(
      t,
      sessionWith(...etrnSteps('a.example', '250 OK'), ...etrnSteps('b.example', '459 no')),
      sessionWith(...etrnSteps('a.example', '250 OK')),
    )
    assert.equal((await runWithoutPauses(t, server.port, ['a.example', 'b.example'], wait)).exitStatus, 77)
  })
  test('keeps an accepted result if a later round fails permanently, and exits with the status of that failure', async (t) => {
    const server = await scripted(t, sessionWith(...etrnSteps('a.example', '253 1 pending message')), [
      'S: 554 go away',
      ...BYE,
    ])
    const done = await runWithoutPauses(t, server.port, ['a.example'], wait)
    assert.deepEqual(resultsOf(done), [['a.example', 'pending', 253]])
    assert.equal(done.exitStatus, 69)
  })
})

/** Returns options for a command whose pauses wait for the test, and the server's step that ends such a pause. */
function createPauses(): { readonly options: CommandOptions; readonly endPause: (socket: Socket) => Promise<void> } {
  let running: Running | undefined
  const endPause = async (socket: Socket): Promise<void> => {
    await silence(socket)
    if (running !== undefined) leap(running)
  }
  return { options: { env: LEAPING, during: (child) => (running = child) }, endPause }
}

suite('the command with --retry-for and --wait', { concurrency: true }, () => {
  test('retries after a second or two if the server closes the connection', async (t) => {
    const server = await scripted(t, GONE, sessionWith(...etrnSteps('a.example', '250 OK')))
    const run = await etrn([...HELO, '-v', '--retry-for', '20s', `127.0.0.1:${server.port}`, 'a.example'])
    assert.equal(run.status, 0)
    assert.match(
      run.stderr,
      /Z the server closed the connection before the greeting; retry at \d\d:\d\d:\d\d; retries end at \d\d:\d\d:\d\d$/m,
    )
  })
  test('makes a last attempt just before the time ends if the first pause would be longer', async (t) => {
    const { options, endPause } = createPauses()
    const server = await scripted(t, ['S: 421 later', ...BYE, endPause], ['S: 421 later', ...BYE])
    const run = await etrnJson([...HELO, '--retry-for', '9s', `127.0.0.1:${server.port}`, 'a.example'], options)
    const [report] = run.document.servers
    assert.deepEqual([run.status, report?.attempts, report?.elapsedMs], [75, 2, 8900])
    assert.deepEqual(report?.error, {
      stage: 'greeting',
      message: 'the server is temporarily unavailable (421 later); gave up after 2 attempts in 9s',
      code: 421,
      exitStatus: 75,
      hint: null,
    })
  })
  test('prints how often it tried, and no option that was used, if every reply is a 4xx', async (t) => {
    const { options, endPause } = createPauses()
    const busy = sessionWith(...etrnSteps('a.example', '450 busy'))
    const server = await scripted(t, [...busy, endPause], busy)
    const run = await etrn([...HELO, '--retry-for', '9s', `127.0.0.1:${server.port}`, 'a.example'], options)
    assert.deepEqual(run, {
      status: 75,
      signal: null,
      stdout: 'a.example: deferred (450 busy)\n',
      stderr: `etrn: 127.0.0.1:${server.port}: gave up after 2 attempts in 9s\nhint: a.example: the failure is temporary: try again later\n`,
    })
  })
  test('prints the failure once, at the end', async (t) => {
    const { options, endPause } = createPauses()
    const server = await scripted(t, [close, endPause], [close, endPause], GONE)
    const run = await etrn([...HELO, '--retry-for', '3s', `127.0.0.1:${server.port}`, 'a.example'], options)
    assert.equal(run.status, 75)
    assert.match(
      run.stderr,
      /^etrn: 127\.0\.0\.1:\d+: the server closed the connection before the greeting; gave up after 3 attempts in 3s; [^\n]*\nhint: if the server keeps closing the connection, [^\n]*\n$/,
    )
  })
  test('prints only the last result of a wait', async (t) => {
    const server = await scripted(
      t,
      sessionWith(...etrnSteps('a.example', '253 3 pending messages')),
      sessionWith(...etrnSteps('a.example', '253 1 pending message')),
      sessionWith(...etrnSteps('a.example', '251 none')),
    )
    const args = [...HELO, '--wait', '20s', '--interval', '1s', '-v', `127.0.0.1:${server.port}`, 'a.example']
    const run = await etrn(args)
    assert.deepEqual([run.status, run.stdout], [0, 'a.example: no mail waiting (251 none)\n'])
    assert.match(
      run.stderr,
      /Z a\.example: 3 messages waiting; retry at .*\n[^]*Z a\.example: 1 message waiting; retry at /,
    )
  })
  test('exits with 75 and reports the waiting messages when the time of --wait is over', async (t) => {
    const { options, endPause } = createPauses()
    const answer = sessionWith(...etrnSteps('a.example', '253 3 pending messages'))
    const server = await scripted(t, [...answer, endPause], answer)
    const run = await etrnJson([...HELO, '--wait', '1m', `127.0.0.1:${server.port}`, 'a.example'], options)
    const [report] = run.document.servers
    assert.deepEqual([run.status, report?.attempts, report?.names[0]?.pending], [75, 2, 3])
    assert.equal(report?.elapsedMs, 59_900)
    assert.deepEqual(report.error, {
      stage: 'etrn',
      message: 'a.example: 3 messages waiting; stopped waiting after 2 attempts in 60s',
      code: null,
      exitStatus: 75,
      hint: `the delivery may still be under way: a longer --wait waits longer; if the number of messages stays the same, run etrn --check 127.0.0.1:${server.port} a.example to see whether your own mail server accepts mail`,
    })
  })
  test('prints how often it tried within --wait if the name was deferred in every round', async (t) => {
    const { options, endPause } = createPauses()
    const answer = sessionWith(...etrnSteps('a.example', '458 busy'))
    const server = await scripted(t, [...answer, endPause], answer)
    const args = ['--wait', '1m', '--interval', '2m', `127.0.0.1:${server.port}`, 'a.example']
    const run = await etrn([...HELO, ...args], options)
    assert.equal(run.status, 75)
    assert.match(run.stderr, /^etrn: 127\.0\.0\.1:\d+: gave up after 2 attempts in 60s$/m)
  })
  test("exits with 2 and prints that the server can't tell whether mail is waiting", async (t) => {
    const { options, endPause } = createPauses()
    const answer = sessionWith(...etrnSteps('a.example', '250 OK'))
    const server = await scripted(t, [...answer, endPause], answer)
    const run = await etrn(
      [...HELO, '--wait', '9s', '--interval', '1s', `127.0.0.1:${server.port}`, 'a.example'],
      options,
    )
    assert.deepEqual(run, {
      status: 2,
      signal: null,
      stdout: 'a.example: accepted (250 OK)\n',
      stderr: `etrn: warning: 127.0.0.1:${server.port}: the request was accepted and need not be repeated; the server does not report whether mail is waiting, so omit --wait next time
`,
    })
  })
  test('ends a pause at a signal', async (t) => {
    const server = await scripted(t, ['S: 421 later', ...BYE])
    const run = await etrn([...HELO, '--retry-for', '5m', '-v', `127.0.0.1:${server.port}`, 'a.example'], {
      once: { said: 'retry at', act: (child) => void child.kill('SIGTERM') },
    })
    assert.equal(run.signal, 'SIGTERM')
    assert.match(run.stderr, /^etrn: 127\.0\.0\.1:\d+: the server is temporarily unavailable \(421 later\); [^\n]*$/m)
  })
  test('reports the signal as the error if it ends a pause after a deferred name', async (t) => {
    const server = await scripted(t, sessionWith(...etrnSteps('a.example', '450 busy')))
    const args = [...HELO, '--retry-for', '5m', '-v', `127.0.0.1:${server.port}`, 'a.example']
    const { signal, document } = await etrnJson(args, {
      once: { said: 'retry at', act: (child) => void child.kill('SIGTERM') },
    })
    const [report] = document.servers
    assert.deepEqual([signal, report?.error?.stage, report?.error?.exitStatus], ['SIGTERM', 'etrn', 143])
    assert.deepEqual(report?.names[0]?.code, 450)
  })
  test('exits with 75 when --max-time ends a wait', async (t) => {
    const { options, endPause } = createPauses()
    const server = await scripted(t, [...sessionWith(...etrnSteps('a.example', '253 3 pending messages')), endPause])
    const run = await etrn(
      [...HELO, '--wait', '5m', '--max-time', '1s', `127.0.0.1:${server.port}`, 'a.example'],
      options,
    )
    assert.equal(run.status, 75)
    assert.equal(run.stdout, 'a.example: accepted, 3 messages waiting (253 3 pending messages)\n')
    assert.match(
      run.stderr,
      /^etrn: 127\.0\.0\.1:\d+: --max-time limit reached; a\.example: 3 messages waiting; gave up after 1 attempt in 1s\n$/,
    )
  })
  test('prints that --max-time ended a pause, below the failure before it', async (t) => {
    const { options, endPause } = createPauses()
    const server = await scripted(t, ['S: 421 later', ...BYE, endPause])
    const args = ['--retry-for', '5m', '--max-time', '2s', `127.0.0.1:${server.port}`, 'a.example']
    const run = await etrn([...HELO, ...args], options)
    assert.equal(run.status, 75)
    assert.match(
      run.stderr,
      /^etrn: 127\.0\.0\.1:\d+: the server is temporarily unavailable \(421 later\); --max-time limit reached; gave up after 1 attempt in 2s; [^\n]*\nhint: the failure is temporary: try again later\n$/,
    )
  })
  test('requests from other servers during a pause, with --jobs 1', async (t) => {
    const { options, endPause } = createPauses()
    const busy = await scripted(t, ['S: 421 later', ...BYE])
    const good = await scripted(t, [...sessionWith(...etrnSteps('a.example', '250 OK')), endPause])
    const servers = `127.0.0.1:${busy.port},127.0.0.1:${good.port}`
    const run = await etrn(
      [...HELO, '--jobs', '1', '--retry-for', '5m', '--max-time', '2s', servers, 'a.example'],
      options,
    )
    assert.match(run.stdout, new RegExp(`^127\\.0\\.0\\.1:${good.port}: a\\.example: accepted`))
    assert.equal(run.status, 75)
  })
})
