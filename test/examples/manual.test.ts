import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { suite, test } from 'node:test'
import { X509Certificate } from 'node:crypto'
import { fixture } from '../helpers/files.js'
import { manualScenes, replaceOutput, type ShownCommand } from '../helpers/manual.js'
import { isInNamespace } from '../helpers/namespace.js'
import { BYE, type Step } from '../helpers/scripted-server.js'
import { WORLD } from '../helpers/site.js'
import { isUpdate, withoutVariables } from './blocks.js'
import { ehlo, greeting, login, request, type Scene, session, startScene, startTls, TLS } from './scenes.js'
import { createSite, runAtSite } from './site.js'

// Runs the displays of man/etrn.1 that show commands, and compares the output with what they show.

const [, ONE, TWO, THREE] = WORLD
const ACCEPTED = '250 Queuing started'
const PENDING = (count: number): string => `253 OK, ${count} pending messages for node site.example started`

const ispSession = (...steps: readonly Step[]) => ({ host: ONE, steps: session('mail.isp.example', ...steps) })
const [TO_TLS, LOGIN] = [
  [greeting('mail.isp.example'), ...ehlo('mail.isp.example', 'STARTTLS'), ...startTls()],
  login('mail.isp.example'),
] as const
const secureSession = (...steps: readonly Step[]) => ({
  host: ONE,
  steps: [...TO_TLS, TLS, ...LOGIN, ...steps, ...BYE],
})

const [A, B, C] = ['a.example', 'b.example', 'c.example'] as const
const MX_SESSIONS: Scene = {
  sessions: [
    { host: TWO, steps: session('mx2.example.net', ...request('example.com', ACCEPTED)) },
    { host: THREE, steps: session('mx3.example.net', ...request('example.com', ACCEPTED)) },
  ],
}

/** Postfix, which the other servers greet as, counts no messages. */
const COUNTING_SESSION = session(
  'mail.isp.example',
  ...request('site.example', `253 2.0.0${PENDING(14).slice(3)}`),
).with(0, 'S: 220 mail.isp.example ESMTP')

/** What the commands of each display meet, by the heading above it. `before` prepares the site. */
const SCENES: Readonly<Record<string, Scene & { readonly before?: string }>> = {
  JSON: { sessions: [{ host: ONE, steps: COUNTING_SESSION }] },
  CONFIGURATION: {},
  'One name': { sessions: [ispSession(...request('site.example', PENDING(14)))] },
  'Several names': { replies: { [A]: ACCEPTED, [C]: ACCEPTED } },
  'A 5xx reply': { replies: { [A]: '550 unknown domain', [B]: ACCEPTED, [C]: ACCEPTED } },
  'The SMTP dialogue': { sessions: [ispSession(...request('site.example', ACCEPTED))] },
  'When a link comes up': {
    replies: { 'site.example': ACCEPTED },
    files: { '/etc/ppp/ip-up.d/README': '' },
    programs: {
      logger: 'cat >/run/log.new; mv /run/log.new /run/log',
      journalctl: 'until [ -e /run/log ]; do sleep 0.1; done; cat /run/log',
    },
    before: 'mount --bind /run/bin/logger /usr/bin/logger',
  },
  'After an outage of the primary MX': { ...MX_SESSIONS, hasLocalServer: true },
  'Behind NAT': MX_SESSIONS,
  'From cron': { replies: {}, programs: { crontab: 'if [ "$1" = -l ]; then exit 1; else cat >crontab; fi' } },
  'Credentials and a self-signed certificate': {
    files: { '/etc/etrn/README': '' },
    input: 'secret\n',
    sessions: [{ host: ONE, steps: [...TO_TLS, TLS] }, secureSession(...request('site.example', ACCEPTED))],
  },
  'Many domains at two backup MXs': {
    files: { '/etc/etrn/isp.password': 'secret\n' },
    sessions: [
      secureSession(...[A, B, C].flatMap((name) => request(name, ACCEPTED))),
      { host: TWO, steps: session('mx2.example.net', ...[A, B, C].flatMap((name) => request(name, ACCEPTED))) },
    ],
  },
  'Until no mail is waiting': {
    sessions: [
      ispSession(...request('site.example', PENDING(2))),
      ispSession(...request('site.example', '251 OK, no messages waiting for node site.example')),
    ],
  },
  'On the phone with the provider': { sessions: [ispSession()] },
  'In a script': { replies: { 'site.example': '459 not allowed' } },
  'Retry only what failed': {
    files: { domains: `${A}\n${B}\n${C}\n` },
    sessions: [
      ispSession(...request(A, ACCEPTED), ...request(B, '458 system busy'), ...request(C, ACCEPTED)),
      ispSession(...request(B, ACCEPTED)),
    ],
  },
}

