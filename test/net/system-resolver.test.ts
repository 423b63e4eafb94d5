import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { SystemResolver } from '../../src/net/system-resolver.js'
import { etrn } from '../helpers/command.js'
import { isInNamespace } from '../helpers/namespace.js'
import { BYE, etrnSteps, HELLO } from '../helpers/scripted-server.js'
import { REQUEST, serveAt, serveNames, writeHosts } from './network.js'

/** The port of Node's debugger */
const DEBUGGER = 9229

/** Returns true if someone listens at a port of this host. */
async function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    }).on('error', () => resolve(false))
  })
}

function childrenOf(pid: number | string): string[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .split(' ')
    .filter((child) => child !== '')
}

if (isInNamespace(import.meta.url))
  suite('SIGUSR1 opens no debugger, which every user of this host could use', () => {
    test('in the process that asks getaddrinfo', async (t) => {
      const { asked } = await serveNames(t, {
        'A mail.example': { silent: true },
        'AAAA mail.example': { silent: true },
      })
      writeHosts(t, '127.0.0.9 other.example\n')
      const resolver = new SystemResolver()
      const end = new AbortController()
      const waiting = assert.rejects(resolver.lookUp('mail.example', end.signal), /over/)
      while (asked.length === 0) await sleep(10)
      const [child = ''] = childrenOf(process.pid)
      process.kill(Number(child), 'SIGUSR1')
      for (let count = 0; count < 20; count++)
        assert.deepEqual(await resolver.lookUp('other.example', end.signal), ['127.0.0.9'])
      assert.equal(await isListening(DEBUGGER), false)
      end.abort(new Error('over'))
      await waiting
    })
    test('in a run', async (t) => {
      let interrupt = (): void => undefined
      let isOpen: Promise<boolean> | undefined
      await serveNames(t, { 'A mail.example': { addresses: ['127.0.0.3'] } })
      const probe = (): unknown => (isOpen = isListening(DEBUGGER))
      await serveAt(t, '127.0.0.3', [
        () => interrupt(),
        ...HELLO,
        ...etrnSteps('site.example', '250 OK').slice(0, 1),
        probe,
        'S: 250 OK',
        ...BYE,
      ])
      const { status } = await etrn(REQUEST, { env: {}, during: (run) => (interrupt = () => void run.kill('SIGUSR1')) })
      assert.deepEqual([status, await isOpen], [0, false])
    })
  })
