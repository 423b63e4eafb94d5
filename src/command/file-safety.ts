import { lstatSync, readFileSync, type Stats, statSync } from 'node:fs'
import { devNull, platform } from 'node:os'
import { dirname } from 'node:path'
import { describeFileError } from './file-errors.js'
import { entriesOf, isDescriptorFile, type PathEntry } from './path-entries.js'

const OTHERS_WRITE_MODE = 0o002
/** In a file with an ACL this is the mask: what a user or a group of the ACL may do at most (acl(5)). */
const GROUP_WRITES_MODE = 0o020
const STICKY_MODE = 0o1000
export type PathRules = {
  /** A sticky folder of the file is unsafe, too. */
  readonly isStrict?: boolean
  /** So is every sticky folder of the path: files are used later, when they may be missing, with their folders. */
  readonly isLasting?: boolean
  /** Write permission for a group is no reason: the group of a user may have no other member. */
  readonly trustsGroups?: boolean
  /** The file, which will be replaced, is no reason; its folders and their links are. */
  readonly ignoresFile?: boolean
}

/**
 * Returns the reason if a user other than root and this one can change or replace an open file; otherwise undefined. The path alone
 * may lead to another file since, or nowhere. Throws system errors.
 */
export function unsafeFileReason(
  file: string,
  stats: Stats,
  uid: number | undefined,
  rules?: PathRules,
): string | undefined {
  const isDescriptor = isDescriptorFile(file)
  // With sudo, the caller's terminal belongs to another user.
  if (isDescriptor && stats.isCharacterDevice()) return undefined
  const reason = unsafeReason(stats, uid, file)
  return reason ?? (isDescriptor ? undefined : unsafePathReason(file, uid, rules))
}

/**
 * Returns the reason if a user other than root and this one can change or replace a file; otherwise undefined. Checks the file, its links,
 * and every folder of its path. In a sticky folder such as `/tmp`, others can't replace a file, but can create one that is missing. Throws
 * system errors.
 */
export function unsafePathReason(file: string, uid: number | undefined, rules: PathRules = {}): string | undefined {
  for (const entry of entriesOf(file)) {
    const { path, stats, isLast: isFile } = entry
    const isStrict = rules.isLasting === true || (rules.isStrict === true && isFile)
    const reason = unsafeFolderReason(entry, uid, { ...rules, isStrict })
    if (reason !== undefined) return reason
    if (isFile && rules.ignoresFile) return undefined
    if (stats === undefined) return creationReason(entry, uid, rules)
    if (stats.isSymbolicLink()) {
      const owner = foreignOwnerReason(stats, uid, `the symbolic link ${path}`, 'chown -h')
      if (owner !== undefined) return owner
    } else if (isFile) return unsafeReason(stats, uid, path, rules)
  }
  return undefined
}

/** Returns the reason if another user can create a file that is missing. Throws the system's error if nobody else can. */
function creationReason(entry: PathEntry, uid: number | undefined, rules: PathRules): string | undefined {
  const reason = unsafeFolderReason(entry, uid, { ...rules, isStrict: true })
  if (reason === undefined) lstatSync(entry.path)
  return reason
}

/** Returns the reason if a user other than root and this one can change a file or folder; otherwise undefined. */
export function unsafeReason(
  stats: Stats,
  uid: number | undefined,
  path: string,
  { subject = 'the file', trustsGroups = false }: Pick<PathRules, 'trustsGroups'> & { readonly subject?: string } = {},
): string | undefined {
  const owner = foreignOwnerReason(stats, uid, subject)
  return owner ?? (hasNoUsers(uid) ? undefined : writersReason(stats, path, { subject, trustsGroups }))
}

function writersReason(
  stats: Stats,
  path: string,
  { subject, trustsGroups }: { readonly subject: string; readonly trustsGroups: boolean },
): string | undefined {
  // Writing to a device does not change the content that is read from the device.
  if (stats.isCharacterDevice()) return undefined
  if ((stats.mode & OTHERS_WRITE_MODE) !== 0) return `other users can write to ${subject} (chmod o-w ${path})`
  // A group that only this user is in makes no difference: an ACL would look the same.
  return (stats.mode & GROUP_WRITES_MODE) !== 0 && !trustsGroups
    ? `group members can write to ${subject} (chmod g-w ${path})`
    : undefined
}

