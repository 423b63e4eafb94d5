import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  chownSync,
  closeSync,
  constants,
  createWriteStream,
  lchownSync,
  mkdirSync,
  openSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { open } from 'node:fs/promises'
import { createServer } from 'node:net'
import { platform } from 'node:os'
import { dirname, join } from 'node:path'
import { PassThrough } from 'node:stream'
import { suite, test, type TestContext } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { describeFileError } from '../../src/command/file-errors.js'
import { openFile, readFirstLine, readInput, readStream, readText } from '../../src/command/read-file.js'
import { assertRefused, etrn, type Finished, spawnEtrn } from '../helpers/command.js'
import { BIN, fixture, fixturePath, makeFile, makeFolder } from '../helpers/files.js'
import { noLease, takeLease } from '../helpers/lease.js'
import { noOtherUser } from '../helpers/namespace.js'
import { NO_SIGNAL } from '../helpers/options.js'
import { BYE, etrnSteps, HELLO, scripted } from '../helpers/scripted-server.js'
import { noTerminal, runShell, TerminalRun } from '../helpers/shell.js'

const READER = { uid: process.getuid?.(), signal: NO_SIGNAL }
const OVERDUE = 'etrn: 127.0.0.1:9: --max-time limit reached while etrn read the names\n'

const CLIENT_CERT = `tls-cert = "${fixturePath('client.pem')}"\n`

/** The options that name a file, with what each of them needs */
const KEYS: readonly (readonly [key: string, others: string])[] = [
  ['names-from', ''],
  ['tls-ca', ''],
  ['tls-cert', ''],
  ['tls-cert', 'tls-key = "/dev/null"\n'],
  ['tls-key', CLIENT_CERT],
  ['password-file', 'user = "site"\n'],
]

/** Runs two profiles, one of which has a value that can't be used. The failure is that of its server alone, with 66. */
async function runBesideFailure(t: TestContext, key: string, value: string, others: string): Promise<Finished> {
  const server = await scripted(t, [...HELLO, ...etrnSteps('b.example', '250 OK'), ...BYE])
  const list = key === 'names-from' ? `["${value}"]` : `"${value}"`
  const names = key === 'names-from' ? '' : 'names = ["a.example"]\n'
  const toml = `helo = "gw.site.example"\n[servers.a]\nserver = "127.0.0.1:9"\n${names}${others}${key} = ${list}\n[servers.b]\nserver = "127.0.0.1:${server.port}"\nnames = ["b.example"]\n`
  const run = await etrn(['--config', makeFile(t, 'c.toml', toml), '--all'])
  await server.verify()
  assert.equal(run.status, 66)
  assert.match(run.stdout, /^b: b\.example: /m)
  return run
}

