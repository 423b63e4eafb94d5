import { hash, randomBytes } from 'node:crypto'
import {
  closeSync,
  fchmodSync,
  fsyncSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'

/** A temporary file of this age was left by a killed run. Another run may still need a younger one. */
const LEFTOVER_AGE_MS = 60_000

/**
 * Writes a file, or replaces one: whole or not at all, even if the disk is full or the process is killed. A link at its place is
 * replaced, not followed. Throws system errors.
 */
export function replaceFile(file: string, text: string, mode: number): void {
  const folder = dirname(file)
  // A name of this length fits, however long the file's own name is.
  const prefix = `.etrn-${hash('sha256', basename(file)).slice(0, 8)}-`
  removeLeftovers(folder, prefix)
  const temporary = join(folder, `${prefix}${randomBytes(6).toString('hex')}`)
  try {
    writeNewFile(temporary, text, mode)
    renameSync(temporary, file)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}

/** Uses the descriptor alone: in a folder of another user, the path may lead to another file at any moment. */
function writeNewFile(file: string, text: string, mode: number): void {
  const fd = openSync(file, 'wx', mode)
  try {
    writeFileSync(fd, text)
    // The umask may have removed permissions.
    fchmodSync(fd, mode)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

function removeLeftovers(folder: string, prefix: string): void {
  try {
    for (const name of readdirSync(folder)) {
      const path = join(folder, name)
      // The clock may have jumped in either direction.
      if (name.startsWith(prefix) && Math.abs(Date.now() - statSync(path).mtimeMs) > LEFTOVER_AGE_MS) rmSync(path)
    }
  } catch {
    // The folder can't be read, or another run was faster.
  }
}
