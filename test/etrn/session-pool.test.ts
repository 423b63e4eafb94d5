import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { suite, test } from 'node:test'
import type { Outcome } from '../../src/etrn/outcome.js'
import type { Result } from '../../src/etrn/result.js'
import { requestNames } from '../../src/etrn/session-pool.js'
import { SessionSlots } from '../../src/etrn/session-slots.js'
import { ask } from '../../src/index.js'
import type { NodeName } from '../../src/input/node-name.js'
import { parseServer } from '../../src/input/server-address.js'
import { Redactor } from '../../src/smtp/redact.js'
import type { TraceEvent } from '../../src/smtp/trace.js'
import { type Document, etrn, etrnJson } from '../helpers/command.js'
import { crowd, list, type Said } from '../helpers/concurrent-server.js'
import { etrnSteps, sessionWith, testExchange } from '../helpers/exchange.js'
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

const LIMITS = { concurrency: true, timeout: 120_000 } as const

/** Returns how many names of the document's only server have this outcome. */
function countOf(outcome: Outcome, { servers: [report] }: Document): number {
  return (report?.names ?? []).filter((result) => result.outcome === outcome).length
}

suite('session pool: how many sessions it opens', LIMITS, () => {
  test('requests each of 40 names once, in four sessions at most and seven names a session, and reports them in order', async (t) => {
    const { server, port } = await crowd(t)
    const { document, status, stderr } = await etrnJson([`127.0.0.1:${port}`, ...list(40)])
    assert.deepEqual([status, stderr], [0, ''])
    assert.deepEqual(
      document.servers[0]?.names.map(({ name }) => name),
      list(40),
    )
    assert.deepEqual(server.asked.flat().toSorted(), list(40).toSorted())
    assert.ok(server.asked.every((names) => names.length <= 7))
    assert.ok(server.most <= 4 && server.most > 1, `${server.most} at once`)
  })
  for (const [count, sessions] of [
    [1, 1],
    [5, 1],
    [6, 2],
    [9, 3],
    [20, 4],
  ] as const) {
    test(`opens ${sessions} ${sessions === 1 ? 'session' : 'sessions'} for ${count} ${count === 1 ? 'name' : 'names'}`, async (t) => {
      // Each reply waits until every expected session has reached EHLO: no other could be sooner then.
      const { server, port } = await crowd(t, {
        etrn: async (name) => {
          if (name !== 'n1.example') await server.until(/^EHLO/, sessions)
          return '250 OK'
        },
      })
      assert.equal((await etrn([`127.0.0.1:${port}`, ...list(count)])).status, 0)
      assert.equal(server.asked.length, sessions)
    })
  }
  test('opens no second session before a name is accepted', async (t) => {
    const { server, port } = await crowd(t, {
      etrn: (name) => (name === 'n4.example' ? '250 OK' : '450 later'),
    })
    assert.equal((await etrn([`127.0.0.1:${port}`, ...list(20)])).status, 75)
    const second = server.log.indexOf('open 2')
    assert.ok(server.log.slice(0, second).filter((line) => line === 'said 1').length >= 4)
  })
  test('opens one session after another with --keep-going if no name is accepted', async (t) => {
    const { server, port } = await crowd(t, { etrn: () => '450 later' })
    assert.equal((await etrn(['-k', `127.0.0.1:${port}`, ...list(20)])).status, 75)
    assert.deepEqual([server.most, server.asked.length], [1, 3])
  })
  test('numbers the sessions in -v from the second on', async (t) => {
    const { server, port } = await crowd(t, {
      etrn: async (name) => {
        if (name !== 'n1.example') await server.until(/^open/, 2)
        return '250 OK'
      },
    })
    const { stderr } = await etrn(['-v', `127.0.0.1:${port}`, ...list(6)])
    assert.match(stderr, /Z C: ETRN n1\.example\n/)
    assert.match(stderr, /Z \[2\] connected to 127\.0\.0\.1\n/)
    assert.match(stderr, /Z \[2\] S: 220 mx\.example\n/)
  })
})

