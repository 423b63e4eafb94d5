import type { TestContext } from 'node:test'
import { MailServer } from '../demo/provider.js'
import { fixture, fixturePath } from '../helpers/files.js'
import { type Answer, nameServer } from '../helpers/name-server.js'
import {
  BYE,
  type Conversation,
  type Scripted,
  scriptedAt,
  type Step,
  type TlsStep,
} from '../helpers/scripted-server.js'
import { SITE, WORLD } from '../helpers/site.js'
import type { DocumentName } from './blocks.js'
import { type SiteOptions, startLocalServer } from './site.js'

/** What the commands of a block meet. */
export type Scene = SiteOptions & {
  /** mail.isp.example has these replies, and refuses other names. */
  readonly replies?: Readonly<Record<string, string>>
  /** Each session begins when the one before has ended, so that the results have an order. */
  readonly sessions?: readonly Session[]
  /** The site's own mail server listens on port 25. */
  readonly hasLocalServer?: true
  /** The exit status of the last command; 0 if left out */
  readonly status?: number
  /** What the commands of a block without output print; if left out, they end with 0 each, and may print anything. */
  readonly prints?: RegExp
  /** A program that must be installed; otherwise the test is skipped. */
  readonly needs?: string
}

type Session = { readonly host: string; readonly port?: number; readonly steps: readonly Step[] }

const [RESOLVER, ONE, TWO, THREE] = WORLD

const ZONE: Readonly<Record<string, Answer>> = {
  'A mail.isp.example': { addresses: [ONE] },
  'A mx1.isp.example': { addresses: [ONE] },
  'A mx1.example.com': { addresses: [SITE] },
  'A mx2.example.net': { addresses: [TWO] },
  'A mx3.example.net': { addresses: [THREE] },
  'A gw.site.example': { addresses: [SITE] },
  'MX example.com': {
    mx: [
      [10, 'mx1.example.com'],
      [20, 'mx2.example.net'],
      [30, 'mx3.example.net'],
    ],
  },
  'MX site.example': {
    mx: [
      [10, 'gw.site.example'],
      [20, 'mail.isp.example'],
    ],
  },
}

/** Starts DNS and the mail servers of a scene. Returns a function that throws if a session was not as expected. */
export async function startScene(t: TestContext, scene: Scene): Promise<() => Promise<void>> {
  await nameServer(t, ZONE, RESOLVER)
  if (scene.hasLocalServer) await startLocalServer(t)
  if (scene.replies !== undefined) await startProvider(t, scene.replies)
  return startSessions(t, scene.sessions ?? [])
}

async function startProvider(t: TestContext, replies: Readonly<Record<string, string>>): Promise<void> {
  const answer = (node: string): string => replies[node] ?? `459 <${node}>: service unavailable`
  const server = new MailServer('mail.isp.example', () => undefined, [{ keyword: 'ETRN', answer }])
  await server.listen(25, ONE)
  t.after(() => server.close())
}

async function startSessions(t: TestContext, sessions: readonly Session[]): Promise<() => Promise<void>> {
  const servers = new Map<string, Conversation[]>()
  let before = Promise.resolve()
  for (const { host, port = 25, steps } of sessions) {
    const start = before
    let end = (): void => undefined
    before = new Promise((resolve) => (end = resolve))
    const conversations = servers.get(`${host} ${port}`) ?? []
    conversations.push([async () => start, ...steps, () => end()])
    servers.set(`${host} ${port}`, conversations)
  }
  const started: Scripted[] = []
  for (const [key, conversations] of servers) {
    const [host = '', port] = key.split(' ')
    started.push(await scriptedAt(t, { host, port: Number(port), isLoose: true }, ...conversations))
  }
  return async () => {
    for (const { verify } of started) await verify()
  }
}

export const greeting = (server: string): Step => `S: 220 ${server} ESMTP Postfix`
export const ehlo = (server: string, ...keywords: readonly string[]): Step[] => [
  'C: EHLO gw.site.example',
  `S: 250-${server}`,
  ...keywords.map((keyword): Step => `S: 250-${keyword}`),
  'S: 250 ETRN',
]
const eximEhlo = (...keywords: readonly string[]): Step[] =>
  ehlo(`mail.isp.example Hello gw.site.example [${SITE}]`, 'SIZE 52428800', '8BITMIME', 'PIPELINING', ...keywords)
export const startTls = (): Step[] => ['C: STARTTLS', 'S: 220 2.0.0 Ready to start TLS']
export const TLS: TlsStep = { tls: { key: fixture('isp.key'), cert: fixture('isp.pem') } }
export const login = (server: string): Step[] => [
  ...ehlo(server, 'AUTH PLAIN LOGIN'),
  `C: AUTH PLAIN ${Buffer.from('\0site\0secret').toString('base64')}`,
  'S: 235 2.7.0 Authentication successful',
]
export const request = (name: string, reply: string): Step[] => [`C: ETRN ${name}`, `S: ${reply}`]
const ACCEPTED = '250 Queuing started'
/** Returns a session without TLS. */
export const session = (server: string, ...steps: readonly Step[]): Step[] => [
  greeting(server),
  ...ehlo(server, 'PIPELINING'),
  ...steps,
  ...BYE,
]

const IN_CLONE = '.ci/run runs it in a fresh clone'
const IN_LIBRARY_TEST = 'test/examples/library.test.ts runs it'
const POSTFIX = 'a setting of Postfix; test/interop/postfix-settings.test.ts sets it'
const EXIM = 'a setting of Exim; test/interop/exim-settings.test.ts sets it'

