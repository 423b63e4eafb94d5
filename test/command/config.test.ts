import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { type CommandOptions, type Document, etrn, etrnJson, type Finished, spawnEtrn } from '../helpers/command.js'
import { BIN } from '../helpers/files.js'
import { noOtherUser } from '../helpers/namespace.js'
import { BYE, type Conversation, HELLO, scripted } from '../helpers/scripted-server.js'

const asked = (...names: string[]): Conversation => [
  ...HELLO,
  ...names.flatMap((name) => [`C: ETRN ${name}`, 'S: 250 OK'] as const),
  ...BYE,
]

function folder(t: TestContext): string {
  const made = mkdtempSync(join(tmpdir(), 'etrn-'))
  t.after(() => rmSync(made, { recursive: true }))
  return made
}

function file(t: TestContext, toml: string): string {
  const path = join(folder(t), 'config.toml')
  writeFileSync(path, toml)
  return path
}

async function withConfig(
  t: TestContext,
  toml: string,
  args: readonly string[],
  o?: CommandOptions,
): Promise<Finished> {
  return etrn(['--config', file(t, toml), ...args], o)
}

/** Some tests are another user's. */
const SKIP = noOtherUser()
const TOP = 'helo = "gw.site.example"\n'

suite('profiles', { concurrency: true }, () => {
  test('a server, its names and its options', async (t) => {
    const server = await scripted(t, asked('a.example', '@b.example'))
    const toml = `${TOP}[servers.isp]\nserver = "127.0.0.1:${server.port}"\nnames = ["a.example"]\nsubdomains = ["b.example"]\ntimeout = "5s"\n`
    const run = await withConfig(t, toml, ['isp'])
    assert.equal(run.status, 0, run.stderr)
  })
  test("names of one's own take the place of all of them", async (t) => {
    const server = await scripted(t, asked('c.example'))
    const toml = `${TOP}[servers.isp]\nserver = "127.0.0.1:${server.port}"\nnames = ["a.example"]\nqueue = ["q"]\n`
    assert.equal((await withConfig(t, toml, ['isp', 'c.example'])).status, 0)
  })
  test('several, in front of their lines, and in JSON by their names', async (t) => {
    const one = await scripted(t, asked('a.example'))
    const two = await scripted(t, asked('b.example'))
    const toml = `${TOP}[servers.isp]\nserver = "127.0.0.1:${one.port}"\nnames = ["a.example"]\n[servers.backup]\nserver = "127.0.0.1"\nport = ${two.port}\nnames = ["b.example"]\n`
    const { document, status } = await etrnJson(['--config', file(t, toml), 'isp,backup'])
    assert.equal(status, 0)
    assert.deepEqual(
      document.servers.map(({ server, host, port, names }) => [server, host, port, names.map(({ name }) => name)]),
      [
        ['isp', '127.0.0.1', one.port, ['a.example']],
        ['backup', '127.0.0.1', two.port, ['b.example']],
      ],
    )
  })
  test('--all: each of them, and each line bears its own', async (t) => {
    const one = await scripted(t, asked('a.example'))
    const two = await scripted(t, asked('b.example'))
    const toml = `${TOP}[servers.isp]\nserver = "127.0.0.1:${one.port}"\nnames = ["a.example"]\n[servers.backup]\nserver = "127.0.0.1:${two.port}"\nnames = ["b.example"]\n`
    const run = await withConfig(t, toml, ['--all'])
    assert.match(run.stdout, /^isp: a\.example: asked/m)
    assert.match(run.stdout, /^backup: b\.example: asked/m)
  })
  test('beside a server that is none, and one that is down', async (t) => {
    const one = await scripted(t, asked('a.example'))
    const toml = `${TOP}[servers.isp]\nserver = "127.0.0.1:${one.port}"\n`
    const run = await withConfig(t, toml, ['isp,127.0.0.1:1', 'a.example'])
    assert.deepEqual([run.status, /^isp: a\.example: asked/.test(run.stdout)], [75, true])
    assert.match(run.stderr, /^127\.0\.0\.1:1: connect: .*refused/)
  })
  test('a login stands in one, with its password beside the file', async (t) => {
    const server = await scripted(t, [
      'S: 220 mx.example ESMTP',
      'C: EHLO gw.site.example',
      'S: 250-mx.example',
      'S: 250-AUTH PLAIN',
      'S: 250 ETRN',
      'C: AUTH PLAIN AHNpdGUAc2VjcmV0',
      'S: 235 ok',
      'C: ETRN a.example',
      'S: 250 OK',
      ...BYE,
    ])
    const config = file(
      t,
      `${TOP}[servers.isp]\nserver = "127.0.0.1:${server.port}"\nuser = "site"\npassword-file = "isp.password"\nnames = ["a.example"]\n`,
    )
    writeFileSync(join(config, '..', 'isp.password'), 'secret\n', { mode: 0o600 })
    const run = await etrn(['--config', config, 'isp'])
    assert.deepEqual([run.status, run.stderr], [0, ''])
  })
  test('ETRN_PASSWORD is for one server only, wherever the users stand', async (t) => {
    const urls = '[servers.a]\nserver = "smtp://u@127.0.0.1:1"\n[servers.b]\nserver = "smtp://v@127.0.0.1:2"\n'
    const all = await withConfig(t, urls, ['--all', '--queue', 'q'], { env: { ETRN_PASSWORD: 'secret' } })
    assert.equal(all.status, 64)
    const toml =
      '[servers.a]\nserver = "a.invalid"\nuser = "u"\nnames = ["a.example"]\n[servers.b]\nserver = "b.invalid"\n'
    const run = await withConfig(t, toml, ['a,b', 'a.example'], { env: { ETRN_PASSWORD: 'secret' } })
    assert.deepEqual([run.status, run.stdout], [64, ''])
    assert.match(run.stderr, /a login belongs to one server/)
  })
})