function unsafeFolderReason(
  { folder, folderStats: stats }: PathEntry,
  uid: number | undefined,
  { isStrict = false, trustsGroups = false }: PathRules,
): string | undefined {
  const subject = `the directory ${folder}`
  if (!isSticky(stats)) return unsafeReason(stats, uid, folder, { subject, trustsGroups })
  const isWritable = unsafeReason(stats, uid, folder, { trustsGroups }) !== undefined
  const owner = foreignOwnerReason(stats, uid, subject)
  return owner ?? (isStrict && isWritable ? `other users can write to ${subject}; move the file` : undefined)
}

/**
 * Returns the reason if another user can put something else in the place of a file, for example a FIFO that nobody writes to, or if that
 * can't be told; otherwise undefined.
 */
export function foreignControlReason(file: string, uid: number | undefined): string | undefined {
  // A pipe that the caller has opened has no path.
  if (hasNoUsers(uid) || isDescriptorFile(file)) return undefined
  return reasonOf(() => unsafePathReason(file, uid, { trustsGroups: true }))
}

/** Returns the reason if an open file belongs to another user, who may have put it in the place of another one since. */
export function foreignFileReason(file: string, stats: Stats, uid: number | undefined): string | undefined {
  return isDescriptorFile(file) ? undefined : foreignOwnerReason(stats, uid, 'the file')
}

const OTHERS_USE_MODE = 0o005
const OTHERS_SEARCH_MODE = 0o001

/** Returns true if every user can read a file, or run it, as far as this one can tell. An ACL can allow more. */
export function isReadableByAll(file: string): boolean {
  try {
    return [...entriesOf(file)].every(({ folderStats, stats, isLast }) => {
      const isOpen = (folderStats.mode & OTHERS_SEARCH_MODE) !== 0
      const isLink = stats?.isSymbolicLink() === true
      return isOpen && (!isLast || stats === undefined || isLink || (stats.mode & OTHERS_USE_MODE) !== 0)
    })
  } catch {
    return false
  }
}

/** A user who can lead a path elsewhere */
export type Changer = {
  /** Undefined if there may be several */
  readonly uid: number | undefined
  readonly reason: string
}

/** Returns who but root and this user can replace what is in a folder. In a sticky one, each owner can replace what is his own, too. */
export function folderChanger(stats: Stats, uid: number, folder: string): Changer | undefined {
  return isSticky(stats) ? ownerChanger(stats, uid, `the directory ${folder}`) : writerChanger(stats, uid, folder)
}

/** Returns who but root and this user can write to a folder. */
export function writerChanger(stats: Stats, uid: number, folder: string): Changer | undefined {
  const subject = `the directory ${folder}`
  // By habit, a user's own group has the user's number, and no other member.
  const trustsGroups = stats.uid !== 0 && stats.gid === stats.uid
  const writers = writersReason(stats, folder, { subject, trustsGroups })
  if (writers !== undefined) return { uid: undefined, reason: `links on the path can't be trusted: ${writers}` }
  return ownerChanger(stats, uid, subject)
}

/** Returns the owner of a folder if that is neither root nor this user. */
function ownerChanger(stats: Stats, uid: number, subject: string): Changer | undefined {
  const owner = foreignOwnerReason(stats, uid, subject)
  return owner === undefined
    ? undefined
    : { uid: knownUid(stats), reason: `links on the path can't be trusted: ${owner}` }
}

/** All users that a namespace does not know have this number there (user_namespaces(7)). */
const UNKNOWN_USERS = 65_534

function knownUid({ uid }: Stats): number | undefined {
  return uid === UNKNOWN_USERS ? undefined : uid
}

/** Returns the owner of a link if that is neither root nor this user. */
export function linkChanger(stats: Stats, uid: number, link: string): Changer | undefined {
  const owners = uid === 0 ? 'root' : 'root, you'
  const reason = `the symbolic link ${link} belongs to neither ${owners} nor the owner of the file`
  return isForeign(stats, uid) ? { uid: knownUid(stats), reason } : undefined
}