suite('session pool: several names, one after another', LIMITS, () => {
  testExchange({
    title: 'requests 15 names in three sessions with --jobs 1',
    options: ['--jobs', '1'],
    conversations: [
      sessionWith(...etrnSteps(list(15).slice(0, 7))),
      sessionWith(...etrnSteps(list(15).slice(7, 14))),
      sessionWith(...etrnSteps('n15.example')),
    ],
    names: list(15),
    outcomes: Array<Outcome>(15).fill('started'),
    status: 0,
  })
  testExchange({
    title: 'skips the remaining names after a 5xx',
    conversations: [sessionWith(...etrnSteps('n1.example'), 'C: ETRN n2.example', 'S: 554 no')],
    names: list(4),
    outcomes: ['started', 'refused', 'skipped', 'skipped'],
    codes: [250, 554, null, null],
    status: 77,
    error: null,
  })
  testExchange({
    title: 'requests the remaining names after a 5xx with --keep-going',
    conversations: [
      sessionWith(
        ...etrnSteps('n1.example', '501 no'),
        ...etrnSteps('n2.example', '502 no'),
        ...etrnSteps('n3.example'),
      ),
    ],
    names: list(3),
    options: ['-k'],
    outcomes: ['rejected', 'unsupported', 'started'],
    status: 65,
  })
  testExchange({
    title: 'requests the remaining names after a 4xx, and exits with 75 although an earlier name has 77',
    conversations: [
      sessionWith(
        ...etrnSteps('n1.example', '459 no'),
        ...etrnSteps('n2.example', '450 later'),
        ...etrnSteps('n3.example'),
      ),
    ],
    names: list(3),
    outcomes: ['refused', 'deferred', 'started'],
    status: 75,
  })
  testExchange({
    title: 'opens no other session after one in which no name was accepted',
    conversations: [sessionWith(...etrnSteps(list(7), '459 no'))],
    names: list(9),
    outcomes: [...Array<Outcome>(7).fill('refused'), 'skipped', 'skipped'],
    status: 77,
    error: null,
  })
  testExchange({
    title: 'opens another session with --keep-going after one in which no name was accepted',
    conversations: [sessionWith(...etrnSteps(list(7), '459 no')), sessionWith(...etrnSteps('n8.example', '459 no'))],
    names: list(8),
    options: ['--keep-going'],
    outcomes: Array<Outcome>(8).fill('refused'),
    status: 77,
  })
  test('does not try TLS again in later sessions after its handshake failed', async (t) => {
    const hello: Conversation = ['S: 220 mx', 'C: EHLO gw.site.example', 'S: 250-mx', 'S: 250-STARTTLS', 'S: 250 ETRN']
    const server = await scripted(
      t,
      // A server without a certificate has no cipher in common with the client.
      [...hello, 'C: STARTTLS', 'S: 220 go', { tls: {}, fails: true }],
      [...hello, ...etrnSteps(list(7)), ...BYE],
      [...hello, ...etrnSteps('n8.example'), ...BYE],
    )
    const args = ['--jobs', '1', '--helo', 'gw.site.example', `127.0.0.1:${server.port}`, ...list(8)]
    assert.equal((await etrn(args)).status, 0)
    await server.verify()
  })
  test('hides the password in the text of a result', async (t) => {
    const { port } = await crowd(t, {
      listed: ['AUTH PLAIN'],
      other: (line) => (line.startsWith('AUTH') ? '235 OK' : undefined),
      etrn: () => '250 hello secret-word',
    })
    const { document } = await etrnJson(['--user', 'site', `127.0.0.1:${port}`, 'a.example'], {
      env: { ETRN_PASSWORD: 'secret-word' },
    })
    assert.equal(document.servers[0]?.names[0]?.text, 'hello ****')
  })
  test('takes no password of digits for a number of messages', async (t) => {
    const { port } = await crowd(t, {
      listed: ['AUTH PLAIN'],
      other: (line) => (line.startsWith('AUTH') ? '235 OK' : undefined),
      etrn: () => '253 OK, 48151623 pending messages for node a.example started',
    })
    const { document } = await etrnJson(['--user', 'site', `127.0.0.1:${port}`, 'a.example'], {
      env: { ETRN_PASSWORD: '48151623' },
    })
    const [name] = document.servers[0]?.names ?? []
    assert.deepEqual([name?.outcome, name?.pending], ['pending', null])
  })
  test('makes no attempt if there is no valid name', async () => {
    const { document } = await etrnJson(['127.0.0.1:9', '--names-from', '-'], { input: 'a b\n' })
    const [report] = document.servers
    assert.deepEqual([report?.attempts, report?.elapsedMs, report?.error], [0, 0, null])
  })
})

