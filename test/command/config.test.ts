import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { readConfig } from '../../src/command/config.js'
import { UsageError } from '../../src/errors.js'
import { etrn } from '../helpers/command.js'
import { makeFile, makeFolder } from '../helpers/files.js'
import { NO_SIGNAL } from '../helpers/options.js'
import { BYE, etrnSteps, HELLO, scripted } from '../helpers/scripted-server.js'

const READER = { uid: undefined, signal: NO_SIGNAL }

suite('config: a profile', { concurrency: true }, () => {
  test('sets the server, its names and its options', async (t) => {
    const server = await scripted(t, [
      ...HELLO,
      ...etrnSteps('a.example', '250 OK'),
      ...etrnSteps('@b.example', '250 OK'),
      ...BYE,
    ])
    const toml = `helo = "gw.site.example"\n[servers.isp]\nserver = "127.0.0.1:${server.port}"\nnames = ["a.example"]\nsubdomains = ["b.example"]\ntimeout = "5s"\n`
    const run = await etrn(['--config', makeFile(t, 'config.toml', toml), 'isp'])
    assert.equal(run.status, 0, run.stderr)
  })
  test('names a password file beside the configuration', async (t) => {
    const server = await scripted(t, [
      'S: 220 mx.example ESMTP',
      'C: EHLO gw.site.example',
      'S: 250-mx.example',
      'S: 250-AUTH PLAIN',
      'S: 250 ETRN',
      'C: AUTH PLAIN AHNpdGUAc2VjcmV0',
      'S: 235 ok',
      ...etrnSteps('a.example', '250 OK'),
      ...BYE,
    ])
    const config = makeFile(
      t,
      'config.toml',
      `helo = "gw.site.example"\n[servers.isp]\nserver = "127.0.0.1:${server.port}"\nuser = "site"\npassword-file = "isp.password"\nnames = ["a.example"]\n`,
    )
    writeFileSync(join(config, '..', 'isp.password'), 'secret\n', { mode: 0o600 })
    const run = await etrn(['--config', config, 'isp'])
    assert.deepEqual([run.status, run.stderr], [0, ''])
  })
  test('quiet at the top of the file silences a successful run', async (t) => {
    const server = await scripted(t, [...HELLO, ...etrnSteps('a.example', '250 OK'), ...BYE])
    const config = makeFile(t, 'config.toml', 'helo = "gw.site.example"\nquiet = 1\n')
    const run = await etrn(['--config', config, `127.0.0.1:${server.port}`, 'a.example'])
    assert.deepEqual(run, { status: 0, signal: null, stdout: '', stderr: '' })
  })
  test('a BOM at the beginning of the file is dropped', async (t) => {
    const config = makeFile(t, 'config.toml', '\ufeffquiet = 2\n')
    assert.equal((await etrn(['--config', config, '127.0.0.1:1', 'a.example'])).stderr, '')
  })
})

