import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import type { TlsOptions } from 'node:tls'
import { type CommandOptions, etrnJson, leap, LEAPING } from '../helpers/command.js'
import { fixturePath } from '../helpers/files.js'
import { BYE, type Conversation, scripted, silence, type Step, type TlsStep } from '../helpers/scripted-server.js'

// Conversations with STARTTLS and TLS, and the command that takes part in them.

/** Returns the server's side of a handshake with a certificate of test/fixtures. */
export function certificateStep(name: string, options: TlsOptions = {}): TlsStep {
  return {
    tls: { cert: readFileSync(fixturePath(`${name}.pem`)), key: readFileSync(fixturePath(`${name}.key`)), ...options },
  }
}

export function fingerprintOf(name: string): string {
  return new X509Certificate(readFileSync(fixturePath(`${name}.pem`))).fingerprint256
}

export const CA = ['--tls-ca', fixturePath('ca.pem')]
export const GREETING: readonly Step[] = ['S: 220 mx.example ESMTP', 'C: EHLO gw.site.example']
/** Up to an EHLO reply that lists STARTTLS. */
export const LISTED: readonly Step[] = [...GREETING, 'S: 250-mx.example', 'S: 250-STARTTLS', 'S: 250 ETRN']
/** Up to the reply that allows the handshake. */
export const AGREED: readonly Step[] = [...LISTED, 'C: STARTTLS', 'S: 220 go ahead']
/** The same, and from then on the script ignores what the client sends: it is TLS, or too late. */
export const UNHEARD: readonly Step[] = [...AGREED, ignoreInput]
export const HELLO_AGAIN: readonly Step[] = ['C: EHLO gw.site.example', 'S: 250-mx.example', 'S: 250 ETRN']
export const ACCEPTED: readonly Step[] = ['C: ETRN site.example', 'S: 250 OK', ...BYE]
export const UNENCRYPTED: Conversation = [...LISTED, ...ACCEPTED]

/** Returns a whole session within TLS. */
export function secureSession(name: string, options: TlsOptions = {}): Conversation {
  return [...AGREED, certificateStep(name, options), ...HELLO_AGAIN, ...ACCEPTED]
}

/** Ignores what the client sends from here on. */
export function ignoreInput(socket: Socket): void {
  socket.removeAllListeners('data')
  socket.resume()
}

/** Sends octets in answer to the client's first TLS record. */
export function afterClientHello(
  octets: string | Uint8Array,
  then: (socket: Socket) => unknown = silence,
): (socket: Socket) => Promise<void> {
  return async (socket) => {
    socket.removeAllListeners('data')
    socket.once('data', () => socket.write(octets, () => void then(socket)))
    await silence(socket)
  }
}

/** Lets the time of the handshake run out as soon as the handshake has begun. */
export const HANDSHAKE_TIMEOUT: CommandOptions = { env: LEAPING, once: { said: 'S: 220 go ahead', act: leap } }

export type Scheme = 'smtp' | 'smtps'

/** Requests site.example from a server that plays these conversations. */
export async function requestFrom(
  t: TestContext,
  conversations: readonly Conversation[],
  options: readonly string[],
  scheme: Scheme = 'smtp',
  callOptions: CommandOptions = {},
): ReturnType<typeof etrnJson> {
  const server = await scripted(t, ...conversations)
  const args = [`${scheme}://127.0.0.1:${server.port}`, '--helo', 'gw.site.example', ...options, 'site.example']
  const run = await etrnJson(args, callOptions)
  await server.verify()
  return run
}

/** `verified`: whether TLS proved who the server is; null: there was no TLS. */
export function testAccepted(
  title: string,
  conversations: readonly Conversation[],
  options: readonly string[],
  verified: boolean | null,
  scheme: Scheme = 'smtp',
): void {
  void test(title, async (t) => {
    const { status, document } = await requestFrom(t, conversations, options, scheme)
    assert.equal(status, 0)
    assert.equal(document.servers[0]?.tls?.verified ?? null, verified)
  })
}

export function testFailed(
  title: string,
  conversation: Conversation,
  options: readonly string[],
  stage: string,
  message: RegExp,
  status = 76,
  scheme: Scheme = 'smtp',
  callOptions: CommandOptions = {},
): void {
  void test(title, async (t) => {
    const run = await requestFrom(t, [conversation], options, scheme, callOptions)
    const error = run.document.servers[0]?.error
    assert.deepEqual([error?.stage, run.status, error?.exitStatus], [stage, status, status])
    assert.match(error?.message ?? '', message)
  })
}
