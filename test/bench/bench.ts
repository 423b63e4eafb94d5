import { writeFileSync } from 'node:fs'
import { BIN, ROOT } from '../helpers/files.js'
import { type Client, CLIENTS, ETRN, HELO, SMALLEST, WITHOUT_ETRN } from './clients.js'
import {
  BenchServer,
  type Command,
  type Cost,
  EMPTY_FILE,
  measureCost,
  measureTime,
  type Spread,
  spreadOf,
  versionOf,
} from './measure.js'
import type { Plan, Tally } from './server.js'
import {
  type Figures,
  formatPage,
  type ProcessTime,
  type SentOctets,
  type Sizes,
  type TripCounts,
  type UnitCost,
} from './table.js'

// Compares the cost of etrn and of other clients: in round trips, which are counted, and in ratios within this run. Prints Markdown and
// asserts nothing. `npm run bench -- --quick` takes less time; `npm run bench -- --write` writes RESULTS, too.

const RESULTS = 'test/bench/RESULTS.md'

const SIZES: Sizes = process.argv.includes('--quick')
  ? {
      isQuick: true,
      rounds: 5,
      costRounds: 1,
      names: [1, 2, 5, 20],
      bulk: [500, 1000, 2000],
      servers: 250,
      processes: 50,
    }
  : {
      isQuick: false,
      rounds: 15,
      costRounds: 3,
      names: [1, 2, 5, 20],
      bulk: [2500, 5000, 10_000],
      servers: 1000,
      processes: 200,
    }

const namesOf = (count: number): string[] => Array.from({ length: count }, (_, index) => `n${index}.test`)
const ONE_NAME = 'n0.test'

/** Reasons why the figures of this run mean nothing */
const errors: string[] = []

function checkReplies(client: Client, task: string, { replies }: Tally, expected: number): void {
  if (replies !== expected) errors.push(`${client.title}, ${task}: ${replies} of ${expected} names had a reply`)
}

const printProgress = (text: string): void => void process.stderr.write(`${text}\n`)

/** A command whose whole process is timed */
type TimedCommand = Pick<ProcessTime, 'title' | 'client' | 'goal'> & { readonly command: Command }

/** Returns the commands whose whole processes are timed: node on an empty file, then the base of the ratios, then the others. */
function timedCommands(port: number, clients: readonly Client[]): TimedCommand[] {
  const runs = clients.flatMap((client): TimedCommand[] => {
    if (client.requestOne === undefined) return []
    const goal = client === ETRN ? '1.35 × smallest client' : ''
    return [{ title: `${client.title}, one name`, client, goal, command: client.requestOne(port, ONE_NAME) }]
  })
  const own = (option: string, goal: string): TimedCommand => {
    return { title: `\`etrn ${option}\``, goal: `${goal} × empty file`, command: { argv: [BIN, option] } }
  }
  return [
    { title: '`node` on an empty file', goal: '', command: { argv: ['node', EMPTY_FILE] } },
    ...runs.filter(({ client }) => client === SMALLEST),
    own('--version', '1.3'),
    own('--help', '1.5'),
    ...runs.filter(({ client }) => client !== SMALLEST),
  ]
}

/** Measures the times of whole processes, relative to the first two in the same round. Every other round goes backwards. */
async function measureProcesses(commands: readonly TimedCommand[]): Promise<Pick<Figures, 'processes' | 'baseMs'>> {
  const all = commands.map((timed) => ({ timed, times: new Array<number>() }))
  for (const { timed } of all) await measureTime(timed.command)
  for (let round = 0; round < SIZES.rounds; round++) {
    for (const { timed, times } of round % 2 === 0 ? all : all.toReversed()) {
      times.push(await measureTime(timed.command))
    }
  }
  const [empty = [], smallest = []] = all.map(({ times }) => times)
  const ratios = (times: readonly number[], base: readonly number[]): Spread =>
    spreadOf(times.map((time, round) => time / (base[round] ?? NaN)))
  const processes = all.map(({ timed, times }) => ({
    ...timed,
    toSmallest: ratios(times, smallest),
    toEmpty: ratios(times, empty),
  }))
  return { processes, baseMs: spreadOf(smallest) }
}

/** Counts the round trips to the last reply, the segments and the connections. */
async function countTrips(
  server: BenchServer,
  client: Client,
  count: number,
  plan: Partial<Plan> = {},
): Promise<TripCounts | undefined> {
  if (client.requestSeveral === undefined) return undefined
  const tallies: Tally[] = []
  // The count can vary only for several sessions at once.
  for (let round = 0; round < (client.isParallel ? SIZES.costRounds : 1); round++) {
    const [port = 0] = await server.start({ hasTicks: true, ...plan })
    await measureTime(client.requestSeveral(port, namesOf(count)))
    const tally = await server.readTally()
    checkReplies(client, `${count} names`, tally, count)
    tallies.push(tally)
  }
  const spread = (select: (tally: Tally) => number): Spread => spreadOf(tallies.map(select))
  return {
    lastReplyTick: spread(({ lastReplyTick }) => lastReplyTick),
    segments: spread(({ segments }) => segments),
    connections: spread(({ connections }) => connections),
  }
}

