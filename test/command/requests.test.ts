import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { CommandLine } from '../../src/command/arguments.js'
import type { PartialOptions } from '../../src/command/options.js'
import { createRequests } from '../../src/command/requests.js'
import { ownHostName } from '../../src/net/this-host.js'
import { Redactor } from '../../src/smtp/redact.js'
import { assertRefused, type Document, etrn } from '../helpers/command.js'
import { makeFile } from '../helpers/files.js'
import { NO_CONFIG, NO_SOURCES } from '../helpers/options.js'
import { BYE, etrnSteps, HELLO, scripted, sessionWith } from '../helpers/scripted-server.js'

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
      /^etrn: locked \(127\.0\.0\.1\): .*config\.toml:6: profile locked: --password-command failed: exit status 3; #a not requested$/m,
    )
  })
  test('--check shows the step that failed, and ends with 66', async (t) => {
    const server = await scripted(t, [...HELLO, ...BYE])
    const run = await etrn(['--config', makeFile(t, 'config.toml', createToml(server.port)), '--all', '--check'])
    assert.equal(run.status, 66)
    assert.match(
      run.stdout,
      /^ {2}NO AUTH .*: --password-command failed: exit status 3\n.*correct the profile; the other profiles are not affected$/m,
    )
  })
  test('a profile that is alone ends the run with one line', async (t) => {
    const config = makeFile(t, 'config.toml', createToml(1))
    await assertRefused(
      ['--config', config, 'locked'],
      /^etrn: .*profile locked: --password-command failed: exit status 3\n$/,
      66,
    )
  })
})

suite('requests: a missing file of one profile', { concurrency: true }, () => {
  for (const args of [['--all'], ['--all', '--timeout', '5s']]) {
    test(`is the failure of that profile, and the other server gets its request: ${args.join(' ')}`, async (t) => {
      const server = await scripted(t, sessionWith(...etrnSteps('b.example', '250 OK')))
      const profiles = `helo = "gw.site.example"
[servers.bad]
server = "127.0.0.1:1"
names = ["a.example"]
tls-ca = "/nowhere/ca.pem"
[servers.good]
server = "127.0.0.1:${server.port}"
names = ["b.example"]
`
      const run = await etrn(['--config', makeFile(t, 'config.toml', profiles), ...args])
      await server.verify()
      assert.equal(run.status, 66)
      assert.match(run.stdout, /^good: b\.example: .*\(250 OK\)$/m)
      assert.match(
        run.stderr,
        /^etrn: bad \(127\.0\.0\.1\): \S+\/config\.toml:5: profile bad: --tls-ca \/nowhere\/ca\.pem: no such file; a\.example not requested\nhint: bad: correct the profile; the other profiles are not affected$/m,
      )
    })
  }
  test('ends the run if a name of one profile is wrong, which is no missing file', async (t) => {
    const toml = `[servers.a]\nserver = "127.0.0.1:1"\nnames = ["a..b"]\n[servers.b]\nserver = "127.0.0.1:2"\nqueue = ["q"]\n`
    const args = ['--config', makeFile(t, 'config.toml', toml), '--all']
    await assertRefused(args, /^etrn: \S+:3: profile a: name "a\.\.b" has an empty label/, 78)
  })
  test('ends the run if the top of the file names it', async (t) => {
    const toml = `tls-ca = "/nowhere/ca.pem"\nqueue = ["q"]\n[servers.a]\nserver = "127.0.0.1:1"\n[servers.b]\nserver = "127.0.0.1:2"\n`
    const args = ['--config', makeFile(t, 'config.toml', toml), '--all']
    await assertRefused(args, /^etrn: \S+:1: --tls-ca \/nowhere\/ca\.pem: no such file\n$/, 66)
  })
})

const SERVER = 'server = "mail.invalid"\n'

