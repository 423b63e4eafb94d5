import { stringifyChunked } from '@discoveryjs/json-ext'
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
      await printDocument(out, { ...documentHead(run), servers: documentsOf(run.servers, serverDocument) })
      await other.end?.(run)
    },
  }
}

/** Prints a document as JSON.stringify would, with an indent of 2, but never holds all of its text. */
export async function printDocument({ json, drain }: Output, document: object): Promise<void> {
  let lines = ''
  for (const piece of stringifyChunked(document, { space: 2 })) {
    const end = lines.lastIndexOf('\n')
    if (lines.length >= PIECE_CHARACTERS && end !== -1) {
      json(lines.slice(0, end))
      lines = lines.slice(end + 1)
      await drain()
    }
    lines += piece
  }
  json(lines)
}

const PIECE_CHARACTERS = 65_536

/** Returns a list whose items become documents when they are printed, one after another. */
export function documentsOf<T>(items: readonly T[], documentOf: (item: T) => object): object[] {
  return items.map((item) => ({ toJSON: () => documentOf(item) }))
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
