import { BIN } from '../helpers/files.js'
import type { Command } from './measure.js'

/** One way to request names. The ports are on 127.0.0.1. */
export type Client = {
  readonly title: string
  /** The program that must be installed, and its option that prints the version */
  readonly program: string
  readonly version: string
  /** What the reader of the figures must know */
  readonly note: string
  /** Requests one name; missing if the command is the same as another client's. */
  readonly requestOne?: (port: number, name: string) => Command
  readonly requestSeveral: (port: number, names: readonly string[]) => Command
  /** The client opens several sessions at once; then the count of round trips can vary. */
  readonly isParallel?: true
  /** Requests a name from each of many servers, as fast as the client can. */
  readonly manyServers?: {
    readonly method: string
    readonly hasProcessPerServer: boolean
    readonly command: (ports: readonly number[], name: string) => Command
  }
  /** Requests thousands of names from one server. */
  readonly requestMany?: (port: number, names: readonly string[]) => Command
}

/** The EHLO name for the clients that have an option for it */
export const HELO = 'gw.site.example'

const shell = (script: string): Command => ({ argv: ['sh', '-c', script] })
const quote = ({ argv }: Command): string => argv.map((word) => `'${word}'`).join(' ')
/** Runs the command once for each word, in so many processes at once. % in the command stands for the word. */
const xargs = (processes: number, words: readonly (string | number)[], command: Command): Command =>
  shell(`printf '%s\\n' ${words.join(' ')} | xargs -P ${processes} -I% ${quote(command)}`)

const msmtp = (port: number | string, name: string): Command => ({
  argv: ['msmtp', '--host=127.0.0.1', `--port=${port}`, `--domain=${HELO}`, `--rmqs=${name}`],
})
const fetchmail = (port: number | string, ...names: readonly string[]): Command => ({
  argv: [
    'fetchmail',
    '-f',
    '/dev/null',
    '-p',
    'ETRN',
    '--service',
    `${port}`,
    '--fetchdomains',
    names.join(','),
    '127.0.0.1',
  ],
})
const url = (port: number | string): string => `smtp://127.0.0.1:${port}/${HELO}`
const curl = (...words: readonly string[]): Command => ({ argv: ['curl', '-q', '-sS', ...words] })

/** Well-known SMTP clients without ETRN */
export const WITHOUT_ETRN = [{ program: 'swaks', version: '--version' }]

export const CLIENTS: readonly Client[] = [
  {
    title: '**etrn**',
    program: BIN,
    version: '--version',
    note: 'a result and a status for every name',
    requestOne: (port, name) => ({ argv: [BIN, '--helo', HELO, `127.0.0.1:${port}`, name] }),
    requestSeveral: (port, names) => ({ argv: [BIN, '--helo', HELO, `127.0.0.1:${port}`, ...names] }),
    isParallel: true,
    manyServers: {
      hasProcessPerServer: false,
      method: 'one process, --jobs 64',
      command: (ports, name) => ({
        argv: [BIN, '--helo', HELO, '--jobs', '64', ports.map((port) => `127.0.0.1:${port}`).join(','), name],
      }),
    },
    requestMany: (port, names) => ({
      argv: [BIN, '--helo', HELO, '--names-from', '-', `127.0.0.1:${port}`],
      input: names.join('\n'),
    }),
  },
  {
    title: '`msmtp --rmqs`',
    program: 'msmtp',
    version: '--version',
    note: 'one process for each name; the exit status is that of the last; does not report which names were accepted',
    requestOne: msmtp,
    requestSeveral: (port, names) => shell(names.map((name) => quote(msmtp(port, name))).join('; ')),
    manyServers: {
      hasProcessPerServer: true,
      method: 'xargs -P 8',
      command: (ports, name) => xargs(8, ports, msmtp('%', name)),
    },
  },
  {
    title: '`msmtp`, xargs -P 4',
    program: 'msmtp',
    version: '--version',
    note: 'the same, with four processes at once; exit status 123 for every failure',
    requestSeveral: (port, names) => xargs(4, names, msmtp(port, '%')),
    isParallel: true,
  },
  {
    title: '`fetchmail -p ETRN`',
    program: 'fetchmail',
    version: '-V',
    note: "one session; stops at the first 251 or refusal; prints its own text instead of the server's",
    requestOne: fetchmail,
    requestSeveral: (port, names) => fetchmail(port, ...names),
    // Two fetchmails refuse to run at the same time.
    manyServers: {
      hasProcessPerServer: true,
      method: 'xargs -P 1',
      command: (ports, name) => xargs(1, ports, fetchmail('%', name)),
    },
    requestMany: (port, names) => fetchmail(port, ...names),
  },
  {
    title: "`curl -X 'ETRN n'`",
    program: 'curl',
    version: '--version',
    note: "one process for each name; the exit status is that of the last; sends ETRN even if EHLO doesn't list it",
    requestOne: (port, name) => curl('-X', `ETRN ${name}`, url(port)),
    requestSeveral: (port, names) =>
      shell(names.map((name) => quote(curl('-X', `ETRN ${name}`, url(port)))).join('; ')),
    manyServers: {
      hasProcessPerServer: true,
      method: 'xargs -P 8',
      command: (ports, name) => xargs(8, ports, curl('-X', `ETRN ${name}`, url('%'))),
    },
  },
  {
    title: '`curl -X ETRN --mail-rcpt n`',
    program: 'curl',
    version: '--version',
    note: 'one session; stops at the first refusal without a report of the rest, but takes 553 for success; for several servers, the exit status is that of the last; at most 300 kB of replies',
    requestOne: (port, name) => curl('-X', 'ETRN', '--mail-rcpt', name, url(port)),
    requestSeveral: (port, names) => curl('-X', 'ETRN', ...names.flatMap((name) => ['--mail-rcpt', name]), url(port)),
    manyServers: {
      hasProcessPerServer: false,
      method: 'one process, -Z --parallel-max 64',
      command: (ports, name) => curl('-Z', '--parallel-max', '64', '-X', `ETRN ${name}`, ...ports.map(url)),
    },
    requestMany: (port, names) => ({
      ...curl('-K', '-', '-X', 'ETRN', url(port)),
      input: names.map((name) => `mail-rcpt = "${name}"`).join('\n'),
    }),
  },
]
