import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

/**
 * Runs a test file in namespaces of its own: a network with nothing but loopback, a host name, and /etc/hosts and
 * /etc/resolv.conf that are its own to write. True: we are inside. Where the platform has no such namespaces, the file is one
 * skipped test that says so; but never in CI.
 */
export function isInNamespace(file: string): boolean {
  return isInside(file, ['unshare', '--map-root-user', '--net', '--mount', '--uts', 'sh', '-c', SETUP, 'sh'])
}

// With a user namespace nobody has to be root.
const SETUP = `set -e
  ip link set lo up
  mount -t tmpfs none /run
  printf '127.0.0.1 localhost\\n' >/run/hosts; mount --bind /run/hosts /etc/hosts
  : >/run/resolv.conf; mount --bind /run/resolv.conf /etc/resolv.conf
  exec "$@"`

/** Why nobody can be made another user here: a reason to skip a test; false: it can be done, or this is CI, where it has to be. */
export function noOtherUser(): string | false {
  const tried = spawnSync('unshare', ['--user', '--map-user=1000', '--map-group=1000', 'true'], { encoding: 'utf8' })
  const why = `no user namespaces here: ${tried.error?.message ?? tried.stderr.trim()}`
  return tried.status !== 0 && process.env['CI'] === undefined ? why : false
}

/** The same, with the command that enters the namespaces and then runs what follows it. */
export function isInside(file: string, [enter = '', ...words]: readonly string[]): boolean {
  if (process.env['ETRN_TEST_INSIDE'] !== undefined) return true
  const tried = spawnSync(enter, [...words, 'true'], { encoding: 'utf8' })
  const why = `no namespaces here: ${tried.error?.message ?? tried.stderr.trim()}`
  const skip = tried.status !== 0 && process.env['CI'] === undefined ? why : false
  test('in namespaces of its own', { skip }, async () => {
    const command = [process.execPath, '--import', 'tsx', '--test-reporter=spec', fileURLToPath(file)]
    const env = { ...process.env, ETRN_TEST_INSIDE: '1', NODE_TEST_CONTEXT: undefined }
    const child = spawn(enter, [...words, ...command], { env, stdio: ['ignore', 'pipe', 'inherit'] })
    const ended = once(child, 'close') as Promise<[number | null]>
    const [output, [status]] = await Promise.all([text(child.stdout), ended])
    process.stdout.write(output.replace(/^/gm, '    '))
    assert.equal(status, 0)
    assert.doesNotMatch(output, /^ℹ pass 0$/m)
  })
  return false
}