suite('read-file: files that cannot be read', { concurrency: true }, () => {
  const TOO_LONG = 'larger than the limit of LIMIT MiB'
  const SOURCES: readonly (readonly [file: (t: TestContext) => string, message: string])[] = [
    [() => '/nonexistent/names', 'no such file'],
    [() => '/', 'is a directory'],
    [() => '/etc/passwd/names', 'part of the path is not a directory'],
    [() => `/${'n'.repeat(300)}`, 'the file name is too long'],
    [() => '/proc/self/mem', 'input/output error'],
    [() => '/dev/zero', TOO_LONG],
    [
      (t) => {
        const link = join(makeFolder(t), 'link')
        symlinkSync('link', link)
        return link
      },
      'the symbolic links form a loop',
    ],
    [
      (t) => {
        const file = makeFile(t, 'large', '', 0o600)
        // No text is as long, and no disk has to hold it.
        truncateSync(file, 3 * 2 ** 30)
        return file
      },
      TOO_LONG,
    ],
    [
      (t) => {
        const path = join(makeFolder(t), 'socket')
        const server = createServer().listen(path)
        t.after(() => server.close())
        return path
      },
      'is a socket, or a device that does not exist',
    ],
  ]
  const OPTIONS: readonly (readonly [option: string, ...others: string[]])[] = [
    ['--names-from'],
    ['--tls-ca'],
    ['--tls-cert'],
    ['--password-file', '--user', 'site'],
  ]
  for (const [make, message] of SOURCES)
    for (const [option, ...others] of OPTIONS)
      test(`${option} reports 66: ${message}`, async (t) => {
        const file = make(t)
        const args = ['127.0.0.1:9', 'site.example', ...others, option, file]
        const limit = option.startsWith('--tls') ? '1' : '16'
        await assertRefused(args, `etrn: ${option} ${file}: ${message.replace('LIMIT MiB', `${limit} MiB`)}\n`, 66)
      })
  test('reports 66 for a folder that may not be searched', { skip: noOtherUser() }, async (t) => {
    const folder = makeFolder(t)
    mkdirSync(join(folder, 'locked'), { mode: 0 })
    const file = join(folder, 'locked/password')
    const run = await spawnEtrn(['127.0.0.1:9', '--user', 'u', '--password-file', file, 'a.example'], {
      through: ['unshare', '--user', '--map-user=1000', '--map-group=1000'],
    })
    const message = `etrn: --password-file ${file}: permission denied\n`
    assert.deepEqual([run.status, run.stderr], [66, message])
  })
  test('follows no link as the user for whom a namespace has no number', { skip: noOtherUser() }, async (t) => {
    const file = makeFile(t, 'names', 'a.example\n')
    const link = join(dirname(file), 'link')
    symlinkSync(file, link)
    const run = await spawnEtrn(['127.0.0.1:9', '--names-from', link], { through: ['unshare', '--user'] })
    assert.match(run.stderr, /^etrn: --names-from \S+: is not safe to use: .* belongs to neither root nor you/)
    assert.equal(run.status, 66)
  })
  for (const [key, others] of [
    ['names-from', ''],
    ['tls-ca', ''],
    ['tls-cert', ''],
    ['password-file', 'user = "site"\n'],
    ['password-command', 'user = "site"\n'],
  ] as const)
    test(`a NUL in ${key} is the failure of its server alone, with 66`, async (t) => {
      const run = await runBesideFailure(t, key, 'a\\u0000b', others)
      assert.match(run.stderr, /: a (?:file name|command) must not contain NUL/)
    })
  test('reports 66 for standard input that is a folder, and for one that is closed', async () => {
    const command = `${BIN} 127.0.0.1:9 --names-from -`
    // Node takes both for empty files.
    for (const input of ['</', '<&-']) {
      const run = await runShell(`${command} ${input}`)
      assert.deepEqual([run.status, /^etrn: .*\n$/.test(run.stderr)], [66, true])
    }
  })
})

suite('read-file: a lease of another program', { concurrency: true, skip: noLease() }, () => {
  for (const [key, others] of KEYS)
    test(`is a failure of its server alone, with 66, if it is kept: ${key} ${others}`, async (t) => {
      const file = makeFile(t, 'leased', '', 0o600)
      await takeLease(t, file, { keeps: true })
      const run = await runBesideFailure(t, key, file, others)
      assert.ok(
        run.stderr.includes(
          `--${key} ${file}: another program holds a lease on the file (fcntl) and did not release it within 2s`,
        ),
        run.stderr,
      )
    })
  test('is waited for', async (t) => {
    const file = makeFile(t, 'leased', 'text')
    await takeLease(t, file, { keeps: false })
    assert.equal(await readText('option', file, READER), 'text')
  })
  test('is waited for no longer than --max-time', async (t) => {
    const file = makeFile(t, 'leased', 'a.example')
    await takeLease(t, file, { keeps: true })
    const run = await etrn(['127.0.0.1:9', '--names-from', file, '--max-time', '1s'])
    assert.deepEqual([run.status, run.stderr], [75, OVERDUE])
  })
})

/** Opens a pipe to write to it; undefined if nobody reads it. */
function openWriter(fifo: string): number | undefined {
  try {
    return openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK)
  } catch {
    return undefined
  }
}

