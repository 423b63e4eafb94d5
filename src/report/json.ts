import type { ServerReport } from '../etrn/outcome.js'
import type { Run } from '../etrn/run.js'
import { SessionError } from '../smtp/errors.js'
import { formatExtensions } from '../smtp/extensions.js'
import type { TlsInfo } from '../smtp/tls.js'
import type { Output, Reporter } from './reporter.js'

/** Changes if a script that reads the document must change. */
const DOCUMENT_VERSION = 1

/** Prints one JSON document to `out` at the end. Warnings, the dialogue and a failure of this host are left to the other reporter. */
export function jsonReporter(out: Output, other: Reporter): Required<Reporter> {
  return {
    warn: (message) => other.warn(message),
    trace: (...progress) => other.trace(...progress),
    result: () => undefined,
    report: () => undefined,
    end: async (run) => {
      await printDocument(out, { ...documentHead(run), servers: mapLazily(run.servers, serverDocument) })
      await other.end?.(run)
    },
  }
}

/** Prints a document as JSON.stringify would, with an indent of 2, but never holds all of its text. */
export async function printDocument({ json, drain }: Output, document: object): Promise<void> {
  let piece = ''
  for (const text of jsonLines(document)) {
    piece += piece === '' ? text : `\n${text}`
    if (piece.length < PIECE_CHARACTERS) continue
    json(piece)
    piece = ''
    await drain()
  }
  if (piece !== '') json(piece)
}

const PIECE_CHARACTERS = 65_536

/** Yields the lines of a value in JSON. Objects are plain ones; anything else that is iterable is a list. */
export function* jsonLines(value: unknown, indent = '', key = '', comma = ''): Generator<string> {
  const start = indent + key
  if (typeof value !== 'object' || value === null) {
    yield `${start}${JSON.stringify(value)}${comma}`
    return
  }
  const inner = `${indent}  `
  const [open, close] = isIterable(value) ? ['[', ']'] : ['{', '}']
  // An entry has a comma if another one follows.
  let last: readonly [key: string, value: unknown] | undefined
  for (const entry of isIterable(value) ? itemEntries(value) : fieldEntries(value)) {
    if (last === undefined) yield start + open
    else yield* jsonLines(last[1], inner, last[0], ',')
    last = entry
  }
  if (last !== undefined) yield* jsonLines(last[1], inner, last[0])
  yield last === undefined ? `${start}${open}${close}${comma}` : `${indent}${close}${comma}`
}

function isIterable(value: object): value is Iterable<unknown> {
  return Symbol.iterator in value
}

function* itemEntries(items: Iterable<unknown>): Generator<readonly [key: string, value: unknown]> {
  for (const item of items) yield ['', item]
}

function fieldEntries(fields: object): (readonly [key: string, value: unknown])[] {
  const entries: [string, unknown][] = Object.entries(fields)
  return entries.flatMap(([name, value]) => (value === undefined ? [] : [[`${JSON.stringify(name)}: `, value]]))
}

/** Yields what `map` makes of each item, when it is needed. */
export function* mapLazily<T, U>(items: Iterable<T>, map: (item: T) => U): Generator<U> {
  for (const item of items) yield map(item)
}

/** Returns the first fields of a document. The error is that of this host, if no server was contacted because of it. */
export function documentHead({ exitStatus, error }: Pick<Run, 'exitStatus' | 'error'>): object {
  const hint = error?.hint ?? null
  return { version: DOCUMENT_VERSION, exitStatus, error: error && { ...errorDocument(error), hint } }
}

/** Returns a server's part of the document. What is unknown is null, and never left out. */
export function serverDocument(report: ServerReport): object {
  const { server, address, tls, greeting, extensions, attempts, elapsedMs, error, names } = report
  return {
    server: server.word,
    host: server.host,
    port: server.port,
    address,
    tls: tls && tlsDocument(tls),
    greeting,
    extensions: extensions && formatExtensions(extensions),
    attempts,
    elapsedMs,
    error: error && errorDocument(error),
    names,
  }
}

/** Returns the result of a handshake, without the certificate. */
export function tlsDocument({ protocol, cipher, verified }: TlsInfo): object {
  return { protocol, cipher, verified }
}

function errorDocument({ stage, message, reply, exitStatus }: SessionError): object {
  return { stage, message, code: reply?.code ?? null, exitStatus }
}
