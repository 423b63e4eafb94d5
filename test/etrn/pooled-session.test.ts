import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import { StepError } from '../../src/errors.js'
import { PooledSession } from '../../src/etrn/pooled-session.js'
import { parseNodeName } from '../../src/input/node-name.js'
import { parseServer } from '../../src/input/server-address.js'
import { SessionError } from '../../src/smtp/errors.js'
import { Redactor } from '../../src/smtp/redact.js'
import type { Server } from '../../src/smtp/session-settings.js'
import type { TraceEvent } from '../../src/smtp/trace.js'
import { fixture } from '../helpers/files.js'
import { BYE, close, type Conversation, HELLO, scripted, silence } from '../helpers/scripted-server.js'

const SETTINGS = {
  helo: 'gw.site.example',
  self: [],
  local: undefined,
  family: undefined,
  timeoutMs: 60_000,
  assumeEtrn: false,
}
const NAME = await parseNodeName('a.example', { allowWide: false })

function sessionOf(setupTrips = 0): PooledSession {
  return new PooledSession(1, false, setupTrips, { namesPerSession: 7 })
}

function serverAt(port: number): Server {
  const files = { ca: undefined, cert: undefined, key: undefined }
  const tls = { level: 'may', fingerprint: undefined, name: undefined, minVersion: 'TLSv1.2', ...files } as const
  return { ...parseServer(`127.0.0.1:${port}`), tls, credentials: undefined, redactor: new Redactor() }
}

/** Opens the session with a server that plays these conversations. */
async function open(
  t: TestContext,
  session: PooledSession,
  conversations: readonly Conversation[],
  onEvent: (event: TraceEvent) => void = () => undefined,
  signal = new AbortController().signal,
): Promise<Server> {
  const { port } = await scripted(t, ...conversations)
  return session.open(serverAt(port), { ...SETTINGS, signal }, onEvent)
}

const HELLO_WITH_TLS: Conversation = [
  'S: 220 mx',
  'C: EHLO gw.site.example',
  'S: 250-mx',
  'S: 250-STARTTLS',
  'S: 250 ETRN',
]

