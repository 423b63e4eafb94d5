import { availableParallelism } from 'node:os'
import { type Client, CLIENTS, ETRN, WITHOUT_ETRN } from './clients.js'
import type { Spread } from './measure.js'

/** How often, and with how many names and servers, to measure */
export type Sizes = {
  readonly isQuick: boolean
  /** Rounds for the time of whole processes */
  readonly rounds: number
  /** Rounds for CPU time, and for clients that open several sessions */
  readonly costRounds: number
  /** The numbers of names for which round trips are counted */
  readonly names: readonly number[]
  /** The numbers of names for CPU time at one server */
  readonly bulk: readonly number[]
  readonly servers: number
  /** The number of servers for a client with a process for each, because each process costs the same */
  readonly processes: number
}

/** The time of a whole process, from its start to its end */
export type ProcessTime = {
  readonly title: string
  /** Missing for a command that requests nothing */
  readonly client?: Client
  readonly goal: string
  /** Relative to the smallest client, and to node on an empty file, in the same round */
  readonly toSmallest: Spread
  readonly toEmpty: Spread
}

/** Round trips, TCP segments and connections */
export type TripCounts = { readonly lastReplyTick: Spread; readonly segments: Spread; readonly connections: Spread }

/** The cost of one name or one session */
export type UnitCost = {
  readonly cpuMs: Spread
  /** Relative to the smallest client's in the same round */
  readonly ratio: Spread
  /** NaN: unknown */
  readonly peakMiB: number
}

/** The octets that a client sends for one name */
export type SentOctets = {
  readonly octets: number
  readonly lines: readonly string[]
  /** This host's name, if the client has no option for another one */
  readonly hostName: string | undefined
}

export type Figures = {
  readonly sizes: Sizes
  readonly processes: readonly ProcessTime[]
  /** The time of the smallest client */
  readonly baseMs: Spread
  /** Clients that aren't installed have no row. */
  readonly rows: readonly {
    readonly client: Client
    /** Empty, and undefined, if the client can't request several names */
    readonly trips: readonly TripCounts[]
    readonly slow: TripCounts | undefined
    readonly session: UnitCost | undefined
    readonly bulk: readonly UnitCost[]
    readonly sent: SentOctets | undefined
  }[]
  /** The versions by program; undefined: not installed */
  readonly versions: ReadonlyMap<string, string | undefined>
  readonly errors: readonly string[]
}

type Row = Figures['rows'][number]

const DASH = '–'
const formatInteger = (value: number): string => value.toLocaleString('en')
const formatSpread = ({ median, min, max }: Spread, digits: number): string =>
  median.toFixed(digits) + (min === max ? '' : ` (${min.toFixed(digits)}${DASH}${max.toFixed(digits)})`)
const formatMiB = (costs: UnitCost | undefined): string =>
  costs === undefined || Number.isNaN(costs.peakMiB) ? DASH : `${costs.peakMiB.toFixed(0)} MiB`
const largestOf = (values: readonly number[]): number => Math.max(...values)

function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')
}

/** Returns the table of whole processes. */
function processTable({ processes }: Figures): string {
  const missing = CLIENTS.filter(
    (client) => client.requestOne !== undefined && !processes.some((timed) => timed.client === client),
  )
  return formatTable(
    ['whole process', '× smallest client', '× `node` on an empty file', 'goal'],
    [
      ...processes.map(({ title, toSmallest, toEmpty, goal }) => [
        title,
        formatSpread(toSmallest, 2),
        formatSpread(toEmpty, 2),
        goal,
      ]),
      ...missing.map(({ title }) => [title, DASH, DASH, 'not installed']),
    ],
  )
}

/** Returns the table of all clients. */
function clientTable({ rows, sizes }: Figures): string {
  const most = largestOf(sizes.names)
  const head = [
    '',
    `last reply, ${sizes.names.join(' / ')} names, round trips`,
    `${most} names, a server that slows down, round trips`,
    `${most} names: connections, segments`,
    'CPU time per session, many servers, × smallest client',
    `CPU time per name, ${formatInteger(largestOf(sizes.bulk))} at one server, × smallest client`,
    'octets sent for one name',
    'note',
  ]
  return formatTable(
    head,
    CLIENTS.map((client) =>
      clientRow(
        client,
        rows.find((row) => row.client === client),
      ),
    ),
  )
}

