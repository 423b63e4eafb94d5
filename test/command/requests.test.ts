import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { suite, test } from 'node:test'
import { checkHookTargets, createRequests } from '../../src/command/requests.js'
import type { CommandLine } from '../../src/command/arguments.js'
import type { PartialOptions } from '../../src/command/options.js'
import { assertRefused, type Document, etrn } from '../helpers/command.js'
import { makeFile } from '../helpers/files.js'
import { BYE, etrnSteps, HELLO, scripted, sessionWith } from '../helpers/scripted-server.js'
import { ownHostName } from '../../src/net/this-host.js'

suite('requests: a profile that cannot be used does not stop the others', { concurrency: true }, () => {
  const createToml = (port: number): string => `helo = "gw.site.example"\n[servers.locked]
server = "127.0.0.1:1"
queue = ["a"]
user = "site"
password-command = "exit 3"
[servers.listless]
server = "127.0.0.1:1"
names-from = ["nowhere.txt"]
[servers.isp]
server = "127.0.0.1:${port}"
queue = ["b"]
`
  test('--json reports the stage, the exit status and the names of each profile', async (t) => {
    const server = await scripted(t, sessionWith(...etrnSteps('#b', '250 OK')))
    const config = makeFile(t, 'config.toml', createToml(server.port))
    const run = await etrn(['--config', config, '--all', '--json'])
    const { servers, exitStatus } = JSON.parse(run.stdout) as Document
    assert.deepEqual(
      servers.map(({ error, names: [first] }) => [error?.stage, error?.exitStatus, first?.name, first?.outcome]),
      [
        ['auth', 66, '#a', 'failed'],
        ['etrn', 66, undefined, undefined],
        [undefined, undefined, '#b', 'started'],
      ],
    )
    assert.deepEqual([run.status, exitStatus], [66, 66])
  })
  test('the text names the profile, the cause and the names', async (t) => {
    const server = await scripted(t, sessionWith(...etrnSteps('#b', '250 OK')))
    const run = await etrn(['--config', makeFile(t, 'config.toml', createToml(server.port)), '--all'])
    assert.match(
      run.stderr,
      /^locked: AUTH: .*profile locked: --password-command: it ended with status 3; no answer for #a$/m,
    )
  })
  test('--check shows the step that failed, and ends with 66', async (t) => {
    const server = await scripted(t, [...HELLO, ...BYE])
    const run = await etrn(['--config', makeFile(t, 'config.toml', createToml(server.port)), '--all', '--check'])
    assert.equal(run.status, 66)
    assert.match(
      run.stdout,
      /^ {2}NO AUTH .*: --password-command: it ended with status 3\n {6}the others are asked all the same$/m,
    )
  })
  test('a profile that is alone ends the run with one line', async (t) => {
    const config = makeFile(t, 'config.toml', createToml(1))
    await assertRefused(
      ['--config', config, 'locked'],
      /^etrn: .*profile locked: --password-command: it ended with status 3\n$/,
      66,
    )
  })
})

