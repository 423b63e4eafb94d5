import { appendOctets, createStream } from './reference.js'

// A test case: the names to request, the client's options, and a script for each connection to the server.

/** What a server does in one turn. Octets are Latin-1 strings, so that a script can be printed. */
export type ServerAction = {
  /** Each element is one write. */
  readonly writes: readonly string[]
  /** The pause between two writes, and between two pieces of a flood; 0 is one turn of the event loop. */
  readonly pauseMs: number
  /** Octets to repeat after the writes until the client closes; '' for none */
  readonly flood: string
  /** damage: octets that aren't a TLS record; without TLS it resets the connection. */
  readonly ending: 'wait' | 'close' | 'reset' | 'damage'
}

/** How the server behaves in one connection. The last EHLO action is repeated; lists for AUTH and ETRN start again at their end. */
export type ConnectionScript = {
  readonly greeting: ServerAction
  readonly ehlo: readonly ServerAction[]
  readonly starttls: ServerAction
  /** The fixture for a real handshake; null replaces the handshake by the action `handshake`. */
  readonly certificate: 'mx' | 'self' | null
  readonly handshake: ServerAction
  readonly auth: readonly ServerAction[]
  readonly etrn: readonly ServerAction[]
  readonly quit: ServerAction
}

/** A limit on the names of one connection, and what the server does instead of the script when it is reached. */
export type SessionLimit = {
  readonly names: number
  readonly action: ServerAction
  /** Within TLS the action's octets are sent unencrypted, as Exim does. */
  readonly isUnencrypted: boolean
}

export type TestCase = {
  readonly names: readonly string[]
  readonly tlsLevel: 'none' | 'may' | 'encrypt' | 'verify'
  readonly isImplicitTls: boolean
  /** null: no credentials; '': the strongest mechanism that both sides support */
  readonly mechanism: string | null
  readonly keepGoing: boolean
  readonly assumeEtrn: boolean
  /** The command at which the run is interrupted, counted over all connections; 0: never */
  readonly interruptedAt: number
  readonly sessionLimit: SessionLimit | null
  /** The scripts of the first, second, third... connection, starting again at the end */
  readonly connections: readonly ConnectionScript[]
}

export const USER = 'site'
export const PASSWORD = 'sesame-open-yourself'
/** The server replaces it by a SCRAM challenge for the nonce that the client sent last. */
export const SCRAM_PLACEHOLDER = '<scram>'

/** Tells whether the server is silent or slow somewhere, so that a run needs a short timeout. */
export function isSlow({ connections }: TestCase): boolean {
  return connections.some((script) =>
    [script.greeting, script.ehlo, script.starttls, script.handshake, script.auth, script.etrn, script.quit]
      .flat()
      .some(isSlowAction),
  )
}

function isSlowAction({ writes, pauseMs, flood, ending }: ServerAction): boolean {
  const stream = createStream()
  appendOctets(stream, writes.join(''))
  const endsTheStep = stream.replies.length > 0 || stream.isMalformed || flood !== '' || ending !== 'wait'
  return !endsTheStep || (flood === '' ? writes.length * pauseMs > 50 : pauseMs > 0)
}

/** Returns the action that sends these writes, and nothing else. */
export function actionOf(...writes: readonly string[]): ServerAction {
  return { writes, pauseMs: 0, flood: '', ending: 'wait' }
}

const ACCEPTING_SCRIPT: ConnectionScript = {
  greeting: actionOf('220 mx.example\r\n'),
  ehlo: [actionOf('250-mx.example\r\n250 ETRN\r\n')],
  starttls: actionOf('220 go ahead\r\n'),
  certificate: 'mx',
  handshake: actionOf(),
  auth: [actionOf('235 welcome\r\n')],
  etrn: [actionOf('250 OK\r\n')],
  quit: actionOf('221 bye\r\n'),
}

/** Returns a test case with eight names and a server that accepts them, except for these parts of its script. */
export function testCaseOf(script: Partial<ConnectionScript> = {}): TestCase {
  return {
    names: Array.from({ length: 8 }, (_, index) => `n${index}.example`),
    tlsLevel: 'may',
    isImplicitTls: false,
    mechanism: null,
    keepGoing: false,
    assumeEtrn: false,
    interruptedAt: 0,
    sessionLimit: null,
    connections: [{ ...ACCEPTING_SCRIPT, ...script }],
  }
}
