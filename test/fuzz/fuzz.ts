import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Worker } from 'node:worker_threads'
import { parseSeed } from './parser.js'
import { playSeed } from './run.js'
import type { Counts, Played } from './scene.js'

// Random servers against ask() over loopback, and random octets against the parser, until so many replies have been given:
//
//     npm run fuzz -- --replies 1000000 --seed 1
//
// Each run comes from a seed of its own, which is told where something is found: with it, --replies 1 does the same again.

const { values } = parseArgs({ options: { replies: { type: 'string', default: '1000000' }, seed: { type: 'string' } } })
const replies = Number(values.replies)
const seed = Number(values.seed ?? randomInt(1_000_000_000))
if (!Number.isInteger(replies) || !Number.isInteger(seed)) throw new Error('--replies and --seed are whole numbers')

/** One reply of so many goes over a socket. */
const OVER_SOCKETS = 4
/** Most of a run is waiting for a silent server. */
const RUNS_AT_ONCE = 16
/** What the process may have grown by after the first tenth */
const MOST_MIB = { heap: 24, rss: 160 }
const STANDSTILL_MS = 60_000

type Total = { -readonly [K in keyof Counts]: number } & { runs: number; found: boolean }
const total = (): Total => ({ replies: 0, whole: 0, sessions: 0, excused: 0, runs: 0, found: false })
const sockets = total()
const parser = total()
const outcomes = new Map<string, number>()
let started = 0
const playing = new Set<number>()

const say = (text: string): void => void process.stdout.write(`${text}\n`)
const number = (count: number): string => count.toLocaleString('en')
const mebibytes = (octets: number): string => `${(octets / 1_048_576).toFixed(1)} MiB`

function add(to: Total, played: Played, its: number): void {
  to.runs++
  to.replies += played.replies
  to.whole += played.whole
  to.sessions += played.sessions
  to.excused += played.excused
  for (const outcome of played.outcomes) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  if (played.findings.length === 0) return
  to.found = true
  say(
    `\nfound after ${number(to.replies)} replies; again: npm run fuzz -- --replies 1 --seed ${its}\n\n${played.told()}\n`,
  )
}

/** Where a bug ends the process, or makes it stand still, nobody else can say which runs it was. */
function tellWhereItEnds(): void {
  process.on('uncaughtExceptionMonitor', () => say(`\nit ended in one of the runs ${[...playing].join(', ')}`))
  const beats = new Int32Array(new SharedArrayBuffer(8))
  setInterval(() => {
    beats[0] = (beats[0] ?? 0) + 1
    beats[1] = Math.min(...playing)
  }, 1000).unref()
  const watch = `
    const beats = require('node:worker_threads').workerData
    let last = -1
    setInterval(() => {
      if (last === beats[0]) {
        require('node:fs').writeSync(1, 'nothing moves; the oldest run is ' + beats[1] + '\\n')
        process.kill(process.pid, 'SIGKILL')
      }
      last = beats[0]
    }, ${STANDSTILL_MS})`
  new Worker(watch, { eval: true, workerData: beats }).unref()
}

async function playUntil(most: number): Promise<void> {
  const one = async (): Promise<void> => {
    while (sockets.replies < most && !sockets.found) {
      const its = seed + started++
      playing.add(its)
      add(sockets, await playSeed(its), its)
      playing.delete(its)
    }
  }
  await Promise.all(Array.from({ length: Math.min(RUNS_AT_ONCE, Math.ceil(most)) }, one))
}

async function parseUntil(most: number): Promise<void> {
  do {
    const its = seed + parser.runs
    playing.add(its)
    add(parser, parseSeed(its), its)
    playing.delete(its)
    // What watches has its turn.
    if (parser.runs % 1000 === 0) await new Promise((resolve) => setImmediate(resolve))
  } while (parser.replies < most && !parser.found)
}

setFlagsFromString('--expose-gc')
// The name that the flag has just made
const collect = runInNewContext('gc') as () => void
const memory = (): NodeJS.MemoryUsage => {
  collect()
  return process.memoryUsage()
}

async function part(fraction: number): Promise<NodeJS.MemoryUsage> {
  await playUntil((replies / OVER_SOCKETS) * fraction)
  await parseUntil(replies * fraction - sockets.replies)
  return memory()
}

/** What there was, and what became of it; whether the memory kept its bounds. */
function tell(warm: NodeJS.MemoryUsage, end: NodeJS.MemoryUsage): boolean {
  const grewBy = (key: 'heapUsed' | 'rss'): number => (end[key] - warm[key]) / 1_048_576
  const grew = grewBy('heapUsed') > MOST_MIB.heap || grewBy('rss') > MOST_MIB.rss
  const { replies: given, whole, sessions, runs, excused } = sockets
  const over = `${number(given)} over sockets (${number(whole)} whole) in ${number(sessions)} sessions of ${number(runs)} runs`
  const toParser = `${number(parser.replies)} to the parser (${number(parser.whole)} whole)`
  const what = sockets.found || parser.found ? 'something found' : 'nothing found'
  say(`${number(given + parser.replies)} replies: ${toParser}, ${over}, seed ${seed}; ${what}`)
  say(`outcomes: ${[...outcomes].map(([outcome, count]) => `${number(count)} ${outcome}`).join(', ')}`)
  if (excused > 0) say(`${number(excused)} sessions without QUIT were not judged, since the machine stood still`)
  const most = mebibytes(process.resourceUsage().maxRSS * 1024)
  say(`heap ${mebibytes(warm.heapUsed)} after a tenth, ${mebibytes(end.heapUsed)} at the end`)
  say(`rss ${mebibytes(warm.rss)} after a tenth, ${mebibytes(end.rss)} at the end, ${most} at most`)
  if (grew) say('memory grew')
  return !grew
}

say(`seed ${seed}`)
tellWhereItEnds()
const began = performance.now()
const warm = await part(0.1)
const end = sockets.found || parser.found ? warm : await part(1)
const isBounded = tell(warm, end)
say(`${Math.round((performance.now() - began) / 1000)} s`)
process.exitCode = isBounded && !sockets.found && !parser.found ? 0 : 1
