import { closeSync, constants, existsSync, fstatSync, openSync } from 'node:fs'
import { platform } from 'node:os'
import { codeOf } from '../errors.js'
import { foreignLinkReason, type Route, routeOf } from './file-safety.js'

/** Another user's link, or one in a folder that another user can change, may have led to a file. The message has no subject. */
export class UnsafePathError extends Error {
  override readonly name = 'UnsafePathError'
}

const { O_DIRECTORY, O_NOFOLLOW } = constants
/** Takes hold of a file without opening it (open(2)); only Linux has this flag. */
const O_PATH = 0o10000000
const OWN_DESCRIPTORS = '/proc/self/fd'

/** True if this system can take hold of files. */
export function canHoldFiles(): boolean {
  return platform() === 'linux' && existsSync(OWN_DESCRIPTORS)
}

/** Returns the path of a file that is held, whatever is at its own path by then. */
export function pathOfHeld(fd: number): string {
  return `${OWN_DESCRIPTORS}/${fd}`
}

/**
 * Returns a descriptor that holds a file, but has not opened it. Where another user can change the path, links are followed only to a
 * file of that user: they could lead to a secret, which the reader must not send. Linux has a rule like this for sticky folders
 * (fs.protected_symlinks). Throws UnsafePathError, and system errors.
 */
export function holdFile(file: string, uid: number | undefined): number {
  const route = routeOf(file, uid)
  if (route === undefined) return openSync(file, O_PATH)
  const { path, foreignPart } = route
  const held = holdWithoutLinks(path, foreignPart?.names ?? [])
  if (held !== undefined) return held
  const followed = openSync(file, O_PATH)
  try {
    checkOwner(file, uid, route, fstatSync(followed).uid)
    return followed
  } catch (error) {
    closeSync(followed)
    throw error
  }
}

/** Throws UnsafePathError if a file that links may have led to belongs to another user than the one who can change the links. */
export function checkOwner(file: string, uid: number | undefined, { foreignPart }: Route, owner: number): void {
  if (foreignPart === undefined) throw new UnsafePathError('the path changed while etrn opened the file')
  const isOwners = owner === foreignPart.owner
  const reason = isOwners ? foreignLinkReason(file, uid, owner) : foreignPart.reason
  if (reason !== undefined) throw new UnsafePathError(reason)
}

/** Takes hold of one folder after another, and of the file. Returns undefined if one of them is a link. */
function holdWithoutLinks(path: string, names: readonly string[]): number | undefined {
  // A folder that another user can move has another parent then.
  if (names.includes('..')) return undefined
  let held: number | undefined
  try {
    const steps = names.length
    held = openSync(path, O_PATH | O_NOFOLLOW | (steps === 0 ? 0 : O_DIRECTORY))
    for (const [index, name] of names.entries()) {
      const next = openSync(`${pathOfHeld(held)}/${name}`, O_PATH | O_NOFOLLOW | (index < steps - 1 ? O_DIRECTORY : 0))
      closeSync(held)
      held = next
    }
    if (!fstatSync(held).isSymbolicLink()) return held
    closeSync(held)
    return undefined
  } catch (error) {
    if (held !== undefined) closeSync(held)
    // A folder that is a link is none.
    if (['ENOTDIR', 'ELOOP'].includes(codeOf(error))) return undefined
    throw error
  }
}
