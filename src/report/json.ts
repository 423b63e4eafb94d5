import type { Run } from '../etrn/run.js'
import type { ServerReport } from '../etrn/server-report.js'
import { SessionError } from '../smtp/errors.js'
import { formatExtensions } from '../smtp/extensions.js'
import type { TlsInfo } from '../smtp/tls.js'
import type { Output, Reporter } from './reporter.js'

/** Changes when a script that reads the document would have to. */
const DOCUMENT_VERSION = 1

/** One JSON document on `out`, at the end. Warnings and the dialogue are `others`' business. */
export function jsonReporter(out: Output, others: Reporter): Reporter {
  return {
    warn: (message) => others.warn(message),
    trace: (...event) => others.trace(...event),
    result: () => undefined,
    report: () => undefined,
    end: (run) => out.line(JSON.stringify(runDocument(run), undefined, 2)),
  }
}

function runDocument({ exitStatus, servers }: Run): object {
  return { ...documentHead(exitStatus), servers: servers.map(serverDocument) }
}

/** How each document begins. */
export function documentHead(exitStatus: number): object {
  return { version: DOCUMENT_VERSION, exitStatus }
}

/** What isn't known is null, never left out. */
export function serverDocument(report: ServerReport): object {
  const { server, address, tls, greeting, extensions, attempts, elapsedMs, error, names } = report
  return {
    server: server.word,
    host: server.host,
    port: server.port,
    address,
    tls: tls === null ? null : tlsDocument(tls),
    greeting,
    extensions: extensions && formatExtensions(extensions),
    attempts,
    elapsedMs,
    error: errorDocument(error),
    names,
  }
}

/** What a handshake came to, without the certificate. */
export function tlsDocument({ protocol, cipher, verified }: TlsInfo): object {
  return { protocol, cipher, verified }
}

/** What a session failed by. */
function errorDocument(error: SessionError | null): object | null {
  if (error === null) return null
  return { stage: error.stage, message: error.message, code: error.reply?.code ?? null, exitStatus: error.exitStatus }
}