suite('session pool: a lost session', LIMITS, () => {
  const names = list(3)
  const lostAt2 = (...steps: Step[]): Conversation => [
    ...HELLO,
    ...etrnSteps('n1.example'),
    'C: ETRN n2.example',
    ...steps,
  ]
  const rest = sessionWith(...etrnSteps(['n2.example', 'n3.example']))
  const outcomes: Outcome[] = ['started', 'started', 'started']
  for (const [title, ...steps] of [
    ['a 421', 'S: 421 enough', ...BYE],
    ['a 421 and a close without a reply to QUIT', 'S: 421 enough', 'C: QUIT', close],
    ['a close', close],
    ['a reset', reset],
    ['a close within the reply', Buffer.from('250 O'), close],
  ] as const)
    testExchange({
      title: `requests the name and the rest in a new session after ${title}`,
      conversations: [lostAt2(...steps), rest],
      names,
      outcomes,
      status: 0,
      error: null,
    })
  testExchange({
    title: 'defers every name after a 421 to the first name',
    conversations: [[...HELLO, 'C: ETRN n1.example', 'S: 421 enough', ...BYE]],
    names,
    outcomes: ['deferred', 'deferred', 'deferred'],
    codes: [421, null, null],
    status: 75,
    error: { stage: 'etrn', code: 421 },
  })
  testExchange({
    title: 'reports a 421 to the only name as the reply to that name, not as an error of the session',
    conversations: [sessionWith('C: ETRN n1.example', 'S: 421 enough')],
    names: ['n1.example'],
    outcomes: ['deferred'],
    codes: [421],
    status: 75,
    error: null,
  })
  testExchange({
    title: 'accepts every name if each session gets a 421 to its second name',
    conversations: [
      lostAt2('S: 421 x', 'C: QUIT', close),
      [...HELLO, ...etrnSteps('n2.example'), 'C: ETRN n3.example', 'S: 421 x', 'C: QUIT', close],
      sessionWith(...etrnSteps('n3.example')),
    ],
    names,
    outcomes,
    status: 0,
  })
  testExchange({
    title: 'defers the remaining names if the second session closes at its first name',
    conversations: [lostAt2(close), [...HELLO, 'C: ETRN n2.example', close]],
    names,
    outcomes: ['started', 'deferred', 'deferred'],
    status: 75,
    error: { stage: 'etrn', code: null },
  })
  testExchange({
    title: 'skips the remaining names if a session closes after refusals alone',
    conversations: [[...HELLO, ...etrnSteps('n1.example', '459 no'), 'C: ETRN n2.example', close]],
    names,
    outcomes: ['refused', 'deferred', 'skipped'],
    status: 75,
  })
  testExchange({
    title: 'opens a third session if the second one is greeted with 421',
    conversations: [lostAt2(close), ['S: 421 too many', ...BYE], rest],
    names,
    outcomes,
    status: 0,
    error: null,
  })
  testExchange({
    title: 'opens a third session if the second one gets a 421 before its first ETRN',
    conversations: [lostAt2(close), [...HELLO.slice(0, 3), Buffer.from('250 ETRN\r\n421 bye\r\n'), ...BYE], rest],
    names,
    outcomes,
    status: 0,
    error: null,
  })
  testExchange({
    title: 'accepts every name if sessions fail to open, but never two in a row',
    conversations: [
      lostAt2(close),
      ['S: 421 too many', ...BYE],
      [...HELLO, ...etrnSteps('n2.example'), 'C: ETRN n3.example', close],
      ['S: 421 too many', ...BYE],
      sessionWith(...etrnSteps('n3.example')),
    ],
    names,
    outcomes,
    status: 0,
  })
  testExchange({
    title: 'defers the remaining names with 75 if two sessions in a row are greeted with 554',
    conversations: [lostAt2(close), ['S: 554 no more', ...BYE], ['S: 554 no more', ...BYE]],
    names,
    outcomes: ['started', 'deferred', 'deferred'],
    status: 75,
    error: { stage: 'greeting', code: 554, exitStatus: 75 },
  })
  testExchange({
    title: 'opens no other session and sends no QUIT if a reply does not come before the timeout',
    conversations: [lostAt2(silence)],
    names,
    timeoutAfter: 'C: ETRN n2.example',
    outcomes: ['started', 'deferred', 'deferred'],
    status: 75,
    error: { stage: 'etrn', code: null, exitStatus: 75 },
  })
  testExchange({
    title: 'does not take a 421 before the first ETRN for the reply to a name',
    conversations: [[...HELLO.slice(0, 3), Buffer.from('250 ETRN\r\n421 4.4.2 bye\r\n'), ...BYE]],
    names: ['n1.example'],
    outcomes: ['deferred'],
    codes: [null],
    status: 75,
    error: { stage: 'etrn', code: 421, exitStatus: 75 },
  })
})