suite('which one holds', { concurrency: true }, () => {
  const helo = async (t: TestContext, expected: string, toml: (port: number) => string, args: readonly string[]) => {
    const server = await scripted(t, [
      'S: 220 mx.example ESMTP',
      `C: EHLO ${expected}.example`,
      'S: 250-mx.example',
      'S: 250 ETRN',
      'C: ETRN a.example',
      'S: 250 OK',
      ...BYE,
    ])
    const run = await withConfig(t, toml(server.port), args)
    await server.verify()
    assert.equal(run.status, 0, run.stderr)
  }
  const both = (port: number): string =>
    `helo = "top.example"\n[servers.isp]\nserver = "127.0.0.1:${port}"\nhelo = "profile.example"\nnames = ["a.example"]\n`
  test('the command line over the profile', async (t) => helo(t, 'line', both, ['isp', '--helo', 'line.example']))
  test('the profile over the top', async (t) => helo(t, 'profile', both, ['isp']))
  test('the top over the default', async (t) =>
    helo(t, 'top', (port) => `helo = "top.example"\nport = ${port}\n`, ['127.0.0.1', 'a.example']))
  test('-4 over ipv6, which excludes it', async (t) =>
    helo(t, 'top', (port) => `ipv6 = true\nhelo = "top.example"\nport = ${port}\n`, ['-4', '127.0.0.1', 'a.example']))
  test('false in a profile over true at the top', async (t) => {
    const toml = (flag: string): string =>
      `${TOP}allow-wide = true\n[servers.isp]\nserver = "127.0.0.1:1"\n${flag}\nnames = ["single"]\n`
    assert.equal((await withConfig(t, toml(''), ['isp'])).status, 75)
    assert.equal((await withConfig(t, toml('allow-wide = false'), ['isp'])).status, 78)
  })
  test('names at the top, where neither the line nor the profile has any', async (t) => {
    const server = await scripted(t, asked('top.example'))
    const toml = `${TOP}names = ["top.example"]\n[servers.isp]\nserver = "127.0.0.1:${server.port}"\n`
    assert.equal((await withConfig(t, toml, ['isp'])).status, 0)
  })
  test('quiet at the top', async (t) => {
    const server = await scripted(t, asked('a.example'))
    const run = await withConfig(t, `${TOP}quiet = 1\n`, [`127.0.0.1:${server.port}`, 'a.example'])
    assert.deepEqual(run, { status: 0, signal: null, stdout: '', stderr: '' })
  })
})

