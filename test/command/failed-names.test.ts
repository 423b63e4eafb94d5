import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { failedToProblem } from '../../src/command/failed-names.js'
import { crowd, list, type Said } from '../helpers/concurrent-server.js'
import { etrn, type Finished, leap, LEAPING, spawnEtrn } from '../helpers/command.js'
import { makeFile, makeFolder } from '../helpers/files.js'
import { noOtherUser } from '../helpers/namespace.js'
import {
  BYE,
  close,
  type Conversation,
  etrnSteps,
  HELLO,
  loose,
  scripted,
  sessionWith,
  silence,
  type Step,
} from '../helpers/scripted-server.js'

const HELO = ['--helo', 'gw.site.example']
const OK = '250 OK'

/** Runs a request whose file of --failed-to has an older text. Returns the run and the file's new text. */
async function requestWith(
  t: TestContext,
  steps: readonly Step[],
  ...args: readonly string[]
): Promise<[run: Finished, text: string]> {
  const file = makeFile(t, 'later', 'older.example\n')
  const server = await scripted(t, sessionWith(...steps))
  const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, '--jobs', '1', '--failed-to', file, ...args])
  await server.verify()
  assert.deepEqual(readdirSync(dirname(file)), ['later'])
  return [run, readFileSync(file, 'utf8')]
}