suite('session pool: a reply that is not for ETRN', LIMITS, () => {
  for (const [reply, code] of [
    ['150 wait', 150],
    ['354 go ahead', 354],
    ['999 huh', null],
    ['hello there', null],
    ['2500 OK', null],
    ['250-OK\r\n459 no', null],
  ] as const)
    testExchange({
      title: `reports the name as failed and skips the others after ${JSON.stringify(reply)}`,
      conversations: [sessionWith(...etrnSteps('n1.example'), ...etrnSteps('n2.example', reply))],
      names: list(3),
      outcomes: ['started', 'failed', 'skipped'],
      codes: [250, code, null],
      status: 76,
      ...(code === null ? { error: { stage: 'etrn', exitStatus: 76 } } : { error: null }),
    })
  testExchange({
    title: 'reports the next name as failed and skips the others if a second reply comes before its ETRN',
    conversations: [sessionWith('C: ETRN n1.example', Buffer.from('250 OK\r\n459 no\r\n'))],
    names: list(3),
    outcomes: ['started', 'failed', 'skipped'],
    codes: [250, null, null],
    status: 76,
  })
  testExchange({
    title: 'reports every name as failed if the greeting is not SMTP',
    conversations: [['S: hello', ...BYE]],
    names: list(2),
    outcomes: ['failed', 'failed'],
    codes: [null, null],
    status: 76,
    error: { stage: 'greeting', exitStatus: 76 },
  })
})

test('session pool: keeps less text of each reply if there are many names', async (t) => {
  const { port } = await crowd(t, { etrn: () => `250 ${'x'.repeat(2000)}` })
  const announced: Result[] = []
  const options = { onResult: (result: Result) => announced.push(result) }
  const { names } = await ask(`127.0.0.1:${port}`, list(1100), options)
  assert.deepEqual(new Set(names.map(({ text }) => text)), new Set([`${'x'.repeat(1906)}...`]))
  assert.ok(names.every((result) => announced.includes(result)))
})