test("what one profile can't have keeps nobody from asking the others", async (t) => {
  const toml = (port: number): string => `${TOP}[servers.locked]
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
  const server = await scripted(t, asked('#b'), asked('#b'), [...HELLO, ...BYE])
  const run = await withConfig(t, toml(server.port), ['--all', '--json'])
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
  const told = await withConfig(t, toml(server.port), ['--all'])
  assert.match(
    told.stderr,
    /^locked: AUTH: .*profile locked: --password-command: it ended with status 3; no answer for #a$/m,
  )
  const checked = await withConfig(t, toml(server.port), ['--all', '--check'])
  assert.equal(checked.status, 66)
  assert.match(
    checked.stdout,
    /^ {2}NO AUTH .*: --password-command: it ended with status 3\n {6}the others are asked all the same$/m,
  )
  const alone = await withConfig(t, toml(server.port), ['locked'])
  assert.deepEqual([alone.status, alone.stdout], [66, ''])
  assert.match(alone.stderr, /^etrn: .*profile locked: --password-command: it ended with status 3\n$/)
})

for (const args of [['--all'], ['--all', '--timeout', '5s']]) {
  test(`a missing tls-ca of one profile is its own failure, and the other server gets its request: ${args.join(' ')}`, async (t) => {
    const server = await scripted(t, asked('b.example'))
    const profiles = `[servers.bad]
server = "127.0.0.1:1"
names = ["a.example"]
tls-ca = "/nowhere/ca.pem"
[servers.good]
server = "127.0.0.1:${server.port}"
names = ["b.example"]
`
    const run = await withConfig(t, TOP + profiles, args)
    await server.verify()
    assert.equal(run.status, 66)
    assert.match(run.stdout, /^good: b\.example: .*\(250 OK\)$/m)
    assert.match(run.stderr, /^bad: TLS: \S+\/config\.toml:5: profile bad: --tls-ca \/nowhere\/ca\.pem: /m)
  })
}

suite('what is wrong', { concurrency: true }, () => {
  const refused = (toml: string, message: RegExp, status = 78, args: readonly string[] = ['isp', 'a.example']): void =>
    void test(toml.replace(/\n/g, ' / '), async (t) => {
      const run = await withConfig(t, toml, args)
      assert.deepEqual([run.status, run.stdout], [status, ''])
      assert.match(run.stderr, /^etrn: [^\n]*\n$/)
      assert.match(run.stderr, message)
    })
  const SERVER = 'server = "mail.invalid"\n'
  refused('timeuot = "5s"', /config\.toml:1: timeuot: unknown key; did you mean timeout\?/)
  refused(
    `\n\n[servers.isp]\n${SERVER}\nnmaes = ["a.example"]`,
    /:6: servers\.isp\.nmaes: unknown key; did you mean names\?/,
  )
  refused(`[server.isp]\n${SERVER}`, /:1: server: unknown table; a profile is written \[servers\.isp\]$/m)
  refused(`[isp]\n${SERVER}`, /:1: isp: unknown table; a profile is written \[servers\.isp\]$/m)
  refused('user = "site\n', /:1: this is not TOML: .*; is its closing quote missing\?/)
  refused(
    `[servers]\nisp = { server = "mail.invalid", prot = 25 }`,
    /:2: servers\.isp\.prot: unknown key; did you mean port\?/,
  )
  refused(`servers.isp.server = "mail.invalid"\nservers.isp.prot = 25`, /:2: servers\.isp\.prot: /)
  refused('timeout = "soon"', /:1: timeout: a duration is .*; for example timeout = "60s"/)
  refused('port = 70000', /:1: port: a port is a number from 1 to 65535; for example port = 25/)
  refused('port = true', /:1: port: a text/)
  refused('timeout = 1979-05-27', /:1: timeout: a text/)
  refused('json = "yes"', /:1: json: true or false/)
  refused('quiet = true', /:1: quiet: 0, 1 or 2/)
  refused(
    'names = "a.example"',
    /:1: names: a list of texts, and not an empty one; for example names = \["site\.example"\]/,
  )
  refused('names = []', /:1: names: a list of texts/)
  refused('mx = "site.example"', /:1: mx: this is said on the command line only/)
  refused('q = 1', /:1: q: unknown key/)
  refused('user = "site"', /:1: user: a login belongs to one server; write it in its profile/)
  refused('password = "secret"', /:1: password: a password may not stand here; write password-file/)
  refused(`[servers.isp]\n${SERVER}password = "secret"`, /:3: servers\.isp\.password: a password may not/)
  refused(`[servers.isp]\n${SERVER}jobs = 3`, /:3: servers\.isp\.jobs: this holds for the whole run/)
  refused('[servers.isp]\nport = 25', /:1: servers\.isp: it has no server; write server = "mail\.isp\.example"/)
  refused('[servers.isp]\nserver = 3', /:2: servers\.isp\.server: a text, as "mail\.isp\.example"/)
  refused('[servers.isp]\nserver = "a b"', /:2: servers\.isp\.server: server "a b": neither a host name/)
  refused(
    '[servers.isp]\nserver = "smtp://u:p@mail.invalid"',
    /:2: servers\.isp\.server: server .*: a password may not stand here/,
  )
  refused(`[servers."a.b"]\n${SERVER}`, /:1: servers\.a\.b: a profile's name has letters/)
  refused('servers = 3', /:1: servers: a table of profiles/)
  refused('[[servers]]', /:1: servers: a table of profiles/)
  refused('[servers]\nisp = 3', /:2: servers\.isp: a table; write \[servers\.isp\]/)
  refused('port = \n', /config\.toml:1: this is not TOML: /)
  refused('secret = "hunter2\n', /^(?!.*hunter2)/)
  refused('__proto__ = 1', /:1: __proto__: unknown key/)
  refused('a = 1\na = 2', /:2: this is not TOML: /)
  refused(`[servers.isp]\n${SERVER}names = ["a..b"]`, /config\.toml:3: profile isp: name "a\.\.b": /, 78, ['isp'])
  refused(`[servers.isp]\n${SERVER}`, /^etrn: name "a\.\.b": /, 64, ['isp', '--queue', 'q', 'a..b'])
  refused(
    `[servers.isp]\n${SERVER}ipv4 = true\nipv6 = true`,
    /config\.toml:4: profile isp: -4 and -6 exclude each other/,
  )
  refused('ipv4 = true\nipv6 = true', /config\.toml:2: -4 and -6 exclude each other/)
  refused('ipv4 = true', /^etrn: -4 and -6 exclude each other/, 64, ['-4', '-6', '127.0.0.1', 'a.example'])
  refused('tls-key = "k.pem"', /config\.toml:1: --tls-key belongs to --tls-cert/)
  refused('tls-ca = "/nowhere.pem"', /config\.toml:1: --tls-ca \/nowhere\.pem: there is no such file/, 66)
  refused('names = ["a..b"]', /config\.toml:1: name "a\.\.b": /, 78, ['127.0.0.1'])
  refused('timeout = "5s"', /^etrn: a login needs a password/, 64, ['smtp://u@127.0.0.1', 'a.example'])
  refused(
    `[servers.isp]\n${SERVER}tls-ca = "/nowhere.pem"`,
    /config\.toml:3: profile isp: --tls-ca \/nowhere\.pem: there is no such file/,
    66,
  )
  refused('', /^etrn: --all: no profile is there/, 64, ['--all'])
  refused(`[servers.isp]\n${SERVER}`, /--all asks every profile: leave "isp" out/, 64, ['--all', 'isp'])

  test('a file that is not there: 66', async () => {
    const run = await etrn(['--config', '/nowhere/config.toml', 'isp'])
    assert.deepEqual(
      [run.status, run.stderr],
      [66, 'etrn: configuration /nowhere/config.toml: there is no such file\n'],
    )
  })
  test('a pipe: its own text, and --max-time where nobody writes', async (t) => {
    const fifo = join(folder(t), 'fifo')
    execFileSync('mkfifo', [fifo])
    let writer = -1
    const silent = await etrn(['--config', fifo, '--max-time', '1s', '127.0.0.1:1', 'a.example'], {
      during: () => void (writer = openSync(fifo, constants.O_RDWR)),
    })
    closeSync(writer)
    assert.deepEqual([silent.status, silent.stderr], [75, 'etrn: the time that --max-time gives is over\n'])
    // Without any writer it can't even be opened by who would wait.
    const unwritten = await etrn(['--config', fifo, '--max-time', '1s', '127.0.0.1:1', 'a.example'])
    assert.deepEqual([unwritten.status, unwritten.stderr], [75, silent.stderr])
    const shell = `exec "$0" --config <(echo 'quiet = 2'; sleep 0.2; echo 'port = 1') 127.0.0.1 a.example`
    const { status, stdout, stderr } = spawnSync('bash', ['-c', shell, BIN], { encoding: 'utf8' })
    assert.deepEqual([status, stdout, stderr], [75, '', ''])
  })
  test('a BOM is dropped', async (t) => {
    assert.equal((await withConfig(t, '\ufeffquiet = 2\n', ['127.0.0.1:1', 'a.example'])).stderr, '')
  })
  test('a mistyped profile is told from a host', async (t) => {
    const run = await withConfig(t, `[servers.isp]\n${SERVER}`, ['--hook', 'cron', 'ips', 'a.example'])
    assert.match(run.stderr, /^ips is no profile \(there are: isp\): taking it for a host$/m)
  })
  test('and where there is none at all, if no name is given', async () => {
    // As a hook nobody is looked up.
    const run = await etrn(['--hook', 'cron', 'isp'])
    assert.match(run.stderr, /^isp is no profile \(there is none\): taking it for a host$/m)
    assert.equal((await etrn(['--max-time', '2s', '127.0.0.1:1', 'a.example'])).stderr.includes('profile'), false)
  })
  test('--interval fits a wait that the profile has', async (t) => {
    const toml = `[servers.isp]\nserver = "127.0.0.1:1"\nwait = "1s"\n`
    assert.equal((await withConfig(t, toml, ['isp', 'a.example', '--interval', '1s'])).status, 75)
    assert.equal((await withConfig(t, '', ['127.0.0.1:1', 'a.example', '--interval', '1s'])).status, 64)
  })
  test('/dev/null is no configuration at all', async () => {
    assert.equal((await etrn(['--config', '/dev/null', '127.0.0.1:1', 'a.example'])).status, 75)
  })
})

suite('safe to use', { concurrency: true }, () => {
  const unsafe = (title: string, make: (path: string) => void, message: RegExp): void =>
    void test(title, async (t) => {
      const path = file(t, '')
      make(path)
      const run = await etrn(['--config', path, '127.0.0.1:1', 'a.example'])
      assert.equal(run.status, 78)
      assert.match(run.stderr, message)
    })
  unsafe(
    'not where others may write it',
    (path) => chmodSync(path, 0o666),
    /config\.toml: not safe to use: others may write it \(chmod o-w\)/,
  )
  unsafe(
    'nor its folder',
    (path) => chmodSync(join(path, '..'), 0o777),
    /not safe to use: its folder .*: others may write it/,
  )
  test('nor where a link leads', async (t) => {
    const target = file(t, '')
    chmodSync(join(target, '..'), 0o777)
    const link = join(folder(t), 'link.toml')
    symlinkSync(target, link)
    assert.equal((await etrn(['--config', link, '127.0.0.1:1', 'a.example'])).status, 78)
  })
})

test("a group that is the reader's own by its number may write it, and no other", { skip: SKIP }, async (t) => {
  const path = file(t, '')
  chmodSync(path, 0o664)
  const as = (group: number): readonly string[] => ['unshare', '--user', '--map-user=1000', `--map-group=${group}`]
  const run = async (group: number): Promise<Finished> =>
    spawnEtrn(['--config', path, '127.0.0.1:1', 'a.example'], { through: as(group) })
  assert.equal((await run(1000)).status, 75)
  const other = await run(1001)
  assert.deepEqual([other.status, /its group may write it \(chmod g-w\)/.test(other.stderr)], [78, true])
})

suite('the usual places', { concurrency: true, skip: SKIP }, () => {
  // In a user namespace, so that it makes no difference who runs the tests.
  const as = (uid: number): readonly string[] => ['unshare', '--user', `--map-user=${uid}`, `--map-group=${uid}`]
  const home = (t: TestContext, port: number, at: string): string => {
    const made = folder(t)
    mkdirSync(join(made, at, 'etrn'), { recursive: true })
    const toml = `${TOP}[servers.isp]\nserver = "127.0.0.1:${port}"\nnames = ["a.example"]\n[servers.backup]\nserver = "b.invalid"\n`
    writeFileSync(join(made, at, 'etrn', 'config.toml'), toml)
    return made
  }
  test('$XDG_CONFIG_HOME', async (t) => {
    const server = await scripted(t, asked('a.example'))
    const env = { XDG_CONFIG_HOME: home(t, server.port, '.') }
    assert.equal((await spawnEtrn(['isp'], { env, through: as(1000) })).status, 0)
  })
  test('~/.config', async (t) => {
    const server = await scripted(t, asked('a.example'))
    const env = { HOME: home(t, server.port, '.config') }
    assert.equal((await spawnEtrn(['isp'], { env, through: as(1000) })).status, 0)
  })
  test('not as root: sudo keeps HOME', async (t) => {
    const env = { HOME: home(t, 1, '.config') }
    const run = await spawnEtrn(['--hook', 'cron', 'isp'], { env, through: as(0) })
    assert.match(run.stderr, /^isp is no profile \(there is none\): taking it for a host$/m)
  })
  test('whoever prints a hook for root is told what root would say of it', async (t) => {
    const args = (kind: string): string[] => ['--config', join(made, '.config/etrn/config.toml'), '--hook', kind, 'isp']
    const made = home(t, 1, '.config')
    const hook = await spawnEtrn(args('pppd'), { through: as(1000) })
    assert.equal(hook.status, 0)
    assert.match(
      hook.stderr,
      /^root runs this hook, and would say: .*not safe to use: it belongs to neither root nor you/,
    )
    assert.equal((await spawnEtrn(args('cron'), { through: as(1000) })).stderr, '')
    assert.equal((await spawnEtrn(args('pppd'), { through: as(0) })).stderr, '')
  })
  test('completion has the profiles', async (t) => {
    const env = { HOME: home(t, 1, '.config') }
    const complete = async (...words: string[]): Promise<string> =>
      (await spawnEtrn(['--get-yargs-completions', 'etrn', ...words], { env, through: as(1000) })).stdout
    assert.equal(await complete('i'), 'isp\n')
    assert.equal(await complete('isp,'), 'isp,backup\n')
    assert.equal(await complete('-k', 'i'), 'isp\n')
    for (const elsewhere of [
      ['isp', ''],
      ['--mx', ''],
      ['--mx', 'a.example', ''],
      ['--all', ''],
      ['--helo', 'i'],
    ])
      assert.doesNotMatch(await complete(...elsewhere), /^isp/m)
    assert.doesNotMatch(await complete('--tim'), /isp/)
  })
})