suite('--failed-to: the names', { concurrency: true }, () => {
  test('end with one at which each session ends before any reply, so that a later run gets to the others', async (t) => {
    const file = makeFile(t, 'later', 'a.example\nb.example\nc.example\n')
    const lost = [...HELLO, 'C: ETRN a.example', close] as const
    const rest: Conversation = [
      ...HELLO,
      ...etrnSteps('b.example', OK),
      ...etrnSteps('c.example', OK),
      'C: ETRN a.example',
      close,
    ]
    const server = await scripted(t, lost, rest, lost)
    const args = [`127.0.0.1:${server.port}`, ...HELO, '--jobs', '1', '--names-from', file, '--failed-to', file]
    const texts = []
    for (let count = 0; count < 2; count++) {
      assert.equal((await etrn(args)).status, 75)
      texts.push(readFileSync(file, 'utf8'))
    }
    await server.verify()
    assert.deepEqual(texts, ['b.example\nc.example\na.example\n', 'a.example\n'])
  })
  test('are those of a server whose password was still read when the time was over', async (t) => {
    const file = makeFile(t, 'later', '')
    const password = ['--user', 'u', '--password-command', 'sleep 60', '--max-time', '1s']
    const run = await etrn(['127.0.0.1:9', 'a.example', 'b.example', ...HELO, ...password, '--failed-to', file])
    assert.deepEqual([run.status, readFileSync(file, 'utf8')], [75, 'a.example\nb.example\n'])
    const message = '--max-time limit reached while etrn read the password; a.example, b.example not requested'
    assert.equal(run.stderr, `etrn: 127.0.0.1:9: ${message}\n`)
  })
  test('are added to those in the file if the list of one of several servers could not be read', async (t) => {
    const file = makeFile(t, 'later', 'older.example\n')
    const none = join(dirname(file), 'none')
    const config = makeFile(
      t,
      'config.toml',
      `[servers.down]\nserver = "127.0.0.1:9"\nnames = ["a.example"]\n[servers.listless]\nserver = "127.0.0.1:9"\nnames = ["b.example"]\nnames-from = ["${none}"]\n`,
    )
    const run = await etrn(['--config', config, '--all', '--failed-to', file])
    assert.equal(run.status, 75)
    assert.match(
      run.stderr,
      /listless \(127\.0\.0\.1\): \S+: profile listless: --names-from \S+none: no such file; b\.example not requested$/m,
    )
    assert.equal(readFileSync(file, 'utf8'), 'a.example\nb.example\nolder.example\n')
  })
  test('include those of the servers behind one whose password was still read', async (t) => {
    const [file, names] = [makeFile(t, 'later', ''), makeFile(t, 'names', 'b.example\n')]
    const config = makeFile(
      t,
      'config.toml',
      `[servers.vault]\nserver = "127.0.0.1:9"\nuser = "u"\npassword-command = "kill $PPID; exec sleep 60"\nnames = ["a.example"]\n[servers.next]\nserver = "127.0.0.1:9"\nnames-from = ["${names}"]\n`,
    )
    const run = await spawnEtrn(['--config', config, '--all', '--failed-to', file])
    assert.deepEqual([run.signal, readFileSync(file, 'utf8')], ['SIGTERM', 'a.example\nb.example\n'])
  })
  test('begin with those that had no reply, if a session failed', async (t) => {
    const file = makeFile(t, 'later', '')
    const conversation: Conversation = [...HELLO, ...etrnSteps('a.example', '450 busy'), 'C: ETRN b.example', close]
    const server = await scripted(t, conversation)
    const names = ['a.example', 'b.example', 'c.example']
    const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, '--failed-to', file, ...names])
    assert.deepEqual([run.status, readFileSync(file, 'utf8')], [75, 'b.example\nc.example\na.example\n'])
  })
  test('end with one that a server refuses while another server is down, so that it holds up no others', async (t) => {
    const file = makeFile(t, 'later', '')
    const server = await scripted(t, sessionWith(...etrnSteps('a.example', '550 no')))
    const servers = `127.0.0.1:9,127.0.0.1:${server.port}`
    const run = await etrn([servers, ...HELO, '--failed-to', file, 'a.example', 'b.example', 'c.example'])
    assert.deepEqual([run.status, readFileSync(file, 'utf8')], [75, 'b.example\nc.example\na.example\n'])
  })
  test('begin with those that one of two servers has not sent', async (t) => {
    const file = makeFile(t, 'later', '')
    const first = await scripted(t, [...HELLO, 'C: ETRN a.example', close])
    const lost: Conversation = [...HELLO, 'C: ETRN b.example', close]
    const second = await loose(t, [...HELLO, ...etrnSteps('a.example', OK), 'C: ETRN b.example', close], lost, lost)
    const servers = `127.0.0.1:${first.port},127.0.0.1:${second.port}`
    await etrn([servers, ...HELO, '--failed-to', file, 'a.example', 'b.example'])
    assert.equal(readFileSync(file, 'utf8'), 'b.example\na.example\n')
  })
  test('have their turn at each of several servers after as many runs as there are names', async (t) => {
    const names = list(4)
    const replies: readonly Said[] = [OK, '450 busy', '550 no', '421 busy', close]
    const oneServer = fc.record({
      said: fc.record(Object.fromEntries(names.map((name) => [name, fc.constantFrom(...replies)]))),
      repliesPerSession: fc.integer({ min: 1, max: 4 }),
      surplus: fc.constantFrom<Said>(close, '421 too busy'),
    })
    const servers = fc.array(oneServer, { minLength: 1, maxLength: 3 })
    const property = fc.asyncProperty(servers, fc.constantFrom([], ['--keep-going']), async (rules, options) => {
      const file = makeFile(t, 'later', names.map((name) => `${name}\n`).join(''))
      const starting = rules.map(async ({ said, repliesPerSession, surplus }) => {
        const turns = new Set<string>()
        const etrn = (name: string, session: number): Said => {
          if ((server.asked[session - 1]?.length ?? 0) > repliesPerSession) return surplus
          turns.add(name)
          return said[name] ?? close
        }
        const { server, port } = await crowd(t, { etrn })
        return { turns, word: `127.0.0.1:${port}` }
      })
      const crowds = await Promise.all(starting)
      const word = crowds.map((one) => one.word).join(',')
      for (let count = 0; count < names.length; count++)
        await etrn([word, ...HELO, ...options, '--names-from', file, '--failed-to', file])
      for (const { turns } of crowds) assert.deepEqual([...turns].toSorted(), names)
    })
    await fc.assert(property, { numRuns: 60 })
  })
  test('begin with those for which the session had no room', async (t) => {
    const file = makeFile(t, 'later', '')
    const deferred = Array.from({ length: 7 }, (_, index) => `d${index}.example`)
    const server = await scripted(t, sessionWith(...deferred.flatMap((name) => etrnSteps(name, '450 busy'))))
    const names = [...deferred, 'b.example', 'a.example']
    const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, '--failed-to', file, ...names])
    const expected = ['b.example', 'a.example', ...deferred].map((name) => `${name}\n`).join('')
    assert.deepEqual([run.status, readFileSync(file, 'utf8')], [75, expected])
  })
  test('stay in the file if the names of this run could not be read in time', async (t) => {
    const file = makeFile(t, 'later', 'older.example\n')
    const fifo = join(dirname(file), 'fifo')
    execFileSync('mkfifo', [fifo])
    const run = await etrn(['127.0.0.1:9', '--names-from', fifo, '--max-time', '1s', '--failed-to', file])
    assert.deepEqual([run.status, readFileSync(file, 'utf8')], [75, 'older.example\n'])
  })
  test('are those that were deferred or not requested, each as it was requested', async (t) => {
    const names = ['a.example', 'b.example', '@c.example', '#d', 'e.example', '#ee']
    const steps = [
      ...etrnSteps('a.example', OK),
      ...etrnSteps('b.example', '450 busy'),
      ...etrnSteps('@c.example', '450 busy'),
      ...etrnSteps('#d', '459 no'),
      ...etrnSteps('e.example', '550 no'),
    ]
    const [run, text] = await requestWith(t, steps, ...names)
    assert.deepEqual([run.status, text], [75, '#ee\nb.example\n@c.example\n'])
  })
  test('are none if all were accepted, or will never be', async (t) => {
    const steps = [...etrnSteps('a.example', OK), ...etrnSteps('b.example', '459 no')]
    const [run, text] = await requestWith(t, steps, 'a.example', 'b.example')
    assert.deepEqual([run.status, text], [77, ''])
  })
  test('are all if no server could be reached, each once', async (t) => {
    const file = makeFile(t, 'later', '')
    const run = await etrn(['127.0.0.1:9,127.0.0.1:10', '--failed-to', file, 'a.example', 'b.example'])
    assert.deepEqual([run.status, readFileSync(file, 'utf8')], [75, 'a.example\nb.example\n'])
  })
  for (const [title, status, conversation] of [
    ['the server does not list ETRN', 69, ['S: 220 mx', 'C: EHLO gw.site.example', 'S: 250 mx', ...BYE]],
    ['the server rejects the connection', 69, ['S: 554 no', ...BYE]],
    ['the required TLS is missing', 76, [...HELLO, ...BYE]],
  ] as const)
    test(`are all if the session fails for good: ${title}`, async (t) => {
      const file = makeFile(t, 'later', 'older.example\n')
      const server = await scripted(t, conversation)
      const tls = status === 76 ? ['--tls', 'encrypt'] : []
      const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, ...tls, '--failed-to', file, 'a.example'])
      assert.deepEqual([run.status, readFileSync(file, 'utf8')], [status, 'a.example\n'])
    })
  test('have mail waiting when the time for --wait is over', async (t) => {
    const file = makeFile(t, 'later', '')
    const server = await loose(
      t,
      sessionWith(...etrnSteps('a.example', '251 none'), ...etrnSteps('b.example', '253 OK, 2 pending messages')),
      sessionWith(...etrnSteps('b.example', '253 OK, 1 pending messages')),
      sessionWith(...etrnSteps('b.example', '253 OK, 1 pending messages')),
    )
    const wait = ['--wait', '1s', '--interval', '1s']
    const run = await etrn([
      `127.0.0.1:${server.port}`,
      ...HELO,
      ...wait,
      '--failed-to',
      file,
      'a.example',
      'b.example',
    ])
    assert.deepEqual([run.status, readFileSync(file, 'utf8')], [75, 'b.example\n'])
  })
  test('are written when a signal ends the run', async (t) => {
    const file = makeFile(t, 'later', '')
    let interrupt = (): void => undefined
    const steps = [...HELLO, ...etrnSteps('a.example', OK), 'C: ETRN b.example', () => interrupt(), 'C: QUIT'] as const
    const server = await scripted(t, steps)
    const names = ['a.example', 'b.example', 'c.example']
    const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, '--failed-to', file, ...names], {
      during: (child) => (interrupt = () => void child.kill('SIGTERM')),
    })
    assert.deepEqual([run.signal, readFileSync(file, 'utf8')], ['SIGTERM', 'b.example\nc.example\n'])
  })
  test('are written when --max-time is over', async (t) => {
    const file = makeFile(t, 'later', '')
    const server = await loose(t, [...HELLO, ...etrnSteps('a.example', OK), 'C: ETRN b.example', silence])
    const names = ['a.example', 'b.example', 'c.example']
    const args = ['-v', '--max-time', '1s', '--failed-to', file, `127.0.0.1:${server.port}`, ...HELO]
    const run = await etrn([...args, ...names], { env: LEAPING, once: { said: 'C: ETRN b.example', act: leap } })
    assert.match(run.stderr, /--max-time/)
    assert.deepEqual([run.status, readFileSync(file, 'utf8')], [75, 'b.example\nc.example\n'])
  })
  test('are written, too, if a surplus reply shows that results may belong to other names', async (t) => {
    const steps = [...HELLO, ...etrnSteps('a.example', OK), 'C: QUIT', 'S: 450 busy', 'S: 221 bye'] as const
    const file = join(makeFolder(t), 'later')
    const server = await scripted(t, [...steps])
    const run = await etrn([...HELO, '--failed-to', file, `127.0.0.1:${server.port}`, 'a.example'])
    assert.deepEqual([run.status, readFileSync(file, 'utf8')], [76, 'a.example\n'])
  })
  test('are written, too, if a name got the reply to another command', async (t) => {
    const file = join(makeFolder(t), 'later')
    const steps = [...HELLO, ...etrnSteps('a.example', OK), ...etrnSteps('b.example', '221 bye'), ...BYE] as const
    const server = await scripted(t, [...steps])
    const names = ['a.example', 'b.example', 'c.example']
    const run = await etrn([...HELO, '--failed-to', file, `127.0.0.1:${server.port}`, ...names])
    assert.deepEqual([run.status, readFileSync(file, 'utf8')], [76, 'c.example\nb.example\n'])
  })
  test('are written, too, if a reply comes before the next command', async (t) => {
    const file = join(makeFolder(t), 'later')
    const steps = [
      ...HELLO,
      'C: ETRN a.example',
      Buffer.from('250 OK\r\n458 busy\r\n'),
      'C: QUIT',
      'S: 221 bye',
    ] as const
    const server = await scripted(t, [...steps])
    const names = ['a.example', 'b.example']
    const run = await etrn([...HELO, '--failed-to', file, `127.0.0.1:${server.port}`, ...names])
    assert.deepEqual([run.status, readFileSync(file, 'utf8')], [76, 'b.example\na.example\n'])
  })
  test('stand in JSON, too', async (t) => {
    const [run, text] = await requestWith(t, etrnSteps('a.example', '450 busy'), '--json', 'a.example')
    assert.match(run.stdout, /"outcome": "deferred"/)
    assert.equal(text, 'a.example\n')
  })
})

