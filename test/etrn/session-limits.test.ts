import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { suite, test, type TestContext } from 'node:test'
import { TLSSocket } from 'node:tls'
import fc from 'fast-check'
import {
  NAMES_PER_SESSION,
  type SessionProgress,
  SESSIONS_PER_SERVER,
  wouldFinishSooner,
} from '../../src/etrn/session-limits.js'
import type { Outcome } from '../../src/etrn/outcome.js'
import { type Document, etrnJson, leap, LEAPING } from '../helpers/command.js'
import { crowd, list, type Rules, type Said } from '../helpers/concurrent-server.js'
import { etrnSteps, sessionWith, testExchange } from '../helpers/exchange.js'
import { fixture } from '../helpers/files.js'
import { BYE, close, HELLO } from '../helpers/scripted-server.js'

suite('session limits', () => {
  test('are seven names for each session and four sessions for each server', () => {
    assert.deepEqual([NAMES_PER_SESSION, SESSIONS_PER_SERVER], [7, 4])
  })
})

suite('wouldFinishSooner', () => {
  /** Counts the round trips until the last reply, one after the other: each session that can sends a name. */
  const countTrips = (names: number, sessions: readonly SessionProgress[]): number => {
    let waiting = names
    for (let trips = 1; trips < 20; trips++) {
      for (const { delay, namesLeft } of sessions) if (trips > delay && trips <= delay + namesLeft) waiting--
      if (waiting <= 0) return trips
    }
    return Infinity
  }
  test('agrees with a simulation of all sessions, round trip by round trip', () => {
    const progress = fc.record({ delay: fc.nat(6), namesLeft: fc.nat(7) })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.array(progress, { maxLength: 3 }), (names, sessions) => {
        const another = { delay: 3, namesLeft: 7 }
        const capacity = [...sessions, another].reduce((sum, { namesLeft }) => sum + namesLeft, 0)
        const requested = Math.min(names, capacity)
        assert.equal(
          wouldFinishSooner(names, sessions, another),
          countTrips(requested, [...sessions, another]) < countTrips(requested, sessions),
        )
      }),
    )
  })
  for (const [names, isSooner] of [
    [4, false],
    [5, true],
  ] as const)
    test(`returns ${isSooner} for ${names} names if the other session needs three round trips to begin`, () => {
      const open = { delay: 0, namesLeft: 6 }
      assert.equal(wouldFinishSooner(names, [open], { delay: 3, namesLeft: 7 }), isSooner)
    })
  test('returns true if the sessions under way cannot request every name', () => {
    assert.equal(wouldFinishSooner(3, [{ delay: 0, namesLeft: 2 }], { delay: 6, namesLeft: 7 }), true)
  })
})

const LIMITS = { timeout: 30_000, concurrency: true } as const

const ORACLE = '550 5.7.1 ETRN session limit reached.'
const ORACLE_SINCE_7 = '458 4.7.1 ETRN session limit reached'
const EXIM = '554 Too many nonmail commands'

/** Sends a reply and closes the connection. */
const sendAndClose =
  (reply: string) =>
  (socket: Socket): void =>
    void socket.end(`${reply}\r\n`)

/** Returns rules of a server that takes this number of names in a session and gives this answer to the next one. */
function limitedTo(names: number, answer: Said): Rules {
  const requests = new Map<number, number>()
  return {
    etrn: (_, session) => {
      const count = (requests.get(session) ?? 0) + 1
      requests.set(session, count)
      return count > names ? answer : '250 OK'
    },
  }
}

const outcomesOf = ({ servers: [report] }: Document): string[] => report?.names.map(({ outcome }) => outcome) ?? []

