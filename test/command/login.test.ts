import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { checkLoginOptions, needsPassword, readCredentials } from '../../src/command/login.js'
import type { PartialOptions } from '../../src/command/options.js'
import { assertRefused, etrn } from '../helpers/command.js'
import { fixture, fixturePath, makeFile, makeFolder } from '../helpers/files.js'
import {
  assertSecret,
  AUTH_PLAIN,
  ehloSteps,
  encodeBase64,
  ETRN_ACCEPTED,
  greetedSession,
  PASSWORD,
  PASSWORD_ENVIRONMENT,
  testLogin,
} from '../helpers/login.js'
import { NO_SOURCES, targetOf } from '../helpers/options.js'
import { crowd } from '../helpers/concurrent-server.js'
import { BYE, etrnSteps, scripted, scriptedAt, type Step } from '../helpers/scripted-server.js'

const TLS: Step = { tls: { cert: fixture('mx.pem'), key: fixture('mx.key') } }

suite('login: the session', { concurrency: true }, () => {
  testLogin('logs in before ETRN', {
    conversations: [
      greetedSession(...ehloSteps('AUTH PLAIN', 'ETRN'), `C: ${AUTH_PLAIN}`, 'S: 235 ok', ...ETRN_ACCEPTED),
    ],
    status: 0,
  })
  testLogin('sends EHLO again after the login if ETRN was not listed before', {
    conversations: [
      greetedSession(
        ...ehloSteps('AUTH PLAIN'),
        `C: ${AUTH_PLAIN}`,
        'S: 235 ok',
        ...ehloSteps('ETRN'),
        ...ETRN_ACCEPTED,
      ),
    ],
    status: 0,
  })
  testLogin('logs in after STARTTLS with a verified certificate', {
    conversations: [
      greetedSession(
        ...ehloSteps('STARTTLS'),
        'C: STARTTLS',
        'S: 220 go',
        TLS,
        ...ehloSteps('AUTH PLAIN', 'ETRN'),
        `C: ${AUTH_PLAIN}`,
        'S: 235 ok',
        ...ETRN_ACCEPTED,
      ),
    ],
    args: ['--tls-ca', fixturePath('ca.pem')],
    status: 0,
  })
  testLogin('reports 77 and sends no ETRN after 535', {
    conversations: [
      greetedSession(
        ...ehloSteps('AUTH CRAM-MD5 PLAIN', 'ETRN'),
        `C: ${AUTH_PLAIN}`,
        'S: 535 5.7.8 Error: authentication failed',
      ),
    ],
    args: ['--auth', 'plain'],
    status: 77,
    stderr:
      /^etrn: 127\.0\.0\.1:\d+: .*535 5\.7\.8 Error: authentication failed.*site\.example not requested\nhint: .*password.*--auth CRAM-MD5.*\n$/,
  })
  testLogin('reports 75 and sends no ETRN after 454', {
    conversations: [greetedSession(...ehloSteps('AUTH PLAIN', 'ETRN'), `C: ${AUTH_PLAIN}`, 'S: 454 4.7.0 later')],
    status: 75,
    stderr: /454 4\.7\.0 later/,
  })
  testLogin('reports 77 and sends no ETRN if the server offers no authentication', {
    conversations: [greetedSession(...ehloSteps('ETRN'))],
    status: 77,
    stderr: /^etrn: \S+: .*\bnot? .*\nhint: /,
  })
  testLogin('masks a password that the server repeats in its reply', {
    conversations: [
      greetedSession(
        ...ehloSteps('AUTH PLAIN', 'ETRN'),
        `C: ${AUTH_PLAIN}`,
        `S: 535 "${PASSWORD}" (${encodeBase64(PASSWORD)}, ${AUTH_PLAIN.slice(11)}) is wrong`,
      ),
    ],
    status: 77,
    stderr: /535 "\*\*\*\*" \(\*\*\*\*, \*\*\*\*\) is wrong/,
  })
  testLogin('masks a password that the server repeats in the greeting of a later session', {
    conversations: [
      greetedSession(
        ...ehloSteps('AUTH PLAIN', 'ETRN'),
        `C: ${AUTH_PLAIN}`,
        'S: 235 ok',
        'C: ETRN site.example',
        'S: 253 1 pending message',
      ),
      [
        `S: 220 mx.example ${encodeBase64(`\0site\0${PASSWORD}`)}`,
        ...ehloSteps('AUTH PLAIN', 'ETRN'),
        `C: ${AUTH_PLAIN}`,
        'S: 235 ok',
        'C: ETRN site.example',
        'S: 251 none',
        ...BYE,
      ],
    ],
    args: ['--wait', '20s', '--interval', '1s'],
    status: 0,
  })
  testLogin('masks a password that the server repeats in a line that is no reply', {
    conversations: [
      greetedSession(...ehloSteps('AUTH PLAIN', 'ETRN'), `C: ${AUTH_PLAIN}`, `S: ${AUTH_PLAIN.slice(5)} ${PASSWORD}`),
    ],
    status: 76,
    stderr: /not an SMTP reply.*"/,
  })
  testLogin('finds ETRN in the EHLO reply if the password is ETRN', {
    conversations: [
      greetedSession(
        ...ehloSteps('AUTH LOGIN'),
        'C: AUTH LOGIN',
        'S: 334 UGFzc3dvcmQ6',
        `C: ${encodeBase64('site')}`,
        'S: 334 UGFzc3dvcmQ6',
        `C: ${encodeBase64('ETRN')}`,
        'S: 235 ok',
        ...ehloSteps('ETRN'),
        ...ETRN_ACCEPTED,
      ),
    ],
    env: { ETRN_PASSWORD: 'ETRN' },
    status: 0,
  })
  testLogin('reports 75 and does not log in without TLS if the handshake is broken off', {
    conversations: [
      [
        'S: 220 mx',
        ...ehloSteps('STARTTLS', 'AUTH PLAIN', 'ETRN'),
        'C: STARTTLS',
        'S: 220 go',
        (socket) => socket.removeAllListeners('data').resume().end(),
      ],
    ],
    status: 75,
    stderr: /closed the connection/,
  })
  testLogin('reports 76 and does not log in if STARTTLS is demanded but not offered', {
    conversations: [greetedSession(...ehloSteps('AUTH PLAIN', 'ETRN'))],
    args: ['--tls', 'verify'],
    status: 76,
    stderr: /^etrn: \S+: .*TLS/,
  })
})

