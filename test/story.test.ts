import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { suite, test, type TestContext } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { type Finished, finished, spawnEtrn } from './helpers/command.js'
import { nameServer } from './helpers/name-server.js'
import { isInNamespace } from './helpers/namespace.js'
import { BYE, type Conversation, HELLO, type Scripted, scriptedAt } from './helpers/scripted-server.js'
import { AT_SITE, link, makeSite, resolver, SITE, WORLD } from './helpers/site.js'

// A site's day, as pppd and cron make it: the very hooks that --hook prints, in a network of the test's own.

const [ONE, TWO, THREE] = WORLD
const MX = {
  mx: [
    [10, 'gw.site.example'],
    [20, 'mx1.isp.example'],
    [30, 'mx2.isp.example'],
  ] as const,
}
const ZONE = {
  'MX site.example': MX,
  'A gw.site.example': { addresses: [SITE] },
  'A mx1.isp.example': { addresses: [TWO] },
  'A mx2.isp.example': { addresses: [THREE] },
}
const asked = (reply: string): Conversation => [...HELLO, 'C: ETRN site.example', `S: ${reply}`, ...BYE]

const ARGS = ['--helo', 'gw.site.example', '-p', '2500', '--timeout', '5s', '--mx', 'site.example']

/** In /run, which is the test's own: pppd's hooks, and in place of a system's log what is logged, and the exit status. */
const HOOKS = '/run/ip-up.d'
const LOG = '/run/log'
const STATUS = '/run/status'

