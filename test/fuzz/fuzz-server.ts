import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { createSecureContext, TLSSocket } from 'node:tls'
import { fixture } from '../helpers/files.js'
import { checkLine, checkNewConnection, updateAfterClose } from './check-commands.js'
import { runAfterTurns } from './event-loop.js'
import { fail, type FuzzRun, type ObservedConnection, record } from './fuzz-run.js'
import { appendOctets, createStream, hasPartialReply } from './reference.js'
import { type ConnectionScript, SCRAM_PLACEHOLDER, type ServerAction } from './test-case.js'

// A server on loopback that plays the scripts of a test case, and records what both ends send.

const contextOf = (name: string): ReturnType<typeof createSecureContext> =>
  createSecureContext({ cert: fixture(`${name}.pem`), key: fixture(`${name}.key`) })
const TLS_CONTEXTS = { mx: contextOf('mx'), self: contextOf('self') }

/** More than a client may read that keeps to its limits. */
const FLOOD_OCTETS = 4 * 1024 * 1024
const BLOCK_OCTETS = 16_384

export type FuzzServer = {
  readonly port: number
  readonly server: Server
  /** One promise for each connection; it resolves when the connection is closed and its script has ended. */
  readonly connectionEnds: readonly Promise<void>[]
}

export async function startServer(run: FuzzRun): Promise<FuzzServer> {
  const connectionEnds: Promise<void>[] = []
  const server = createServer({ noDelay: true }, (socket) => connectionEnds.push(serveConnection(run, socket)))
  server.listen({ host: '127.0.0.1', port: 0 })
  await once(server, 'listening')
  // listen on TCP gives an AddressInfo
  const { port } = server.address() as AddressInfo
  return { port, server, connectionEnds }
}

/** A connection, the part of a line that has arrived, and the actions that are due one after another */
type ServedConnection = {
  readonly run: FuzzRun
  readonly connection: ObservedConnection
  partialLine: string
  actions: Promise<void>
}

async function serveConnection(run: FuzzRun, bareSocket: Socket): Promise<void> {
  const { connections: scripts } = run.testCase
  const number = run.connections.length + 1
  const script = scripts[(number - 1) % scripts.length]
  if (script === undefined) throw new Error('a test case without connections')
  const connection = createConnection(number, script, bareSocket)
  run.connections.push(connection)
  record(run, `${number}`, 'connected')
  runAfterTurns(() => checkNewConnection(run, connection))
  const served: ServedConnection = { run, connection, partialLine: '', actions: Promise.resolve() }
  bareSocket.on('error', () => (connection.hadError = true))
  bareSocket.on('end', () => (connection.endedBy ??= 'client'))
  const closed = new Promise<void>((resolve) => bareSocket.once('close', () => resolve()))
  served.actions = greetClient(served)
  await closed
  connection.endedBy ??= 'client'
  connection.isClosed = true
  connection.closedMs = performance.now()
  updateAfterClose(run, connection)
  record(run, `${number}`, `closed, first by the ${connection.endedBy}`)
  await served.actions
}

function createConnection(number: number, script: ConnectionScript, bareSocket: Socket): ObservedConnection {
  const now = performance.now()
  return {
    ...{ number, script, bareSocket, socket: bareSocket, stream: createStream(), tls: 'no', commands: 0, requests: [] },
    ...{ ehloCount: 0, ehloIndex: -1, authCount: 0, authIndex: -1, starttlsIndex: -1 },
    ...{ hasQuit: false, endedBy: undefined, wasReset: false, isClosed: false, hadError: false, isDamaged: false },
    ...{ receivedMs: now, sentMs: now, closedMs: Infinity },
  }
}

async function greetClient(served: ServedConnection): Promise<void> {
  const { run, connection } = served
  if (run.testCase.isImplicitTls && !(await startServerTls(served))) return
  if (connection.socket === connection.bareSocket) readCommands(served)
  await performAction(served, connection.script.greeting)
}

function readCommands(served: ServedConnection): void {
  served.connection.socket.on('data', (octets: Buffer) => handleOctets(served, octets.toString('latin1')))
}

function handleOctets(served: ServedConnection, octets: string): void {
  const { run, connection } = served
  const replies = connection.stream.replies.length
  connection.receivedMs = performance.now()
  if (octets.startsWith('\x16') && connection.starttlsIndex === connection.commands) {
    connection.tls = 'begun'
    if (connection.stream.forbiddenFrom <= connection.commands + 1)
      fail(run, 'began TLS although unencrypted octets followed the reply to STARTTLS')
  }
  // The server takes no part in this handshake, because it sent octets after the reply.
  if (connection.tls === 'begun' && octets !== 'QUIT\r\n') return
  const lines = (served.partialLine + octets).split(/(?<=\n)/)
  served.partialLine = lines.at(-1)?.endsWith('\n') ? '' : (lines.pop() ?? '')
  for (const line of lines) {
    record(run, `${connection.number} C`, line)
    if (!line.endsWith('\r\n')) fail(run, `a line without CRLF: ${line}`)
    checkLine(run, connection, line, replies)
    const action = actionFor(run, connection, line)
    const index = connection.commands
    served.actions = served.actions.then(async () => answerLine(served, action, line, index))
  }
}

const UNKNOWN_COMMAND: ServerAction = { writes: ['500 unknown command\r\n'], pauseMs: 0, flood: '', ending: 'wait' }