test('login: a signal during AUTH sends QUIT and no ETRN', async (t) => {
  let interrupt = (): void => undefined
  const server = await scripted(t, [
    'S: 220 mx',
    ...ehloSteps('AUTH PLAIN', 'ETRN'),
    `C: ${AUTH_PLAIN}`,
    () => interrupt(),
    'C: QUIT',
  ])
  const run = await etrn(
    [`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', '--user', 'site', '-v', 'site.example'],
    {
      env: PASSWORD_ENVIRONMENT,
      during: (child) => (interrupt = () => void child.kill('SIGINT')),
    },
  )
  assert.equal(run.signal, 'SIGINT')
  assertSecret(run)
})

suite('login: where a login may go', { concurrency: true }, () => {
  const ACCEPTING = greetedSession(
    ...ehloSteps('AUTH PLAIN', 'ETRN'),
    `C: ${AUTH_PLAIN}`,
    'S: 235 ok',
    ...ETRN_ACCEPTED,
  )
  test('takes the user from the URL', async (t) => {
    const server = await scripted(t, ACCEPTING)
    const run = await etrn([`smtp://site@127.0.0.1:${server.port}`, '--helo', 'gw.site.example', 'site.example'], {
      env: PASSWORD_ENVIRONMENT,
    })
    await server.verify()
    assert.equal(run.status, 0)
  })
  test('refuses a login for two servers', async () => {
    for (const args of [['127.0.0.1:9,127.0.0.2:9', '--user', 'site'], ['smtp://site@127.0.0.1:9,127.0.0.2:9']]) {
      const run = await etrn([...args, 'site.example'], { env: PASSWORD_ENVIRONMENT })
      assert.equal(run.status, 64)
      assert.match(run.stderr, /^etrn: .*\b(?:login|credentials)\b.*\bserver/)
    }
  })
  test('refuses ETRN_PASSWORD for the users of two profiles', async (t) => {
    const urls = '[servers.a]\nserver = "smtp://u@127.0.0.1:1"\n[servers.b]\nserver = "smtp://v@127.0.0.1:2"\n'
    const args = ['--config', makeFile(t, 'config.toml', urls), '--all', '--queue', 'q']
    await assertRefused(args, /^etrn: .*\b(?:login|credentials)\b.*\bserver/, 64, { env: { ETRN_PASSWORD: 'secret' } })
  })
  test('refuses ETRN_PASSWORD for two profiles if one has a user', async (t) => {
    const toml =
      '[servers.a]\nserver = "a.invalid"\nuser = "u"\nnames = ["a.example"]\n[servers.b]\nserver = "b.invalid"\n'
    const args = ['--config', makeFile(t, 'config.toml', toml), 'a,b', 'a.example']
    await assertRefused(args, /^etrn: .*\b(?:login|credentials)\b.*\bserver/, 64, { env: { ETRN_PASSWORD: 'secret' } })
  })
  test('accepts two profiles with a login of their own each', async (t) => {
    const profile = (name: string): string =>
      `[servers.${name}]\nserver = "127.0.0.1:1"\nuser = "u"\npassword-command = "echo x"\n`
    const args = ['--config', makeFile(t, 'config.toml', profile('a') + profile('b')), 'a,b', 'a.example']
    for (const env of [{}, { ETRN_PASSWORD: 'secret' }]) assert.equal((await etrn(args, { env })).status, 75)
  })
  test('accepts two profiles with users in their URLs and passwords in their files', async (t) => {
    const profile = (name: string): string =>
      `[servers.${name}]\nserver = "smtp://u@127.0.0.1:1"\npassword-command = "echo x"\n`
    const args = ['--config', makeFile(t, 'config.toml', profile('a') + profile('b')), 'a,b', 'a.example']
    assert.equal((await etrn(args)).status, 75)
  })
  const profileOf = (name: string, server: string, login = ''): string =>
    `[servers.${name}]\nserver = "${server}"\n${login}`
  const loginOf = (name: string): string => `user = "${name}"\npassword-command = "echo ${name}-secret"\n`
  /** A server that repeats two passwords in its greeting, its extensions and its replies */
  const REPEATING = {
    greeting: () => '220 mx.example alpha-secret bravo-secret',
    listed: ['AUTH PLAIN', 'X alpha-secret bravo-secret'],
    other: (line: string) => (line.startsWith('AUTH') ? '235 OK' : undefined),
    etrn: () => '250 alpha-secret bravo-secret',
  }
  test('masks the passwords of all profiles of a server in what the server says to each of them', async (t) => {
    const { port } = await crowd(t, REPEATING)
    const profiles = [
      profileOf('guest', `127.0.0.1:${port}`),
      profileOf('mapped', `[::FFFF:127.0.0.1]:${port}`),
      profileOf('alpha', `127.0.0.1:${port}`, loginOf('alpha')),
      profileOf('bravo', `127.0.0.1:${port}`, loginOf('bravo')),
    ]
    const config = makeFile(t, 'config.toml', profiles.join(''))
    const all = 'guest,mapped,alpha,bravo'
    for (const form of [[], ['-v'], ['--json', '-v'], ['--check', '-v'], ['--check', '--json']]) {
      const run = await etrn(['--config', config, all, 'a.example', ...form])
      assert.doesNotMatch(run.stdout + run.stderr, /alpha-secret|bravo-secret/)
      assert.equal(run.status, 0)
      if (form.length > 0) continue
      const lines = all.split(',').map((name) => `${name}: a.example: accepted (250 **** ****)`)
      assert.deepEqual(run.stdout.split('\n').sort(), ['', ...lines.sort()])
    }
  })
  test('reads a pipe once for two profiles that name it', async (t) => {
    const plain: string[] = []
    const other = (line: string): string | undefined => {
      if (!line.startsWith('AUTH')) return undefined
      plain.push(line)
      return '235 OK'
    }
    const { port } = await crowd(t, { listed: ['AUTH PLAIN'], other })
    const pipe = join(makeFolder(t), 'pipe')
    execFileSync('mkfifo', ['-m', '600', pipe])
    const login = `user = "site"\npassword-file = "${pipe}"\n`
    const profiles = ['alpha', 'bravo'].map((name) => profileOf(name, `127.0.0.1:${port}`, login))
    createWriteStream(pipe).end('sesame\n')
    const config = makeFile(t, 'config.toml', profiles.join(''))
    assert.equal((await etrn(['--config', config, 'alpha,bravo', 'a.example', '--max-time', '20s'])).status, 0)
    const line = `AUTH PLAIN ${encodeBase64('\0site\0sesame')}`
    assert.deepEqual(plain, [line, line])
  })
  test('does not mask the password of another server', async (t) => {
    const { port } = await crowd(t, REPEATING)
    const other = await scriptedAt(
      t,
      { host: '127.0.0.2', port: 0 },
      greetedSession(...ehloSteps('ETRN'), ...etrnSteps('a.example', '250 alpha-secret')),
    )
    const profiles = [
      profileOf('alpha', `127.0.0.1:${port}`, loginOf('alpha')),
      profileOf('guest', `127.0.0.2:${other.port}`),
    ]
    const config = makeFile(t, 'config.toml', profiles.join(''))
    const run = await etrn(['--config', config, '--helo', 'gw.site.example', 'alpha,guest', 'a.example'])
    assert.deepEqual(run.stdout.split('\n').sort(), [
      '',
      'alpha: a.example: accepted (250 **** bravo-secret)',
      'guest: a.example: accepted (250 alpha-secret)',
    ])
  })
  test('refuses a login with --mx unless the certificate is named or pinned', async () => {
    const args = ['--mx', 'site.invalid', '--user', 'u', '--password-command', 'exit 3', 'a.example']
    await assertRefused(args, /^etrn: .*--mx.*--tls-name .*--tls-fingerprint/)
    const pinned = [...args, '--tls-fingerprint', 'AB'.repeat(32)]
    await assertRefused([...pinned, '--mx', 'b.example'], /^etrn: .*\b(?:login|credentials)\b.*\bserver/)
    for (const pin of [
      ['--tls-name', 'mx.example'],
      ['--tls-fingerprint', 'A'.repeat(64)],
    ])
      await assertRefused([...args, ...pin], /^etrn: --password-command failed: exit status 3\n$/, 66)
  })
})

