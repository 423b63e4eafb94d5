import { hash, randomBytes } from 'node:crypto'
import {
  closeSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  openSync,
  readdirSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'

/** A temporary file of this age was left by a killed run. Another run may still need a younger one. */
const LEFTOVER_AGE_MS = 60_000

const OWNER_MODE = 0o600
const GROUP_MODE = 0o070

export type Permissions = {
  readonly mode: number
  /** The group for which the mode has permissions. If the file can't have this group, no group gets them. */
  readonly gid?: number
}

/**
 * Writes a file, or replaces one: whole or not at all, even if the disk is full or the process is killed. A link at its place is
 * replaced, not followed. Throws system errors.
 */
export function replaceFile(file: string, text: string, permissions: Permissions): void {
  const folder = dirname(file)
  // A name of this length fits, however long the file's own name is.
  const prefix = `.etrn-${hash('sha256', basename(file)).slice(0, 8)}-`
  removeLeftovers(folder, prefix)
  const temporary = join(folder, `${prefix}${randomBytes(6).toString('hex')}`)
  try {
    writeNewFile(temporary, text, permissions)
    renameSync(temporary, file)
  } catch (error) {
    remove(temporary)
    throw error
  }
}

/** Uses the descriptor alone: in a folder of another user, the path may lead to another file at any moment. */
function writeNewFile(file: string, text: string, { mode, gid }: Permissions): void {
  const fd = openSync(file, 'wx', OWNER_MODE)
  try {
    writeFileSync(fd, text)
    const hasGroup = gid === undefined || giveToGroup(fd, gid)
    // The umask may have removed permissions.
    fchmodSync(fd, hasGroup ? mode : mode & ~GROUP_MODE)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** Returns true if the file has the group now. A folder can give its own group to each new file (inode(7)). */
function giveToGroup(fd: number, gid: number): boolean {
  if (fstatSync(fd).gid === gid) return true
  try {
    fchownSync(fd, -1, gid)
    return true
  } catch {
    // This user is not in the group, or the file system has none.
    return false
  }
}

function removeLeftovers(folder: string, prefix: string): void {
  for (const name of readNames(folder)) if (name.startsWith(prefix)) removeLeftover(join(folder, name))
}

function readNames(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function removeLeftover(path: string): void {
  try {
    const stats = lstatSync(path)
    // The clock may have jumped in either direction.
    if (stats.isFile() && Math.abs(Date.now() - stats.mtimeMs) > LEFTOVER_AGE_MS) remove(path)
  } catch {
    // Another run was faster.
  }
}

/** Removes a file if it is there. Never a folder, as rmSync may: another user could put one in the place of the file, with links in it. */
function remove(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // There is none, or it is none of ours.
  }
}