suite('--failed-to: the file', { concurrency: true }, () => {
  test('keeps its mode; a new one is readable for its owner alone', async (t) => {
    const file = makeFile(t, 'later', '')
    chmodSync(file, 0o640)
    const fresh = join(dirname(file), 'new')
    for (const path of [file, fresh]) await etrn(['127.0.0.1:9', '--failed-to', path, 'a.example'])
    assert.deepEqual(
      [file, fresh].map((path) => [statSync(path).mode & 0o777, readFileSync(path, 'utf8')]),
      [
        [0o640, 'a.example\n'],
        [0o600, 'a.example\n'],
      ],
    )
  })
  const needsRoot = { skip: process.getuid?.() === 0 ? false : 'needs root' }
  test('keeps its group, even in a folder that gives each file its own', needsRoot, async (t) => {
    const file = makeFile(t, 'later', '')
    chownSync(file, 0, 1234)
    chmodSync(file, 0o640)
    chownSync(dirname(file), 0, 4321)
    chmodSync(dirname(file), 0o2755)
    await etrn(['127.0.0.1:9', '--failed-to', file, 'a.example'])
    const { mode, gid } = statSync(file)
    assert.deepEqual([mode & 0o777, gid], [0o640, 1234])
  })
  test("does not keep the mode of another user's file", needsRoot, async (t) => {
    const file = makeFile(t, 'later', '')
    chmodSync(file, 0o666)
    chownSync(file, 1234, 1234)
    await etrn(['127.0.0.1:9', '--failed-to', file, 'a.example'])
    const { mode, uid } = statSync(file)
    assert.deepEqual([mode & 0o777, uid], [0o600, 0])
  })
  test('is not touched by --check', async (t) => {
    const file = join(makeFolder(t), 'later')
    await etrn(['127.0.0.1:9', '--check', '--failed-to', file, 'a.example'])
    assert.equal(existsSync(file), false)
  })
  test('is not touched if nothing can be sent', async (t) => {
    const file = makeFile(t, 'later', 'older.example\n')
    assert.equal((await etrn(['127.0.0.1:9', '--failed-to', file, 'a..b'])).status, 64)
    assert.equal(readFileSync(file, 'utf8'), 'older.example\n')
  })
  const refuses = (title: string, reason: string, make: (folder: string) => string, skip = {}): void =>
    void test(`${title}: refuses it before anything is sent`, skip, async (t) => {
      const folder = makeFolder(t)
      const file = make(folder)
      const server = await loose(t)
      const run = await spawnEtrn([`127.0.0.1:${server.port}`, '--failed-to', file, 'a.example'])
      assert.deepEqual(
        [run.status, run.stdout, run.stderr],
        [74, '', `etrn: --failed-to ${file}: ${reason.replaceAll('FOLDER', folder)}\n`],
      )
      assert.deepEqual(server.received, [])
    })
  refuses('a missing folder', 'no such directory: FOLDER/none', (folder) => `${folder}/none/later`)
  refuses('a folder', 'is a directory', (folder) => folder)
  refuses('a missing file with a slash behind it', 'is a directory', (folder) => `${folder}/later/`)
  refuses('a file in place of the folder', 'part of the path is not a directory', (folder) => {
    writeFileSync(`${folder}/file`, '')
    return `${folder}/file/later`
  })
  refuses('a link', 'is a symbolic link; name the file that the link points to', (folder) => {
    symlinkSync('/dev/null', `${folder}/later`)
    return `${folder}/later`
  })
  refuses('a FIFO', 'is not a regular file; only a regular file can be replaced as a whole', (folder) => {
    execFileSync('mkfifo', [`${folder}/later`])
    return `${folder}/later`
  })
  const OPEN = 'is not safe to write: other users can write to the directory FOLDER/open (chmod o-w FOLDER/open)'
  const makeOpen = (folder: string): string => {
    mkdirSync(`${folder}/open/inner`, { recursive: true })
    chmodSync(`${folder}/open`, 0o777)
    return folder
  }
  refuses('a folder that others can write to', OPEN, (folder) => `${makeOpen(folder)}/open/later`)
  refuses('a folder in one that others can write to', OPEN, (folder) => `${makeOpen(folder)}/open/inner/later`)
  refuses('a link to a folder in one that others can write to', OPEN, (folder) => {
    symlinkSync('open/inner', `${makeOpen(folder)}/link`)
    return `${folder}/link/later`
  })
  const refusesForeign = (title: string, subject: string, make: (folder: string) => string, remedy = 'chown'): void =>
    refuses(title, `is not safe to write: ${subject} belongs to a user other than root (${remedy})`, make, needsRoot)
  refusesForeign('a folder of another user', 'the directory FOLDER/theirs', (folder) => {
    mkdirSync(`${folder}/theirs`)
    chownSync(`${folder}/theirs`, 1234, 1234)
    return `${folder}/theirs/later`
  })
  refusesForeign(
    'a link of another user in a sticky folder',
    'the symbolic link FOLDER/link',
    (folder) => {
      chmodSync(folder, 0o1777)
      symlinkSync('/etc', `${folder}/link`)
      lchownSync(`${folder}/link`, 1234, 1234)
      return `${folder}/link/later`
    },
    'chown -h',
  )
  test('is refused before the run if another user owns it in a sticky folder', needsRoot, (t) => {
    const folder = makeFolder(t)
    chmodSync(folder, 0o1777)
    const file = join(folder, 'later')
    writeFileSync(file, '')
    chownSync(file, 1234, 1234)
    assert.match(
      failedToProblem(file, 1235) ?? '',
      /: belongs to another user, and in a sticky directory only its owner can replace it$/,
    )
    for (const uid of [0, 1234]) assert.equal(failedToProblem(file, uid), undefined)
  })
  test('is refused before the run if it is a mount point', { skip: noOtherUser() }, async (t) => {
    const file = makeFile(t, 'a later one', '')
    const through = ['unshare', '--map-root-user', '--mount', 'sh', '-c', 'mount --bind "$0" "$0" && exec "$@"', file]
    const run = await spawnEtrn(['127.0.0.1:9', 'a.example', '--failed-to', file], { through })
    const reason = 'is a mount point; mount the directory of the file in its place'
    assert.deepEqual([run.status, run.stderr], [74, `etrn: --failed-to ${file}: ${reason}\n`])
  })
  for (const [title, mode] of [
    ['that is sticky', 0o1777],
    ['that a group can write to', 0o2775],
  ] as const)
    test(`can be in a folder ${title}`, async (t) => {
      const folder = makeFolder(t)
      chmodSync(folder, mode)
      await etrn(['127.0.0.1:9', '--failed-to', join(folder, 'later'), 'a.example'])
      assert.equal(readFileSync(join(folder, 'later'), 'utf8'), 'a.example\n')
    })
  test('is not written if others can write to its folder since the run began', async (t) => {
    const file = join(makeFolder(t), 'later')
    const open = (): void => chmodSync(dirname(file), 0o777)
    const server = await scripted(t, [...HELLO, 'C: ETRN a.example', open, 'S: 450 busy', ...BYE])
    const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, '--failed-to', file, 'a.example'])
    assert.equal(run.status, 75)
    assert.match(
      run.stderr,
      /^etrn: --failed-to \S+later: is not safe to write: other users can write to the directory /m,
    )
    assert.equal(existsSync(file), false)
  })
  test('refuses -', async () => {
    const run = await etrn(['127.0.0.1:9', '--failed-to', '-', 'a.example'])
    assert.deepEqual([run.status, run.stdout], [64, ''])
    assert.match(
      run.stderr,
      /^etrn: --failed-to "-" must be a file, because the results go to standard output; write, for example, /,
    )
  })
  test('that cannot be written at the end is reported, even under -qq', async (t) => {
    const file = join(makeFolder(t), 'later')
    const server = await scripted(t, [...HELLO, 'C: ETRN a.example', () => mkdirSync(file), `S: ${OK}`, ...BYE])
    const run = await etrn([`127.0.0.1:${server.port}`, ...HELO, '-qq', '--failed-to', file, 'a.example'])
    assert.deepEqual([run.status, run.stdout], [74, ''])
    assert.match(run.stderr, /^etrn: --failed-to \S+later: .*\n$/)
  })
})