suite('readConfig', () => {
  test('reads options, profiles and paths', async (t) => {
    const folder = makeFolder(t)
    const file = join(folder, 'config.toml')
    const toml = `port = 26
retry-for = "10m"
json = false
quiet = 2
names-from = ["-", "names.txt"]
[servers.isp]
server = "mx.example"
tls-ca = "/etc/ca.pem"
names = ["a.example"]
`
    writeFileSync(file, toml)
    const { tops, profiles, paths } = await readConfig([file], READER)
    assert.deepEqual(
      tops.map(({ options }) => options),
      [
        {
          port: 26,
          'retry-for': 600_000,
          json: false,
          quiet: 2,
          'names-from': ['-', join(folder, 'names.txt')],
        },
      ],
    )
    assert.deepEqual(
      [...profiles].map(([name, { server, options }]) => [name, server, options]),
      [['isp', 'mx.example', { 'tls-ca': '/etc/ca.pem', names: ['a.example'] }]],
    )
    assert.equal(tops[0]?.locate?.('quiet'), `${file}:4`)
    assert.equal(tops[0].locate('jobs'), file)
    const isp = profiles.get('isp')
    assert.equal(isp?.locate?.('names'), `${file}:9: profile isp`)
    assert.equal(isp.locate('server'), `${file}:7: profile isp`)
    assert.equal(isp.locate('jobs'), `${file}: profile isp`)
    assert.deepEqual(
      [...paths],
      [
        ['/etc/ca.pem', '/etc/ca.pem'],
        [join(folder, 'names.txt'), 'names.txt'],
      ],
    )
  })
  test('lets the later file override the earlier one, and a profile as a whole', async (t) => {
    const folder = makeFolder(t)
    const write = (name: string, toml: string): string => {
      mkdirSync(join(folder, name))
      writeFileSync(join(folder, name, 'config.toml'), toml)
      return join(folder, name, 'config.toml')
    }
    const first = write('1', 'port = 1\njobs = 1\n[servers.a]\nserver = "a1"\nport = 3\n[servers.b]\nserver = "b1"\n')
    const second = write('2', 'port = 2\n[servers.a]\nserver = "a2"\n')
    const { tops, profiles } = await readConfig([first, second], READER)
    assert.deepEqual(
      tops.map(({ options }) => options),
      [{ port: 2 }, { port: 1, jobs: 1 }],
    )
    assert.deepEqual(
      [...profiles].map(([name, { server, options }]) => [name, server, options]),
      [
        ['a', 'a2', {}],
        ['b', 'b1', {}],
      ],
    )
  })
})

