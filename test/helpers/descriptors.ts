import { spawn } from 'node:child_process'
import { finished } from './command.js'

/**
 * Runs code in a process with few file descriptors. `withoutDescriptors(work)` returns the error that `work` throws while all are in use;
 * it tries again if none comes, because another thread, such as the loader's, can close a file at any time.
 */
export async function runWithFewDescriptors(
  code: string,
): Promise<{ readonly stdout: string; readonly stderr: string }> {
  const run = spawn('sh', ['-c', 'ulimit -n 64; exec "$@"', '-', process.execPath, '--import', 'tsx', '-'], {
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  run.stdin.end(`${WITHOUT_DESCRIPTORS}\n${code}`)
  return finished(run)
}

const WITHOUT_DESCRIPTORS = `
  import { openSync } from 'node:fs'
  const withoutDescriptors = async (work) => {
    for (let tries = 0; tries < 100; tries++) {
      try { for (;;) openSync('/dev/null') } catch {}
      try { await work() } catch (error) { return error }
    }
    return { exitStatus: 'no error' }
  }`
