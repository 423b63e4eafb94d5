import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { suite, test } from 'node:test'
import { type Finished, spawnEtrn } from './helpers/command.js'
import { BIN, makeFile, makeFolder, packageFile } from './helpers/files.js'
import { noOtherUser } from './helpers/namespace.js'
import { BYE, etrnSteps, loose, scripted, sessionWith, silence } from './helpers/scripted-server.js'
import { noTerminal, runShell, TerminalRun } from './helpers/shell.js'

const HELO = '--helo gw.site.example'
const ACCEPTING = sessionWith(...etrnSteps('site.example', '250 OK'))

suite('the process: signals', { concurrency: true }, () => {
  test("SIGINT to the process group ends a shell's loop", async (t) => {
    let interrupt = (): void => undefined
    const server = await loose(t, [() => interrupt(), silence])
    const script = `for n in 1 2 3; do ${BIN} 127.0.0.1:${server.port} site.example; echo went on; done`
    // A terminal sends its interrupt to the whole group.
    const child = spawn('bash', ['-c', script], { detached: true, stdio: ['ignore', 'pipe', 'ignore'] })
    interrupt = () => void process.kill(-(child.pid ?? 0), 'SIGINT')
    let output = ''
    child.stdout.on('data', (octets: Buffer) => (output += octets.toString()))
    const [, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
    assert.deepEqual([signal, output], ['SIGINT', 'not requested: site.example\n'])
  })
  for (const signal of ['SIGTERM', 'SIGHUP'] as const)
    test(`${signal} is the signal that the process ends by`, async (t) => {
      let interrupt = (): void => undefined
      const server = await loose(t, [() => interrupt(), silence])
      const run = await spawnEtrn([`127.0.0.1:${server.port}`, 'site.example'], {
        during: (child) => (interrupt = () => void child.kill(signal)),
      })
      assert.deepEqual([run.status, run.signal, run.stdout], [null, signal, 'not requested: site.example\n'])
    })
  test("^C while the spinner turns ends a shell's loop", { skip: noTerminal() }, async (t) => {
    const server = await scripted(t, ['S: 421 later', ...BYE])
    const etrn = `${BIN} --retry-for 5m 127.0.0.1:${server.port} ${HELO} site.example`
    const loop = `stty cols 80 rows 24; for i in 1 2; do ${etrn}; echo round $i; done; echo finished`
    const run = new TerminalRun(`bash -c '${loop}'`)
    await run.waitFor('retry at')
    run.type('\x03')
    await run.end()
    assert.match(run.shown, /etrn: 127\.0\.0\.1:\d+: .*421 later/)
    assert.doesNotMatch(run.shown, /round 1|finished/)
  })
})

test('a terminal that is gone does not make a crash of a success', { skip: noTerminal() }, async (t) => {
  const folder = makeFolder(t)
  const [log, fifo, script] = ['log', 'status', 'run.sh'].map((name) => join(folder, name))
  const server = await scripted(t, [async () => run.hangUp(), ...ACCEPTING])
  const command = `${BIN} 127.0.0.1:${server.port} ${HELO} site.example >${log} 2>&1`
  writeFileSync(script ?? '', `mkfifo ${fifo}\necho ready\n${command}\necho $? >${fifo}\n`)
  const run = new TerminalRun(`T=$(tty); setsid sh ${script} <$T & wait`)
  await run.waitFor('ready')
  const status = await readFile(fifo ?? '', 'utf8')
  assert.deepEqual([status, readFileSync(log ?? '', 'utf8')], ['0\n', 'site.example: accepted (250 OK)\n'])
})

test('exits with 66 if the current directory has been removed', async (t) => {
  const folder = makeFolder(t)
  for (const args of [
    '--hook pppd --names-from x 127.0.0.1:1',
    '--names-from - --failed-to later 127.0.0.1:1 </dev/null',
  ]) {
    const run = await runShell(`mkdir ${folder}/d; cd ${folder}/d; rmdir ../d; ${BIN} ${args}`)
    assert.deepEqual(
      [run.status, run.stderr],
      [66, 'etrn: the current directory has been removed; change to another directory\n'],
    )
  }
})

suite('the process: streams', { concurrency: true }, () => {
  for (const redirection of ['>&-', '2>&-', '<&-', '<&- >&- 2>&-']) {
    test(`succeeds with closed streams: ${redirection}`, async (t) => {
      const server = await scripted(t, ACCEPTING)
      const run = await runShell(`${BIN} 127.0.0.1:${server.port} ${HELO} site.example ${redirection}`)
      await server.verify()
      assert.deepEqual([run.status, run.stderr], [0, ''])
    })
  }
  test('ends silently with its own status if the reader closes the pipe', async (t) => {
    const server = await scripted(
      t,
      sessionWith(...etrnSteps('a.example', '250 OK'), ...etrnSteps('b.example', '459 no')),
    )
    const run = await runShell(
      `set -o pipefail; ${BIN} 127.0.0.1:${server.port} ${HELO} -v a.example b.example 2>&1 | true`,
    )
    await server.verify()
    assert.deepEqual([run.status, run.stderr], [77, ''])
  })
  test(
    'reports 74 if the disk is full',
    { skip: process.platform === 'linux' ? false : 'no /dev/full here' },
    async (t) => {
      const server = await scripted(t, ACCEPTING, ACCEPTING)
      const command = `${BIN} 127.0.0.1:${server.port} ${HELO} site.example`
      const full = await runShell(`${command} >/dev/full`)
      assert.equal(full.status, 74)
      assert.match(full.stderr, /^etrn: can\'t write the output: .*no space left/m)
      assert.equal((await runShell(`${command} --json >/dev/full`)).status, 74)
      await server.verify()
    },
  )
  test('reads names from a process substitution that writes late', async (t) => {
    const server = await scripted(t, ACCEPTING)
    const run = await runShell(`${BIN} 127.0.0.1:${server.port} ${HELO} --names-from <(sleep 0.2; echo site.example)`)
    await server.verify()
    assert.equal(run.status, 0)
  })
  test('reads the configuration from a process substitution that writes late', async () => {
    const run = await runShell(`${BIN} --config <(echo 'quiet = 2'; sleep 0.2; echo 'port = 1') 127.0.0.1 a.example`)
    assert.deepEqual(run, { status: 75, stdout: '', stderr: '' })
  })
})

suite('the process: an output that nobody takes', { concurrency: true }, () => {
  /** Returns the run on a terminal that ^S has stopped. */
  const startStopped = async (args: string, through = 'exec'): Promise<TerminalRun> => {
    const run = new TerminalRun(`exec sh -c 'echo ready; read -r line; ${through} ${BIN} ${args}'`)
    await run.waitFor('ready')
    run.type('\x13\n')
    return run
  }
  const skip = noTerminal()
  test('--max-time ends a run on a stopped terminal with 75', { skip, timeout: 20_000 }, async () => {
    const run = await startStopped('127.0.0.1:9 --retry-for 1m --max-time 1s a.example')
    assert.equal(await run.end(), 75)
  })
  test(
    '--max-time ends a run on a stopped terminal that this user may not open, as after su',
    { skip: skip || noOtherUser(), timeout: 20_000 },
    async () => {
      const through = 'chmod 0 $(tty); exec unshare --user --map-user=1000 --map-group=1000'
      const run = await startStopped('127.0.0.1:9 --retry-for 1m --max-time 1s a.example', through)
      assert.equal(await run.end(), 75)
    },
  )
  test('SIGTERM ends a run on a stopped terminal', { skip, timeout: 20_000 }, async (t) => {
    let end = (): void => undefined
    const server = await loose(t, [() => end(), silence])
    const file = makeFile(t, 'pid', '')
    end = () => void process.kill(Number(readFileSync(file, 'utf8')), 'SIGTERM')
    // The shell writes the number of the process that it becomes.
    const run = await startStopped(`-v 127.0.0.1:${server.port} a.example $(echo $$ >${file})`)
    assert.equal(await run.end(), 128 + 15)
  })
  test(
    '--max-time ends a run whose reader takes nothing, with the status of the run',
    { timeout: 20_000 },
    async (t) => {
      const names = makeFile(t, 'names', 'bad..name\n'.repeat(30_000))
      const args = ['127.0.0.1:9', '--names-from', names, 'a.example', '--max-time', '3s']
      const child = spawn(BIN, args, { stdio: ['ignore', 'pipe', 'pipe'] })
      const [[status], stderr] = await Promise.all([
        once(child, 'exit') as Promise<[number | null]>,
        text(child.stderr),
      ])
      assert.equal(status, 75)
      assert.match(stderr, /^etrn: can\'t write the output: no program read it in time$/m)
    },
  )
})

suite('the process: the version of Node', { concurrency: true }, () => {
  /** Runs `etrn --version` on a Node that takes itself for another version. */
  const runOn = async (version: string): Promise<Finished> => {
    const lie = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${version}' } })`
    return spawnEtrn(['--version'], {
      env: { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(lie)}` },
    })
  }
  for (const [version, needed] of [
    ['0.12.18', '20.19'],
    ['12.22.12', '20.19'],
    ['18.20.8', '20.19'],
    ['20.18.3', '20.19'],
    ['21.7.3', '22.12'],
    ['22.11.0', '22.12'],
  ] as const)
    test(`reports 70 on Node ${version}, and that ${needed} is needed`, async () => {
      const stderr = `etrn needs Node.js ${needed} or later; this is ${version}\n`
      assert.deepEqual(await runOn(version), { stdout: '', stderr, status: 70, signal: null })
    })
  for (const version of ['20.19.0', '20.20.2', '22.12.0', '23.0.0', '24.1.0', '100.0.0'])
    test(`runs on Node ${version}`, async () => assert.equal((await runOn(version)).status, 0))
  test('bin/etrn has no syntax that an old Node does not know', () => {
    const code = packageFile('bin/etrn').replace(/\/\/.*|\/\*[^]*?\*\//g, '')
    assert.doesNotMatch(code, /=>|`|\?[?.]|\.\.\.|catch \{|\*\*|\b(?:const|let|class|async|await|import|of)\b/)
  })
})

suite('the process: its surroundings', { concurrency: true }, () => {
  test('succeeds in an empty environment', async (t) => {
    const server = await scripted(t, ACCEPTING)
    const run = await runShell(`env -i ${process.execPath} ${BIN} 127.0.0.1:${server.port} ${HELO} site.example`)
    assert.deepEqual([run.status, run.stderr], [0, ''])
  })
  test('runs through a symlink', async (t) => {
    const folder = makeFolder(t)
    symlinkSync(BIN, join(folder, 'etrn'))
    assert.match((await runShell(`${join(folder, 'etrn')} --version`)).stdout, /^etrn \d+\.\d+\.\d+/)
  })
  test('has no code compiled in the background, which could keep the process from ending', async (t) => {
    const names = Array.from({ length: 5000 }, (_, n) => `n${n}.example\n`).join('')
    const args = ['-q', '127.0.0.1:9', '--names-from', makeFile(t, 'names', names)]
    const { stdout } = await spawnEtrn(args, { through: [process.execPath, '--trace-opt'] })
    const compiled = stdout.match(/^\[compiling method .*/gm) ?? []
    // Node itself may have some compiled before it runs the command.
    assert.ok(compiled.length < 10, compiled.join('\n'))
  })
  test('--version prints the version of package.json', async () => {
    const { version } = JSON.parse(packageFile('package.json')) as { version: string }
    assert.equal((await spawnEtrn(['--version'])).stdout, `etrn ${version}\n`)
  })
  test('--hook names node and bin/etrn by their absolute paths', async () => {
    const { stdout } = await spawnEtrn(['--hook', 'pppd', 'mx.example', 'a.example'])
    assert.ok(stdout.includes(`${process.execPath} ${BIN} `), stdout)
  })
  test('reads ~/.config unless the process runs as root', { skip: noOtherUser() }, async (t) => {
    const folder = makeFolder(t)
    mkdirSync(join(folder, '.config/etrn'), { recursive: true })
    writeFileSync(
      join(folder, '.config/etrn/config.toml'),
      '[servers.isp]\nserver = "127.0.0.1:1"\nnames = ["a.example"]\n',
    )
    const printHook = async (uid: number) =>
      spawnEtrn(['--hook', 'cron', 'isp'], {
        env: { HOME: folder },
        through: ['unshare', '--user', `--map-user=${uid}`, `--map-group=${uid}`],
      })
    assert.equal((await printHook(1000)).stderr, '')
    assert.match(
      (await printHook(0)).stderr,
      /^etrn: warning: no profile "isp" \(none is configured\); using isp as a host name$/m,
    )
  })
})

test('reports 75, and no bug, if this host has too few file descriptors', async () => {
  const run = `${BIN} 127.0.0.1:9 --user u --tls none --password-command 'echo x' a.example`
  // With each descriptor the run comes a little further, from the start of Node to the connection.
  const { stdout } = await runShell(
    `for n in {16..64}; do end=$(ulimit -n $n; ${run} 2>&1; echo "status $?"); echo "$end"; [[ $end != *refused* ]] || break; done`,
  )
  const ends = stdout.split(/(?<=^status \d+\n)/m).filter((end) => end.startsWith('etrn: '))
  for (const end of ends) assert.match(end, /^status 75$/m)
  for (const message of [
    /^etrn: can't continue \(.*too many open files/m,
    /^etrn: can't start --password-command \(spawn .*EMFILE\)$/m,
  ])
    assert.match(stdout, message)
  assert.match(stdout, /^hint: this host has run out of file descriptors/m)
})

test('reports the error, and does not die of SIGXFSZ, if a file is too long after --password-command', async (t) => {
  const file = join(makeFolder(t), 'failed')
  const options = `--user u --tls none --password-command 'echo x' --failed-to ${file}`
  const { stdout } = await runShell(
    `(ulimit -f 0; ${BIN} 127.0.0.1:9 ${options} a.example 2>&1; echo "status $?") | cat`,
  )
  assert.match(stdout, /^etrn: --failed-to \S+failed: .*EFBIG/m)
  assert.match(stdout, /^status 7[45]$/m)
})

test('prints no warning of Node if many profiles have a password command', async (t) => {
  const profiles = Array.from({ length: 12 }, (_, n) => `[servers.p${n}]\nserver = "127.0.0.1:9"\n`)
  const login = 'user = "u"\npassword-command = "echo x"\nnames = ["a.example"]\n'
  const config = makeFile(t, 'config.toml', profiles.map((profile) => `${profile}${login}`).join(''))
  const { status, stderr } = await spawnEtrn(['--config', config, '--all', '-qq'])
  assert.deepEqual([status, stderr], [75, ''])
})
