import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { BIN } from '../helpers/files.js'
import type { Command } from './measure.js'

/** One way to request names. The ports are on 127.0.0.1. */
export type Client = {
  readonly title: string
  /** The program, and the command that prints its version. Without output, the program isn't installed. */
  readonly program: string
  readonly version: Command
  /** What the reader of the figures must know */
  readonly note: string
  /** Requests one name; missing if the command is the same as another client's. */
  readonly requestOne?: (port: number, name: string) => Command
  /** Missing if the client can't do it. */
  readonly requestSeveral?: (port: number, names: readonly string[]) => Command
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

const smallest = (port: number | string, ...names: readonly string[]): Command => ({
  argv: ['node', fileURLToPath(new URL('smallest-client.cjs', import.meta.url)), `${port}`, ...names],
})

/** Requests all names from each port, one session after another. */
const NET_SMTP = `
  my ($ports, @names) = @ARGV;
  for my $port (split /,/, $ports) {
    my $smtp = Net::SMTP->new("127.0.0.1", Port => $port, Hello => "${HELO}") or exit 1;
    for my $name (@names) { $smtp->etrn($name); print $smtp->code, " ", $smtp->message }
    $smtp->quit;
  }`
const netSmtp = (ports: readonly number[], ...names: readonly string[]): Command => ({
  argv: ['perl', '-MNet::SMTP', '-e', NET_SMTP, ports.join(), ...names],
})

/** Sendmail's etrn.pl: where Debian installs it, and where test/interop unpacks it */
const ETRN_PL = [
  '/usr/sbin/etrn',
  join(
    process.env['ETRN_INTEROP'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'etrn-interop'),
    'sendmail/tree/usr/sbin/etrn',
  ),
].find((file) => existsSync(file) && readFileSync(file, 'utf8').includes('John T. Beck'))
/** The script has no option for the port. */
const etrnPl = (port: number, name: string): Command => ({
  argv: ['perl', '-', '127.0.0.1', name],
  input: readFileSync(ETRN_PL ?? '', 'utf8').replace("$port = 'smtp'", `$port = '${port}'`),
})

/** Well-known SMTP clients without ETRN */
export const WITHOUT_ETRN = [{ program: 'swaks', version: { argv: ['swaks', '--version'] } }]

/** The base of all ratios */
export const SMALLEST: Client = {
  title: 'smallest client',
  program: 'node',
  version: { argv: ['node', '--version'] },
  note: '`test/bench/smallest-client.cjs`: one session; no timeout; prints nothing; the exit status tells only failure',
  requestOne: smallest,
  requestSeveral: (port, names) => smallest(port, ...names),
  manyServers: {
    hasProcessPerServer: true,
    method: 'xargs -P 8',
    command: (ports, name) => xargs(8, ports, smallest('%', name)),
  },
  requestMany: (port, names) => smallest(port, ...names),
}

export const ETRN: Client = {
  title: '**etrn**',
  program: 'etrn',
  version: { argv: [BIN, '--version'] },
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
}

export const CLIENTS: readonly Client[] = [
  SMALLEST,
  ETRN,
  {
    title: '`msmtp --rmqs`',
    program: 'msmtp',
    version: { argv: ['msmtp', '--version'] },
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
    version: { argv: ['msmtp', '--version'] },
    note: 'the same, with four processes at once; exit status 123 for every failure',
    requestSeveral: (port, names) => xargs(4, names, msmtp(port, '%')),
    isParallel: true,
  },
  {
    title: '`fetchmail -p ETRN`',
    program: 'fetchmail',
    version: { argv: ['fetchmail', '-V'] },
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
    version: { argv: ['curl', '--version'] },
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
    version: { argv: ['curl', '--version'] },
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
  {
    title: 'perl Net::SMTP',
    program: 'Net::SMTP',
    version: { argv: ['perl', '-MNet::SMTP', '-e', 'print $Net::SMTP::VERSION'] },
    note: 'a library; the caller must write the loop, the output and the exit status',
    requestOne: (port, name) => netSmtp([port], name),
    requestSeveral: (port, names) => netSmtp([port], ...names),
    manyServers: {
      hasProcessPerServer: false,
      method: 'one process, one server after another',
      command: (ports, name) => netSmtp(ports, name),
    },
    requestMany: (port, names) => netSmtp([port], ...names),
  },
  {
    title: "Sendmail's etrn.pl",
    program: 'etrn.pl',
    version: { argv: ['grep', '-o', '[0-9-]* by John T. Beck', ETRN_PL ?? '/dev/null'] },
    note: 'pauses for 1 s after each name; ends 10 s after the first, without the rest; exit status 0 for every reply; no option for the port',
    requestOne: etrnPl,
  },
]
