import { subscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import fc from 'fast-check'
import { EXIT, StepError } from '../../src/errors.js'
import type { ServerReport } from '../../src/etrn/server-report.js'
import { SESSIONS_PER_SERVER } from '../../src/etrn/session-limits.js'
import { requestNames } from '../../src/etrn/session-pool.js'
import { SessionSlots } from '../../src/etrn/session-slots.js'
import { parseNodeName } from '../../src/input/node-name.js'
import type { MechanismName } from '../../src/smtp/mechanisms.js'
import { Redactor } from '../../src/smtp/redact.js'
import type { Server } from '../../src/smtp/session-settings.js'
import type { TlsLevel, TlsPolicy } from '../../src/smtp/tls-policy.js'
import { fixture } from '../helpers/files.js'
import { maxConnections } from './check-commands.js'
import { checkClientSockets, checkConnectionEnds } from './check-connection-ends.js'
import { createOutputChecks, type OutputChecks } from './check-output.js'
import { runAfterTurns } from './event-loop.js'
import { createRun, fail, type FuzzRun, record, resultOfRun, type RunResult } from './fuzz-run.js'
import { startServer } from './fuzz-server.js'
import { testCases } from './generators.js'
import { isSlow, PASSWORD, type TestCase, USER } from './test-case.js'

// Runs the client against the server of a test case, and checks it at both ends.

const ca = fixture('ca.pem')
/** One policy for each level, because OpenSSL reads the CA file once for each object. */
const TLS_POLICIES = new Map<TlsLevel, TlsPolicy>(
  (['none', 'may', 'encrypt', 'verify'] as const).map((level) => [
    level,
    { level, ca, fingerprint: undefined, name: undefined, cert: undefined, key: undefined, minVersion: 'TLSv1.2' },
  ]),
)

const TIMEOUT_MS = 3000
/** The client's timeout if the server is slow somewhere */
const SHORT_TIMEOUT_MS = 150
/** Added to the timeout of a step, because the machine may be busy. */
const GRACE_MS = 30_000
/** More trace events than any connection causes */
const MAX_EVENTS_PER_CONNECTION = 150

/** The client's sockets, by the port of the server */
const clientSockets = new Map<number, Socket[]>()
subscribe('net.client.socket', (message) => {
  // Node documents this type of message for the channel.
  const { socket } = message as { socket: Socket }
  socket.once('connect', () => clientSockets.get(socket.remotePort ?? 0)?.push(socket))
})

/** Runs the test case of this seed. */
export async function runSeed(seed: number): Promise<RunResult> {
  const [testCase] = fc.sample(testCases, { seed, numRuns: 1 })
  if (testCase === undefined) throw new Error('fast-check gave no sample')
  const result = await runTestCase(testCase)
  return { ...result, describe: () => `seed ${seed}\n${result.describe()}` }
}

export async function runTestCase(testCase: TestCase): Promise<RunResult> {
  const controller = new AbortController()
  const interruption = new StepError('interrupted', { exitStatus: EXIT.TEMPFAIL, kind: 'interrupted' })
  const timeoutMs = isSlow(testCase) ? SHORT_TIMEOUT_MS : TIMEOUT_MS
  const run = createRun(testCase, timeoutMs, () => controller.abort(interruption))
  const { port, server, connectionEnds } = await startServer(run)
  const sockets: Socket[] = []
  clientSockets.set(port, sockets)
  const watchdog = startWatchdog(run)
  try {
    const { end, ...listeners } = createOutputChecks(run)
    const options = { port, timeoutMs, signal: controller.signal }
    const report = await watchdog.guard(runClient(run, watchdog.observe(listeners), options))
    // The server may notice a closed connection later, even one that it has not accepted yet.
    await watchdog.guard(Promise.all(sockets.map(waitForClose)))
    await new Promise<void>((resolve) => runAfterTurns(resolve))
    // Node's server doesn't always notice the end of a connection after it broke TLS.
    for (const { isDamaged, bareSocket } of run.connections) if (isDamaged) bareSocket.destroy()
    await watchdog.guard(Promise.all(connectionEnds))
    checkClientSockets(run, sockets)
    checkConnectionEnds(run)
    if (report !== undefined) end(report)
  } finally {
    watchdog.stop()
    clientSockets.delete(port)
    for (const { bareSocket } of run.connections) bareSocket.destroy()
    server.close()
  }
  return resultOfRun(run)
}

async function waitForClose(socket: Socket): Promise<void> {
  return new Promise((resolve) => (socket.destroyed ? resolve() : socket.once('close', () => resolve())))
}

type ClientListeners = Omit<OutputChecks, 'end'>
type ClientOptions = { readonly port: number; readonly timeoutMs: number; readonly signal: AbortSignal }

/** Requests the names; returns undefined if the client threw, which is a failure. */
async function runClient(
  run: FuzzRun,
  listeners: ClientListeners,
  { port, timeoutMs, signal }: ClientOptions,
): Promise<ServerReport | undefined> {
  const { isImplicitTls, tlsLevel, mechanism, names: words, keepGoing, assumeEtrn } = run.testCase
  // The generator gives only names of mechanisms, and the table has every level.
  const mechanismName = (mechanism === '' ? undefined : mechanism) as MechanismName | undefined
  const tls = TLS_POLICIES.get(isImplicitTls ? 'verify' : tlsLevel) as TlsPolicy
  const credentials = mechanism === null ? undefined : { user: USER, password: PASSWORD, mechanism: mechanismName }
  const redactor = new Redactor(credentials?.password)
  const address = { word: `127.0.0.1:${port}`, host: '127.0.0.1', port, isImplicitTls }
  const server: Server = { ...address, tls, credentials, redactor }
  const hello = { helo: 'gw.site.example', family: undefined, local: undefined, self: [] }
  const settings = { ...hello, keepGoing, assumeEtrn, timeoutMs }
  const limiter = new SessionSlots(SESSIONS_PER_SERVER).limiterFor(server)
  try {
    const names = await Promise.all(words.map(async (word) => parseNodeName(word, { allowWide: false })))
    const report = await requestNames(server, names, settings, { ...listeners, signal, limiter })
    const outcomes = report.names.map(({ outcome, code }) => `${outcome} ${code ?? ''}`.trim())
    record(run, 'report', `${report.error?.message ?? 'no error'}; ${outcomes.join(', ')}`)
    return report
  } catch (error) {
    fail(run, `requestNames() threw ${error instanceof Error ? error.stack : String(error)}`)
    return undefined
  }
}

type Watchdog = {
  /** Waits for the work, or until the watchdog has seen that the run hangs or doesn't end. */
  readonly guard: <T>(work: Promise<T>) => Promise<T | undefined>
  /** Returns listeners that tell the watchdog of every event. */
  readonly observe: (listeners: ClientListeners) => ClientListeners
  readonly stop: () => void
}

/** Fails the run if no event comes for longer than a step may take, or if there are too many events. */
function startWatchdog(run: FuzzRun): Watchdog {
  const controller = new AbortController()
  const expired = new Promise<undefined>((resolve) =>
    controller.signal.addEventListener('abort', () => resolve(undefined)),
  )
  const timer = setTimeout(
    () => {
      fail(run, 'the client hangs')
      controller.abort()
    },
    2 * run.timeoutMs + GRACE_MS,
  )
  let eventsLeft = maxConnections(run.testCase) * MAX_EVENTS_PER_CONNECTION
  return {
    guard: async (work) => Promise.race([work, expired]),
    observe: ({ trace, onResult }) => ({
      onResult,
      trace: (...event) => {
        timer.refresh()
        if (eventsLeft-- === 0) {
          fail(run, 'the client does not end')
          run.interrupt()
          controller.abort()
        }
        trace(...event)
      },
    }),
    stop: () => clearTimeout(timer),
  }
}
