import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { requestNames } from '../../src/etrn/session-pool.js'
import { SessionSlots } from '../../src/etrn/session-slots.js'
import type { NodeName } from '../../src/input/node-name.js'
import { crowd, list } from '../helpers/concurrent-server.js'
import { etrn } from '../helpers/command.js'
import { OPTIONS, serverAt } from '../smtp/plain-session.js'

suite('session slots', { timeout: 60_000 }, () => {
  test('a free slot goes to the server with the fewest sessions, then to the one that has waited longest', async () => {
    const slots = new SessionSlots(2)
    const started: string[] = []
    const ends = new Map<string, () => void>()
    const start = (server: string, session: string): Promise<void> =>
      slots.run(server, async () => {
        started.push(session)
        await new Promise<void>((resolve) => ends.set(session, resolve))
      })
    const sessions = ['a1', 'a2', 'a3', 'b1', 'c1', 'b2'].map(async (session) => start(session[0] ?? '', session))
    for (const session of ['a1', 'b1', 'a2', 'c1', 'a3', 'b2']) {
      while (!ends.has(session)) await new Promise(setImmediate)
      ends.get(session)?.()
    }
    await Promise.all(sessions)
    assert.deepEqual(started, ['a1', 'b1', 'a2', 'c1', 'a3', 'b2'])
  })
  test('a domain with many exchangers leaves slots to others, also if it names their addresses', async () => {
    const slots = new SessionSlots(3, 2)
    const started: string[] = []
    const ends: (() => void)[] = []
    const start = (host: string, domain: string): Promise<void> =>
      slots.limiterFor({ host, port: 25, addresses: ['192.0.2.1'] }, domain).run(async () => {
        started.push(host)
        await new Promise<void>((resolve) => ends.push(resolve))
      })
    const sessions = ['mx1', 'mx2', 'mx3', 'mx4', 'mx5'].map((host) => start(host, 'evil.example'))
    await new Promise(setImmediate)
    assert.deepEqual(started, ['mx1', 'mx2'])
    sessions.push(start('mx1.good.example', 'good.example'), start('mx2.good.example', 'good.example'))
    while (started.length < 3) await new Promise(setImmediate)
    ends[0]?.()
    while (started.length < 4) await new Promise(setImmediate)
    assert.deepEqual(started.slice(2), ['mx1.good.example', 'mx3'])
    for (let count = 0; count < sessions.length; count++) {
      while (ends[count] === undefined) await new Promise(setImmediate)
      ends[count]?.()
    }
    await Promise.all(sessions)
    assert.equal(started.length, sessions.length)
  })
  test('two slow servers with all their sessions do not keep the names of a third server waiting', async (t) => {
    const healthy = await crowd(t)
    const slow = {
      etrn: async (name: string) =>
        name === 'n1.example' ? '250 OK' : healthy.server.until(/^said/, 30).then(() => '250 OK'),
    }
    const servers = [await crowd(t, slow), await crowd(t, slow), healthy].map(({ port }) => `127.0.0.1:${port}`)
    const run = await etrn(['--timeout', '20', servers.join(','), ...list(30)])
    assert.equal(run.status, 0, run.stderr)
  })
  test('an additional session ends early if a server without a session waits for a slot', async (t) => {
    const slots = new SessionSlots(4)
    let isDone = false
    const { server, port } = await crowd(t, {
      etrn: async (name, session) => {
        if (name === 'n1.example') return '250 OK'
        // The other sessions wait until the second server has had its turn.
        while (!isDone && (session !== 2 || server.open < 4)) await new Promise(setImmediate)
        return '250 OK'
      },
    })
    const target = serverAt(port)
    const report = requestNames(
      target,
      list(40) as NodeName[],
      { ...OPTIONS, keepGoing: false },
      { signal: OPTIONS.signal, limiter: slots.limiterFor(target), trace: () => undefined, onResult: () => undefined },
    )
    await server.until(/^open/, 4)
    await slots.run('other', async () => {
      isDone = true
      return Promise.resolve()
    })
    const { error, names } = await report
    assert.deepEqual([error, names.filter(({ outcome }) => outcome === 'started').length], [null, 40])
    assert.ok((server.asked[1]?.length ?? 0) < 7)
  })
})
