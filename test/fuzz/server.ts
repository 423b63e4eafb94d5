import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { createSecureContext, TLSSocket } from 'node:tls'
import { fixture } from '../helpers/files.js'
import { type Act, type Conversation, SCRAM } from './grammar.js'
import { isWithin, say, stream } from './reference.js'
import { judgeClosing, judgeLine, judgeOpening } from './rules.js'
import { afterTurns, found, note, type Scene, type Talk } from './scene.js'

/** A server on loopback that plays a script, and notes what it said and heard. */
const file = fixture
const contextOf = (name: string): ReturnType<typeof createSecureContext> =>
  createSecureContext({ cert: file(`${name}.pem`), key: file(`${name}.key`) })
const CERTIFICATES = { mx: contextOf('mx'), self: contextOf('self') }

/** More than any client takes that keeps to its limits. */
const FLOOD_OCTETS = 4 * 1024 * 1024
const BLOCK_OCTETS = 16_384

/** Begins to listen; the port. */
export async function serve(scene: Scene): Promise<{ port: number; server: Server; works: Promise<void>[] }> {
  const works: Promise<void>[] = []
  const server = createServer({ noDelay: true }, (socket) => works.push(meet(scene, socket)))
  server.listen({ host: '127.0.0.1', port: 0 })
  await once(server, 'listening')
  // listen on TCP gives an AddressInfo
  const { port } = server.address() as AddressInfo
  return { port, server, works }
}

/** What a connection needs beside what is known of it. */
type Stage = { readonly scene: Scene; readonly talk: Talk; heard: string; work: Promise<void> }

async function meet(scene: Scene, bare: Socket): Promise<void> {
  const { conversations } = scene.script
  const number = scene.talks.length + 1
  const conversation = conversations[(number - 1) % conversations.length]
  if (conversation === undefined) throw new Error('a script without conversations')
  const talk = talkOf(number, conversation, bare)
  scene.talks.push(talk)
  note(scene, `${number}`, 'connected')
  afterTurns(() => judgeOpening(scene, talk))
  const stage: Stage = { scene, talk, heard: '', work: Promise.resolve() }
  bare.on('error', () => (talk.hadError = true))
  bare.on('end', () => (talk.endedBy ??= 'client'))
  const closed = new Promise<void>((resolve) => bare.once('close', () => resolve()))
  stage.work = begin(stage)
  await closed
  talk.endedBy ??= 'client'
  talk.isClosed = true
  talk.closedMs = performance.now()
  judgeClosing(scene, talk)
  note(scene, `${number}`, `closed, by the ${talk.endedBy} first`)
  await stage.work
}

function talkOf(number: number, conversation: Conversation, bare: Socket): Talk {
  const now = performance.now()
  return {
    ...{ number, conversation, bare, socket: bare, stream: stream(), tls: 'no', commands: 0, tries: [] },
    ...{ hellos: 0, hello: -1, auths: 0, auth: -1, starttls: -1 },
    ...{ saidQuit: false, endedBy: undefined, wasReset: false, isClosed: false, hadError: false, isDamaged: false },
    ...{ heardMs: now, saidMs: now, closedMs: Infinity },
  }
}

async function begin(stage: Stage): Promise<void> {
  const { scene, talk } = stage
  if (scene.script.isImplicitTls && !(await secured(stage))) return
  if (talk.socket === talk.bare) listen(stage)
  await perform(stage, talk.conversation.greeting)
}

function listen(stage: Stage): void {
  stage.talk.socket.on('data', (octets: Buffer) => hear(stage, octets.toString('latin1')))
}

function hear(stage: Stage, octets: string): void {
  const { scene, talk } = stage
  const whole = talk.stream.whole.length
  talk.heardMs = performance.now()
  if (octets.startsWith('\x16') && talk.starttls === talk.commands) {
    talk.tls = 'begun'
    if (talk.stream.earlyAt <= talk.commands + 1) found(scene, 'TLS begun behind clear text')
  }
  // A handshake that nobody takes part in, because of octets that came behind the reply
  if (talk.tls === 'begun' && octets !== 'QUIT\r\n') return
  const lines = (stage.heard + octets).split(/(?<=\n)/)
  stage.heard = lines.at(-1)?.endsWith('\n') ? '' : (lines.pop() ?? '')
  for (const line of lines) {
    note(scene, `${talk.number} C`, line)
    if (!line.endsWith('\r\n')) found(scene, `a line without CRLF: ${line}`)
    judgeLine(scene, talk, line, whole)
    const act = actFor(talk, line)
    const index = talk.commands
    stage.work = stage.work.then(async () => answer(stage, act, line, index))
  }
}

const NOT_KNOWN: Act = { writes: ['500 what?\r\n'], pauseMs: 0, flood: '', then: 'wait' }

