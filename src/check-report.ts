import type { Check, ServerCheck } from './check.js'
import type { Output } from './report.js'
import { documentHead, errorOf, extensionsOf, tlsOf } from './json.js'
import type { Step } from './way-back.js'

/** What a diagnosis is shown in, as it goes on. */
export type CheckReporter = {
  readonly onPart: (title: string) => void
  readonly onStep: (step: Step) => void
  readonly end: (check: Check) => void
}

const NAME_WIDTH = 12
const TIME_WIDTH = 8

/** A line a step, with a tick or a cross; quiet: what failed, and nothing else. */
export function textCheck(
  { line, colour }: Output,
  { isQuiet, isUtf8 }: { isQuiet: boolean; isUtf8: boolean },
): CheckReporter {
  const [tick, cross, dash] = isUtf8 ? (['✔', '✘', '–'] as const) : (['ok', 'NO', '--'] as const)
  let part = ''
  return {
    onPart: (title) => {
      part = title
      if (!isQuiet) line(title)
    },
    onStep: ({ step, ok, elapsedMs, text, advice }) => {
      if (isQuiet) {
        if (ok === false) line(`${part}: ${step}: ${text}`)
        return
      }
      const mark = ok === null ? dash : ok ? colour.green(tick) : colour.red(cross)
      const time = elapsedMs === null ? '' : `${elapsedMs} ms`
      line(`  ${mark} ${step.padEnd(NAME_WIDTH)} ${time.padStart(TIME_WIDTH)}  ${text}`)
      if (advice !== null) line(`${' '.repeat(4 + tick.length)}${advice}`)
    },
    end: ({ servers }) => {
      if (isQuiet) return
      for (const { server, software } of servers) if (software !== null) line(`${server.word} is ${software}`)
      line('Nothing was asked of the queue: whether a name is served, only ETRN tells.')
    },
  }
}

/** One JSON document at the end; the way back belongs to no server. */
export function jsonCheck({ line }: Output): CheckReporter {
  return {
    onPart: () => undefined,
    onStep: () => undefined,
    end: ({ servers, wayBack, exitStatus }) =>
      line(JSON.stringify({ ...documentHead(exitStatus), servers: servers.map(serverOf), wayBack }, undefined, 2)),
  }
}

function serverOf({ server, address, seenAs, tls, greeting, software, extensions, steps, error }: ServerCheck): object {
  return {
    server: server.word,
    host: server.host,
    port: server.port,
    address,
    seenAs,
    tls: tls === null ? null : { ...tlsOf(tls), certificate: tls.certificate },
    greeting,
    software,
    extensions: extensionsOf(extensions),
    error: errorOf(error),
    steps,
  }
}