suite('requests: the source of an error', { concurrency: true }, () => {
  const blames = (
    title: string,
    toml: string,
    message: RegExp,
    status = 78,
    args: readonly string[] = ['isp', 'a.example'],
  ): void =>
    void test(title, async (t) =>
      assertRefused(['--config', makeFile(t, 'config.toml', toml), ...args], message, status),
    )
  blames(
    'a bad name of a profile is reported with file and profile, and 78',
    `[servers.isp]\n${SERVER}names = ["a..b"]`,
    /config\.toml:3: profile isp: name "a\.\.b" has an empty label/,
    78,
    ['isp'],
  )
  blames(
    'a bad name of the command line is reported without the file, and 64',
    `[servers.isp]\n${SERVER}`,
    /^etrn: name "a\.\.b" has an empty label/,
    64,
    ['isp', '--queue', 'q', 'a..b'],
  )
  blames(
    'a bad name at the top of the file is reported with the file',
    'names = ["a..b"]',
    /config\.toml:1: name "a\.\.b" has an empty label/,
    78,
    ['127.0.0.1'],
  )
  blames(
    'a key at the top of the file is reported with its line, and not with the profile',
    `tls-key = "/k"\n[servers.isp]\n${SERVER}names = ["a.example"]\n`,
    /config\.toml:1: --tls-key needs --tls-cert; /,
  )
  blames(
    'a bad user in the server of a profile is reported with the profile and the line',
    `[servers.isp]\nserver = "smtp://a%07b@mx.example"\nnames = ["a.example"]\n`,
    /config\.toml:2: profile isp: the user name for isp contains a control or invisible character/,
  )
  blames(
    'ipv4 and ipv6 of a profile are reported with the profile',
    `[servers.isp]\n${SERVER}ipv4 = true\nipv6 = true`,
    /config\.toml:4: profile isp: ipv4 and ipv6 can't be used together; use only one$/m,
  )
  blames(
    'ipv4 and ipv6 at the top of the file are reported with the file',
    'ipv4 = true\nipv6 = true',
    /config\.toml:2: ipv4 and ipv6 can't be used together; use only one$/m,
  )
  blames(
    '-4 and -6 of the command line are reported without the file',
    'ipv4 = true',
    /^etrn: -4 and -6 can't be used together; use only one$/m,
    64,
    ['-4', '-6', '127.0.0.1', 'a.example'],
  )
  blames(
    'a tls-key alone is reported with the file',
    'tls-key = "k.pem"',
    /config\.toml:1: --tls-key needs --tls-cert; /,
  )
  blames(
    'a missing tls-ca is reported with the file, and 66',
    'tls-ca = "/nowhere.pem"',
    /config\.toml:1: --tls-ca \/nowhere\.pem: no such file/,
    66,
  )
  blames(
    'a missing tls-ca of a profile is reported with the profile, and 66',
    `[servers.isp]\n${SERVER}tls-ca = "/nowhere.pem"`,
    /config\.toml:3: profile isp: --tls-ca \/nowhere\.pem: no such file/,
    66,
  )
  blames(
    'a user of the URL without a password is reported without the file',
    'timeout = "5s"',
    /^etrn: no password given/,
    64,
    ['smtp://u@127.0.0.1', 'a.example'],
  )
})

suite('createRequests', () => {
  const createOne = async (options: PartialOptions, words: readonly string[] = ['mx.example', 'a.example']) => {
    const line: CommandLine = { options, words, typed: {} }
    const [request, ...others] = await createRequests(line, NO_CONFIG, NO_SOURCES)
    assert.deepEqual(others, [])
    assert.ok(request !== undefined && 'retryPolicy' in request)
    return request
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
      selfOption: [],
      doubtfulNames: ['a.example'],
      entries: ['a.example'],
      server: {
        word: 'mx.example',
        host: 'mx.example',
        port: 25,
        isImplicitTls: false,
        user: undefined,
        credentials: undefined,
        redactor: new Redactor(),
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
  test('gives one redactor to all requests to a host, in whichever spelling', async () => {
    const servers = '[::1],[0:0::1],127.0.0.1,[::FFFF:7f00:1]:26,127.0.0.2,mx.example,MX.example.:26,mx2.example'
    const line: CommandLine = { options: {}, words: [servers, 'a.example'], typed: {} }
    const redactors = (await createRequests(line, NO_CONFIG, NO_SOURCES)).map(({ server }) =>
      'redactor' in server ? server.redactor : assert.fail(server.word),
    )
    assert.deepEqual(
      redactors.map((redactor) => redactors.indexOf(redactor)),
      [0, 0, 2, 2, 4, 5, 5, 7],
    )
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
    const options = { mx: ['site.example'], helo: 'GW.site.example.', self: ['MX.site.example', 'mx.site.example'] }
    const { settings, entries, isMx } = await createOne(options, [])
    const own = ownHostName()?.toLowerCase()
    assert.deepEqual(settings.self, [...(own === undefined ? [] : [own]), 'gw.site.example', 'mx.site.example'])
    assert.deepEqual([entries, isMx], [['site.example'], true])
  })
})
