import assert from 'node:assert/strict'
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { PassThrough, Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { suite, test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { bugReport } from '../src/errors.js'
import { main, SIGNALS } from '../src/main.js'
import type { Host } from '../src/run-requests.js'
import { assertRefused, etrn, etrnJson } from './helpers/command.js'
import { makeFile, makeFolder } from './helpers/files.js'
import { SCRIPT_KINDS } from './helpers/hook.js'
import { BYE, etrnSteps, HELLO, loose, scripted, sessionWith, silence } from './helpers/scripted-server.js'
import { TerminalStream } from './helpers/shell.js'

const HELO = ['--helo', 'gw.site.example']

/** Returns a host without input, listeners and environment, which ignores its output. */
function createHost(argv: readonly string[], host: Partial<Host> = {}): Host {
  return {
    argv,
    environment: {},
    uid: undefined,
    stdin: () => new PassThrough().end(),
    stdout: new PassThrough().resume(),
    stderr: new PassThrough().resume(),
    program: () => ['/node', '/etrn'],
    version: () => '1.2.3',
    now: Date.now,
    onSignal: () => () => undefined,
    kill: () => undefined,
    raise: (signal) => assert.fail(signal),
    ...host,
  }
}

suite('main: what the arguments ask for', { concurrency: true }, () => {
  test('prints the help to standard output', async () => {
    const run = await etrn(['--help'])
    assert.deepEqual([run.status, run.stderr], [0, ''])
    assert.match(run.stdout, /^Usage: etrn \[options\] SERVER/)
  })
  test('prints the version of its host', async () => {
    const stdout = new PassThrough()
    const { exitStatus } = await main(createHost(['-V', 'mx'], { stdout }))
    stdout.end()
    assert.deepEqual([exitStatus, await text(stdout)], [0, 'etrn 1.2.3\n'])
  })
  test('reads no configuration for --help', async () =>
    assert.equal((await etrn(['--help', '--config', '/nowhere'])).status, 0))
  test('prints nothing to complete if the configuration is broken', async (t) => {
    const folder = makeFolder(t)
    mkdirSync(join(folder, 'etrn'))
    writeFileSync(join(folder, 'etrn/config.toml'), 'no TOML')
    const uid = process.getuid?.() || 1000
    const run = await etrn(['--complete', 'i'], {
      env: { XDG_CONFIG_HOME: folder },
      user: { uid },
    })
    assert.deepEqual(run, { status: 0, signal: null, stdout: '', stderr: '' })
  })
  test('requests one server after the other with --jobs 1', async (t) => {
    const second = await scripted(t, sessionWith(...etrnSteps('site.example', '250 OK')))
    const first = await scripted(t, [
      ...HELLO,
      ...etrnSteps('site.example', '250 OK'),
      'C: QUIT',
      () => assert.deepEqual(second.received, []),
      'S: 221 bye',
    ])
    const run = await etrn([`127.0.0.1:${first.port},127.0.0.1:${second.port}`, ...HELO, '--jobs', '1', 'site.example'])
    assert.equal(run.status, 0)
  })
  test('prints the marks of --check in ASCII unless the locale is UTF-8', async (t) => {
    const check = async (env: Record<string, string>): Promise<string> => {
      const server = await scripted(t, sessionWith())
      return (await etrn([`127.0.0.1:${server.port}`, ...HELO, '--check', 'site.example'], { env })).stdout
    }
    const isAscii = (output: string): boolean => /^[\x20-\x7e\n]*$/.test(output)
    assert.deepEqual(
      [
        isAscii(await check({})),
        isAscii(await check({ LANG: 'C', LC_CTYPE: '', LC_ALL: '' })),
        isAscii(await check({ LANG: 'en_GB.utf8', LC_CTYPE: '', LC_ALL: '' })),
        isAscii(await check({ LANG: 'en_GB.UTF-8', LC_ALL: 'C' })),
        isAscii(await check({ LANG: 'C', LC_CTYPE: 'en_GB.UTF-8' })),
      ],
      [true, true, false, true, false],
    )
  })
})

suite('main: signals', { concurrency: true }, () => {
  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
    ['SIGHUP', 1],
  ] as const) {
    test(`${signal} ends the run with QUIT and reports ${128 + number}`, async (t) => {
      let interrupt = (): void => undefined
      const server = await scripted(t, [
        ...HELLO,
        ...etrnSteps('a.example', '250 OK'),
        'C: ETRN b.example',
        () => interrupt(),
        'C: QUIT',
      ])
      const names = ['a.example', 'b.example', 'c.example', 'd.example']
      const run = await etrnJson([`127.0.0.1:${server.port}`, ...HELO, ...names], {
        during: (child) => (interrupt = () => void child.kill(signal)),
      })
      await server.verify()
      assert.deepEqual([run.status, run.signal, run.document.exitStatus], [null, signal, 128 + number])
      assert.deepEqual(
        run.document.servers[0]?.names.map(({ outcome }) => outcome),
        ['started', 'deferred', 'skipped', 'skipped'],
      )
      assert.equal(run.document.servers[0].error?.message, `interrupted by ${signal}`)
    })
  }
  test('SIGNALS are those that end a run in good order', () =>
    assert.deepEqual(SIGNALS, ['SIGINT', 'SIGTERM', 'SIGHUP']))
  test('a signal while QUIT is pending sends no second QUIT', async (t) => {
    let interrupt = (): void => undefined
    const server = await scripted(t, [
      ...HELLO,
      ...etrnSteps('site.example', '250 OK'),
      'C: QUIT',
      () => interrupt(),
      silence,
    ])
    const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, 'site.example'], {
      during: (child) => (interrupt = () => void child.kill('SIGTERM')),
    })
    await server.verify()
    assert.deepEqual(
      [run.signal, server.received],
      ['SIGTERM', ['EHLO gw.site.example\r\nETRN site.example\r\nQUIT\r\n']],
    )
  })
  test('a second signal is raised at once, and the first one is reported', async (t) => {
    let send: (signal: NodeJS.Signals) => void = () => undefined
    const raised: string[] = []
    const server = await loose(t, [
      ...HELLO,
      'C: ETRN a.example',
      () => {
        send('SIGTERM')
        send('SIGINT')
      },
      silence,
    ])
    const ending = await main(
      createHost([`127.0.0.1:${server.port}`, ...HELO, 'a.example'], {
        onSignal: (listener) => {
          send = listener
          return () => undefined
        },
        raise: (signal) => void raised.push(signal),
      }),
    )
    assert.deepEqual([raised, ending], [['SIGINT'], { exitStatus: 143, signal: 'SIGTERM' }])
  })
  test('stops listening to signals when the run has ended', async () => {
    let isListening = false
    await main(
      createHost(['127.0.0.1:9', ...HELO, 'a.example'], {
        onSignal: () => {
          isListening = true
          return () => (isListening = false)
        },
      }),
    )
    assert.equal(isListening, false)
  })
})