/**
 * How each block of each document runs, by the start of its first line: a scene, or the reason why documents.test.ts doesn't run it.
 */
export const EXAMPLES: Readonly<Record<DocumentName, Readonly<Record<string, Scene | string>>>> = {
  'README.md': {
    'npm ci && npm run demo': IN_CLONE,
    '$ etrn 127.0.0.1:': 'test/demo/demo.test.ts compares it with the demo',
    'npm install -g etrn': 'it needs the registry; .ci/run installs the packed package',
    'etrn --hook pppd': { files: { '/etc/ppp/ip-up.d/other': '' } },
    '$ etrn --wait-local': {
      hasLocalServer: true,
      sessions: [
        { host: TWO, steps: session('mx2.example.net', ...request('example.com', ACCEPTED)) },
        { host: THREE, steps: session('mx3.example.net', ...request('example.com', ACCEPTED)) },
      ],
    },
    'etrn --hook cron': { prints: /^3-59\/10 \* \* \* \* /m },
    '$ etrn --report-after 4h mail.isp.example': { replies: { 'site.example': ACCEPTED }, status: 77 },
    '$ cat /etc/etrn/config.toml': {
      files: { '/etc/etrn/domains': 'site.example\nother.example\n', '/etc/etrn/backup2.password': 'secret\n' },
      sessions: [
        {
          host: ONE,
          steps: session(
            'mx1.isp.example',
            ...request('site.example', ACCEPTED),
            ...request('other.example', ACCEPTED),
          ),
        },
        {
          host: TWO,
          steps: [
            greeting('mx2.example.net'),
            ...ehlo('mx2.example.net', 'STARTTLS'),
            ...startTls(),
            TLS,
            ...login('mx2.example.net'),
            ...request('site.example', '253 2.0.0 OK, 4 pending messages for node site.example started'),
            ...request('other.example', '251 2.0.0 OK, no messages waiting for node other.example'),
            ...BYE,
          ],
        },
      ],
    },
    'etrn --check mail.isp.example': {
      replies: { 'site.example': ACCEPTED, '@site.example': ACCEPTED },
      programs: { psql: 'echo site.example' },
    },
    '$ etrn --json': { replies: { 'site.example': ACCEPTED }, needs: 'jq' },
    'etrn -q mail.isp.example': {
      replies: { 'site.example': '458 Unable to queue messages' },
      prints: /^temporary failure: try again later$/m,
    },
    'etrn --names-from domains --failed-to': {
      files: { domains: 'site.example\nother.example\n' },
      sessions: [
        {
          host: ONE,
          steps: session(
            'mail.isp.example',
            ...request('site.example', ACCEPTED),
            ...request('other.example', '458 Unable to queue messages'),
          ),
        },
        { host: ONE, steps: session('mail.isp.example', ...request('other.example', ACCEPTED)) },
      ],
      prints: /^other\.example: .*\(250 Queuing started\)$/m,
    },
  },
  'CONTRIBUTING.md': {
    'npm test': IN_CLONE,
    'const server': 'a line of a test',
  },
  'man/providers.md': {
    '$ etrn --check': {
      hasLocalServer: true,
      sessions: [
        {
          host: ONE,
          steps: [
            'S: 220 mail.isp.example ESMTP Exim 4.96 Wed, 25 Nov 2026 03:31:21 +0000',
            ...eximEhlo('STARTTLS'),
            ...startTls(),
            TLS,
            ...eximEhlo(),
            ...BYE,
          ],
        },
      ],
    },
    '$ etrn -v': { replies: { 'site.example': ACCEPTED } },
    '(umask 077': {
      input: 'secret\n',
      programs: { pass: 'echo secret' },
      environment: { NODE_EXTRA_CA_CERTS: fixturePath('isp.pem') },
      sessions: [
        {
          host: ONE,
          steps: [
            greeting('mail.isp.example'),
            ...ehlo('mail.isp.example', 'STARTTLS'),
            ...startTls(),
            TLS,
            ...login('mail.isp.example'),
            ...request('site.example', ACCEPTED),
            ...BYE,
          ],
        },
        {
          host: ONE,
          port: 465,
          steps: [
            TLS,
            greeting('mail.isp.example'),
            ...login('mail.isp.example'),
            ...request('site.example', ACCEPTED),
            ...BYE,
          ],
        },
      ],
      prints: /^(?:site\.example: .*\(250 Queuing started\)\n){2}$/,
    },
    '$ etrn --user site': {
      files: { '/etc/etrn.password': 'secret\n' },
      sessions: [
        {
          host: ONE,
          steps: [
            greeting('mail.isp.example'),
            ...ehlo('mail.isp.example', 'STARTTLS'),
            ...startTls(),
            { ...TLS, fails: true },
          ],
        },
      ],
      status: 76,
    },
    relay_domains: POSTFIX,
    acl_smtp_etrn: EXIM,
    smtp_etrn_command: EXIM,
    'site.example: @site.example': 'a line of a table; test/interop/exim-names.test.ts has it',
  },
  'man/comparison.md': {},
  'man/library.md': {
    "import { ask } from 'etrn'": IN_LIBRARY_TEST,
    "import { readFile } from 'node:fs/promises'": IN_LIBRARY_TEST,
    "import { ask, UsageError } from 'etrn'": IN_LIBRARY_TEST,
  },
}