suite('checkLoginOptions', () => {
  const check = (options: PartialOptions, server = 'mx.example'): void => checkLoginOptions(targetOf(server, options))
  const refuses = (title: string, options: PartialOptions, option: string, message: string, server?: string): void =>
    void test(title, () => assert.throws(() => check(options, server), { option, exitStatus: 64, message }))
  refuses('--auth PLAIN needs a user', { auth: 'PLAIN' }, 'auth', '--auth PLAIN needs a user name; add --user NAME')
  refuses(
    '--password-file needs a user',
    { 'password-file': 'f' },
    'password-file',
    '--password-file needs a user name; add --user NAME',
  )
  refuses(
    '--password-command needs a user',
    { 'password-command': 'c' },
    'password-command',
    '--password-command needs a user name; add --user NAME',
  )
  refuses(
    'a user of the URL has no control character',
    {},
    'server',
    'the user name for smtp://a%07b@mx contains a control or invisible character (U+0007)',
    'smtp://a%07b@mx',
  )
  test('refuses two users for one server, unless they are the same', async () => {
    const argv = ['smtp://u@127.0.0.1:1', 'a.example', '--password-file', '/dev/null', '--user']
    await assertRefused(
      [...argv, 'b'],
      /^etrn: --user b contradicts the user name in smtp:\/\/u@127\.0\.0\.1:1; remove one of them\n$/,
    )
    assert.equal((await etrn([...argv, 'u'])).status, 66)
  })
  test('refuses two users in one profile, but --user overrides that of a profile', async (t) => {
    const toml = '[servers.isp]\nserver = "smtp://u@127.0.0.1:1"\npassword-file = "/dev/null"\n'
    const config = makeFile(t, 'config.toml', `${toml}user = "b"\n`)
    await assertRefused(
      ['--config', config, 'isp', 'a.example'],
      /config\.toml:4: profile isp: --user b contradicts/,
      78,
    )
    const other = makeFile(t, 'config.toml', toml)
    assert.equal((await etrn(['--config', other, 'isp', 'a.example', '--user', 'b'])).status, 66)
  })
  test('a login without a password file, a user of the URL, and EXTERNAL without a user are accepted', () => {
    check({ user: 'u' })
    check({ auth: 'PLAIN', 'password-file': 'f' }, 'smtp://u@mx.example')
    check({ auth: 'EXTERNAL', 'password-file': 'f' })
  })
})

