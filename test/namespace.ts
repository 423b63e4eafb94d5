import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

/**
 * Runs a test file in namespaces of its own: a network with nothing but loopback, a host name, and /etc/hosts and
 * /etc/resolv.conf that are its own to write. True: we are inside. Where the platform has no such namespaces, the file is one
 * skipped test that says so.
 */
export function isInNamespace(file: string): boolean {
  if (process.env['ETRN_TEST_NAMESPACE'] !== undefined) return true
  const tried = spawnSync('unshare', [...UNSHARE, 'sh', '-c', SETUP], { encoding: 'utf8' })
  const why = tried.status === 0 ? false : `no namespaces here: ${tried.error?.message ?? tried.stderr.trim()}`
  test('in namespaces of its own', { skip: process.env['CI'] === undefined ? why : false }, async () => {
    const run = `${SETUP} && exec ${process.execPath} --import tsx --test-reporter=spec ${fileURLToPath(file)}`
    const env = { ...process.env, ETRN_TEST_NAMESPACE: '1', NODE_TEST_CONTEXT: undefined }
    const child = spawn('unshare', [...UNSHARE, 'sh', '-c', run], { env, stdio: ['ignore', 'pipe', 'inherit'] })
    const output = await text(child.stdout)
    process.stdout.write(output.replace(/^/gm, '    '))
    assert.match(output, /^ℹ fail 0$/m)
    assert.doesNotMatch(output, /^ℹ pass 0$/m)
  })
  return false
}

// A user namespace as well, so that nobody has to be root.
const UNSHARE = ['--map-root-user', '--net', '--mount', '--uts'] as const
const SETUP = `set -e
  ip link set lo up
  mount -t tmpfs none /run
  printf '127.0.0.1 localhost\\n' >/run/hosts; mount --bind /run/hosts /etc/hosts
  : >/run/resolv.conf; mount --bind /run/resolv.conf /etc/resolv.conf`
