import type { ChildProcess, fork } from 'node:child_process'
import { codeOf } from '../errors.js'

/**
 * The child's program: it looks up each host that it receives, and sends the addresses or the code of the error. At SIGUSR1, Node would open
 * its debugger to every user of this host.
 */
const PROGRAM = `process.on('SIGUSR1', () => undefined)
const { lookup } = require('node:dns')
process.on('message', ({ id, host }) => lookup(host, { all: true }, (error, found = []) =>
  process.send({ id, code: error?.code, addresses: found.map(({ address }) => address) })))
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))`

type Answer = { readonly id: number; readonly code?: string; readonly addresses: readonly string[] }

type Child = { readonly process: ChildProcess; readonly waiting: Map<number, (answer: Answer) => void> }

/**
 * Asks getaddrinfo. It works in a child process, because it can't be cancelled and delays even the end of a process that waits for it.
 * There is one child for all lookups, and none without a lookup.
 */
export class SystemResolver {
  #child: Child | undefined
  #count = 0

  /** Returns the addresses of a host. Throws an Error with the code that `dns.lookup` gives, or the signal's reason. */
  async lookUp(host: string, signal: AbortSignal): Promise<readonly string[]> {
    const { fork } = await import('node:child_process')
    signal.throwIfAborted()
    const { process, waiting } = (this.#child ??= this.#startChild(fork))
    const id = ++this.#count
    return new Promise((resolve, reject) => {
      const end = (answer?: Answer): void => {
        signal.removeEventListener('abort', onAbort)
        waiting.delete(id)
        if (waiting.size === 0) this.#endChild(process)
        if (answer?.code === undefined) resolve(answer?.addresses ?? [])
        else reject(Object.assign(new Error(`getaddrinfo ${answer.code} ${host}`), { code: answer.code }))
      }
      const onAbort = (): void => {
        reject(signal.reason as Error) // Only an Error is a reason here.
        end()
      }
      signal.addEventListener('abort', onAbort)
      waiting.set(id, end)
      // Otherwise it could not be started, and its error follows.
      if (process.connected) process.send({ id, host })
    })
  }

  #startChild(start: typeof fork): Child {
    // A lookup that was abandoned keeps its thread. The first argument of -e stands where fork puts its module.
    const options = { execArgv: ['-e', PROGRAM], env: { UV_THREADPOOL_SIZE: '64' }, stdio: 'ignore' as const }
    const child = { process: start('getaddrinfo', [], options), waiting: new Map<number, (answer: Answer) => void>() }
    const fail = (error?: unknown): void => {
      this.#endChild(child.process)
      for (const [id, end] of child.waiting) end({ id, code: codeOf(error) || 'unknown', addresses: [] })
    }
    // PROGRAM sends nothing else.
    child.process.on('message', (answer) => child.waiting.get((answer as Answer).id)?.(answer as Answer))
    child.process.on('error', fail)
    // Follows the messages, unlike the exit.
    child.process.once('disconnect', () => fail())
    return child
  }

  #endChild(process: ChildProcess): void {
    if (this.#child?.process === process) this.#child = undefined
    process.kill('SIGKILL')
  }
}
