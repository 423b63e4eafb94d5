import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { wouldFinishSooner } from '../../src/etrn/session-limits.js'
import { ask } from '../../src/index.js'
import type { TraceEvent } from '../../src/smtp/trace.js'
import { etrn, etrnJson } from '../helpers/command.js'
import { crowd, list, type Said } from '../helpers/concurrent-server.js'
import { close, reset } from '../helpers/scripted-server.js'

const LIMITS = { concurrency: true, timeout: 120_000 } as const

suite('several sessions at once', LIMITS, () => {
  test('40 names: four sessions at most, seven names each, every name once, and told in the order asked', async (t) => {
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
    test(`${count} names are worth ${sessions}`, async (t) => {
      // Each answer waits until all sessions that the first one was worth have come so far that no other is sooner.
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
  test('one session until a name is accepted', async (t) => {
    const { server, port } = await crowd(t, {
      etrn: (name) => (name === 'n4.example' ? '250 OK' : '450 later'),
    })
    assert.equal((await etrn([`127.0.0.1:${port}`, ...list(20)])).status, 75)
    const second = server.log.indexOf('open 2')
    assert.ok(server.log.slice(0, second).filter((line) => line === 'said 1').length >= 4)
  })
  test('and one after another where none is, with --keep-going', async (t) => {
    const { server, port } = await crowd(t, { etrn: () => '450 later' })
    assert.equal((await etrn(['-k', `127.0.0.1:${port}`, ...list(20)])).status, 75)
    assert.deepEqual([server.most, server.asked.length], [1, 3])
  })
  test('-v tells them apart', async (t) => {
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
  test('--jobs counts them all, over all servers', async (t) => {
    const { server, port } = await crowd(t)
    const run = await etrn(['--jobs', '3', `127.0.0.1:${port},localhost:${port}`, '-4', ...list(30)])
    assert.equal(run.status, 0, run.stderr)
    assert.equal(server.asked.flat().length, 60)
    assert.ok(server.most <= 3, `${server.most} at once`)
  })
})

test('four at one server, though two profiles name it', async (t) => {
  const { server, port } = await crowd(t, {
    etrn: async (name) => {
      if (name !== 'n1.example') await server.until(/^open/, 4)
      return '250 OK'
    },
  })
  const profile = (name: string): string =>
    `[servers.${name}]\nserver = "127.0.0.1:${port}"\nnames = ${JSON.stringify(list(20))}\n`
  const folder = mkdtempSync(join(tmpdir(), 'etrn-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'config.toml')
  writeFileSync(file, profile('one') + profile('two'))
  assert.equal((await etrn(['--config', file, '--all', '--jobs', '9'])).status, 0)
  assert.deepEqual([server.most, server.asked.flat().length], [4, 40])
})

suite('what one session of several meets', LIMITS, () => {
  test('a 5xx: no name more, but what is on its way keeps its reply', async (t) => {
    const { server, port } = await crowd(t, {
      etrn: async (name, session) => {
        if (name === 'n1.example') return '250 OK'
        await server.until(/^asked/, 5)
        if (session === 2) return '550 no more'
        // Once the client has read that
        await server.until(/^QUIT 2/)
        return '250 late'
      },
    })
    const { document, status } = await etrnJson([`127.0.0.1:${port}`, ...list(40)])
    const outcomes = document.servers[0]?.names.map(({ outcome }) => outcome) ?? []
    const count = (outcome: string): number => outcomes.filter((one) => one === outcome).length
    assert.deepEqual([status, count('started'), count('refused'), count('skipped')], [77, 4, 1, 35])
    assert.equal(server.asked.flat().length, 5)
    assert.equal(server.log.filter((line) => line.startsWith('QUIT')).length, 4)
  })
  for (const [title, answer] of [
    ['a 421', '421 too long'],
    ['the end', close],
    ['a reset', reset],
  ] as const) {
    test(`${title} in the middle: the name is asked for again, and nothing is lost`, async (t) => {
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
  for (const [title, greeting, answer] of [
    ['is not let in', '421 too many connections', undefined],
    ['is refused', '554 go away', undefined],
    ['is reset', reset, undefined],
    ['speaks nonsense', 'SSH-2.0-x', undefined],
    ['is told to go at its first name', '220 mx', '421 one at a time'],
    ['is closed at its first name', '220 mx', close],
  ] as const) {
    test(`a session beside others that ${title} costs nothing; from then on there is one at a time`, async (t) => {
      const isBeside = (session: number): boolean => session > 1 && session <= 4
      const { server, port } = await crowd(t, {
        greeting: (session) => (isBeside(session) ? greeting : '220 mx'),
        etrn: async (name, session) => {
          if (name === 'n2.example' && session === 1) await server.until(/^close/, 3)
          return (isBeside(session) ? answer : undefined) ?? '250 OK'
        },
      })
      const { status, document } = await etrnJson([`127.0.0.1:${port}`, ...list(40)])
      assert.deepEqual([status, document.servers[0]?.error], [0, null])
      for (let session = 6; session <= server.asked.length; session++) {
        assert.ok(server.log.indexOf(`QUIT ${session - 1}`) < server.log.indexOf(`open ${session}`))
      }
    })
  }
  test('the first one after that fails too: what is left is deferred', async (t) => {
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
  test('silence: nobody waits for a session that is not needed any more', async (t) => {
    const { server, port } = await crowd(t, {
      greeting: (session) => (session > 1 ? () => undefined : '220 mx'),
      etrn: async (name) => {
        if (name !== 'n1.example') await server.until(/^open/, 3)
        return '250 OK'
      },
    })
    // The test's own time is shorter than this one.
    assert.equal((await etrn(['--timeout', '1h', `127.0.0.1:${port}`, ...list(7)])).status, 0)
    assert.deepEqual(
      server.asked.map((names) => names.length),
      [7, 0, 0],
    )
  })
  test('a signal ends all of them in good order', async (t) => {
    const { server, port } = await crowd(t, {
      etrn: async (name) => (name === 'n1.example' ? '250 OK' : new Promise<Said>(() => undefined)),
    })
    const { document, signal } = await etrnJson([`127.0.0.1:${port}`, ...list(40)], {
      during: (child) => void server.until(/^asked/, 5).then(() => child.kill('SIGTERM')),
    })
    const outcomes = document.servers[0]?.names.map(({ outcome }) => outcome) ?? []
    const count = (outcome: string): number => outcomes.filter((one) => one === outcome).length
    assert.deepEqual([signal, count('started'), count('deferred'), count('skipped')], ['SIGTERM', 1, 4, 35])
  })
  test('where the replies of all come together with the 5xx, nothing goes out after it', async (t) => {
    const sockets: Socket[] = []
    const { server, port } = await crowd(t, {
      etrn: (name) =>
        name === 'n1.example'
          ? '250 OK'
          : (socket) => {
              // In one turn of this process, and mostly in one of the client's; where it isn't, more are asked for.
              const count = sockets.push(socket)
              if (count === 4) sockets.forEach((one, at) => one.write(at === 3 ? '550 no\r\n' : '250 OK\r\n'))
              if (count > 4) socket.write('250 OK\r\n')
            },
    })
    const run = await etrn(['-v', `127.0.0.1:${port}`, ...list(40)])
    assert.equal(run.status, 77)
    assert.doesNotMatch(run.stderr, /S: 550[^]*C: ETRN/)
    assert.equal(server.log.filter((line) => line.startsWith('QUIT')).length, 4)
  })
  for (const [title, reply] of [
    ['for now', '454 too many logins'],
    ['for good', '535 too many logins'],
    ['by the end', close],
  ] as const) {
    test(`a login beside others that is refused ${title} costs nothing`, async (t) => {
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
  test('what is known of a server stays where a further session finds nothing', async (t) => {
    const { server, port } = await crowd(t, {
      // A reset may be there before the client knows that it is connected.
      greeting: (session) => (session === 1 ? '220 mx.example' : close),
      etrn: async (name) => {
        if (name === 'n2.example') await server.until(/^close/, 3)
        return '250 OK'
      },
    })
    const [report] = (await etrnJson([`127.0.0.1:${port}`, ...list(40)])).document.servers
    assert.deepEqual([report?.error?.stage, report?.greeting, report?.extensions], ['greeting', 'mx.example', ['ETRN']])
  })
  test('a name that takes its session with it does not take those that stand', async (t) => {
    const { server, port } = await crowd(t, { etrn: (name) => (name === 'n9.example' ? close : '250 OK') })
    const { status, document } = await etrnJson([`127.0.0.1:${port}`, ...list(20)])
    assert.equal(status, 75)
    assert.equal(document.servers[0]?.names[8]?.outcome, 'deferred')
    // Once in the middle of a session; after that it is the first name of new ones.
    const hit = server.asked.filter((names) => names.includes('n9.example'))
    assert.ok(hit.length > 1 && hit.length <= 4, `${hit.length} sessions`)
    assert.ok(hit.filter(([first]) => first !== 'n9.example').length <= 1)
  })
  test('a session that only waits for its turn holds no report up', async (t) => {
    const { port } = await crowd(t, { etrn: (name) => (name === 'n3.example' ? '550 no' : '250 OK') })
    const other = await crowd(t)
    const { stdout } = await etrn(['--jobs', '1', `127.0.0.1:${port},127.0.0.1:${other.port}`, ...list(6)])
    const lines = stdout.split('\n')
    const at = (server: number, what: string): number =>
      lines.findIndex((line) => line.startsWith(`127.0.0.1:${server}: ${what}`))
    assert.ok(at(port, 'not asked: n4.example') < at(other.port, 'n1.example'), stdout)
  })
  for (const [title, during] of [
    ['in the end', '250 OK'],
    ['where a signal ends it', () => undefined],
  ] as const)
    test(`what trace throws at QUIT comes out, ${title}`, { timeout: 10_000 }, async (t) => {
      const ending = new AbortController()
      const { server, port } = await crowd(t, { etrn: () => during })
      if (typeof during === 'function') void server.until(/^said/).then(() => ending.abort())
      const thrown = new Error('mine')
      const trace = (event: TraceEvent): void => {
        if (event.type === 'sent' && event.line === 'QUIT') throw thrown
      }
      await assert.rejects(ask(`127.0.0.1:${port}`, list(2), { trace, signal: ending.signal }), thrown)
    })
  test('what a callback throws at a 421 comes out, too', async (t) => {
    const { port } = await crowd(t, { etrn: () => '421 bye' })
    const thrown = new Error('mine')
    const onResult = (): void => {
      throw thrown
    }
    await assert.rejects(ask(`127.0.0.1:${port}`, list(1), { onResult }), thrown)
  })
  test('what a callback throws ends all of them, and comes out', async (t) => {
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

test('a session more is opened if, and only if, the last answer comes sooner', () => {
  const pace = fc.record({ delay: fc.nat(6), namesLeft: fc.nat(7) })
  // One round trip after the other: each session that can asks for a name.
  const last = (names: number, sessions: readonly { delay: number; namesLeft: number }[]): number => {
    let waiting = names
    for (let trips = 1; trips < 20; trips++) {
      for (const { delay, namesLeft } of sessions) if (trips > delay && trips <= delay + namesLeft) waiting--
      if (waiting <= 0) return trips
    }
    return Infinity
  }
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.array(pace, { maxLength: 3 }), (names, sessions) => {
      const another = { delay: 3, namesLeft: 7 }
      const capacity = [...sessions, another].reduce((sum, { namesLeft }) => sum + namesLeft, 0)
      const asked = Math.min(names, capacity)
      assert.equal(
        wouldFinishSooner(names, sessions, another),
        last(asked, [...sessions, another]) < last(asked, sessions),
      )
    }),
  )
})