suite('session pool: a failure of one session beside others', LIMITS, () => {
  test('sends no other name after a 5xx, and keeps the replies to names that are under way', async (t) => {
    const { server, port } = await crowd(t, {
      etrn: async (name, session) => {
        if (name === 'n1.example') return '250 OK'
        await server.until(/^asked/, 5)
        if (session === 2) return '550 no more'
        // The client has read the 550 by then.
        await server.until(/^QUIT 2/)
        return '250 late'
      },
    })
    const { document, status } = await etrnJson([`127.0.0.1:${port}`, ...list(40)])
    assert.deepEqual(
      [status, ...(['started', 'refused', 'skipped'] as const).map((outcome) => countOf(outcome, document))],
      [77, 4, 1, 35],
    )
    assert.equal(server.asked.flat().length, 5)
    assert.equal(server.log.filter((line) => line.startsWith('QUIT')).length, 4)
  })
  for (const [title, answer] of [
    ['a 421', '421 too long'],
    ['a close', close],
    ['a reset', reset],
  ] as const) {
    test(`requests the name again and loses none after ${title} in the middle of a session`, async (t) => {
      let isFirst = true
      const { server, port } = await crowd(t, {
        etrn: (_, session) => {
          const isHit = isFirst && server.asked[session - 1]?.length === 3
          if (isHit) isFirst = false
          return isHit ? answer : '250 OK'
        },
      })
      const { status, document } = await etrnJson([`127.0.0.1:${port}`, ...list(40)])
      assert.deepEqual([status, document.servers[0]?.error], [0, null])
      assert.equal(server.asked.flat().length, 41)
      assert.ok(server.most <= 4)
    })
  }
  for (const [title, greeting, reply] of [
    ['is greeted with 421', '421 too many connections', undefined],
    ['is greeted with 554', '554 go away', undefined],
    ['is reset', reset, undefined],
    ['is not greeted in SMTP', 'SSH-2.0-x', undefined],
    ['gets a 421 to its first name', '220 mx', '421 one at a time'],
    ['is closed at its first name', '220 mx', close],
  ] as const) {
    test(`accepts every name, in one session at a time, after an additional session ${title}`, async (t) => {
      const isAdditional = (session: number): boolean => session > 1 && session <= 4
      const { server, port } = await crowd(t, {
        greeting: (session) => (isAdditional(session) ? greeting : '220 mx'),
        etrn: async (name, session) => {
          if (name === 'n2.example' && session === 1) await server.until(/^close/, 3)
          return (isAdditional(session) ? reply : undefined) ?? '250 OK'
        },
      })
      const { status, document } = await etrnJson([`127.0.0.1:${port}`, ...list(40)])
      assert.deepEqual([status, document.servers[0]?.error], [0, null])
      for (let session = 6; session <= server.asked.length; session++) {
        assert.ok(server.log.indexOf(`QUIT ${session - 1}`) < server.log.indexOf(`open ${session}`))
      }
    })
  }
  for (const limit of ['550 5.7.1 ETRN session limit reached', '554 Too many nonmail commands'])
    test(`counts a name as not requested if its reply is "${limit}", and another name was refused`, async (t) => {
      let atLimit = 0
      const replies = new Map<number, number>()
      const { server, port } = await crowd(t, {
        etrn: async (name, session) => {
          const count = (replies.get(session) ?? 0) + 1
          replies.set(session, count)
          if (name === 'n7.example') {
            await server.until(/^at its limit$/, 3)
            return '550 unknown node'
          }
          if (count < 4) return '250 OK'
          server.note('at its limit')
          atLimit++
          await server.until(/^QUIT/)
          return (socket) => void socket.end(`${limit}\r\n`)
        },
      })
      const { document, status } = await etrnJson([`127.0.0.1:${port}`, ...list(14)])
      const outcomes = document.servers[0]?.names.map(({ outcome }) => outcome) ?? []
      assert.deepEqual([status, atLimit], [77, 3])
      assert.equal(outcomes.filter((outcome) => outcome === 'refused').length, 1)
      assert.ok(outcomes.filter((outcome) => outcome === 'skipped').length >= 3)
    })
  test('defers the remaining names if the first session after a failed additional one fails too', async (t) => {
    const { server, port } = await crowd(t, {
      greeting: (session) => (session > 1 ? '421 too many' : '220 mx'),
      etrn: async (name) => {
        if (name === 'n2.example') await server.until(/^close/, 3)
        return '250 OK'
      },
    })
    const { status, document } = await etrnJson([`127.0.0.1:${port}`, ...list(40)])
    const [report] = document.servers
    assert.deepEqual([status, report?.error?.stage, report?.error?.code], [75, 'greeting', 421])
    const outcomes = report?.names.map(({ outcome }) => outcome) ?? []
    assert.deepEqual(outcomes, [...Array<string>(7).fill('started'), ...Array<string>(33).fill('deferred')])
    assert.equal(server.asked.length, 5)
  })
  test('does not wait for silent sessions after the last name has its reply', async (t) => {
    const { server, port } = await crowd(t, {
      greeting: (session) => (session > 1 ? () => undefined : '220 mx'),
      etrn: async (name) => {
        if (name !== 'n1.example') await server.until(/^open/, 3)
        return '250 OK'
      },
    })
    // The test's own timeout is shorter than this one.
    assert.equal((await etrn(['--timeout', '1h', `127.0.0.1:${port}`, ...list(7)])).status, 0)
    assert.deepEqual(
      server.asked.map((names) => names.length),
      [7, 0, 0],
    )
  })
  test('opens a session for the last name if the only other session is silent', async (t) => {
    const { server, port } = await crowd(t, {
      greeting: (session) => (session === 2 ? () => undefined : '220 mx'),
      etrn: async (name) => {
        if (name === 'n2.example') await server.until(/^open/, 2)
        return '250 OK'
      },
    })
    // The test's own timeout is shorter than this one.
    assert.equal((await etrn(['--timeout', '1h', `127.0.0.1:${port}`, ...list(8)])).status, 0)
    assert.deepEqual(server.asked.flat(), list(8))
    assert.deepEqual(server.asked[1], [])
  })
  test('defers the names under way and skips the others after a signal', async (t) => {
    const { server, port } = await crowd(t, {
      etrn: async (name) => (name === 'n1.example' ? '250 OK' : new Promise<Said>(() => undefined)),
    })
    const { document, signal } = await etrnJson([`127.0.0.1:${port}`, ...list(40)], {
      during: (child) => void server.until(/^asked/, 5).then(() => child.kill('SIGTERM')),
    })
    assert.deepEqual(
      [signal, ...(['started', 'deferred', 'skipped'] as const).map((outcome) => countOf(outcome, document))],
      ['SIGTERM', 1, 4, 35],
    )
  })
  test('sends nothing after a 5xx that comes together with replies to the other sessions', async (t) => {
    const sockets: Socket[] = []
    const { server, port } = await crowd(t, {
      etrn: (name) =>
        name === 'n1.example'
          ? '250 OK'
          : (socket) => {
              // All replies leave in one turn of the event loop. If they arrive in several, the client may request more names.
              const count = sockets.push(socket)
              if (count === 4) sockets.forEach((other, index) => other.write(index === 3 ? '550 no\r\n' : '250 OK\r\n'))
              if (count > 4) socket.write('250 OK\r\n')
            },
    })
    const run = await etrn(['-v', `127.0.0.1:${port}`, ...list(40)])
    assert.equal(run.status, 77)
    assert.doesNotMatch(run.stderr, /S: 550[^]*C: ETRN/)
    assert.equal(server.log.filter((line) => line.startsWith('QUIT')).length, 4)
  })
  for (const [title, reply] of [
    ['with 454', '454 too many logins'],
    ['by a close', close],
  ] as const) {
    test(`accepts every name after the login of an additional session is refused ${title}`, async (t) => {
      const { server, port } = await crowd(t, {
        listed: ['AUTH PLAIN'],
        other: (line, session) =>
          line.startsWith('AUTH') ? (session > 1 && session <= 4 ? reply : '235 OK') : undefined,
        etrn: async (name, session) => {
          if (name === 'n2.example' && session === 1) await server.until(/^close/, 3)
          return '250 OK'
        },
      })
      const { status, document } = await etrnJson(['--user', 'site', `127.0.0.1:${port}`, ...list(20)], {
        env: { ETRN_PASSWORD: 'secret' },
      })
      assert.deepEqual([status, document.servers[0]?.error], [0, null])
    })
  }
  test('sends no password after an additional session has received 535, and keeps the other results', async (t) => {
    const { server, port } = await crowd(t, {
      listed: ['AUTH PLAIN'],
      other: (line, session) => (line.startsWith('AUTH') ? (session === 1 ? '235 OK' : '535 no') : undefined),
      etrn: async (name, session) => {
        if (name === 'n2.example' && session === 1) await server.until(/^close/)
        return '250 OK'
      },
    })
    // With one job beside the first session, no AUTH is on the way when the reply arrives.
    const args = ['--jobs', '2', '--tls', 'none', '--user', 'site', '--retry-for', '1s', `127.0.0.1:${port}`]
    const { status, document, stderr } = await etrnJson([...args, ...list(20)], { env: { ETRN_PASSWORD: 'secret' } })
    const [report] = document.servers
    assert.deepEqual([status, report?.error?.message], [77, 'login with PLAIN rejected (535 no)'])
    assert.match(stderr, /^etrn: warning: \S+: an additional session failed: login with PLAIN rejected \(535 no\)$/m)
    const outcomes = report?.names.map(({ outcome }) => outcome)
    assert.deepEqual(outcomes, [...Array<string>(7).fill('started'), ...Array<string>(13).fill('refused')])
    assert.equal(server.log.filter((line) => line.includes('AUTH')).length, 2)
  })
  test('keeps the greeting and the extensions of an earlier session if a later one gets no greeting', async (t) => {
    const { server, port } = await crowd(t, {
      // A reset could arrive before the client knows that it is connected.
      greeting: (session) => (session === 1 ? '220 mx.example' : close),
      etrn: async (name) => {
        if (name === 'n2.example') await server.until(/^close/, 3)
        return '250 OK'
      },
    })
    const [report] = (await etrnJson([`127.0.0.1:${port}`, ...list(40)])).document.servers
    assert.deepEqual([report?.error?.stage, report?.greeting, report?.extensions], ['greeting', 'mx.example', ['ETRN']])
  })
  test('keeps the extensions of an earlier session if a signal ends a later one between greeting and EHLO reply', async (t) => {
    let interrupt = (): void => undefined
    const names = list(8)
    const server = await scripted(t, sessionWith(...etrnSteps(names.slice(0, 7))), [
      ...(['S: 220 other', 'C: EHLO gw.site.example'] as const),
      () => interrupt(),
      'C: QUIT',
    ])
    const args = ['--jobs', '1', '--helo', 'gw.site.example', `127.0.0.1:${server.port}`, ...names]
    const { document } = await etrnJson(args, {
      during: (child) => (interrupt = () => void child.kill('SIGTERM')),
    })
    const [report] = document.servers
    assert.deepEqual([report?.error?.exitStatus, report?.greeting, report?.extensions], [143, 'other', ['ETRN']])
  })
  test('keeps the greeting and the extensions of an earlier session if a signal ends a later one before its greeting', async (t) => {
    const { server, port } = await crowd(t, {
      greeting: (session) => (session === 1 ? '220 mx.example' : () => undefined),
    })
    const { document, signal } = await etrnJson(['--jobs', '1', `127.0.0.1:${port}`, ...list(8)], {
      during: (child) => void server.until(/^open/, 2).then(() => child.kill('SIGTERM')),
    })
    const [report] = document.servers
    assert.deepEqual(
      [signal, report?.error?.exitStatus, report?.greeting, report?.extensions],
      ['SIGTERM', 143, 'mx.example', ['ETRN']],
    )
  })
  test('ends the request with 76 if octets come before the TLS handshake of an additional session', async (t) => {
    const { server, port } = await crowd(t, {
      listed: ['STARTTLS'],
      other: (line, session) => {
        if (line !== 'STARTTLS') return undefined
        return session === 2 ? (socket) => socket.write('220 go\r\n250 stray\r\n') : '454 not now'
      },
      etrn: async (name) => {
        if (name === 'n2.example') await server.until(/^close 2/)
        return '250 OK'
      },
    })
    const { status, document } = await etrnJson([`127.0.0.1:${port}`, ...list(20)])
    assert.deepEqual([status, document.servers[0]?.error?.stage], [76, 'starttls'])
  })
  test('ends the request with 76 if octets come before the TLS handshake of an additional session, and all names are sent', async (t) => {
    const inject = (socket: Socket): void =>
      void server.until(/^asked 1/, 7).then(() => socket.write('220 go\r\n250 stray\r\n'))
    const { server, port } = await crowd(t, {
      listed: ['STARTTLS'],
      other: (line, session) => (line !== 'STARTTLS' ? undefined : session === 2 ? inject : '454 not now'),
      etrn: async (name) => {
        if (name === 'n2.example') await server.until(/^open 2/)
        if (name === 'n7.example') await server.until(/^close 2/)
        return '250 OK'
      },
    })
    const { status, document } = await etrnJson([`127.0.0.1:${port}`, ...list(7)])
    assert.deepEqual([status, document.servers[0]?.error?.stage, countOf('started', document)], [76, 'starttls', 7])
  })
  test('tells of one reply too many if another session takes the last name at the same time', async (t) => {
    const { server, port } = await crowd(t, {
      etrn: async (name) => {
        if (name === 'n1.example') return '250 OK'
        await server.until(/^open/, 2)
        const asked = server.asked.flat().length
        // Both replies arrive together, and one name is left.
        if (asked === 4) await server.until(/^said/, 4)
        return asked === 4 ? '250 extra\r\n550 no such domain' : '250 OK'
      },
    })
    const { status, stderr } = await etrn([`127.0.0.1:${port}`, ...list(6)])
    assert.ok(status === 76 || /one reply too many/.test(stderr), `${status} ${stderr}`)
  })
  test('ends the request with 77 if a later session alone is not let in with its login', async (t) => {
    const { server, port } = await crowd(t, {
      listed: ['AUTH PLAIN'],
      other: (line, session) => (line.startsWith('AUTH') ? (session === 1 ? '235 OK' : '535 no') : undefined),
    })
    const args = ['--jobs', '1', '--user', 'site', `127.0.0.1:${port}`, ...list(8)]
    const { status, document } = await etrnJson(args, { env: { ETRN_PASSWORD: 'secret' } })
    assert.deepEqual([status, document.servers[0]?.error?.stage, server.asked.length], [77, 'auth', 2])
  })
  test('keeps the other sessions if one name closes each session that requests it', async (t) => {
    const { server, port } = await crowd(t, { etrn: (name) => (name === 'n9.example' ? close : '250 OK') })
    const { status, document } = await etrnJson([`127.0.0.1:${port}`, ...list(20)])
    assert.equal(status, 75)
    assert.equal(document.servers[0]?.names[8]?.outcome, 'deferred')
    // The name closes one session in the middle. After that, only new sessions request it, first.
    const hit = server.asked.filter((names) => names.includes('n9.example'))
    assert.ok(hit.length > 1 && hit.length <= 4, `${hit.length} sessions`)
    assert.ok(hit.filter(([first]) => first !== 'n9.example').length <= 1)
  })
  test('reports a server as soon as it is done, and does not open a session that still waited for its turn', async (t) => {
    const { server, port } = await crowd(t, { etrn: (name) => (name === 'n3.example' ? '550 no' : '250 OK') })
    const other = await crowd(t)
    const { stdout } = await etrn(['--jobs', '1', `127.0.0.1:${port},127.0.0.1:${other.port}`, ...list(8)])
    const lines = stdout.split('\n')
    const at = (serverPort: number, text: string): number =>
      lines.findIndex((line) => line.startsWith(`127.0.0.1:${serverPort}: ${text}`))
    assert.ok(at(port, 'not asked: n4.example') < at(other.port, 'n1.example'), stdout)
    // The other server needs a second session, so the one that waited has had its turn by now.
    assert.deepEqual([server.asked.length, other.server.asked.length], [1, 2])
  })
})

