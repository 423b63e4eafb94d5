import { BIN } from '../helpers/files.js'
import type { Command } from './measure.js'

/** One way to ask for names. Ports are those of 127.0.0.1. */
export type Form = {
  readonly title: string
  /** What has to be installed, and its option that says its version */
  readonly program: string
  readonly version: string
  /** What a reader of its figures has to know */
  readonly note: string
  /** One name, one session; left out where that is another form's */
  readonly one?: (port: number, name: string) => Command
  readonly several: (port: number, names: readonly string[]) => Command
  /** Many sessions at once: how often it is counted, since that is what a clock can miss */
  readonly isParallel?: true
  /** A name at each of many servers, as fast as it can, and how that is done */
  readonly servers?: {
    readonly how: string
    readonly aProcessEach: boolean
    readonly command: (ports: readonly number[], name: string) => Command
  }
  /** Thousands of names at one server, and how */
  readonly bulk?: (port: number, names: readonly string[]) => Command
}

/** What clients are told to say in EHLO, where they can be told */
export const HELO = 'gw.site.example'

const shell = (script: string): Command => ({ argv: ['sh', '-c', script] })
const quoted = ({ argv }: Command): string => argv.map((word) => `'${word}'`).join(' ')
/** Words on standard input, one process for each of them, so many at once; % in the command stands for the word. */
const xargs = (processes: number, words: readonly (string | number)[], command: Command): Command =>
  shell(`printf '%s\\n' ${words.join(' ')} | xargs -P ${processes} -I% ${quoted(command)}`)

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

/** Clients of SMTP of which one might expect it */
export const WITHOUT_ETRN = [{ program: 'swaks', version: '--version' }]

export const FORMS: readonly Form[] = [
  {
    title: '**etrn**',
    program: BIN,
    version: '--version',
    note: 'a result and a status for every name',
    one: (port, name) => ({ argv: [BIN, '--helo', HELO, `127.0.0.1:${port}`, name] }),
    several: (port, names) => ({ argv: [BIN, '--helo', HELO, `127.0.0.1:${port}`, ...names] }),
    isParallel: true,
    servers: {
      aProcessEach: false,
      how: 'one process, --jobs 64',
      command: (ports, name) => ({
        argv: [BIN, '--helo', HELO, '--jobs', '64', ports.map((port) => `127.0.0.1:${port}`).join(','), name],
      }),
    },
    bulk: (port, names) => ({
      argv: [BIN, '--helo', HELO, '--names-from', '-', `127.0.0.1:${port}`],
      input: names.join('\n'),
    }),
  },
  {
    title: '`msmtp --rmqs`',
    program: 'msmtp',
    version: '--version',
    note: 'a process a name, the status is that of the last; says nothing of what was accepted',
    one: msmtp,
    several: (port, names) => shell(names.map((name) => quoted(msmtp(port, name))).join('; ')),
    servers: { aProcessEach: true, how: 'xargs -P 8', command: (ports, name) => xargs(8, ports, msmtp('%', name)) },
  },
  {
    title: '`msmtp`, xargs -P 4',
    program: 'msmtp',
    version: '--version',
    note: 'the same, four processes at once; 123 whatever failed',
    several: (port, names) => xargs(4, names, msmtp(port, '%')),
    isParallel: true,
  },
  {
    title: '`fetchmail -p ETRN`',
    program: 'fetchmail',
    version: '-V',
    note: "one session; the first 251 or refusal ends it; own words, not the server's",
    one: fetchmail,
    several: (port, names) => fetchmail(port, ...names),
    // A second fetchmail refuses to run beside the first.
    servers: { aProcessEach: true, how: 'xargs -P 1', command: (ports, name) => xargs(1, ports, fetchmail('%', name)) },
    bulk: (port, names) => fetchmail(port, ...names),
  },
  {
    title: "`curl -X 'ETRN n'`",
    program: 'curl',
    version: '--version',
    note: "a process a name, the status is that of the last; doesn't look whether ETRN is listed",
    one: (port, name) => curl('-X', `ETRN ${name}`, url(port)),
    several: (port, names) => shell(names.map((name) => quoted(curl('-X', `ETRN ${name}`, url(port)))).join('; ')),
    servers: {
      aProcessEach: true,
      how: 'xargs -P 8',
      command: (ports, name) => xargs(8, ports, curl('-X', `ETRN ${name}`, url('%'))),
    },
  },
  {
    title: '`curl -X ETRN --mail-rcpt n`',
    program: 'curl',
    version: '--version',
    note: 'one session; the first refusal ends it, the rest goes unreported, but 553 is success; of several servers the status of the last; at most 300 kB of replies',
    one: (port, name) => curl('-X', 'ETRN', '--mail-rcpt', name, url(port)),
    several: (port, names) => curl('-X', 'ETRN', ...names.flatMap((name) => ['--mail-rcpt', name]), url(port)),
    servers: {
      aProcessEach: false,
      how: 'one process, -Z --parallel-max 64',
      command: (ports, name) => curl('-Z', '--parallel-max', '64', '-X', `ETRN ${name}`, ...ports.map(url)),
    },
    bulk: (port, names) => ({
      ...curl('-K', '-', '-X', 'ETRN', url(port)),
      input: names.map((name) => `mail-rcpt = "${name}"`).join('\n'),
    }),
  },
]
