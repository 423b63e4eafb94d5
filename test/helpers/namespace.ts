import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { basename } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

/**
 * Runs a test file again in namespaces of its own: a network of loopback alone, a host name, and an /etc/hosts and an
 * /etc/resolv.conf that it may write. Returns true inside them. If the platform has no namespaces, the file is one skipped test that
 * names the reason, except in CI, where it fails.
 */
export function isInNamespace(file: string): boolean {
  return isInside(file, ['unshare', '--map-root-user', '--net', '--mount', '--uts', 'sh', '-c', SETUP, 'sh'])
}

// unshare --map-root-user creates a user namespace, so the tests don't need root.
const SETUP = `set -e
  ip link set lo up
  mount -t tmpfs none /run
  printf '127.0.0.1 localhost\\n' >/run/hosts; mount --bind /run/hosts /etc/hosts
  : >/run/resolv.conf; mount --bind /run/resolv.conf /etc/resolv.conf
  exec "$@"`

/** Returns the reason to skip a test that runs as another user; false if that works, and in CI. */
export function noOtherUser(): string | false {
  const trial = spawnSync('unshare', ['--user', '--map-user=1000', '--map-group=1000', 'true'], { encoding: 'utf8' })
  const reason = `no user namespaces here: ${trial.error?.message ?? trial.stderr.trim()}`
  return trial.status !== 0 && process.env['CI'] === undefined ? reason : false
}

/** Does the same with another command, which enters the namespaces and runs the arguments that follow it. */
export function isInside(file: string, [enter = '', ...words]: readonly string[]): boolean {
  if (process.env['ETRN_TEST_INSIDE'] !== undefined) return true
  const trial = spawnSync(enter, [...words, 'true'], { encoding: 'utf8' })
  const reason = `no namespaces here: ${trial.error?.message ?? trial.stderr.trim()}`
  const skip = trial.status !== 0 && process.env['CI'] === undefined ? reason : false
  test(`${basename(fileURLToPath(file))} passes in namespaces of its own`, { skip }, async () => {
    const command = [process.execPath, ...process.execArgv, '--test-reporter=spec', fileURLToPath(file)]
    const env = { ...process.env, ETRN_TEST_INSIDE: '1', NODE_TEST_CONTEXT: undefined }
    const child = spawn(enter, [...words, ...command], { env, stdio: ['ignore', 'pipe', 'inherit'] })
    const closed = once(child, 'close') as Promise<[number | null]>
    const [output, [status]] = await Promise.all([text(child.stdout), closed])
    process.stdout.write(output.replace(/^/gm, '    '))
    assert.equal(status, 0)
    assert.doesNotMatch(output, /^ℹ pass 0$/m)
  })
  return false
}
