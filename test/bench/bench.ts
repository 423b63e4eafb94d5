import { readFileSync } from 'node:fs'
import { BIN, ROOT } from '../helpers/files.js'
import { type Form, FORMS, HELO, WITHOUT_ETRN } from './clients.js'
import { BenchServer, type Command, type Cost, costOf, run, type Spread, spreadOf, versionOf } from './measure.js'
import type { Plan, Tally } from './server.js'
import { type Costs, type Figures, page, type Sent, type Sizes, type Trips } from './table.js'

// What etrn costs, beside other clients: in round trips that are counted, and in ratios within this run. Nothing is
// asserted; Markdown is printed. `npm run bench -- --quick` for a first look.

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

const NODE: Command = { argv: ['node', '-e', '0'] }
const VERSION: Command = { argv: [BIN, '--version'] }
const names = (count: number): string[] => Array.from({ length: count }, (_, index) => `n${index}.test`)
const ONE = 'n0.test'

/** What went wrong: the figures of such a run mean nothing. */
const complaints: string[] = []

function check(form: Form, what: string, { answered }: Tally, expected: number): void {
  if (answered !== expected) complaints.push(`${form.title}, ${what}: ${answered} of ${expected} names had an answer`)
}

const progress = (text: string): void => void process.stderr.write(`${text}\n`)

/** How long each takes, against `node -e 0` in the same round; every other round goes backwards. */
async function startups(commands: readonly Command[]): Promise<{ ratios: Spread[]; nodeMs: Spread }> {
  const all = [NODE, ...commands].map((command) => ({ command, times: new Array<number>() }))
  for (const { command } of all) await run(command)
  for (let round = 0; round < SIZES.rounds; round++) {
    for (const { command, times } of round % 2 === 0 ? all : all.toReversed()) times.push(await run(command))
  }
  const node = all[0]?.times ?? []
  const ratios = all.slice(1).map(({ times }) => spreadOf(times.map((time, round) => time / (node[round] ?? NaN))))
  return { ratios, nodeMs: spreadOf(node) }
}

/** Round trips to the last answer, and what went over the wire. */
async function trips(server: BenchServer, form: Form, count: number, plan: Partial<Plan> = {}): Promise<Trips> {
  const tallies: Tally[] = []
  // One session at a time gives the clock nothing to miss.
  for (let round = 0; round < (form.isParallel ? SIZES.costRounds : 1); round++) {
    const [port = 0] = await server.begin({ ticks: true, ...plan })
    await run(form.several(port, names(count)))
    const tally = await server.tally()
    check(form, `${count} at once`, tally, count)
    tallies.push(tally)
  }
  const spread = (of: (tally: Tally) => number): Spread => spreadOf(tallies.map(of))
  return {
    lastAnswer: spread(({ lastAnswer }) => lastAnswer),
    segments: spread(({ segments }) => segments),
    connections: spread(({ connections }) => connections),
  }
}

/** So many names or sessions, with ports for the command to use */
type Job = {
  readonly form: Form
  readonly count: number
  readonly ports: number
  readonly command: (ports: readonly number[]) => Command
}

/** What each job costs by unit, in interleaved rounds; ratios are to the first job of the same round. */
async function costs(server: BenchServer, jobs: readonly Job[]): Promise<Costs[]> {
  const all = jobs.map((job) => ({ job, costs: new Array<Cost>() }))
  for (let round = 0; round < SIZES.costRounds; round++) {
    for (const { job, costs } of all) {
      const cost = await costOf(job.command(await server.begin({ ports: job.ports })))
      check(job.form, `${job.count} for CPU time`, await server.tally(), job.count)
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

/** Many servers with a name each. */
const sessionJobs = (form: Form): Job[] => {
  const { servers } = form
  if (servers === undefined) return []
  const count = servers.aProcessEach ? SIZES.processes : SIZES.servers
  return [{ form, count, ports: count, command: (ports) => servers.command(ports, ONE) }]
}

/** One server with many names; etrn at several sizes, the largest first. */
const bulkJobs = (form: Form): Job[] => {
  const { bulk } = form
  if (bulk === undefined) return []
  const counts = SIZES.bulk.slice(form.program === BIN ? 0 : -1).toReversed()
  return counts.map((count) => ({ form, count, ports: 1, command: ([port = 0]) => bulk(port, names(count)) }))
}

/** What a client sends for one name. */
async function sent(server: BenchServer, form: Form): Promise<Sent | undefined> {
  if (form.one === undefined) return undefined
  const [port = 0] = await server.begin()
  await run(form.one(port, ONE))
  const { octets, text } = await server.tally()
  const [, helo = ''] = /^EHLO (.*)\r\n/.exec(text) ?? []
  // The name of this host is nobody's business.
  return { octets, lines: text.trim().split('\r\n'), hostName: helo === HELO ? undefined : helo }
}

async function figures(
  server: BenchServer,
  forms: readonly Form[],
): Promise<Pick<Figures, 'rows' | 'version' | 'nodeMs'>> {
  progress('whole processes')
  const [port = 0] = await server.begin()
  const started = forms.flatMap((form) => (form.one === undefined ? [] : [{ form, command: form.one(port, ONE) }]))
  const { ratios, nodeMs } = await startups([VERSION, ...started.map(({ command }) => command)])
  const startup = new Map(started.map(({ form }, index) => [form, ratios[index + 1]]))
  progress('CPU time')
  const sessions = forms.flatMap(sessionJobs)
  const sessionCosts = await costs(server, sessions)
  const bulks = forms.flatMap(bulkJobs)
  const bulkCosts = await costs(server, bulks)
  const rows: Figures['rows'][number][] = []
  for (const form of forms) {
    progress(`round trips: ${form.title}`)
    const counted: Trips[] = []
    for (const count of SIZES.names) counted.push(await trips(server, form, count))
    rows.push({
      form,
      startup: startup.get(form),
      trips: counted,
      slow: await trips(server, form, Math.max(...SIZES.names), { slowsDown: true }),
      session: sessionCosts[sessions.findIndex((job) => job.form === form)],
      bulk: bulkCosts.filter((_, index) => bulks[index]?.form === form).toReversed(),
      sent: await sent(server, form),
    })
  }
  return { rows, version: ratios[0] ?? spreadOf([]), nodeMs }
}

/** Version of each program; undefined: not installed. */
async function versionsOf(): Promise<Map<string, string | undefined>> {
  // Ours
  const { version } = JSON.parse(readFileSync(new URL('package.json', ROOT), 'utf8')) as {
    version: string
  }
  const versions = new Map<string, string | undefined>([[BIN, version]])
  for (const { program, version: option } of [...FORMS, ...WITHOUT_ETRN]) {
    if (!versions.has(program)) versions.set(program, await versionOf(program, option))
  }
  return versions
}

const server = new BenchServer()
try {
  const versions = await versionsOf()
  const forms = FORMS.filter(({ program }) => versions.get(program) !== undefined)
  const known = await figures(server, forms)
  process.stdout.write(page({ ...known, sizes: SIZES, versions, complaints }))
} finally {
  server.close()
}
