import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { EXIT } from './errors.js'
import { bugReport, type Host, main, SIGNALS } from './main.js'

function pathOf(name: string): string {
  return fileURLToPath(new URL(`../${name}`, import.meta.url))
}

function onSignal(listener: (signal: NodeJS.Signals) => void): () => void {
  for (const signal of SIGNALS) process.on(signal, listener)
  return () => {
    for (const signal of SIGNALS) process.off(signal, listener)
  }
}

/** Ends the process by the signal itself: a shell's loop stops only then. The spinner's packages listen to signals, too. */
function raise(signal: NodeJS.Signals): void {
  process.removeAllListeners(signal)
  process.kill(process.pid, signal)
}

const host: Host = {
  argv: process.argv.slice(2),
  environment: process.env,
  uid: process.getuid?.(),
  gid: process.getgid?.(),
  stdin: () => process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  program: [process.execPath, pathOf('bin/etrn')],
  // npm requires a version in it.
  version: () => (JSON.parse(readFileSync(pathOf('package.json'), 'utf8')) as { readonly version: string }).version,
  onSignal,
  raise,
}

// If a promise is lost, the process must not end with success.
process.exitCode = EXIT.SOFTWARE
process.on('uncaughtException', (error) => {
  process.stderr.write(`${bugReport(error)}\n`)
  process.exit()
})
void main(host).then(({ exitStatus, signal }) => {
  process.exitCode = exitStatus
  if (signal !== undefined) raise(signal)
})
