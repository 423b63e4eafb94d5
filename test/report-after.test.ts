import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { createInterface } from 'node:readline'
import { suite, test, type TestContext } from 'node:test'
import { etrn, type Finished } from './helpers/command.js'
import { makeFile, makeFolder } from './helpers/files.js'

// --report-after in weeks of cron, with a clock of the test's own.

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
/** A user other than root, to whom the files of the test belong, or root's are safe */
const USER = { uid: process.getuid?.() || 1000 }
const START = Date.parse('2026-11-23T00:00:00Z')

/** A provider that replies to each ETRN as the test says, or is down. */
class Provider {
  port = 0
  replyTo: (name: string) => string = () => '250 OK'
  #server: Server | undefined

  constructor(t: TestContext) {
    t.after(() => this.#server?.close())
  }

  async setUp(isUp: boolean): Promise<void> {
    if (isUp === (this.#server !== undefined)) return
    if (!isUp) {
      const closed = this.#server && once(this.#server.close(), 'close')
      this.#server = undefined
      await closed
      return
    }
    this.#server = createServer((socket) => {
      socket.on('error', () => undefined)
      socket.write('220 mx.example ESMTP\r\n')
      const lines = createInterface(socket).on('error', () => undefined)
      lines.on('line', (line) => {
        const [verb = '', name = ''] = line.split(' ')
        if (verb === 'QUIT') socket.end('221 bye\r\n')
        else socket.write(verb === 'EHLO' ? '250-mx.example\r\n250 ETRN\r\n' : `${this.replyTo(name)}\r\n`)
      })
    }).listen(this.port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.port = (this.#server.address() as AddressInfo).port
  }
}

/** A user with cron: a home directory, and a clock. */
class User {
  now = START
  readonly home: string
  readonly #args: readonly string[]

  constructor(t: TestContext, ...args: readonly string[]) {
    this.home = makeFolder(t)
    this.#args = ['--helo', 'gw.site.example', '--report-after', '4h', ...args]
  }

  async run(...words: readonly string[]): Promise<Finished> {
    return etrn([...this.#args, ...words], { env: { HOME: this.home }, user: USER, now: () => this.now })
  }

  get stateFiles(): string[] {
    const folder = `${this.home}/.local/state/etrn`
    return readdirSync(this.home).length === 0 ? [] : readdirSync(folder)
  }
}

const isSilent = ({ stdout, stderr }: Finished): boolean => stdout + stderr === ''

/** Returns a time of the week: `Tue 01:15`. */
function dayAndTime(time: number): string {
  const [day = '', , , , clock = ''] = new Date(time).toUTCString().split(' ')
  return `${day.slice(0, 3)} ${clock.slice(0, 5)}`
}

/** The provider's week: from each time on, what it does. */
const WEEK = {
  'Mon 00:00': 'ready',
  // Shorter than 4 hours
  'Mon 10:05': 'down',
  'Mon 14:05': 'ready',
  'Tue 01:05': 'down',
  'Tue 14:20': 'ready',
  'Wed 09:00': '459 no',
  'Wed 09:45': 'ready',
  // A success between two failures
  'Thu 06:00': 'down',
  'Thu 09:45': 'ready',
  'Thu 10:00': '450 busy',
  'Thu 13:45': 'ready',
  // Different failures, one after another
  'Fri 20:00': 'down',
  'Fri 22:00': '450 busy',
  'Sat 01:00': '459 no',
  'Sat 01:15': '450 busy',
  'Sat 05:30': 'ready',
} as const satisfies Readonly<Record<string, string>>

suite('--report-after', { concurrency: true }, () => {
  test('mails in a week of cron what has lasted 4 hours, and permanent failures at once', async (t) => {
    const provider = new Provider(t)
    const user = new User(t)
    await provider.setUp(true)
    const mails: string[] = []
    const statuses = new Set<number | null>()
    let doing: string = WEEK['Mon 00:00']
    for (; user.now < START + 7 * 24 * HOUR_MS; user.now += 5 * MINUTE_MS) {
      const change = Object.entries(WEEK).find(([time]) => time === dayAndTime(user.now))?.[1]
      if (change !== undefined) {
        doing = change
        await provider.setUp(doing !== 'down')
        provider.replyTo = () => (/^\d/.test(doing) ? doing : '250 OK')
      }
      if (user.now % (15 * MINUTE_MS) !== 0) continue
      const run = await user.run(`127.0.0.1:${provider.port}`, 'site.example')
      assert.equal(run.status, { ready: 0, down: 75, '450 busy': 75, '459 no': 77 }[doing])
      statuses.add(run.status)
      if (!isSilent(run)) mails.push(`${dayAndTime(user.now)} ${run.stdout}${run.stderr.replace(/^hint: .*\n/gm, '')}`)
    }
    const server = `127.0.0.1:${provider.port}`
    const refused = `etrn: ${server}: connection refused (127.0.0.1 port ${provider.port}); site.example not requested`
    const deferred = `${server}: site.example: deferred (450 busy)`
    const since = (runs: number, time: string): string =>
      `etrn: ${server}: temporary failure in ${runs} runs since ${time}`
    assert.deepEqual(mails, [
      `Tue 05:15 ${refused}\n${since(17, '2026-11-24T01:15:00Z')}\n`,
      `Tue 09:15 ${refused}\n${since(33, '2026-11-24T01:15:00Z')}\n`,
      `Tue 13:15 ${refused}\n${since(49, '2026-11-24T01:15:00Z')}\n`,
      ...['09:00', '09:15', '09:30'].map((time) => `Wed ${time} ${server}: site.example: refused (459 no)\n`),
      `Sat 00:00 ${deferred}\n${since(17, '2026-11-27T20:00:00Z')}\n`,
      `Sat 01:00 ${server}: site.example: refused (459 no)\n`,
      `Sat 05:15 ${deferred}\n${since(17, '2026-11-28T01:15:00Z')}\n`,
    ])
    assert.deepEqual([...statuses].sort(), [0, 75, 77])
    assert.deepEqual(user.stateFiles, [])
  })

  test('judges each server on its own, and prints a permanent failure beside a silent one', async (t) => {
    const [first, second] = [new Provider(t), new Provider(t)]
    const user = new User(t)
    for (const provider of [first, second]) await provider.setUp(true)
    const run = async (hours: number): Promise<Finished> => {
      user.now = START + hours * HOUR_MS
      return user.run(`127.0.0.1:${first.port},127.0.0.1:${second.port}`, 'a.example', 'b.example')
    }
    const [one, two] = [`127.0.0.1:${first.port}`, `127.0.0.1:${second.port}`]
    first.replyTo = () => '450 busy'
    assert.ok(isSilent(await run(0)))
    second.replyTo = (name) => (name === 'a.example' ? '450 busy' : '459 no')
    const permanent = await run(3)
    assert.deepEqual([permanent.status, permanent.stdout], [75, `${two}: b.example: refused (459 no)\n`])
    assert.match(permanent.stderr, /^hint: [^\n]*\n$/)
    const due = await run(5)
    assert.equal(
      due.stdout,
      [
        `${two}: b.example: refused (459 no)`,
        ...['a', 'b'].map((name) => `${one}: ${name}.example: deferred (450 busy)`),
        '',
      ].join('\n'),
    )
    assert.deepEqual(
      due.stderr.split('\n').filter((line) => line.startsWith('etrn: ')),
      [`etrn: ${one}: temporary failure in 3 runs since 2026-11-23T00:00:00Z`],
    )
    first.replyTo = () => '250 OK'
    second.replyTo = () => '450 busy'
    assert.match(
      (await run(7)).stderr,
      new RegExp(`^etrn: ${two}: temporary failure in 3 runs since 2026-11-23T03:00:00Z$`, 'm'),
    )
    second.replyTo = () => '250 OK'
    assert.ok(isSilent(await run(8)))
    assert.deepEqual(user.stateFiles, [])
  })
  test('-q and -qq make no difference, and -v adds the dialogue', async (t) => {
    for (const options of [[], ['-q'], ['-qq'], ['-v']]) {
      const user = new User(t, ...options)
      const run = async () => user.run('127.0.0.1:9', 'a.example')
      const first = await run()
      user.now += 4 * HOUR_MS
      const second = await run()
      const shown = ({ stderr }: Finished) => stderr.split('\n').filter((line) => line.startsWith('etrn: ')).length
      assert.deepEqual([first.status, shown(first), shown(second)], [75, 0, 2], options.join())
      assert.equal(first.stderr.includes('connecting to 127.0.0.1 port 9'), options[0] === '-v')
    }
  })
  test('warns about nothing in a run that succeeds', async (t) => {
    const provider = new Provider(t)
    await provider.setUp(true)
    const names = makeFile(t, 'names', 'a.example\n', 0o666)
    assert.deepEqual(await new User(t, '--names-from', names).run(`127.0.0.1:${provider.port}`), {
      ...{ status: 0, signal: null, stdout: '', stderr: '' },
    })
  })
  test('reports a usage error and a bad line of a names file at once', async (t) => {
    const user = new User(t)
    assert.match((await user.run('127.0.0.1:9', 'a..b')).stderr, /^etrn: name "a\.\.b" has an empty label/)
    const run = await user.run('127.0.0.1:9', '--names-from', makeFile(t, 'names', 'a..b\na.example\n'))
    assert.match(run.stdout, /^a\.\.b: invalid, not sent \(line 1 .*\)\n$/)
    assert.deepEqual([run.status, run.stderr], [75, ''])
  })
  test('a run that a signal ends is no try', async (t) => {
    const provider = new Provider(t)
    await provider.setUp(true)
    const user = new User(t)
    provider.replyTo = () => '450 busy'
    await user.run(`127.0.0.1:${provider.port}`, 'a.example')
    const args = ['--report-after', '4h', '--helo', 'gw.site.example', `127.0.0.1:${provider.port}`, 'a.example']
    const env = { HOME: user.home }
    let interrupt = (): void => undefined
    provider.replyTo = () => {
      interrupt()
      return '450 busy'
    }
    const run = await etrn(args, {
      ...{ env, user: USER, now: () => START + 9 * HOUR_MS },
      during: (child) => (interrupt = () => void child.kill('SIGTERM')),
    })
    assert.equal(run.signal, 'SIGTERM')
    user.now += 4 * HOUR_MS
    assert.match(
      (await user.run(`127.0.0.1:${provider.port}`, 'a.example')).stderr,
      /failure in 2 runs since 2026-11-23T00:00:00Z$/m,
    )
  })
  test('has no effect on --check, nor on --json if a configuration sets it', async (t) => {
    const user = new User(t)
    assert.match((await user.run('--check', '127.0.0.1:9', 'a.example')).stdout, /connect .* connection refused/)
    const env = { HOME: user.home }
    const config = makeFile(t, 'etrn.toml', 'report-after = "4h"\n')
    const silent = await etrn(['--config', config, '127.0.0.1:9', 'a.example'], { env, user: USER })
    assert.deepEqual([silent.status, isSilent(silent)], [75, true])
    const json = await etrn(['--config', config, '--json', '127.0.0.1:9', 'a.example'], { env, user: USER })
    assert.match(json.stdout, /"version": 1/)
  })
})
