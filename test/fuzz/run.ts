import { subscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import fc from 'fast-check'
import { EXIT, StepError } from '../../src/errors.js'
import type { ServerReport } from '../../src/etrn/outcome.js'
import { requestNames } from '../../src/etrn/session-pool.js'
import { parseNodeName } from '../../src/input/node-name.js'
import type { MechanismName } from '../../src/smtp/mechanisms.js'
import type { Server } from '../../src/smtp/server.js'
import type { TlsLevel, TlsPolicy } from '../../src/smtp/tls-policy.js'
import { fixture } from '../helpers/files.js'
import { isSlow, PASSWORD, type Script, scripts, USER } from './grammar.js'
import { type Audience, audience, judgeEnd, judgeSockets } from './judge.js'
import { mostConnections } from './rules.js'
import { afterTurns, countsOf, found, note, type Played, type Scene, sceneOf, told } from './scene.js'
import { serve } from './server.js'

/** One run of ask() against a server that plays a script, watched from both ends. */
const ca = fixture('ca.pem')
/** One for each level, as a run has it: what OpenSSL makes of it is made once. */
const POLICIES = new Map<TlsLevel, TlsPolicy>(
  (['none', 'may', 'encrypt', 'verify'] as const).map((level) => [
    level,
    { level, ca, fingerprint: undefined, name: undefined, cert: undefined, key: undefined, minVersion: 'TLSv1.2' },
  ]),
)

const TIMEOUT_MS = 3000
/** Where the server is silent somewhere */
const SHORT_TIMEOUT_MS = 150
/** No step lasts that much longer than its time, however busy the machine is. */
const GRACE_MS = 30_000
/** Steps, lines and replies of a connection that are told to the trace, at most */
const EVENTS_A_CONNECTION = 150

/** The client's sockets, by the server's port. */
const clients = new Map<number, Socket[]>()
subscribe('net.client.socket', (message) => {
  // What this channel gives (Node's documentation of diagnostics_channel)
  const { socket } = message as { socket: Socket }
  socket.once('connect', () => clients.get(socket.remotePort ?? 0)?.push(socket))
})

/** Plays the script that this seed gives. */
export async function playSeed(seed: number): Promise<Played> {
  const [script] = fc.sample(scripts, { seed, numRuns: 1 })
  if (script === undefined) throw new Error('no sample')
  return play(script)
}

export async function play(script: Script): Promise<Played> {
  const ending = new AbortController()
  const interruption = new StepError('interrupted', { exitStatus: EXIT.TEMPFAIL, kind: 'interrupted' })
  const timeoutMs = isSlow(script) ? SHORT_TIMEOUT_MS : TIMEOUT_MS
  const scene = sceneOf(script, timeoutMs, () => ending.abort(interruption))
  const { port, server, works } = await serve(scene)
  const sockets: Socket[] = []
  clients.set(port, sockets)
  const dog = watchdog(scene)
  try {
    const { end, ...tellings } = audience(scene)
    const report = await dog.watch(asked(scene, dog.heard(tellings), { port, timeoutMs, signal: ending.signal }))
    // What ask() has let go of needs a moment to be gone, and to be heard at the other end, be it only now accepted.
    await dog.watch(Promise.all(sockets.map(gone)))
    await new Promise<void>((resolve) => afterTurns(resolve))
    // Node's server does not always notice the end of a connection in which it was made to break TLS.
    for (const { isDamaged, bare } of scene.talks) if (isDamaged) bare.destroy()
    await dog.watch(Promise.all(works))
    judgeSockets(scene, sockets)
    judgeEnd(scene)
    if (report !== undefined) end(report)
  } finally {
    dog.end()
    clients.delete(port)
    for (const { bare } of scene.talks) bare.destroy()
    server.close()
  }
  const { findings, outcomes } = scene
  return { ...countsOf(scene), outcomes, findings, told: () => told(scene) }
}

async function gone(socket: Socket): Promise<void> {
  return new Promise((resolve) => (socket.destroyed ? resolve() : socket.once('close', () => resolve())))
}

type Tellings = Omit<Audience, 'end'>
type Around = { readonly port: number; readonly timeoutMs: number; readonly signal: AbortSignal }

/** What ask() gives; undefined: it threw, which it must not. */
async function asked(scene: Scene, tellings: Tellings, { port, ...limits }: Around): Promise<ServerReport | undefined> {
  const { isImplicitTls, level, mechanism, names: words, keepGoing, assumeEtrn } = scene.script
  // The grammar has names of mechanisms only, and the table has every level.
  const named = (mechanism === '' ? undefined : mechanism) as MechanismName | undefined
  const tls = POLICIES.get(isImplicitTls ? 'verify' : level) as TlsPolicy
  const credentials = mechanism === null ? undefined : { user: USER, password: PASSWORD, mechanism: named }
  const server: Server = { word: `127.0.0.1:${port}`, host: '127.0.0.1', port, isImplicitTls, tls, credentials }
  const { timeoutMs, signal } = limits
  const hello = { helo: 'gw.site.example', family: undefined, local: undefined, self: [] }
  const settings = { ...hello, keepGoing, assumeEtrn, timeoutMs }
  const turn = async <T>(work: () => Promise<T>): Promise<T> => work()
  try {
    const names = await Promise.all(words.map(async (word) => parseNodeName(word, { allowWide: false })))
    const report = await requestNames(server, names, settings, { ...tellings, signal, limiter: turn })
    const outcomes = report.names.map(({ outcome, code }) => `${outcome} ${code ?? ''}`.trim())
    note(scene, 'ask()', `${report.error?.message ?? 'no error'}; ${outcomes.join(', ')}`)
    return report
  } catch (error) {
    found(scene, `ask() threw ${error instanceof Error ? error.stack : String(error)}`)
    return undefined
  }
}

type Dog = {
  /** Waits for the work, as long as something happens and it is not too much. */
  readonly watch: <T>(work: Promise<T>) => Promise<T | undefined>
  readonly heard: (tellings: Tellings) => Tellings
  readonly end: () => void
}

/** Each step ends in its time, so something has to happen before long; and not for ever. */
function watchdog(scene: Scene): Dog {
  const barking = new AbortController()
  const barked = new Promise<undefined>((resolve) => barking.signal.addEventListener('abort', () => resolve(undefined)))
  const timer = setTimeout(
    () => {
      found(scene, 'nothing happens any more, and it does not end')
      barking.abort()
    },
    2 * scene.timeoutMs + GRACE_MS,
  )
  let left = mostConnections(scene.script) * EVENTS_A_CONNECTION
  return {
    watch: async (work) => Promise.race([work, barked]),
    heard: ({ trace, onResult }) => ({
      onResult,
      trace: (...event) => {
        timer.refresh()
        if (left-- === 0) {
          found(scene, 'it goes on without end')
          scene.interrupt()
          barking.abort()
        }
        trace(...event)
      },
    }),
    end: () => clearTimeout(timer),
  }
}
