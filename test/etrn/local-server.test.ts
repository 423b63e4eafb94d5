import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { dirname } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { StepError } from '../../src/errors.js'
import { readLocalGreeting } from '../../src/etrn/local-server.js'
import { etrn, etrnJson, type Finished, leap, LEAPING, type Running } from '../helpers/command.js'
import { etrnSteps, sessionWith } from '../helpers/exchange.js'
import { makeFile } from '../helpers/files.js'
import { isInNamespace } from '../helpers/namespace.js'
import {
  BYE,
  close,
  type Conversation,
  scripted,
  type Scripted,
  scriptedAt,
  silence,
} from '../helpers/scripted-server.js'

/** Starts the local mail server, at IPv4 or IPv6. */
async function listenAt(
  t: TestContext,
  host: '127.0.0.1' | '::1',
  ...conversations: Conversation[]
): Promise<Scripted> {
  return scriptedAt(t, { host, port: 25 }, ...conversations)
}

function limitsOf(signal: AbortSignal = new AbortController().signal): { timeoutMs: number; signal: AbortSignal } {
  return { timeoutMs: 60_000, signal }
}

if (isInNamespace(import.meta.url)) {
  suite('readLocalGreeting', () => {
    test('returns the text of the greeting', async (t) => {
      await listenAt(t, '127.0.0.1', ['S: 220 gw.site.example ESMTP', ...BYE])
      assert.equal(await readLocalGreeting(limitsOf()), 'gw.site.example ESMTP')
    })
    for (const [title, conversation, message] of [
      ['with 421', ['S: 421 starting', ...BYE], '421 starting'],
      ['with 250', ['S: 250 gw', ...BYE], '250 gw'],
      ['with a close', [close], 'the server closed the connection before the greeting'],
    ] as const)
      test(`throws with 75 if the server greets ${title}`, async (t) => {
        await listenAt(t, '127.0.0.1', conversation)
        await assert.rejects(readLocalGreeting(limitsOf()), (error) => {
          assert.ok(error instanceof StepError)
          assert.deepEqual([error.exitStatus, error.message], [75, message])
          return true
        })
      })
    test('throws the failure at 127.0.0.1 if no server listens', async () => {
      await assert.rejects(readLocalGreeting(limitsOf()), {
        exitStatus: 75,
        message: 'connection refused (127.0.0.1 port 25)',
      })
    })
    test('throws the reason of the signal that aborts it', async () => {
      const reason = new StepError('SIGTERM', { exitStatus: 143, kind: 'interrupted' })
      await assert.rejects(readLocalGreeting(limitsOf(AbortSignal.abort(reason))), reason)
    })
  })

  suite('--wait-local', () => {
    const ACCEPTED = sessionWith(...etrnSteps('site.example'))
    const runWaiting = async (port: number, time: string, ...options: string[]): Promise<Finished> =>
      etrn(['--wait-local', time, '--helo', 'gw.site.example', ...options, `127.0.0.1:${port}`, 'site.example'])
    test('closes the connection to a silent address when the other one greets', { timeout: 20_000 }, async (t) => {
      const server = await scripted(t, ACCEPTED)
      const events = new EventEmitter()
      const [connected, closed] = [once(events, 'connected'), once(events, 'closed')]
      await listenAt(t, '127.0.0.1', [async () => connected, 'S: 220 gw', ...BYE])
      const waitForClose = async (socket: Socket): Promise<void> => {
        events.emit('connected')
        await silence(socket)
        events.emit('closed')
      }
      await scriptedAt(t, { host: '::1', port: 25, isLoose: true }, [waitForClose])
      assert.equal((await runWaiting(server.port, '60s')).status, 0)
      await closed
    })
    test('waits until the local mail server greets with 220', async (t) => {
      const server = await scripted(t, ACCEPTED)
      const local = await listenAt(t, '127.0.0.1', ['S: 421 starting', ...BYE], ['S: 220 gw', ...BYE])
      const run = await runWaiting(server.port, '20s', '-v')
      await local.verify()
      assert.equal(run.status, 0)
      assert.match(
        run.stderr,
        /^\S+Z local mail server: the server is temporarily unavailable \(421 starting\); retry at /,
      )
    })
    test('accepts a local mail server that listens on IPv6 alone', async (t) => {
      const server = await scripted(t, ACCEPTED)
      await listenAt(t, '::1', ['S: 220 gw', ...BYE])
      assert.equal((await runWaiting(server.port, '20s')).status, 0)
    })
    /** Ends the first pause at once. */
    const LEAP = { env: LEAPING, once: { said: 'retry at', act: leap } }
    test('blames this host, and no server, if the local mail server does not listen until the time ends', async (t) => {
      const servers = [await scripted(t), await scripted(t)]
      const words = servers.map(({ port }) => `127.0.0.1:${port}`).join(',')
      const args = ['-v', '--wait-local', '1s', '--helo', 'gw.site.example', words, 'a.example', 'b.example']
      const { status, stdout, stderr } = await etrn(args, LEAP)
      assert.deepEqual([status, stdout], [75, ''])
      assert.match(
        stderr.replace(/^\S+Z .*\n/gm, ''),
        /^etrn: local mail server: connection refused \(127\.0\.0\.1 port 25\); gave up after 2 attempts in 1s; [^\n]*\nhint: start the local mail server, [^\n]*\n$/,
      )
      for (const server of servers) await server.verify()
    })
    test('reports the failure of this host in --json without a server, and on standard error', async (t) => {
      const server = await scripted(t)
      await listenAt(t, '127.0.0.1', ['S: 421 starting', ...BYE], ['S: 421 starting', ...BYE])
      const args = [
        '-v',
        '--json',
        '--wait-local',
        '1s',
        '--retry-for',
        '5m',
        `127.0.0.1:${server.port}`,
        'site.example',
      ]
      const run = await etrn(args, LEAP)
      assert.equal(run.status, 75)
      assert.deepEqual(JSON.parse(run.stdout), {
        version: 1,
        exitStatus: 75,
        error: {
          stage: 'greeting',
          message:
            'local mail server: the server is temporarily unavailable (421 starting); gave up after 2 attempts in 1s',
          code: 421,
          exitStatus: 75,
          hint: 'start the local mail server, which receives the requested mail; a longer --wait-local waits longer',
        },
        excluded: [],
        servers: [],
      })
      assert.match(
        run.stderr,
        /^etrn: local mail server: the server is temporarily unavailable \(421 starting\); gave up /m,
      )
    })
    for (const [option, printed] of [
      ['-q', /^etrn: local mail server: connection refused [^\n]*\n(?:hint: [^\n]*\n)?$/],
      ['-qq', /^$/],
    ] as const)
      test(`prints ${option === '-q' ? 'only the failure' : 'nothing'} if this host fails under ${option}`, async (t) => {
        const server = await scripted(t)
        const run = await runWaiting(server.port, '1s', option)
        assert.deepEqual([run.status, run.stdout], [75, ''])
        assert.match(run.stderr, printed)
      })
    test('writes all names to --failed-to, and is silent under --report-after, if this host fails', async (t) => {
      const file = makeFile(t, 'later', '')
      const args = ['--wait-local', '1s', '--failed-to', file, '--report-after', '4h', '127.0.0.1:9', 'a.example', '#q']
      const run = await etrn(args, { env: { HOME: dirname(file) }, user: { uid: 1000 } })
      assert.deepEqual(run, { status: 75, signal: null, stdout: '', stderr: '' })
      assert.equal(readFileSync(file, 'utf8'), 'a.example\n#q\n')
    })
    test('says that --max-time ended the wait', async (t) => {
      const server = await scripted(t)
      const run = await runWaiting(server.port, '1h', '--max-time', '1s')
      assert.equal(run.status, 75)
      assert.match(
        run.stderr,
        /^etrn: local mail server: [^;]*; --max-time limit reached; gave up after \d attempts? in \ds; /m,
      )
      assert.match(run.stderr, /^hint: start the local mail server, .*; a longer --max-time waits longer$/m)
    })
    test('looks at the local mail server a last time just before the time ends', async (t) => {
      const server = await scripted(t, ACCEPTED)
      // It listens as soon as the first look has failed.
      const act = (child: Running): void => void listenAt(t, '127.0.0.1', ['S: 220 gw', ...BYE]).then(() => leap(child))
      const args = ['-v', '--wait-local', '1s', '--helo', 'gw.site.example', `127.0.0.1:${server.port}`, 'site.example']
      const options = { env: LEAPING, once: { said: 'final retry at', act } }
      assert.equal((await etrn(args, options)).status, 0)
    })
    test('reports the reply at [::1] rather than that nothing listens at 127.0.0.1', async (t) => {
      await listenAt(t, '::1', ['S: 421 starting', ...BYE])
      await assert.rejects(readLocalGreeting(limitsOf()), { message: '421 starting', exitStatus: 75 })
    })
    test('makes --check fail with an error of this host, also under -q', async (t) => {
      const args = (port: number): string[] => [
        ...['--check', '--wait-local', '1s', '--helo', 'gw.site.example', '-q', `127.0.0.1:${port}`, '#q'],
      ]
      const text = await etrn(args((await scripted(t, sessionWith())).port))
      const line = 'local mail server: connection refused (127.0.0.1 port 25)'
      const hint = 'start the local mail server, which receives the requested mail; a longer --wait-local waits longer'
      assert.deepEqual([text.status, text.stdout], [75, `etrn: ${line}\nhint: ${hint}\n`])
      const { document } = await etrnJson(args((await scripted(t, sessionWith())).port))
      assert.deepEqual(
        [document.exitStatus, document.error?.message, document.servers.map(({ error }) => error)],
        [75, line, [null]],
      )
    })
    test('skips every name if a signal ends the wait', async (t) => {
      const server = await scripted(t)
      const args = ['-v', '--wait-local', '1h', `127.0.0.1:${server.port},192.0.2.1`, 'site.example', 'b.example']
      const options = { once: { said: 'retry at', act: (child: Running) => void child.kill('SIGTERM') } }
      const { signal, document } = await etrnJson(args, options)
      assert.equal(signal, 'SIGTERM')
      assert.deepEqual(
        [document.exitStatus, document.error?.message, document.error?.exitStatus],
        [143, 'interrupted by SIGTERM', 143],
      )
      assert.deepEqual(
        document.servers.map(({ error, attempts, names }) => [error, attempts, names.map(({ outcome }) => outcome)]),
        Array(2).fill([null, 0, ['skipped', 'skipped']]),
      )
      const { stdout, stderr } = await etrn(args, options)
      assert.equal(stdout, '')
      assert.match(stderr, /^etrn: interrupted by SIGTERM; the requests were not sent$/m)
      await server.verify()
    })
    test('waits for the greeting of a silent local mail server as long as --timeout', async (t) => {
      const server = await scripted(t)
      await listenAt(t, '127.0.0.1', [silence])
      const args = ['-v', '--wait-local', '1h', '--timeout', '1s', `127.0.0.1:${server.port}`, 'site.example']
      const run = await etrn(args, { once: { said: 'retry at', act: (child) => void child.kill('SIGTERM') } })
      assert.match(run.stderr, /Z local mail server: no greeting within 1s \(0 octets received\); retry at /)
    })
  })
}
