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
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { parseArguments } from '../../src/command/arguments.js'
import { type DueFailures, recordFailures, RUN } from '../../src/command/failure-state.js'
import { spawnEtrn } from '../helpers/command.js'
import { makeFolder } from '../helpers/files.js'
import { noOtherUser } from '../helpers/namespace.js'

const HOUR_MS = 3_600_000
const START = Date.parse('2026-11-23T00:00:00Z')
const UID = process.getuid?.() || 1000
const SERVER = 'mail.isp.example'

/** The state of one command line, in a home directory of its own; the hours are the clock's. */
class State {
  readonly home: string
  readonly #argv: readonly string[]

  constructor(t: TestContext, argv: readonly string[] = [SERVER, 'site.example'], home = makeFolder(t)) {
    this.home = home
    this.#argv = argv
  }

  get folder(): string {
    return join(this.home, '.local/state/etrn')
  }

  get file(): string {
    const [name = assert.fail('no state'), ...others] = readdirSync(this.folder)
    assert.deepEqual(others, [])
    return join(this.folder, name)
  }

  async record(hours: number, targets: readonly string[] = [SERVER], environment = {}): Promise<DueFailures> {
    const line = await parseArguments(this.#argv)
    const now = (): number => START + hours * HOUR_MS
    const places = { environment: { HOME: this.home, ...environment }, uid: UID }
    return recordFailures(targets, { line, reportAfterMs: 4 * HOUR_MS, now, ...places })
  }

  /** Returns true if a failure at this time is reported. */
  async isDue(hours: number): Promise<boolean> {
    return (await this.record(hours)).targets.has(SERVER)
  }

  /** Returns the hours at which a failure is reported. */
  async dueHours(...hours: readonly number[]): Promise<number[]> {
    const due: number[] = []
    for (const hour of hours) if (await this.isDue(hour)) due.push(hour)
    return due
  }
}

const line = (runs: number, time: string, server = `${SERVER}: `): string =>
  `${server}temporary failure in ${runs} runs since ${time}`

suite('recordFailures: when a failure is due', { concurrency: true }, () => {
  test('after 4 hours, and once in each further 4 hours since the first failure', async (t) =>
    assert.deepEqual(await new State(t).dueHours(0, 1, 3.99, 4.1, 5, 7.9, 8, 11, 17, 19, 20.5), [4.1, 8, 17, 20.5]))
  test('tells the time of the first failure and the number of runs', async (t) => {
    const state = new State(t)
    await state.record(0)
    await state.record(2)
    assert.deepEqual((await state.record(4.0001)).lines, [line(3, '2026-11-23T00:00:00Z')])
  })
  test('counts from the next failure after a success', async (t) => {
    const state = new State(t)
    await state.record(0)
    assert.deepEqual(await state.record(3, []), { targets: new Set(), lines: [] })
    assert.deepEqual(readdirSync(state.folder), [])
    assert.deepEqual(await state.dueHours(3.1, 4.5, 7.2), [7.2])
  })
  test('knows each target, and forgets one that did not fail', async (t) => {
    const state = new State(t)
    await state.record(0, ['a', 'b'])
    await state.record(1, ['b'])
    const due = await state.record(4, ['a', 'b'])
    assert.deepEqual([[...due.targets], due.lines], [['b'], [line(3, '2026-11-23T00:00:00Z', 'b: ')]])
  })
  test('a failure of the whole run forgets no target', async (t) => {
    const state = new State(t)
    await state.record(0)
    await state.record(1, [RUN])
    assert.equal(await state.isDue(4), true)
    const run = new State(t)
    await run.record(0, [RUN])
    assert.deepEqual((await run.record(5, [RUN])).lines, [line(2, '2026-11-23T00:00:00Z', '')])
  })
})

suite('recordFailures: a clock that jumps', { concurrency: true }, () => {
  test('back: the failure is reported 4 hours later at the latest', async (t) =>
    assert.deepEqual(await new State(t).dueHours(100, 101, 0, 3, 4), [4]))
  test('back after a report: the next one comes 4 hours later at the latest', async (t) =>
    assert.deepEqual(await new State(t).dueHours(100, 104, 2, 5.9, 6), [104, 6]))
  test('ahead and back again: one early report, and no silence for longer than 4 hours', async (t) =>
    assert.deepEqual(await new State(t).dueHours(0, 1, 90_000, 2, 3, 4, 5, 8), [90_000, 4, 8]))
})

suite('recordFailures: the file', { concurrency: true }, () => {
  test('is readable for its owner alone, and so is a folder that is new', async (t) => {
    const state = new State(t)
    await state.record(0)
    const modes = [state.file, state.folder, join(state.home, '.local')].map((path) => statSync(path).mode & 0o777)
    assert.deepEqual(modes, [0o600, 0o700, 0o700])
  })
  test('is below XDG_STATE_HOME, unless that is relative', async (t) => {
    const state = new State(t)
    await state.record(0, [SERVER], { XDG_STATE_HOME: join(state.home, 'state') })
    assert.equal(readdirSync(join(state.home, 'state/etrn')).length, 1)
    await state.record(0, [SERVER], { XDG_STATE_HOME: 'state' })
    assert.ok(existsSync(state.file))
  })
  test('belongs to servers, names and the way to them, not to the patience of a run', async (t) => {
    const { home } = new State(t)
    const names = async (...argv: string[]): Promise<number> => {
      const state = new State(t, argv, home)
      await state.record(0)
      return readdirSync(state.folder).length
    }
    assert.equal(await names(SERVER, 'a.example'), 1)
    assert.equal(await names('--report-after', '1h', '-v', '--timeout', '5s', '--retry-for=1m', SERVER, 'a.example'), 1)
    assert.equal(await names(SERVER, 'b.example'), 2)
    assert.equal(await names('--interface', 'ppp0', SERVER, 'b.example'), 3)
    assert.equal(await names('-p', '2525', SERVER, 'b.example'), 4)
    assert.equal(await names('--mx', 'b.example'), 5)
    assert.equal(await names('--names-from', 'names', SERVER), 6)
    assert.equal(await names('--names-from', join(process.cwd(), 'names'), SERVER), 6)
    assert.equal(await names('--all'), 7)
    assert.match(readdirSync(new State(t, [], home).folder).join(), /^all-[0-9a-f]{8}\.json,b\.example-/)
  })
  test('stays inside its folder, whatever the server is called', async (t) => {
    const state = new State(t, ['../../x', 'a.example'])
    await state.record(0)
    assert.match(state.file, /\/etrn\/\.\.-\.\.-x-[0-9a-f]{8}\.json$/)
  })
})

/** Prepares a state of 3 hours, spoils it, and returns what is due then and an hour later. */
async function spoil(t: TestContext, change: (state: State) => void): Promise<[State, DueFailures, DueFailures]> {
  const state = new State(t)
  await state.record(0)
  change(state)
  return [state, await state.record(1), await state.record(2)]
}

suite('recordFailures: a state that is not usable', { concurrency: true }, () => {
  const REASON = 'the failure is reported at once, because the --report-after state is not usable: '
  const damages: Readonly<Record<string, [spoil: (file: string) => void, reason: string]>> = {
    garbage: [(file) => writeFileSync(file, '\0\xff'), 'the file is not an etrn state file'],
    nothing: [(file) => writeFileSync(file, ''), 'the file is not an etrn state file'],
    'half of it': [
      (file) => writeFileSync(file, readFileSync(file, 'utf8').slice(0, 80)),
      'the file is not an etrn state file',
    ],
    'the version of later': [
      (file) => writeFileSync(file, readFileSync(file, 'utf8').replace('"version": 1', '"version": 2')),
      'the file is not an etrn state file',
    ],
    'no time': [
      (file) => writeFileSync(file, readFileSync(file, 'utf8').replace(/2026\S+Z/, 'soon')),
      'the file is not an etrn state file',
    ],
    null: [(file) => writeFileSync(file, 'null'), 'the file is not an etrn state file'],
    'too much': [(file) => writeFileSync(file, ' '.repeat(2 ** 21)), 'the file is not an etrn state file'],
    'a FIFO': [
      (file) => {
        rmSync(file)
        execFileSync('mkfifo', [file])
      },
      'is not a regular file',
    ],
    'a link': [
      (file) => {
        const elsewhere = `${dirname(file)}/../elsewhere`
        writeFileSync(elsewhere, readFileSync(file))
        rmSync(file)
        symlinkSync(elsewhere, file)
      },
      'is a symbolic link',
    ],
    'a file that others can write to': [(file) => chmodSync(file, 0o666), 'other users can write to the file'],
  }
  for (const [title, [damage, reason]] of Object.entries(damages))
    test(`${title}: reports the failure at once with the reason, and starts anew`, async (t) => {
      const [state, due, later] = await spoil(t, ({ file }) => damage(file))
      assert.ok(due.targets.has(SERVER))
      assert.equal(due.lines.length, 1)
      assert.ok(due.lines[0]?.startsWith(`${REASON}${state.file}: ${reason}`), due.lines[0])
      assert.deepEqual(later, { targets: new Set(), lines: [] })
      assert.deepEqual(await state.dueHours(4.9, 5), [5])
    })
  const reportsAlways = (
    title: string,
    reason: RegExp,
    damage: (state: State) => void,
    skip: string | false = false,
  ): void =>
    void test(`${title}: reports every failure with the reason`, { skip }, async (t) => {
      const [, ...dues] = await spoil(t, damage)
      for (const { targets, lines } of dues) {
        assert.ok(targets.has(SERVER))
        assert.match(lines.at(-1) ?? '', reason)
      }
    })
  reportsAlways('a directory in its place', /\.json: is a directory$|is not a regular file$/, ({ file }) => {
    rmSync(file)
    mkdirSync(file)
  })
  reportsAlways(
    'a folder that others can write to',
    /other users can write to the directory \S+ \(chmod o-w /,
    (state) => chmodSync(state.folder, 0o777),
  )
  reportsAlways('a file in place of the folder', /not a directory|EEXIST/, ({ folder }) => {
    rmSync(folder, { recursive: true })
    writeFileSync(folder, '')
  })
  reportsAlways('a link in place of the folder', /etrn is not a directory$/, ({ folder, home }) => {
    rmSync(folder, { recursive: true })
    mkdirSync(join(home, 'other'))
    symlinkSync(join(home, 'other'), folder)
  })
  const needsRoot = process.getuid?.() === 0 ? false : 'needs root'
  reportsAlways(
    'a folder of another user',
    /the directory \S+ belongs to neither root nor you/,
    ({ folder }) => chownSync(folder, 12_345, 12_345),
    needsRoot,
  )
  for (const folder of ['.local/state', '.local', ''])
    reportsAlways(
      `a folder above that others can write to (${folder || 'the home'})`,
      /\.json: other users can write to the directory (\S+) \(chmod o-w \1\)$/,
      ({ home }) => chmodSync(join(home, folder), 0o777),
    )
  for (const mode of [0o755, 0o1777])
    reportsAlways(
      `a folder above of another user, mode ${mode.toString(8)}`,
      /\.json: the directory \S+\/\.local belongs to neither root nor you \(chown\)$/,
      ({ home }) => {
        chownSync(join(home, '.local'), 12_345, 12_345)
        chmodSync(join(home, '.local'), mode)
      },
      needsRoot,
    )
  reportsAlways(
    'a link of another user above the folder',
    /\.json: the symbolic link \S+\/\.local belongs to neither root nor you \(chown -h\)$/,
    ({ home }) => {
      renameSync(join(home, '.local'), join(home, 'other'))
      symlinkSync('other', join(home, '.local'))
      lchownSync(join(home, '.local'), 12_345, 12_345)
    },
    needsRoot,
  )
  test('creates nothing behind a link of another user', { skip: needsRoot }, async (t) => {
    const state = new State(t)
    mkdirSync(join(state.home, 'other'))
    symlinkSync('other', join(state.home, '.local'))
    lchownSync(join(state.home, '.local'), 12_345, 12_345)
    assert.ok(await state.isDue(0))
    assert.deepEqual(readdirSync(join(state.home, 'other')), [])
  })
  test('a success removes nothing behind a link of another user', { skip: needsRoot }, async (t) => {
    const state = new State(t)
    await state.record(0)
    const { file } = state
    const moved = file.replace('/.local/', '/other/')
    renameSync(join(state.home, '.local'), join(state.home, 'other'))
    symlinkSync('other', join(state.home, '.local'))
    lchownSync(join(state.home, '.local'), 12_345, 12_345)
    await state.record(1, [])
    assert.ok(existsSync(moved))
  })
  test('a folder above is safe if it is sticky, or if its group can write to it, or behind an own link', async (t) => {
    for (const change of [
      ({ home }: State) => chmodSync(home, 0o1777),
      ({ home }: State) => chmodSync(home, 0o775),
      ({ home }: State) => {
        mkdirSync(join(home, 'other'))
        symlinkSync('other', join(home, '.local'))
      },
    ]) {
      const state = new State(t)
      change(state)
      assert.deepEqual(await state.dueHours(0, 1, 4), [4])
    }
  })
  const BELOW_OPEN = 'mount -t tmpfs -o mode=777 none /var/lib && exec "$@"'
  test('root reports a failure at once if others can write to /var/lib', { skip: noOtherUser() }, async () => {
    const through = ['unshare', '--map-root-user', '--mount', 'sh', '-c', BELOW_OPEN, 'sh']
    const run = await spawnEtrn(['--report-after', '4h', '127.0.0.1:9', 'site.example'], { through })
    assert.equal(run.status, 75)
    const reason = /json: other users can write to the directory \/var\/lib \(chmod o-w \/var\/lib\)$/m
    assert.match(run.stderr, reason)
    assert.match(run.stderr, /connection refused/)
  })
  test('success is silent, whatever stands in the place of the state', async (t) => {
    const state = new State(t)
    mkdirSync(state.folder, { recursive: true })
    assert.deepEqual(await state.record(0, []), { targets: new Set(), lines: [] })
    await state.record(0)
    const { file } = state
    rmSync(file)
    mkdirSync(file)
    assert.deepEqual(await state.record(0, []), { targets: new Set(), lines: [] })
  })
  test('a success creates no folder', async (t) => {
    const state = new State(t)
    await state.record(0, [])
    assert.deepEqual(readdirSync(state.home), [])
  })
})
