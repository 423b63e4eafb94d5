import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test, type TestContext } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { etrn, spawnEtrn } from '../helpers/command.js'
import { BIN } from '../helpers/files.js'
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
import { scripted } from '../helpers/scripted-server.js'
import { noTerminal, TerminalRun } from '../helpers/shell.js'

suite('password: its source', { concurrency: true }, () => {
  const ACCEPTING = greetedSession(
    ...ehloSteps('AUTH PLAIN', 'ETRN'),
    `C: ${AUTH_PLAIN}`,
    'S: 235 ok',
    ...ETRN_ACCEPTED,
  )
  const folder = mkdtempSync(join(tmpdir(), 'etrn-'))
  after(() => rmSync(folder, { recursive: true }))
  const writePassword = (name: string, text: string | Buffer, mode = 0o600): string => {
    const path = join(folder, name)
    writeFileSync(path, text)
    chmodSync(path, mode)
    return path
  }
  testLogin('reads the first line of --password-file', {
    conversations: [ACCEPTING],
    args: ['--password-file', writePassword('good', `${PASSWORD}\r\nmore\n`)],
    status: 0,
    env: {},
    stderr: /^$/,
  })
  testLogin('warns if other users can read --password-file', {
    conversations: [ACCEPTING],
    args: ['--password-file', writePassword('open', PASSWORD, 0o644)],
    status: 0,
    env: {},
    stderr: /^etrn: warning: other users can read the password in (\S+) \(chmod 600 \1\)$/m,
  })
  testLogin('reads the first line that --password-command prints', {
    conversations: [ACCEPTING],
    args: ['--password-command', `printf '%s\\nmore' '${PASSWORD}'`],
    status: 0,
    env: {},
  })
  testLogin('prefers --password-file to ETRN_PASSWORD', {
    conversations: [ACCEPTING],
    args: ['--password-file', writePassword('first', PASSWORD)],
    status: 0,
    env: { ETRN_PASSWORD: 'other' },
  })

  test('decodes a character that --password-command prints in two parts', async (t) => {
    const plain = `AUTH PLAIN ${encodeBase64('\0site\0sésame')}`
    const server = await scripted(
      t,
      greetedSession(...ehloSteps('AUTH PLAIN', 'ETRN'), `C: ${plain}`, 'S: 235 ok', ...ETRN_ACCEPTED),
    )
    const command = "printf 's\\303'; sleep 0.2; printf '\\251same\\n'"
    const args = [`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', '--user', 'site', 'site.example']
    assert.equal((await etrn([...args, '--password-command', command])).status, 0)
  })
  test('--max-time ends the wait for a pipe that nobody writes to, and for a command', async () => {
    const pipe = join(folder, 'pipe')
    spawnSync('mkfifo', ['-m', '600', pipe])
    for (const source of [
      ['--password-file', pipe],
      ['--password-command', 'exec sleep 20'],
    ]) {
      const run = await etrn(['127.0.0.1:9', '--user', 'site', ...source, '--max-time', '1s', 'site.example'])
      const message = '--max-time limit reached while etrn read the password; site.example not requested'
      assert.deepEqual([run.status, run.stderr], [75, `etrn: 127.0.0.1:9: ${message}\n`])
    }
  })
  const refuses = (
    title: string,
    args: readonly string[],
    status: number,
    message: RegExp,
    env: Readonly<Record<string, string>> = {},
  ): void =>
    void test(title, async () => {
      const run = await etrn(['127.0.0.1:9', 'site.example', ...args], { env })
      assert.equal(run.status, status)
      assert.match(run.stderr, message)
      assertSecret(run)
    })
  refuses(
    'reports 66 if there is no such file',
    ['--user', 'site', '--password-file', '/nonexistent'],
    66,
    /^etrn: --password-file \/nonexistent: no such file$/m,
  )
  refuses(
    'reports 66 if the first line of the file is empty',
    ['--user', 'site', '--password-file', writePassword('empty', '\nsecond\n')],
    66,
    /^etrn: --password-file \S+: no password on the first line\n$/,
  )
  refuses(
    'reports 66 if the command fails',
    ['--user', 'site', '--password-command', 'echo x; exit 3'],
    66,
    /^etrn: --password-command failed: exit status 3\n$/,
  )
  refuses(
    'takes the first line of a command that prints without end',
    ['--user', 'site', '--password-command', 'yes'],
    75,
    /connection refused/,
  )
  refuses(
    'reports 66 if the command prints nothing',
    ['--user', 'site', '--password-command', 'true'],
    66,
    /^etrn: --password-command printed no password on the first line\n$/,
  )
  refuses(
    'reports 66 if the password has more than 8192 characters',
    ['--user', 'site'],
    66,
    /^etrn: the password from ETRN_PASSWORD has more than 8192 characters\n$/,
    { ETRN_PASSWORD: 'x'.repeat(9000) },
  )
  refuses(
    'reports 66 if the password has a NUL',
    ['--user', 'site'],
    66,
    /^etrn: the password from ETRN_PASSWORD contains a NUL character\n$/,
    {
      ETRN_PASSWORD: 'a\0b',
    },
  )
  for (const [length, status] of [
    [8192, 75],
    [8193, 66],
  ] as const)
    test(`reports ${status} if the password has ${length} characters`, async () => {
      const env = { ETRN_PASSWORD: 'x'.repeat(length) }
      assert.equal((await etrn(['127.0.0.1:9', '--user', 'site', 'site.example'], { env })).status, status)
    })
  testLogin('warns if the group can read --password-file', {
    conversations: [ACCEPTING],
    args: ['--password-file', writePassword('group', PASSWORD, 0o640)],
    status: 0,
    env: {},
    stderr: /^etrn: warning: other users can read the password in (\S+) \(chmod 600 \1\)$/m,
  })
  refuses('reports 66 if ETRN_PASSWORD is empty', ['--user', 'site'], 66, /^etrn: ETRN_PASSWORD is empty\n$/, {
    ETRN_PASSWORD: '',
  })
  refuses(
    'reports 64 if there is a password but no user',
    ['--password-file', writePassword('alone', PASSWORD)],
    64,
    / needs a user name; add --user NAME\n$/,
  )
  refuses(
    'reports 64 if there is a mechanism but no user',
    ['--auth', 'PLAIN'],
    64,
    / needs a user name; add --user NAME\n$/,
  )
  refuses(
    'reports 64 if the mechanism is unknown',
    ['--user', 'site', '--auth', 'NTLM'],
    64,
    /^etrn: --auth "NTLM" must be EXTERNAL, .* or OAUTHBEARER; write, for example, --auth PLAIN\n$/,
  )
  refuses(
    'reports 64 if the user has a control character',
    ['--user', 'si\nte'],
    64,
    /--user "si\\x0ate"/,
    PASSWORD_ENVIRONMENT,
  )

  const BACKGROUND = 'sleep 60 2>/dev/null &'
  for (const [title, command] of [
    ['that keeps its output open', `${BACKGROUND} echo '${PASSWORD}'`],
    ['that keeps an output open without an end of line', `${BACKGROUND} printf %s '${PASSWORD}'`],
    ['that has the whole output', `(printf '%s\\n' '${PASSWORD}'; exec sleep 60) 2>/dev/null & sleep 0.5`],
  ] as const)
    testLogin(`does not wait for a background process of --password-command ${title}`, {
      conversations: [ACCEPTING],
      args: ['--password-command', command],
      status: 0,
      env: {},
    })
  refuses(
    'reports 66 if the command fails after its first line, while a background process keeps its output open',
    ['--user', 'site', '--password-command', `${BACKGROUND} echo x; exit 3`],
    66,
    /^etrn: --password-command failed: exit status 3\n$/,
  )
  test('hides ETRN_PASSWORD from --password-command, which has the rest of the environment', async () => {
    const command = 'echo "${ETRN_PASSWORD-unset} $OTHER" >&2; echo sesame'
    const args = ['127.0.0.1:9', '--user', 'u', '--password-command', command, 'a.example']
    const run = await spawnEtrn(args, { env: { ETRN_PASSWORD: 'secret', OTHER: 'kept' } })
    assert.match(run.stderr, /^unset kept\n/)
    assert.equal(run.status, 75)
  })
  // The rest are ignored, can't be caught, stop the process, or are faults of the program.
  const ENDING = 'INT TERM HUP QUIT USR2 ALRM VTALRM PROF XCPU XFSZ ABRT TRAP SYS IO PWR STKFLT'
    .split(' ')
    .map((name) => `SIG${name}` as NodeJS.Signals)
  for (const signal of ENDING)
    test(`${signal} ends --password-command with all its processes`, { timeout: 25_000 }, async () => {
      // Each of them keeps standard error open.
      const command = 'sh -c "echo started >&2; sleep 60; true" | cat; true'
      const args = ['127.0.0.1:9', '--user', 'u', '--password-command', command, 'a.example']
      const run = await spawnEtrn(args, { once: { said: 'started', act: (child) => void child.kill(signal) } })
      const isOrderly = ['SIGTERM', 'SIGINT', 'SIGHUP'].includes(signal)
      const message = isOrderly ? `etrn: 127.0.0.1:9: interrupted by ${signal} while etrn read the password\n` : ''
      assert.deepEqual([run.signal, run.stderr], [signal, `started\n${message}`])
    })
  for (const [source, args, env] of [
    ['--password-file', ['--password-file', writePassword('latin1', Buffer.from('s\xe9same\n', 'latin1'))], {}],
    ['--password-command', ['--password-command', "printf 's\\351same\\n'"], {}],
    ['ETRN_PASSWORD', [], { ETRN_PASSWORD: 's\ufffdsame' }],
  ] as const)
    refuses(
      `reports 66 for a password of ${source} that is not UTF-8`,
      ['--user', 'site', ...args],
      66,
      /^etrn: the password from .* is not UTF-8; convert it, for example with iconv /,
      env,
    )
  const REPLACED = 's\ufffdsame'
  const acceptReplaced = async (t: TestContext) => {
    const plain = `AUTH PLAIN ${encodeBase64(`\0site\0${REPLACED}`)}`
    const server = await scripted(
      t,
      greetedSession(...ehloSteps('AUTH PLAIN', 'ETRN'), `C: ${plain}`, 'S: 235 ok', ...ETRN_ACCEPTED),
    )
    return { server, args: [`127.0.0.1:${server.port}`, '--helo', 'gw.site.example', '--user', 'site', 'site.example'] }
  }
  for (const [source, args, env] of [
    ['--password-file', ['--password-file', writePassword('replaced', `${REPLACED}\nsecond`)], {}],
    [
      '--password-file with another line that is not UTF-8',
      ['--password-file', writePassword('more', Buffer.concat([Buffer.from(`${REPLACED}\n`), Buffer.from([0xe9])]))],
      {},
    ],
    ['--password-command', ['--password-command', "printf 's\\357\\277\\275same\\n'"], {}],
    ['ETRN_PASSWORD', [], { ETRN_PASSWORD: REPLACED }],
  ] as const)
    test(`accepts the character U+FFFD in a password of ${source}`, async (t) => {
      const { server, args: target } = await acceptReplaced(t)
      assert.equal((await spawnEtrn([...target, ...args], { env })).status, 0)
      await server.verify()
    })
  test('accepts the character U+FFFD in a password that is typed', { skip: noTerminal() }, async (t) => {
    const { server, args } = await acceptReplaced(t)
    const run = new TerminalRun([BIN, ...args].join(' '))
    await run.waitFor('Password for ')
    run.type(`${REPLACED}\r`)
    assert.equal(await run.end(), 0)
    await server.verify()
  })
  test('reports 66 for a typed password that is not UTF-8', { skip: noTerminal() }, async () => {
    const run = new TerminalRun(`${BIN} 127.0.0.1:9 --user site site.example`)
    await run.waitFor('Password for ')
    run.type(Buffer.from('s\xe9same\r', 'latin1'))
    assert.equal(await run.end(), 66)
    assert.match(run.shown, /the password from the terminal is not UTF-8; /)
  })
  test('reports 66 for a password of ETRN_PASSWORD whose octets are not UTF-8', async () => {
    const through = ['sh', '-c', `ETRN_PASSWORD=$(printf 's\\351same') exec "$@"`, 'sh']
    const run = await spawnEtrn(['127.0.0.1:9', '--user', 'site', 'site.example'], { through })
    assert.equal(run.status, 66)
    assert.match(run.stderr, /^etrn: the password from ETRN_PASSWORD is not UTF-8; /)
  })
  testLogin('removes a byte order mark in front of the password', {
    conversations: [ACCEPTING],
    args: ['--password-file', writePassword('bom', `\ufeff${PASSWORD}\n`)],
    status: 0,
    env: {},
  })
  testLogin('warns if other users can replace --password-file', {
    conversations: [ACCEPTING],
    args: ['--password-file', writePassword('writable', PASSWORD, 0o602)],
    status: 0,
    env: {},
    stderr: /^etrn: warning: the password in \S+ is not safe: other users can write to the file \(chmod o-w /m,
  })

  test('does not wait for a background process of the command', { timeout: 25_000 }, async () => {
    const long = await etrn([
      '--user',
      'u',
      '--max-time',
      '1s',
      '--password-command',
      'echo x; sleep 60 2>&1',
      '127.0.0.1:1',
      'a.example',
    ])
    const message = '--max-time limit reached while etrn read the password; a.example not requested'
    assert.deepEqual([long.status, long.stderr], [75, `etrn: 127.0.0.1:1: ${message}\n`])
    const much = 'echo x; head -c 100000 /dev/zero | tr "\\0" a; exec sleep 60 2>&1'
    assert.equal((await etrn(['--user', 'u', '--password-command', much, '127.0.0.1:1', 'a.example'])).status, 75)
  })
  test('reads the password from the terminal, which does not show it', { skip: noTerminal() }, async (t) => {
    const server = await scripted(t, ACCEPTING)
    const prompt = `Password for 127.0.0.1:${server.port}: `
    const run = new TerminalRun(
      `${BIN} 127.0.0.1:${server.port} --helo gw.site.example --user site site.example </dev/null`,
    )
    await run.waitFor(prompt)
    run.type(`${PASSWORD}\r`)
    assert.equal(await run.end(), 0)
    assert.match(run.shown, /^Password for 127\.0\.0\.1:\d+: \r\nsite\.example: /)
    assertSecret({ stdout: run.shown, stderr: '' })
  })
  for (const terminal of ['xterm', 'dumb'])
    test(
      `a typed password can be corrected on a terminal of the type ${terminal}`,
      { skip: noTerminal() },
      async (t) => {
        const server = await scripted(t, ACCEPTING)
        const args = `127.0.0.1:${server.port} --helo gw.site.example --user site site.example`
        const run = new TerminalRun(`TERM=${terminal} ${BIN} ${args}`)
        await run.waitFor('Password for ')
        run.type(`wrong\x15${PASSWORD}x\x7f y\x17\x7f\r`)
        assert.equal(await run.end(), 0)
        await server.verify()
      },
    )
  const startPrompt = async (): Promise<{ run: TerminalRun; pid: number }> => {
    const args = '127.0.0.1:9 --user site site.example'
    const run = new TerminalRun(`sh -c 'echo pid=$$; exec ${BIN} ${args}'; echo status=$?; stty -a`)
    await run.waitFor('Password for 127.0.0.1:9: ')
    return { run, pid: Number(/pid=(\d+)/.exec(run.shown)?.[1]) }
  }
  for (const [key, typed, signal] of [
    ['Ctrl-C', 'pw\x03', 'SIGINT'],
    ['Ctrl-\\', 'pw\x1c', 'SIGQUIT'],
  ] as const)
    test(
      `${key} at the prompt restores the terminal and ends the process by ${signal}`,
      { skip: noTerminal() },
      async () => {
        const { run } = await startPrompt()
        run.type(typed)
        await run.end()
        assert.match(run.shown, new RegExp(`: \\r\\n(?:[^\\r]*\\r\\n)?status=${128 + constants.signals[signal]}\\r\\n`))
        assert.match(run.shown, / icanon [^]* echo /)
      },
    )
  test('Ctrl-D at the prompt ends the input', { skip: noTerminal() }, async () => {
    const { run } = await startPrompt()
    run.type('\x04')
    await run.end()
    assert.match(run.shown, /no password entered[^]*status=66\r\n/)
  })
  for (const [key, typed] of [
    ['Ctrl-U', 'old\x15'],
    ['Ctrl-W', 'old\x17'],
    ['the backspace key', 'o\x7f'],
    ['Ctrl-H', 'o\x08'],
    ['a bracketed paste', '\x1b[200~\x1b[201~'],
  ] as const)
    test(`${key} at the prompt is no part of the password`, { skip: noTerminal() }, async (t) => {
      const server = await scripted(t, ACCEPTING)
      const run = new TerminalRun(`${BIN} 127.0.0.1:${server.port} --helo gw.site.example --user site site.example`)
      await run.waitFor(`Password for 127.0.0.1:${server.port}: `)
      run.type(`${typed}${PASSWORD}\r`)
      assert.equal(await run.end(), 0)
      await server.verify()
    })
  for (const signal of ENDING)
    test(`${signal} at the prompt restores the terminal and ends the process`, { skip: noTerminal() }, async () => {
      const { run, pid } = await startPrompt()
      process.kill(pid, signal)
      await run.end()
      assert.match(run.shown, new RegExp(`status=${128 + constants.signals[signal]}\\r\\n`))
      assert.match(run.shown, / icanon [^]* echo /)
    })
  const stops = (title: string, stop: (run: TerminalRun, pid: number) => void): void =>
    void test(
      `${title} at the prompt restores the terminal, and SIGCONT asks again`,
      { skip: noTerminal() },
      async () => {
        const { run, pid } = await startPrompt()
        const isStopped = (): boolean => /\) T /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
        const terminal = readlinkSync(`/proc/${pid}/fd/0`)
        const modes = (): string => execFileSync('stty', ['-a', '-F', terminal], { encoding: 'utf8' })
        assert.match(modes(), / -echo /)
        stop(run, pid)
        while (!isStopped()) await setImmediate()
        assert.match(modes(), / icanon [^]* echo /)
        process.kill(pid, 'SIGCONT')
        await run.waitFor('Password for 127.0.0.1:9: Password for 127.0.0.1:9: ')
        assert.match(modes(), / -echo /)
        run.type('sesame\r')
        await run.end()
        assert.match(run.shown, /connection refused[^]*status=75\r\n/)
        assert.doesNotMatch(run.shown, /sesame/)
      },
    )
  stops('SIGTSTP', (_run, pid) => process.kill(pid, 'SIGTSTP'))
  stops('Ctrl-Z', (run) => run.type('\x1a'))
  test('reports 64 if there is no source and no terminal', () => {
    // setsid takes the terminal of the tests away.
    const run = spawnSync('setsid', ['-w', BIN, '127.0.0.1:9', '--user', 'site', 'site.example'], { encoding: 'utf8' })
    assert.equal(run.status, 64)
    assert.match(
      run.stderr,
      /^etrn: no password given, and etrn can't ask for one without a terminal\nhint: use --password-file FILE or --password-command COMMAND, or set the environment variable ETRN_PASSWORD\n$/,
    )
  })
})