suite('session pool: output that takes no more', LIMITS, () => {
  test('starts no session and sends no ETRN until the output can take more', async (t) => {
    const names = list(2).map((name) => name as NodeName)
    const release: (() => void)[] = []
    const steps: string[] = []
    const wait = (count: number) => async (): Promise<void> => {
      while (release.length < count) await new Promise(setImmediate)
      steps.push(`waits ${count}`)
      release.at(-1)?.()
    }
    const server = await scripted(t, [
      ...HELLO,
      wait(2),
      ...etrnSteps('n1.example'),
      wait(3),
      ...etrnSteps('n2.example'),
      ...BYE,
    ])
    const tls = { level: 'none', fingerprint: undefined, name: undefined, ca: undefined } as const
    const target = {
      ...parseServer(`127.0.0.1:${server.port}`),
      tls: { ...tls, cert: undefined, key: undefined, minVersion: 'TLSv1.2' as const },
      credentials: undefined,
      redactor: new Redactor(),
    }
    const base = { helo: 'gw.site.example', self: [], local: undefined, family: undefined, timeoutMs: 600_000 } as const
    const done = requestNames(
      target,
      names,
      { ...base, assumeEtrn: false, keepGoing: false },
      {
        signal: new AbortController().signal,
        limiter: new SessionSlots(4).limiterFor(target),
        trace: (_, event) => {
          if (event.type === 'connecting') steps.push('connects')
          if (event.type === 'sent') steps.push(event.line)
        },
        onResult: () => undefined,
        drain: async () => new Promise((resolve) => void release.push(resolve)),
      },
    )
    await wait(1)()
    assert.equal((await done).error, null)
    const [first, second] = names
    assert.deepEqual(steps, [
      ...[
        'waits 1',
        'connects',
        'EHLO gw.site.example',
        'waits 2',
        `ETRN ${first}`,
        'waits 3',
        `ETRN ${second}`,
        'QUIT',
      ],
    ])
  })
})

