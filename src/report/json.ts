import type { ServerReport } from '../etrn/outcome.js'
import { SessionError } from '../smtp/errors.js'
import { formatExtensions } from '../smtp/extensions.js'
import type { TlsInfo } from '../smtp/tls.js'
import type { Output, Reporter } from './reporter.js'

/** Changes if a script that reads the document must change. */
const DOCUMENT_VERSION = 1

/** Prints one JSON document to `out` at the end. Warnings and the dialogue are left to the other reporter. */
export function jsonReporter(out: Output, other: Reporter): Required<Reporter> {
  return {
    warn: (message) => other.warn(message),
    trace: (...progress) => other.trace(...progress),
    result: () => undefined,
    report: () => undefined,
    end: ({ exitStatus, servers }) => {
      const document = { ...documentHead(exitStatus), servers: servers.map(serverDocument) }
      out.json(JSON.stringify(document, undefined, 2))
    },
  }
}

export function documentHead(exitStatus: number): object {
  return { version: DOCUMENT_VERSION, exitStatus }
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