/** No system's log is here to read, and the hook itself looks at no status: so two programs stand before the real ones. */
function standIns(): void {
  const write = (file: string, script: string): void => writeFileSync(file, `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  mkdirSync(HOOKS)
  execFileSync('cp', ['/usr/bin/flock', '/run/flock'])
  write('/run/logger.sh', `exec cat >>${LOG}`)
  write('/run/flock.sh', `/run/flock "$@"; s=$?\necho $s >${STATUS}.new; mv ${STATUS}.new ${STATUS}; exit $s`)
  execFileSync('mount', ['--bind', '/run/logger.sh', '/usr/bin/logger'])
  execFileSync('mount', ['--bind', '/run/flock.sh', '/usr/bin/flock'])
}

/** Puts the hook of pppd's that --hook prints into its folder. */
async function install(...args: string[]): Promise<void> {
  for (const file of [LOG, STATUS, ...locks()]) rmSync(file, { force: true })
  const { stdout } = await spawnEtrn(['--hook', 'pppd', ...args, ...ARGS])
  writeFileSync(join(HOOKS, 'etrn'), stdout, { mode: 0o755 })
}

/** pppd's ip-up: run-parts with an empty environment; what it prints, and it is over before anything is asked. */
async function ipUp(): Promise<string> {
  const child = spawn('env', ['-i', ...AT_SITE, '/usr/bin/run-parts', '--arg=ppp0', HOOKS])
  const output = Promise.all([text(child.stdout), text(child.stderr)])
  const [status] = (await once(child, 'exit')) as [number | null]
  assert.equal(status, 0)
  return (await output).join('')
}

/** The exit status of what the hook started, and its log. */
async function ended(): Promise<{ readonly status: number; readonly log: string }> {
  while (!existsSync(STATUS)) await setTimeout(50)
  return { status: Number(readFileSync(STATUS, 'utf8')), log: readFileSync(LOG, 'utf8') }
}

/** cron's copy: the same command line, by cron's shell and in its environment. */
async function cron(...args: string[]): Promise<Finished> {
  const { stdout } = await spawnEtrn(['--hook', 'cron', ...args, ...ARGS])
  const command = /^3-59\/10 \* \* \* \* (.*)$/m.exec(stdout)?.[1]?.replaceAll('\\%', '%') ?? assert.fail(stdout)
  return finished(
    spawn('env', ['-i', 'HOME=/tmp', 'PATH=/usr/bin:/bin', 'SHELL=/bin/sh', ...AT_SITE, '/bin/sh', '-c', command]),
  )
}

const at = async (t: TestContext, host: string, ...conversations: Conversation[]): Promise<Scripted> =>
  scriptedAt(t, { host, port: 2500 }, ...conversations)

const missing = ['/usr/bin/run-parts', '/usr/bin/flock', '/usr/bin/logger'].filter((program) => !existsSync(program))

if (missing.length > 0 && process.env['CI'] === undefined)
  test('a site and its hooks', { skip: `not here: ${missing.join(', ')}` }, () => undefined)
else if (isInNamespace(import.meta.url)) {
  makeSite()
  standIns()
  test('the link comes up, and what was held is on its way', { timeout: 120_000 }, async (t) => {
    await install('--retry-for', '1m', '--wait', '1m', '--interval', '1s', '-v')
    link('down')
    resolver(undefined)
    assert.equal(await ipUp(), '')
    assert.ok(!existsSync(STATUS), 'pppd is not held up')
    link('up')
    const later = setTimeout(5000).then(() => resolver(ONE))
    await nameServer(t, ZONE, ONE)
    // Only when the second one has sent everything does the first one come back.
    const back = async (): Promise<unknown> => at(t, TWO, asked('250 queued'), asked('251 none'))
    const last: Conversation = [...asked('251 none'), back]
    await at(t, THREE, asked('253 2 pending messages'), asked('253 1 pending message'), last)
    await later
    const { status, log } = await ended()
    assert.equal(status, 0)
    assert.match(log, /Z site\.example: .*DNS.*; again at \d\d:\d\d:\d\d, until /)
    assert.match(log, /^left out: gw\.site\.example \(this site\)$/m)
    assert.match(log, /Z mx1\.isp\.example: 192\.0\.2\.2 port 2500: connection refused; again at /)
    assert.match(log, /Z mx2\.isp\.example: site\.example: 2 messages left; again at /)
    assert.match(log, /Z mx2\.isp\.example: site\.example: 1 message left; again at /)
    assert.match(log, /^mx2\.isp\.example: site\.example: nothing waits \(251 none\)$/m)
    assert.match(log, /^mx1\.isp\.example: site\.example: nothing waits \(251 none\)$/m)
  })

  test("cron's copy of it is silent", async (t) => {
    resolver(ONE)
    await nameServer(t, ZONE, ONE)
    await at(t, TWO, asked('251 none'))
    await at(t, THREE, asked('253 1 pending message'), asked('251 none'))
    const run = await cron('--wait', '1m', '--interval', '1s')
    assert.deepEqual(run, { status: 0, signal: null, stdout: '', stderr: '' })
  })

  suite('and its failures, each with its words', { concurrency: false, timeout: 120_000 }, () => {
    test('the resolver never comes: 75', async () => {
      await install('--retry-for', '3s')
      resolver(undefined)
      await ipUp()
      const { status, log } = await ended()
      assert.equal(status, 75)
      assert.match(
        log,
        /^site\.example: DNS: site\.example: no DNS server answers \(ECONNREFUSED\); no answer for site\.example\n {2}.*--retry-for/,
      )
    })
    test('the domain is not there, also when patience ends: 68', async (t) => {
      await install('--retry-for', '3s', '-v')
      resolver(ONE)
      await nameServer(t, {}, ONE)
      await ipUp()
      const { status, log } = await ended()
      assert.equal(status, 68)
      assert.match(
        log,
        /no such host: site\.example; again at .*\n(?:.*\n)*site\.example: DNS: no such host: site\.example; no answer/,
      )
    })
    test('the first MX stays down: 75, and the second is told all the same', async (t) => {
      resolver(ONE)
      await nameServer(t, ZONE, ONE)
      await at(t, THREE, asked('250 queued'))
      await install('--retry-for', '2s')
      await ipUp()
      const { status, log } = await ended()
      assert.equal(status, 75)
      assert.match(log, /^mx2\.isp\.example: site\.example: asked; the server doesn't say what waits \(250 queued\)$/m)
      assert.match(
        log,
        /^mx1\.isp\.example: connect: 192\.0\.2\.2 port 2500: connection refused; no answer for site\.example$/m,
      )
    })
    test('a provider that does not know the name: 77, and cron mails just that', async (t) => {
      resolver(ONE)
      await nameServer(t, ZONE, ONE)
      await at(t, TWO, asked('459 not yours'))
      await at(t, THREE, asked('250 queued'))
      const run = await cron('--retry-for', '1m')
      assert.deepEqual(run, {
        status: 77,
        signal: null,
        stdout: 'mx1.isp.example: site.example: refused (459 not yours)\n',
        stderr: '',
      })
    })
    test('a run that is under way already: the second goes', async (t) => {
      await install('--retry-for', '30s', '-v')
      resolver(undefined)
      await ipUp()
      // While it waits, it has the lock.
      while (!existsSync(LOG) || !readFileSync(LOG, 'utf8').includes('again at')) await setTimeout(50)
      const second = await finished(
        spawn('/run/flock', ['-n', ...locks(), 'true'], { stdio: ['ignore', 'pipe', 'pipe'] }),
      )
      assert.equal(second.status, 1)
      resolver(ONE)
      await nameServer(t, ZONE, ONE)
      await at(t, TWO, asked('250 queued'))
      await at(t, THREE, asked('250 queued'))
      assert.equal((await ended()).status, 0)
    })
  })
}

function locks(): string[] {
  return readdirSync('/run')
    .filter((name) => /^etrn-site\.example-[0-9a-f]{8}\.lock$/.test(name))
    .map((name) => join('/run', name))
}
