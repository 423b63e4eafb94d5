import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { findConfigFiles } from '../../src/command/config-files.js'
import { readSafely } from '../../src/command/read-safely.js'
import { assertRefused, etrn, type Finished, spawnEtrn } from '../helpers/command.js'
import { makeFile, makeFolder } from '../helpers/files.js'
import { noLease, takeLease } from '../helpers/lease.js'
import { noOtherUser } from '../helpers/namespace.js'
import { NO_SIGNAL } from '../helpers/options.js'
import { BYE, etrnSteps, HELLO, scripted } from '../helpers/scripted-server.js'

const TARGET = ['127.0.0.1:1', 'a.example']
const isRoot = process.getuid?.() === 0
const readAs = async (path: string, uid: number | undefined): Promise<string> =>
  readSafely(path, { uid, signal: NO_SIGNAL })
/** A user other than root who may read the files of the test. */
const UID = process.getuid?.() || 1000

suite('config-files: unsafe files', { concurrency: true }, () => {
  test('are not opened: that could have an effect', async (t) => {
    const folder = makeFolder(t)
    const path = join(folder, 'config.toml')
    execFileSync('mkfifo', [path])
    chmodSync(path, 0o666)
    await assert.rejects(readAs(path, UID), /is not safe to use: other users can write to the file/)
    // A FIFO that is open for reading could be opened for writing.
    assert.throws(() => openSync(path, constants.O_WRONLY | constants.O_NONBLOCK), { code: 'ENXIO' })
    const writer = spawn('sh', ['-c', `echo x >"$1"`, '-', path])
    t.after(() => writer.kill())
    await assert.rejects(readAs(path, UID), /is not safe to use/)
    assert.equal(writer.exitCode, null)
  })
  const refuses = (title: string, change: (path: string) => void, message: RegExp): void =>
    void test(title, async (t) => {
      const path = makeFile(t, 'config.toml', '')
      change(path)
      const run = await etrn(['--config', path, ...TARGET])
      assert.equal(run.status, 78)
      assert.match(run.stderr, message)
    })
  refuses(
    'refuses a file that others may write',
    (path) => chmodSync(path, 0o666),
    /config\.toml is not safe to use: other users can write to the file \(chmod o-w \/\S+config\.toml\)\n$/,
  )
  refuses(
    'refuses a file in a folder that others may write',
    (path) => chmodSync(dirname(path), 0o777),
    / is not safe to use: other users can write to the directory \S+ \(chmod o-w /,
  )
  test('refuses a link to a folder that others may write', async (t) => {
    const target = makeFile(t, 'config.toml', '')
    chmodSync(dirname(target), 0o777)
    const link = join(makeFolder(t), 'link.toml')
    symlinkSync(target, link)
    assert.equal((await etrn(['--config', link, ...TARGET])).status, 78)
  })
  test('refuses a file of another user', { skip: isRoot ? false : 'needs root' }, async (t) => {
    const path = makeFile(t, 'config.toml', 'text')
    chownSync(path, 1234, 1234)
    assert.equal(await readAs(path, 1234), 'text')
    await assert.rejects(readAs(path, 1235), /the file belongs to neither root nor you \(chown\)$/)
    await assert.rejects(readAs(path, 0), /the file belongs to a user other than root \(chown\)$/)
  })
  test('refuses a device of another user', { skip: isRoot ? false : 'needs root' }, async (t) => {
    const path = join(makeFolder(t), 'device')
    execFileSync('mknod', [path, 'c', '1', '5'])
    chownSync(path, 1234, 1234)
    await assert.rejects(readAs(path, 0), /the file belongs to a user other than root \(chown\)$/)
  })
  test('refuses a file that its group may write, though only its reader and root are in it', async (t) => {
    const path = makeFile(t, 'config.toml', 'text')
    chmodSync(path, 0o664)
    for (const uid of [process.getuid?.() ?? 0, 0])
      await assert.rejects(readAs(path, uid), /group members can write to the file \(chmod g-w /)
  })
  test('refuses a file in /tmp itself', (t) => {
    const path = join('/tmp', `${basename(makeFolder(t))}.toml`)
    writeFileSync(path, 'text', { mode: 0o600 })
    t.after(() => rmSync(path))
    return assert.rejects(
      readAs(path, process.getuid?.()),
      / is not safe to use: other users can write to the directory \/tmp; move the file$/,
    )
  })
  test('refuses a file that is not UTF-8', async (t) => {
    const path = makeFile(t, 'config.toml', '')
    writeFileSync(path, Buffer.from('helo = "caf\xe9.example"', 'latin1'))
    await assertRefused(
      ['--config', path, ...TARGET],
      `etrn: ${path} is not UTF-8; convert it, for example with iconv -f latin1 -t utf-8\n`,
      78,
    )
  })
  test('accepts any file on a system without user numbers', async (t) => {
    const path = makeFile(t, 'config.toml', 'text')
    chmodSync(path, 0o666)
    assert.equal(await readAs(path, undefined), 'text')
  })
})

suite('config-files: files that cannot be read', { concurrency: true }, () => {
  test('reports 66 if --config names no file', async () => {
    const run = await etrn(['--config', '/nowhere/config.toml', 'isp'])
    assert.deepEqual([run.status, run.stderr], [66, 'etrn: configuration /nowhere/config.toml: no such file\n'])
  })
  test('reports 66 if --config names a folder', async (t) => {
    const folder = join(makeFolder(t), 'config.toml')
    mkdirSync(folder)
    const run = await etrn(['--config', folder, 'isp'])
    assert.deepEqual([run.status, run.stderr], [66, `etrn: configuration ${folder}: is a directory\n`])
  })
  test('reads /dev/null as an empty configuration', async () =>
    assert.equal((await etrn(['--config', '/dev/null', ...TARGET])).status, 75))
  test('--max-time ends the wait for a pipe that has a writer, and for one that has none', async (t) => {
    const fifo = join(makeFolder(t), 'fifo')
    execFileSync('mkfifo', [fifo])
    let writer = -1
    const silent = await etrn(['--config', fifo, '--max-time', '1s', ...TARGET], {
      during: () => void (writer = openSync(fifo, constants.O_RDWR)),
    })
    closeSync(writer)
    assert.deepEqual([silent.status, silent.stderr], [75, 'etrn: --max-time limit reached\n'])
    const unwritten = await etrn(['--config', fifo, '--max-time', '1s', ...TARGET])
    assert.deepEqual([unwritten.status, unwritten.stderr], [75, silent.stderr])
  })
})

suite('config-files: a lease of another program', { concurrency: true, skip: noLease() }, () => {
  test('is waited for', async (t) => {
    const path = makeFile(t, 'config.toml', 'text')
    await takeLease(t, path, { keeps: false })
    assert.equal(await readAs(path, UID), 'text')
  })
  test('is reported with 66 if it is kept', async (t) => {
    const path = makeFile(t, 'config.toml', '')
    await takeLease(t, path, { keeps: true })
    const message = `etrn: configuration ${path}: another program holds a lease on the file (fcntl) and did not release it within 2s\n`
    await assertRefused(['--config', path, ...TARGET], message, 66)
  })
  test('is waited for no longer than --max-time', async (t) => {
    const path = makeFile(t, 'config.toml', '')
    await takeLease(t, path, { keeps: true })
    const run = await etrn(['--config', path, '--max-time', '1s', ...TARGET])
    assert.deepEqual([run.status, run.stderr], [75, 'etrn: --max-time limit reached\n'])
  })
  test('does not hide the configuration of a home', async (t) => {
    const home = makeFolder(t)
    const path = join(home, 'etrn/config.toml')
    mkdirSync(dirname(path))
    writeFileSync(path, '')
    await takeLease(t, path, { keeps: true })
    const warn = (message: string): void => assert.fail(message)
    assert.ok(findConfigFiles({ environment: { XDG_CONFIG_HOME: home }, uid: UID, warn }).includes(path))
  })
})

suite('config-files: the usual places', { concurrency: true }, () => {
  const makeConfig = (t: TestContext, port: number, folder: string): string => {
    const home = makeFolder(t)
    mkdirSync(join(home, folder, 'etrn'), { recursive: true })
    const toml = `helo = "gw.site.example"\n[servers.isp]\nserver = "127.0.0.1:${port}"\nnames = ["a.example"]\n[servers.backup]\nserver = "b.invalid"\n`
    writeFileSync(join(home, folder, 'etrn', 'config.toml'), toml)
    return home
  }
  const failOnWarning = (message: string): void => assert.fail(message)
  const user = { uid: UID }
  const ACCEPTING = [...HELLO, ...etrnSteps('a.example', '250 OK'), ...BYE]
  test('reads $XDG_CONFIG_HOME/etrn/config.toml', async (t) => {
    const server = await scripted(t, ACCEPTING)
    const env = { XDG_CONFIG_HOME: makeConfig(t, server.port, '.') }
    assert.equal((await etrn(['isp'], { env, user })).status, 0)
  })
  test('reads ~/.config/etrn/config.toml', async (t) => {
    const server = await scripted(t, ACCEPTING)
    const env = { HOME: makeConfig(t, server.port, '.config') }
    assert.equal((await etrn(['isp'], { env, user })).status, 0)
  })
  test('root reads no file of a HOME, which sudo keeps', async (t) => {
    const env = { HOME: makeConfig(t, 1, '.config') }
    const run = await etrn(['--hook', 'cron', 'isp'], { env, user: { uid: 0 } })
    assert.match(run.stderr, /^etrn: warning: no profile "isp" \(none is configured\); using isp as a host name$/m)
  })
  test('reads ~/.config if $XDG_CONFIG_HOME is no absolute path', (t) => {
    const home = makeConfig(t, 1, '.config')
    const environment = { HOME: home, XDG_CONFIG_HOME: 'relative' }
    assert.deepEqual(findConfigFiles({ environment, uid: UID, warn: failOnWarning }).slice(-1), [
      `${home}/.config/etrn/config.toml`,
    ])
  })
  test('finds no file in a home that has none, and without a home', (t) => {
    const environments = [{ HOME: makeFolder(t) }, { HOME: '' }, {}]
    for (const environment of environments) {
      const files = findConfigFiles({ environment, uid: UID, warn: failOnWarning })
      assert.deepEqual(
        files.filter((file) => file !== '/etc/etrn/config.toml'),
        [],
      )
    }
  })
  const runAsRoot = async (script: string): Promise<Finished> => {
    const setUp = `mount -t tmpfs none /etc && cd /etc && ${script} && exec "$@"`
    const through = ['unshare', '--map-root-user', '--mount', 'sh', '-c', setUp, 'sh']
    return spawnEtrn(['-q', ...TARGET], { through })
  }
  const FILE = '/etc/etrn/config.toml'
  for (const [title, script, reason] of [
    ['a link to itself', 'mkdir etrn && ln -s config.toml etrn/config.toml', 'the symbolic links form a loop'],
    [
      'a link that leads nowhere',
      'mkdir etrn && ln -s none etrn/config.toml',
      `the target of the symbolic link ${FILE} does not exist`,
    ],
    ['in such a link', 'ln -s none etrn', 'the target of the symbolic link /etc/etrn does not exist'],
    ['in a plain file', 'touch etrn', '/etc/etrn is not a directory'],
    ['in a link to a plain file', 'touch file && ln -s file etrn', '/etc/etrn is not a directory'],
    ['a directory', 'mkdir -p etrn/config.toml', 'is a directory'],
  ] as const)
    test(`ends root's run with 66 if the system's file is ${title}`, { skip: noOtherUser() }, async () => {
      const { status, stderr } = await runAsRoot(script)
      assert.deepEqual([status, stderr.split('\n')[0]], [66, `etrn: configuration ${FILE}: ${reason}`])
    })
  for (const [title, script] of [
    ['folder is not there', 'true'],
    ['folder is empty', 'mkdir etrn'],
    ['folder is a link to an empty one', 'mkdir other && ln -s other etrn'],
  ] as const)
    test(`root's run needs no file of the system: its ${title}`, { skip: noOtherUser() }, async () => {
      const { status, stderr } = await runAsRoot(script)
      assert.equal(status, 75)
      assert.doesNotMatch(stderr, /config/)
    })
  test('warns of a link that leads nowhere and of a file as the folder, but not of a home that is none', async (t) => {
    const warningsOf = (environment: Readonly<Record<string, string>>): string[] => {
      const warnings: string[] = []
      findConfigFiles({ environment, uid: UID, warn: (message) => warnings.push(message) })
      return warnings
    }
    const home = makeFolder(t)
    symlinkSync('none', join(home, 'etrn'))
    const warn = (reason: string): string =>
      `etrn: warning: ${home}/etrn/config.toml: ${reason}; continuing without this file`
    const environment = { XDG_CONFIG_HOME: home }
    assert.deepEqual(warningsOf(environment), [warn(`the target of the symbolic link ${home}/etrn does not exist`)])
    assert.match((await etrn(TARGET, { env: environment, user })).stderr, /the target of the symbolic link /)
    rmSync(join(home, 'etrn'))
    writeFileSync(join(home, 'etrn'), '')
    assert.deepEqual(warningsOf(environment), [warn(`${home}/etrn is not a directory`)])
    for (const none of ['/dev/null', '/nonexistent', join(home, 'etrn')])
      assert.deepEqual(warningsOf({ HOME: none }), [])
  })
  test('skips a file that may not be read, with a warning unless -q is given', { skip: noOtherUser() }, async (t) => {
    const home = makeConfig(t, 1, '.config')
    const path = join(home, '.config/etrn/config.toml')
    chmodSync(path, 0)
    const run = async (...options: string[]): Promise<string> => {
      const through = ['unshare', '--user', '--map-user=1000', '--map-group=1000']
      return (await spawnEtrn([...options, ...TARGET], { env: { HOME: home }, through })).stderr
    }
    assert.ok((await run()).startsWith(`etrn: warning: ${path}: permission denied; continuing without this file\n`))
    assert.doesNotMatch(await run('-q'), /denied/)
    chmodSync(path, 0o600)
    chmodSync(dirname(path), 0)
    assert.ok((await run()).startsWith(`etrn: warning: ${path}: permission denied; continuing without this file\n`))
    chmodSync(dirname(path), 0o700)
  })
})