suite('main: --max-time', { concurrency: true }, () => {
  test('ends a session and reports 75', async (t) => {
    const server = await loose(t, [silence])
    const run = await etrnJson([`127.0.0.1:${server.port}`, ...HELO, '--max-time', '1s', 'a.example'])
    const [report] = run.document.servers
    assert.deepEqual(
      [run.status, report?.error?.message, report?.error?.hint],
      [75, '--max-time limit reached while waiting for the greeting', 'a longer --max-time gives the server more time'],
    )
  })
  test('of the configuration ends a session', async (t) => {
    const server = await loose(t, [silence])
    const config = makeFile(t, 'etrn.toml', 'max-time = "1s"\n')
    const run = await etrnJson(['--config', config, `127.0.0.1:${server.port}`, ...HELO, 'a.example'])
    const [report] = run.document.servers
    assert.deepEqual(
      [run.status, report?.error?.message, report?.error?.hint],
      [75, '--max-time limit reached while waiting for the greeting', 'a longer --max-time gives the server more time'],
    )
  })
})

suite('main: --max-time that other servers use up', () => {
  test('names --jobs to a server whose session never started', async (t) => {
    const silent = await loose(t, [silence])
    const waiting = await loose(t, [])
    const servers = `127.0.0.1:${silent.port},127.0.0.1:${waiting.port}`
    const run = await etrnJson([servers, ...HELO, '--jobs', '1', '--max-time', '1s', 'a.example'])
    const [, report] = run.document.servers
    assert.deepEqual([run.status, report?.error?.stage], [75, 'connect'])
    assert.equal(report?.error?.message, "not contacted: --max-time limit reached before it was this server's turn")
    assert.match(report.error.hint ?? '', /^a higher --jobs /)
  })
})