suite('PooledSession', () => {
  test('can request seven names at first, and none after QUIT', async () => {
    const session = sessionOf()
    assert.equal(session.namesLeft, 7)
    await session.quit()
    assert.equal(session.namesLeft, 0)
  })
  test('counts the connection and each reply as a round trip, and expects one less after each', async (t) => {
    const session = sessionOf(5)
    const delays: number[] = []
    await open(t, session, [[...HELLO, ...BYE]], ({ type }) => {
      if (type === 'connected' || type === 'received') delays.push(session.delay)
    })
    assert.deepEqual([delays, session.roundTrips], [[4, 3, 2], 3])
    assert.deepEqual([session.isOpen, session.delay], [true, 0])
    await session.quit()
  })
  test('counts the TLS handshake as a round trip', async (t) => {
    const session = sessionOf(0)
    const tls = { cert: fixture('self.pem'), key: fixture('self.key') }
    const hello = HELLO_WITH_TLS.slice(1)
    await open(t, session, [[...HELLO_WITH_TLS, 'C: STARTTLS', 'S: 220 go', { tls }, ...hello, ...BYE]])
    assert.deepEqual([session.roundTrips, session.facts.tls?.verified], [6, false])
    await session.quit()
  })
  test('expects no round trip less than none', async (t) => {
    const session = sessionOf(1)
    const delays: number[] = []
    await open(t, session, [[...HELLO, ...BYE]], ({ type }) => {
      if (type === 'connected' || type === 'received') delays.push(session.delay)
    })
    assert.deepEqual(delays, [0, 0, 0])
    await session.quit()
  })
  test('expects all round trips again if it connects anew without TLS, and returns the server without TLS', async (t) => {
    const session = sessionOf(6)
    const delays: number[] = []
    const failing: Conversation = [...HELLO_WITH_TLS, 'C: STARTTLS', 'S: 220 go', { tls: {}, fails: true }]
    const reached = await open(t, session, [failing, [...HELLO_WITH_TLS, ...BYE]], ({ type }) => {
      if (type === 'connected' || type === 'received') delays.push(session.delay)
    })
    assert.deepEqual([delays, session.roundTrips], [[5, 4, 3, 2, 5, 4, 3], 3])
    assert.equal(reached.tls.level, 'none')
    await session.quit()
  })
  test('keeps the facts of its events', async (t) => {
    const session = sessionOf()
    await open(t, session, [[...HELLO, ...BYE]])
    const { address, greeting, extensions, tls } = session.facts
    assert.deepEqual(
      [address, greeting, [...(extensions ?? []).keys()], tls],
      ['127.0.0.1', 'mx.example ESMTP', ['ETRN'], null],
    )
    await session.quit()
  })
  test('keeps the name that it has sent until its reply arrives, which it counts', async (t) => {
    const session = sessionOf()
    const sent: unknown[] = []
    const note = (): unknown => sent.push(session.pendingName, session.namesLeft, session.replies)
    await open(t, session, [[...HELLO, 'C: ETRN a.example', note, 'S: 250 OK', ...BYE]])
    assert.equal(session.pendingName, undefined)
    const answer = await session.request(() => NAME)
    assert.deepEqual(sent, [NAME, 6, 0])
    assert.deepEqual([answer?.name, answer?.result.code], [NAME, 250])
    assert.deepEqual([session.pendingName, session.namesLeft, session.replies], [undefined, 6, 1])
    await session.quit()
  })
  test('loses the connection at a 421, and keeps the name', async (t) => {
    const session = sessionOf()
    await open(t, session, [[...HELLO, 'C: ETRN a.example', 'S: 421 too busy', ...BYE]])
    await assert.rejects(
      session.request(() => NAME),
      {
        message: 'the server closed the connection after ETRN (421 too busy)',
        exitStatus: 75,
        kind: 'connection-lost',
      },
    )
    assert.deepEqual([session.pendingName, session.replies], [NAME, 0])
    await session.quit()
  })
  test('sends nothing if there is no name', async (t) => {
    const session = sessionOf()
    await open(t, session, [[...HELLO, ...BYE]])
    assert.equal(await session.request(() => undefined), undefined)
    assert.deepEqual([session.pendingName, session.namesLeft], [undefined, 7])
    await session.quit()
  })
  for (const [title, ...steps] of [
    [
      'before QUIT',
      Buffer.from('220 mx\r\n'),
      'C: EHLO gw.site.example',
      Buffer.from('250-mx\r\n250 ETRN\r\n550 no\r\n'),
    ],
    ['after QUIT', ...HELLO],
  ] as const)
    test(`does not mind a surplus reply ${title} if it has no results`, async (t) => {
      const session = sessionOf()
      const warnings: TraceEvent[] = []
      await open(t, session, [[...steps, 'C: QUIT', 'S: 550 no', close]], (event) => {
        if (event.type === 'warning') warnings.push(event)
      })
      assert.equal(await session.quit(), false)
      assert.deepEqual(warnings, [])
    })
  test('ends a session that has not reached ETRN if it is cancelled', { timeout: 10_000 }, async (t) => {
    const session = sessionOf()
    const opening = open(t, session, [['C: QUIT']], ({ type }) => {
      if (type === 'connected') setImmediate(() => session.cancel())
    })
    await assert.rejects(opening, SessionError)
    assert.equal(session.isOpen, false)
  })
  test('goes on if it is cancelled after it has reached ETRN', async (t) => {
    const session = sessionOf()
    await open(t, session, [[...HELLO, 'C: ETRN a.example', 'S: 250 OK', ...BYE]])
    session.cancel()
    assert.equal((await session.request(() => NAME))?.result.code, 250)
    await session.quit()
  })
  test('ends with the reason of the signal of the run', { timeout: 10_000 }, async (t) => {
    const ending = new AbortController()
    const opening = open(
      t,
      sessionOf(),
      [['C: QUIT', silence]],
      ({ type }) => {
        const reason = new StepError('SIGTERM', { exitStatus: 143, kind: 'interrupted' })
        if (type === 'connected') setImmediate(() => ending.abort(reason))
      },
      ending.signal,
    )
    await assert.rejects(opening, { message: 'SIGTERM', exitStatus: 143, kind: 'interrupted' })
  })
  test('masks in texts and errors what the redactor of the server masks', async (t) => {
    const session = sessionOf()
    const { port } = await scripted(t, [...HELLO, ...BYE])
    const server = { ...serverAt(port), redactor: new Redactor('secret-word') }
    const { signal } = new AbortController()
    await session.open(server, { ...SETTINGS, signal }, () => undefined)
    await session.quit()
    assert.equal(session.redactor.redact('535 secret-word'), '535 ****')
    const error = session.redactor.redactError(new SessionError('auth', '535 secret-word', { exitStatus: 77 }))
    assert.deepEqual([error.message, error.exitStatus], ['535 ****', 77])
  })
})
