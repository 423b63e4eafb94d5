import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { suite, test } from 'node:test'
import { checkConnectionEnds } from './check-connection-ends.js'
import { runAfterTurns } from './event-loop.js'
import { createRun, type ObservedConnection } from './fuzz-run.js'
import { startServer } from './fuzz-server.js'
import { createStream } from './reference.js'
import { learnedLimit, mayConcernSession } from './session-limits.js'
import { actionOf, type ConnectionScript, type TestCase, testCaseOf } from './test-case.js'

// Proves that the checks fail for a client that breaks a rule.

const waitForTurns = async (): Promise<void> => new Promise((resolve) => runAfterTurns(resolve, 20))

/** Sends the lines one by one in each of the connections, whatever the server replies; returns the failures of the checks. */
async function failuresOf(testCase: TestCase, lines: readonly string[], connections = 1): Promise<readonly string[]> {
  // This client waits for nothing, so that a stall is no excuse for a missing QUIT.
  const run = { ...createRun(testCase, 3000, () => undefined), startedMs: Infinity }
  const { port, server, connectionEnds } = await startServer(run)
  const sockets = Array.from({ length: connections }, () => connect({ host: '127.0.0.1', port }).resume())
  const waitUntilRead = async (octets: number): Promise<void> => {
    const isRead = (): boolean =>
      run.connections.length === connections &&
      run.connections.every(({ bareSocket }) => bareSocket.bytesRead === octets)
    do await waitForTurns()
    while (!isRead())
    await waitForTurns()
  }
  await Promise.all(sockets.map(async (socket) => once(socket, 'connect')))
  let octets = 0
  await waitUntilRead(octets)
  for (const line of lines) {
    for (const socket of sockets) socket.write(line)
    await waitUntilRead((octets += line.length))
  }
  for (const socket of sockets) socket.end()
  server.close()
  await once(server, 'close')
  await Promise.all(connectionEnds)
  run.tracedQuits = connections
  checkConnectionEnds(run)
  return run.failures
}

type Fault = {
  readonly title: string
  readonly lines: readonly string[]
  readonly failure: RegExp
  readonly script?: Partial<ConnectionScript>
}

suite('checks of a client that breaks a rule', { concurrency: true }, () => {
  const EHLO = 'EHLO gw.site.example\r\n'
  const QUIT = 'QUIT\r\n'
  const etrn = (index: number): string => `ETRN n${index}.example\r\n`
  const { names } = testCaseOf()
  const faults: readonly Fault[] = [
    {
      title: 'two commands sent at once are a failure',
      lines: [EHLO + etrn(0), QUIT],
      failure: /^sent before the whole reply to the previous command: ETRN/,
    },
    {
      title: 'HELO is a failure',
      lines: ['HELO gw.site.example\r\n', QUIT],
      failure: /^not a command of the client: HELO/,
    },
    { title: 'ETRN before EHLO is a failure', lines: [etrn(0), QUIT], failure: /^sent before EHLO/ },
    {
      title: 'a line that ends with LF alone is a failure',
      lines: [EHLO.replace('\r', ''), QUIT],
      failure: /^a line without CRLF/,
    },
    {
      title: 'ETRN is a failure if EHLO does not list it',
      lines: [EHLO, etrn(0), QUIT],
      failure: /^ETRN is not listed/,
      script: { ehlo: [actionOf('250 ETRN\r\n')] },
    },
    {
      title: 'a name that was not given is a failure',
      lines: [EHLO, etrn(9), QUIT],
      failure: /^not a requested name: n9/,
    },
    {
      title: 'the same name a second time is a failure',
      lines: [EHLO, etrn(0), etrn(0), QUIT],
      failure: /^sent again: n0/,
    },
    {
      title: 'eight names in a session are a failure',
      lines: [EHLO, ...names.map((_, index) => etrn(index)), QUIT],
      failure: /^8 names in a session$/,
    },
    {
      title: 'another name after a 5xx reply is a failure',
      lines: [EHLO, etrn(0), etrn(1), QUIT],
      failure: /^sent after a final reply/,
      script: { etrn: [actionOf('554 no\r\n')] },
    },
    {
      title: 'another name after a surplus reply is a failure',
      lines: [EHLO, etrn(0), etrn(1), QUIT],
      failure: /^sent although the server spoke out of turn/,
      script: { etrn: [actionOf('250 OK\r\n250 OK\r\n')] },
    },
    {
      title: 'another name after a session limit is a failure',
      lines: [EHLO, etrn(0), etrn(1), etrn(2), QUIT],
      failure: /^sent after a session limit/,
      script: { etrn: [actionOf('250 OK\r\n'), actionOf('458 4.7.1 ETRN session limit reached\r\n')] },
    },
    {
      title: 'a TLS handshake is a failure if plain text followed the reply to STARTTLS',
      lines: [EHLO, 'STARTTLS\r\n', '\x16'],
      failure: /^began TLS/,
      script: { starttls: actionOf('220 go\r\n250 a\r\n') },
    },
    {
      title: 'AUTH without credentials is a failure',
      lines: [EHLO, 'AUTH LOGIN\r\n', QUIT],
      failure: /^AUTH is not allowed here/,
    },
    { title: 'a command after QUIT is a failure', lines: [EHLO, QUIT, EHLO], failure: /^sent after QUIT/ },
    {
      title: 'a connection that ends without QUIT is a failure',
      lines: [EHLO, etrn(0)],
      failure: /^connection 1 ended without QUIT$/,
    },
  ]
  for (const { title, lines, failure, script = {} } of faults) {
    test(title, async () => {
      const failures = await failuresOf(testCaseOf(script), lines)
      assert.ok(
        failures.some((one) => failure.test(one)),
        failures.join('\n'),
      )
    })
  }
  test('two sessions before a name is accepted, and five sessions at once, are failures', async () => {
    assert.match((await failuresOf(testCaseOf(), [EHLO], 2)).join('\n'), /^2 sessions before a name was accepted/)
    assert.match((await failuresOf(testCaseOf(), [EHLO], 5)).join('\n'), /^5 sessions at once/m)
  })
  test('the name that met a session limit may be sent again, but no session may be as long once more', () => {
    const run = createRun(testCaseOf(), 3000, () => undefined)
    const replies = [1, 2, 3, 4].map(() => ({ code: 250, lines: ['OK'] }))
    replies[3] = { code: 550, lines: ['5.7.1 ETRN session limit reached.'] }
    // The functions under test read no other field.
    const connection = { stream: { ...createStream(), replies }, requests: [] } as unknown as ObservedConnection
    connection.requests.push({ name: 'n0.example', index: 2, connection }, { name: 'n1.example', index: 3, connection })
    assert.deepEqual(connection.requests.map(mayConcernSession), [false, true])
    assert.equal(learnedLimit(run, connection), 1)
  })
  test('a correct session causes no failure', async () => {
    assert.deepEqual(await failuresOf(testCaseOf(), [EHLO, etrn(0), etrn(1), QUIT]), [])
  })
})
