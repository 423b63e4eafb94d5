import type { CertificateInfo } from './certificate.js'
import type { Stage } from './errors.js'
import { type Extensions, shortenExtensions } from './extensions.js'
import type { Reply } from './reply.js'

/** The result of a handshake. */
export type TlsInfo = {
  readonly protocol: string
  readonly cipher: string
  /** True if chain and name were verified, or if the certificate is the pinned one. */
  readonly verified: boolean
  readonly certificate: CertificateInfo | null
}

/** A line of the dialogue as a transcript shows it, without secrets. */
export type DialogueEvent =
  { readonly type: 'sent'; readonly line: string } | { readonly type: 'received'; readonly reply: Reply }

/** An event of a session, reported at once. `done` means that the step succeeded. */
export type TraceEvent =
  | { readonly type: 'step'; readonly stage: Stage }
  | { readonly type: 'done'; readonly stage: Stage; readonly elapsedMs: number }
  | { readonly type: 'resolved'; readonly addresses: readonly string[] }
  | { readonly type: 'connecting'; readonly address: string }
  | { readonly type: 'connected'; readonly address: string; readonly localAddress: string }
  | { readonly type: 'greeting'; readonly text: string }
  | { readonly type: 'tls'; readonly tls: TlsInfo }
  | { readonly type: 'warning'; readonly stage: Stage; readonly text: string }
  | { readonly type: 'extensions'; readonly extensions: Extensions }
  | DialogueEvent

/** The facts that a session has shown about its server; null if it is unknown. */
export type ServerFacts = {
  readonly address: string | null
  readonly tls: TlsInfo | null
  readonly greeting: string | null
  readonly extensions: Extensions | null
}

export const NO_FACTS: ServerFacts = { address: null, tls: null, greeting: null, extensions: null }

/** Returns the facts with those that an event adds. */
export function updateFacts<F extends ServerFacts>(facts: F, event: TraceEvent): F {
  if (event.type === 'connected') return { ...facts, address: event.address, tls: null }
  if (event.type === 'tls') return { ...facts, tls: event.tls }
  if (event.type === 'greeting') return { ...facts, greeting: event.text }
  return event.type === 'extensions' ? { ...facts, extensions: shortenExtensions(event.extensions) } : facts
}

/** Returns the facts of the newer session, and those of the older ones that it has not reached. */
export function mergeFacts(older: ServerFacts, newer: ServerFacts): ServerFacts {
  const { address, tls, greeting, extensions } = newer
  // A session with a list of extensions has reached everything; if it has no TLS, there is none.
  if (extensions !== null) return { address, tls, greeting, extensions }
  return {
    address: address ?? older.address,
    tls: tls ?? older.tls,
    greeting: greeting ?? older.greeting,
    extensions: older.extensions,
  }
}
