import { lstatSync, readlinkSync, type Stats, statSync } from 'node:fs'
import { platform } from 'node:os'
import { dirname, isAbsolute, join, resolve } from 'node:path'

const OTHERS_WRITE_MODE = 0o002
/** In a file with an ACL this is the mask: what a user or a group of the ACL may do at most (acl(5)). */
const GROUP_WRITES_MODE = 0o020
/** In such a folder only root, its owner and a file's own owner can replace the file. */
const STICKY_MODE = 0o1000
const LINKS_FOLLOWED = 40

/**
 * Returns why somebody other than root and this user can change a file or put another one in its place, or undefined. Checks the file,
 * its links, and every folder on the way. In a sticky folder such as `/tmp` nobody can; if `isStrict`, it is still unsafe as the file's
 * own. Throws system errors.
 */
export function unsafePathReason(file: string, uid: number | undefined, { isStrict = false } = {}): string | undefined {
  const names = splitPath(isAbsolute(file) ? file : `${resolve('.')}/${file}`)
  let folder = '/'
  let links = 0
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    const isFile = names.length === 0
    const reason = unsafeFolderReason(folder, uid, isFile, isStrict && isFile)
    if (reason !== undefined) return reason
    if (name === '..') {
      folder = dirname(folder)
      continue
    }
    const path = join(folder, name)
    const stats = lstatSync(path)
    if (stats.isSymbolicLink()) {
      const owner = foreignOwnerReason(stats, uid)
      if (owner !== undefined) return `the link ${path}: ${owner}`
      // The system reports a circle in the same way.
      if (++links > LINKS_FOLLOWED) statSync(path)
      const target = readlinkSync(path)
      names.unshift(...splitPath(target))
      if (isAbsolute(target)) folder = '/'
    } else if (isFile) return unsafeReason(stats, uid)
    else folder = path
  }
  return undefined
}

/** Returns why somebody other than root and this user can change a file or folder, or undefined. */
export function unsafeReason(stats: Stats, uid: number | undefined): string | undefined {
  const owner = foreignOwnerReason(stats, uid)
  if (owner !== undefined || hasNoUsers(uid)) return owner
  if ((stats.mode & OTHERS_WRITE_MODE) !== 0) return 'others may write it (chmod o-w)'
  // A group that only this user is in makes no difference: an ACL would look the same.
  return (stats.mode & GROUP_WRITES_MODE) !== 0 ? 'its group may write it (chmod g-w)' : undefined
}

function unsafeFolderReason(folder: string, uid: number | undefined, isOwn: boolean, isStrict: boolean) {
  const stats = statSync(folder)
  const isSticky = (stats.mode & STICKY_MODE) !== 0
  const reason = isSticky && !isStrict ? foreignOwnerReason(stats, uid) : unsafeReason(stats, uid)
  return reason === undefined ? undefined : `${isOwn ? 'its folder' : 'the folder'} ${folder}: ${reason}`
}

/** The permissions by which others read a secret: a group of its own is usual for keys, and authorities are public. */
const READ_MODES = { password: 0o044, key: 0o004, 'certificate authority': 0, 'names file': 0 } as const
const EVERYBODY_READS_MODE = 0o004

/** Warns if others can read a file with a secret, or replace a file that security depends on. */
export function warnIfExposed(
  file: string,
  content: keyof typeof READ_MODES,
  { uid, warn }: { readonly uid: number | undefined; readonly warn: (message: string) => void },
): void {
  try {
    const stats = statSync(file)
    if (!(stats.isFile() || stats.isFIFO()) || hasNoUsers(uid)) return
    // A file of root's may be readable for this user by its group alone.
    const mode = stats.uid === uid ? READ_MODES[content] : READ_MODES[content] & EVERYBODY_READS_MODE
    if ((stats.mode & mode) !== 0) warn(`${file}: others may read this ${content}; chmod 600 ${file}`)
    const reason = unsafePathReason(file, uid)
    if (reason !== undefined) warn(`${file}: others can replace this ${content}: ${reason}`)
  } catch {
    // The file has been read, and is gone.
  }
}

function foreignOwnerReason({ uid: owner }: Stats, uid: number | undefined): string | undefined {
  return hasNoUsers(uid) || owner === 0 || owner === uid ? undefined : 'it belongs to neither root nor you (chown)'
}

function hasNoUsers(uid: number | undefined): boolean {
  return platform() === 'win32' || uid === undefined
}

/** Returns the names in a path, with `..` as it is: behind a link it leads elsewhere than in the text. */
function splitPath(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.')
}