suite('session pool: exceptions from callbacks', LIMITS, () => {
  for (const [title, reply] of [
    ['at the end of the run', '250 OK'],
    ['after an abort', () => undefined],
  ] as const)
    test(`throws what the trace callback throws at QUIT ${title}`, { timeout: 10_000 }, async (t) => {
      const ending = new AbortController()
      const { server, port } = await crowd(t, { etrn: () => reply })
      if (typeof reply === 'function') void server.until(/^said/).then(() => ending.abort())
      const thrown = new Error('mine')
      const trace = (event: TraceEvent): void => {
        if (event.type === 'sent' && event.line === 'QUIT') throw thrown
      }
      await assert.rejects(ask(`127.0.0.1:${port}`, list(2), { trace, signal: ending.signal }), thrown)
    })
  test('throws what the onResult callback throws at a 421', async (t) => {
    const { port } = await crowd(t, { etrn: () => '421 bye' })
    const thrown = new Error('mine')
    const onResult = (): void => {
      throw thrown
    }
    await assert.rejects(ask(`127.0.0.1:${port}`, list(1), { onResult }), thrown)
  })
  test('ends every session and throws what the onResult callback throws', async (t) => {
    const { server, port } = await crowd(t)
    const thrown = new Error('mine')
    let count = 0
    const onResult = (): void => {
      if (++count === 3) throw thrown
    }
    await assert.rejects(ask(`127.0.0.1:${port}`, list(40), { onResult }), thrown)
    await server.until(/^close/, server.asked.length)
    assert.equal(server.open, 0)
  })
})