suite('--names-from with the file of --failed-to', { concurrency: true }, () => {
  test('requests in each run what is left of the run before, until nothing is left', async (t) => {
    const file = makeFile(t, 'names', '# ours\nb.example\n@a.example\n#queue\n')
    const conversations: Conversation[] = [
      sessionWith(
        ...etrnSteps('b.example', OK),
        ...etrnSteps('@a.example', '450 busy'),
        ...etrnSteps('#queue', '450 busy'),
      ),
      sessionWith(...etrnSteps('@a.example', '450 busy'), ...etrnSteps('#queue', OK)),
      sessionWith(...etrnSteps('@a.example', OK)),
    ]
    const server = await scripted(t, ...conversations)
    const request = async () => etrn([`127.0.0.1:${server.port}`, ...HELO, '--names-from', file, '--failed-to', file])
    const left: string[] = []
    const statuses: (number | null)[] = []
    for (let round = 0; round < 3; round++) {
      statuses.push((await request()).status)
      left.push(readFileSync(file, 'utf8'))
    }
    await server.verify()
    assert.deepEqual(
      [statuses, left],
      [
        [75, 75, 0],
        ['@a.example\n#queue\n', '@a.example\n', ''],
      ],
    )
    assert.deepEqual(await request(), { status: 0, signal: null, stdout: '', stderr: '' })
    assert.equal(readFileSync(file, 'utf8'), '')
  })
  test('an empty file means that nothing is requested, also with --mx, --json and --wait-local', async (t) => {
    const file = makeFile(t, 'names', '')
    const files = ['--names-from', file, '--failed-to', file]
    for (const args of [['--mx', 'site.example'], ['--wait-local', '1h', '127.0.0.1:9'], ['127.0.0.1:9,127.0.0.1:10']])
      assert.deepEqual(
        await etrn([...files, ...args]),
        { status: 0, signal: null, stdout: '', stderr: '' },
        args.join(),
      )
    const { status, stdout } = await etrn([...files, '--json', '127.0.0.1:9'])
    assert.deepEqual(
      [status, JSON.parse(stdout)],
      [0, { version: 1, exitStatus: 0, error: null, excluded: [], servers: [] }],
    )
  })
  test('an empty file adds nothing to other names', async (t) => {
    const file = makeFile(t, 'names', '\n')
    const server = await scripted(t, sessionWith(...etrnSteps('a.example', OK)))
    const args = [`127.0.0.1:${server.port}`, ...HELO, 'a.example', '--names-from', file, '--failed-to', file]
    assert.equal((await etrn(args)).status, 0)
  })
  test('an empty file is an error if --failed-to names another file, and so is a missing one', async (t) => {
    const file = makeFile(t, 'names', '')
    const other = makeFile(t, 'other', 'older.example\n')
    assert.equal((await etrn(['127.0.0.1:9', '--names-from', file, '--failed-to', other])).status, 66)
    const missing = `${file}.none`
    assert.equal((await etrn(['127.0.0.1:9', '--names-from', missing, '--failed-to', missing])).status, 66)
    assert.equal(readFileSync(other, 'utf8'), 'older.example\n')
  })
})