/** Returns the script's action for a line that checkLine() has just counted. */
function actionFor({ testCase }: FuzzRun, connection: ObservedConnection, line: string): ServerAction {
  const { script, ehloCount, authCount, requests } = connection
  const { quit, ehlo, starttls, etrn, auth } = script
  const { sessionLimit } = testCase
  if (line.startsWith('ETRN ') && sessionLimit !== null && requests.length > sessionLimit.names)
    return sessionLimit.action
  if (line === 'QUIT\r\n') return quit
  if (line === 'STARTTLS\r\n') return starttls
  const action = line.startsWith('ETRN ')
    ? etrn[(requests.length - 1) % etrn.length]
    : line.startsWith('EHLO ')
      ? ehlo[Math.min(ehloCount, ehlo.length) - 1]
      : auth[(authCount - 1) % auth.length]
  return action ?? UNKNOWN_COMMAND
}

async function answerLine(served: ServedConnection, action: ServerAction, line: string, index: number): Promise<void> {
  const { connection } = served
  await performAction(served, action, line)
  if (action === connection.script.starttls && connection.stream.replies[index]?.code === 220)
    await continueAfterStarttls(served, index)
}

/** Starts TLS, unless octets followed the reply to STARTTLS: then the client must not start, and the server reads on without TLS. */
async function continueAfterStarttls(served: ServedConnection, index: number): Promise<void> {
  const { connection } = served
  const { stream } = connection
  if (connection.tls !== 'no' || connection.endedBy === 'server') return
  connection.tls = 'begun'
  const hasSurplus = stream.replies.length > index + 1 || stream.isMalformed || hasPartialReply(stream)
  if (!hasSurplus) await startServerTls(served)
}

/** Runs the server's side of the handshake, or the action that replaces it; returns whether TLS is up. */
async function startServerTls(served: ServedConnection): Promise<boolean> {
  const { connection } = served
  const { bareSocket } = connection
  const { certificate, handshake } = connection.script
  connection.tls = certificate === null ? 'replaced' : 'begun'
  bareSocket.removeAllListeners('data')
  if (certificate === null) {
    bareSocket.once('data', () => {
      bareSocket.resume()
      served.actions = served.actions.then(async () => performAction(served, handshake))
    })
    return false
  }
  const socket = new TLSSocket(bareSocket, { isServer: true, secureContext: TLS_CONTEXTS[certificate] })
  return new Promise((resolve) => {
    socket.on('error', () => {
      connection.hadError = true
      resolve(false)
    })
    socket.on('end', () => (connection.endedBy ??= 'client'))
    for (const one of [socket, bareSocket]) one.once('close', () => resolve(false))
    if (bareSocket.destroyed) resolve(false)
    socket.once('secure', () => {
      Object.assign(connection, { socket, tls: 'done' })
      readCommands(served)
      resolve(true)
    })
  })
}

async function performAction(served: ServedConnection, action: ServerAction, line = ''): Promise<void> {
  const { connection, run } = served
  const { sessionLimit } = run.testCase
  if (action === sessionLimit?.action && sessionLimit.isUnencrypted && connection.tls === 'done') {
    endUnencrypted(connection, action)
    return
  }
  for (const [index, octets] of action.writes.entries()) {
    if (index > 0) await (action.pauseMs === 0 ? nextTurn() : sleep(action.pauseMs))
    writeOctets(served, octets.replaceAll(SCRAM_PLACEHOLDER, scramChallengeFor(line)))
  }
  if (action.flood !== '') await sendFlood(served, action.flood, action.pauseMs)
  if (action.ending === 'wait' || connection.endedBy !== undefined) return
  record(run, `${connection.number} S`, `(${action.ending})`)
  // Damaged TLS doesn't end the connection by itself.
  connection.isDamaged ||= action.ending === 'damage'
  if (action.ending === 'damage' && connection.tls === 'done')
    return void connection.bareSocket.write('\x17\x03\x03\x00\x20 no record')
  connection.endedBy = 'server'
  connection.wasReset = action.ending !== 'close'
  if (connection.wasReset) connection.bareSocket.resetAndDestroy()
  else connection.socket.end()
}

/** Sends octets that TLS doesn't protect, and closes. The client can't read them as a reply. */
function endUnencrypted(connection: ObservedConnection, { writes }: ServerAction): void {
  connection.isDamaged = true
  connection.endedBy = 'server'
  connection.bareSocket.end(Buffer.from(writes.join(''), 'latin1'))
}

function writeOctets({ run, connection }: ServedConnection, octets: string): boolean {
  if (!connection.socket.writable || connection.endedBy !== undefined) return false
  if (octets === '') return true
  if (connection.stream.octets < 2 * BLOCK_OCTETS) record(run, `${connection.number} S`, octets)
  connection.sentMs = performance.now()
  connection.stream.isLogin = connection.commands > 0 && connection.authIndex === connection.commands
  appendOctets(connection.stream, octets)
  return connection.socket.write(Buffer.from(octets, 'latin1'))
}

async function sendFlood(served: ServedConnection, piece: string, pauseMs: number): Promise<void> {
  const { socket } = served.connection
  const block = pauseMs > 0 ? piece : piece.repeat(Math.ceil(BLOCK_OCTETS / piece.length))
  for (let sent = 0; sent < FLOOD_OCTETS && socket.writable; sent += block.length) {
    if (!writeOctets(served, block)) await waitForDrain(socket)
    else await (pauseMs > 0 ? sleep(pauseMs) : nextTurn())
  }
}

async function waitForDrain(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const finish = (): void => {
      socket.off('drain', finish).off('close', finish)
      resolve()
    }
    socket.on('drain', finish).on('close', finish)
    if (socket.destroyed) finish()
  })
}

/** Returns a SCRAM server's first challenge, with the nonce of the client's line. */
function scramChallengeFor(line: string): string {
  const message = Buffer.from(line.trim().split(' ').at(-1) ?? '', 'base64').toString()
  const nonce = /r=([^,]*)/.exec(message)?.[1] ?? 'none'
  return Buffer.from(`r=${nonce}more,s=c2FsdA==,i=4096`).toString('base64')
}