/** Returns who but root and this user can lead a path elsewhere, as far as that shows without a hold on its folders. Throws system errors. */
export function pathChanger(file: string, uid: number | undefined): Changer | undefined {
  if (uid === undefined || hasNoUsers(uid) || isDescriptorFile(file)) return undefined
  for (const { folder, folderStats, path, stats } of entriesOf(file)) {
    const isLink = stats?.isSymbolicLink() === true
    const changer =
      folderChanger(folderStats, uid, folder) ??
      (isLink ? linkChanger(stats, uid, path) : undefined) ??
      (isSticky(folderStats) ? entryChanger(stats, folderStats, uid, path) : undefined)
    if (changer !== undefined) return changer
  }
  return undefined
}

/** Returns who can replace an entry of a sticky folder. A file or link can be removed at any moment, and then be another user's. */
function entryChanger(stats: Stats | undefined, folder: Stats, uid: number, path: string): Changer | undefined {
  const isFolder = stats?.isDirectory() === true
  return isFolder ? ownerChanger(stats, uid, `the directory ${path}`) : writerChanger(folder, uid, dirname(path))
}

/** The permissions by which others read a secret: a group of its own is usual for keys, and authorities are public. */
const READ_MODES = { password: 0o044, 'private key': 0o004, 'CA certificate': 0, 'list of names': 0 } as const
const EVERYBODY_READS_MODE = 0o004

/**
 * Warns if others can read an open file with a secret, or replace a file that security depends on, or if that can't be told. Returns
 * false if others may have chosen what is in the file.
 */
export function warnIfExposed(
  file: string,
  stats: Stats,
  content: keyof typeof READ_MODES,
  { uid, warn }: { readonly uid: number | undefined; readonly warn: (message: string) => void },
): boolean {
  // A pipe or terminal that the caller has opened has no path.
  if (hasNoUsers(uid) || (isDescriptorFile(file) && !stats.isFile())) return true
  // A file of root's may be readable for this user by its group alone.
  const mode = stats.uid === uid ? READ_MODES[content] : READ_MODES[content] & EVERYBODY_READS_MODE
  if ((stats.isFile() || stats.isFIFO()) && (stats.mode & mode) !== 0)
    warn(`etrn: warning: other users can read the ${content} in ${file} (chmod 600 ${file})`)
  const reason = reasonOf(() => unsafeFileReason(file, stats, uid))
  if (reason !== undefined) warn(`etrn: warning: the ${content} in ${file} is not safe: ${reason}`)
  return reason === undefined
}

function reasonOf(check: () => string | undefined): string | undefined {
  try {
    return check()
  } catch (error) {
    return `the path can't be checked (${describeFileError(error)})`
  }
}

/** In a sticky folder only root, its owner and a file's own owner can replace the file. */
export function isSticky(stats: Stats): boolean {
  return (stats.mode & STICKY_MODE) !== 0
}

function foreignOwnerReason(
  stats: Stats,
  uid: number | undefined,
  subject: string,
  remedy = 'chown',
): string | undefined {
  return isForeign(stats, uid) ? `${subject} belongs to ${foreigner(uid)} (${remedy})` : undefined
}

function isForeign(stats: Stats, uid: number | undefined): boolean {
  const isOwn = stats.uid === uid && !(uid === UNKNOWN_USERS && isUserNamespace())
  return !hasNoUsers(uid) && stats.uid !== 0 && !isOwn && !isNullDevice(stats)
}

const ALL_USERS = /^ *0 +0 +4294967295$/m

/** Returns true if there may be users that this process does not know (user_namespaces(7)), which only Linux has. */
function isUserNamespace(): boolean {
  try {
    return !ALL_USERS.test(readFileSync('/proc/self/uid_map', 'latin1'))
  } catch {
    // On Linux, /proc is missing.
    return platform() === 'linux'
  }
}

function foreigner(uid: number | undefined): string {
  return uid === 0 ? 'a user other than root' : 'neither root nor you'
}

/** Returns true for /dev/null, which has no content, and belongs to an unknown user in a container without root. */
function isNullDevice(stats: Stats): boolean {
  return stats.isCharacterDevice() && stats.rdev === statSync(devNull).rdev
}

function hasNoUsers(uid: number | undefined): boolean {
  return platform() === 'win32' || uid === undefined
}