suite('main: errors', { concurrency: true }, () => {
  test('prints a usage error as one line without control characters, and sends nothing', async () =>
    assertRefused(['--timeout', 'a\x1b[1mb'], /^etrn: --timeout "a\\x1b\[1mb" must be a duration /))
  test('prints the stack of an error that no code expected, and reports 70', async () => {
    const stderr = new PassThrough()
    const error = new Error('unforeseen')
    const version = (): string => {
      throw error
    }
    const { exitStatus } = await main(createHost(['--version'], { stderr, version }))
    stderr.end()
    assert.equal(exitStatus, 70)
    assert.equal(await text(stderr), `${bugReport(error)}\n`)
  })
  test('bugReport has the stack of an error, and the text of anything else', () => {
    const error = new Error('unforeseen')
    const head = 'etrn: this is a bug in etrn; please report it, with these lines\n'
    assert.equal(bugReport(error), `${head}${error.stack ?? ''}`)
    assert.equal(bugReport('unforeseen'), `${head}unforeseen`)
  })
  test('reports 74 if the output cannot be written', async () => {
    const stdout = new Writable({ write: (_chunk, _encoding, done) => done(new Error('no space left')) })
    const stderr = new PassThrough()
    const { exitStatus } = await main(createHost(['--version'], { stdout, stderr }))
    stderr.end()
    assert.equal(exitStatus, 74)
    assert.equal(await text(stderr), "etrn: can't write the output: no space left\n")
  })
})

test('a failure of the output outweighs the status 2 of --wait, and no other failure', async (t) => {
  const accepting = [...HELLO, 'C: ETRN site.example', 'S: 250 OK', ...BYE] as const
  const refusing = [...HELLO, 'C: ETRN site.example', 'S: 459 no', ...BYE] as const
  for (const [conversations, status] of [
    [[accepting, accepting], 74],
    [[refusing], 77],
  ] as const) {
    const server = await scripted(t, ...conversations)
    const stdout = new Writable({ write: (_chunk, _encoding, done) => done(new Error('no space left')) })
    const wait = ['--wait', '9s', '--interval', '1s', '--helo', 'gw.site.example']
    const { exitStatus } = await main(createHost([...wait, `127.0.0.1:${server.port}`, 'site.example'], { stdout }))
    assert.equal(exitStatus, status)
  }
})

suite('main: the spinner', { concurrency: true }, () => {
  const showsSpinner = (title: string, options: readonly string[], isShown: boolean): void =>
    void test(title, async (t) => {
      // The module is loaded by now, so that a spinner would turn before the server replies.
      await import('../src/report/spinner.js')
      const stderr = new TerminalStream()
      const server = await scripted(t, [
        ...HELLO,
        'C: ETRN site.example',
        async () => {
          while (isShown && !shown.includes('ETRN site.example')) await new Promise(setImmediate)
        },
        'S: 250 OK',
        ...BYE,
      ])
      let shown = ''
      stderr.on('data', (octets: Buffer) => (shown += stripVTControlCharacters(octets.toString())))
      const argv = [`127.0.0.1:${server.port}`, ...HELO, ...options, 'site.example']
      const stdout = new TerminalStream().resume()
      assert.equal((await main(createHost(argv, { stdout, stderr }))).exitStatus, 0)
      assert.equal(shown.includes(`127.0.0.1:${server.port}: `), isShown)
    })
  showsSpinner('turns on a terminal', [], true)
  showsSpinner('does not turn under -q', ['-q'], false)
  showsSpinner('does not turn under -v', ['-v'], false)
  showsSpinner('does not turn under --json', ['--json'], false)
})

function writeInFolder(file: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o755 })
  writeFileSync(file, '', { mode: 0o644 })
}