suite('a server that limits the requests of a session', LIMITS, () => {
  for (const [title, answer] of [
    ['550 session limit', ORACLE],
    ['458 session limit', ORACLE_SINCE_7],
    ['550 session limit and a close', sendAndClose(ORACLE)],
    ['554 nonmail commands and a close', sendAndClose(EXIM)],
    ['554 and a close', sendAndClose('554 that is enough')],
    ['500 and a close', sendAndClose('500 bye')],
    ['554 and a 421', (socket: Socket) => void socket.end('554 enough\r\n421 bye\r\n')],
    ['421 session limit', '421 4.7.0 Too many commands in this session'],
    ['452 too many ETRN', '452 4.5.3 Too many ETRN commands'],
    ['503 limit per session', '503 5.5.0 Only 1 ETRN per session'],
  ] as const)
    for (const [limit, options] of [
      [1, []],
      [2, ['-k']],
      [6, ['--jobs', '1']],
    ] as const)
      test(`accepts 20 names although each session ends with ${title} after ${limit}, ${options.join(' ') || 'no option'}`, async (t) => {
        const { server, port } = await crowd(t, limitedTo(limit, answer))
        const { status, document } = await etrnJson([...options, `127.0.0.1:${port}`, ...list(20)])
        assert.deepEqual(outcomesOf(document), Array<string>(20).fill('started'))
        assert.deepEqual([status, document.servers[0]?.error], [0, null])
        // Sessions that were under way when the first one met the limit may meet it, too; later ones don't.
        const over = server.asked.filter((names) => names.length > limit)
        assert.ok(over.length <= 4 && over.every((names) => names.length <= limit + 2), JSON.stringify(server.asked))
        assert.ok(server.most <= 4)
      })

  test('requests one name in each of 40 sessions, up to 4 at once, if the limit is 1', async (t) => {
    const { server, port } = await crowd(t, limitedTo(1, ORACLE))
    const { status } = await etrnJson([`127.0.0.1:${port}`, ...list(40)])
    assert.equal(status, 0)
    assert.ok(server.asked.slice(4).every((names) => names.length <= 1))
    assert.equal(server.most, 4)
  })
  for (const [reply, outcome, options, status] of [
    ['250 OK', 'started', [], 0],
    ['459 no', 'refused', ['-k'], 77],
  ] as const)
    test(`gives every name its ${outcome} if an unencrypted reply ends each TLS session`, async (t) => {
      const { server, port } = await limitedTlsServer(t, 2, reply)
      const run = await etrnJson([...options, `127.0.0.1:${port}`, ...list(20)])
      assert.deepEqual([run.status, run.document.servers[0]?.error], [status, null])
      assert.deepEqual(outcomesOf(run.document), Array<string>(20).fill(outcome))
      assert.ok(server.sessions >= 10 && server.sessions <= 14, `${server.sessions} sessions`)
    })
  test('fails with 76 if an unencrypted reply is the first in its TLS session', async (t) => {
    const { server, port } = await limitedTlsServer(t, 0)
    const { status, document } = await etrnJson([`127.0.0.1:${port}`, ...list(3)])
    assert.deepEqual([status, outcomesOf(document)], [76, ['failed', 'skipped', 'skipped']])
    assert.equal(server.sessions, 1)
  })

  testExchange({
    title: 'requests the name first in a new session, and stays within the limit in later sessions',
    conversations: [
      sessionWith(...etrnSteps(['n1.example', 'n2.example']), ...etrnSteps('n3.example', ORACLE)),
      sessionWith(...etrnSteps(['n3.example', 'n4.example'])),
      sessionWith(...etrnSteps(['n5.example', 'n6.example'])),
      sessionWith(...etrnSteps('n7.example')),
    ],
    names: list(7),
    options: ['--jobs', '1'],
    outcomes: Array<Outcome>(7).fill('started'),
    status: 0,
    error: null,
  })
  testExchange({
    title: 'takes the reply that a new session repeats for the result of the name',
    conversations: [
      [...HELLO, ...etrnSteps('n1.example'), ...etrnSteps('n2.example', '554 no'), 'C: QUIT', close],
      [...HELLO, ...etrnSteps('n2.example', '554 no'), 'C: QUIT', close],
    ],
    names: list(3),
    options: ['--jobs', '1'],
    outcomes: ['started', 'refused', 'skipped'],
    codes: [250, 554, null],
    status: 77,
    error: null,
  })
  testExchange({
    title: 'reports the reply of the new session if the name is refused there',
    conversations: [
      sessionWith(...etrnSteps('n1.example'), ...etrnSteps('n2.example', ORACLE)),
      sessionWith(...etrnSteps('n2.example', '459 no')),
      sessionWith(...etrnSteps('n3.example')),
    ],
    names: list(3),
    options: ['--jobs', '1'],
    outcomes: ['started', 'refused', 'started'],
    codes: [250, 459, 250],
    status: 77,
    error: null,
  })
  for (const [reply, outcomes, status] of [
    [ORACLE, ['refused', 'skipped', 'skipped'], 77],
    [ORACLE_SINCE_7, ['deferred', 'skipped', 'skipped'], 75],
  ] as const)
    testExchange({
      title: `ends after the first name if its reply is ${reply}`,
      conversations: [sessionWith(...etrnSteps('n1.example', reply))],
      names: list(3),
      outcomes,
      status,
      error: null,
    })
  for (const [reply, outcome, status] of [
    [ORACLE, 'refused', 77],
    [ORACLE_SINCE_7, 'deferred', 75],
  ] as const)
    testExchange({
      title: `requests each name once with -k if every session begins with ${reply}`,
      conversations: list(3).map((name) => sessionWith(...etrnSteps(name, reply))),
      names: list(3),
      options: ['-k'],
      outcomes: [outcome, outcome, outcome],
      status,
      error: null,
    })
  testExchange({
    title: 'counts refused names for a limit, too',
    conversations: [
      sessionWith(...etrnSteps('n1.example', '459 no'), ...etrnSteps('n2.example'), ...etrnSteps('n3.example', EXIM)),
      sessionWith(...etrnSteps('n3.example', '459 no'), ...etrnSteps('n4.example')),
      sessionWith(...etrnSteps('n5.example')),
    ],
    names: list(5),
    options: ['--jobs', '1'],
    outcomes: ['refused', 'started', 'refused', 'started', 'started'],
    status: 77,
    error: null,
  })
  testExchange({
    title: 'requests the name in a new session after refusals alone, and then ends',
    conversations: [
      sessionWith(...etrnSteps(['n1.example', 'n2.example'], '459 no'), ...etrnSteps('n3.example', EXIM)),
      sessionWith(...etrnSteps(['n3.example', 'n4.example'], '459 no')),
    ],
    names: list(5),
    outcomes: ['refused', 'refused', 'refused', 'refused', 'skipped'],
    status: 77,
    error: null,
  })
  testExchange({
    title: 'reports a 5xx in the middle of a session as the result if the server replies to QUIT',
    conversations: [sessionWith(...etrnSteps('n1.example'), ...etrnSteps('n2.example', '554 no'))],
    names: list(3),
    options: ['--jobs', '1'],
    outcomes: ['started', 'refused', 'skipped'],
    status: 77,
    error: null,
  })
  testExchange({
    title: 'goes on in the same session with -k after a 5xx that is about the name',
    conversations: [
      sessionWith(...etrnSteps('n1.example'), ...etrnSteps('n2.example', '554 no'), ...etrnSteps('n3.example')),
    ],
    names: list(3),
    options: ['-k', '--jobs', '1'],
    outcomes: ['started', 'refused', 'started'],
    status: 77,
    error: null,
  })
  testExchange({
    title: 'does not take a close without a reply for a limit',
    conversations: [
      [...HELLO, ...etrnSteps('n1.example'), 'C: ETRN n2.example', close],
      sessionWith(...etrnSteps(['n2.example', 'n3.example'])),
    ],
    names: list(3),
    options: ['--jobs', '1'],
    outcomes: ['started', 'started', 'started'],
    status: 0,
    error: null,
  })
  testExchange({
    title: 'defers the name and the rest if no new session is possible after a limit',
    conversations: [
      sessionWith(...etrnSteps('n1.example'), ...etrnSteps('n2.example', ORACLE)),
      ['S: 421 too many', ...BYE],
      ['S: 421 too many', ...BYE],
    ],
    names: list(3),
    options: ['--jobs', '1'],
    outcomes: ['started', 'deferred', 'deferred'],
    codes: [250, null, null],
    status: 75,
    error: { stage: 'greeting', code: 421 },
  })
  for (const [title, ...failure] of [
    ['greets with 554', 'S: 554 5.7.1 banned', ...BYE],
    ['defers the greeting', 'S: 421 too many', ...BYE],
    ['closes at once', close],
  ] as const)
    testExchange({
      title: `defers a name with a 550 before a close if each later session ${title}, and keeps the reply`,
      conversations: [
        [
          ...HELLO,
          ...etrnSteps('n1.example'),
          ...etrnSteps('n2.example', '550 5.7.1 not a customer'),
          'C: QUIT',
          close,
        ],
        failure,
        failure,
      ],
      names: list(3),
      options: ['--jobs', '1'],
      outcomes: ['started', 'deferred', 'deferred'],
      codes: [250, 550, null],
      status: 75,
    })
  test('does not request names in other sessions while a 5xx may be about the session', async (t) => {
    const { server, port } = await crowd(t, {
      etrn: async (name, session) => {
        if (name === 'n1.example') return '250 OK'
        if (session === 1) await server.until(/^asked/, 5)
        if (name === 'n2.example') return '554 no'
        await server.until(/^QUIT 1/)
        return '250 OK'
      },
    })
    const { status, document } = await etrnJson([`127.0.0.1:${port}`, ...list(40)])
    assert.equal(status, 77)
    assert.equal(server.asked.flat().length, 5)
    assert.equal(outcomesOf(document).filter((outcome) => outcome === 'skipped').length, 35)
  })
  test('keeps to the learned limit in later rounds of --retry-for', { timeout: 60_000 }, async (t) => {
    const requested = new Set<string>()
    const requests = new Map<number, number>()
    const { server, port } = await crowd(t, {
      etrn: (name, session) => {
        const count = (requests.get(session) ?? 0) + 1
        requests.set(session, count)
        if (count > 2) return ORACLE_SINCE_7
        const isSecond = requested.has(name)
        requested.add(name)
        return isSecond || name === 'n1.example' ? '250 OK' : '450 later'
      },
    })
    const args = ['--retry-for', '1h', '-v', `127.0.0.1:${port}`, ...list(9)]
    const { status } = await etrnJson(args, { env: LEAPING, once: { said: '; retry at', act: leap } })
    assert.equal(status, 0)
    assert.ok(server.asked.filter((names) => names.length > 2).length <= 4, JSON.stringify(server.asked))
    assert.ok(server.asked.slice(-4).every((names) => names.length <= 2))
  })
})

