import { basename } from 'node:path'
import { type Form, FORMS, WITHOUT_ETRN } from './clients.js'
import type { Spread } from './measure.js'

/** How much is measured */
export type Sizes = {
  readonly isQuick: boolean
  /** Whole processes; CPU time and what opens several sessions */
  readonly rounds: number
  readonly costRounds: number
  /** How many names, where round trips are counted */
  readonly names: readonly number[]
  /** How many names at one server */
  readonly bulk: readonly number[]
  /** How many servers; for a form with a process for each, whose cost is the same each time */
  readonly servers: number
  readonly processes: number
}

/** Round trips, and what went over the wire */
export type Trips = { readonly lastAnswer: Spread; readonly segments: Spread; readonly connections: Spread }

/** What a unit of work, a name or a session, costs */
export type Costs = {
  readonly cpuMs: Spread
  /** Against etrn's in the same round */
  readonly ratio: Spread
  /** NaN: unknown */
  readonly peakMiB: number
}

export type Sent = {
  readonly octets: number
  readonly lines: readonly string[]
  /** Where a client says this, whatever one would like */
  readonly hostName: string | undefined
}

export type Figures = {
  readonly sizes: Sizes
  /** etrn's first; what isn't installed has none. */
  readonly rows: readonly {
    readonly form: Form
    readonly startup: Spread | undefined
    readonly trips: readonly Trips[]
    readonly slow: Trips
    readonly session: Costs | undefined
    readonly bulk: readonly Costs[]
    readonly sent: Sent | undefined
  }[]
  /** `etrn --version` against `node -e 0` */
  readonly version: Spread
  readonly nodeMs: Spread
  /** By program; undefined: not installed */
  readonly versions: ReadonlyMap<string, string | undefined>
  readonly complaints: readonly string[]
}

type Row = Figures['rows'][number]

const DASH = '–'
const integer = (value: number): string => value.toLocaleString('en')
const withRange = ({ median, min, max }: Spread, digits: number): string =>
  median.toFixed(digits) + (min === max ? '' : ` (${min.toFixed(digits)}${DASH}${max.toFixed(digits)})`)
const mebibytes = (costs: Costs | undefined): string =>
  costs === undefined || Number.isNaN(costs.peakMiB) ? DASH : `${costs.peakMiB.toFixed(0)} MiB`
const largest = (values: readonly number[]): number => Math.max(...values)

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')
}

/** All clients, in what they have in common. */
function clients({ rows, sizes }: Figures): string {
  const most = largest(sizes.names)
  const head = [
    '',
    'one name, the whole process, × `node -e 0`',
    `last answer, ${sizes.names.join(' / ')} names, round trips`,
    `${most} names, a server that slows down, round trips`,
    `${most} names: connections, segments`,
    'CPU time a session, many servers, etrn = 1',
    `CPU time a name, ${integer(largest(sizes.bulk))} at one server, etrn = 1`,
    'octets sent for one name',
    'mind',
  ]
  return table(
    head,
    FORMS.map((form) =>
      client(
        form,
        rows.find((row) => row.form === form),
      ),
    ),
  )
}

function client(form: Form, row: Row | undefined): string[] {
  if (row === undefined) return [form.title, ...new Array<string>(7).fill(DASH), 'not installed']
  const { startup, trips, slow, session, sent } = row
  const last = trips.at(-1)
  const bulk = row.bulk.at(-1)
  return [
    form.title,
    startup === undefined ? DASH : withRange(startup, 2),
    trips.map(({ lastAnswer }) => withRange(lastAnswer, 0)).join(' / '),
    withRange(slow.lastAnswer, 0),
    last === undefined ? DASH : `${withRange(last.connections, 0)}, ${withRange(last.segments, 0)}`,
    session === undefined ? DASH : `${withRange(session.ratio, 2)}; ${form.servers?.how ?? ''}`,
    bulk === undefined ? DASH : withRange(bulk.ratio, 2),
    sent === undefined ? DASH : octets(sent),
    form.note,
  ]
}

function octets({ octets, hostName }: Sent): string {
  return hostName === undefined ? `${octets}` : `${octets - hostName.length} and its host name`
}

/** etrn against its goals. */
function goals({ rows: [own], version, sizes }: Figures): string {
  if (own === undefined) return ''
  const trip = (count: number): string => {
    const trips = own.trips[sizes.names.indexOf(count)]
    return trips === undefined ? DASH : withRange(trips.lastAnswer, 0)
  }
  const counts = sizes.bulk.map(integer).join(' / ')
  return table(
    ['etrn', 'goal', 'measured'],
    [
      ['`etrn --version`, × `node -e 0`', '1.5', withRange(version, 2)],
      [
        'one name, the whole process, × `node -e 0`',
        '1.6',
        own.startup === undefined ? DASH : withRange(own.startup, 2),
      ],
      ['last answer, 1 / 5 / 20 names, round trips', '4 / 8 / 12', [1, 5, 20].map(trip).join(' / ')],
      [
        '20 names, a server that slows down, round trips',
        `as at any other: ${trip(20)}`,
        withRange(own.slow.lastAnswer, 0),
      ],
      [
        `CPU time a name, ms, ${counts} names at one server`,
        'grows linearly: the same for all',
        own.bulk.map(({ cpuMs }) => withRange(cpuMs, 2)).join(' / '),
      ],
      [`peak memory, ${counts} names at one server`, '120 MiB', own.bulk.map(mebibytes).join(' / ')],
      [
        `CPU time a session, ms, ${integer(sizes.servers)} servers, --jobs 64`,
        '',
        own.session === undefined ? DASH : withRange(own.session.cpuMs, 2),
      ],
      [`peak memory, ${integer(sizes.servers)} servers, --jobs 64`, '120 MiB', mebibytes(own.session)],
      ['sent for one name', 'EHLO, ETRN, QUIT', (own.sent?.lines ?? []).map((line) => `\`${line}\``).join(' ')],
    ],
  )
}

/** What it was measured with, and how. */
function legend({ sizes, versions, nodeMs }: Figures): string {
  const known = [...versions].map(([program, version]) => `${basename(program)} ${version ?? 'not installed'}`)
  const without = WITHOUT_ETRN.map(({ program }) => program).join(', ')
  return `Measured on ${new Date().toISOString().slice(0, 10)} by \`npm run bench${sizes.isQuick ? ' -- --quick' : ''}\`, all on loopback:
node ${process.versions.node}, ${known.join(', ')} (${without} has no ETRN).

- Figures are medians (min${DASH}max). The whole process: × \`node -e 0\` (which took ${withRange(nodeMs, 0)} ms), interleaved, ${sizes.rounds} rounds,
  nothing in the environment but PATH and HOME; NODE_EXTRA_CA_CERTS, for one, makes every node start later.
- Last answer: round trips, the TCP handshake included. They are counted, not timed, by a server that lets its replies go in
  ticks, whenever all clients wait. One that slows down takes 1, 2, 4... ticks more for the 8th, 9th, 10th... name of a session
  (up to 240, as Sendmail has it in seconds); no client's own timeout strikes.
- CPU time: user and system, etrn's = 1, interleaved, rounds: ${sizes.costRounds}. ${integer(sizes.servers)} servers; ${integer(sizes.processes)} where each takes a process.`
}

/** All of it, as Markdown. */
export function page(figures: Figures): string {
  return `${[goals(figures), clients(figures), legend(figures), ...figures.complaints].join('\n\n')}\n`
}