suite('config: refused files', { concurrency: true }, () => {
  const refuses = (toml: string, message: RegExp): void =>
    void test(`refuses ${JSON.stringify(toml)}`, async (t) => {
      const run = await etrn(['--config', makeFile(t, 'config.toml', toml), 'isp', 'a.example'])
      assert.deepEqual([run.status, run.stdout], [78, ''])
      assert.match(run.stderr, /^etrn: [^\n]*\n$/)
      assert.match(run.stderr, message)
    })
  const SERVER = 'server = "mail.invalid"\n'
  refuses('timeuot = "5s"', /config\.toml:1: timeuot: unknown key; did you mean timeout\?/)
  refuses(
    `\n\n[servers.isp]\n${SERVER}\nnmaes = ["a.example"]`,
    /:6: servers\.isp\.nmaes: unknown key; did you mean names\?/,
  )
  refuses('user-name = "x"', /:1: user-name: unknown key; man etrn lists them all/)
  refuses(`[servers.isp]\n${SERVER}usr = "x"`, /:3: servers\.isp\.usr: unknown key; did you mean user\?/)
  refuses(`[server.isp]\n${SERVER}`, /:1: server: unknown table; a profile is written \[servers\.isp\]$/m)
  refuses(`[isp]\n${SERVER}`, /:1: isp: unknown table; a profile is written \[servers\.isp\]$/m)
  refuses('user = "site\n', /:1: this is not TOML: .*; is its closing quote missing\?/)
  refuses('timeout = 60s\n', /:1: this is not TOML: .*; a text stands in quotes: timeout = "60s"/)
  refuses(
    `[servers]\nisp = { server = "mail.invalid", prot = 25 }`,
    /:2: servers\.isp\.prot: unknown key; did you mean port\?/,
  )
  refuses(`servers.isp.server = "mail.invalid"\nservers.isp.prot = 25`, /:2: servers\.isp\.prot: /)
  refuses('timeout = "soon"', /:1: timeout: a duration is .*; for example timeout = "60s"/)
  refuses('port = 70000', /:1: port: a port is a number from 1 to 65535; for example port = 25/)
  refuses('port = true', /:1: port: a text/)
  refuses('timeout = 1979-05-27', /:1: timeout: a text/)
  refuses('json = "yes"', /:1: json: true or false/)
  refuses('quiet = true', /:1: quiet: 0, 1 or 2/)
  refuses('quiet = 3', /:1: quiet: 0, 1 or 2/)
  refuses(
    'names = "a.example"',
    /:1: names: a list of texts, and not an empty one; for example names = \["site\.example"\]/,
  )
  refuses(
    'names = ["a.example,b.example"]',
    /:1: names: each name is a text of its own: names = \["a\.example", "b\.example"\]/,
  )
  refuses('names = []', /:1: names: a list of texts/)
  refuses('names = [""]', /:1: names: a list of texts/)
  refuses('queue = ["q", 1]', /:1: queue: a list of texts, and not an empty one; for example queue = \["uucp"\]/)
  refuses('mx = "site.example"', /:1: mx: this is said on the command line only/)
  refuses('q = 1', /:1: q: unknown key; man etrn lists them all$/m)
  refuses(`[servers.isp]\n${SERVER}host = "x"`, /:3: servers\.isp\.host: unknown key; did you mean server\?/)
  refuses('ipv4 = true\nipv6 = true', /:2: ipv6: ipv4 excludes it; write one of them/)
  refuses(
    `[servers.isp]\n${SERVER}user = "u"\npassword-command = "c"\npassword-file = "f"`,
    /:4: servers\.isp\.password-command: password-file excludes it; write one of them/,
  )
  refuses('user = "site"', /:1: user: a login belongs to one server; write it in its profile/)
  refuses('password = "secret"', /:1: password: a password may not stand here; write password-file/)
  refuses(`[servers.isp]\n${SERVER}password = "secret"`, /:3: servers\.isp\.password: a password may not/)
  refuses(`[servers.isp]\n${SERVER}jobs = 3`, /:3: servers\.isp\.jobs: this holds for the whole run/)
  refuses('[servers.isp]\nport = 25', /:1: servers\.isp: it has no server; write server = "mail\.isp\.example"/)
  refuses('[servers.isp]\nserver = 3', /:2: servers\.isp\.server: a text, as "mail\.isp\.example"/)
  refuses('[servers.isp]\nserver = ""', /:2: servers\.isp\.server: the value is empty/)
  refuses('[servers.isp]\nserver = "a b"', /:2: servers\.isp\.server: server "a b": neither a host name/)
  refuses(
    '[servers.isp]\nserver = "smtp://u:p@mail.invalid"',
    /:2: servers\.isp\.server: server .*: a password may not stand here/,
  )
  refuses(`[servers."a.b"]\n${SERVER}`, /:1: servers\.a\.b: a profile's name has letters/)
  refuses('servers = 3', /:1: servers: a table of profiles/)
  refuses('[[servers]]', /:1: servers: a table of profiles/)
  refuses('[servers]\nisp = 3', /:2: servers\.isp: a table; write \[servers\.isp\]/)
  refuses('port = \n', /config\.toml:1: this is not TOML: /)
  refuses('secret = "hunter2\n', /^(?!.*hunter2)/)
  refuses(
    `\r\n[servers.isp]\r\n${SERVER.trim()}\r\ntimeuot = "5s"\r\n`,
    /config\.toml:4: servers\.isp\.timeuot: unknown key/,
  )
  refuses(`\ufeff\r\nport = 70000\r\n`, /config\.toml:2: port: /)
  refuses('port = 25\r\nnames = [\r\n"a.example",\r\n5\r\n]\r\n', /config\.toml:2: names: a list of texts/)
  refuses('port = 25\r\ntimeout = 5x\r\n', /config\.toml:2: this is not TOML: .*; a text stands in quotes/)
  refuses('port = 25\rtimeout = "5s"\r', /config\.toml:1: this is not TOML: .*; lines end with LF or CRLF, not CR$/m)
  refuses('__proto__ = 1', /:1: __proto__: unknown key/)
  refuses('a = 1\na = 2', /:2: this is not TOML: /)
  test('readConfig throws a UsageError with the error of the parser as its cause', async (t) =>
    assert.rejects(
      readConfig([makeFile(t, 'config.toml', 'port =')], READER),
      (error) => error instanceof UsageError && error.exitStatus === 78 && error.cause instanceof Error,
    ))
})
