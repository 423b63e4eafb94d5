import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Worker } from 'node:worker_threads'
import { checkParser } from './check-parser.js'
import type { Counts, RunResult } from './fuzz-run.js'
import { runSeed } from './run-client.js'

// Runs the client against random servers on loopback, and the parser on random octets, until the servers have sent enough replies:
//
//     npm run fuzz -- --replies 1000000 --seed 1
//
// Each run has a seed of its own. A failure prints it: `--replies 1 --seed SEED` repeats the run.

const { values } = parseArgs({ options: { replies: { type: 'string', default: '1000000' }, seed: { type: 'string' } } })
const replies = Number(values.replies)
const firstSeed = Number(values.seed ?? randomInt(1_000_000_000))
if (!Number.isInteger(replies) || !Number.isInteger(firstSeed)) throw new Error('--replies and --seed take integers')

/** One in so many replies is sent over a socket, the others go to the parser. */
const REPLIES_PER_SOCKET_REPLY = 4
/** Many runs go on at once, because most of their time is waiting for silent servers. */
const CONCURRENT_RUNS = 16
/** The most that the process may grow after the first tenth of the replies */
const MAX_GROWTH_MIB = { heapUsed: 24, rss: 160 }
const STALL_TIMEOUT_MS = 60_000

type Total = { -readonly [K in keyof Counts]: number } & { runs: number; hasFailed: boolean }
const createTotal = (): Total => ({
  ...{ replies: 0, complete: 0, connections: 0, unchecked: 0 },
  ...{ runs: 0, hasFailed: false },
})
const overSockets = createTotal()
const toParser = createTotal()
const outcomes = new Map<string, number>()
let startedRuns = 0
const activeSeeds = new Set<number>()

const print = (text: string): void => void process.stdout.write(`${text}\n`)
const formatCount = (count: number): string => count.toLocaleString('en')
const formatMiB = (octets: number): string => `${(octets / 1_048_576).toFixed(1)} MiB`

function addResult(total: Total, result: RunResult, seed: number): void {
  total.runs++
  total.replies += result.replies
  total.complete += result.complete
  total.connections += result.connections
  total.unchecked += result.unchecked
  for (const outcome of result.outcomes) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  if (result.failures.length === 0) return
  total.hasFailed = true
  const command = `npm run fuzz -- --replies 1 --seed ${seed}`
  print(`\nfailed after ${formatCount(total.replies)} replies; to repeat: ${command}\n\n${result.describe()}\n`)
}

/** Prints the seeds of the active runs if a bug ends or blocks the process, because no other code can do so then. */
function watchProcess(): void {
  process.on('uncaughtExceptionMonitor', () =>
    print(`\nthe process ended in one of the runs ${[...activeSeeds].join(', ')}`),
  )
  const heartbeats = new Int32Array(new SharedArrayBuffer(8))
  setInterval(() => {
    heartbeats[0] = (heartbeats[0] ?? 0) + 1
    heartbeats[1] = Math.min(...activeSeeds)
  }, 1000).unref()
  const watchdog = `
    const heartbeats = require('node:worker_threads').workerData
    let last = -1
    setInterval(() => {
      if (last === heartbeats[0]) {
        require('node:fs').writeSync(1, 'the event loop is blocked; the oldest run is ' + heartbeats[1] + '\\n')
        process.kill(process.pid, 'SIGKILL')
      }
      last = heartbeats[0]
    }, ${STALL_TIMEOUT_MS})`
  new Worker(watchdog, { eval: true, workerData: heartbeats }).unref()
}

/** Runs the client until the total has that many replies, or a run fails. */
async function fuzzClient(maxReplies: number): Promise<void> {
  const work = async (): Promise<void> => {
    while (overSockets.replies < maxReplies && !overSockets.hasFailed) {
      const seed = firstSeed + startedRuns++
      activeSeeds.add(seed)
      addResult(overSockets, await runSeed(seed), seed)
      activeSeeds.delete(seed)
    }
  }
  await Promise.all(Array.from({ length: Math.min(CONCURRENT_RUNS, Math.ceil(maxReplies)) }, work))
}

/** Runs the parser until the total has that many replies, or a run fails. */
async function fuzzParser(maxReplies: number): Promise<void> {
  do {
    const seed = firstSeed + toParser.runs
    activeSeeds.add(seed)
    addResult(toParser, checkParser(seed), seed)
    activeSeeds.delete(seed)
    // The heartbeat needs a turn of the event loop.
    if (toParser.runs % 1000 === 0) await new Promise((resolve) => setImmediate(resolve))
  } while (toParser.replies < maxReplies && !toParser.hasFailed)
}

setFlagsFromString('--expose-gc')
// The flag defines this function.
const collectGarbage = runInNewContext('gc') as () => void
const measureMemory = (): NodeJS.MemoryUsage => {
  collectGarbage()
  return process.memoryUsage()
}

/** Goes on to this fraction of the replies; returns the memory in use then. */
async function fuzzUpTo(fraction: number): Promise<NodeJS.MemoryUsage> {
  await fuzzClient((replies / REPLIES_PER_SOCKET_REPLY) * fraction)
  await fuzzParser(replies * fraction - overSockets.replies)
  return measureMemory()
}

/** Prints the totals; returns whether the memory stayed within its bounds. */
function printSummary(warm: NodeJS.MemoryUsage, end: NodeJS.MemoryUsage): boolean {
  const growthMiB = (key: 'heapUsed' | 'rss'): number => (end[key] - warm[key]) / 1_048_576
  const hasGrown = growthMiB('heapUsed') > MAX_GROWTH_MIB.heapUsed || growthMiB('rss') > MAX_GROWTH_MIB.rss
  const { connections, runs, unchecked } = overSockets
  const parserPart = `${formatCount(toParser.replies)} to the parser (${formatCount(toParser.complete)} complete)`
  const socketPart = `${formatCount(overSockets.replies)} over sockets (${formatCount(overSockets.complete)} complete)`
  const size = `${formatCount(connections)} sessions of ${formatCount(runs)} runs`
  const verdict = overSockets.hasFailed || toParser.hasFailed ? 'a check failed' : 'no check failed'
  const total = formatCount(overSockets.replies + toParser.replies)
  print(`${total} replies: ${parserPart}, ${socketPart} in ${size}, seed ${firstSeed}; ${verdict}`)
  print(`outcomes: ${[...outcomes].map(([outcome, count]) => `${formatCount(count)} ${outcome}`).join(', ')}`)
  if (unchecked > 0)
    print(`${formatCount(unchecked)} sessions without QUIT were not checked, because the event loop stalled`)
  const maxRss = formatMiB(process.resourceUsage().maxRSS * 1024)
  print(`heap ${formatMiB(warm.heapUsed)} after a tenth, ${formatMiB(end.heapUsed)} at the end`)
  print(`rss ${formatMiB(warm.rss)} after a tenth, ${formatMiB(end.rss)} at the end, ${maxRss} at most`)
  if (hasGrown) print('the memory grew')
  return !hasGrown
}

print(`seed ${firstSeed}`)
watchProcess()
const startedMs = performance.now()
const warm = await fuzzUpTo(0.1)
const end = overSockets.hasFailed || toParser.hasFailed ? warm : await fuzzUpTo(1)
const isBounded = printSummary(warm, end)
print(`${Math.round((performance.now() - startedMs) / 1000)} s`)
process.exitCode = isBounded && !overSockets.hasFailed && !toParser.hasFailed ? 0 : 1
