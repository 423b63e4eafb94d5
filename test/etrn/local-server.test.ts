import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import type { Socket } from 'node:net'
import { suite, test, type TestContext } from 'node:test'
import { StepError } from '../../src/errors.js'
import { readLocalGreeting } from '../../src/etrn/local-server.js'
import { etrn, etrnJson, type Finished } from '../helpers/command.js'
import { etrnSteps, sessionWith } from '../helpers/exchange.js'
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
      ['with a close', [close], 'the server closed the connection'],
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
        message: '127.0.0.1 port 25: connection refused',
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
      assert.match(run.stderr, /^\S+Z this host's own mail server: 421 starting; again at /)
    })
    test('accepts a local mail server that listens on IPv6 alone', async (t) => {
      const server = await scripted(t, ACCEPTED)
      await listenAt(t, '::1', ['S: 220 gw', ...BYE])
      assert.equal((await runWaiting(server.port, '20s')).status, 0)
    })
    test('exits with 75, without a pause and without a connection to the server, if the time ends within a second', async (t) => {
      const server = await scripted(t)
      const run = await runWaiting(server.port, '1s', '-v')
      assert.deepEqual([run.status, run.stdout], [75, ''])
      assert.match(
        run.stderr,
        /connect: this host's own mail server: 127\.0\.0\.1 port 25: connection refused; no answer for site\.example$/m,
      )
      assert.doesNotMatch(run.stderr, /again at/)
    })
    test('skips every name if a signal ends the wait', async (t) => {
      const server = await scripted(t)
      const run = await etrnJson(['-v', '--wait-local', '1h', `127.0.0.1:${server.port}`, 'site.example'], {
        once: { said: 'again at', act: (child) => void child.kill('SIGTERM') },
      })
      assert.equal(run.signal, 'SIGTERM')
      assert.equal(run.document.servers[0]?.names[0]?.outcome, 'skipped')
      await server.verify()
    })
    test('waits for the greeting of a silent local mail server as long as --timeout', async (t) => {
      const server = await scripted(t)
      await listenAt(t, '127.0.0.1', [silence])
      const args = ['-v', '--wait-local', '1h', '--timeout', '1s', `127.0.0.1:${server.port}`, 'site.example']
      const run = await etrn(args, { once: { said: 'again at', act: (child) => void child.kill('SIGTERM') } })
      assert.match(run.stderr, /Z this host's own mail server: no whole reply within 1s; again at /)
    })
  })
}