/** What the script has for a line that was just counted. */
function actFor({ conversation, hellos, auths, tries }: Talk, line: string): Act {
  const { quit, hello, starttls, etrn, auth } = conversation
  if (line === 'QUIT\r\n') return quit
  if (line === 'STARTTLS\r\n') return starttls
  const act = line.startsWith('ETRN ')
    ? etrn[(tries.length - 1) % etrn.length]
    : line.startsWith('EHLO ')
      ? hello[Math.min(hellos, hello.length) - 1]
      : auth[(auths - 1) % auth.length]
  return act ?? NOT_KNOWN
}

async function answer(stage: Stage, act: Act, line: string, index: number): Promise<void> {
  const { talk } = stage
  await perform(stage, act, line)
  if (act === talk.conversation.starttls && talk.stream.whole[index]?.code === 220) await allowed(stage, index)
}

/** TLS begins now, but behind clear text: there the client must not begin, and what it says instead has to be heard. */
async function allowed(stage: Stage, index: number): Promise<void> {
  const { talk } = stage
  if (talk.tls !== 'no' || talk.endedBy === 'server') return
  talk.tls = 'begun'
  const isMore = talk.stream.whole.length > index + 1 || talk.stream.isBroken || isWithin(talk.stream)
  if (!isMore) await secured(stage)
}

/** The server's half of a handshake, or what the script has in its place; whether it came to TLS. */
async function secured(stage: Stage): Promise<boolean> {
  const { talk } = stage
  const { bare } = talk
  const { certificate, handshake } = talk.conversation
  talk.tls = certificate === null ? 'never' : 'begun'
  bare.removeAllListeners('data')
  if (certificate === null) {
    bare.once('data', () => {
      bare.resume()
      stage.work = stage.work.then(async () => perform(stage, handshake))
    })
    return false
  }
  const socket = new TLSSocket(bare, { isServer: true, secureContext: CERTIFICATES[certificate] })
  return new Promise((resolve) => {
    socket.on('error', () => {
      talk.hadError = true
      resolve(false)
    })
    socket.on('end', () => (talk.endedBy ??= 'client'))
    for (const one of [socket, bare]) one.once('close', () => resolve(false))
    if (bare.destroyed) resolve(false)
    socket.once('secure', () => {
      Object.assign(talk, { socket, tls: 'done' })
      listen(stage)
      resolve(true)
    })
  })
}

async function perform(stage: Stage, act: Act, heard = ''): Promise<void> {
  const { talk } = stage
  for (const [index, octets] of act.writes.entries()) {
    if (index > 0) await (act.pauseMs === 0 ? turn() : sleep(act.pauseMs))
    write(stage, octets.replaceAll(SCRAM, challengeTo(heard)))
  }
  if (act.flood !== '') await flood(stage, act.flood, act.pauseMs)
  if (act.then === 'wait' || talk.endedBy !== undefined) return
  note(stage.scene, `${talk.number} S`, `(${act.then})`)
  // Octets that are no TLS end nothing by themselves.
  talk.isDamaged ||= act.then === 'damage'
  if (act.then === 'damage' && talk.tls === 'done') return void talk.bare.write('\x17\x03\x03\x00\x20 no record')
  talk.endedBy = 'server'
  talk.wasReset = act.then !== 'close'
  if (talk.wasReset) talk.bare.resetAndDestroy()
  else talk.socket.end()
}

function write({ scene, talk }: Stage, octets: string): boolean {
  if (!talk.socket.writable || talk.endedBy !== undefined) return false
  if (octets === '') return true
  if (talk.stream.octets < 2 * BLOCK_OCTETS) note(scene, `${talk.number} S`, octets)
  talk.saidMs = performance.now()
  say(talk.stream, octets)
  return talk.socket.write(Buffer.from(octets, 'latin1'))
}

async function flood(stage: Stage, piece: string, pauseMs: number): Promise<void> {
  const { socket } = stage.talk
  const block = pauseMs > 0 ? piece : piece.repeat(Math.ceil(BLOCK_OCTETS / piece.length))
  for (let sent = 0; sent < FLOOD_OCTETS && socket.writable; sent += block.length) {
    if (!write(stage, block)) await drained(socket)
    else await (pauseMs > 0 ? sleep(pauseMs) : turn())
  }
}

async function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off('drain', done).off('close', done)
      resolve()
    }
    socket.on('drain', done).on('close', done)
    if (socket.destroyed) done()
  })
}

/** The first challenge of a SCRAM server, with the nonce that the client has just said. */
function challengeTo(line: string): string {
  const said = Buffer.from(line.trim().split(' ').at(-1) ?? '', 'base64').toString()
  const nonce = /r=([^,]*)/.exec(said)?.[1] ?? 'none'
  return Buffer.from(`r=${nonce}more,s=c2FsdA==,i=4096`).toString('base64')
}
