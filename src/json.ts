import type { Result } from './outcome.js'
import type { Output, Reporter } from './report.js'
import type { ServerReport } from './exchange.js'
import type { Run } from './run.js'

/** Changes when a script that reads the document would have to. */
const VERSION = 1

/** One JSON document on `out`, at the end. Warnings and the dialogue are `others`' business. */
export function jsonReporter(out: Output, others: Reporter): Reporter {
  return {
    warn: (message) => others.warn(message),
    trace: (server, event) => others.trace(server, event),
    result: () => undefined,
    report: () => undefined,
    end: (run) => out.line(JSON.stringify(documentOf(run), undefined, 2)),
  }
}

function documentOf({ exitStatus, servers }: Run): object {
  return { version: VERSION, exitStatus, servers: servers.map(serverOf) }
}

/** What isn't known is null, never left out. */
function serverOf({
  server,
  address,
  tls,
  greeting,
  extensions,
  attempts,
  elapsedMs,
  error,
  names,
}: ServerReport): object {
  return {
    server: server.word,
    host: server.host,
    port: server.port,
    address,
    tls: tls === null ? null : { protocol: tls.protocol, cipher: tls.cipher, verified: tls.verified },
    greeting,
    extensions:
      extensions === null ? null : [...extensions].map(([keyword, parameters]) => `${keyword} ${parameters}`.trimEnd()),
    attempts,
    elapsedMs,
    error:
      error === null
        ? null
        : { stage: error.stage, message: error.message, code: error.reply?.code ?? null, exitStatus: error.exitStatus },
    names: names.map(nameOf),
  }
}

function nameOf({ name, outcome, code, enhancedCode, text, pending }: Result): object {
  return { name, outcome, code, enhancedCode, text, pending }
}