/** A command that requests `count` names or opens `count` sessions, at so many ports */
type Job = {
  readonly client: Client
  readonly count: number
  readonly ports: number
  readonly command: (ports: readonly number[]) => Command
}

/** Measures the cost of one unit of each job, in interleaved rounds. The ratios are to the first job of the same round. */
async function measureUnitCosts(server: BenchServer, jobs: readonly Job[]): Promise<UnitCost[]> {
  const all = jobs.map((job) => ({ job, costs: new Array<Cost>() }))
  for (let round = 0; round < SIZES.costRounds; round++) {
    for (const { job, costs } of all) {
      const cost = await measureCost(job.command(await server.start({ ports: job.ports })))
      checkReplies(job.client, `${job.count} names for CPU time`, await server.readTally(), job.count)
      costs.push({ ...cost, cpuMs: cost.cpuMs / job.count })
    }
  }
  const first = all[0]?.costs ?? []
  return all.map(({ costs }) => ({
    cpuMs: spreadOf(costs.map(({ cpuMs }) => cpuMs)),
    ratio: spreadOf(costs.map(({ cpuMs }, round) => cpuMs / (first[round]?.cpuMs ?? NaN))),
    peakMiB: Math.max(...costs.map(({ peakMiB }) => peakMiB ?? NaN)),
  }))
}

/** Returns the job that requests a name from each of many servers. */
const sessionJobsOf = (client: Client): Job[] => {
  const { manyServers } = client
  if (manyServers === undefined) return []
  const count = manyServers.hasProcessPerServer ? SIZES.processes : SIZES.servers
  return [{ client, count, ports: count, command: (ports) => manyServers.command(ports, ONE_NAME) }]
}

/** Returns the jobs that request many names from one server. etrn has several sizes; each client's largest is the first. */
const bulkJobsOf = (client: Client): Job[] => {
  const { requestMany } = client
  if (requestMany === undefined) return []
  const counts = SIZES.bulk.slice(client === ETRN ? 0 : -1).toReversed()
  return counts.map((count) => ({
    client,
    count,
    ports: 1,
    command: ([port = 0]) => requestMany(port, namesOf(count)),
  }))
}

/** Records what the client sends for one name. */
async function recordSentOctets(server: BenchServer, client: Client): Promise<SentOctets | undefined> {
  if (client.requestOne === undefined) return undefined
  const [port = 0] = await server.start()
  await measureTime(client.requestOne(port, ONE_NAME))
  const { octets, text } = await server.readTally()
  const [, helo = ''] = /^EHLO (.*?)\r?\n/i.exec(text) ?? []
  // table.ts doesn't print this host's name.
  return { octets, lines: text.trim().split(/\r?\n/), hostName: helo === HELO ? undefined : helo }
}

async function measureClients(
  server: BenchServer,
  clients: readonly Client[],
): Promise<Pick<Figures, 'rows' | 'processes' | 'baseMs'>> {
  printProgress('whole processes')
  const [port = 0] = await server.start()
  const times = await measureProcesses(timedCommands(port, clients))
  printProgress('CPU time')
  const sessions = clients.flatMap(sessionJobsOf)
  const sessionCosts = await measureUnitCosts(server, sessions)
  const bulks = clients.flatMap(bulkJobsOf)
  const bulkCosts = await measureUnitCosts(server, bulks)
  const rows: Figures['rows'][number][] = []
  for (const client of clients) {
    printProgress(`round trips: ${client.title}`)
    const tripCounts: (TripCounts | undefined)[] = []
    for (const count of SIZES.names) tripCounts.push(await countTrips(server, client, count))
    rows.push({
      client,
      trips: tripCounts.filter((trips) => trips !== undefined),
      slow: await countTrips(server, client, Math.max(...SIZES.names), { slowsDown: true }),
      session: sessionCosts[sessions.findIndex((job) => job.client === client)],
      bulk: bulkCosts.filter((_, index) => bulks[index]?.client === client).toReversed(),
      sent: await recordSentOctets(server, client),
    })
  }
  return { ...times, rows }
}

/** Returns the version of each program; undefined: not installed. */
async function readVersions(): Promise<Map<string, string | undefined>> {
  const versions = new Map<string, string | undefined>()
  for (const { program, version } of [...CLIENTS, ...WITHOUT_ETRN]) {
    if (!versions.has(program)) versions.set(program, await versionOf(version))
  }
  return versions
}

const server = new BenchServer()
try {
  const versions = await readVersions()
  const installed = CLIENTS.filter(({ program }) => versions.get(program) !== undefined)
  const figures = await measureClients(server, installed)
  const page = formatPage({ ...figures, sizes: SIZES, versions, errors })
  process.stdout.write(page)
  if (errors.length > 0) process.exitCode = 1
  else if (process.argv.includes('--write')) writeFileSync(new URL(RESULTS, ROOT), page)
} finally {
  server.close()
}