/** Starts a server with STARTTLS that takes this number of names in a session, and answers the next one unencrypted. */
async function limitedTlsServer(
  t: TestContext,
  names: number,
  reply = '250 OK',
): Promise<{ port: number; server: { sessions: number } }> {
  const tls = { cert: fixture('mx.pem'), key: fixture('mx.key'), isServer: true }
  const count = { sessions: 0 }
  const server = createServer({ noDelay: true }, (plain) => {
    count.sessions++
    let requests = 0
    const serve = (socket: Socket): void => {
      socket.on('error', () => undefined)
      socket.on('data', (octets: Buffer) => {
        const line = octets.toString()
        if (line.startsWith('EHLO')) socket.write('250-mx\r\n250-STARTTLS\r\n250 ETRN\r\n')
        else if (line.startsWith('STARTTLS')) {
          socket.removeAllListeners('data')
          socket.write('220 go\r\n')
          serve(new TLSSocket(plain, tls))
        } else if (line.startsWith('ETRN')) {
          if (++requests > names) plain.end(`${EXIM}\r\n`)
          else socket.write(`${reply}\r\n`)
        } else socket.end('221 bye\r\n')
      })
    }
    serve(plain)
    plain.write('220 mx\r\n')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  // A TCP server has an AddressInfo.
  return { port: (server.address() as AddressInfo).port, server: count }
}