suite('createRequests', () => {
  const SOURCES = {
    input: () => new PassThrough().end(),
    warn: (message: string): void => assert.fail(message),
    signal: new AbortController().signal,
    environment: undefined,
    interrupt: () => undefined,
  }
  const NO_CONFIG = { source: '', top: {}, profiles: new Map(), paths: new Map() }
  const createOne = async (options: PartialOptions, words: readonly string[] = ['mx.example', 'a.example']) => {
    const line: CommandLine = { options, words, typed: {} }
    const [request, ...others] = await createRequests(line, NO_CONFIG, SOURCES)
    assert.deepEqual(others, [])
    return request ?? assert.fail()
  }
  test('has the defaults of every setting', async () => {
    assert.deepEqual(await createOne({}), {
      isMx: false,
      settings: {
        helo: ownHostName(),
        self: [],
        local: undefined,
        family: undefined,
        timeoutMs: 60_000,
        assumeEtrn: false,
        keepGoing: false,
      },
      retryPolicy: { retryForMs: 0, waitMs: 0, intervalMs: 60_000 },
      entries: ['a.example'],
      server: {
        word: 'mx.example',
        host: 'mx.example',
        port: 25,
        isImplicitTls: false,
        user: undefined,
        credentials: undefined,
        tls: {
          level: 'may',
          minVersion: 'TLSv1.2',
          fingerprint: undefined,
          name: undefined,
          ca: undefined,
          cert: undefined,
          key: undefined,
        },
      },
    })
  })
  test('takes each setting from its option', async () => {
    const { settings, retryPolicy } = await createOne({
      helo: 'gw.site.example.',
      interface: 'ppp0',
      ipv6: true,
      timeout: 1,
      'assume-etrn': true,
      'keep-going': true,
      'retry-for': 2,
      wait: 3,
      interval: 4,
    })
    assert.deepEqual(settings, {
      helo: 'gw.site.example',
      self: [],
      local: 'ppp0',
      family: 6,
      timeoutMs: 1,
      assumeEtrn: true,
      keepGoing: true,
    })
    assert.deepEqual(retryPolicy, { retryForMs: 2, waitMs: 3, intervalMs: 4 })
    assert.equal((await createOne({ ipv4: true })).settings.family, 4)
  })
  test('--mx: this host is known by its own name, --helo and --self, each once', async () => {
    const options = { mx: 'site.example', helo: 'GW.site.example.', self: ['gw.site.example', 'MX.site.example'] }
    const { settings, entries, isMx } = await createOne(options, [])
    const own = ownHostName()?.toLowerCase()
    assert.deepEqual(settings.self, [...(own === undefined ? [] : [own]), 'gw.site.example', 'mx.site.example'])
    assert.deepEqual([entries, isMx], [['site.example'], true])
  })
  test('refuses -4 with -6', async () =>
    assertRefused(
      ['-4', '-6', 'mx', 'a.example'],
      'etrn: -4 and -6 exclude each other: type one of them, or none for both\n',
    ))
})

suite('checkHookTargets: refused hooks', { concurrency: true }, () => {
  const refuses = (title: string, args: readonly string[], message: RegExp): void =>
    void test(title, async () => assertRefused(['--hook', 'cron', ...args], message))
  refuses('reports a bad name', ['mx', 'a..b'], /name "a\.\.b"/)
  refuses('reports names from standard input', ['mx', '--names-from', '-'], /a hook has no standard input/)
  refuses(
    'reports a login for two servers',
    ['a.example,b.example', 'n.example', '--user', 'u', '--password-file', 'f'],
    /a login belongs to one server/,
  )
  refuses(
    'reports a user of the URL without a password file',
    ['smtp://u@mx', 'a.example'],
    /in a hook nobody types a password/,
  )
  refuses(
    'reports --user without a password file',
    ['mx', 'a.example', '--user', 'u'],
    /in a hook nobody types a password/,
  )
  refuses('reports -4 with -6', ['mx', 'a.example', '-4', '-6'], /-4 and -6 exclude each other/)
  refuses('reports --tls-key alone', ['mx', 'a.example', '--tls-key', '/k'], /--tls-key belongs to --tls-cert/)
  refuses('reports --auth without a user', ['mx', 'a.example', '--auth', 'PLAIN'], /needs a user/)
  refuses(
    'reports a fingerprint without TLS',
    ['mx', 'a.example', '--tls', 'none', '--tls-fingerprint', 'A'.repeat(64)],
    /contradicts/,
  )
  test('reads no file that a hook will read when it runs', async () => {
    const line: CommandLine = {
      options: { 'names-from': ['/nowhere'], 'tls-ca': '/nowhere', user: 'u', 'password-file': '/nowhere' },
      words: ['mx.example'],
      typed: {},
    }
    const config = { source: '', top: {}, profiles: new Map(), paths: new Map() }
    assert.equal((await checkHookTargets(line, config, (message) => assert.fail(message))).length, 1)
  })
})
