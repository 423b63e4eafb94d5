import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { bugReport, EXIT } from './errors.js'
import { main } from './main.js'
import type { Host } from './run-requests.js'

function pathOf(name: string): string {
  return join(import.meta.dirname, '..', name)
}

const onSignal: Host['onSignal'] = (listener, signals) => {
  for (const signal of signals) process.on(signal, listener)
  return () => {
    for (const signal of signals) process.off(signal, listener)
  }
}

/** Ends the process by the signal itself: a shell's loop stops only then. The spinner's packages listen to signals, too. */
function raise(signal: NodeJS.Signals): void {
  process.removeAllListeners(signal)
  process.kill(process.pid, signal)
}

/** Ends processes, those that are left of them. */
function kill(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGTERM')
    } catch {
      // It has ended.
    }
  }
}

/** Makes writing to a terminal asynchronous, as to a pipe: while a terminal is stopped, a blocking write would stop timers and signals. */
function unblock(stream: NodeJS.WriteStream): void {
  const { _handle: handle } = stream as { _handle?: { fd?: number; setBlocking?: (isBlocking: boolean) => unknown } }
  // Node has opened the terminal anew; otherwise other processes would share the setting.
  const isOwn = handle?.fd !== undefined && handle.fd > 2
  if (stream.isTTY && isOwn) handle.setBlocking?.(false)
}

// V8 then collects garbage in time, with some more work: on Node 24 a run at 1000 servers took 250 MB in place of 100.
setFlagsFromString('--optimize-for-size')
unblock(process.stdout)
unblock(process.stderr)

const host: Host = {
  argv: process.argv.slice(2),
  environment: process.env,
  uid: process.geteuid?.(),
  stdin: () => process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  program: () => [process.execPath, pathOf('bin/etrn')],
  // npm requires a version in it.
  version: () => (JSON.parse(readFileSync(pathOf('package.json'), 'utf8')) as { readonly version: string }).version,
  now: Date.now,
  onSignal,
  raise,
  kill,
}

// Node would open its debugger to every user of this host.
process.on('SIGUSR1', () => undefined)

// If a promise is lost, the process must not end with success.
process.exitCode = EXIT.SOFTWARE
process.on('uncaughtException', (error) => {
  process.stderr.write(`${bugReport(error)}\n`)
  process.exit()
})
void main(host).then(({ exitStatus, signal }) => {
  process.exitCode = exitStatus
  if (signal !== undefined) raise(signal)
  // All output is written, or given up.
  process.exit()
})
