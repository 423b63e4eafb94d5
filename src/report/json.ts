import { stringifyChunked } from '@discoveryjs/json-ext'
import type { Exclusion } from '../etrn/mx.js'
import type { ServerReport } from '../etrn/server-report.js'
import { SessionError } from '../smtp/errors.js'
import { formatExtensions } from '../smtp/extensions.js'
import type { TlsInfo } from '../smtp/trace.js'
import { hintAfterRetries } from './hints.js'
import type { Failure, Output, Reporter } from './reporter.js'

/** Changes if a script that reads the document must change. */
const DOCUMENT_VERSION = 1

/** Prints one JSON document to `out` at the end. Warnings, the dialogue and failures without a server go to the other reporter, too. */
export function jsonReporter(out: Output, other: Reporter): Reporter {
  return {
    warn: (message) => other.warn(message),
    trace: (...progress) => other.trace(...progress),
    result: () => undefined,
    report: () => undefined,
    fail: async (failure) => {
      await other.fail(failure)
      await printDocument(out, {
        ...documentHead({ exitStatus: failure.exitStatus, error: failure, excluded: [] }),
        servers: [],
      })
    },
    end: async (run) => {
      if (run.error !== null) await other.fail(run.error)
      await printDocument(out, { ...documentHead(run), servers: documentsOf(run.servers, serverDocument) })
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

type DocumentHead = {
  readonly exitStatus: number
  /** The failure of this host or of its user's input, because of which no server was contacted; null if there is none */
  readonly error: Failure | null
  readonly excluded: readonly Exclusion[]
}

/** Returns the first fields of a document. */
export function documentHead({ exitStatus, error, excluded }: DocumentHead): object {
  return { version: DOCUMENT_VERSION, exitStatus, error: error && errorDocument(error), excluded }
}

/** Returns a server's part of the document. What is unknown is null, and never left out. */
export function serverDocument(report: ServerReport): object {
  const { server, address, tls, greeting, extensions, attempts, elapsedMs, error, isRetried } = report
  const hintOf = (hint: string | null | undefined): string | null =>
    hintAfterRetries(hint ?? undefined, isRetried) ?? null
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
    error: error && { ...errorDocument(error), hint: hintOf(error.hint) },
    names: isRetried ? documentsOf(report.names, (name) => ({ ...name, hint: hintOf(name.hint) })) : report.names,
  }
}

/** Returns the result of a handshake, without the certificate. */
export function tlsDocument({ protocol, cipher, verified }: TlsInfo): object {
  return { protocol, cipher, verified }
}

/** Returns an error with the stage of its session. An error of the input has none: nothing was contacted. */
function errorDocument(error: Failure): object {
  const { message, exitStatus, hint = null } = error
  const { stage, reply } = error instanceof SessionError ? error : { stage: 'input', reply: null }
  return { stage, message, code: reply?.code ?? null, exitStatus, hint }
}