function clientRow(client: Client, row: Row | undefined): string[] {
  if (row === undefined) return [client.title, ...new Array<string>(6).fill(DASH), 'not installed']
  const { trips, slow, session, sent } = row
  const last = trips.at(-1)
  const bulk = row.bulk.at(-1)
  return [
    client.title,
    trips.length === 0 ? DASH : trips.map(({ lastReplyTick }) => formatSpread(lastReplyTick, 0)).join(' / '),
    slow === undefined ? DASH : formatSpread(slow.lastReplyTick, 0),
    last === undefined ? DASH : `${formatSpread(last.connections, 0)}, ${formatSpread(last.segments, 0)}`,
    session === undefined ? DASH : `${formatSpread(session.ratio, 3)}; ${client.manyServers?.method ?? ''}`,
    bulk === undefined ? DASH : formatSpread(bulk.ratio, 2),
    sent === undefined ? DASH : formatOctets(sent),
    client.note,
  ]
}

function formatOctets({ octets, hostName }: SentOctets): string {
  return hostName === undefined ? `${octets}` : `${octets - hostName.length} and its host name`
}

/** Returns the table of etrn's goals. */
function goalTable({ rows, sizes }: Figures): string {
  const own = rows.find(({ client }) => client === ETRN)
  if (own === undefined) return ''
  const trip = (count: number): string => {
    const trips = own.trips[sizes.names.indexOf(count)]
    return trips === undefined ? DASH : formatSpread(trips.lastReplyTick, 0)
  }
  const counts = sizes.bulk.map(formatInteger).join(' / ')
  return formatTable(
    ['etrn', 'goal', 'measured'],
    [
      ['last reply, 1 / 5 / 20 names, round trips', '4 / 8 / 12', [1, 5, 20].map(trip).join(' / ')],
      [
        '20 names, a server that slows down, round trips',
        `as at any other: ${trip(20)}`,
        own.slow === undefined ? DASH : formatSpread(own.slow.lastReplyTick, 0),
      ],
      [
        `CPU time per name, ms, ${counts} names at one server`,
        'grows linearly: the same for all',
        own.bulk.map(({ cpuMs }) => formatSpread(cpuMs, 2)).join(' / '),
      ],
      [`peak memory, ${counts} names at one server`, '120 MiB', own.bulk.map(formatMiB).join(' / ')],
      [
        `CPU time per session, ms, ${formatInteger(sizes.servers)} servers, --jobs 64`,
        '',
        own.session === undefined ? DASH : formatSpread(own.session.cpuMs, 2),
      ],
      [`peak memory, ${formatInteger(sizes.servers)} servers, --jobs 64`, '120 MiB', formatMiB(own.session)],
      ['sent for one name', 'EHLO, ETRN, QUIT', (own.sent?.lines ?? []).map((line) => `\`${line}\``).join(' ')],
    ],
  )
}

/** Returns the versions and the method. */
function legendOf({ sizes, versions, baseMs }: Figures): string {
  const known = [...versions].map(([program, version]) => `${program} ${version ?? 'not installed'}`)
  const without = WITHOUT_ETRN.map(({ program }) => program).join(', ')
  return `Measured on ${new Date().toISOString().slice(0, 10)} by \`npm run bench${sizes.isQuick ? ' -- --quick' : ''}\`, all on loopback, on a machine with ${availableParallelism()} CPUs:
${known.join(', ')} (${without} has no ETRN).

- Figures are medians (min${DASH}max) of ratios within a round; the commands of a round run in turn.
- A whole process: ${sizes.rounds} rounds; the smallest client took ${formatSpread(baseMs, 0)} ms. PATH and HOME are the only variables:
  NODE_EXTRA_CA_CERTS, for one, makes every node start later.
- Last reply: round trips, the TCP handshake included. They are counted, not timed: the server sends its replies in ticks, when all
  clients wait. A server that slows down takes 1, 2, 4... ticks more for the 8th, 9th, 10th... name of a session
  (at most 240; Sendmail waits as many seconds); no client's timeout ends it.
- CPU time: user and system; rounds: ${sizes.costRounds}. ${formatInteger(sizes.servers)} servers; ${formatInteger(sizes.processes)} if each takes a process.`
}

const INTRODUCTION = `# Benchmark

\`npm run bench -- --write\` writes this file, with the clients that are installed. It takes some minutes.

The base of all ratios is the smallest client in Node.js: a few lines with \`node:net\` that send EHLO, ETRN and QUIT and wait for each
reply. A ratio below 1 means faster or cheaper than that client.

- Clients in C and Perl start faster than Node.js itself, and need less CPU time per session and per name. They win for one request.
- \`etrn\` wins in round trips for several names. Real servers slow down or close the connection after some names, so that \`etrn\` opens
  up to four sessions with at most 7 names in each. (Four \`msmtp\` at once are one round trip faster for two names, but don't
  report results.)
- One process of \`etrn\` requests all names from all servers, for a fraction of the CPU time of a Node.js process per server.`

/** Returns all tables and the legend, as Markdown. */
export function formatPage(figures: Figures): string {
  const parts = [INTRODUCTION, processTable(figures), goalTable(figures), clientTable(figures), legendOf(figures)]
  return `${[...parts, ...figures.errors].join('\n\n')}\n`
}
