import { fork } from 'node:child_process'
import { StepError } from '../errors.js'
import { type Limits, startDeadline } from './deadline.js'

/** The child's program: it looks up its first argument and sends the result to its parent. */
const PROGRAM = `require('node:dns').lookup(process.argv[1], { all: true }, (error, found) =>
  process.send(error ? { code: error.code } : { addresses: found.map(({ address }) => address) }))`

/**
 * Returns what the system's resolver says about a host: addresses, else the code of its error. It works in a child process, because
 * getaddrinfo can't be cancelled and delays even the end of a process that waits for it. Throws the deadline's StepError.
 */
export async function callGetaddrinfo(
  host: string,
  limits: Limits,
  overdue: () => StepError,
): Promise<{ readonly addresses: readonly string[] } | { readonly code: string }> {
  return new Promise((resolve, reject) => {
    // The first argument of -e stands where fork puts its module.
    const child = fork(host, [], { execArgv: ['-e', PROGRAM], env: {}, stdio: 'ignore' })
    const cancel = startDeadline(limits, overdue, (reason) => {
      child.kill('SIGKILL')
      reject(reason)
    })
    // PROGRAM sends nothing else.
    child.once('message', (result) => resolve(result as { code: string }))
    child.once('error', reject)
    child.once('exit', () => {
      cancel()
      resolve({ code: 'unknown' })
    })
  })
}
