import { basename } from 'node:path'
import { type Client, CLIENTS, WITHOUT_ETRN } from './clients.js'
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

/** Round trips, TCP segments and connections */
export type TripCounts = { readonly lastReplyTick: Spread; readonly segments: Spread; readonly connections: Spread }

/** The cost of one name or one session */
export type UnitCost = {
  readonly cpuMs: Spread
  /** Relative to etrn's in the same round */
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
  /** etrn's row is the first. Clients that aren't installed have none. */
  readonly rows: readonly {
    readonly client: Client
    readonly startup: Spread | undefined
    readonly trips: readonly TripCounts[]
    readonly slow: TripCounts
    readonly session: UnitCost | undefined
    readonly bulk: readonly UnitCost[]
    readonly sent: SentOctets | undefined
  }[]
  /** The time of `etrn --version`, relative to `node -e 0` */
  readonly version: Spread
  readonly nodeMs: Spread
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

/** Returns the table of all clients. */
function clientTable({ rows, sizes }: Figures): string {
  const most = largestOf(sizes.names)
  const head = [
    '',
    'one name, the whole process, × `node -e 0`',
    `last reply, ${sizes.names.join(' / ')} names, round trips`,
    `${most} names, a server that slows down, round trips`,
    `${most} names: connections, segments`,
    'CPU time per session, many servers, etrn = 1',
    `CPU time per name, ${formatInteger(largestOf(sizes.bulk))} at one server, etrn = 1`,
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
  if (row === undefined) return [client.title, ...new Array<string>(7).fill(DASH), 'not installed']
  const { startup, trips, slow, session, sent } = row
  const last = trips.at(-1)
  const bulk = row.bulk.at(-1)
  return [
    client.title,
    startup === undefined ? DASH : formatSpread(startup, 2),
    trips.map(({ lastReplyTick }) => formatSpread(lastReplyTick, 0)).join(' / '),
    formatSpread(slow.lastReplyTick, 0),
    last === undefined ? DASH : `${formatSpread(last.connections, 0)}, ${formatSpread(last.segments, 0)}`,
    session === undefined ? DASH : `${formatSpread(session.ratio, 2)}; ${client.manyServers?.method ?? ''}`,
    bulk === undefined ? DASH : formatSpread(bulk.ratio, 2),
    sent === undefined ? DASH : formatOctets(sent),
    client.note,
  ]
}

function formatOctets({ octets, hostName }: SentOctets): string {
  return hostName === undefined ? `${octets}` : `${octets - hostName.length} and its host name`
}

/** Returns the table of etrn's goals. */
function goalTable({ rows: [own], version, sizes }: Figures): string {
  if (own === undefined) return ''
  const trip = (count: number): string => {
    const trips = own.trips[sizes.names.indexOf(count)]
    return trips === undefined ? DASH : formatSpread(trips.lastReplyTick, 0)
  }
  const counts = sizes.bulk.map(formatInteger).join(' / ')
  return formatTable(
    ['etrn', 'goal', 'measured'],
    [
      ['`etrn --version`, × `node -e 0`', '1.5', formatSpread(version, 2)],
      [
        'one name, the whole process, × `node -e 0`',
        '1.6',
        own.startup === undefined ? DASH : formatSpread(own.startup, 2),
      ],
      ['last reply, 1 / 5 / 20 names, round trips', '4 / 8 / 12', [1, 5, 20].map(trip).join(' / ')],
      [
        '20 names, a server that slows down, round trips',
        `as at any other: ${trip(20)}`,
        formatSpread(own.slow.lastReplyTick, 0),
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
function legendOf({ sizes, versions, nodeMs }: Figures): string {
  const known = [...versions].map(([program, version]) => `${basename(program)} ${version ?? 'not installed'}`)
  const without = WITHOUT_ETRN.map(({ program }) => program).join(', ')
  return `Measured on ${new Date().toISOString().slice(0, 10)} by \`npm run bench${sizes.isQuick ? ' -- --quick' : ''}\`, all on loopback:
node ${process.versions.node}, ${known.join(', ')} (${without} has no ETRN).

- Figures are medians (min${DASH}max). The whole process: × \`node -e 0\` (which took ${formatSpread(nodeMs, 0)} ms), interleaved, ${sizes.rounds} rounds,
  with PATH and HOME as the only variables: NODE_EXTRA_CA_CERTS, for one, makes every node start later.
- Last reply: round trips, the TCP handshake included. They are counted, not timed: the server sends its replies in ticks, when all
  clients wait. A server that slows down takes 1, 2, 4... ticks more for the 8th, 9th, 10th... name of a session
  (at most 240; Sendmail waits as many seconds); no client's timeout ends it.
- CPU time: user and system, etrn's = 1, interleaved, rounds: ${sizes.costRounds}. ${formatInteger(sizes.servers)} servers; ${formatInteger(sizes.processes)} if each takes a process.`
}

/** Returns all tables and the legend, as Markdown. */
export function formatPage(figures: Figures): string {
  return `${[goalTable(figures), clientTable(figures), legendOf(figures), ...figures.errors].join('\n\n')}\n`
}
