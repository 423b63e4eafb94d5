import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isatty, WriteStream } from 'node:tty'
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

/** Closes the terminals that have gone: Node 20 aborts at the end if it can't reset one. */
function closeLostTerminals(): void {
  for (const fd of [0, 1, 2]) {
    try {
      if (fstatSync(fd).isCharacterDevice() && !isatty(fd)) closeSync(fd)
    } catch {
      // It is closed already.
    }
  }
}

/** Ends the process by the signal itself: a shell's loop stops only then. The spinner's packages listen to signals, too. */
function raise(signal: NodeJS.Signals): void {
  process.removeAllListeners(signal)
  closeLostTerminals()
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

/**
 * Returns a terminal whose writes are asynchronous, as to a pipe: while a terminal is stopped, a blocking write would stop timers and
 * signals. Returns any other stream as it is.
 */
function unblock(stream: NodeJS.WriteStream & { readonly fd: number }): NodeJS.WriteStream {
  if (!stream.isTTY || setNonBlocking(stream)) return stream
  // Node can't open a terminal of another user (su, sudo) by its name.
  const anew = openControllingTerminal(stream.fd)
  return anew !== undefined && setNonBlocking(anew) ? anew : stream
}

/** Returns true if the setting could be made. Other processes would share that of a terminal that Node has not opened anew. */
function setNonBlocking(stream: NodeJS.WriteStream): boolean {
  const { _handle: handle } = stream as { _handle?: { fd?: number; setBlocking?: (isBlocking: boolean) => unknown } }
  if (handle?.fd === undefined || handle.fd <= 2) return false
  handle.setBlocking?.(false)
  return true
}

/** Opens the terminal of this process through /dev/tty, whoever owns it. Returns undefined for any other terminal (proc_pid_stat(5)). */
function openControllingTerminal(fd: number): NodeJS.WriteStream | undefined {
  try {
    const [, , , , device] = readFileSync('/proc/self/stat', 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
    return Number(device) === fstatSync(fd).rdev ? new WriteStream(openSync('/dev/tty', 'w')) : undefined
  } catch {
    return undefined
  }
}

/**
 * V8 prefers memory to speed: without the first flag, a run at 1000 servers takes 235 MB on Node 24, not 85. The other flags stop compilers in
 * the background. At the end of the process, Node waits for such a compiler, and the compiler can wait for Node to collect garbage: the
 * process would never end (nodejs/node#54918).
 */
const V8_FLAGS = ['--optimize-for-size', '--no-concurrent-sparkplug', '--no-maglev', '--no-opt']

for (const flag of V8_FLAGS) setFlagsFromString(flag)
const stdout = unblock(process.stdout)
const stderr = unblock(process.stderr)

const host: Host = {
  argv: process.argv.slice(2),
  environment: process.env,
  uid: process.geteuid?.(),
  stdin: () => process.stdin,
  stdout,
  stderr,
  program: () => [process.execPath, pathOf('bin/etrn')],
  // npm requires a version in it.
  version: () => (JSON.parse(readFileSync(pathOf('package.json'), 'utf8')) as { readonly version: string }).version,
  now: Date.now,
  onSignal,
  raise,
  kill,
}

// Node ignores this signal only until its last listener is removed: a file that is too long must not end the process.
process.on('SIGXFSZ', () => undefined)

// If a promise is lost, the process must not end with success.
process.exitCode = EXIT.SOFTWARE
process.on('uncaughtException', (error) => {
  stderr.write(`${bugReport(error)}\n`)
  process.exit()
})
void main(host).then(({ exitStatus, signal }) => {
  process.exitCode = exitStatus
  if (signal !== undefined) raise(signal)
  // All output is written, or given up.
  closeLostTerminals()
  process.exit()
})
