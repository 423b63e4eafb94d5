import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { suite, test, type TestContext } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { type Finished, finished, spawnEtrn } from '../helpers/command.js'
import { nameServer } from '../helpers/name-server.js'
import { isInNamespace } from '../helpers/namespace.js'
import { BYE, type Conversation, HELLO, type Scripted, scriptedAt } from '../helpers/scripted-server.js'
import { AT_SITE, link, makeSite, resolver, SITE, WORLD } from '../helpers/site.js'

// The hooks that --hook prints, run as pppd and cron run them, in a network of the test's own.

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
const sessionWithReply = (reply: string): Conversation => [...HELLO, 'C: ETRN site.example', `S: ${reply}`, ...BYE]

const ARGS = ['--helo', 'gw.site.example', '-p', '2500', '--timeout', '5s', '--mx', 'site.example']

/** The folder of pppd's hooks, the log, and the exit status of a hook's command; /run belongs to the test alone. */
const HOOKS = '/run/ip-up.d'
const LOG = '/run/log'
const STATUS = '/run/status'

/** Replaces logger by a program that writes a file, and wraps flock in one that records its exit status, which appears after the last line. */
function replacePrograms(): void {
  const write = (file: string, script: string): void => writeFileSync(file, `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  mkdirSync(HOOKS)
  execFileSync('cp', ['/usr/bin/flock', '/run/flock'])
  write('/run/logger.sh', `cat >>${LOG}; mv ${STATUS}.new ${STATUS}`)
  write('/run/flock.sh', `/run/flock "$@"; s=$?\necho $s >${STATUS}.new; exit $s`)
  execFileSync('mount', ['--bind', '/run/logger.sh', '/usr/bin/logger'])
  execFileSync('mount', ['--bind', '/run/flock.sh', '/usr/bin/flock'])
}

/** Installs the hook that --hook pppd prints. */
async function install(...args: string[]): Promise<void> {
  for (const file of [LOG, STATUS, ...locks()]) rmSync(file, { force: true })
  const { stdout } = await spawnEtrn(['--hook', 'pppd', ...args, ...ARGS])
  writeFileSync(join(HOOKS, 'etrn'), stdout, { mode: 0o755 })
}

/** Runs the hooks as pppd does: run-parts in an empty environment. Returns their output as soon as run-parts has ended. */
async function ipUp(): Promise<string> {
  const child = spawn('env', ['-i', ...AT_SITE, '/usr/bin/run-parts', '--arg=ppp0', HOOKS])
  const output = Promise.all([text(child.stdout), text(child.stderr)])
  const [status] = (await once(child, 'exit')) as [number | null]
  assert.equal(status, 0)
  return (await output).join('')
}

/** Waits until the command that a hook started has failed for the first time. */
async function waitForRetry(): Promise<void> {
  while (!existsSync(LOG) || !readFileSync(LOG, 'utf8').includes('retry at')) await setTimeout(50)
}

/** Waits for the end of the command that a hook started. Returns its exit status and its log. */
async function waitForEnd(): Promise<{ readonly status: number; readonly log: string }> {
  while (!existsSync(STATUS)) await setTimeout(50)
  return { status: Number(readFileSync(STATUS, 'utf8')), log: readFileSync(LOG, 'utf8') }
}

/** Runs the command line of --hook cron in cron's shell and environment. */
async function runCron(...args: string[]): Promise<Finished> {
  const { stdout } = await spawnEtrn(['--hook', 'cron', ...args, ...ARGS])
  const command = /^3-59\/10 \* \* \* \* (.*)$/m.exec(stdout)?.[1]?.replaceAll('\\%', '%') ?? assert.fail(stdout)
  return finished(
    spawn('env', ['-i', 'HOME=/tmp', 'PATH=/usr/bin:/bin', 'SHELL=/bin/sh', ...AT_SITE, '/bin/sh', '-c', command]),
  )
}

const startAt = async (t: TestContext, host: string, ...conversations: Conversation[]): Promise<Scripted> =>
  scriptedAt(t, { host, port: 2500 }, ...conversations)

const missing = ['/usr/bin/run-parts', '/usr/bin/flock', '/usr/bin/logger'].filter((program) => !existsSync(program))

if (missing.length > 0 && process.env['CI'] === undefined)
  test('hooks of pppd and cron', { skip: `not here: ${missing.join(', ')}` }, () => undefined)
else if (isInNamespace(import.meta.url)) {
  makeSite()
  replacePrograms()
  test('pppd hook: requests the mail of both MX hosts after the link comes up', { timeout: 120_000 }, async (t) => {
    await install('--retry-for', '1m', '--wait', '1m', '--interval', '1s', '-v')
    link('down')
    resolver(undefined)
    assert.equal(await ipUp(), '')
    assert.ok(!existsSync(STATUS), 'the hook does not wait for its command')
    link('up')
    await nameServer(t, ZONE, ONE)
    // The first MX host starts when the second one has sent everything.
    const startFirst = async (): Promise<unknown> =>
      startAt(t, TWO, sessionWithReply('250 queued'), sessionWithReply('251 none'))
    const last: Conversation = [...sessionWithReply('251 none'), startFirst]
    await startAt(t, THREE, sessionWithReply('253 2 pending messages'), sessionWithReply('253 1 pending message'), last)
    await waitForRetry()
    resolver(ONE)
    const { status, log } = await waitForEnd()
    assert.equal(status, 0)
    assert.match(log, /Z site\.example: .*DNS.*; retry at \d\d:\d\d:\d\d; retries end at /)
    assert.match(log, /^etrn: site\.example: skipping MX gw\.site\.example \(this host\)$/m)
    assert.match(log, /Z mx1\.isp\.example: connection refused \(192\.0\.2\.2 port 2500\); retry at /)
    assert.match(log, /Z mx2\.isp\.example: site\.example: 2 messages waiting; retry at /)
    assert.match(log, /Z mx2\.isp\.example: site\.example: 1 message waiting; retry at /)
    assert.match(log, /^mx2\.isp\.example: site\.example: no mail waiting \(251 none\)$/m)
    assert.match(log, /^mx1\.isp\.example: site\.example: no mail waiting \(251 none\)$/m)
  })

  test('cron hook: prints nothing if every name is accepted', async (t) => {
    resolver(ONE)
    await nameServer(t, ZONE, ONE)
    await startAt(t, TWO, sessionWithReply('251 none'))
    await startAt(t, THREE, sessionWithReply('253 1 pending message'), sessionWithReply('251 none'))
    const run = await runCron('--wait', '1m', '--interval', '1s')
    assert.deepEqual(run, { status: 0, signal: null, stdout: '', stderr: '' })
  })

  suite('hooks: failures', { concurrency: false, timeout: 120_000 }, () => {
    test('pppd hook: reports 75 if no resolver appears', async () => {
      await install('--retry-for', '1s')
      resolver(undefined)
      await ipUp()
      const { status, log } = await waitForEnd()
      assert.equal(status, 75)
      assert.match(
        log,
        /^etrn: site\.example: no DNS server can be reached \(ECONNREFUSED\); gave up after \d+ attempts in \d+s; site\.example not requested\n/,
      )
    })
    test('pppd hook: reports 68 if the domain does not exist by the end of --retry-for', async (t) => {
      await install('--retry-for', '1s', '-v')
      resolver(ONE)
      await nameServer(t, {}, ONE)
      await ipUp()
      const { status, log } = await waitForEnd()
      assert.equal(status, 68)
      assert.match(
        log,
        /no such (?:host|domain)[^;\n]*; final retry at .*\n(?:.*\n)*etrn: site\.example: no such (?:host|domain)[^;\n]*; gave up after \d+ attempts in \d+s; site\.example not requested/,
      )
    })
    test('pppd hook: reports 75 if the first MX host stays down, and requests the second one', async (t) => {
      resolver(ONE)
      await nameServer(t, ZONE, ONE)
      await startAt(t, THREE, sessionWithReply('250 queued'))
      await install('--retry-for', '1s')
      await ipUp()
      const { status, log } = await waitForEnd()
      assert.equal(status, 75)
      assert.match(log, /^mx2\.isp\.example: site\.example: accepted \(250 queued\)$/m)
      assert.match(
        log,
        /^etrn: mx1\.isp\.example: connection refused \(192\.0\.2\.2 port 2500\); gave up after \d+ attempts in \d+s; site\.example not requested$/m,
      )
    })
    test('cron hook: reports 77 and prints the refusal only', async (t) => {
      resolver(ONE)
      await nameServer(t, ZONE, ONE)
      await startAt(t, TWO, sessionWithReply('459 not yours'))
      await startAt(t, THREE, sessionWithReply('250 queued'))
      const run = await runCron('--retry-for', '1m')
      const { stderr, ...rest } = run
      const stdout = 'mx1.isp.example: site.example: refused (459 not yours)\n'
      assert.deepEqual(rest, { status: 77, signal: null, stdout })
      assert.match(stderr, /^hint: mx1\.isp\.example: site\.example: [^\n]*\n$/)
    })
    test('pppd hook: a second run finds the lock of the first one taken', async (t) => {
      await install('--retry-for', '30s', '-v')
      resolver(undefined)
      await ipUp()
      // The run holds the lock while it waits.
      await waitForRetry()
      const second = await finished(
        spawn('/run/flock', ['-n', ...locks(), 'true'], { stdio: ['ignore', 'pipe', 'pipe'] }),
      )
      assert.equal(second.status, 1)
      resolver(ONE)
      await nameServer(t, ZONE, ONE)
      await startAt(t, TWO, sessionWithReply('250 queued'))
      await startAt(t, THREE, sessionWithReply('250 queued'))
      assert.equal((await waitForEnd()).status, 0)
    })
  })
}

function locks(): string[] {
  return readdirSync('/run')
    .filter((name) => /^etrn-site\.example-[0-9a-f]{8}\.lock$/.test(name))
    .map((name) => join('/run', name))
}
