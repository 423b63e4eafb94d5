import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { readConfig } from '../../src/command/config.js'
import { UsageError } from '../../src/errors.js'
import { assertRefused, etrn } from '../helpers/command.js'
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
      assert.match(run.stderr, /^etrn: [^\n]*\n(?:hint: [^\n]*\n)?$/)
      assert.match(run.stderr, message)
    })
  const SERVER = 'server = "mail.invalid"\n'
  refuses('timeuot = "5s"', /config\.toml:1: unknown key timeuot; did you mean timeout\?$/m)
  refuses(
    `\n\n[servers.isp]\n${SERVER}\nnmaes = ["a.example"]`,
    /:6: profile isp: unknown key nmaes; did you mean names\?$/m,
  )
  refuses('user-name = "x"', /:1: unknown key user-name; man etrn lists all keys$/m)
  refuses(`[servers.isp]\n${SERVER}usr = "x"`, /:3: profile isp: unknown key usr; did you mean user\?/)
  refuses(`[servers.isp]\n${SERVER}NAMES = ["x.example"]`, /:3: profile isp: unknown key NAMES; did you mean names\?$/m)
  refuses(`[servers.isp]\nServer = "mail.invalid"`, /:2: profile isp: unknown key Server; did you mean server\?$/m)
  refuses('Tls = "verify"', /:1: unknown key Tls; did you mean tls\?$/m)
  refuses(`[server.isp]\n${SERVER}`, /:1: unknown table \[server\]; write a profile as \[servers\.isp\]$/m)
  refuses(`[isp]\n${SERVER}`, /:1: unknown table \[isp\]; write a profile as \[servers\.isp\]$/m)
  refuses('user = "site\n', /:1: not valid TOML: .*\nhint: a closing quote may be missing\n$/)
  refuses(
    'timeout = 60s\n',
    /:1: not valid TOML: there is more text after the end of the value\nhint: write strings in quotes, as in timeout = "60s"/,
  )
  refuses(
    `[servers]\nisp = { server = "mail.invalid", prot = 25 }`,
    /:2: profile isp: unknown key prot; did you mean port\?/,
  )
  refuses(`servers.isp.server = "mail.invalid"\nservers.isp.prot = 25`, /:2: profile isp: unknown key prot; /)
  refuses('timeout = "soon"', /:1: timeout must be a duration .*; write, for example, timeout = "60s"$/m)
  refuses('port = 70000', /:1: port must be a number from 1 to 65535; write, for example, port = 25$/m)
  refuses('port = true', /:1: port must be a string or a number; write, for example, port = 25/)
  refuses('timeout = 1979-05-27', /:1: timeout must be a string or a number; write, for example, timeout = "60s"/)
  refuses('json = "yes"', /:1: json must be true or false$/m)
  refuses('quiet = true', /:1: quiet must be 0, 1 or 2$/m)
  refuses('quiet = 3', /:1: quiet must be 0, 1 or 2$/m)
  refuses(
    'names = "a.example"',
    /:1: names must be a non-empty list of strings; write, for example, names = \["site\.example"\]/,
  )
  refuses(
    'names = ["a.example,b.example"]',
    /:1: names must have one name per string, for example names = \["a\.example", "b\.example"\]/,
  )
  refuses('names = []', /:1: names must be a non-empty list of strings/)
  refuses('names = [""]', /:1: names must be a non-empty list of strings/)
  refuses('queue = ["q", 1]', /:1: queue must be a non-empty list of strings; write, for example, queue = \["uucp"\]/)
  refuses('mx = "site.example"', /:1: mx is not a configuration key; use --mx on the command line$/m)
  refuses('q = 1', /:1: unknown key q; man etrn lists all keys$/m)
  refuses(`[servers.isp]\n${SERVER}host = "x"`, /:3: profile isp: unknown key host; did you mean server\?/)
  refuses('ipv4 = true\nipv6 = true', /:2: ipv4 and ipv6 can't be used together; use only one$/m)
  refuses(
    `[servers.isp]\n${SERVER}user = "u"\npassword-command = "c"\npassword-file = "f"`,
    /:4: profile isp: password-file and password-command can't be used together; use only one$/m,
  )
  refuses('user = "site"', /:1: user applies to one server; move user into its profile, below \[servers\.NAME\]$/m)
  refuses('password = "secret"', /:1: this file must not contain a password; use password-file or password-command$/m)
  refuses(`[servers.isp]\n${SERVER}password = "secret"`, /:3: profile isp: this file must not contain a password/)
  refuses(
    `[servers.isp]\n${SERVER}jobs = 3`,
    /:3: profile isp: jobs applies to the whole run; move jobs to the top of the file$/m,
  )
  refuses('[servers.isp]\nport = 25', /:1: profile isp has no server; write server = "mail\.isp\.example"$/m)
  refuses(
    '[servers.isp]\nserver = 3',
    /:2: profile isp: server must be a string; write, for example, server = "mail\.isp\.example"$/m,
  )
  refuses(
    '[servers.isp]\nserver = ""',
    /:2: profile isp: server is empty; write, for example, server = "mail\.isp\.example"$/m,
  )
  refuses('[servers.isp]\nserver = "a b"', /:2: profile isp: server "a b" contains a space/)
  refuses(
    '[servers.isp]\nserver = "smtp://u:p@mail.invalid"',
    /:2: profile isp: server "smtp:\/\/\*{4}" must not contain a password/,
  )
  refuses(
    `[servers."a.b"]\n${SERVER}`,
    /:1: profile name "a\.b" contains characters other than letters, digits, - and _$/m,
  )
  refuses('servers = 3', /:1: servers must be a table; write \[servers\.NAME\], and below it server = /)
  refuses('[[servers]]', /:1: servers must be a table; write \[servers\.NAME\], and below it server = /)
  refuses('[servers]\nisp = 3', /:2: profile isp must be a table; write \[servers\.isp\], and below it server = /)
  refuses('port = \n', /config\.toml:1: not valid TOML: /)
  refuses('secret = "hunter2\n', /^(?!.*hunter2)/)
  refuses(
    `\r\n[servers.isp]\r\n${SERVER.trim()}\r\ntimeuot = "5s"\r\n`,
    /config\.toml:4: profile isp: unknown key timeuot/,
  )
  refuses(`\ufeff\r\nport = 70000\r\n`, /config\.toml:2: port must be /)
  refuses(
    'port = 25\r\nnames = [\r\n"a.example",\r\n5\r\n]\r\n',
    /config\.toml:2: names must be a non-empty list of strings/,
  )
  refuses('port = 25\r\ntimeout = 5x\r\n', /config\.toml:2: not valid TOML: .*\nhint: write strings in quotes/)
  refuses(
    'port = 25\rtimeout = "5s"\r',
    /config\.toml:1: not valid TOML: .*\nhint: end lines with LF or CRLF, not CR\n$/,
  )
  refuses('__proto__ = 1', /:1: unknown key __proto__/)
  refuses('a = 1\na = 2', /:2: not valid TOML: /)
  test('gives no advice for the command line about a name', async (t) => {
    const file = makeFile(t, 'config.toml', `[servers.isp]\n${SERVER}names = ["192.0.2.1"]`)
    const message = `etrn: ${file}:3: profile isp: name "192.0.2.1" is an IP address, not a name; write a name, for example site.example\n`
    await assertRefused(['--config', file, 'isp'], message, 78)
  })
  for (const [title, toml] of [
    ['a string of 140,000 characters', `names = ["${'x'.repeat(140_000)}"]`],
    ['10,000 lists within each other', `names = ${'['.repeat(10_000)}${']'.repeat(10_000)}`],
    ['10,000 tables within each other', `names = ${'{a='.repeat(10_000)}1${'}'.repeat(10_000)}`],
  ] as const)
    test(`refuses ${title} with 78`, async (t) => {
      const file = makeFile(t, 'config.toml', toml)
      const run = await etrn(['--config', file, 'isp', 'a.example'])
      const message = `etrn: ${file}: a string is too long, or lists or tables are nested too deeply\n`
      assert.deepEqual([run.status, run.stderr], [78, message])
    })
  test('readConfig throws a UsageError with the error of the parser as its cause', async (t) =>
    assert.rejects(
      readConfig([makeFile(t, 'config.toml', 'port =')], READER),
      (error) => error instanceof UsageError && error.exitStatus === 78 && error.cause instanceof Error,
    ))
})
