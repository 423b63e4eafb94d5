import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { platform } from 'node:os'
import type { TestContext } from 'node:test'

// 1024 is F_SETLEASE; 1 is F_WRLCK, and 2 is F_UNLCK. The kernel sends SIGIO when another process opens the file.
const HOLDER = `
  my ($file, $keeps) = @ARGV;
  $SIG{IO} = $keeps ? 'IGNORE' : sub { fcntl(F, 1024, 2) or die $! };
  open(F, '<', $file) && fcntl(F, 1024, 1) or die $!;
  $| = 1;
  print "held\\n";
  sleep 1 while 1;`

/** Returns the reason to skip a test that needs a lease on a file, which Node can't take; false if perl can. */
export function noLease(): string | false {
  if (platform() !== 'linux') return 'only Linux has leases on files'
  return spawnSync('perl', ['-v']).error === undefined ? false : 'no perl here'
}

/** Takes a lease on a file (fcntl(2)), and keeps it until the test ends, or else only until the file is opened. */
export async function takeLease(t: TestContext, file: string, { keeps }: { readonly keeps: boolean }): Promise<void> {
  const holder = spawn('perl', ['-e', HOLDER, '--', file, keeps ? '1' : ''], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => holder.kill())
  const [output] = (await once(holder.stdout, 'data')) as [Buffer]
  assert.equal(output.toString(), 'held\n')
}