suite('main: hooks', { concurrency: true }, () => {
  test('warns that others can change what a hook of root runs', async (t) => {
    const etrnFile = makeFile(t, 'etrn', '')
    const warnings = async (
      kind: string,
      program: readonly string[],
      asUser = 1000,
      options: readonly string[] = [],
    ): Promise<string> => {
      const stderr = new PassThrough()
      const args = ['--hook', kind, ...options, 'mx.example', 'a.example']
      const { exitStatus } = await main(createHost(args, { program: () => program, stderr, uid: asUser }))
      assert.equal(exitStatus, 0)
      return text(stderr.end())
    }
    const safe = [process.execPath, etrnFile]
    chmodSync(etrnFile, 0o775)
    const message = `etrn: warning: root runs this hook: ${etrnFile} is not safe to run: group members can write to the file (chmod g-w ${etrnFile})\n`
    for (const kind of [...SCRIPT_KINDS, 'systemd']) assert.equal(await warnings(kind, safe), message)
    assert.equal(await warnings('cron', safe, 0), message)
    assert.equal(await warnings('cron', safe), '')
    chmodSync(etrnFile, 0o755)
    assert.equal(await warnings('pppd', safe), '')
    const installed = join(dirname(etrnFile), 'bin', 'etrn')
    for (const name of ['bin/etrn', 'bin/package.json', 'dist/cli.cjs', 'dist/command/toml.js'])
      writeInFolder(join(dirname(etrnFile), name))
    for (const name of ['bin/package.json', 'dist/command/toml.js']) {
      const file = join(dirname(etrnFile), name)
      chmodSync(file, 0o666)
      const objection = await warnings('pppd', [process.execPath, installed])
      assert.ok(objection.includes(`${file} is not safe to run: other users can write to the file`), objection)
      chmodSync(file, 0o644)
    }
    assert.equal(await warnings('pppd', [process.execPath, installed]), '')
    const command = makeFile(t, 'password', '')
    chmodSync(command, 0o777)
    const [, top = '', rest = ''] = /^\/([^/]+)\/(.*)$/.exec(command) ?? []
    for (const words of [
      ...[`${command} isp`, `sh ${command} 2>/dev/null`, `gpg -d <'${command}'`, `/${command}`, `../${top}/${rest}`],
      ...[`/${top}\\/${rest}`, `/"${top}"/${rest}`, `/usr/../${top}/${rest}`],
    ]) {
      const login = ['--user', 'site', '--password-command', words]
      const warning = await warnings('pppd', [process.execPath, installed], 1000, login)
      assert.match(
        warning,
        /^etrn: warning: root runs this hook: (?:\/usr\/\.\.)?(\S+) is not safe to use: [^\n]* \(chmod o-w \1\)\n$/,
      )
      assert.ok(warning.includes(rest), warning)
    }
    const login = async (words: string): Promise<string> =>
      warnings('pppd', [process.execPath, installed], 1000, ['--user', 'site', '--password-command', words])
    assert.equal(
      await login('cat $P/pw'),
      "etrn: warning: root runs this hook: --password-command contains $P, so some of its files can't be checked; write their absolute paths\n",
    )
    for (const relative of ['./none/pw', '../none/pw', 'test/helpers'])
      assert.equal(
        await login(`cat '${relative}'`),
        `etrn: warning: --password-command contains ${relative}: the hook can run in another directory; write the absolute path\n`,
      )
    assert.equal(await login("sed 's/a/b/' </none"), '')
    const sticky = makeFolder(t)
    chmodSync(sticky, 0o1777)
    const below = join(sticky, 'own', 'pw')
    mkdirSync(dirname(below))
    writeFileSync(below, '', { mode: 0o700 })
    for (const missing of [`${sticky}/pw`, `${sticky}/none/pw`])
      assert.equal(
        await login(missing),
        `etrn: warning: root runs this hook: ${missing} is not safe to use: other users can write to the directory ${sticky}; move the file\n`,
      )
    const objection = /: (\S+) is not safe to use: other users can write to the directory \/\S+; move the file\n$/
    assert.equal(objection.exec(await login(below))?.[1], below)
    chmodSync(dirname(etrnFile), 0o777)
    assert.match(
      await warnings('pppd', safe),
      / is not safe to run: other users can write to the directory \S+ \(chmod o-w /,
    )
  })
  // The file belongs to a user other than root.
  const uid = process.getuid?.() || 1000
  const user = { uid }
  const printHook = async (kind: string, file: string, as: typeof user) =>
    etrn(['--config', file, '--hook', kind, 'isp'], { user: as })

  test('warns the user who prints a hook for root that root would refuse the configuration', async (t) => {
    const file = makeFile(t, 'etrn.toml', '[servers.isp]\nserver = "127.0.0.1:1"\nnames = ["a.example"]\n')
    for (const path of [file, dirname(file)]) if (process.getuid?.() === 0) chownSync(path, uid, uid)
    const hook = await printHook('pppd', file, user)
    assert.equal(hook.status, 0)
    assert.match(
      hook.stderr,
      /^etrn: warning: root runs this hook: .* is not safe to use: the file belongs to a user other than root/,
    )
    assert.equal((await printHook('cron', file, user)).stderr, '')
    assert.match((await printHook('systemd', file, user)).stderr, / is not safe to use: the directory \S+ belongs to/)
  })
  test('reads for a hook of root only what root reads, and for a crontab what the user reads', async (t) => {
    const home = makeFolder(t)
    mkdirSync(join(home, '.config/etrn'), { recursive: true })
    const toml = '[servers.isp]\nserver = "127.0.0.1:1"\nnames = ["a.example"]\n'
    writeFileSync(join(home, '.config/etrn/config.toml'), toml)
    const run = async (kind: string) => etrn(['--hook', kind, 'isp'], { env: { HOME: home }, user })
    assert.equal((await run('cron')).stderr, '')
    const { status, stdout, stderr } = await run('pppd')
    assert.deepEqual([status, stdout], [64, ''])
    assert.equal(
      stderr,
      `etrn: ${home}/.config/etrn/config.toml:2: profile isp: root runs this hook, but root does not read this file\nhint: move the profile to /etc/etrn/config.toml, or move it to another file that root owns and add --config FILE\n`,
    )
    for (const args of [['--all'], ['mx.example,isp', 'a.example']]) {
      const several = await etrn(['--hook', 'networkmanager', ...args], { env: { HOME: home }, user })
      assert.deepEqual([several.status, /profile isp: root runs this hook/.test(several.stderr)], [64, true])
    }
    assert.equal((await etrn(['--hook', 'pppd', 'mx.example', 'isp.example'], { env: { HOME: home }, user })).status, 0)
    writeFileSync(join(home, '.config/etrn/config.toml'), `retry-for = "1h"\n${toml}`)
    const typed = await etrn(['--hook', 'pppd', 'mx.example', 'isp.example'], { env: { HOME: home }, user })
    assert.deepEqual(
      [typed.status, typed.stderr],
      [0, `etrn: warning: ${home}/.config/etrn/config.toml:1: root runs this hook, but root does not read this file\n`],
    )
    const same = { XDG_CONFIG_HOME: join(home, '.config/'), HOME: home }
    assert.equal((await etrn(['--hook', 'cron', 'isp'], { env: same, user })).status, 0)
    const elsewhere = { XDG_CONFIG_HOME: join(home, '.config'), HOME: '/nonexistent' }
    const cron = await etrn(['--hook', 'cron', 'isp'], { env: elsewhere, user })
    assert.equal(cron.status, 64)
    assert.match(cron.stderr, /profile isp: cron does not set XDG_CONFIG_HOME, .*\nhint: add --config FILE\n$/)
  })
  const isRoot = process.getuid?.() === 0
  test('does not warn if root would accept the configuration', { skip: isRoot ? false : 'needs root' }, async (t) => {
    const file = makeFile(t, 'etrn.toml', '[servers.isp]\nserver = "127.0.0.1:1"\nnames = ["a.example"]\n')
    assert.equal((await printHook('pppd', file, user)).stderr, '')
    assert.equal((await printHook('pppd', file, { uid: 0 })).stderr, '')
  })
})