suite('login: needsPassword and readCredentials', () => {
  const SOURCES = { ...NO_SOURCES, environment: { ETRN_PASSWORD: 'sesame' } }
  test('a password is needed if a user has neither a file, a command nor a certificate', () => {
    const needs = (options: PartialOptions, server = 'mx.example'): boolean => needsPassword(targetOf(server, options))
    assert.deepEqual(
      [
        needs({}),
        needs({ user: 'u' }),
        needs({}, 'smtp://u@mx.example'),
        needs({ user: 'u', 'password-file': 'f' }),
        needs({ user: 'u', 'password-command': 'c' }),
        needs({ user: 'u', auth: 'EXTERNAL' }),
      ],
      [false, true, true, false, false, false],
    )
  })
  for (const [title, options, server, expected] of [
    ['there are no credentials without a user', {}, 'mx.example', undefined],
    [
      '--user overrides the user of the URL',
      { user: 'a' },
      'smtp://b@mx.example',
      { user: 'a', password: 'sesame', mechanism: undefined },
    ],
    [
      'the URL names the user',
      { auth: 'PLAIN' },
      'smtp://b@mx.example',
      { user: 'b', password: 'sesame', mechanism: 'PLAIN' },
    ],
    [
      'EXTERNAL needs no user and no password',
      { auth: 'EXTERNAL' },
      'mx.example',
      { user: '', password: undefined, mechanism: 'EXTERNAL' },
    ],
    [
      'EXTERNAL can have a user',
      { auth: 'EXTERNAL', user: 'a' },
      'mx.example',
      { user: 'a', password: undefined, mechanism: 'EXTERNAL' },
    ],
  ] as const)
    test(title, async () => assert.deepEqual(await readCredentials(targetOf(server, options), SOURCES), expected))
})
