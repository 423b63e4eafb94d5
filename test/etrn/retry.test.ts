import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { mock, suite, test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { backoffMs } from '../../src/etrn/backoff.js'
import type { Result } from '../../src/etrn/outcome.js'
import type { Request } from '../../src/etrn/request.js'
import { run, type Run } from '../../src/etrn/run.js'
import { parseNodeName } from '../../src/input/node-name.js'
import { parseServer } from '../../src/input/server-address.js'
import { type CommandOptions, etrn, etrnJson, leap, LEAPING, type Running } from '../helpers/command.js'
import { crowd, list } from '../helpers/concurrent-server.js'
import { BYE, close, type Conversation, HELLO, scripted, silence } from '../helpers/scripted-server.js'

const HELO = ['--helo', 'gw.site.example']
const asked = (...pairs: string[]): Conversation => [...HELLO, ...pairs.map((line) => line as 'S:'), ...BYE]
const ask = (name: string, reply: string): string[] => [`C: ETRN ${name}`, `S: ${reply}`]
const GONE: Conversation = [close]

suite('the pauses', () => {
  const luck = fc.double({ min: 0, max: 1, noNaN: true })
  const failures = fc.integer({ min: 1, max: 1000 })
  test('1 s to 30 s where no server answered', () =>
    fc.assert(
      fc.property(failures, luck, (n, l) => {
        const ms = backoffMs(n, false, l)
        assert.ok(ms >= 1000 && ms <= 30_000)
      }),
    ))
  test('10 s to 5 min after a reply', () =>
    fc.assert(
      fc.property(failures, luck, (n, l) => {
        const ms = backoffMs(n, true, l)
        assert.ok(ms >= 10_000 && ms <= 300_000)
      }),
    ))
  test('longer each time, and not the same for two that began together', () => {
    assert.deepEqual(
      [1, 2, 3, 4, 5, 6].map((n) => backoffMs(n, false, 0)),
      [1000, 2000, 4000, 8000, 16_000, 30_000],
    )
    assert.notEqual(backoffMs(1, true, 0.1), backoffMs(1, true, 0.9))
  })
})

/** Runs with a clock that leaps over each pause. What --retry-for gives is real time, and hardly passes. */
async function leaping(
  t: TestContext,
  port: number,
  words: readonly string[],
  more: Partial<Request['retryPolicy']> & { readonly keepGoing?: boolean; readonly jobs?: number } = {},
): Promise<Run & { readonly told: Result[]; readonly pauses: number[] }> {
  const { keepGoing = false, jobs = 1, ...patience } = more
  const tls = { level: 'may', fingerprint: undefined, name: undefined, ca: undefined } as const
  const server = {
    ...parseServer(`127.0.0.1:${port}`),
    tls: { ...tls, cert: undefined, key: undefined, minVersion: 'TLSv1.2' as const },
    credentials: undefined,
  }
  const settings = { helo: 'gw.site.example', self: [], local: undefined, family: undefined, timeoutMs: 600_000 }
  const request: Request = {
    server,
    isMx: false,
    entries: await Promise.all(words.map(async (word) => parseNodeName(word, { allowWide: false }))),
    settings: { ...settings, assumeEtrn: false, keepGoing },
    retryPolicy: { retryForMs: 3_600_000, waitMs: 0, intervalMs: 60_000, ...patience },
  }
  const told: Result[] = []
  const pauses: number[] = []
  mock.timers.reset()
  mock.timers.enable({ apis: ['setTimeout'] })
  t.after(() => mock.timers.reset())
  const done = await run([request], {
    jobs,
    waitLocalMs: 0,
    signal: new AbortController().signal,
    trace: (_, event) => {
      if (event.type !== 'pause') return
      pauses.push(event.pauseMs)
      setImmediate(() => mock.timers.tick(event.pauseMs))
    },
    onResult: (_, result) => told.push(result),
    onReport: () => undefined,
    warn: () => undefined,
  })
  return { ...done, told, pauses }
}

const outcomes = ({ servers: [report] }: Run): unknown =>
  report?.names.map(({ name, outcome, code }) => [name, outcome, code])

suite('--retry-for, with a clock that leaps', { concurrency: false }, () => {
  test('only what failed is asked again, over a new connection', async (t) => {
    const server = await scripted(
      t,
      asked(...ask('a.example', '250 OK'), ...ask('b.example', '450 busy'), ...ask('c.example', '459 no')),
      asked(...ask('b.example', '421 busy').slice(0, 1), 'S: 450 busy'),
      asked(...ask('b.example', '253 2 pending messages')),
    )
    const done = await leaping(t, server.port, ['a.example', 'b.example', 'c.example'])
    await server.verify()
    assert.deepEqual(outcomes(done), [
      ['a.example', 'started', 250],
      ['b.example', 'pending', 253],
      ['c.example', 'refused', 459],
    ])
    assert.deepEqual(
      done.told.map(({ name }) => name),
      ['a.example', 'c.example', 'b.example'],
    )
    assert.deepEqual([done.exitStatus, done.servers[0]?.attempts], [77, 3])
    assert.ok(done.pauses.every((ms) => ms >= 10_000))
  })
  test('what was skipped behind it too', async (t) => {
    const names = ['a.example', 'b.example']
    const server = await scripted(
      t,
      [...HELLO, 'C: ETRN a.example', 'S: 421 too busy', ...BYE],
      asked(...ask('a.example', '250 OK'), ...ask('b.example', '250 OK')),
    )
    assert.equal((await leaping(t, server.port, names)).exitStatus, 0)
  })
  test('but not what was skipped behind a 5xx', async (t) => {
    const server = await scripted(
      t,
      asked(...ask('a.example', '450 busy'), ...ask('b.example', '550 no')),
      asked(...ask('a.example', '250 OK')),
    )
    const done = await leaping(t, server.port, ['a.example', 'b.example', 'c.example'])
    assert.deepEqual(outcomes(done), [
      ['a.example', 'started', 250],
      ['b.example', 'refused', 550],
      ['c.example', 'skipped', null],
    ])
  })
  test('a long silence after replies, a short one where nobody answers', async (t) => {
    const server = await scripted(t, ['S: 421 later', ...BYE], GONE, GONE, asked(...ask('a.example', '250 OK')))
    const { pauses, servers } = await leaping(t, server.port, ['a.example'])
    const [first = 0, second = 0, third = 0] = pauses
    assert.ok(first >= 10_000 && second <= 2000 && third >= 2000 && third <= 4000, pauses.join())
    assert.equal(servers[0]?.attempts, 4)
  })
  for (const [title, conversation, status] of [
    ['a refusal', asked(...ask('a.example', '459 no')), 77],
    ['no ETRN', ['S: 220 mx', 'C: EHLO gw.site.example', 'S: 250 mx', ...BYE], 69],
    ['no SMTP', ['S: 220 mx', 'C: EHLO gw.site.example', 'S: hello', ...BYE], 76],
  ] as const)
    test(`${title} is final`, async (t) => {
      const server = await scripted(t, conversation)
      const done = await leaping(t, server.port, ['a.example'])
      assert.deepEqual([done.exitStatus, done.pauses, done.servers[0]?.attempts], [status, [], 1])
    })
})

suite('--retry-for, with many names', { concurrency: false }, () => {
  const names = Array.from({ length: 9 }, (_, n) => `n${n + 1}.example`)
  const rounds = (reply: string, ...some: string[]): Conversation => asked(...some.flatMap((name) => ask(name, reply)))
  test('a server that accepted one is asked for all the others, and no answer is lost', async (t) => {
    const [first = '', ...rest] = names
    const server = await scripted(
      t,
      [
        ...HELLO,
        ...([...ask(first, '250 OK'), ...rest.slice(0, 6).flatMap((n) => ask(n, '458 busy'))] as 'S:'[]),
        ...BYE,
      ],
      rounds('458 busy', ...rest.slice(6)),
      rounds('458 busy', ...rest.slice(0, 7)),
      rounds('250 OK', ...rest.slice(7)),
      rounds('250 OK', ...rest.slice(0, 7)),
    )
    const done = await leaping(t, server.port, names, { retryForMs: 3_600_000 })
    await server.verify()
    assert.deepEqual([done.exitStatus, done.servers[0]?.attempts], [0, 3])
  })
  for (const patience of [{}, { retryForMs: 0, waitMs: 3_600_000 }])
    test(`refused all alike, they are not asked for by and by (${JSON.stringify(patience)})`, async (t) => {
      const server = await scripted(t, rounds('459 no', ...names.slice(0, 7)))
      const done = await leaping(t, server.port, names, patience)
      assert.deepEqual([done.exitStatus, done.pauses, done.servers[0]?.error], [77, [], null])
    })
  test('a server that lets one session in at a time refuses others once, not in every round', async (t) => {
    const asked = new Map<string, number>()
    const refused: number[] = []
    const { server, port } = await crowd(t, {
      greeting: (session) => {
        if (server.open === 1) return '220 mx.example'
        refused.push(session)
        return '421 one at a time'
      },
      etrn: async (name) => {
        if (name === 'n2.example' && !asked.has(name)) await server.until(/^QUIT/, 3)
        const count = 1 + (asked.get(name) ?? 0)
        asked.set(name, count)
        return count < 4 ? '252 OK' : '251 nothing'
      },
    })
    const done = await leaping(t, port, list(20), { waitMs: 3_600_000, jobs: 8 })
    assert.deepEqual([done.exitStatus, done.pauses.length], [0, 3])
    assert.deepEqual(refused, [2, 3, 4])
  })
  test('where none was accepted, those that were not reached come first the next time', async (t) => {
    const server = await scripted(
      t,
      rounds('458 busy', ...names.slice(0, 7)),
      rounds('250 OK', ...names.slice(7), ...names.slice(0, 5)),
      rounds('250 OK', ...names.slice(5, 7)),
    )
    assert.equal((await leaping(t, server.port, names)).exitStatus, 0)
  })
})

suite('what ends a server ends it for good', { concurrency: false }, () => {
  test('garbage, though a name could still succeed: 76, and the error is told', async (t) => {
    const server = await scripted(t, [
      ...HELLO,
      'C: ETRN a.example',
      'S: 458 busy',
      'C: ETRN b.example',
      'S: garbage',
      ...BYE,
    ])
    const done = await leaping(t, server.port, ['a.example', 'b.example', 'c.example'], { keepGoing: true })
    assert.deepEqual(done.pauses, [])
    assert.match(done.servers[0]?.error?.message ?? '', /not an SMTP reply/)
    assert.deepEqual(outcomes(done), [
      ['a.example', 'deferred', 458],
      ['b.example', 'failed', null],
      ['c.example', 'skipped', null],
    ])
  })
  test('and so it does in a wait: nothing is forgotten', async (t) => {
    const server = await scripted(
      t,
      asked(...ask('a.example', '253 1 pending message'), ...ask('b.example', '253 1 pending message')),
      [...HELLO, 'C: ETRN a.example', 'S: 253 1 pending message', 'C: ETRN b.example', 'S: garbage', ...BYE],
    )
    const done = await leaping(t, server.port, ['a.example', 'b.example'], { retryForMs: 0, waitMs: 3_600_000 })
    assert.deepEqual([done.exitStatus, done.servers[0]?.error?.exitStatus], [76, 76])
    assert.deepEqual(outcomes(done), [
      ['a.example', 'pending', 253],
      ['b.example', 'pending', 253],
    ])
  })
  test('a 354 too', async (t) => {
    const server = await scripted(t, asked(...ask('a.example', '458 busy'), ...ask('b.example', '354 go on')))
    const done = await leaping(t, server.port, ['a.example', 'b.example', 'c.example'])
    assert.deepEqual([done.pauses, done.exitStatus], [[], 75])
  })
})

suite('--wait, with a clock that leaps', { concurrency: false }, () => {
  const wait = { retryForMs: 0, waitMs: 3_600_000 }
  test('until every name answers 251', async (t) => {
    const server = await scripted(
      t,
      asked(...ask('a.example', '253 14 pending messages'), ...ask('b.example', '251 none')),
      asked(...ask('a.example', '458 queue locked')),
      GONE,
      asked(...ask('a.example', '250 OK')),
      asked(...ask('a.example', '251 none')),
    )
    const done = await leaping(t, server.port, ['a.example', 'b.example'], wait)
    await server.verify()
    assert.deepEqual(outcomes(done), [
      ['a.example', 'empty', 251],
      ['b.example', 'empty', 251],
    ])
    assert.deepEqual([done.exitStatus, done.servers[0]?.attempts, done.servers[0]?.error], [0, 5, null])
    assert.deepEqual(done.pauses, [60_000, 60_000, 60_000, 60_000])
    assert.deepEqual(
      done.told.map(({ name }) => name),
      ['b.example', 'a.example'],
    )
  })
  test('a server that counted once is not taken for one that can not', async (t) => {
    const server = await scripted(
      t,
      ...['250 OK', '253 1 pending message', '250 OK', '250 OK', '251 none'].map((reply) =>
        asked(...ask('a.example', reply)),
      ),
    )
    const done = await leaping(t, server.port, ['a.example'], wait)
    assert.deepEqual([done.exitStatus, done.servers[0]?.attempts, done.servers[0]?.isQueueUnknown], [0, 5, false])
  })
  test('what waits is not forgotten in a round that asks for others: 75', async (t) => {
    const server = await scripted(
      t,
      asked(...ask('a.example', '253 5 pending messages'), ...ask('b.example', '450 busy')),
      asked(...ask('b.example', '251 none')),
    )
    const done = await leaping(t, server.port, ['a.example', 'b.example'], { waitMs: 1 })
    assert.equal(done.exitStatus, 75)
    assert.match(done.servers[0]?.error?.message ?? '', /--wait gives is over; a\.example: 5 messages left$/)
  })
  test('nor where a refusal ended a round before it', async (t) => {
    const names = ['a.example', 'b.example', 'c.example']
    const server = await scripted(
      t,
      asked(...names.flatMap((name) => ask(name, '253 1 pending message'))),
      asked(...ask('a.example', '550 no')),
      asked(...ask('b.example', '251 none'), ...ask('c.example', '251 none')),
    )
    const done = await leaping(t, server.port, names, wait)
    await server.verify()
    assert.deepEqual(outcomes(done), [
      ['a.example', 'refused', 550],
      ['b.example', 'empty', 251],
      ['c.example', 'empty', 251],
    ])
  })
  test('a 354 ends it at once, and no time is said to be over', async (t) => {
    const server = await scripted(
      t,
      asked(...ask('a.example', '253 1 pending message'), ...ask('b.example', '354 go on')),
    )
    const done = await leaping(t, server.port, ['a.example', 'b.example'], wait)
    assert.deepEqual([done.exitStatus, done.servers[0]?.error], [76, null])
  })
  test('the last round is when the time is over, though the interval is longer', async (t) => {
    const replies = ['253 1 pending message', '251 none']
    const server = await scripted(t, ...replies.map((reply) => asked(...ask('a.example', reply))))
    const done = await leaping(t, server.port, ['a.example'], { retryForMs: 0, waitMs: 30_000 })
    const [pause = Infinity] = done.pauses
    assert.ok(pause <= 30_000)
  })
  test('250 twice: it cannot tell', async (t) => {
    const server = await scripted(t, asked(...ask('a.example', '250 OK')), asked(...ask('a.example', '250 OK')))
    const done = await leaping(t, server.port, ['a.example'], wait)
    assert.deepEqual([done.exitStatus, done.servers[0]?.error, done.servers[0]?.isQueueUnknown], [2, null, true])
    assert.deepEqual(outcomes(done), [['a.example', 'started', 250]])
  })
  test('a failure counts more than that', async (t) => {
    const server = await scripted(
      t,
      asked(...ask('a.example', '250 OK'), ...ask('b.example', '459 no')),
      asked(...ask('a.example', '250 OK')),
    )
    assert.equal((await leaping(t, server.port, ['a.example', 'b.example'], wait)).exitStatus, 77)
  })
  test('what was accepted stays so where a later round fails for good', async (t) => {
    const server = await scripted(t, asked(...ask('a.example', '253 1 pending message')), ['S: 554 go away', ...BYE])
    const done = await leaping(t, server.port, ['a.example'], wait)
    assert.deepEqual(outcomes(done), [['a.example', 'pending', 253]])
    assert.equal(done.exitStatus, 69)
  })
})

/** A command that waits as long as a test wants it to, and the step that ends it: when the connection has ended. */
function leapingOver(): { readonly o: CommandOptions; readonly over: (socket: Socket) => Promise<void> } {
  let running: Running | undefined
  const over = async (socket: Socket): Promise<void> => {
    await silence(socket)
    if (running !== undefined) leap(running)
  }
  return { o: { env: LEAPING, during: (child) => (running = child) }, over }
}

suite('the command', { concurrency: true }, () => {
  test('tries again in a second or two where nobody answers', async (t) => {
    const server = await scripted(t, GONE, asked(...ask('a.example', '250 OK')))
    const run = await etrn([...HELO, '-v', '--retry-for', '20s', `127.0.0.1:${server.port}`, 'a.example'])
    assert.equal(run.status, 0)
    assert.match(run.stderr, /Z the server closed the connection; again at \d\d:\d\d:\d\d, until \d\d:\d\d:\d\d$/m)
  })
  test('ends at once where the pause would be longer than what remains', async (t) => {
    const server = await scripted(t, ['S: 421 later', ...BYE])
    const run = await etrnJson([...HELO, '--retry-for', '9s', `127.0.0.1:${server.port}`, 'a.example'])
    assert.deepEqual([run.status, run.document.servers[0]?.attempts], [75, 1])
  })
  test('says what failed once, at the end', async (t) => {
    const { o, over } = leapingOver()
    const server = await scripted(t, [close, over], GONE)
    const run = await etrn([...HELO, '--retry-for', '3s', `127.0.0.1:${server.port}`, 'a.example'], o)
    assert.equal(run.status, 75)
    assert.match(
      run.stderr,
      /^[^\n]*: greeting: the server closed the connection; no answer for a\.example\n(?:  [^\n]*\n)?$/,
    )
  })
  test('waits, and tells the last answer alone', async (t) => {
    const server = await scripted(
      t,
      asked(...ask('a.example', '253 3 pending messages')),
      asked(...ask('a.example', '253 1 pending message')),
      asked(...ask('a.example', '251 none')),
    )
    const args = [...HELO, '--wait', '20s', '--interval', '1s', '-v', `127.0.0.1:${server.port}`, 'a.example']
    const run = await etrn(args)
    assert.deepEqual([run.status, run.stdout], [0, 'a.example: nothing waits (251 none)\n'])
    assert.match(run.stderr, /Z a\.example: 3 messages left; again at .*\n[^]*Z a\.example: 1 message left; again at /)
  })
  test('ends the wait when its time is over: 75, with what is left', async (t) => {
    const { o, over } = leapingOver()
    const answer = asked(...ask('a.example', '253 3 pending messages'))
    const server = await scripted(t, [...answer, over], answer)
    const run = await etrnJson([...HELO, '--wait', '1m', `127.0.0.1:${server.port}`, 'a.example'], o)
    const [report] = run.document.servers
    assert.deepEqual([run.status, report?.attempts, report?.names[0]?.pending], [75, 2, 3])
    assert.deepEqual(report?.error, {
      stage: 'etrn',
      message: 'the time that --wait gives is over; a.example: 3 messages left',
      code: null,
      exitStatus: 75,
    })
  })
  test('says so too where the server was never ready', async (t) => {
    const { o, over } = leapingOver()
    const answer = asked(...ask('a.example', '458 busy'))
    const server = await scripted(t, [...answer, over], answer)
    const args = ['--wait', '1m', '--interval', '2m', `127.0.0.1:${server.port}`, 'a.example']
    const run = await etrn([...HELO, ...args], o)
    assert.equal(run.status, 75)
    assert.match(run.stderr, /the time that --wait gives is over$/m)
  })
  test('says that a server cannot tell', async (t) => {
    const { o, over } = leapingOver()
    const answer = asked(...ask('a.example', '250 OK'))
    const server = await scripted(t, [...answer, over], answer)
    const run = await etrn([...HELO, '--wait', '9s', '--interval', '1s', `127.0.0.1:${server.port}`, 'a.example'], o)
    assert.deepEqual(run, {
      status: 2,
      signal: null,
      stdout: "a.example: asked; the server doesn't say what waits (250 OK)\n",
      stderr: `127.0.0.1:${server.port}: says 250 each time: it can't tell whether anything is left\n`,
    })
  })
  test('a signal ends a pause', async (t) => {
    const server = await scripted(t, ['S: 421 later', ...BYE])
    const run = await etrn([...HELO, '--retry-for', '5m', '-v', `127.0.0.1:${server.port}`, 'a.example'], {
      once: { said: 'again at', act: (child) => void child.kill('SIGTERM') },
    })
    assert.equal(run.signal, 'SIGTERM')
    assert.match(run.stderr, /greeting: 421 later; no answer for a\.example$/m)
  })
  test('--max-time ends a wait: 75', async (t) => {
    const { o, over } = leapingOver()
    const server = await scripted(t, [...asked(...ask('a.example', '253 3 pending messages')), over])
    const run = await etrn([...HELO, '--wait', '5m', '--max-time', '1s', `127.0.0.1:${server.port}`, 'a.example'], o)
    assert.equal(run.status, 75)
    assert.equal(run.stdout, 'a.example: 3 messages are on their way (253 3 pending messages)\n')
    assert.match(run.stderr, /the time that --max-time gives is over/)
  })
  test('pauses hold up nobody else', async (t) => {
    const { o, over } = leapingOver()
    const busy = await scripted(t, ['S: 421 later', ...BYE])
    const good = await scripted(t, [...asked(...ask('a.example', '250 OK')), over])
    const servers = `127.0.0.1:${busy.port},127.0.0.1:${good.port}`
    const run = await etrn([...HELO, '--jobs', '1', '--retry-for', '5m', '--max-time', '2s', servers, 'a.example'], o)
    assert.match(run.stdout, new RegExp(`^127\\.0\\.0\\.1:${good.port}: a\\.example: asked`))
    assert.equal(run.status, 75)
  })
})