suite('read-file', { concurrency: true }, () => {
  test('--max-time ends the wait for a pipe that nobody writes to', async (t) => {
    const fifo = join(makeFolder(t), 'fifo')
    execFileSync('mkfifo', [fifo])
    const run = await etrn(['127.0.0.1:9', '--names-from', fifo, '--max-time', '1s'])
    assert.deepEqual([run.status, run.stderr], [75, OVERDUE])
  })
  test('--max-time ends the wait for standard input that never ends', async () => {
    const run = await etrn(['127.0.0.1:9', '--names-from', '-', '--max-time', '1s'], { input: null })
    assert.deepEqual([run.status, run.stderr], [75, OVERDUE])
  })
  test('readText reads a file, and a device that is empty', async (t) => {
    assert.equal(await readText('option', makeFile(t, 'file', 'sésame\n'), READER), 'sésame\n')
    assert.equal(await readText('option', '/dev/null', READER), '')
  })
  test('readText reads a file of 16 MiB, and refuses one octet more', async (t) => {
    const file = makeFile(t, 'file', 'a')
    truncateSync(file, 2 ** 24)
    assert.equal((await readText('option', file, READER)).length, 2 ** 24)
    truncateSync(file, 2 ** 24 + 1)
    await assert.rejects(readText('option', file, READER), { exitStatus: 66, option: 'option' })
  })
  for (const [key, others, text] of [
    ['tls-ca', '', fixture('ca.pem')],
    ['tls-cert', '', `${fixture('client.pem')}${fixture('client.key')}`],
    ['tls-key', CLIENT_CERT, fixture('client.key')],
  ] as const)
    test(`a ${key} of 1 MiB is used, and one octet more is a failure of its server alone, with 66`, async (t) => {
      const file = makeFile(t, 'file', text.padEnd(2 ** 20, '\n'), 0o600)
      const toml = `[servers.a]\nserver = "127.0.0.1:9"\n${others}${key} = "${file}"\n`
      assert.equal((await etrn(['--config', makeFile(t, 'c.toml', toml), 'a', 'a.example'])).status, 75)
      appendFileSync(file, '\n')
      const run = await runBesideFailure(t, key, file, others)
      assert.ok(run.stderr.includes(`--${key} ${file}: larger than the limit of 1 MiB`), run.stderr)
    })
  test('readText reads a pipe to its end', async (t) => {
    const fifo = join(makeFolder(t), 'fifo')
    execFileSync('mkfifo', [fifo])
    const text = readText('option', fifo, READER)
    const writer = createWriteStream(fifo)
    writer.write('a\n', () => writer.end('b\n'))
    assert.equal(await text, 'a\nb\n')
  })
  test('readFirstLine does not wait for the end of a pipe', async (t) => {
    const fifo = join(makeFolder(t), 'fifo')
    execFileSync('mkfifo', [fifo])
    const text = readFirstLine('option', fifo, READER)
    const writer = await open(fifo, 'w')
    t.after(async () => writer.close())
    await writer.write('ab\nc')
    assert.match((await text).toString(), /^ab\n/)
  })
  for (const [title, options, text] of [
    ['--password-file', ['--user', 'site'], 'secret\n'],
    ['--names-from', [], 'x.example\n'],
    ['--tls-ca', [], fixture('ca.pem')],
    ['--tls-cert', [], `${fixture('client.pem')}${fixture('client.key')}`],
    ['--tls-key', ['--tls-cert', fixturePath('client.pem')], fixture('client.key')],
  ] as const)
    test(`${title} warns of a pipe that its group can write to, even if it is gone before it is read`, async (t) => {
      const fifo = join(makeFolder(t), 'fifo')
      execFileSync('mkfifo', ['-m', '620', fifo])
      const run = etrn(['127.0.0.1:9', 'site.example', ...options, title, fifo])
      let writer = openWriter(fifo)
      while (writer === undefined) {
        await setImmediate()
        writer = openWriter(fifo)
      }
      rmSync(fifo)
      writeSync(writer, text)
      closeSync(writer)
      assert.match((await run).stderr, /^etrn: warning: the .* is not safe: group members can write to the file/m)
    })
  const makeOpenFifo = (t: TestContext): string => {
    const fifo = join(makeFolder(t), 'fifo')
    execFileSync('mkfifo', ['-m', '666', fifo])
    return fifo
  }
  const OPEN = 'other users can write to the file (chmod o-w FILE)'
  const makeForeignLink = (target: string) => (t: TestContext) => {
    const folder = makeFolder(t)
    symlinkSync(target, join(folder, 'link'))
    lchownSync(join(folder, 'link'), 1234, 1234)
    return join(folder, 'link')
  }
  const makeForeignDevice = (t: TestContext): string => {
    const device = join(makeFolder(t), 'zero')
    execFileSync('mknod', [device, 'c', '1', '5'])
    chownSync(device, 1234, 1234)
    return device
  }
  const FOREIGN = 'the file belongs to a user other than root (chown)'
  const isRoot = process.getuid?.() === 0
  for (const [title, make, reason, skip] of [
    ['a FIFO that others can write to', makeOpenFifo, OPEN, false],
    ['a device of another user', makeForeignDevice, FOREIGN, !isRoot && 'needs root'],
  ] as const)
    for (const [key, others] of KEYS)
      test(`${title} is a failure of its server alone, with 66: ${key} ${others}`, { skip }, async (t) => {
        const file = make(t)
        const run = await runBesideFailure(t, key, file, others)
        const message = `--${key} FILE: is a FIFO or a device, and is not safe to use: ${reason}`
        assert.ok(run.stderr.includes(message.replaceAll('FILE', file)), run.stderr)
        assert.match(run.stderr, /^hint: a: use a regular file, or a path that only .*root can change$/m)
      })
  const makeSecret = (t: TestContext): string => makeFile(t, 'secret', 'secret\n', 0o600)
  for (const [title, make] of [
    ['file', (t: TestContext) => makeForeignLink(makeSecret(t))(t)],
    ['device', makeForeignLink('/dev/zero')],
  ] as const)
    for (const [key, others] of KEYS)
      test(
        `a ${title} behind a link of another user, that is not that user's, is a failure of its server alone: ${key} ${others}`,
        {
          skip: isRoot ? false : 'needs root',
        },
        async (t) => {
          const file = make(t)
          const run = await runBesideFailure(t, key, file, others)
          const reason = `the symbolic link ${file} belongs to neither root nor the owner of the file`
          assert.ok(run.stderr.includes(`--${key} ${file}: is not safe to use: ${reason}`), run.stderr)
          assert.match(run.stderr, /^hint: a: use a path that only root can change$/m)
        },
      )
  test(
    'a password behind a link of another user, in a file of that user, is read with a warning',
    {
      skip: isRoot ? false : 'needs root',
    },
    async (t) => {
      const own = makeFile(t, 'own', 'secret\n', 0o600)
      chownSync(own, 1234, 1234)
      const file = makeForeignLink(own)(t)
      const run = await etrn(['127.0.0.1:9', 'a.example', '--user', 'site', '--password-file', file])
      assert.equal(run.status, 75)
      assert.match(run.stderr, /^etrn: warning: the password in \S+ is not safe: the file belongs to a user other /m)
    },
  )
  test('does not open a device that another user has put there', { skip: isRoot ? false : 'needs root' }, async (t) => {
    const fifo = join(makeFolder(t), 'fifo')
    execFileSync('mkfifo', [fifo])
    let isOpened = false
    const opening = open(fifo, 'w').then((writer) => {
      isOpened = true
      return writer
    })
    await assert.rejects(readText('option', makeForeignLink(fifo)(t), READER), { exitStatus: 66, option: 'option' })
    await setImmediate()
    assert.equal(isOpened, false)
    const reader = await open(fifo, constants.O_RDONLY | constants.O_NONBLOCK)
    await (await opening).close()
    await reader.close()
  })
  for (const [args, typed, shown] of [
    ['--config /dev/stdin a.example', 'server = "127.0.0.1:9"\r\x04', /:1: /],
    ['--user u --password-file /dev/stdin 127.0.0.1:9 a.example', 'sesame\r', /refused/],
  ] as const)
    test(
      `a terminal that belongs to another user, as with sudo, is read: ${args}`,
      {
        skip: isRoot ? noTerminal() : 'needs root',
      },
      async () => {
        const run = new TerminalRun(`chown 1234 "$(tty)" && echo ready && ${BIN} ${args}`)
        await run.waitFor('ready')
        run.type(typed)
        await run.end()
        assert.match(run.shown, shown)
        assert.doesNotMatch(run.shown, /not safe/)
      },
    )
  test('a pipe behind a link of the caller to standard input is read', async (t) => {
    const link = join(makeFolder(t), 'link')
    symlinkSync('/dev/stdin', link)
    const run = await runShell(`echo a.example | ${BIN} 127.0.0.1:9 --names-from ${link}`)
    assert.equal(run.status, 75)
    assert.match(run.stderr, /a\.example/)
    assert.doesNotMatch(run.stderr, /warning/)
  })
  test('no warning is printed for a pipe that a shell has opened', async () => {
    const run = await runShell(
      `exec bash -c '${BIN} 127.0.0.1:9 --user u --password-file <(echo secret) --names-from <(echo a.example)'`,
    )
    assert.equal(run.status, 75)
    assert.doesNotMatch(run.stderr, /warning/)
  })
  test('readText throws the reason of a signal that is aborted', async (t) => {
    const reason = new Error('over')
    await assert.rejects(
      readText('option', makeFile(t, 'file', 'text'), { ...READER, signal: AbortSignal.abort(reason) }),
      reason,
    )
  })
  test('openFile closes a pipe that its check refuses', async (t) => {
    const fifo = join(makeFolder(t), 'fifo')
    execFileSync('mkfifo', [fifo])
    const refusal = new Error('no')
    const refuse = (): never => {
      throw refusal
    }
    const refused = openFile(fifo, READER, () => undefined, refuse)
    await assert.rejects(refused, refusal)
    for (let writer = openWriter(fifo); writer !== undefined; writer = openWriter(fifo)) {
      closeSync(writer)
      await setImmediate()
    }
  })
  const isLinux = platform() === 'linux'
  test('openFile opens what it has judged, and nothing that takes its place', { skip: !isLinux }, async (t) => {
    const file = makeFile(t, 'file', 'judged')
    const replace = (): void => {
      rmSync(file)
      writeFileSync(file, 'another')
    }
    const stream = await openFile(file, READER, replace)
    assert.equal((await readStream(stream, NO_SIGNAL)).toString(), 'judged')
  })
  test('readStream throws the reason of the signal, and otherwise the error of the stream', async () => {
    const reason = new Error('over')
    await assert.rejects(readStream(new PassThrough(), AbortSignal.abort(reason)), reason)
    const broken = new PassThrough()
    broken.destroy(new Error('broken'))
    await assert.rejects(readStream(broken, NO_SIGNAL), /broken/)
  })
  test('readInput reports what opening the standard input throws', async () => {
    const open = (): never => {
      throw new Error('of an unknown type')
    }
    await assert.rejects(readInput('names-from', open, NO_SIGNAL), {
      exitStatus: 66,
      message: '--names-from -: of an unknown type',
    })
  })
  test('describeFileError puts the usual errors into words', () => {
    const describe = (code: string): string => describeFileError(Object.assign(new Error('a text'), { code }))
    assert.deepEqual(
      [describe('ENOENT'), describe('EACCES'), describe('EISDIR'), describe('ESTALE')],
      ['no such file', 'permission denied', 'is a directory', 'a text'],
    )
  })
})