/** Programs of the system that a scene needs */
const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  'When a link comes up': ['/usr/bin/flock', '/usr/bin/logger'],
}

function skipReason(title: string): string | false {
  const missing = (PROGRAMS[title] ?? []).filter((program) => !existsSync(program))
  return missing.length > 0 && process.env['CI'] === undefined ? `not here: ${missing.join(', ')}` : false
}

const FINGERPRINT = new X509Certificate(fixture('isp.pem')).fingerprint256
/** The form in which the manual shows it */
const SHORT_FINGERPRINT = FINGERPRINT.replace(/^(.{5}).*(.{5})$/, '$1:...:$2')
const toReal = (text: string): string => text.replaceAll(SHORT_FINGERPRINT, FINGERPRINT)

/** Separates the outputs of commands. */
const MARK = '\u001e'

/** Runs the commands of a display in one shell at the site. Returns the output of each. */
async function runCommands(...[t, commands, { before = ':', ...scene }]: RunArguments): Promise<string[]> {
  const shown = commands.flatMap(({ command, output }) => {
    const file = /^cat (\S+)$/.exec(command)?.[1]
    return file === undefined ? [] : [[file, toReal(output)] as const]
  })
  const real = commands.map(({ command }) => toReal(command).replace('--interval 30s', '--interval 1s'))
  const script = [before, ...real.map((line) => `${line}\nstatus=$?; printf '${MARK}'; (exit $status)`)].join('\n')
  const files = { ...scene.files, ...Object.fromEntries(shown) }
  const { output } = await runAtSite(t, script, { ...scene, files, environment: { LANG: 'C' } })
  return output.split(MARK)
}

type RunArguments = [
  t: Parameters<typeof startScene>[0],
  commands: readonly ShownCommand[],
  scene: Scene & { readonly before?: string },
]

/** Joins lines that the manual folds, and replaces what differs from run to run or from machine to machine. */
function normalize(output: string): string {
  return withoutVariables(output)
    .replaceAll(/^etrn: warning: .* not safe to (?:run|use): .*\n/gm, '')
    .replaceAll(/\n {4,}/g, ' ')
    .replaceAll(/(?<="elapsedMs": )\d+/g, 'N')
    .replaceAll(/\b\d+s\b/g, 'Ns')
    .replaceAll(/ +/g, ' ')
}

if (isInNamespace(import.meta.url)) {
  createSite()
  const scenes = manualScenes()
  test('each display of the manual with commands has a scene', () =>
    assert.deepEqual(
      scenes.map(({ title }) => title),
      Object.keys(SCENES),
    ))
  suite('the manual shows what its commands print', { concurrency: false, timeout: 120_000 }, () => {
    for (const { title, commands } of scenes) {
      const scene = SCENES[title] ?? {}
      test(title, { skip: skipReason(title) }, async (t) => {
        const verify = await startScene(t, scene)
        const outputs = await runCommands(t, commands, scene)
        const actual = commands.map(({ output }, index) => {
          const printed = outputs[index]?.replaceAll(FINGERPRINT, SHORT_FINGERPRINT) ?? ''
          return normalize(printed) === normalize(output) ? output : printed
        })
        if (isUpdate) replaceOutput(commands, actual)
        const textOf = (lines: readonly string[]): string =>
          commands.map(({ command }, index) => `$ ${command}\n${normalize(lines[index] ?? '')}`).join('')
        const shown = commands.map(({ output }) => output)
        if (!isUpdate) assert.equal(textOf(actual), textOf(shown), 'npm run documents updates the manual')
        await verify()
      })
    }
  })
}
